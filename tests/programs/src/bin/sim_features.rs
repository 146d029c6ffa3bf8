// SPDX-License-Identifier: GPL-2.0
//! What simulated network devices can do beyond C's: rings of all kinds, long ones,
//! buffers that are merged, several pairs of queues.

use std::path::Path;

use vdpa_test::ktap::{case, skip};
use vdpa_test::sim::{Sim, MAC as OWN};
use vdpa_test::vdpa::*;
use vdpa_test::vhost::net::control::{ERR, MQ, MQ_VQ_PAIRS_SET, OK};
use vdpa_test::vhost::net::{config, frame, Net, Setup};
use vdpa_test::vhost::{feature, Interrupts, Memory, Node};
use vdpa_test::{ktap_main, sim, sys, Errno};

ktap_main!(
    rings_of_all_kinds,
    rings_of_all_sizes,
    interrupts_after_events,
    interrupts_never,
    chains_longer_than_the_ring,
    merged_buffers,
    merged_buffers_are_as_few_as_possible,
    merged_buffers_that_are_too_few,
    pairs_of_queues,
    pairs_of_queues_for_an_old_driver,
    numbers_of_pairs,
    long_queues,
    queue_sizes_that_make_no_sense,
);

const RINGS: [(u64, &str); 4] = [
    (feature::RING_PACKED, "packed"),
    (feature::EVENT_IDX, "events"),
    (feature::INDIRECT_DESC, "indirect"),
    (feature::IN_ORDER, "in order"),
];

fn setup(features: u64) -> Setup {
    let mut setup = Setup::new("n0");
    setup.features |= features;
    if features & feature::INDIRECT_DESC != 0 {
        setup.indirect = 8;
        setup.pieces = 3;
    }
    setup
}

/// What is to be used of a device that has all of it.
fn need(features: u64, what: &str) -> Sim {
    let sim = Sim::net();
    sim.need(features, what);
    sim
}

/// Packets in bursts: `each` of them under way at a time.
fn pass(net: &mut Net, count: usize, each: usize) {
    for first in (0..count).step_by(each) {
        for n in first..first + each {
            assert!(net.enqueue(0, &packet(n)), "room for packet {n}");
        }
        net.pairs[0].tx.notify();
        for n in first..first + each {
            assert!(net.receive() == packet(n), "packet {n}");
        }
        while !net.is_idle(0) {
            net.reclaim(0);
        }
    }
}

fn packet(n: usize) -> Vec<u8> {
    frame(OWN, n, 60 + (n * 37) % 1400)
}

fn rings_of_all_kinds() {
    let all = RINGS.iter().fold(0, |all, r| all | r.0);
    let _sim = need(all, "rings but split ones");
    for bits in 0..1u64 << RINGS.len() {
        let chosen = RINGS.iter().enumerate();
        let chosen: Vec<_> = chosen.filter(|(i, _)| (bits >> i) & 1 == 1).collect();
        let features = chosen.iter().fold(0, |all, (_, r)| all | r.0);
        let names: Vec<_> = chosen.iter().map(|(_, r)| r.1).collect();
        case(format!("features: {}", names.join(", ")), || {
            let mut net = Net::start(&setup(features));
            assert_eq!(net.features & features, features);
            pass(&mut net, 300, 10);
            // Around the ring by single packets, too.
            pass(&mut net, 100, 1);
        });
    }
}

fn rings_of_all_sizes() {
    let _sim = need(feature::RING_PACKED, "packed rings");
    for features in [0, feature::RING_PACKED] {
        for size in [1, 2, 4, 32] {
            let kind = if features == 0 { "split" } else { "packed" };
            case(format!("{kind} ring of {size}"), || {
                let mut net = Net::start(&Setup {
                    size,
                    rx_buffers: size,
                    ..setup(features | feature::EVENT_IDX)
                });
                pass(&mut net, 4 * usize::from(size), usize::from(size));
            });
        }
    }
}

fn interrupts_after_events() {
    let _sim = need(feature::EVENT_IDX, "event indexes");
    for ring in [0, feature::RING_PACKED] {
        case(if ring == 0 { "split" } else { "packed" }, || {
            let mut net = Net::start(&setup(ring | feature::EVENT_IDX));
            for round in 0..5 {
                let rx = &mut net.pairs[0].rx;
                rx.ring.interrupts(Interrupts::After(100));
                rx.call.count();
                let first = round * 100;
                for n in first..first + 99 {
                    net.send(&frame(OWN, n, 100));
                    assert_eq!(net.receive(), frame(OWN, n, 100));
                }
                let call = &net.pairs[0].rx.call;
                assert_eq!(call.count(), 0, "round {round}: 99 packets");
                net.loop_back(&frame(OWN, first + 99, 100));
                let call = &net.pairs[0].rx.call;
                sys::wait_for("an interrupt for the 100th", || call.wait(0));
                assert_eq!(call.count(), 1, "round {round}");
            }
        });
    }
}

