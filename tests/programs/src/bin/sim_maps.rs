// SPDX-License-Identifier: GPL-2.0
//! What simulated devices reach: address spaces, both ways of being told what is
//! mapped, with virtual and with physical addresses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vdpa_test::ktap::case;
use vdpa_test::sim::{self, Sim, MAC};
use vdpa_test::vdpa::Vdpa;
use vdpa_test::vhost::net::{frame, negotiate, Net, Setup, RX, TX};
use vdpa_test::vhost::{
    backend, feature, status, Area, Buffer, Memory, Node, Options, Perm, Queue, Ring, Split, PAGE,
};
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    told_of_everything_in_virtual_addresses,
    told_of_everything_in_physical_addresses,
    told_of_pieces_in_virtual_addresses,
    told_of_pieces_in_physical_addresses,
    unmapped_packet,
    packet_that_must_not_be_read,
    buffer_that_must_not_be_written,
    buffer_that_was_not_written_comes_back,
    used_ring_that_is_only_written,
    control_queue_in_its_own_space,
    another_space_is_out_of_reach,
    maps_that_do_not_persist,
    limit_of_entries,
    limit_of_entries_in_whole_maps,
    limits_that_make_no_sense,
    pages_are_pinned,
    no_window_on_the_process,
    no_window_on_the_machine,
    no_window_after_a_reset,
);

const SIZE: usize = 512 << 10;

/// Room for some packets: in physical addresses, each page may be an entry.
fn setup() -> Setup {
    Setup {
        size: 64,
        rx_buffers: 16,
        rx_size: 2048,
        ..Setup::on("n0", Memory::memfd(SIZE))
    }
}

/// What has to work however the device is told, and with both kinds of addresses.
const EVERYWHERE: [(&str, fn()); 8] = [
    ("whole", whole),
    ("in pieces", in_pieces),
    ("in a batch", in_a_batch),
    ("across pieces", across_pieces),
    ("first and last address", first_and_last_address),
    ("unmapped and mapped again", unmapped_and_mapped_again),
    ("changes while it runs", changes_while_it_runs),
    ("maps persist", maps_persist),
];

fn everywhere(batch_mapping: &str, use_va: &str) {
    let _sim = Sim::net_with(&[("batch_mapping", batch_mapping), ("use_va", use_va)]);
    for (name, body) in EVERYWHERE {
        case(name, body);
    }
}

fn told_of_everything_in_virtual_addresses() {
    everywhere("1", "Y");
}

fn told_of_everything_in_physical_addresses() {
    everywhere("1", "N");
}

fn told_of_pieces_in_virtual_addresses() {
    everywhere("0", "Y");
}

fn told_of_pieces_in_physical_addresses() {
    everywhere("0", "N");
}

/// A device that has negotiated features, and no memory yet.
fn open(setup: &Setup) -> (Node, u64) {
    let node = Node::open("n0");
    node.set_owner().unwrap();
    let features = negotiate(&node, setup.features, setup.backend);
    (node, features)
}

fn run(node: Node, setup: &Setup, features: u64) -> Net {
    let mut net = Net::queues(node, setup, features);
    net.run();
    net
}

fn pass(net: &mut Net, count: usize) {
    for n in 0..count {
        net.loop_back(&frame(MAC, n, 60 + (n * 37) % 1400));
    }
}

fn all_of(setup: &Setup) -> Area {
    Area::whole(&setup.memory, setup.iova)
}

fn map_pieces(node: &Node, area: &Area, size: usize) -> Result<(), Errno> {
    for at in (0..area.len()).step_by(size) {
        node.map(0, &area.part(at, size), Perm::Rw)?;
    }
    Ok(())
}

fn whole() {
    let mut net = Net::start(&setup());
    pass(&mut net, 20);
}

fn in_pieces() {
    let setup = setup();
    let (node, features) = open(&setup);
    map_pieces(&node, &all_of(&setup), 4 * PAGE).unwrap();
    pass(&mut run(node, &setup, features), 20);
}

fn in_a_batch() {
    let setup = setup();
    let (node, features) = open(&setup);
    let map = || map_pieces(&node, &all_of(&setup), 16 * PAGE);
    node.batch(0, map).unwrap();
    pass(&mut run(node, &setup, features), 20);
}

