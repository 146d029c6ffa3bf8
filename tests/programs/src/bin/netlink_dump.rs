// SPDX-License-Identifier: GPL-2.0
//! Dumps of devices: any number of them, resumed in the middle, while devices
//! come and go.

use std::collections::BTreeMap;

use vdpa_test::genl::BIG;
use vdpa_test::ktap::{case, note};
use vdpa_test::nl::*;
use vdpa_test::parent::{Mgmt, Unmanaged};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    none,
    unmanaged_are_left_out,
    attributes_are_ignored,
    one_hundred,
    a_lot_of_devices,
    abandoned_in_the_middle,
    two_dumps_at_once,
    second_dump_on_a_busy_socket,
    devices_added_meanwhile,
    devices_deleted_meanwhile,
    devices_replaced_meanwhile,
);

const DUMPS: [u8; 2] = [CMD_DEV_GET, CMD_DEV_CONFIG_GET];

/// As small as a buffer may be: the kernel's messages for a dump have 4 KiB at most then.
const SMALL: usize = 4096;

fn none() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    for cmd in DUMPS {
        assert!(v.dump(cmd).is_empty());
    }
}

fn unmanaged_are_left_out() {
    let _u = [Unmanaged::new("u0", ""), Unmanaged::new("u1", "")];
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let _u2 = Unmanaged::new("u2", "");
    let _e = v.add("m0", "d1");
    for cmd in DUMPS {
        assert_eq!(v.names(cmd), ["d0", "d1"]);
    }
}

fn attributes_are_ignored() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = [v.add("m0", "d0"), v.add("m0", "d1")];
    for cmd in DUMPS {
        let msg = v
            .dump_msg(cmd)
            .attr_str(DEV_NAME, "d1")
            .attr_str(MGMT_NAME, "nobody");
        assert_eq!(v.request(&msg).all().len(), 2);
    }
}

fn name(prefix: &str, n: usize) -> String {
    format!("{prefix}-{n:04}")
}

/// Devices for a test; their parent deletes them all when it goes.
fn make(v: &mut Vdpa, count: usize) -> (Mgmt, Vec<String>) {
    let m = Mgmt::new("m0", "");
    let names: Vec<_> = (0..count).map(|n| name("device", n)).collect();
    for n in &names {
        let msg = v.new_msg("m0", n);
        v.ack(&msg).expect_ok();
    }
    (m, names)
}

fn check_dumps(v: &mut Vdpa, names: &[String], least: usize) {
    for cmd in DUMPS {
        for size in [SMALL, BIG] {
            case(format!("command {cmd}, buffer of {size}"), || {
                // A new socket: the kernel remembers the largest buffer it saw.
                v.socket = Socket::new();
                let msg = v.dump_msg(cmd);
                let answer = v.socket.request_sized(&msg, size);
                note(format!(
                    "{} devices in {} datagrams",
                    names.len(),
                    answer.datagrams
                ));
                assert!(
                    size != SMALL || answer.datagrams >= least,
                    "resumed in the middle"
                );
                let replies = answer.all();
                for r in &replies {
                    assert_eq!(r.nl.flags & !0x10, NLM_F_MULTI);
                }
                let found: Vec<_> = replies.iter().map(|r| r.need(DEV_NAME).str()).collect();
                assert_eq!(found, names);
            });
        }
    }
}

fn one_hundred() {
    let mut v = Vdpa::new();
    let (_m, names) = make(&mut v, 100);
    check_dumps(&mut v, &names, 2);
}

fn a_lot_of_devices() {
    let mut v = Vdpa::new();
    let number = sys::rounds(1000, 200);
    let (m, names) = make(&mut v, number);
    check_dumps(&mut v, &names, sys::rounds(10, 3));
    case("the vdpa tool lists them all", || {
        let out = sys::sh("vdpa -j dev show");
        let out = out.expect_ok();
        assert_eq!(out.matches("\"type\":\"network\"").count(), number);
        assert!(names.iter().all(|n| out.contains(n.as_str())));
    });
    case("each can be found", || {
        for n in names.iter().step_by(97).chain(names.last()) {
            assert_eq!(v.get(n).need(DEV_NAME).str(), *n);
        }
    });
    case("each can be deleted", || {
        for n in names.iter().rev() {
            v.del(n);
        }
        assert_eq!(sys::devices(), Vec::<String>::new());
    });
    drop(m);
}

/// A dump of which a part was read: the names so far.
struct Begun {
    socket: Socket,
    seq: u32,
    names: Vec<String>,
}

