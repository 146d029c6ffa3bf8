// SPDX-License-Identifier: GPL-2.0
//! Two simulated network cards back to back: what one sends, the other receives.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use vdpa_test::card::{need_peers, peer, set_peer, transfer, two_hosts, Card, Host};
use vdpa_test::ktap::case;
use vdpa_test::parent::Mgmt;
use vdpa_test::sys;
use vdpa_test::vdpa::*;
use vdpa_test::vhost::net::{frame, Net, Setup, RX, TX};
use vdpa_test::vhost::{feature, Memory};
use vdpa_test::{ktap_main, Errno};

ktap_main!(
    attribute,
    attribute_file,
    names_of_no_card,
    cards_that_are_taken,
    deleted_end,
    frames_of_processes,
    rings_of_different_kinds,
    process_and_host,
    nobody_at_the_other_end,
    no_buffers_at_the_other_end,
    ping,
    tcp_with_different_features,
    tcp_with_different_numbers_of_queues,
    different_mtus,
);

const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const MAC_B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

/// What a card offers that is like C's.
const LIKE_C: u64 = feature::ANY_LAYOUT
    | feature::VERSION_1
    | feature::ACCESS_PLATFORM
    | feature::NET_MAC
    | feature::NET_STATUS
    | feature::NET_MTU
    | feature::NET_CTRL_VQ
    | feature::NET_CTRL_MAC_ADDR;

/// What a card takes in that is not ready to be read.
const GUEST_OFFLOADS: u64 = feature::NET_GUEST_CSUM | GUEST_TSO;
const GUEST_TSO: u64 = feature::NET_GUEST_TSO4 | feature::NET_GUEST_TSO6 | feature::NET_GUEST_ECN;

/// Cards of which it does not matter who has them.
fn cards<const N: usize>(v: &mut Vdpa, names: [&str; N]) -> [Device; N] {
    names.map(|name| v.add("vdpasim_net", name))
}

fn peers<const N: usize>(names: [&str; N]) -> [String; N] {
    names.map(peer)
}

fn attribute() {
    need_peers();
    let mut v = Vdpa::new();
    let _cards = cards(&mut v, ["a", "b", "c"]);
    assert_eq!(peers(["a", "b", "c"]), ["", "", ""], "new cards are alone");
    for (name, end) in [("this end", "a"), ("the other end", "b")] {
        case(format!("separated from {name}"), || {
            assert_eq!(set_peer("a", "b\n"), Errno::OK);
            assert_eq!(peers(["a", "b", "c"]), ["b", "a", ""]);
            assert_eq!(set_peer(end, "\n"), Errno::OK);
            assert_eq!(peers(["a", "b", "c"]), ["", "", ""]);
        });
    }
    case("without a newline", || {
        assert_eq!(set_peer("b", "a"), Errno::OK);
        assert_eq!(peers(["a", "b"]), ["b", "a"]);
    });
    case("once more, from both ends", || {
        assert_eq!(set_peer("a", "b"), Errno::OK);
        assert_eq!(set_peer("b", "a"), Errno::OK);
        assert_eq!(peers(["a", "b"]), ["b", "a"]);
    });
    case("separated twice", || {
        assert_eq!(set_peer("a", "\n"), Errno::OK);
        assert_eq!(set_peer("a", "\n"), Errno::OK);
        assert_eq!(peers(["a", "b"]), ["", ""]);
    });
    case("with another one", || {
        assert_eq!(set_peer("c", "a"), Errno::OK);
        assert_eq!(peers(["a", "b", "c"]), ["c", "", "a"]);
    });
}

