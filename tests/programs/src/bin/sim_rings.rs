// SPDX-License-Identifier: GPL-2.0
//! Rings that make no sense: the device must not use them, and has to say that it
//! needs a reset; after that, it works again.

use std::time::Duration;

use vdpa_test::ktap::case;
use vdpa_test::sim::{Sim, MAC};
use vdpa_test::vhost::net::{frame, negotiate, Net, Setup, RX, TX};
use vdpa_test::vhost::{
    feature, status, Area, Buffer, Descriptor, EventFd, Memory, Node, Packed, Queue, RingAddress,
};
use vdpa_test::{ktap_main, sys};

ktap_main!(
    need_a_reset,
    need_a_reset_indirect,
    need_a_reset_packed,
    reset_mends,
    reset_mends_indirect,
    reset_mends_packed,
    broken_device,
);

const SIZE: u16 = 16;
const NEXT: u16 = Descriptor::NEXT;
const WRITE: u16 = Descriptor::WRITE;
const INDIRECT: u16 = Descriptor::INDIRECT;
/// Where nothing is.
const NOWHERE: u64 = 0x66_0000_0000;

type Spoil = fn(&mut Net);

fn setup(features: u64) -> Setup {
    let mut setup = Setup::on("n0", Memory::memfd(256 << 10));
    setup.features |= features;
    Setup {
        size: SIZE,
        rx_buffers: 8,
        rx_size: 2048,
        ..setup
    }
}

fn tx(net: &mut Net) -> &mut Queue {
    &mut net.pairs[0].tx
}

fn rx(net: &mut Net) -> &mut Queue {
    &mut net.pairs[0].rx
}

fn control(net: &mut Net) -> &mut Queue {
    net.control.as_mut().expect("a control queue")
}

/// Some memory that the device has.
fn memory(net: &Net) -> Buffer {
    net.space.part(0, 256).readable()
}

/// Makes a packet available, for which the device looks at the receive queue.
fn feed(net: &mut Net) {
    let area = net.space.clone().take(8192, 64).part(4096, 4096);
    let packet = net.write_packet(&area, &frame(MAC, 0, 100));
    tx(net).ring.add(&[packet.readable()]);
}

/// Writes descriptors from the first one on and makes the first one available.
fn give(queue: &mut Queue, descriptors: &[(Buffer, u16, u16)]) {
    let ring = queue.ring.split();
    for (i, (buffer, flags, next)) in (0u16..).zip(descriptors) {
        let descriptor = Descriptor {
            flags: *flags,
            next: *next,
            ..Descriptor::new(*buffer, None)
        };
        descriptor.write(&ring.desc, i);
    }
    ring.make_available(0);
}

/// Moves a queue that the device has not used yet.
fn place(net: &Net, index: u32, change: impl FnOnce(&mut RingAddress)) {
    let pair = &net.pairs[0];
    let queue = if index == TX { &pair.tx } else { &pair.rx };
    let mut address = queue.ring.address();
    change(&mut address);
    net.node.set_vring_enable(index, false).unwrap();
    net.node.set_vring_addr(index, address).unwrap();
    net.node.set_vring_enable(index, true).unwrap();
}

