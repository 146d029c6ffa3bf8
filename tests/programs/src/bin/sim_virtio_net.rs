// SPDX-License-Identifier: GPL-2.0
//! What the stock virtio_net makes of a simulated network card: rings of all kinds,
//! offloads, queues, the link and the address.

use std::collections::HashSet;

use vdpa_test::card::{need_ours, Card, Host};
use vdpa_test::ktap::case;
use vdpa_test::sys::{self, sh};
use vdpa_test::vdpa::*;
use vdpa_test::vhost::feature;
use vdpa_test::vhost::net::{RX, TX};
use vdpa_test::{ktap_main, sim, Errno};

ktap_main!(
    negotiated_features,
    rings_of_all_kinds,
    offloads,
    queue_pairs,
    queue_pairs_that_are_possible,
    sizes_of_queues,
    sizes_that_make_no_sense,
    link,
    announcement,
    addresses,
    address_of_the_users_choice,
    mtu,
);

const MIB: usize = 1 << 20;

/// What a card offers of which all drivers know.
const BASE: u64 = feature::VERSION_1
    | feature::ACCESS_PLATFORM
    | feature::NET_MAC
    | feature::NET_MTU
    | feature::NET_STATUS
    | feature::NET_CTRL_VQ
    | feature::NET_CTRL_MAC_ADDR;

fn negotiated_features() {
    need_ours("rings but split ones");
    let card = Card::new("n0");
    let features = [
        ("packed rings", feature::RING_PACKED),
        ("event indexes", feature::EVENT_IDX),
        ("indirect descriptors", feature::INDIRECT_DESC),
        ("in order", feature::IN_ORDER),
        ("merged buffers", feature::NET_MRG_RXBUF),
        ("checksums", feature::NET_CSUM | feature::NET_GUEST_CSUM),
        ("TSO", feature::NET_HOST_TSO4 | feature::NET_HOST_TSO6),
        (
            "TSO of others",
            feature::NET_GUEST_TSO4 | feature::NET_GUEST_TSO6,
        ),
        ("ECN", feature::NET_HOST_ECN | feature::NET_GUEST_ECN),
        (
            "offloads that are switched",
            feature::NET_CTRL_GUEST_OFFLOADS,
        ),
        ("announcements", feature::NET_GUEST_ANNOUNCE),
        ("what all know", BASE),
    ];
    for (name, bits) in features {
        case(name, || {
            for bit in (0..64).filter(|bit| bits & (1 << bit) != 0) {
                assert!(card.has(bit), "feature {bit}");
            }
        });
    }
    let shown = Vdpa::new().config("n0").need(NEGOTIATED).u64();
    for bit in 0..64 {
        assert_eq!(
            card.has(bit),
            shown & (1 << bit) != 0,
            "feature {bit} in netlink"
        );
    }
    assert!(
        !card.has(feature::NET_MQ.trailing_zeros()),
        "there is one pair"
    );
}

fn rings_of_all_kinds() {
    need_ours("rings but split ones");
    let packed = feature::RING_PACKED;
    let in_order = feature::IN_ORDER;
    let kinds = [
        ("split", 0),
        ("split, events", feature::EVENT_IDX),
        ("split, indirect", feature::INDIRECT_DESC),
        ("split, in order", in_order),
        ("split, merged buffers", feature::NET_MRG_RXBUF),
        ("packed", packed),
        ("packed, events", packed | feature::EVENT_IDX),
        ("packed, indirect", packed | feature::INDIRECT_DESC),
        ("packed, in order", packed | in_order),
        ("packed, merged buffers", packed | feature::NET_MRG_RXBUF),
        (
            "packed with everything",
            packed
                | in_order
                | feature::EVENT_IDX
                | feature::INDIRECT_DESC
                | feature::NET_MRG_RXBUF,
        ),
    ];
    for (name, features) in sys::few(kinds, 4) {
        case(name, || {
            let hosts = [1, 2].map(|n| Host::with_features(n, BASE | features));
            let [one, two] = &hosts;
            for host in &hosts {
                for bit in (0..64).filter(|bit| features & (1 << bit) != 0) {
                    assert!(host.card.has(bit), "feature {bit}");
                }
            }
            one.card.pair(&two.card);
            one.ping(two, 1472);
            one.send(two, two.v4, MIB / 4);
            two.send(one, one.v4, MIB / 4);
        });
    }
}

/// Whether `ethtool -k` says that something is on.
fn is_on(host: &Host, what: &str) -> bool {
    let line = format!("ethtool -k {}", host.card.interface);
    let out = host.network.sh(&line);
    let mut lines = out.expect_ok().lines();
    let found = lines.find_map(|l| l.trim().strip_prefix(what)?.strip_prefix(": "));
    let found = found.unwrap_or_else(|| panic!("no {what} in {}", out.out));
    found.starts_with("on")
}