fn interrupts_never() {
    let _sim = need(feature::EVENT_IDX, "event indexes");
    for ring in [0, feature::RING_PACKED] {
        case(if ring == 0 { "split" } else { "packed" }, || {
            let mut net = Net::start(&setup(ring | feature::EVENT_IDX));
            let pair = &mut net.pairs[0];
            for queue in [&mut pair.tx, &mut pair.rx] {
                queue.ring.interrupts(Interrupts::Never);
                queue.call.count();
            }
            pass(&mut net, 400, 10);
            assert_eq!(net.pairs[0].tx.call.count(), 0);
            assert_eq!(net.pairs[0].rx.call.count(), 0);
        });
    }
}

/// Which is only possible in tables.
fn chains_longer_than_the_ring() {
    let _sim = need(feature::INDIRECT_DESC, "indirect descriptors");
    for ring in [0, feature::RING_PACKED] {
        case(if ring == 0 { "split" } else { "packed" }, || {
            let mut net = Net::start(&Setup {
                size: 4,
                rx_buffers: 4,
                indirect: 64,
                pieces: 60,
                ..setup(ring | feature::INDIRECT_DESC)
            });
            pass(&mut net, 40, 4);
        });
    }
}

fn merging(ring: u64, rx_buffers: u16, rx_size: usize) -> Net {
    Net::start(&Setup {
        rx_buffers,
        rx_size,
        ..setup(ring | feature::NET_MRG_RXBUF)
    })
}

fn merged_buffers() {
    let _sim = need(feature::NET_MRG_RXBUF, "buffers that are merged");
    for ring in [0, feature::RING_PACKED, feature::IN_ORDER] {
        for rx_size in [64, 256, 1000] {
            case(format!("features {ring:#x}, {rx_size} bytes each"), || {
                let mut net = merging(ring, 64, rx_size);
                for n in 0..200 {
                    net.loop_back(&packet(n));
                }
            });
        }
    }
}

fn merged_buffers_are_as_few_as_possible() {
    let _sim = need(feature::NET_MRG_RXBUF, "buffers that are merged");
    let mut net = merging(0, 64, 256);
    let header = net.header();
    for (len, buffers) in [(60, 1u8), (256 - header, 1), (257 - header, 2), (1400, 6)] {
        net.send(&frame(OWN, 0, len));
        let mut left = header + len;
        for n in 0..buffers {
            let used = net.pairs[0].rx.wait();
            assert_eq!(used.len, Some(left.min(256) as u32), "buffer {n}");
            left -= left.min(256);
            let area = net.received(0, used);
            if n == 0 {
                let count = area.read(10, 2);
                assert_eq!(count, [buffers, 0], "for {len} bytes");
            }
            net.post(0, area);
        }
        assert_eq!(left, 0);
        net.pairs[0].rx.notify();
    }
}

/// A packet that needs more buffers than there are does not come in part.
fn merged_buffers_that_are_too_few() {
    let _sim = need(feature::NET_MRG_RXBUF, "buffers that are merged");
    let mut net = merging(0, 3, 256);
    net.send(&frame(OWN, 0, 1400));
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(net.receive_now(0), None);
    for _ in 0..4 {
        let area = net.space.take(256, 64);
        net.post(0, area);
    }
    net.pairs[0].rx.notify();
    assert_eq!(net.receive(), frame(OWN, 0, 1400), "later, as a whole");
}

fn several(pairs: u16) -> Sim {
    need_of_the_manager(feature::NET_MQ, "several pairs of queues");
    Sim::net_by(&[], |m| {
        m.attr(MAC, &OWN).attr(MAX_VQP, &pairs.to_ne_bytes())
    })
}

/// Skips the test if no device can have a feature.
fn need_of_the_manager(features: u64, what: &str) {
    sys::modprobe("vdpa_sim_net");
    let mgmt = Vdpa::new().dump(CMD_MGMTDEV_GET);
    let of_net = |r: &&vdpa_test::genl::Reply| r.need(MGMT_NAME).str() == "vdpasim_net";
    let net = mgmt.iter().find(of_net).expect("vdpasim_net");
    if net.need(SUPPORTED_FEATURES).u64() & features != features {
        skip(format!("the device has no {what}"));
    }
}

