// SPDX-License-Identifier: GPL-2.0
//! What can be made to go wrong with a simulated network card, by files in debugfs.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use vdpa_test::card::{need_ours, set_peer, Host};
use vdpa_test::ktap::case;
use vdpa_test::sim::{Sim, MAC as OWN};
use vdpa_test::vdpa::*;
use vdpa_test::vhost::net::{config, control, frame, Net, Setup, RX, TX};
use vdpa_test::vhost::{backend, feature, status, Area, EventFd, Memory, Node, Perm};
use vdpa_test::{errno, ktap_main, sys, Errno};

ktap_main!(
    files,
    values,
    files_go_with_the_card,
    frames_are_lost,
    frames_are_lost_at_the_other_end,
    frames_are_late,
    stalled_transmit_queue,
    stalled_receive_queue,
    stalled_receive_queue_at_the_other_end,
    stalled_control_queue,
    maps_fail,
    maps_of_pieces_fail,
    link,
    link_of_a_driver_to_come,
    announcement,
    announcement_to_who_does_not_know,
    configuration_interrupt,
    reset_is_needed,
    reset_of_nobody,
    lost_frames_of_a_connection,
);

const FILES: [(&str, u32, &str); 8] = [
    ("announce", 0o200, ""),
    ("config_change", 0o200, ""),
    ("delay_ms", 0o600, "0"),
    ("drop_every", 0o600, "0"),
    ("fail_maps", 0o600, "0"),
    ("link", 0o600, "1"),
    ("needs_reset", 0o200, ""),
    ("stall_queue", 0o600, "-1"),
];

const FOLDER: &str = "/sys/kernel/debug/vdpa_sim_net";
/// The number of the control queue, if there is one pair.
const CONTROL: u32 = 2;

fn path(card: &str, file: &str) -> String {
    format!("{FOLDER}/{card}/{file}")
}

fn try_set(card: &str, file: &str, value: &str) -> Errno {
    sys::try_write(path(card, file), value)
}

#[track_caller]
fn set(file: &str, value: u32) {
    assert_eq!(try_set("n0", file, &format!("{value}\n")), Errno::OK);
}

#[track_caller]
fn get(file: &str) -> String {
    let text = sys::read(path("n0", file));
    text.strip_suffix('\n').expect("a line").to_string()
}

fn card() -> Sim {
    need_ours("files to make it fail");
    Sim::net()
}

fn setup() -> Setup {
    let mut setup = Setup::new("n0");
    setup.features |= feature::NET_GUEST_ANNOUNCE;
    setup
}

