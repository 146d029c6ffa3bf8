// SPDX-License-Identifier: GPL-2.0
//! Devices behind the platform's IOMMU: what they reach of their user's memory, and what not.
//!
//! Runs in a VM with an Intel IOMMU and two network cards behind it (tools/check).

use vdpa_test::parent::Mgmt;
use vdpa_test::user::in_child;
use vdpa_test::vdpa::Vdpa;
use vdpa_test::vhost::net::{negotiate, Net, Setup};
use vdpa_test::vhost::{backend, feature, status, Area, Memory, Node, Perm, RingAddress, PAGE};
use vdpa_test::vp::{frame_to, pinned_pages, Card, Faults, Link, Slot};
use vdpa_test::{ktap, ktap_main, sim, sys, Errno};

ktap_main!(
    one_address_space,
    addresses_in_reach,
    addresses_out_of_reach_are_refused,
    traffic,
    packed_rings,
    maps_survive_a_reset,
    memory_that_is_not_mapped,
    memory_that_was_unmapped,
    read_only_memory,
    write_only_memory,
    the_same_memory_twice,
    overlapping_maps_are_refused,
    unmapping_a_part,
    unmapping_a_part_of_large_pages,
    one_message_for_scattered_pages,
    nothing_stays_pinned,
    nothing_is_left_for_the_next_one,
    node_of_a_dead_process,
    deleted_while_mapped,
    unbound_while_mapped,
    card_taken_away_while_mapped,
    deleted_while_busy,
    without_an_iommu,
    states_that_a_card_cannot_have,
);

/// Where tests map memory besides that of the queues.
const ELSEWHERE: u64 = 0x31_0000_0000;

/// The last address that the IOMMU of the VM translates (`aw-bits=39`).
const LAST: u64 = (1 << 39) - 1;

fn owned(card: &Card) -> Node {
    let node = card.open();
    node.set_owner().unwrap();
    node.set_backend_features(backend::IOTLB_MSG_V2 | backend::IOTLB_BATCH)
        .unwrap();
    node
}

/// Kilobytes of memory of this process that are pinned.
fn pinned() -> u64 {
    let status = sys::read("/proc/self/status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmPin:"));
    let words = line.expect("a line VmPin").trim();
    words.trim_end_matches(" kB").parse().expect("a number")
}

fn one_address_space() {
    let card = Card::new(Slot::Paged);
    let node = owned(&card);
    assert_eq!(node.device_id(), Ok(1));
    assert_eq!(node.vqs_count(), Ok(3));
    assert_eq!((node.group_num(), node.as_num()), (Ok(1), Ok(1)));
    assert_eq!(node.vring_group(0), Err(Errno::EOPNOTSUPP));
    assert_eq!(node.set_group_asid(0, 0), Err(Errno::EOPNOTSUPP));
    let wanted =
        backend::IOTLB_MSG_V2 | backend::IOTLB_BATCH | backend::IOTLB_ASID | backend::IOTLB_PERSIST;
    assert_eq!(node.backend_features(), Ok(wanted));
}

fn addresses_in_reach() {
    let card = Card::new(Slot::Paged);
    let node = owned(&card);
    assert_eq!(node.iova_range(), Ok((0, LAST)));
    let area = Area::whole(&Memory::memfd(2 * PAGE), 0);
    let last = area.part(PAGE, PAGE).under(LAST - (PAGE as u64 - 1));
    for page in [area.part(0, PAGE), last] {
        assert_eq!(node.map(0, &page, Perm::Rw), Ok(()), "{:#x}", page.iova());
    }
    // Without address spaces in messages, all are about the same.
    assert_eq!(node.unmap(7, 0, PAGE as u64), Ok(()));
}

