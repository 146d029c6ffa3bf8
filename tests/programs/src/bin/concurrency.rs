// SPDX-License-Identifier: GPL-2.0
//! Several processes at once: adding, deleting, looking, binding.

use std::time::{Duration, Instant};

use vdpa_test::parent::{self, Mgmt};
use vdpa_test::user::{self, Child};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    two_add_and_delete_the_same,
    two_add_and_delete_their_own,
    with_readers,
    with_binding,
    with_modules_coming_and_going,
);

const TIME: Duration = Duration::from_secs(3);
const LEAST_ROUNDS: usize = 3;

fn forked(step: impl FnMut(&mut Vdpa, usize)) -> Child {
    forked_for(TIME, step)
}

/// Runs `step` with a socket of its own until the time is over, and often enough.
fn forked_for(time: Duration, mut step: impl FnMut(&mut Vdpa, usize)) -> Child {
    user::fork(|| {
        let mut v = Vdpa::new();
        let start = Instant::now();
        let mut n = 0;
        while start.elapsed() < time || n < LEAST_ROUNDS {
            step(&mut v, n);
            n += 1;
        }
    })
}

fn all_ok(children: impl IntoIterator<Item = Child>) {
    for c in children {
        assert_eq!(c.wait(), 0, "status of a child (its output is above)");
    }
}

#[track_caller]
fn one_of(ack: vdpa_test::genl::Ack, allowed: &[Errno]) {
    assert!(
        allowed.contains(&ack.errno),
        "{ack:?} is none of {allowed:?}"
    );
}

fn add_same(v: &mut Vdpa, n: usize) {
    let name = format!("same{}", n % 3);
    let msg = v.new_msg("m0", &name);
    one_of(v.ack(&msg), &[Errno::OK, Errno::EEXIST]);
    one_of(v.try_del(&name), &[Errno::OK, Errno::ENODEV]);
}

fn two_add_and_delete_the_same() {
    let _m = Mgmt::new("m0", "");
    all_ok([forked(add_same), forked(add_same)]);
    assert_eq!(sys::devices(), Vec::<String>::new());
    parent::assert_live(0);
}

fn add_own(v: &mut Vdpa, name: &str) {
    let msg = v.new_msg("m0", name);
    v.ack(&msg).expect_ok();
    assert_eq!(v.get(name).need(DEV_NAME).str(), name);
    v.del(name);
}

fn two_add_and_delete_their_own() {
    let _m = Mgmt::new("m0", "");
    all_ok([
        forked(|v, n| add_own(v, &format!("left{n}"))),
        forked(|v, n| add_own(v, &format!("right{n}"))),
    ]);
    assert_eq!(sys::devices(), Vec::<String>::new());
    parent::assert_live(0);
}

fn with_readers() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = [v.add("m0", "stays1"), v.add("m0", "stays2")];
    all_ok([
        forked(add_same),
        forked(|v, n| {
            let names = v.names(if n % 2 == 0 {
                CMD_DEV_GET
            } else {
                CMD_DEV_CONFIG_GET
            });
            for stays in ["stays1", "stays2"] {
                let times = names.iter().filter(|n| *n == stays).count();
                assert_eq!(times, 1, "{stays} in {names:?}");
            }
        }),
        forked(|v, n| {
            let msg = v.about(
                if n % 2 == 0 {
                    CMD_DEV_GET
                } else {
                    CMD_DEV_CONFIG_GET
                },
                "same1",
            );
            let answer = v.request(&msg);
            one_of(answer.ack, &[Errno::OK, Errno::ENODEV]);
        }),
    ]);
}

fn with_binding() {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    let bus_write = |file: &str, name: &str| sys::try_write(format!("{}/{file}", sys::BUS), name);
    all_ok([
        forked(add_same),
        forked(move |_, n| {
            let name = format!("same{}", n % 3);
            bus_write("drivers/vdpa_test_a/unbind", &name);
            bus_write("drivers/vdpa_test_b/bind", &name);
            bus_write("drivers_probe", &name);
        }),
        forked(|_, n| {
            let path = sys::device_path(&format!("same{}", n % 3)).join("driver_override");
            sys::try_write(&path, if n % 2 == 0 { "vdpa_test_b" } else { "\n" });
            let _ = std::fs::read_to_string(path);
        }),
    ]);
    sys::rmmod_ok("vdpa_test_driver");
    parent::assert_live(0);
}

fn with_modules_coming_and_going() {
    sys::unload_all();
    let _m = Mgmt::new("m0", "");
    // The debug kernel takes ten seconds to unload a module.
    let time = Duration::from_secs(sys::rounds(3, 30) as u64);
    all_ok([
        forked_for(time, |_, _| {
            sys::modprobe("vdpa_sim_net");
            // Somebody may be adding a device just now.
            while sys::rmmod("vdpa_sim_net") == Errno::EAGAIN {}
        }),
        forked_for(time, |v, n| {
            let name = format!("sim{n}");
            let msg = v.new_msg("vdpasim_net", &name);
            one_of(v.ack(&msg), &[Errno::OK, Errno::ENODEV]);
            one_of(v.try_del(&name), &[Errno::OK, Errno::ENODEV]);
        }),
        forked_for(time, |v, _| {
            for r in v.dump(CMD_MGMTDEV_GET) {
                let name = r.need(MGMT_NAME).str();
                assert!(["m0", "vdpasim_net"].contains(&name.as_str()), "{name}");
            }
            let msg = v.msg(CMD_MGMTDEV_GET).attr_str(MGMT_NAME, "vdpasim_net");
            one_of(v.request(&msg).ack, &[Errno::OK, Errno::ENODEV]);
        }),
    ]);
    sys::rmmod("vdpa_sim_net");
}
