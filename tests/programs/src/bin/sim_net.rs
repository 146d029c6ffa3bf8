// SPDX-License-Identifier: GPL-2.0
//! The simulated network device as a user of vhost-vdpa sees it: its configuration,
//! and packets that come back.

use std::collections::HashSet;

use vdpa_test::ktap::case;
use vdpa_test::sim::{Sim, MAC as OWN};
use vdpa_test::vdpa::*;
use vdpa_test::vhost::net::{config, frame, Net, Setup, RX, TX};
use vdpa_test::vhost::{feature, Area, EventFd, Memory, Node};
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    loopback,
    configuration,
    default_configuration,
    default_address,
    address_set_by_netlink,
    address_set_by_netlink_interrupts,
    address_that_no_interface_can_have,
    made_with_such_an_address,
    filter,
    filter_compares_all_bytes,
    packets_too_short,
    long_packets,
    packets_beyond_the_mtu,
    longest_packets,
    buffer_too_small,
    headers_are_the_devices,
    old_headers,
    packets_in_pieces,
    many_packets,
    no_buffers_to_receive,
    buffers_in_pieces,
    statistics,
    statistics_go_on_after_a_reset,
    statistics_of_no_queue,
);

fn setup() -> Setup {
    Setup::new("n0")
}

/// Sends a packet and another one after it, of which the second must come back; what
/// came before it.
#[track_caller]
fn before_the_next(net: &mut Net, sent: &[u8]) -> Option<Vec<u8>> {
    let probe = frame(OWN, 99, 99);
    assert!(net.enqueue(0, sent) && net.enqueue(0, &probe));
    net.pairs[0].tx.notify();
    let first = net.receive();
    if first == probe {
        return None;
    }
    assert_eq!(net.receive(), probe);
    Some(first)
}

fn loopback() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup());
    for n in 0..300 {
        net.loop_back(&frame(OWN, n, 60 + (n * 37) % 1454));
    }
}

fn configuration() {
    for mtu in [68u16, 1500, 9000, 65535] {
        case(format!("MTU {mtu}"), || {
            let mut sim = Sim::net_by(&[], |m| m.attr(MAC, &OWN).attr(MTU, &mtu.to_ne_bytes()));
            let r = sim.v.config("n0");
            assert_eq!(r.need(MAC).data, OWN);
            assert_eq!(r.need(MTU).u16(), mtu);
            let node = Node::open("n0");
            assert_eq!(node.config(config::MAC, 6).unwrap(), OWN);
            assert_eq!(node.config(config::MTU, 2).unwrap(), mtu.to_le_bytes());
        });
    }
}

fn default_configuration() {
    let mut sim = Sim::net();
    let r = sim.v.config("n0");
    assert_eq!(r.need(MTU).u16(), 1500);
    assert_eq!(r.need(NET_STATUS).u16(), 1, "the link is up");
    let node = Node::open("n0");
    assert_eq!(node.config(config::STATUS, 2).unwrap(), [1, 0]);
    assert_eq!(node.config(config::MTU, 2).unwrap(), 1500u16.to_le_bytes());
}

/// An address that an interface can have, and each device one of its own.
fn default_address() {
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let _sim = Sim::net_by(&[], |m| m);
        let mac = Node::open("n0").config(config::MAC, 6).unwrap();
        assert_eq!(mac[0] & 3, 2, "{mac:x?}: of one interface, given locally");
        assert!(seen.insert(mac), "another device had the same");
    }
}

fn address_set_by_netlink() {
    let _sim = Sim::net();
    let other = [2, 1, 2, 3, 4, 5];
    let set = || sys::sh("vdpa dev set name n0 mac 02:01:02:03:04:05").expect("");
    case("before it is used", || {
        set();
        assert_eq!(Node::open("n0").config(config::MAC, 6).unwrap(), other);
        sys::sh("vdpa dev set name n0 mac 02:e8:ca:33:ba:05").expect("");
    });
    case("while packets pass", || {
        let mut net = Net::start(&setup());
        net.loop_back(&frame(OWN, 0, 100));
        set();
        assert_eq!(net.mac(), other);
        net.loop_back(&frame(other, 1, 100));
        net.send(&frame(OWN, 2, 100));
        net.loop_back(&frame(other, 3, 100));
    });
}