/// A packet whose parts are in different entries, and in different memory.
fn across_pieces() {
    let setup = setup();
    let (node, features) = open(&setup);
    map_pieces(&node, &all_of(&setup), SIZE).unwrap();
    // The pages of it in the opposite order.
    let other = Area::whole(&Memory::memfd(2 * PAGE), 0x77_0000_0000);
    let page = |n: usize| other.part(n * PAGE, PAGE);
    node.map(0, &page(0).under(other.iova() + PAGE as u64), Perm::Rw)
        .unwrap();
    node.map(0, &page(1).under(other.iova()), Perm::Rw).unwrap();
    let mut net = run(node, &setup, features);
    for cut in [1, 11, 12, 13, 18, 600] {
        let sent = frame(MAC, cut, 700);
        let packet = [&vec![0; net.header()], &sent[..]].concat();
        let (first, second) = packet.split_at(cut);
        page(1).write(PAGE - cut, first);
        page(0).write(0, second);
        let buffer = Buffer {
            iova: other.iova() + (PAGE - cut) as u64,
            len: packet.len() as u32,
            writable: false,
        };
        net.send_chain(&[buffer]);
        assert!(net.receive() == sent, "cut after {cut} bytes");
    }
}

fn first_and_last_address() {
    for iova in [0, 0u64.wrapping_sub(SIZE as u64), (1 << 63) - PAGE as u64] {
        let mut net = Net::start(&Setup { iova, ..setup() });
        pass(&mut net, 5);
    }
}

fn unmapped_and_mapped_again() {
    let mut net = Net::start(&setup());
    let other = Area::whole(&Memory::memfd(16 * PAGE), 0x77_0000_0000);
    for n in 0..5 {
        net.node.map(0, &other, Perm::Rw).unwrap();
        let sent = frame(MAC, n, 500);
        let packet = net.write_packet(&other.part(n * 100, PAGE), &sent);
        net.send_chain(&[packet.readable()]);
        assert_eq!(net.receive(), sent);
        net.node.unmap(0, other.iova(), other.len() as u64).unwrap();
        // Its memory is still there, but not the device's any more.
        net.send_chain(&[packet.readable()]);
        assert_eq!(net.receive_now(0), None, "the packet that was unmapped");
    }
}

/// Other memory comes and goes while packets pass.
fn changes_while_it_runs() {
    let mut net = Net::start(&setup());
    let done = AtomicBool::new(false);
    let other = Area::whole(&Memory::memfd(4 * PAGE), 0x77_0000_0000);
    let node = net.node.try_clone().unwrap();
    thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                node.map(0, &other, Perm::Rw).unwrap();
                node.unmap(0, other.iova(), other.len() as u64).unwrap();
            }
        });
        pass(&mut net, 200);
        done.store(true, Ordering::Relaxed);
    });
}

/// A packet that the device cannot read is lost and counted; the next one is not.
fn unreadable(perm: Option<Perm>) {
    let mut sim = Sim::net();
    let mut net = Net::start(&setup());
    let other = Area::whole(&Memory::memfd(PAGE), 0x77_0000_0000);
    if let Some(perm) = perm {
        net.node.map(0, &other, perm).unwrap();
    }
    net.send_chain(&[other.part(0, 100).readable()]);
    pass(&mut net, 3);
    assert_eq!(sim.stat(TX, "tx errors"), 1);
    assert_eq!(sim.stat(RX, "rx packets"), 3);
    assert_eq!(net.node.status(), Ok(status::RUNNING));
}

fn unmapped_packet() {
    unreadable(None);
}

fn packet_that_must_not_be_read() {
    unreadable(Some(Perm::Wo));
}

/// A device with one buffer to receive that it must not write, and a packet to
/// receive. Also the buffer.
fn unwritable() -> (Net, Area) {
    let mut net = Net::prepare(&Setup {
        rx_buffers: 0,
        ..setup()
    });
    let other = Area::whole(&Memory::memfd(PAGE), 0x77_0000_0000);
    other.fill(0xaa);
    net.node.map(0, &other, Perm::Ro).unwrap();
    net.run();
    net.pairs[0].rx.give(&[other.writable()]);
    net.send(&frame(MAC, 0, 500));
    (net, other)
}

fn buffer_that_must_not_be_written() {
    let mut sim = Sim::net();
    let (_net, buffer) = unwritable();
    sys::wait_for("an error", || sim.stat(RX, "rx errors") == 1);
    let bytes = buffer.read(0, PAGE);
    assert!(bytes.iter().all(|b| *b == 0xaa), "untouched");
}

/// Both drivers get their buffers back, and the next packet comes.
fn buffer_that_was_not_written_comes_back() {
    let _sim = Sim::net();
    let (mut net, _buffer) = unwritable();
    assert_eq!(net.pairs[0].rx.wait().len, Some(0));
    for _ in 0..4 {
        let area = net.space.take(2048, 64);
        net.post(0, area);
    }
    net.pairs[0].rx.notify();
    pass(&mut net, 3);
    net.reclaim(0);
    assert!(net.is_idle(0), "all packets were given back");
}