/// Of split rings: what is done to a device before it runs.
const SPLIT: &[(&str, Spoil)] = &[
    ("head after the last", |n| {
        tx(n).ring.split().make_available(SIZE)
    }),
    ("head far out", |n| {
        tx(n).ring.split().make_available(0xffff)
    }),
    ("index too far on", |n| {
        tx(n).ring.split().set_avail_index(SIZE + 1)
    }),
    ("index went back", |n| {
        tx(n).ring.split().set_avail_index(0xffff)
    }),
    ("next out of range", |n| {
        let m = memory(n);
        give(tx(n), &[(m, NEXT, SIZE)]);
    }),
    ("chain to itself", |n| {
        let m = memory(n);
        give(tx(n), &[(m, NEXT, 0)]);
    }),
    ("chain around", |n| {
        let m = memory(n);
        give(tx(n), &[(m, NEXT, 1), (m, NEXT, 2), (m, NEXT, 0)]);
    }),
    ("to read after to write", |n| {
        let m = memory(n);
        give(tx(n), &[(m, WRITE | NEXT, 1), (m, 0, 0)]);
    }),
    ("nothing in it", |n| {
        let m = Buffer {
            len: 0,
            ..memory(n)
        };
        give(tx(n), &[(m, 0, 0)]);
    }),
    ("four gigabytes", |n| {
        let m = Buffer {
            len: u32::MAX,
            ..memory(n)
        };
        give(tx(n), &[(m, NEXT, 1), (m, 0, 0)]);
    }),
    ("beyond the last address", |n| {
        let m = Buffer {
            iova: u64::MAX - 10,
            ..memory(n)
        };
        give(tx(n), &[(m, 0, 0)]);
    }),
    ("table that was not negotiated", |n| {
        let m = Buffer {
            len: 32,
            ..memory(n)
        };
        give(tx(n), &[(m, INDIRECT, 0)]);
    }),
    ("descriptors nowhere", |n| {
        place(n, TX, |a| a.desc = NOWHERE)
    }),
    ("available ring nowhere", |n| {
        place(n, TX, |a| a.driver = NOWHERE)
    }),
    ("used ring nowhere", |n| {
        place(n, TX, |a| a.device = NOWHERE)
    }),
    ("descriptors at the end", |n| {
        place(n, TX, |a| a.desc = 0xffff_ffff_ffff_fff0)
    }),
    ("receive queue: head after the last", |n| {
        feed(n);
        rx(n).ring.split().make_available(SIZE);
    }),
    ("receive queue: buffer to read", |n| {
        feed(n);
        let m = memory(n);
        give(rx(n), &[(m, 0, 0)]);
    }),
    ("receive queue: chain around", |n| {
        feed(n);
        let m = memory(n);
        give(rx(n), &[(m, WRITE | NEXT, 1), (m, WRITE | NEXT, 0)]);
    }),
    ("receive queue: used ring nowhere", |n| {
        feed(n);
        place(n, RX, |a| a.device = NOWHERE);
    }),
    ("control queue: head after the last", |n| {
        control(n).ring.split().make_available(SIZE);
    }),
    ("control queue: chain to itself", |n| {
        let m = memory(n);
        give(control(n), &[(m, NEXT, 0)]);
    }),
];

/// Makes a table for indirect descriptors available.
fn give_table(net: &mut Net, entries: &[(Buffer, u16, u16)], len: u32, flags: u16) {
    let table = net.space.clone().take(4096, 16).part(1024, 1024);
    for (i, (buffer, flags, next)) in (0u16..).zip(entries) {
        let descriptor = Descriptor {
            flags: *flags,
            next: *next,
            ..Descriptor::new(*buffer, None)
        };
        descriptor.write(&table, i);
    }
    let buffer = Buffer {
        len,
        ..table.readable()
    };
    let after = memory(net);
    give(tx(net), &[(buffer, INDIRECT | flags, 1), (after, 0, 0)]);
}

/// Of tables in split rings.
const TABLES: &[(&str, Spoil)] = &[
    ("table in a table", |n| {
        let m = memory(n);
        give_table(n, &[(Buffer { len: 16, ..m }, INDIRECT, 0)], 16, 0);
    }),
    ("more after the table", |n| {
        let m = memory(n);
        give_table(n, &[(m, 0, 0)], 16, NEXT);
    }),
    ("empty table", |n| give_table(n, &[], 0, 0)),
    ("part of a descriptor", |n| {
        let m = memory(n);
        give_table(n, &[(m, 0, 0)], 17, 0);
    }),
    ("next out of the table", |n| {
        let m = memory(n);
        give_table(n, &[(m, NEXT, 2), (m, 0, 0), (m, 0, 0)], 32, 0);
    }),
    ("table around", |n| {
        let m = memory(n);
        give_table(n, &[(m, NEXT, 1), (m, NEXT, 0)], 32, 0);
    }),
    ("to read after to write in a table", |n| {
        let m = memory(n);
        give_table(n, &[(m, WRITE | NEXT, 1), (m, 0, 0)], 32, 0);
    }),
    ("table nowhere", |n| {
        let table = Buffer {
            iova: NOWHERE,
            len: 32,
            writable: false,
        };
        give(tx(n), &[(table, INDIRECT, 0)]);
    }),
];

/// Writes the first descriptors of a packed ring, available in the first round.
fn give_packed(net: &mut Net, flags: &[u16], buffer: Buffer) {
    let desc = tx(net).ring.packed().desc.clone();
    let descriptors: Vec<_> = (0u16..).zip(flags).collect();
    for (i, flags) in descriptors.into_iter().rev() {
        Packed::write(&desc, i, buffer, 0, *flags | (1 << 7));
    }
}