fn offloads() {
    need_ours("offloads");
    let [one, two] = [1, 2].map(Host::new);
    for what in [
        "rx-checksumming",
        "tx-checksumming",
        "scatter-gather",
        "tx-tcp-segmentation",
        "tx-tcp6-segmentation",
        "rx-gro-hw",
    ] {
        assert!(is_on(&one, what), "{what}");
    }
    let plain = Host::with_features(3, BASE);
    for what in ["tx-checksumming", "tx-tcp-segmentation", "rx-gro-hw"] {
        assert!(!is_on(&plain, what), "{what} of a card that cannot");
    }
    one.card.pair(&two.card);
    let received = || {
        let bytes = two.card.stat(RX, "rx bytes");
        (bytes, two.card.stat(RX, "rx packets"))
    };
    // The sender's kernel may cut frames itself, and the receiver refuse large ones.
    for (host, what, large) in [
        (&one, "tso", false),
        (&one, "tso", true),
        (&two, "rx-gro-hw", false),
    ] {
        let word = if large { "on" } else { "off" };
        case(format!("{what} {word}"), || {
            let line = format!("ethtool -K {} {what} {word}", host.card.interface);
            host.network.sh(&line).expect_ok();
            let before = received();
            one.send(&two, two.v4, MIB);
            let after = received();
            let mean = (after.0 - before.0) / (after.1 - before.1);
            assert_eq!(mean > 1514, large, "frames of {mean} bytes");
        });
    }
}

/// A line of `ethtool -l` or `-g`: the most that is possible, and what is set.
fn setting(interface: &str, option: &str, what: &str) -> [u32; 2] {
    let out = sh(&format!("ethtool {option} {interface}"));
    let lines = out.expect_ok().lines();
    let values = lines.filter_map(|l| l.strip_prefix(what)?.strip_prefix(':'));
    let values: Vec<_> = values.map(|v| v.trim().parse().unwrap()).collect();
    values.try_into().expect("a maximum and a value")
}

/// Has pktgen send frames to the interface's own address, by these queues in turn.
fn send_by_queues(interface: &str, pairs: u32, count: u32) {
    sys::modprobe("pktgen");
    let mac = sys::read(format!("/sys/class/net/{interface}/address"));
    let thread = "/proc/net/pktgen/kpktgend_0";
    sys::write(thread, "rem_device_all\n");
    sys::write(thread, format!("add_device {interface}\n"));
    let lines = [
        format!("count {count}"),
        "pkt_size 200".to_string(),
        "dst 10.0.0.99".to_string(),
        format!("dst_mac {}", mac.trim()),
        "queue_map_min 0".to_string(),
        format!("queue_map_max {}", pairs - 1),
    ];
    for line in lines {
        sys::write(format!("/proc/net/pktgen/{interface}"), line + "\n");
    }
    sys::write("/proc/net/pktgen/pgctrl", "start\n");
    sys::write(thread, "rem_device_all\n");
}

fn queue_pairs() {
    need_ours("more than one pair of queues");
    let card = Card::by("n0", |msg| msg.attr(MAX_VQP, &8u16.to_ne_bytes()));
    let interface = &card.interface;
    let _ = std::fs::write(
        format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"),
        "1",
    );
    sh(&format!("ip link set {interface} up")).expect_ok();
    let config = Vdpa::new().config("n0");
    assert_eq!(config.need(MAX_VQP).u16(), 8);
    assert_eq!(setting(interface, "-l", "Combined")[0], 8);
    let counts = |what: &str, first: u32| -> Vec<u64> {
        let queues = (0..8).map(|pair| 2 * pair + first);
        queues.map(|queue| card.stat(queue, what)).collect()
    };
    for pairs in [8, 3, 1] {
        case(format!("{pairs} pairs"), || {
            // It fails if there is nothing to change.
            sh(&format!("ethtool -L {interface} combined {pairs}"));
            assert_eq!(setting(interface, "-l", "Combined"), [8, pairs]);
            let before = (counts("tx packets", TX), counts("rx packets", RX));
            send_by_queues(interface, pairs, 240);
            let sent = counts("tx packets", TX);
            let sent = sent.iter().zip(&before.0).map(|(a, b)| a - b);
            let used = pairs as usize;
            let mut expected = vec![240 / u64::from(pairs); used];
            expected.resize(8, 0);
            assert_eq!(sent.collect::<Vec<_>>(), expected, "frames by queue");
            // Each was received by the pair that sent it.
            let received = counts("rx packets", RX);
            let received = received.iter().zip(&before.1).map(|(a, b)| a - b);
            assert_eq!(received.collect::<Vec<_>>(), expected, "frames by queue");
        });
    }
}

fn queue_pairs_that_are_possible() {
    need_ours("more than one pair of queues");
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    let most = v.dump(CMD_MGMTDEV_GET)[0].need(MGMT_MAX_VQS).u32();
    assert_eq!(most % 2, 1, "pairs and a control queue");
    let most = u16::try_from(most / 2).unwrap();
    for pairs in [1, 2, most] {
        case(format!("{pairs}"), || {
            let card = Card::by("n0", |msg| msg.attr(MAX_VQP, &pairs.to_ne_bytes()));
            let shown = setting(&card.interface, "-l", "Combined")[0];
            assert_eq!(shown, u32::from(pairs));
        });
    }
    for pairs in [0, most + 1, u16::MAX] {
        case(format!("{pairs} are refused"), || {
            let msg = v.new_msg("vdpasim_net", "n0");
            let ack = v.ack(&msg.attr(MAX_VQP, &pairs.to_ne_bytes()));
            ack.expect_errno(Errno::EINVAL);
        });
    }
}

