// SPDX-License-Identifier: GPL-2.0
//! A Linux guest in QEMU that goes on while it is stopped, its device is unplugged, or its
//! device is deleted.

use std::thread;
use std::time::Duration;

use vdpa_test::card::Host;
use vdpa_test::guest::{self, Guest, Ram, Rings};
use vdpa_test::vdpa::Vdpa;
use vdpa_test::vhost::Node;
use vdpa_test::wire::{if_ours, Server, Wire, DEVICE};
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    stopped_and_continued,
    unplugged_and_plugged_again,
    deleted_under_a_guest,
);

/// A device on which a guest passed packets, for `body`.
fn in_use(rings: Rings, body: impl FnOnce(&Wire, &mut Guest)) {
    let wire = Wire::new("N");
    // It outlives the guest, which is killed if the test fails.
    let device = wire.device(rings);
    guest::with(Ram::Shared, |guest| {
        wire.plug(guest, rings);
        wire.pass(guest);
        body(&wire, guest);
    });
    drop(device);
}

/// A virtual machine that is stopped stops its devices: what it had begun goes on
/// when it does.
fn stopped_and_continued() {
    for rings in [Rings::SPLIT, if_ours(Rings::PACKED.four())] {
        in_use(rings, |wire, guest| {
            match &wire.host {
                Some(host) => stop_in_the_middle(host, guest),
                None => stop(guest, || ()),
            }
            wire.pass(guest);
            guest.unplug();
        });
    }
}

/// Stops the virtual machine and has it go on.
fn stop(guest: &mut Guest, meanwhile: impl FnOnce()) {
    guest.qemu.execute("stop", "");
    assert!(!guest.qemu.is_running());
    meanwhile();
    guest.qemu.execute("cont", "");
    assert!(guest.qemu.is_running());
}

fn stop_in_the_middle(host: &Host, guest: &mut Guest) {
    let received = || {
        let path = format!(
            "/sys/class/net/{}/statistics/rx_packets",
            host.card.interface
        );
        let out = host.network.sh(&format!("cat {path}"));
        out.expect_ok().trim().parse::<u64>().expect("a number")
    };
    let server = Server::new(host);
    guest.begin(&server.request(512));
    thread::scope(|s| {
        let serving = s.spawn(|| server.answer());
        for _ in 0..5 {
            let before = received();
            sys::wait_for("some packets", || {
                received() > before + 10 || serving.is_finished()
            });
            stop(guest, || {
                // What had been sent may still be on its way up.
                thread::sleep(Duration::from_millis(100));
                let before = received();
                thread::sleep(Duration::from_millis(200));
                assert_eq!(received(), before, "nothing comes from a stopped guest");
            });
        }
    });
    assert_eq!(guest.end(), (0, String::new()), "what came back");
}

/// Has the guest send packets for as long as it has an interface.
fn send_without_end(guest: &mut Guest) {
    guest.sh("while [ -d $dev ]; do ping -q -A -c 100 -W 1 10.0.0.1; done >/dev/null 2>&1 &");
}

fn unplugged_and_plugged_again() {
    let rings = if_ours(Rings::PACKED);
    in_use(rings, |wire, guest| {
        for _ in 0..2 {
            send_without_end(guest);
            guest.unplug();
            assert_eq!(guest.qemu.pinned(), 0, "nothing is pinned any more");
            let node = Node::open(DEVICE);
            assert_eq!(node.status(), Ok(0));
            drop(node);
            wire.plug(guest, rings);
            wire.pass(guest);
        }
        guest.unplug();
    });
}

fn deleted_under_a_guest() {
    let wire = Wire::new("N");
    let device = wire.device(Rings::SPLIT);
    guest::with(Ram::Shared, |guest| {
        wire.plug(guest, Rings::SPLIT);
        wire.pass(guest);
        send_without_end(guest);
        let deleting = thread::spawn(|| Vdpa::new().try_del(DEVICE).errno);
        sys::wait_for("the end of the deletion", || deleting.is_finished());
        assert_eq!(deleting.join().expect("a thread"), Errno::OK);
        assert!(guest.qemu.is_running());
        assert_eq!(guest.qemu.pinned(), 0, "nothing is pinned any more");
        // The guest has an interface of which nothing comes any more.
        assert!(guest.try_sh("[ -d $dev ]"));
        guest.unplug();
        let _again = wire.device(Rings::SPLIT);
        wire.plug(guest, Rings::SPLIT);
        wire.pass(guest);
        guest.unplug();
    });
    drop(device);
}