impl Begun {
    fn new(v: &Vdpa, cmd: u8) -> Self {
        let mut socket = Socket::new();
        let seq = socket.send(&v.dump_msg(cmd));
        let mut begun = Begun {
            socket,
            seq,
            names: Vec::new(),
        };
        let first = begun.socket.receive(SMALL).unwrap();
        for m in first {
            assert_ne!(m.kind, NLMSG_DONE, "the dump fits into one datagram");
            let r = vdpa_test::genl::Reply::parse(m);
            begun.names.push(r.need(DEV_NAME).str());
        }
        begun
    }

    fn finish(mut self) -> Vec<String> {
        let answer = self.socket.collect(self.seq, SMALL);
        self.names
            .extend(answer.all().iter().map(|r| r.need(DEV_NAME).str()));
        self.names
    }
}

fn abandoned_in_the_middle() {
    let mut v = Vdpa::new();
    let (_m, names) = make(&mut v, 200);
    for cmd in DUMPS {
        let begun = Begun::new(&v, cmd);
        assert!(begun.names.len() < 200);
        drop(begun);
        assert_eq!(v.names(cmd), names, "the next dump is complete");
    }
}

fn two_dumps_at_once() {
    let mut v = Vdpa::new();
    let (_m, names) = make(&mut v, 200);
    let (a, b) = (
        Begun::new(&v, CMD_DEV_GET),
        Begun::new(&v, CMD_DEV_CONFIG_GET),
    );
    assert_eq!(b.finish(), names);
    assert_eq!(a.finish(), names);
}

fn second_dump_on_a_busy_socket() {
    let mut v = Vdpa::new();
    let (_m, names) = make(&mut v, 200);
    let mut begun = Begun::new(&v, CMD_DEV_GET);
    let seq = begun.socket.send(&v.dump_msg(CMD_DEV_GET));
    let mut seen = begun.names.clone();
    let mut refused = false;
    let mut done = false;
    while !done {
        for m in begun.socket.receive(SMALL).unwrap() {
            match m.kind {
                NLMSG_ERROR => {
                    assert_eq!(
                        (m.seq, -(u32_at(&m.payload, 0) as i32)),
                        (seq, Errno::EBUSY.0)
                    );
                    refused = true;
                }
                NLMSG_DONE => done = true,
                _ => seen.push(vdpa_test::genl::Reply::parse(m).need(DEV_NAME).str()),
            }
        }
    }
    assert!(refused, "the second dump is refused");
    assert_eq!(seen, names);
}

/// The devices that were there all the time appear once, those that came or
/// went at most once.
#[track_caller]
fn check_stable(found: &[String], stable: &[String]) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for n in found {
        *times.entry(n).or_default() += 1;
    }
    let wrong: Vec<_> = stable
        .iter()
        .filter(|n| times.get(n.as_str()) != Some(&1))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} devices not exactly once: {wrong:?}",
        wrong.len()
    );
    let twice: Vec<_> = times.iter().filter(|t| *t.1 > 1).collect();
    assert!(twice.is_empty(), "more than once: {twice:?}");
}

fn devices_added_meanwhile() {
    let mut v = Vdpa::new();
    let (_m, names) = make(&mut v, 200);
    for cmd in DUMPS {
        let begun = Begun::new(&v, cmd);
        let added: Vec<_> = (0..50).map(|n| v.add("m0", &name("added", n))).collect();
        check_stable(&begun.finish(), &names);
        drop(added);
    }
}

fn devices_deleted_meanwhile() {
    for cmd in DUMPS {
        let mut v = Vdpa::new();
        let (_m, names) = make(&mut v, 200);
        let (volatile, stable): (Vec<_>, Vec<_>) = names
            .iter()
            .cloned()
            .enumerate()
            .partition(|(i, _)| i % 2 == 0);
        let stable: Vec<_> = stable.into_iter().map(|s| s.1).collect();
        let begun = Begun::new(&v, cmd);
        volatile.iter().for_each(|(_, n)| v.del(n));
        check_stable(&begun.finish(), &stable);
    }
}

fn devices_replaced_meanwhile() {
    let mut v = Vdpa::new();
    let (_m, names) = make(&mut v, 200);
    let begun = Begun::new(&v, CMD_DEV_GET);
    // All that were told already go, the same number comes.
    let told = begun.names.clone();
    told.iter().for_each(|n| v.del(n));
    let _added: Vec<_> = (0..told.len())
        .map(|n| v.add("m0", &name("added", n)))
        .collect();
    let stable: Vec<_> = names.into_iter().filter(|n| !told.contains(n)).collect();
    check_stable(&begun.finish(), &stable);
}
