// SPDX-License-Identifier: GPL-2.0
//! Every allocation of every command fails once, in turn: the answer is ENOMEM,
//! nothing is half done and nothing is lost. (Leaks and wild accesses are told
//! by the kernel at the end of the run.)

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

use vdpa_test::faults::Faults;
use vdpa_test::genl::{Answer, Family};
use vdpa_test::ktap::{self, case, note};
use vdpa_test::nl::*;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    add,
    add_with_attributes,
    add_simulators,
    delete,
    gets,
    dumps,
    statistics,
    set_attribute,
    command_line,
    module_load,
);

/// The request's answer; the error of the socket if the kernel could not even answer.
type Outcome = Result<Answer, Errno>;

/// Sends and collects, with the nth allocation failing. On a socket of its own,
/// since an answer that got lost leaves an error in the socket.
fn attempt(faults: &Faults, nth: u32, v: &mut Vdpa, msg: &Msg) -> (Outcome, bool) {
    v.socket = Socket::new();
    let a = faults.nth(nth, || v.socket.try_request(msg));
    (a.result, a.failed)
}

#[derive(Default)]
struct Tally(BTreeMap<String, u32>);

impl Tally {
    /// The errors that a failed allocation may give.
    fn count(&mut self, nth: u32, outcome: &Outcome) {
        let what = match outcome {
            Ok(answer) => answer.ack.errno,
            Err(errno) => *errno,
        };
        // ENOBUFS: it was the answer for which there was no memory.
        let fine = [Errno::OK, Errno::ENOMEM, Errno::ENOBUFS].contains(&what);
        assert!(fine, "allocation {nth}: {what:?}");
        *self.0.entry(format!("{what:?}")).or_default() += 1;
    }

    fn tell(&self, what: &str, failures: u32) {
        note(format!(
            "{what}: {failures} allocations failed: {:?}",
            self.0
        ));
        assert!(failures >= 3, "{what}: only {failures} allocations");
        let refused = ["ENOMEM", "ENOBUFS"]
            .iter()
            .any(|e| self.0.contains_key(*e));
        assert!(refused, "{what}: no failure was told");
    }
}

fn exists(v: &mut Vdpa, name: &str) -> bool {
    v.socket = Socket::new();
    v.names(CMD_DEV_GET).iter().any(|n| n == name)
}

/// Adding: there is a device exactly if the answer says so.
fn sweep_add(what: &str, msg: impl Fn(&Vdpa) -> Msg) {
    let faults = Faults::new();
    let mut v = Vdpa::new();
    let mut tally = Tally::default();
    let failures = faults.each(|nth| {
        let msg = msg(&v);
        let (outcome, failed) = attempt(&faults, nth, &mut v, &msg);
        let made = exists(&mut v, "d0");
        match &outcome {
            Ok(answer) => assert_eq!(made, answer.ack.errno == Errno::OK, "allocation {nth}"),
            // The answer was lost, whatever it was.
            Err(_) => assert!(failed),
        }
        tally.count(nth, &outcome);
        if made {
            v.del("d0");
        }
        if !failed {
            outcome.expect("an answer").ack.expect_ok();
        }
        failed
    });
    tally.tell(what, failures);
}

fn add() {
    let _m = Mgmt::new("m0", "");
    sweep_add("dev add", |v| v.new_msg("m0", "d0"));
    parent::assert_live(0);
}

fn add_with_attributes() {
    let _m = Mgmt::new("m0", "attrs=0x103400");
    sweep_add("dev add with a MAC", |v| {
        v.new_msg("m0", "d0").attr(MAC, &[2, 0, 0, 0, 0, 1])
    });
}

fn add_simulators() {
    if !sys::is_ours("vdpa_sim") {
        ktap::skip("the C simulator frees what it did not initialise");
    }
    for (module, mgmt) in [
        ("vdpa_sim_net", "vdpasim_net"),
        ("vdpa_sim_blk", "vdpasim_blk"),
    ] {
        sys::modprobe(module);
        case(module, || sweep_add(module, |v| v.new_msg(mgmt, "d0")));
    }
}

/// Deleting: the device is gone exactly if the answer says so.
fn delete() {
    let _m = Mgmt::new("m0", "");
    let faults = Faults::new();
    let mut v = Vdpa::new();
    let mut tally = Tally::default();
    let failures = faults.each(|nth| {
        v.socket = Socket::new();
        let msg = v.new_msg("m0", "d0");
        v.ack(&msg).expect_ok();
        let msg = v.about(CMD_DEV_DEL, "d0");
        let (outcome, failed) = attempt(&faults, nth, &mut v, &msg);
        tally.count(nth, &outcome);
        let there = exists(&mut v, "d0");
        if let Ok(answer) = outcome {
            assert_eq!(there, answer.ack.errno != Errno::OK, "allocation {nth}");
        }
        if there {
            v.del("d0");
        }
        failed
    });
    tally.tell("dev del", failures);
}