/// The driver is told that its configuration changed.
fn address_set_by_netlink_interrupts() {
    let _sim = Sim::net();
    let net = Net::start(&setup());
    let changed = EventFd::new();
    net.node.set_config_call(Some(&changed)).unwrap();
    sys::sh("vdpa dev set name n0 mac 02:01:02:03:04:05").expect("");
    sys::wait_for("an interrupt", || changed.wait(0));
}

fn address_that_no_interface_can_have() {
    let mut sim = Sim::net();
    for mac in [[0; 6], [3, 1, 2, 3, 4, 5], [0xff; 6]] {
        let msg = sim.v.about(CMD_DEV_ATTR_SET, "n0").attr(MAC, &mac);
        let ack = sim.v.ack(&msg);
        ack.expect(Errno::EOPNOTSUPP, Some("vdpa: Invalid MAC address"));
        assert_eq!(Node::open("n0").config(config::MAC, 6).unwrap(), OWN);
    }
}

/// No device is made with one either.
fn made_with_such_an_address() {
    let mut sim = Sim::net();
    for mac in [[0; 6], [3, 1, 2, 3, 4, 5], [0xff; 6]] {
        let msg = sim.v.new_msg("vdpasim_net", "n1").attr(MAC, &mac);
        sim.v.ack(&msg).expect(Errno::EINVAL, None);
    }
    assert_eq!(sys::devices(), ["n0"]);
}

fn filter() {
    let mut sim = Sim::net();
    let mut net = Net::start(&setup());
    let (mut passed, mut dropped) = (0, 0);
    let mut try_address = |name: &str, mac, passes: bool| {
        case(name, || {
            let sent = frame(mac, 0, 100);
            let got = before_the_next(&mut net, &sent);
            assert_eq!(got, passes.then_some(sent));
        });
        passed += 1 + u64::from(passes);
        dropped += u64::from(!passes);
    };
    try_address("its own", OWN, true);
    try_address("broadcast", [0xff; 6], true);
    try_address("multicast", [1, 0, 0x5e, 0, 0, 1], true);
    try_address("multicast given locally", [3, 1, 2, 3, 4, 5], true);
    try_address("IPv6 multicast", [0x33, 0x33, 0, 0, 0, 1], true);
    try_address("another one", [2, 1, 2, 3, 4, 5], false);
    for byte in 0..6 {
        let mut other = OWN;
        other[byte] ^= 0x40;
        try_address(&format!("another byte {byte}"), other, false);
    }
    assert_eq!(sim.stat(RX, "rx packets"), passed);
    assert_eq!(sim.stat(RX, "rx drops"), dropped);
    assert_eq!(sim.stat(TX, "tx packets"), passed + dropped);
}

fn filter_compares_all_bytes() {
    let own = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    let _sim = Sim::net_by(&[], |m| m.attr(MAC, &own));
    let mut net = Net::start(&setup());
    net.loop_back(&frame(own, 0, 100));
    net.send(&frame([0x52, 0x54, 0, 0x99, 0x99, 0x99], 1, 100));
    net.loop_back(&frame(own, 2, 100));
}

/// To a driver that was told of a limit comes no longer packet, but one with a tag.
fn packets_beyond_the_mtu() {
    let mut sim = Sim::net();
    let mut net = Net::start(&setup());
    net.loop_back(&frame(OWN, 0, 14 + 1500));
    assert_eq!(before_the_next(&mut net, &frame(OWN, 1, 2000)), None);
    assert_eq!(sim.stat(RX, "rx drops"), 1);
}