/// The device reads descriptors and the available ring, and writes the used ring.
fn used_ring_that_is_only_written() {
    let _sim = Sim::net();
    let setup = setup();
    let (node, features) = open(&setup);
    let mut iova = setup.iova;
    let mut queue = |index| {
        let perms = [Perm::Ro, Perm::Ro, Perm::Wo];
        let parts = perms.map(|perm| {
            iova += 0x10_0000;
            let area = Area::whole(&Memory::memfd(PAGE), iova);
            node.map(0, &area, perm).unwrap();
            area
        });
        let ring = Split::of_parts(parts, Options::of(features, 64));
        Queue::attach(&node, index, Ring::Split(ring))
    };
    let (mut rx, mut tx) = (queue(RX), queue(TX));
    let packets = Area::whole(&Memory::memfd(2 * PAGE), 0x77_0000_0000);
    let (from, to) = (packets.part(0, 200), packets.part(PAGE, PAGE));
    node.map(0, &packets, Perm::Rw).unwrap();
    node.set_status(status::RUNNING).unwrap();
    let sent = frame(MAC, 0, 188);
    from.write(12, &sent);
    for _ in 0..3 {
        to.fill(0);
        rx.give(&[to.writable()]);
        tx.give(&[from.readable()]);
        tx.wait();
        assert_eq!(rx.wait().len, Some(200));
        assert_eq!(to.read(12, 188), sent);
    }
}

fn control_queue_in_its_own_space() {
    for batch in ["1", "0"] {
        case(format!("batch_mapping={batch}"), || {
            let _sim = Sim::net_with(&[("batch_mapping", batch)]);
            let mut net = Net::start(&Setup {
                control_asid: 1,
                ..setup()
            });
            pass(&mut net, 3);
            let other = [2, 1, 2, 3, 4, 5];
            assert_eq!(net.command(1, 1, &other), Some(0));
            assert_eq!(net.mac(), other);
        });
    }
}

/// What is mapped for the control queue only is not there for packets.
fn another_space_is_out_of_reach() {
    let mut sim = Sim::net();
    let mut net = Net::start(&Setup {
        control_asid: 1,
        ..setup()
    });
    let other = Area::whole(&Memory::memfd(PAGE), 0x77_0000_0000);
    net.node.map(1, &other, Perm::Rw).unwrap();
    net.send_chain(&[other.part(0, 100).readable()]);
    assert_eq!(sim.stat(TX, "tx errors"), 1);
    net.node.map(0, &other, Perm::Rw).unwrap();
    let sent = frame(MAC, 0, 100);
    let packet = net.write_packet(&other, &sent);
    net.send_chain(&[packet.readable()]);
    assert_eq!(net.receive(), sent);
}

fn maps_persist() {
    let setup = Setup {
        backend: backend::USUAL | backend::IOTLB_PERSIST,
        ..setup()
    };
    let mut net = Net::start(&setup);
    for _ in 0..3 {
        pass(&mut net, 3);
        net.node.reset().unwrap();
        let features = negotiate(&net.node, setup.features, setup.backend);
        net = run(net.node, &setup, features);
    }
    pass(&mut net, 3);
}

fn maps_that_do_not_persist() {
    for batch in ["1", "0"] {
        case(format!("batch_mapping={batch}"), || {
            let _sim = Sim::net_with(&[("batch_mapping", batch)]);
            let setup = setup();
            let mut net = Net::start(&setup);
            pass(&mut net, 3);
            net.node.reset().unwrap();
            let features = negotiate(&net.node, setup.features, setup.backend);
            net = run(net.node, &setup, features);
            net.send(&frame(MAC, 0, 100));
            thread::sleep(Duration::from_millis(100));
            assert_eq!(net.receive_now(0), None, "the device has no memory");
            net.node.reset().unwrap();
            let features = negotiate(&net.node, setup.features, setup.backend);
            // vhost_vdpa still has the entry, and does not take it twice.
            let all = all_of(&setup);
            net.node.unmap(0, all.iova(), all.len() as u64).unwrap();
            net.node.map(0, &all, Perm::Rw).unwrap();
            pass(&mut run(net.node, &setup, features), 3);
        });
    }
}