fn pairs_of_queues() {
    let mut sim = several(4);
    let node = Node::open("n0");
    assert_eq!(node.vqs_count(), Ok(9));
    assert_eq!(node.config(config::MAX_PAIRS, 2).unwrap(), [4, 0]);
    assert_eq!(sim.v.config("n0").need(MAX_VQP).u16(), 4);
    drop(node);
    let mut net = Net::start(&Setup {
        pairs: 4,
        rx_buffers: 16,
        ..setup(feature::NET_MQ)
    });
    assert_eq!(net.control_index(), 8);
    case("the first one to begin with", || net.loop_back(&packet(0)));
    case("numbers that are refused", || {
        for pairs in [0u16, 5, 0x8000] {
            let answer = net.command(MQ, MQ_VQ_PAIRS_SET, &pairs.to_le_bytes());
            assert_eq!(answer, Some(ERR), "{pairs} pairs");
        }
    });
    case("all of them", || {
        assert_eq!(net.command(MQ, MQ_VQ_PAIRS_SET, &[4, 0]), Some(OK));
        for round in 0..20 {
            for pair in 0..4 {
                let sent = packet(round * 4 + pair);
                assert!(net.enqueue(pair, &sent));
                net.pairs[pair].tx.notify();
                assert!(net.receive_by(pair) == sent, "pair {pair}");
            }
        }
    });
    case("statistics of each", || {
        for pair in 1..4 {
            assert_eq!(sim.stat(2 * pair, "rx packets"), 20);
            assert_eq!(sim.stat(2 * pair + 1, "tx packets"), 20);
        }
        assert_eq!(sim.stat(8, "cvq requests"), 4);
    });
    case("fewer again", || {
        assert_eq!(net.command(MQ, MQ_VQ_PAIRS_SET, &[1, 0]), Some(OK));
        net.loop_back(&packet(0));
        assert!(net.enqueue(3, &packet(1)));
        net.pairs[3].tx.notify();
        assert!(net.receive() == packet(1), "by the pair that is left");
    });
}

/// Without VIRTIO_NET_F_MQ the control queue is the third one.
fn pairs_of_queues_for_an_old_driver() {
    let _sim = several(4);
    let mut net = Net::start(&setup(0));
    assert_eq!(net.control_index(), 2);
    assert_eq!(net.command(1, 1, &OWN), Some(OK));
    net.loop_back(&packet(0));
}

fn numbers_of_pairs() {
    need_of_the_manager(feature::NET_MQ, "several pairs of queues");
    for pairs in [1u16, 2, 16] {
        case(format!("{pairs}"), || {
            let _sim = several(pairs);
            let node = Node::open("n0");
            assert_eq!(node.vqs_count(), Ok(2 * u32::from(pairs) + 1));
            if pairs > 1 {
                let max = node.config(config::MAX_PAIRS, 2).unwrap();
                assert_eq!(max, pairs.to_le_bytes());
            }
        });
    }
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    for pairs in [17u16, 0x8000, 0xffff] {
        let msg = v.new_msg("vdpasim_net", "n0");
        let msg = msg.attr(MAX_VQP, &pairs.to_ne_bytes());
        v.ack(&msg).expect_errno(Errno::EINVAL);
    }
}

fn need_queue_size() {
    sys::modprobe("vdpa_sim");
    if !Path::new("/sys/module/vdpa_sim/parameters/queue_size").exists() {
        skip("the size of queues cannot be chosen");
    }
}

fn long_queues() {
    need_queue_size();
    let _sim = Sim::net_with(&[("queue_size", "32768")]);
    assert_eq!(Node::open("n0").vring_num(), Ok(0x8000));
    for ring in [0, feature::RING_PACKED] {
        case(if ring == 0 { "split" } else { "packed" }, || {
            let mut setup = Setup::on("n0", Memory::memfd(32 << 20));
            setup.features |= ring;
            let mut net = Net::start(&Setup {
                size: 0x8000,
                rx_buffers: 0x7000,
                rx_size: 128,
                ..setup
            });
            // More than twice around.
            for round in 0..3 {
                let sent = |n: usize| frame(OWN, round * 0x7000 + n, 60 + n % 50);
                for n in 0..0x7000 {
                    assert!(net.enqueue(0, &sent(n)), "room for packet {n}");
                }
                net.pairs[0].tx.notify();
                for n in 0..0x7000 {
                    assert!(net.receive() == sent(n), "packet {n}");
                }
            }
        });
    }
}

fn queue_sizes_that_make_no_sense() {
    need_queue_size();
    for size in sys::few(["0", "3", "65536", "4294967295"], 1) {
        case(size, || {
            sim::load(&[("queue_size", size)]);
            let out = sys::sh("modprobe vdpa_sim_net");
            assert!(out.err.contains("Invalid argument"), "{out:?}");
        });
    }
    sim::unload();
}