fn packets_too_short() {
    let mut sim = Sim::net();
    let mut net = Net::start(&setup());
    let header = net.header();
    let area = Area::whole(&Memory::memfd(4096), 0x77_0000_0000);
    net.node.map(0, &area, vdpa_test::vhost::Perm::Rw).unwrap();
    area.write(header, &OWN);
    for len in [1, header - 1, header, header + 1, header + 5] {
        case(format!("{len} bytes"), || {
            net.send_chain(&[area.part(0, len).readable()]);
            net.loop_back(&frame(OWN, len, 100));
        });
    }
    let stats = [(RX, "rx drops"), (TX, "tx errors")];
    let counted: u64 = stats.map(|(q, name)| sim.stat(q, name)).iter().sum();
    assert_eq!(counted, 5, "each is counted once");
}

/// A driver that was not told of a limit takes any packet that its buffers take.
fn long_packets() {
    let _sim = Sim::net();
    let mut setup = setup();
    setup.features &= !feature::NET_MTU;
    let mut net = Net::start(&setup);
    // With the header, a page.
    for len in [1514, 1515, 2000, 4083, 4084] {
        case(format!("{len} bytes"), || {
            net.loop_back(&frame(OWN, 0, len))
        });
    }
}

/// As long as a packet can be if nobody said how long it may be.
fn longest_packets() {
    let mtu = 65535u16;
    let _sim = Sim::net_by(&[], |m| m.attr(MAC, &OWN).attr(MTU, &mtu.to_ne_bytes()));
    let mut net = Net::start(&Setup {
        rx_buffers: 4,
        rx_size: 68 << 10,
        ..setup()
    });
    for len in [4085, 9014, 65535, 65549] {
        case(format!("{len} bytes"), || {
            net.loop_back(&frame(OWN, 0, len))
        });
    }
}

/// A packet for which there is no room does not come in part.
fn buffer_too_small() {
    let mut sim = Sim::net();
    let mut net = Net::start(&Setup {
        rx_size: 512,
        ..setup()
    });
    let fits = 512 - net.header();
    net.loop_back(&frame(OWN, 0, fits));
    let got = before_the_next(&mut net, &frame(OWN, 1, fits + 1));
    assert_eq!(got.map(|f| f.len()), None);
    assert_eq!(sim.stat(RX, "rx errors"), 1);
}

fn headers_are_the_devices() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup());
    let area = net.space.take(4096, 64);
    let packet = net.write_packet(&area, &frame(OWN, 0, 100));
    // A number of buffers that the sender must set to 0, and leaves at something.
    area.write(10, &[0x34, 0x12]);
    for _ in 0..2 {
        net.send_chain(&[packet.readable()]);
        let used = net.pairs[0].rx.wait();
        let header = net.received(0, used).read(0, 12);
        assert_eq!(header, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    }
}

/// Without VIRTIO_F_VERSION_1 the header has ten bytes.
fn old_headers() {
    let _sim = Sim::net();
    let mut setup = setup();
    setup.features &= !feature::VERSION_1;
    let mut net = Net::start(&setup);
    assert_eq!(net.header(), 10);
    for n in 0..10 {
        net.loop_back(&frame(OWN, n, 60 + n * 100));
    }
    net.send(&frame([2, 1, 2, 3, 4, 5], 0, 100));
    net.loop_back(&frame(OWN, 0, 100));
}

fn packets_in_pieces() {
    let _sim = Sim::net();
    for pieces in [2, 3, 7, 30] {
        case(format!("{pieces} pieces"), || {
            let mut net = Net::start(&Setup { pieces, ..setup() });
            for n in 0..50 {
                net.loop_back(&frame(OWN, n, 60 + n * 20));
            }
        });
    }
}

fn buffers_in_pieces() {
    let _sim = Sim::net();
    let mut net = Net::start(&Setup {
        rx_buffers: 0,
        ..setup()
    });
    for cuts in [
        &[12, 1000][..],
        &[1, 1, 10, 14, 2000],
        &[100; 10],
        &[7; 200],
    ] {
        case(format!("{} pieces", cuts.len()), || {
            let mut rest = net.space.clone();
            let parts: Vec<_> = cuts.iter().map(|len| rest.take(*len, 1)).collect();
            let chain: Vec<_> = parts.iter().map(Area::writable).collect();
            net.pairs[0].rx.give(&chain);
            let sent = frame(OWN, 0, 700);
            net.send(&sent);
            let used = net.pairs[0].rx.wait();
            assert_eq!(used.len, Some(712));
            let bytes: Vec<u8> = parts.iter().flat_map(|p| p.read(0, p.len())).collect();
            assert!(bytes[12..712] == sent);
        });
    }
}