fn addresses_out_of_reach_are_refused() {
    let card = Card::new(Slot::Paged);
    let node = owned(&card);
    let area = Area::whole(&Memory::memfd(2 * PAGE), 0);
    for iova in [LAST - (PAGE as u64 - 1), LAST + 1, u64::MAX - 0x1fff] {
        let result = node.map(0, &area.under(iova), Perm::Rw);
        assert_eq!(result, Err(Errno::EINVAL), "{iova:#x}");
    }
    assert_eq!(pinned(), 0);
}

fn traffic() {
    let mut link = Link::new();
    for n in 0..300 {
        link.exchange(n);
    }
}

fn packed_rings() {
    let mut link = Link::with(|setup| {
        setup.features |= feature::RING_PACKED;
        // So that they go around.
        setup.size = 64;
        setup.rx_buffers = 32;
    });
    assert_ne!(link.a.features & feature::RING_PACKED, 0);
    for n in 0..300 {
        link.exchange(n);
    }
}

fn maps_survive_a_reset() {
    let (card, peer) = (Card::new(Slot::Paged), Card::new(Slot::Plain));
    let mut b = Net::start(&peer.setup());
    let setup = Setup {
        backend: backend::IOTLB_MSG_V2 | backend::IOTLB_PERSIST,
        ..card.setup()
    };
    let mut a = Net::start(&setup);
    for round in 0..2 {
        let sent = frame_to(Slot::Plain, round, 500);
        a.send(&sent);
        assert!(b.receive() == sent, "packet {round}");
        let Net { node, .. } = a;
        node.reset().unwrap();
        let features = negotiate(&node, setup.features, setup.backend);
        // The memory is not mapped again.
        a = Net::queues(node, &setup, features);
        a.run();
    }
}

/// A chain that the first card sends: a header and a frame in an area.
fn send_from(link: &mut Link, area: &Area, frame: &[u8]) {
    let packet = link.a.write_packet(area, frame);
    link.a.send_chain(&[packet.readable()]);
}

/// After something that should not have been sent: nothing with these contents comes.
fn assert_never_sent(link: &mut Link, secret: &[u8]) {
    let last = frame_to(Slot::Plain, 77, 333);
    link.a.send(&last);
    loop {
        let got = link.b.receive();
        assert!(got != secret, "the device read what it must not");
        if got == last {
            return;
        }
    }
}

/// The first card sends what it cannot read.
fn refused_to_read(link: &mut Link, area: &Area) {
    let secret = frame_to(Slot::Plain, 99, 700);
    let mut faults = Faults::expect();
    faults.provoke(Slot::Paged, "Read", area.iova(), || {
        send_from(link, area, &secret);
    });
    assert_never_sent(link, &secret);
}

/// The first card receives where it cannot write.
fn refused_to_write(link: &mut Link, area: &Area) {
    area.fill(0x5a);
    let mut faults = Faults::expect();
    let sent = frame_to(Slot::Paged, 5, 800);
    faults.provoke(Slot::Paged, "Write", area.iova(), || {
        link.a.post(0, area.clone());
        link.a.pairs[0].rx.notify();
        // Some time, the buffer's turn comes.
        for _ in 0..80 {
            link.b.send(&sent);
            let used = link.a.pairs[0].rx.wait();
            let buffer = link.a.received(0, used);
            if buffer.iova() == area.iova() {
                return;
            }
            link.a.post(0, buffer);
            link.a.pairs[0].rx.notify();
        }
        panic!("the buffer is not used");
    });
    let bytes = area.read(0, area.len());
    assert!(bytes.iter().all(|b| *b == 0x5a), "memory was written");
}

fn elsewhere(pages: usize) -> Area {
    Area::whole(&Memory::memfd(pages * PAGE), ELSEWHERE)
}

fn memory_that_is_not_mapped() {
    let mut link = Link::new();
    let area = elsewhere(1);
    refused_to_read(&mut link, &area);
    refused_to_write(&mut link, &area);
    link.exchange(1);
}