/// One entry too many is refused, and nothing else happens.
fn limits(batch_mapping: &str) {
    let _sim = Sim::net_with(&[("max_iotlb_entries", "4"), ("batch_mapping", batch_mapping)]);
    let setup = setup();
    let (node, features) = open(&setup);
    node.map(0, &all_of(&setup), Perm::Rw).unwrap();
    // Not one behind the other.
    for n in 1..4 {
        let memory = Memory::memfd(PAGE);
        node.map(0, &Area::whole(&memory, n << 40), Perm::Rw)
            .unwrap();
    }
    let mut net = run(node, &setup, features);
    let other = Area::whole(&Memory::memfd(PAGE), 0x77_0000_0000);
    let error = net.node.map(0, &other, Perm::Rw).unwrap_err();
    // The first is what C's vhost_vdpa makes of every error.
    assert!([Errno::EFAULT, Errno::ENOSPC].contains(&error), "{error:?}");
    pass(&mut net, 20);
    // Another address space has a limit of its own.
    net.node.map(1, &other, Perm::Rw).unwrap();
}

fn limit_of_entries() {
    limits("0");
}

fn limit_of_entries_in_whole_maps() {
    limits("1");
}

fn limits_that_make_no_sense() {
    for limit in sys::few(["1", "0", "-1", "-2147483648"], 2) {
        case(format!("max_iotlb_entries={limit}"), || {
            sim::load(&[("max_iotlb_entries", limit)]);
            // The module is free to say so at once.
            let out = sys::sh("modprobe vdpa_sim_net");
            if out.status != Some(0) {
                assert!(out.err.contains("Invalid argument"), "{out:?}");
                return;
            }
            let mut v = Vdpa::new();
            let msg = v.new_msg("vdpasim_net", "n0");
            v.ack(&msg).expect_errno(Errno::EINVAL);
        });
    }
    sim::unload();
}

/// Kilobytes that this process has pinned.
fn pinned() -> usize {
    let status = sys::read("/proc/self/status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmPin:"));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    words[0].parse().unwrap()
}

fn pages_are_pinned() {
    for (va, expected) in [("N", SIZE / 1024), ("Y", 0)] {
        case(format!("use_va={va}"), || {
            let _sim = Sim::net_with(&[("use_va", va)]);
            let setup = setup();
            let (node, _) = open(&setup);
            let area = all_of(&setup);
            node.map(0, &area, Perm::Rw).unwrap();
            assert_eq!(pinned(), expected);
            node.unmap(0, area.iova(), area.len() as u64).unwrap();
            assert_eq!(pinned(), 0, "unmapped");
            node.map(0, &area, Perm::Rw).unwrap();
            drop(node);
            assert_eq!(pinned(), 0, "closed");
        });
    }
}

/// A device that was given no memory is led to some.
fn finds_nothing(setup: &Setup, net: &mut Net) {
    net.send(&frame(MAC, 0, 100));
    let broken = |net: &Net| net.node.status().unwrap() & status::NEEDS_RESET != 0;
    let used = |net: &mut Net| net.pairs[0].tx.ring.split().used_index();
    sys::wait_for("anything", || used(net) != 0 || broken(net));
    assert_eq!(used(net), 0, "it has reached {:#x}", setup.iova);
    assert_eq!(net.receive_now(0), None);
}

/// All in one page, so that it is anywhere in one piece.
fn one_page() -> Setup {
    Setup {
        features: feature::VERSION_1 | feature::ACCESS_PLATFORM | feature::NET_MAC,
        size: 4,
        rx_buffers: 2,
        rx_size: 256,
        ..Setup::on("n0", Memory::memfd(PAGE))
    }
}

fn no_window_on_the_process() {
    let _sim = Sim::net();
    let mut setup = one_page();
    setup.iova = setup.memory.uaddr();
    let (node, features) = open(&setup);
    finds_nothing(&setup, &mut run(node, &setup, features));
    // Where the memory is does not matter, once the device has it.
    pass(&mut Net::start(&setup), 1);
}

fn no_window_on_the_machine() {
    let _sim = Sim::net_with(&[("use_va", "N")]);
    let mut setup = one_page();
    all_of(&setup).fill(0);
    setup.iova = setup.memory.physical(0);
    let (node, features) = open(&setup);
    finds_nothing(&setup, &mut run(node, &setup, features));
}

fn no_window_after_a_reset() {
    let _sim = Sim::net();
    let mut setup = one_page();
    setup.iova = setup.memory.uaddr();
    let mut net = Net::start(&setup);
    pass(&mut net, 1);
    net.node.reset().unwrap();
    let features = negotiate(&net.node, setup.features, setup.backend);
    finds_nothing(&setup, &mut run(net.node, &setup, features));
}
