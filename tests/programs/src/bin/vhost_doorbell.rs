// SPDX-License-Identifier: GPL-2.0
//! Doorbells: pages of a card that kick its queues, mapped into its user.
//!
//! Runs in the VM with network cards for vp_vdpa (tools/check).

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use vdpa_test::mount::Tmpfs;
use vdpa_test::sim::Sim;
use vdpa_test::user::{fork, in_child};
use vdpa_test::vhost::net::{Net, RX, TX};
use vdpa_test::vhost::{Interrupts, Node, PAGE};
use vdpa_test::vp::{frame_to, Card, Doorbell, Link, Slot};
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    shape_of_a_mapping,
    queues_that_are_there,
    doorbells_that_share_a_page,
    device_without_doorbells,
    stays_write_only,
    stays_one_page,
    kicks,
    kicks_of_every_queue,
    inherited_by_children,
    not_in_a_core_dump,
    survives_a_reset,
    gone_with_the_device,
    gone_for_children_too,
    gone_with_the_driver,
    another_user_has_another_page,
    revoked_while_ringing,
    page_that_was_never_touched,
    node_in_a_file_system_that_goes,
);

/// ENOTSUPP, which user space has no name for.
const ENOTSUPP: Errno = Errno(524);

const SHARED: i32 = libc::MAP_SHARED;
const WRITE: i32 = libc::PROT_WRITE;

fn tried(node: &Node, queue: usize, len: usize, protection: i32, flags: i32) -> Errno {
    match Doorbell::map_as(node, queue, len, protection, flags) {
        Ok(_) => Errno::OK,
        Err(error) => error,
    }
}

fn shape_of_a_mapping() {
    let card = Card::new(Slot::Paged);
    let node = card.open();
    assert_eq!(tried(&node, 0, PAGE, WRITE, SHARED), Errno::OK);
    for (len, protection, flags, what) in [
        (2 * PAGE, WRITE, SHARED, "two pages"),
        (PAGE, WRITE, libc::MAP_PRIVATE, "private"),
        (PAGE, WRITE | libc::PROT_READ, SHARED, "read and written"),
        (PAGE, libc::PROT_READ, SHARED, "read"),
    ] {
        let result = tried(&node, 0, len, protection, flags);
        assert_eq!(result, Errno::EINVAL, "{what}");
    }
}

fn queues_that_are_there() {
    let card = Card::new(Slot::Paged);
    let node = card.open();
    let count = node.vqs_count().unwrap() as usize;
    for queue in 0..count {
        assert_eq!(tried(&node, queue, PAGE, WRITE, SHARED), Errno::OK);
    }
    for queue in [count, count + 1, 65535, 65536, 1 << 32, (1 << 32) + 1] {
        let result = tried(&node, queue, PAGE, WRITE, SHARED);
        assert_eq!(result, Errno::EINVAL, "queue {queue}");
    }
}

/// What one could write there besides his own doorbell is others' as well.
fn doorbells_that_share_a_page() {
    let card = Card::new(Slot::Plain);
    let node = card.open();
    let result = |queue| tried(&node, queue, PAGE, WRITE, SHARED);
    assert_eq!(result(0), ENOTSUPP, "begins with the page");
    assert_eq!(result(1), Errno::EINVAL, "within the page");
}

fn device_without_doorbells() {
    let sim = Sim::net();
    let node = Node::open(&sim.name);
    assert_eq!(tried(&node, 0, PAGE, WRITE, SHARED), ENOTSUPP);
    // What is wrong with the mapping comes first, and then what is wrong with the queue.
    assert_eq!(tried(&node, 0, 2 * PAGE, WRITE, SHARED), Errno::EINVAL);
    assert_eq!(tried(&node, 99, PAGE, WRITE, SHARED), ENOTSUPP);
}

fn stays_write_only() {
    let card = Card::new(Slot::Paged);
    let node = card.open();
    let doorbell = Doorbell::map(&node, 0).unwrap();
    for protection in [libc::PROT_READ, libc::PROT_READ | WRITE, libc::PROT_EXEC] {
        assert_eq!(doorbell.protect(protection), Err(Errno::EACCES));
    }
    assert_eq!(doorbell.protect(libc::PROT_NONE), Ok(()));
    assert_eq!(doorbell.protect(WRITE), Ok(()));
    doorbell.ring(0);
}