fn memory_that_was_unmapped() {
    let mut link = Link::new();
    let area = elsewhere(1);
    link.a.node.map(0, &area, Perm::Rw).unwrap();
    let sent = frame_to(Slot::Plain, 1, 600);
    send_from(&mut link, &area, &sent);
    assert!(link.b.receive() == sent);
    link.a.node.unmap(0, area.iova(), PAGE as u64).unwrap();
    refused_to_read(&mut link, &area);
    refused_to_write(&mut link, &area);
    // And mapped again.
    link.a.node.map(0, &area, Perm::Rw).unwrap();
    send_from(&mut link, &area, &sent);
    assert!(link.b.receive() == sent);
}

fn read_only_memory() {
    let mut link = Link::new();
    let area = elsewhere(1);
    link.a.node.map(0, &area, Perm::Ro).unwrap();
    // First: QEMU's IOMMU reports no fault of what it has translated before.
    refused_to_write(&mut link, &area);
    let sent = frame_to(Slot::Plain, 1, 600);
    send_from(&mut link, &area, &sent);
    assert!(link.b.receive() == sent);
}

fn write_only_memory() {
    let mut link = Link::new();
    let area = elsewhere(1);
    link.a.node.map(0, &area, Perm::Wo).unwrap();
    refused_to_read(&mut link, &area);
}

fn the_same_memory_twice() {
    let mut link = Link::new();
    let area = elsewhere(1);
    let again = area.under(0x40_0000_0000);
    for one in [&area, &again] {
        link.a.node.map(0, one, Perm::Rw).unwrap();
    }
    for (n, one) in [&area, &again].into_iter().enumerate() {
        let sent = frame_to(Slot::Plain, n, 600);
        send_from(&mut link, one, &sent);
        assert!(link.b.receive() == sent);
    }
    link.a.node.unmap(0, area.iova(), PAGE as u64).unwrap();
    let sent = frame_to(Slot::Plain, 3, 600);
    send_from(&mut link, &again, &sent);
    assert!(link.b.receive() == sent, "the other one stays");
}

fn overlapping_maps_are_refused() {
    let card = Card::new(Slot::Paged);
    let node = owned(&card);
    let area = elsewhere(4);
    node.map(0, &area.part(PAGE, 2 * PAGE), Perm::Rw).unwrap();
    let before = pinned();
    for (at, len) in [(0, 4), (0, 2), (1, 1), (2, 2)] {
        let result = node.map(0, &area.part(at * PAGE, len * PAGE), Perm::Rw);
        assert_eq!(result, Err(Errno::EEXIST), "{len} pages from {at} on");
    }
    assert_eq!(pinned(), before);
}

/// Packets from pages before and behind a hole that was made in what is mapped, and none out of it.
fn hole(link: &mut Link, area: &Area, hole: Area) {
    let pages = area.len() / PAGE;
    let nth = |page: usize| area.part(page * PAGE, PAGE);
    let send = |link: &mut Link, page: usize| {
        let sent = frame_to(Slot::Plain, page, 600);
        send_from(link, &nth(page), &sent);
        assert!(link.b.receive() == sent, "page {page}");
    };
    let node = &link.a.node;
    node.map(0, area, Perm::Rw).unwrap();
    node.unmap(0, hole.iova(), hole.len() as u64).unwrap();
    let first = (hole.iova() - area.iova()) as usize / PAGE;
    let behind = first + hole.len() / PAGE;
    for page in [0, first - 1, behind, pages - 1] {
        send(link, page);
    }
    refused_to_read(link, &hole.part(0, PAGE));
    refused_to_read(link, &hole.part(hole.len() - PAGE, PAGE));
    assert_eq!(
        pinned() * 1024,
        (2 << 20) + (2 << 20) + (area.len() - hole.len()) as u64,
        "both cards' own memory, and the rest"
    );
    link.a.node.map(0, &hole, Perm::Rw).unwrap();
    send(link, first);
}

const LARGE: usize = 2 << 20;

