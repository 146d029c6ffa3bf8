// SPDX-License-Identifier: GPL-2.0
//! What a node tells its user besides answering: events, errors of queues, and what root sees in
//! debugfs and traces.

use vdpa_test::card::need_ours;
use vdpa_test::sim::{Sim, MAC as OWN};
use vdpa_test::vhost::net::{frame, Net, Setup};
use vdpa_test::vhost::{status, EventFd, Node};
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    nothing_to_read,
    changes_of_the_configuration,
    device_needs_a_reset,
    error_eventfds,
    events_of_the_one_before,
    view,
    view_of_a_closed_node,
    view_with_many_mappings,
    traces,
);

const CONFIG: u32 = 1;
const NEEDS_RESET: u32 = 2;

fn card() -> Sim {
    need_ours("files to make it fail");
    Sim::net()
}

fn make(what: &str) {
    sys::write(format!("/sys/kernel/debug/vdpa_sim_net/n0/{what}"), "1");
}

fn nonblocking(node: &Node) {
    use std::os::fd::AsRawFd;
    // SAFETY: A system call without pointers.
    let ret = unsafe { libc::fcntl(node.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(ret, 0);
}

fn nothing_to_read() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    nonblocking(&node);
    assert_eq!(node.poll(0) & libc::POLLIN, 0);
    assert_eq!(node.read_events(), Err(Errno::EAGAIN));
}

fn changes_of_the_configuration() {
    let _sim = card();
    let net = Net::start(&Setup::new("n0"));
    nonblocking(&net.node);
    make("config_change");
    assert_eq!(net.node.poll(10_000) & libc::POLLIN, libc::POLLIN);
    let events = net.node.read_events().unwrap();
    assert_eq!(events.len(), 1);
    let (kind, first) = events[0];
    assert_eq!(kind, CONFIG);
    assert_eq!(net.node.read_events(), Err(Errno::EAGAIN), "it was read");
    make("config_change");
    make("config_change");
    assert_eq!(net.node.poll(10_000) & libc::POLLIN, libc::POLLIN);
    let events = net.node.read_events().unwrap();
    assert_eq!(events, [(CONFIG, first + 2)], "two changes");
}

fn device_needs_a_reset() {
    let _sim = card();
    let net = Net::start(&Setup::new("n0"));
    make("needs_reset");
    // A change of the configuration comes with it.
    let mut events = Vec::new();
    while !events.iter().any(|(kind, _)| *kind == NEEDS_RESET) {
        events.extend(net.node.read_events().unwrap());
    }
    let (_, number) = events
        .iter()
        .find(|(kind, _)| *kind == NEEDS_RESET)
        .unwrap();
    let wanted = u32::from(status::NEEDS_RESET);
    assert_eq!(number & wanted, wanted);
    nonblocking(&net.node);
    make("config_change");
    sys::wait_for("the change", || net.node.poll(0) & libc::POLLIN != 0);
    let events = net.node.read_events().unwrap();
    assert!(
        events.iter().all(|(kind, _)| *kind == CONFIG),
        "that was told"
    );
}

fn error_eventfds() {
    let _sim = card();
    let net = Net::start(&Setup::new("n0"));
    let errors = [EventFd::new(), EventFd::new()];
    for (index, error) in (0..).zip(&errors) {
        net.node.set_vring_err(index, Some(error)).unwrap();
    }
    net.node.set_vring_err(1, None).unwrap();
    make("needs_reset");
    assert!(errors[0].wait(10_000), "the first queue's");
    assert_eq!(errors[0].count(), 1);
    assert_eq!(errors[1].count(), 0, "it was taken back");
}

fn events_of_the_one_before() {
    let _sim = card();
    let net = Net::start(&Setup::new("n0"));
    make("needs_reset");
    sys::wait_for("an event", || net.node.poll(0) & libc::POLLIN != 0);
    drop(net);
    let node = Node::open("n0");
    nonblocking(&node);
    assert_eq!(node.read_events(), Err(Errno::EAGAIN));
}

/// A file of the node in debugfs.
fn shown(file: &str) -> String {
    let path = Node::path("n0");
    let name = path.rsplit('/').next().unwrap();
    sys::read(format!("/sys/kernel/debug/vhost_vdpa/{name}/{file}"))
}

fn view() {
    let _sim = Sim::net_with(&[("use_va", "N")]);
    let mut net = Net::start(&Setup::new("n0"));
    net.loop_back(&frame(OWN, 0, 200));
    // A device that is at work already may not ask for it.
    net.pairs[0].tx.kick.signal();
    let state = shown("state");
    for line in [
        "device: n0",
        "status: 0xf",
        "owner: true",
        "pinned: 2097152 bytes",
    ] {
        assert!(state.lines().any(|l| l == line), "{line} in {state}");
    }
    let queues = shown("queues");
    let lines: Vec<_> = queues.lines().collect();
    assert_eq!(lines.len(), 3, "{queues}");
    for word in [
        "1:",
        "size=256",
        "ready=1",
        "index=0x1",
        "kick=set",
        "call=1",
    ] {
        assert!(
            lines[1].split(' ').any(|w| w == word),
            "{word} in {}",
            lines[1]
        );
    }
    assert!(!lines[1].contains("kicks=0 "), "{}", lines[1]);
    let maps = shown("maps");
    let mut lines = maps.lines();
    let total = "asid 0: 1 mappings, 2097152 bytes, 512 pages pinned";
    assert_eq!(lines.next(), Some(total));
    assert!(lines
        .next()
        .unwrap()
        .starts_with("  0x4200000000-0x42001fffff "));
}

fn view_of_a_closed_node() {
    let _sim = Sim::net();
    for file in ["state", "queues", "maps"] {
        assert_eq!(shown(file), "closed\n");
    }
}

/// More than a file shows.
fn view_with_many_mappings() {
    use vdpa_test::vhost::{Area, Memory, Perm, PAGE};

    let _sim = Sim::net();
    let node = Node::open("n0");
    node.set_owner().unwrap();
    let area = Area::whole(&Memory::memfd(500 * PAGE), 0x1000);
    for n in 0..500 {
        node.map(0, &area.part(n * PAGE, PAGE), Perm::Ro).unwrap();
    }
    let maps = shown("maps");
    assert!(maps.starts_with("asid 0: 500 mappings, 2048000 bytes, 0 pages pinned\n"));
    assert!(maps.ends_with("\n...\n"), "{maps}");
}

fn traces() {
    const FOLDER: &str = "/sys/kernel/tracing";
    let _sim = Sim::net();
    let events = format!("{FOLDER}/events/vhost_vdpa");
    assert_eq!(
        sys::list(&events)
            .into_iter()
            .filter(|n| n.starts_with("vhost_vdpa_"))
            .count(),
        6
    );
    sys::write(format!("{FOLDER}/trace"), "");
    sys::write(format!("{events}/enable"), "1");
    let mut net = Net::start(&Setup::new("n0"));
    net.loop_back(&frame(OWN, 0, 200));
    // A device that is at work already may not ask for it.
    net.pairs[0].tx.kick.signal();
    drop(net);
    sys::write(format!("{events}/enable"), "0");
    let trace = sys::read(format!("{FOLDER}/trace"));
    for wanted in [
        "vhost_vdpa_ioctl: dev=n0 cmd=0xaf01 ret=0",
        "vhost_vdpa_map: dev=n0 asid=0 iova=0x4200000000 size=0x200000",
        "vhost_vdpa_status: dev=n0 from=0xb to=0xf",
        "vhost_vdpa_kick: dev=n0 queue=1",
        "vhost_vdpa_call: dev=n0 queue=0",
    ] {
        assert!(trace.contains(wanted), "{wanted} in {trace}");
    }
}