fn many_packets() {
    let _sim = Sim::net();
    let mut net = Net::start(&Setup {
        rx_buffers: 256,
        rx_size: 2048,
        ..setup()
    });
    const COUNT: usize = 3000;
    let packet = |n: usize| frame(OWN, n, 60 + (n * 37) % 1400);
    let (mut sent, mut received) = (0, 0);
    // Never more under way than there are buffers for.
    while received < COUNT {
        while sent < COUNT && sent - received < 256 && net.enqueue(0, &packet(sent)) {
            sent += 1;
        }
        net.pairs[0].tx.notify();
        assert!(net.receive() == packet(received), "packet {received}");
        received += 1;
        while let Some(got) = net.receive_now(0) {
            assert!(got == packet(received), "packet {received}");
            received += 1;
        }
    }
}

/// What cannot be received yet is received later, and the sender may have to wait.
fn no_buffers_to_receive() {
    let _sim = Sim::net();
    let mut net = Net::start(&Setup {
        rx_buffers: 2,
        ..setup()
    });
    for n in 0..20 {
        net.enqueue(0, &frame(OWN, n, 100 + n));
    }
    net.pairs[0].tx.notify();
    for n in 0..20 {
        assert_eq!(net.receive(), frame(OWN, n, 100 + n), "packet {n}");
    }
}

fn statistics() {
    let mut sim = Sim::net();
    let mut net = Net::start(&setup());
    let numbers = |stats: Vec<(String, u64)>| stats.into_iter().map(|s| s.1).collect::<Vec<_>>();
    let names = |stats: &[(String, u64)]| stats.iter().map(|s| s.0.clone()).collect::<Vec<_>>();
    let (rx, tx, control) = (sim.stats(0), sim.stats(1), sim.stats(2));
    let words = |kind: &str, all: &str| -> Vec<_> {
        all.split(' ').map(|w| format!("{kind} {w}")).collect()
    };
    assert_eq!(
        names(&rx),
        words("rx", "packets bytes errors overruns drops")
    );
    assert_eq!(names(&tx), words("tx", "packets bytes errors drops"));
    assert_eq!(names(&control), words("cvq", "requests successes errors"));
    for stats in [rx, tx, control] {
        assert!(numbers(stats).iter().all(|n| *n == 0), "nothing happened");
    }
    for n in 0..10 {
        net.loop_back(&frame(OWN, n, 100));
    }
    net.send(&frame([2, 1, 2, 3, 4, 5], 0, 100));
    net.loop_back(&frame(OWN, 0, 100));
    let bytes = sim.stat(TX, "tx bytes");
    let header = bytes / 12 - 100;
    assert!(
        [0, 12].contains(&header),
        "{bytes} bytes, with header or without"
    );
    let each = 100 + header;
    assert_eq!(numbers(sim.stats(0)), [11, 11 * each, 0, 0, 1]);
    assert_eq!(numbers(sim.stats(1)), [12, 12 * each, 0, 0]);
    assert_eq!(numbers(sim.stats(2)), [0, 0, 0]);
}

fn statistics_go_on_after_a_reset() {
    let mut sim = Sim::net();
    for round in 1..3 {
        let mut net = Net::start(&setup());
        net.loop_back(&frame(OWN, 0, 100));
        assert_eq!(sim.stat(TX, "tx packets"), round);
        assert_eq!(sim.stat(RX, "rx packets"), round);
    }
}

fn statistics_of_no_queue() {
    let mut sim = Sim::net();
    let _net = Net::start(&setup());
    let vqs = sim.v.get("n0").need(MAX_VQS).u32();
    for queue in [vqs, vqs + 1, 0x8000] {
        let msg = sim.v.about(CMD_DEV_VSTATS_GET, "n0");
        let msg = msg.attr(QUEUE_INDEX, &queue.to_ne_bytes());
        sim.v.ack(&msg).expect_errno(Errno::EINVAL);
    }
}