/// Some large pages of a process, which the device has at the same place of large ones.
fn large_pages() -> Area {
    let memory = Memory::private(8 * LARGE);
    memory
        .advise(0, memory.size(), libc::MADV_HUGEPAGE)
        .unwrap();
    let within = memory.uaddr().next_multiple_of(LARGE as u64) - memory.uaddr();
    let area = Area::whole(&memory, 0).part(within as usize, 7 * LARGE);
    area.fill(1);
    let first = memory.physical(area.offset());
    let last = memory.physical(area.offset() + LARGE - 1);
    if first % LARGE as u64 != 0 || last - first != LARGE as u64 - 1 {
        ktap::skip("there are no large pages");
    }
    area.under(ELSEWHERE)
}

/// Pages that are one behind the other in the machine.
fn unmapping_a_part() {
    let mut link = Link::new();
    let area = large_pages().part(PAGE, 16 * PAGE).under(ELSEWHERE);
    hole(&mut link, &area, area.part(6 * PAGE, 3 * PAGE));
}

/// Where an IOMMU translates two megabytes at once, or more.
fn unmapping_a_part_of_large_pages() {
    let mut link = Link::new();
    let area = large_pages();
    hole(&mut link, &area, area.part(3 * LARGE + 5 * PAGE, 2 * PAGE));
}

fn one_message_for_scattered_pages() {
    const PAGES: usize = 8192;
    let mut link = Link::new();
    let area = elsewhere(PAGES);
    for start in [0, 1] {
        for page in (start..PAGES).step_by(2) {
            area.write(page * PAGE, &[1]);
        }
    }
    let before = pinned();
    link.a.node.map(0, &area, Perm::Rw).unwrap();
    assert_eq!(pinned() - before, PAGES as u64 * 4);
    for page in [0, 1, 2, 1000, 2047, 2048, PAGES - 1] {
        let sent = frame_to(Slot::Plain, page, 900);
        send_from(&mut link, &area.part(page * PAGE, PAGE), &sent);
        assert!(link.b.receive() == sent, "page {page}");
    }
    let size = area.len() as u64;
    link.a.node.unmap(0, area.iova(), size).unwrap();
    assert_eq!(pinned(), before);
}

fn nothing_stays_pinned() {
    let card = Card::new(Slot::Paged);
    let before = pinned_pages();
    let area = Area::whole(&Memory::private(256 * PAGE), ELSEWHERE);
    for _ in 0..3 {
        let node = owned(&card);
        node.batch(0, || {
            node.map(0, &area.part(0, 100 * PAGE), Perm::Rw)?;
            node.map(0, &area.part(100 * PAGE, 156 * PAGE), Perm::Ro)
        })
        .unwrap();
        assert_eq!(pinned_pages() - before, 256);
        assert_eq!(pinned(), 1024);
        let other = area.part(50 * PAGE, PAGE).under(ELSEWHERE * 2);
        node.map(0, &other, Perm::Rw).unwrap();
        assert_eq!(pinned_pages() - before, 257, "each mapping counts");
        node.unmap(0, other.iova(), PAGE as u64).unwrap();
        drop(node);
        assert_eq!((pinned_pages(), pinned()), (before, 0));
    }
}

/// A card that was used is empty for the next user: he maps the same addresses, and what he does
/// not map is not there.
fn nothing_is_left_for_the_next_one() {
    let area = elsewhere(1);
    let mut link = Link::new();
    link.a.node.map(0, &area, Perm::Rw).unwrap();
    link.exchange(0);
    let Link {
        a,
        b,
        card_a,
        card_b,
    } = link;
    drop(a);
    assert_eq!(pinned(), 2048, "of the other card");
    let a = Net::start(&card_a.setup());
    let mut link = Link {
        a,
        b,
        card_a,
        card_b,
    };
    link.exchange(1);
    refused_to_read(&mut link, &area);
}