fn files() {
    let mut sim = card();
    assert_eq!(sys::list(FOLDER), ["n0"]);
    let other = sim.v.add("vdpasim_net", "n1");
    assert_eq!(sys::list(FOLDER), ["n0", "n1"]);
    for name in ["n0", "n1"] {
        let names = sys::list(&format!("{FOLDER}/{name}"));
        assert_eq!(names, FILES.map(|f| f.0));
    }
    for (file, mode, default) in FILES {
        let metadata = fs::metadata(path("n0", file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{file}");
        if mode & 0o400 != 0 {
            assert_eq!(get(file), default, "{file}");
        }
    }
    drop(other);
    assert_eq!(sys::list(FOLDER), ["n0"]);
}

fn values() {
    let _sim = card();
    let good: [(&str, &[&str]); 8] = [
        ("announce", &["1"]),
        ("config_change", &["1"]),
        ("delay_ms", &["1", "10000", "0"]),
        ("drop_every", &["1", "4294967295", "0"]),
        ("fail_maps", &["1", "4294967295", "0"]),
        ("link", &["0", "1"]),
        ("needs_reset", &["1"]),
        ("stall_queue", &["0", "1", "2", "-1"]),
    ];
    let bad: [(&str, &[&str]); 8] = [
        ("announce", &["0", "2"]),
        ("config_change", &["0", "2"]),
        ("delay_ms", &["-1", "10001", "4294967296"]),
        ("drop_every", &["-1", "4294967296"]),
        ("fail_maps", &["-1", "4294967296"]),
        ("link", &["-1", "2"]),
        ("needs_reset", &["0", "2"]),
        ("stall_queue", &["-2", "3", "65535", "65536", "4294967295"]),
    ];
    let nonsense = [
        "\n",
        "x",
        "1x",
        "1 1",
        "0x1",
        "\0",
        "1\0",
        "\u{fc}",
        "9999999999999999",
    ];
    for ((file, good), (same, bad)) in good.into_iter().zip(bad) {
        assert_eq!(file, same);
        case(file, || {
            for value in good {
                assert_eq!(try_set("n0", file, value), Errno::OK, "{value:?}");
                let line = format!("{value}\n");
                assert_eq!(try_set("n0", file, &line), Errno::OK, "{line:?}");
            }
            for value in bad.iter().chain(&nonsense) {
                assert_eq!(try_set("n0", file, value), Errno::EINVAL, "{value:?}");
            }
            if let Some((_, 0o600, default)) = FILES.iter().find(|f| f.0 == file) {
                assert_eq!(get(file), *default, "as the last good value has it");
            }
        });
    }
}

fn files_go_with_the_card() {
    let mut sim = card();
    let mut file = fs::File::open(path("n0", "link")).unwrap();
    sim.v.del("n0");
    assert_eq!(sys::list(FOLDER), Vec::<String>::new());
    let mut text = String::new();
    let result = errno::of(&file.read_to_string(&mut text));
    assert_eq!(result, Errno::EIO, "an open one has nothing to tell");
    let _n0 = sim.v.add("vdpasim_net", "n0");
    assert_eq!(sys::list(FOLDER), ["n0"]);
    assert_eq!(get("link"), "1");
}

/// Sends frames and waits until they are sent; which ones came.
#[track_caller]
fn pass(from: &mut Net, to: Option<&mut Net>, count: usize) -> Vec<usize> {
    let frames: Vec<_> = (0..count).map(|n| frame(OWN, n, 100)).collect();
    for frame in &frames {
        assert!(from.enqueue(0, frame), "room");
    }
    from.pairs[0].tx.notify();
    sys::wait_for("all to be sent", || {
        from.reclaim(0);
        from.is_idle(0)
    });
    // The receiver is told first.
    let to = to.unwrap_or(from);
    let came = std::iter::from_fn(|| to.receive_now(0));
    let number = |got| frames.iter().position(|f| *f == got);
    came.map(|got| number(got).expect("a frame that was sent"))
        .collect()
}

fn every(step: usize, came: &[usize]) {
    let lost: Vec<_> = (0..60).filter(|n| !came.contains(n)).collect();
    assert_eq!(lost.len(), 60 / step, "{lost:?}");
    let regular = lost.windows(2).all(|pair| pair[1] - pair[0] == step);
    assert!(regular, "{lost:?}");
}

fn frames_are_lost() {
    let mut sim = card();
    let mut net = Net::start(&setup());
    for step in [1, 2, 3, 20] {
        case(format!("one of {step}"), || {
            let before = sim.stat(RX, "rx drops");
            set("drop_every", step);
            assert_eq!(get("drop_every"), step.to_string());
            every(step as usize, &pass(&mut net, None, 60));
            assert_eq!(sim.stat(RX, "rx drops") - before, u64::from(60 / step));
        });
    }
    case("none", || {
        set("drop_every", 0);
        assert_eq!(pass(&mut net, None, 60).len(), 60);
    });
}

/// It is the card that receives which loses them.
fn frames_are_lost_at_the_other_end() {
    let mut sim = card();
    let msg = sim.v.new_msg("vdpasim_net", "n1").attr(MAC, &OWN);
    let _n1 = sim.v.add_by(&msg, "n1");
    assert_eq!(set_peer("n0", "n1"), Errno::OK);
    set("drop_every", 2);
    let mut n0 = Net::start(&setup());
    let mut n1 = Net::start(&Setup::new("n1"));
    assert_eq!(pass(&mut n0, Some(&mut n1), 60).len(), 60);
    every(2, &pass(&mut n1, Some(&mut n0), 60));
}

/// At least so late: a slow machine makes it later.
fn frames_are_late() {
    let _sim = card();
    let mut net = Net::start(&setup());
    for delay in [300, 50, 0] {
        case(format!("{delay} ms"), || {
            set("delay_ms", delay);
            assert_eq!(get("delay_ms"), delay.to_string());
            // The device may have begun to wait before the frame was there.
            let mut is_late = || {
                let start = Instant::now();
                net.loop_back(&frame(OWN, 1, 100));
                start.elapsed() >= Duration::from_millis(delay.into())
            };
            assert!((0..5).any(|_| is_late()));
        });
    }
}

/// Long enough for a device to do what it must not do.
fn a_while() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Sends frames that must not come, and that come once the queue is processed.
#[track_caller]
fn waits(from: &mut Net, to: &mut Option<&mut Net>, go_on: impl FnOnce()) {
    for n in 0..20 {
        assert!(from.enqueue(0, &frame(OWN, n, 100)), "room");
        from.pairs[0].tx.notify();
    }
    a_while();
    from.reclaim(0);
    assert!(!from.is_idle(0), "they were sent");
    let early = to.as_deref_mut().unwrap_or(from).receive_now(0);
    assert_eq!(early, None, "a frame came");
    go_on();
    let to = to.as_deref_mut().unwrap_or(from);
    for n in 0..20 {
        assert!(to.receive() == frame(OWN, n, 100), "frame {n}");
    }
}

fn stalled_transmit_queue() {
    let _sim = card();
    let mut net = Net::start(&setup());
    set("stall_queue", TX);
    assert_eq!(get("stall_queue"), TX.to_string());
    let go_on = || assert_eq!(try_set("n0", "stall_queue", "-1"), Errno::OK);
    waits(&mut net, &mut None, go_on);
    net.loop_back(&frame(OWN, 99, 100));
}

fn stalled_receive_queue() {
    let _sim = card();
    let mut net = Net::start(&setup());
    set("stall_queue", RX);
    let answer = net.command(control::MAC, control::MAC_ADDR_SET, &OWN);
    assert_eq!(answer, Some(control::OK), "the control queue goes on");
    // Another queue is stalled instead.
    waits(&mut net, &mut None, || set("stall_queue", CONTROL));
}

fn stalled_receive_queue_at_the_other_end() {
    let mut sim = card();
    let _n1 = sim.v.add("vdpasim_net", "n1");
    assert_eq!(set_peer("n0", "n1"), Errno::OK);
    let mut n1 = Net::start(&Setup::new("n1"));
    let mut n0 = Net::start(&setup());
    set("stall_queue", RX);
    let go_on = || assert_eq!(try_set("n0", "stall_queue", "-1"), Errno::OK);
    waits(&mut n1, &mut Some(&mut n0), go_on);
}

fn stalled_control_queue() {
    let mut sim = card();
    let mut net = Net::start(&setup());
    set("stall_queue", CONTROL);
    net.loop_back(&frame(OWN, 1, 100));
    let mut space = net.space.clone();
    let (request, answer) = (space.take(8, 8), space.take(1, 1));
    request.write(0, &[control::MAC, control::MAC_ADDR_SET, 2, 0, 0, 0, 0, 9]);
    answer.write(0, &[0x5a]);
    let queue = net.control.as_mut().expect("a control queue");
    queue.give(&[request.readable(), answer.writable()]);
    a_while();
    assert!(queue.ring.take().is_none(), "the command was answered");
    assert_eq!(sim.stat(CONTROL, "cvq requests"), 0);
    assert_eq!(try_set("n0", "stall_queue", "-1"), Errno::OK);
    queue.wait();
    assert_eq!(answer.read(0, 1), [control::OK]);
}

fn failing_maps() {
    // C's tells nobody what went wrong.
    let error = match sys::is_ours("vhost_vdpa") {
        true => Errno::ENOMEM,
        false => Errno::EFAULT,
    };
    let node = Node::open("n0");
    node.set_owner().unwrap();
    node.set_backend_features(backend::IOTLB_MSG_V2).unwrap();
    let memory = Memory::memfd(1 << 16);
    let map = |iova| node.map(0, &Area::whole(&memory, iova), Perm::Rw);
    for n in 0..3 {
        assert_eq!(map(n << 32), Ok(()));
        set("fail_maps", 1);
        assert_eq!(get("fail_maps"), "1");
        assert_eq!(map((n << 32) + 0x1000_0000), Err(error));
        assert_eq!(get("fail_maps"), "0");
    }
    set("fail_maps", 2);
    set("fail_maps", 0);
    assert_eq!(map(0x3000_0000), Ok(()));
    drop(node);
    Net::start(&setup()).loop_back(&frame(OWN, 1, 100));
}

fn maps_fail() {
    let _sim = card();
    failing_maps();
}

fn maps_of_pieces_fail() {
    need_ours("files to make it fail");
    let _sim = Sim::net_with(&[("batch_mapping", "0")]);
    failing_maps();
}

/// What the configuration space says of the link.
fn link_status(node: &Node) -> u8 {
    node.config(config::STATUS, 2).unwrap()[0]
}

const UP: u8 = 1;
const ANNOUNCE: u8 = 2;

fn config_interrupts(net: &Net) -> EventFd {
    let call = EventFd::new();
    net.node.set_config_call(Some(&call)).unwrap();
    call
}

fn link() {
    let mut sim = card();
    let mut net = Net::start(&setup());
    let call = config_interrupts(&net);
    let mut shown = || {
        let status = sim.v.config("n0").need(NET_STATUS).u16();
        u8::try_from(status).unwrap()
    };
    assert_eq!((link_status(&net.node), shown()), (UP, UP));
    set("link", 1);
    assert_eq!(call.count(), 0, "that is no change");
    set("link", 0);
    assert_eq!(get("link"), "0");
    assert_eq!(call.count(), 1, "a change");
    assert_eq!((link_status(&net.node), shown()), (0, 0));
    case("nothing is received", || {
        assert_eq!(pass(&mut net, None, 20).len(), 0);
    });
    set("link", 1);
    assert_eq!(call.count(), 1, "a change");
    assert_eq!((link_status(&net.node), shown()), (UP, UP));
    assert_eq!(pass(&mut net, None, 20).len(), 20);
    case("nothing is sent", || {
        let msg = sim.v.new_msg("vdpasim_net", "n1").attr(MAC, &OWN);
        let _n1 = sim.v.add_by(&msg, "n1");
        assert_eq!(set_peer("n0", "n1"), Errno::OK);
        let mut n1 = Net::start(&Setup::new("n1"));
        assert_eq!(pass(&mut net, Some(&mut n1), 20).len(), 20);
        set("link", 0);
        let before = sim.v.stat("n0", TX, "tx drops");
        assert_eq!(pass(&mut net, Some(&mut n1), 20).len(), 0);
        assert_eq!(sim.v.stat("n0", TX, "tx drops") - before, 20);
        set("link", 1);
        assert_eq!(pass(&mut net, Some(&mut n1), 20).len(), 20);
    });
}

fn link_of_a_driver_to_come() {
    let _sim = card();
    set("link", 0);
    let mut net = Net::start(&setup());
    assert_eq!(link_status(&net.node), 0, "a reset does not plug it in");
    set("link", 1);
    assert_eq!(link_status(&net.node), UP);
    net.loop_back(&frame(OWN, 1, 100));
}

/// The command by which a driver says that it has announced its guest.
const ACKNOWLEDGE: (u8, u8) = (3, 0);

fn announcement() {
    let sim = card();
    sim.need(feature::NET_GUEST_ANNOUNCE, "announcements");
    let mut net = Net::start(&setup());
    let call = config_interrupts(&net);
    set("announce", 1);
    assert_eq!(call.count(), 1);
    assert_eq!(link_status(&net.node), UP | ANNOUNCE);
    set("announce", 1);
    assert_eq!(call.count(), 0, "it was asked already");
    let answer = net.command(ACKNOWLEDGE.0, ACKNOWLEDGE.1, &[]);
    assert_eq!(answer, Some(control::OK));
    assert_eq!(link_status(&net.node), UP);
    set("announce", 1);
    assert_eq!(link_status(&net.node), UP | ANNOUNCE);
    net.node.reset().unwrap();
    assert_eq!(link_status(&net.node), UP, "a reset forgets it");
}

fn announcement_to_who_does_not_know() {
    let _sim = card();
    let net = Net::start(&Setup::new("n0"));
    let call = config_interrupts(&net);
    set("announce", 1);
    assert_eq!(call.count(), 0);
    assert_eq!(link_status(&net.node), UP);
}

fn configuration_interrupt() {
    let _sim = card();
    let net = Net::start(&setup());
    let call = config_interrupts(&net);
    let before = net.node.config(0, config::SIZE).unwrap();
    for _ in 0..3 {
        set("config_change", 1);
        assert_eq!(call.count(), 1);
    }
    assert_eq!(net.node.config(0, config::SIZE).unwrap(), before);
    assert_eq!(net.node.status(), Ok(status::RUNNING));
}

fn reset_is_needed() {
    let _sim = card();
    let net = Net::start(&setup());
    let call = config_interrupts(&net);
    set("needs_reset", 1);
    assert_eq!(call.count(), 1);
    assert_eq!(net.node.status(), Ok(status::RUNNING | status::NEEDS_RESET));
    set("needs_reset", 1);
    assert_eq!(call.count(), 0, "it was told already");
    net.node.reset().unwrap();
    assert_eq!(net.node.status(), Ok(0));
    drop(net);
    Net::start(&setup()).loop_back(&frame(OWN, 1, 100));
}

/// There is no driver that could reset it.
fn reset_of_nobody() {
    let _sim = card();
    let node = Node::open("n0");
    set("needs_reset", 1);
    assert_eq!(node.status(), Ok(0));
}

/// The stock drivers and TCP get over it.
fn lost_frames_of_a_connection() {
    need_ours("files to make it fail");
    let [one, two] = [1, 2].map(Host::new);
    one.card.pair(&two.card);
    let bytes = sys::rounds(16, 4) << 16;
    for (file, value, normal) in [("drop_every", "100", "0"), ("delay_ms", "5", "0")] {
        case(format!("{file} {value}"), || {
            for name in ["n1", "n2"] {
                assert_eq!(try_set(name, file, value), Errno::OK);
            }
            one.send(&two, two.v4, bytes);
            two.send(&one, one.v4, bytes);
            for name in ["n1", "n2"] {
                assert_eq!(try_set(name, file, normal), Errno::OK);
            }
        });
    }
    assert!(two.card.stat(RX, "rx drops") > 0, "frames were lost");
}