/// Commands that change nothing: after each failure, the same question is answered.
fn sweep_question(what: &str, v: &mut Vdpa, msg: &Msg) {
    let faults = Faults::new();
    v.socket = Socket::new();
    let expected = v.request(msg);
    expected.ack.expect_ok();
    let replies = expected.replies.len();
    let mut tally = Tally::default();
    let failures = faults.each(|nth| {
        let (outcome, failed) = attempt(&faults, nth, v, msg);
        tally.count(nth, &outcome);
        if let Ok(answer) = &outcome {
            if answer.ack.errno == Errno::OK {
                assert_eq!(answer.replies.len(), replies, "allocation {nth}");
            }
        }
        v.socket = Socket::new();
        v.request(msg).ack.expect_ok();
        failed
    });
    tally.tell(what, failures);
}

fn gets() {
    let _net = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let msgs = [
        ("dev show", v.about(CMD_DEV_GET, "d0")),
        ("dev config show", v.about(CMD_DEV_CONFIG_GET, "d0")),
        (
            "mgmtdev show",
            v.msg(CMD_MGMTDEV_GET).attr_str(MGMT_NAME, "m0"),
        ),
    ];
    for (what, msg) in msgs {
        case(what, || sweep_question(what, &mut v, &msg));
    }
}

fn dumps() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _devices: Vec<_> = (0..20).map(|n| v.add("m0", &format!("d{n}"))).collect();
    for (what, cmd) in [
        ("all devices", CMD_DEV_GET),
        ("all management devices", CMD_MGMTDEV_GET),
        ("all configurations", CMD_DEV_CONFIG_GET),
    ] {
        let msg = v.dump_msg(cmd);
        case(what, || sweep_question(what, &mut v, &msg));
    }
}

fn statistics() {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::driver("features d0 0x8000000000001234");
    parent::driver("status d0 0xb");
    let msg = v
        .about(CMD_DEV_VSTATS_GET, "d0")
        .attr(QUEUE_INDEX, &7u32.to_ne_bytes());
    sweep_question("dev vstats show", &mut v, &msg);
}

fn set_attribute() {
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    let _d = v.add("vdpasim_net", "d0");
    let msg = v
        .about(CMD_DEV_ATTR_SET, "d0")
        .attr(MAC, &[2, 0, 0, 0, 0, 7]);
    sweep_question("dev set mac", &mut v, &msg);
}

/// iproute2, with failures only below the bus.
fn command_line() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let faults = Faults::new().under("vdpa");
    let words: Vec<String> = "vdpa dev add name d0 mgmtdev m0"
        .split(' ')
        .map(str::to_string)
        .collect();
    let failures = faults.each(|nth| {
        let a = faults.nth_command(nth, &words);
        let made = exists(&mut v, "d0");
        if a.result.status == Some(0) {
            assert!(made, "allocation {nth}: {a:?}");
        } else {
            let text = &a.result.err;
            assert!(text.contains("Cannot allocate memory"), "{nth}: {a:?}");
            assert!(!made, "allocation {nth}: {a:?}");
        }
        if made {
            v.del("d0");
        }
        a.failed
    });
    note(format!("vdpa dev add: {failures} allocations failed"));
    assert!(failures >= 3, "only {failures} allocations");
}

/// Loading the bus: it is there as a whole, or not at all. Only every fifth
/// allocation of its own, since the debug kernel takes seconds to load or unload
/// a module.
fn module_load() {
    let faults = Faults::new().under_modules();
    let path = sys::sh("modinfo -n vdpa").expect_ok().trim().to_string();
    let file = std::fs::File::open(path).expect("vdpa.ko");
    let there = || {
        (
            sys::is_loaded("vdpa"),
            std::path::Path::new(sys::BUS).exists(),
            Family::exists("vdpa"),
        )
    };
    let mut errors = BTreeMap::<String, u32>::new();
    for nth in (1..).step_by(5) {
        sys::unload_all();
        sys::wait_for("the bus to go", || there() == (false, false, false));
        let a = faults.nth(nth, || finit_module(&file));
        *errors.entry(format!("{:?}", a.result)).or_default() += 1;
        if a.result == Errno::OK {
            assert_eq!(there(), (true, true, true), "allocation {nth}");
        } else {
            assert_eq!(a.result, Errno::ENOMEM, "allocation {nth}");
            assert!(!there().2, "allocation {nth}");
        }
        if !a.failed {
            break;
        }
    }
    note(format!("insmod: {errors:?}"));
    assert!(errors.contains_key("ENOMEM"), "no failure was told");
}

fn finit_module(file: &std::fs::File) -> Errno {
    let (fd, none) = (file.as_raw_fd(), c"".as_ptr());
    // SAFETY: The parameters are a C string that lives as long as the program.
    let ret = unsafe { libc::syscall(libc::SYS_finit_module, fd, none, 0) };
    if ret == 0 {
        Errno::OK
    } else {
        Errno::last()
    }
}