fn stays_one_page() {
    let card = Card::new(Slot::Paged);
    let node = card.open();
    let mut doorbell = Doorbell::map(&node, 0).unwrap();
    assert_eq!(doorbell.grow(2 * PAGE), Err(Errno::EFAULT));
    doorbell.ring(0);
}

/// Gives the first card something to send, and tells nobody.
fn enqueue(net: &mut Net, n: usize) -> Vec<u8> {
    let frame = frame_to(Slot::Plain, n, 100 + n);
    assert!(net.enqueue(0, &frame), "room in the ring");
    frame
}

/// The first card sends what it was given when somebody kicks it, and not before.
#[track_caller]
fn assert_kicks(link: &mut Link, n: usize, kick: impl FnOnce()) {
    for _ in 0..50 {
        let frame = enqueue(&mut link.a, n);
        thread::sleep(Duration::from_millis(100));
        if let Some(got) = link.b.receive_now(0) {
            // It was still at work, and looked once more by itself.
            assert!(got == frame, "packet {n} without a kick");
            continue;
        }
        kick();
        assert!(link.b.receive() == frame, "packet {n}");
        return;
    }
    panic!("the card needs no kicks");
}

fn kicks() {
    let mut link = Link::new();
    let doorbell = Doorbell::map(&link.a.node, TX as usize).unwrap();
    for n in 0..20 {
        assert_kicks(&mut link, n, || doorbell.ring(TX as u16));
    }
    // An eventfd does as well, still.
    link.exchange(20);
}

/// Buffers to receive are noticed by their own doorbell.
fn kicks_of_every_queue() {
    let mut link = Link::with(|setup| setup.rx_buffers = 0);
    link.a.pairs[0].rx.ring.interrupts(Interrupts::Always);
    let doorbell = Doorbell::map(&link.a.node, RX as usize).unwrap();
    for n in 0..3 {
        let frame = frame_to(Slot::Paged, n, 200);
        link.b.send(&frame);
        let area = link.a.space.take(2048, 64);
        link.a.post(0, area);
        doorbell.ring(RX as u16);
        let used = link.a.pairs[0].rx.wait();
        let area = link.a.received(0, used);
        let header = link.a.header();
        assert!(area.read(header, frame.len()) == frame, "packet {n}");
    }
}

fn inherited_by_children() {
    let mut link = Link::new();
    let doorbell = Doorbell::map(&link.a.node, TX as usize).unwrap();
    for n in 0..3 {
        if n == 1 {
            doorbell.ring(TX as u16);
        }
        assert_kicks(&mut link, n, || in_child(|| doorbell.ring(TX as u16)));
    }
}

fn not_in_a_core_dump() {
    let card = Card::new(Slot::Paged);
    let node = card.open();
    let _doorbell = Doorbell::map(&node, 0).unwrap();
    let maps = sys::read("/proc/self/smaps");
    let mut lines = maps.lines().skip_while(|l| !l.contains("/dev/vhost-vdpa-"));
    let flags = lines.find_map(|l| l.strip_prefix("VmFlags:"));
    let flags: Vec<_> = flags.expect("flags").split_whitespace().collect();
    for flag in ["io", "pf", "de", "dd", "sh"] {
        assert!(flags.contains(&flag), "{flag} in {flags:?}");
    }
    assert!(!flags.contains(&"rd"), "{flags:?}");
}

/// A page is the card's, whatever state that is in.
fn survives_a_reset() {
    let mut link = Link::new();
    let doorbell = Doorbell::map(&link.a.node, TX as usize).unwrap();
    assert_kicks(&mut link, 0, || doorbell.ring(TX as u16));
    link.a.node.reset().unwrap();
    doorbell.ring(TX as u16);
    assert_eq!(link.a.node.status(), Ok(0));
}

/// Whether a process that rings the doorbell is ended by SIGBUS.
fn kills(doorbell: &Doorbell) -> bool {
    let status = fork(|| doorbell.ring(0)).wait();
    libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGBUS
}