/// Unloads the simulators that were loaded with parameters of a test.
struct Reload;

impl Drop for Reload {
    fn drop(&mut self) {
        sim::unload();
    }
}

fn sizes_of_queues() {
    need_ours("parameter for the size of queues");
    for size in sys::few([1, 512, 32768], 1) {
        case(format!("{size} entries"), || {
            let _reload = Reload;
            sim::load(&[("queue_size", &size.to_string())]);
            {
                let card = Card::new("n0");
                for what in ["RX", "TX"] {
                    assert_eq!(setting(&card.interface, "-g", what), [size, size]);
                }
                let shown = Vdpa::new().get("n0").need(MAX_VQ_SIZE).u16();
                assert_eq!(u32::from(shown), size);
            }
            // The driver sends nothing if a packet in many pieces has no room.
            if size > 1 {
                let [one, two] = [1, 2].map(Host::new);
                one.card.pair(&two.card);
                one.send(&two, two.v4, MIB);
                two.send(&one, one.v4, MIB);
            }
        });
    }
}

fn sizes_that_make_no_sense() {
    need_ours("parameter for the size of queues");
    for size in sys::few(["0", "255", "65536"], 1) {
        case(size, || {
            let _reload = Reload;
            sim::load(&[("queue_size", size)]);
            let out = sh("modprobe vdpa_sim_net");
            assert_ne!(out.status, Some(0), "{out:?}");
            assert!(out.err.contains("Invalid argument"), "{out:?}");
        });
    }
}

fn fault(card: &Card, file: &str, value: &str) {
    let path = format!("/sys/kernel/debug/vdpa_sim_net/{}/{file}", card.name);
    sys::write(path, value);
}

fn link() {
    need_ours("link that can go down");
    let card = Card::new("n0");
    let interface = &card.interface;
    sh(&format!("ip link set {interface} up")).expect_ok();
    let carrier = || sys::read(format!("/sys/class/net/{interface}/carrier"));
    sys::wait_for("the carrier", || carrier() == "1\n");
    for _ in 0..3 {
        fault(&card, "link", "0");
        sys::wait_for("no carrier", || carrier() == "0\n");
        let out = sh("vdpa dev config show n0");
        assert!(out.expect_ok().contains(" link down "), "{out:?}");
        fault(&card, "link", "1");
        sys::wait_for("the carrier", || carrier() == "1\n");
    }
    let out = sh("vdpa dev config show n0");
    assert!(out.expect_ok().contains(" link up "), "{out:?}");
}

fn announcement() {
    need_ours("announcements");
    let host = Host::new(1);
    let status = || Vdpa::new().config("n1").need(NET_STATUS).u16();
    let commands = || host.card.stat(2, "cvq requests");
    let (sent, before) = (host.card.stat(TX, "tx packets"), commands());
    fault(&host.card, "announce", "1");
    sys::wait_for("an acknowledgement", || commands() > before);
    assert_eq!(status(), 1, "the link is up, and that is all");
    sys::wait_for("an announcement", || {
        host.card.stat(TX, "tx packets") > sent
    });
}

fn address(interface: &str) -> [u8; 6] {
    let text = sys::read(format!("/sys/class/net/{interface}/address"));
    let bytes = text.trim().split(':');
    let bytes: Vec<_> = bytes.map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    bytes.try_into().expect("six bytes")
}

fn addresses() {
    need_ours("address of its own");
    let mut seen = HashSet::new();
    for round in 0..2 {
        let names = ["n0", "n1", "n2", "n3"];
        let cards = names.map(Card::new);
        for card in &cards {
            let mac = address(&card.interface);
            assert_eq!(mac[0] & 1, 0, "unicast: {mac:x?}");
            assert_eq!(mac[0] & 2, 2, "locally administered: {mac:x?}");
            assert!(seen.insert(mac), "another one in round {round}: {mac:x?}");
            let config = Vdpa::new().config(&card.name);
            let shown = &config.need(vdpa_test::vdpa::MAC).data;
            assert_eq!(*shown, mac, "the card's, not the interface's alone");
            let kind = format!("/sys/class/net/{}/addr_assign_type", card.interface);
            assert_eq!(sys::read(kind), "0\n", "the driver did not make it up");
        }
    }
}

fn address_of_the_users_choice() {
    let mac = [0x02, 0xe8, 0xca, 0x33, 0xba, 0x05];
    let card = Card::by("n0", |msg| msg.attr(MAC, &mac));
    assert_eq!(address(&card.interface), mac);
}

fn mtu() {
    for mtu in [68, 1500, 9000, 65535] {
        case(format!("{mtu}"), || {
            let card = Card::by("n0", |msg| msg.attr(MTU, &u16::to_ne_bytes(mtu)));
            let shown = sys::read(format!("/sys/class/net/{}/mtu", card.interface));
            assert_eq!(shown, format!("{mtu}\n"));
        });
    }
}
