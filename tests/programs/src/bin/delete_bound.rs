// SPDX-License-Identifier: GPL-2.0
//! Deleting devices that a driver has.

use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(virtio_vdpa, vhost_vdpa, test_driver, blocks_only_itself);

fn sims() {
    ["vdpa_sim_net", "vdpa_sim_blk"].map(sys::modprobe);
}

fn each_simulator(driver: &str, check: impl Fn(&str, bool)) {
    sims();
    sys::modprobe(driver);
    for (mgmt, name) in [("vdpasim_net", "n0"), ("vdpasim_blk", "b0")] {
        case(mgmt, || {
            for _ in 0..5 {
                let mut v = Vdpa::new();
                let _d = v.add(mgmt, name);
                assert_eq!(sys::driver_of(name).as_deref(), Some(driver));
                check(name, true);
                v.del(name);
                check(name, false);
                assert_eq!(sys::devices(), Vec::<String>::new());
            }
        });
    }
    sys::rmmod_ok(driver);
}

fn virtio_vdpa() {
    each_simulator("virtio_vdpa", |_, there| {
        let virtio = sys::list("/sys/bus/virtio/devices");
        let ours = virtio.iter().filter(|d| {
            let link = std::fs::canonicalize(format!("/sys/bus/virtio/devices/{d}"));
            link.is_ok_and(|l| !l.starts_with("/sys/devices/pci0000:00"))
        });
        assert_eq!(ours.count(), usize::from(there), "virtio devices");
    });
}

fn vhost_vdpa() {
    each_simulator("vhost_vdpa", |_, there| {
        let nodes = sys::list("/dev")
            .into_iter()
            .filter(|n| n.starts_with("vhost-vdpa-"));
        assert_eq!(nodes.count(), usize::from(there), "nodes");
    });
}

fn test_driver() {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::forget();
    v.del("d0");
    assert_eq!(parent::driver_log(), ["remove vdpa_test_a d0"]);
    parent::assert_live(0);
    sys::rmmod_ok("vdpa_test_driver");
}

/// While a parent takes its time to delete a device, other families answer.
fn blocks_only_itself() {
    use std::time::{Duration, Instant};
    use vdpa_test::genl::Family;
    use vdpa_test::nl::*;

    let Ok(taskstats) = Family::find("TASKSTATS") else {
        vdpa_test::ktap::skip("this kernel has no TASKSTATS");
    };
    let _m = Mgmt::new("m0", "dev.del_delay=3000");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let child = vdpa_test::user::fork(|| {
        v.socket = Socket::new();
        v.del("d0");
    });
    sys::wait_for("the deletion to begin", || {
        !parent::calls("dev_del").is_empty()
    });
    let start = Instant::now();
    // About a process that is not there: it has to ask its family to know.
    let msg = Msg::genl(taskstats.id, NLM_F_REQUEST | NLM_F_ACK, 1, 1);
    let ack = Socket::new()
        .request(&msg.attr(1, &u32::MAX.to_ne_bytes()))
        .ack;
    let took = start.elapsed();
    assert_eq!(child.wait(), 0);
    assert_ne!(ack.errno, Errno::OK);
    assert!(
        took < Duration::from_secs(1),
        "another family had to wait {took:?}"
    );
}