fn node_of_a_dead_process() {
    let card = Card::new(Slot::Paged);
    let before = pinned_pages();
    in_child(|| {
        let node = owned(&card);
        let area = elsewhere(64);
        node.map(0, &area, Perm::Rw).unwrap();
        assert_eq!(pinned_pages() - before, 64);
        // Neither is dropped: the process ends.
        std::mem::forget(node);
        std::mem::forget(area);
    });
    sys::wait_for("pages to be released", || pinned_pages() == before);
    let node = owned(&card);
    node.map(0, &elsewhere(64), Perm::Rw).unwrap();
}

fn assert_revoked(node: &Node) {
    assert_eq!(node.status(), Err(Errno::ENODEV));
    assert_eq!(node.unmap(0, ELSEWHERE, 4096), Err(Errno::ENODEV));
}

fn deleted_while_mapped() {
    let before = pinned_pages();
    let mut link = Link::new();
    link.exchange(0);
    link.card_a.delete();
    assert_revoked(&link.a.node);
    assert_eq!(pinned(), 2048, "of the other card");
    link.card_b.delete();
    assert_eq!((pinned_pages(), pinned()), (before, 0));
    drop(link);
    let mut link = Link::new();
    link.exchange(1);
}

fn unbound_while_mapped() {
    let mut link = Link::new();
    link.exchange(0);
    sys::write("/sys/bus/vdpa/drivers/vhost_vdpa/unbind", "vp0");
    assert_revoked(&link.a.node);
    assert_eq!(pinned(), 2048, "of the other card");
    sys::write("/sys/bus/vdpa/drivers/vhost_vdpa/bind", "vp0");
    link.a = Net::start(&link.card_a.setup());
    link.exchange(1);
}

fn card_taken_away_while_mapped() {
    let before = pinned_pages();
    let mut link = Link::new();
    link.exchange(0);
    sys::write("/sys/bus/pci/drivers/vp-vdpa/unbind", Slot::Paged.pci());
    assert_revoked(&link.a.node);
    assert!(!sys::devices().contains(&"vp0".to_string()));
    drop(link);
    assert_eq!(pinned_pages(), before);
    Link::new().exchange(1);
}

fn deleted_while_busy() {
    for n in 0..sys::rounds(5, 3) {
        let mut link = Link::new();
        link.exchange(n);
        // Both have a lot to do meanwhile.
        for frame in 0..50 {
            link.a.enqueue(0, &frame_to(Slot::Plain, frame, 1000));
            link.b.enqueue(0, &frame_to(Slot::Paged, frame, 1000));
        }
        link.a.pairs[0].tx.notify();
        link.b.pairs[0].tx.notify();
        link.card_a.delete();
        assert_revoked(&link.a.node);
    }
}

fn without_an_iommu() {
    let _m = Mgmt::new("m0", "dev.without=set_map");
    sim::for_vhost();
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let path = Node::path("d0");
    for _ in 0..2 {
        // ENOTSUPP, which user space has no name for.
        assert_eq!(Node::try_open(&path).unwrap_err(), Errno(524));
    }
}

fn states_that_a_card_cannot_have() {
    let card = Card::new(Slot::Paged);
    let node = owned(&card);
    assert_eq!(node.vring_base(0), Err(Errno::EOPNOTSUPP));
    assert_eq!(
        node.set_vring_base(0, 0),
        Err(Errno::EOPNOTSUPP),
        "too early"
    );
    let setup = card.setup();
    negotiate(&node, setup.features, backend::IOTLB_MSG_V2);
    assert_eq!(node.set_vring_base(0, 0), Ok(()));
    assert_eq!(node.set_vring_base(0, 1), Err(Errno::EOPNOTSUPP));
    let at = RingAddress {
        desc: ELSEWHERE,
        driver: ELSEWHERE + 0x1000,
        device: ELSEWHERE + 0x2000,
    };
    assert_eq!(node.set_vring_addr(0, at), Ok(()));
    assert_eq!(node.vring_size(0), Ok(256));
    assert_eq!(node.status(), Ok(status::NEGOTIATED));
    assert_eq!(node.suspend(), Ok(()), "nothing runs");
}