fn attribute_file() {
    need_peers();
    let mut v = Vdpa::new();
    let _cards = cards(&mut v, ["a"]);
    let path = sys::device_path("a").join("peer");
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

fn names_of_no_card() {
    need_peers();
    let _mgmt = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _cards = cards(&mut v, ["a", "b"]);
    let _other = v.add("m0", "other");
    let long = "b".repeat(255);
    let longest = "b".repeat(4000);
    let names = [
        ("nobody's", "x"),
        ("a space before it", " b"),
        ("a space after it", "b "),
        ("two lines", "b\n\n"),
        ("nothing but a NUL", "\0"),
        ("more than it", "bb"),
        ("NUL after it", "b\0"),
        ("a device that is no card", "other"),
        ("as long as names get", &long),
        ("longer than names get", &longest),
    ];
    for (what, name) in names {
        case(what, || assert_eq!(set_peer("a", name), Errno::ENODEV));
    }
    case("its own", || assert_eq!(set_peer("a", "a"), Errno::EINVAL));
    assert_eq!(peers(["a", "b"]), ["", ""]);
}

fn cards_that_are_taken() {
    need_peers();
    let mut v = Vdpa::new();
    let _cards = cards(&mut v, ["a", "b", "c", "d"]);
    assert_eq!(set_peer("a", "b"), Errno::OK);
    assert_eq!(set_peer("c", "d"), Errno::OK);
    for (one, other) in [("a", "c"), ("c", "a"), ("b", "d")] {
        assert_eq!(set_peer(one, other), Errno::EBUSY, "both are taken");
    }
    assert_eq!(set_peer("d", "\n"), Errno::OK);
    assert_eq!(set_peer("a", "c"), Errno::EBUSY, "this one is");
    assert_eq!(set_peer("c", "a"), Errno::EBUSY, "the other one is");
    assert_eq!(peers(["a", "b", "c", "d"]), ["b", "a", "", ""]);
}

fn deleted_end() {
    need_peers();
    let mut v = Vdpa::new();
    let _a = cards(&mut v, ["a"]);
    for (name, one, other) in [("the other", "a", "b"), ("the one", "b", "a")] {
        case(format!("{name} that was paired"), || {
            let b = cards(&mut v, ["b"]);
            assert_eq!(set_peer(one, other), Errno::OK);
            drop(b);
            assert_eq!(peer("a"), "");
            assert_eq!(set_peer("a", "b"), Errno::ENODEV);
            let _b = cards(&mut v, ["b"]);
            assert_eq!(peers(["a", "b"]), ["", ""], "another one of the same name");
            assert_eq!(set_peer("a", "b"), Errno::OK);
            assert_eq!(set_peer("a", "\n"), Errno::OK);
        });
    }
}

/// Cards a and b, which vhost_vdpa has.
fn for_processes(v: &mut Vdpa) -> [Device; 2] {
    if sys::is_loaded("virtio_vdpa") {
        sys::rmmod_ok("virtio_vdpa");
    }
    sys::modprobe("vhost_vdpa");
    [("a", MAC_A), ("b", MAC_B)].map(|(name, mac)| {
        let msg = v.new_msg("vdpasim_net", name).attr(MAC, &mac);
        let device = v.add_by(&msg, name);
        assert_eq!(sys::driver_of(name).as_deref(), Some("vhost_vdpa"));
        device
    })
}

/// Sends frames of many sizes, each of which must be the next that comes.
#[track_caller]
fn pass(from: &mut Net, to: &mut Net, destination: [u8; 6]) {
    for n in 0..100 {
        let sent = frame(destination, n, 60 + (n * 37) % 1454);
        from.send(&sent);
        let got = to.receive();
        assert!(got == sent, "frame {n} of {} bytes", sent.len());
    }
}

fn frames_of_processes() {
    need_peers();
    let mut v = Vdpa::new();
    let _cards = for_processes(&mut v);
    let mut a = Net::start(&Setup::new("a"));
    let mut b = Net::start(&Setup::new("b"));
    a.loop_back(&frame(MAC_A, 1, 100));
    assert_eq!(set_peer("a", "b"), Errno::OK);
    pass(&mut a, &mut b, MAC_B);
    pass(&mut b, &mut a, MAC_A);
    assert_eq!(v.stat("a", TX, "tx packets"), 101);
    assert_eq!(v.stat("b", RX, "rx packets"), 100);
    assert_eq!(
        v.stat("b", RX, "rx bytes"),
        v.stat("a", TX, "tx bytes") - 100
    );
    case("the receiver's filter counts", || {
        a.send(&frame(MAC_A, 1, 100));
        pass(&mut a, &mut b, MAC_B);
        assert_eq!(v.stat("b", RX, "rx drops"), 1);
    });
    assert_eq!(set_peer("b", "\n"), Errno::OK);
    a.loop_back(&frame(MAC_A, 2, 100));
    b.loop_back(&frame(MAC_B, 3, 100));
}

fn rings_of_different_kinds() {
    need_peers();
    let mut v = Vdpa::new();
    let _cards = for_processes(&mut v);
    assert_eq!(set_peer("a", "b"), Errno::OK);
    let packed = feature::RING_PACKED | feature::EVENT_IDX;
    let kinds = [
        ("packed, split", packed, 0),
        ("packed, in order", packed, feature::IN_ORDER | packed),
        ("merged buffers, single ones", feature::NET_MRG_RXBUF, 0),
        ("events, merged", feature::EVENT_IDX, feature::NET_MRG_RXBUF),
    ];
    for (name, features_a, features_b) in kinds {
        case(name, || {
            let mut setup = [Setup::new("a"), Setup::new("b")];
            setup[0].features |= features_a;
            setup[1].features |= features_b;
            // Each in memory of its own kind, in buffers of its own size.
            setup[0].pieces = 3;
            setup[1].iova = 0x7000;
            setup[1].size = 32;
            setup[1].rx_buffers = 24;
            setup[1].memory = Memory::private(2 << 20);
            if features_b & feature::NET_MRG_RXBUF != 0 {
                setup[1].rx_size = 512;
            }
            if !sys::is_ours("vhost_vdpa") {
                // C's leaves private memory out.
                setup[1].memory = Memory::memfd(2 << 20);
            }
            let [mut a, mut b] = setup.map(|setup| {
                let net = Net::start(&setup);
                assert_eq!(net.features, setup.features, "features");
                net
            });
            pass(&mut a, &mut b, MAC_B);
            pass(&mut b, &mut a, MAC_A);
        });
    }
}

/// One end in the kernel, one in a process, as with a guest and its host.
fn process_and_host() {
    need_peers();
    let host = Host::new(1);
    let mut v = Vdpa::new();
    let _b = v.add_by(&v.new_msg("vdpasim_net", "b").attr(MAC, &MAC_B), "b");
    sys::modprobe("vhost_vdpa");
    sys::rebind("b", "vhost_vdpa");
    assert_eq!(set_peer("b", "n1"), Errno::OK);
    let mut guest = Net::start(&Setup::new("b"));
    // The host sends to an address of which it is told that it is the guest's.
    let (guest_address, guest_mac) = ("10.0.0.2", "02:00:00:00:00:0b");
    let interface = &host.card.interface;
    let line = format!("ip neigh add {guest_address} lladdr {guest_mac} dev {interface}");
    host.network.sh(&line).expect_ok();
    let socket = host.network.within(|| UdpSocket::bind((host.v4, 0)));
    let socket = socket.expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for n in 0..100u8 {
        let sent = vec![n; 1 + usize::from(n) * 14];
        socket.send_to(&sent, (guest_address, 9)).expect("send");
        let got = loop {
            // The host's own multicasts are between.
            let frame = guest.receive();
            if frame[12..14] == [8, 0] && frame[23] == 17 && frame[30..34] == [10, 0, 0, 2] {
                break frame;
            }
        };
        assert_eq!(got[..6], MAC_B);
        assert_eq!(got[42..42 + sent.len()], sent, "datagram {n}");
        // Back, as it came but for the directions; without a checksum.
        let mut answer = got.clone();
        let (to, from) = (&got[..6], &got[6..12]);
        answer[..12].copy_from_slice(&[from, to].concat());
        let (from, to) = (&got[26..30], &got[30..34]);
        answer[26..34].copy_from_slice(&[to, from].concat());
        let (from, to) = (&got[34..36], &got[36..38]);
        answer[34..38].copy_from_slice(&[to, from].concat());
        answer[40..42].fill(0);
        guest.send(&answer);
        let mut buffer = [0; 2000];
        let (len, _) = socket.recv_from(&mut buffer).expect("an answer");
        assert_eq!(buffer[..len], sent, "answer {n}");
    }
}

/// Makes frames available as there is room, and waits until all are used.
#[track_caller]
fn send_all(net: &mut Net, frames: impl IntoIterator<Item = Vec<u8>>) {
    for frame in frames {
        sys::wait_for("room", || net.enqueue(0, &frame));
        net.pairs[0].tx.notify();
    }
    sys::wait_for("all to be sent", || {
        net.reclaim(0);
        net.is_idle(0)
    });
}

/// As with a cable that is not plugged in: what is sent is lost, and the sender goes on.
fn nobody_at_the_other_end() {
    need_peers();
    let mut v = Vdpa::new();
    let _cards = for_processes(&mut v);
    assert_eq!(set_peer("a", "b"), Errno::OK);
    let mut a = Net::start(&Setup::new("a"));
    send_all(&mut a, (0..500).map(|n| frame(MAC_B, n, 100)));
    assert_eq!(v.stat("a", TX, "tx drops"), 500);
    let mut b = Net::start(&Setup::new("b"));
    pass(&mut a, &mut b, MAC_B);
    assert_eq!(v.stat("b", RX, "rx packets"), 100);
    drop(b);
    send_all(&mut a, (0..500).map(|n| frame(MAC_B, n, 100)));
    assert_eq!(v.stat("a", TX, "tx drops"), 1000);
}

/// The sender waits, and nothing is lost.
fn no_buffers_at_the_other_end() {
    need_peers();
    let mut v = Vdpa::new();
    let _cards = for_processes(&mut v);
    assert_eq!(set_peer("a", "b"), Errno::OK);
    let mut a = Net::start(&Setup::new("a"));
    let mut setup = Setup::new("b");
    setup.rx_buffers = 0;
    let mut b = Net::start(&setup);
    for n in 0..100 {
        assert!(a.enqueue(0, &frame(MAC_B, n, 100)), "room");
    }
    a.pairs[0].tx.notify();
    let no_buffer = |v: &mut Vdpa| v.stat("b", RX, "rx overruns") > 0;
    sys::wait_for("an overrun", || no_buffer(&mut v));
    a.reclaim(0);
    assert!(!a.is_idle(0), "nothing was sent");
    for _ in 0..3 {
        let area = b.space.take(2048, 64);
        b.post(0, area);
    }
    b.pairs[0].rx.notify();
    for n in 0..100 {
        assert_eq!(b.receive(), frame(MAC_B, n, 100), "frame {n}");
    }
    assert_eq!(v.stat("a", TX, "tx drops"), 0);
    assert_eq!(v.stat("b", RX, "rx drops"), 0);
}

fn ping() {
    need_peers();
    let [one, two] = two_hosts();
    one.ping_in_vain(&two, 56);
    one.card.pair(&two.card);
    one.ping(&two, 56);
    two.ping(&one, 1472);
    two.card.separate();
    one.ping_in_vain(&two, 56);
    two.ping_in_vain(&one, 56);
}

const MIB: usize = 1 << 20;

/// How long the frames of a queue were that begins with `prefix`, on average.
fn mean_length(card: &Card, queue: u32, prefix: &str) -> u64 {
    let stat = |what| card.stat(queue, &format!("{prefix} {what}"));
    stat("bytes") / stat("packets").max(1)
}

fn tcp_with_different_features() {
    need_peers();
    let all = Vdpa::new().dump(CMD_MGMTDEV_GET)[0]
        .need(SUPPORTED_FEATURES)
        .u64()
        & !feature::NET_MQ;
    let no_offloads = all & !GUEST_OFFLOADS & !feature::NET_CTRL_GUEST_OFFLOADS;
    let cases = [
        ("all, all", all, all),
        ("all, like C", all, LIKE_C),
        ("like C, like C", LIKE_C, LIKE_C),
        ("all, no segmentation", all, all & !GUEST_TSO),
        ("all, no checksums", all, no_offloads),
        (
            "all, no checksums in single buffers",
            all,
            no_offloads & !feature::NET_MRG_RXBUF,
        ),
        (
            "all, large single buffers",
            all,
            all & !feature::NET_MRG_RXBUF,
        ),
        ("all, no IPv6", all, all & !feature::NET_GUEST_TSO6),
    ];
    for (name, features_one, features_two) in sys::few(cases, 4) {
        case(name, || {
            let one = Host::with_features(1, features_one);
            let two = Host::with_features(2, features_two);
            one.card.pair(&two.card);
            one.send(&two, two.v4, MIB / 2);
            one.send(&two, two.v6, MIB / 2);
            // Large frames were sent, and were cut for who does not take them.
            if features_one & feature::NET_HOST_TSO4 != 0 {
                let sent = mean_length(&one.card, TX, "tx");
                assert!(sent > 1514, "the sender made frames of {sent} bytes");
            }
            let received = mean_length(&two.card, RX, "rx");
            two.send(&one, one.v4, MIB / 2);
            two.send(&one, one.v6, MIB / 2);
            let is_large = received > 1514;
            if features_two & GUEST_TSO == 0 {
                assert!(!is_large, "received frames of {received} bytes");
            } else if features_two & GUEST_TSO == GUEST_TSO {
                assert!(is_large, "received frames of {received} bytes");
            }
            for host in [&one, &two] {
                assert_eq!(host.card.stat(RX, "rx errors"), 0);
                assert_eq!(host.card.stat(TX, "tx errors"), 0);
            }
        });
    }
}

/// A host with so many pairs of queues, all of which it uses.
fn host_with_pairs(number: u8, pairs: u16) -> Host {
    let host = Host::by(number, |msg| msg.attr(MAX_VQP, &pairs.to_ne_bytes()));
    let interface = &host.card.interface;
    let line = format!("ethtool -L {interface} combined {pairs}");
    // Fails if there was nothing to change.
    host.network.sh(&line);
    host
}

fn tcp_with_different_numbers_of_queues() {
    need_peers();
    for (pairs_one, pairs_two) in sys::few([(8, 1), (16, 16), (4, 3)], 1) {
        case(format!("{pairs_one} and {pairs_two} pairs"), || {
            let one = host_with_pairs(1, pairs_one);
            let two = host_with_pairs(2, pairs_two);
            one.card.pair(&two.card);
            let (one_network, two_network) = (&one.network, &two.network);
            let (to_one, to_two) = (one.v4, two.v4);
            thread::scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| transfer(one_network, two_network, to_two, MIB / 2));
                    s.spawn(|| transfer(two_network, one_network, to_one, MIB / 2));
                }
            });
            let interface = &one.card.interface;
            let line = format!("ethtool -L {interface} combined 1");
            one.network.sh(&line);
            one.send(&two, two.v4, MIB / 2);
            two.send(&one, one.v4, MIB / 2);
        });
    }
}

fn different_mtus() {
    need_peers();
    let host = |number, mtu: u16| Host::by(number, |msg| msg.attr(MTU, &mtu.to_ne_bytes()));
    case("9000 and 9000", || {
        let (one, two) = (host(1, 9000), host(2, 9000));
        one.card.pair(&two.card);
        one.ping(&two, 8972);
        one.send(&two, two.v4, MIB);
    });
    case("9000 and 1500", || {
        let (one, two) = (host(1, 9000), host(2, 1500));
        one.card.pair(&two.card);
        one.ping(&two, 1472);
        let dropped = two.card.stat(RX, "rx drops");
        // The limit leaves room for a VLAN tag.
        one.ping_in_vain(&two, 1472 + 4 + 1);
        assert!(two.card.stat(RX, "rx drops") >= dropped + 3);
        // Both tell the other one what they take.
        one.send(&two, two.v4, MIB);
        two.send(&one, one.v4, MIB);
    });
}