fn gone_with_the_device() {
    let mut card = Card::new(Slot::Paged);
    let node = card.open();
    let doorbell = Doorbell::map(&node, 0).unwrap();
    doorbell.ring(0);
    assert_eq!(doorbell.ring_by_kernel(0), Ok(()));
    assert!(!kills(&doorbell));
    card.delete();
    assert_eq!(doorbell.ring_by_kernel(0), Err(Errno::EFAULT));
    assert!(kills(&doorbell));
    assert_eq!(tried(&node, 0, PAGE, WRITE, SHARED), Errno::ENODEV);
    // The mapping outlives the descriptor, and holds nobody up.
    drop(node);
    assert!(kills(&doorbell));
    let again = Card::new(Slot::Paged);
    let node = again.open();
    Doorbell::map(&node, 0).unwrap().ring(0);
    assert!(kills(&doorbell), "it is not of the new device");
}

fn gone_for_children_too() {
    let mut card = Card::new(Slot::Paged);
    let node = card.open();
    let doorbell = Doorbell::map(&node, 0).unwrap();
    doorbell.ring(0);
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let child = fork(|| {
        // It has the page in its own tables now.
        doorbell.ring(0);
        there.write_all(&[1]).unwrap();
        there.read_exact(&mut [0]).unwrap();
        doorbell.ring(0);
    });
    here.read_exact(&mut [0]).unwrap();
    card.delete();
    here.write_all(&[1]).unwrap();
    let status = child.wait();
    assert!(
        libc::WIFSIGNALED(status),
        "status of the child: {status:#x}"
    );
    assert_eq!(libc::WTERMSIG(status), libc::SIGBUS);
}

fn gone_with_the_driver() {
    let card = Card::new(Slot::Paged);
    let node = card.open();
    let doorbell = Doorbell::map(&node, 0).unwrap();
    doorbell.ring(0);
    sys::write("/sys/bus/vdpa/drivers/vhost_vdpa/unbind", "vp0");
    assert!(kills(&doorbell));
    sys::write("/sys/bus/vdpa/drivers/vhost_vdpa/bind", "vp0");
    assert!(kills(&doorbell), "who had it does not get it back");
}

/// The page stays with who mapped it until he closes the node: nobody else can open it meanwhile.
fn another_user_has_another_page() {
    let card = Card::new(Slot::Paged);
    let path = Node::path("vp0");
    let node = card.open();
    let doorbell = Doorbell::map(&node, 0).unwrap();
    drop(node);
    assert_eq!(Node::try_open(&path).unwrap_err(), Errno::EBUSY);
    doorbell.ring(0);
    drop(doorbell);
    drop(Node::try_open(&path).unwrap());
}

fn revoked_while_ringing() {
    for _ in 0..sys::rounds(5, 3) {
        let mut card = Card::new(Slot::Paged);
        let node = card.open();
        let doorbell = Doorbell::map(&node, 0).unwrap();
        let child = fork(|| {
            let start = Instant::now();
            while start.elapsed() < sys::patience() {
                doorbell.ring(0);
            }
        });
        thread::sleep(Duration::from_millis(20));
        assert!(!child.has_ended());
        card.delete();
        let status = child.wait();
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGBUS);
    }
}

/// Its first access comes when the device is gone.
fn page_that_was_never_touched() {
    let mut card = Card::new(Slot::Paged);
    let node = card.open();
    let doorbell = Doorbell::map(&node, 0).unwrap();
    card.delete();
    assert!(kills(&doorbell));
}

/// The mapping keeps it, when it is in no tree any more.
fn node_in_a_file_system_that_goes() {
    let fs = Tmpfs::new();
    let mut card = Card::new(Slot::Paged);
    let path = fs.node_like(&Node::path("vp0"));
    let node = Node::try_open(&path).unwrap();
    let doorbell = Doorbell::map(&node, 0).unwrap();
    doorbell.ring(0);
    drop(node);
    assert_eq!(fs.unmount(), Err(Errno::EBUSY));
    fs.detach().unwrap();
    card.delete();
    assert!(kills(&doorbell));
}