/// Of packed rings.
const PACKED: &[(&str, Spoil)] = &[
    ("chain around", |n| {
        let m = memory(n);
        give_packed(n, &[NEXT; SIZE as usize], m);
    }),
    ("to read after to write", |n| {
        let m = memory(n);
        give_packed(n, &[WRITE | NEXT, 0], m);
    }),
    ("nothing in it", |n| {
        let m = Buffer {
            len: 0,
            ..memory(n)
        };
        give_packed(n, &[0], m);
    }),
    ("table that was not negotiated", |n| {
        let m = Buffer {
            len: 32,
            ..memory(n)
        };
        give_packed(n, &[INDIRECT], m);
    }),
    ("beyond the last address", |n| {
        let m = Buffer {
            iova: u64::MAX - 10,
            ..memory(n)
        };
        give_packed(n, &[0], m);
    }),
    ("descriptors nowhere", |n| {
        place(n, TX, |a| a.desc = NOWHERE)
    }),
    ("driver's events nowhere", |n| {
        place(n, TX, |a| a.driver = NOWHERE)
    }),
    ("device's events nowhere", |n| {
        place(n, TX, |a| a.device = NOWHERE)
    }),
];

/// A device with a ring that was spoiled, which it must have looked at.
fn spoiled(features: u64, spoil: Spoil) -> Net {
    let setup = Setup {
        rx_buffers: 0,
        ..setup(features)
    };
    let mut net = Net::prepare(&setup);
    spoil(&mut net);
    net.node.set_status(status::RUNNING).unwrap();
    for queue in [RX, TX] {
        let pair = &net.pairs[0];
        let queue = if queue == TX { &pair.tx } else { &pair.rx };
        queue.kick.signal();
    }
    control(&mut net).kick.signal();
    net
}

fn all_need_a_reset(features: u64, cases: &[(&str, Spoil)]) {
    let _sim = Sim::net();
    for (name, spoil) in cases {
        case(*name, || {
            let net = spoiled(features, *spoil);
            sys::wait_for("NEEDS_RESET", || needs_reset(&net.node));
        });
    }
}

fn needs_reset(node: &Node) -> bool {
    node.status().unwrap() & status::NEEDS_RESET != 0
}

fn all_mend(features: u64, cases: &[(&str, Spoil)]) {
    let _sim = Sim::net();
    for (name, spoil) in cases {
        case(*name, || {
            let net = spoiled(features, *spoil);
            std::thread::sleep(Duration::from_millis(20));
            mend(net.node, &setup(features));
        });
    }
}

/// Resets a device and uses it as it is meant to be used.
fn mend(node: Node, setup: &Setup) {
    node.reset().unwrap();
    assert_eq!(node.status(), Ok(0));
    let accepted = negotiate(&node, setup.features, setup.backend);
    let all = Area::whole(&setup.memory, setup.iova);
    node.unmap(0, all.iova(), all.len() as u64).unwrap();
    node.map(0, &all, vdpa_test::vhost::Perm::Rw).unwrap();
    let mut net = Net::queues(node, setup, accepted);
    net.run();
    for n in 0..5 {
        net.loop_back(&frame(MAC, n, 100));
    }
}

fn need_a_reset() {
    all_need_a_reset(0, SPLIT);
}

fn reset_mends() {
    all_mend(0, SPLIT);
}

fn need_a_reset_indirect() {
    Sim::net().need(feature::INDIRECT_DESC, "indirect descriptors");
    all_need_a_reset(feature::INDIRECT_DESC, TABLES);
}

fn reset_mends_indirect() {
    Sim::net().need(feature::INDIRECT_DESC, "indirect descriptors");
    all_mend(feature::INDIRECT_DESC, TABLES);
}

fn need_a_reset_packed() {
    Sim::net().need(feature::RING_PACKED, "packed rings");
    all_need_a_reset(feature::RING_PACKED, PACKED);
}

fn reset_mends_packed() {
    Sim::net().need(feature::RING_PACKED, "packed rings");
    all_mend(feature::RING_PACKED, PACKED);
}

/// What follows when a device needs a reset.
fn broken_device() {
    let _sim = Sim::net();
    let setup = setup(0);
    let mut net = Net::start(&setup);
    let changed = EventFd::new();
    net.node.set_config_call(Some(&changed)).unwrap();
    net.loop_back(&frame(MAC, 0, 100));
    tx(&mut net).ring.split().make_available(SIZE);
    tx(&mut net).kick.signal();
    sys::wait_for("the interrupt of the configuration", || changed.wait(0));
    assert_eq!(net.node.status(), Ok(status::RUNNING | status::NEEDS_RESET));
    // The queue stays as it is, whatever comes.
    let used = tx(&mut net).ring.split().used_index();
    for _ in 0..20 {
        tx(&mut net).kick.signal();
    }
    assert_eq!(tx(&mut net).ring.split().used_index(), used);
    assert_eq!(net.mac(), MAC, "the configuration can be read");
    mend(net.node, &setup);
    assert_eq!(changed.count(), 1, "it was said once");
}
