// SPDX-License-Identifier: GPL-2.0
//! Messages about memory: which are refused and how, and what a device has after them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::sim::{for_vhost, Sim, MAC as OWN};
use vdpa_test::user::{drop_ipc_lock, in_child};
use vdpa_test::vdpa::Vdpa;
use vdpa_test::vhost::net::{frame, Net, Setup};
use vdpa_test::vhost::{backend, Area, Memory, Message, Node, Perm, PAGE};
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    sizes_and_versions,
    several_at_once,
    several_at_once_up_to_an_error,
    refused_with_the_reason,
    permissions,
    limit_of_mappings,
    limit_of_parts,
    batch_without_end,
    locked_memory_is_counted,
    part_of_locked_memory,
    locked_memory_has_a_limit,
    locked_memory_in_a_batch,
    pages_that_do_not_match,
    unmapping_a_part,
    unmapping_a_part_of_pieces,
    unmapping_a_part_by_pages,
    unmapping_a_part_of_pieces_by_pages,
    unmapping_everything,
    scattered_pages,
    what_a_parent_in_c_is_told,
    batch_of_two_spaces,
    nothing_of_no_size,
);

const BASE: u64 = 0x10_0000;

fn owned() -> Node {
    let node = Node::open("n0");
    node.set_owner().unwrap();
    node.set_backend_features(backend::USUAL).unwrap();
    node
}

fn update(area: &Area) -> Message {
    Message::Update {
        iova: area.iova(),
        size: area.len() as u64,
        uaddr: area.uaddr(),
        perm: Perm::Rw,
    }
}

fn invalidate(iova: u64, size: u64) -> Message {
    Message::Invalidate { iova, size }
}

/// Kilobytes of memory of this process that are pinned.
fn pinned() -> u64 {
    let status = sys::read("/proc/self/status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmPin:"));
    let words = line.expect("a line VmPin");
    words
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

fn sizes_and_versions() {
    let _sim = Sim::net();
    let node = owned();
    let area = Area::whole(&Memory::memfd(PAGE), BASE);
    let whole = update(&area).v2(0);
    for len in [0, 3, 39] {
        assert_eq!(node.write(&whole[..len]), Err(Errno::EINVAL), "{len} bytes");
    }
    node.write(&whole[..40]).expect("all that counts");
    node.unmap(0, BASE, PAGE as u64).unwrap();
    assert_eq!(node.write(&update(&area).v1()), Ok(72));
    let mut unknown = invalidate(BASE, 1).v2(0);
    unknown[0] = 3;
    assert_eq!(node.write(&unknown), Err(Errno::EINVAL), "version 3");
}

fn several_at_once() {
    let _sim = Sim::net();
    let node = owned();
    let area = Area::whole(&Memory::memfd(4 * PAGE), BASE);
    let mut messages: Vec<_> = (0..4).map(|n| update(&area.part(n * PAGE, PAGE))).collect();
    messages.insert(0, Message::BatchBegin);
    messages.push(Message::BatchEnd);
    assert_eq!(node.write_all(0, &messages), Ok(6 * 72));
    for n in 0..4 {
        let again = node.map(0, &area.part(n * PAGE, PAGE), Perm::Rw);
        assert_eq!(again, Err(Errno::EEXIST), "page {n}");
    }
}

fn several_at_once_up_to_an_error() {
    let _sim = Sim::net();
    let node = owned();
    let area = Area::whole(&Memory::memfd(4 * PAGE), BASE);
    let [a, b, c] = [0, 1, 2].map(|n| update(&area.part(n * PAGE, PAGE)));
    assert_eq!(node.write_all(0, &[a, b, a, c]), Ok(2 * 72));
    assert_eq!(node.iotlb(0, c), Ok(()), "it was not reached");
    assert_eq!(node.write_all(0, &[a, c]), Err(Errno::EEXIST));
}

fn refused_with_the_reason() {
    let _sim = Sim::net();
    let area = Area::whole(&Memory::memfd(2 * PAGE), BASE);
    let node = Node::open("n0");
    assert_eq!(node.iotlb(0, update(&area)), Err(Errno::EPERM), "no owner");
    drop(node);
    let node = owned();
    assert_eq!(node.iotlb(2, update(&area)), Err(Errno::EINVAL), "space 2");
    let nothing = Message::Update {
        iova: BASE,
        size: PAGE as u64,
        uaddr: 0x1000,
        perm: Perm::Rw,
    };
    assert_eq!(node.iotlb(0, nothing), Err(Errno::EINVAL), "no memory");
    node.iotlb(0, update(&area)).unwrap();
    for part in [area.part(0, 1), area.part(PAGE, PAGE), area.clone()] {
        assert_eq!(node.map(0, &part, Perm::Ro), Err(Errno::EEXIST));
    }
    let wraps = Message::Update {
        iova: u64::MAX - 1,
        size: PAGE as u64,
        uaddr: area.uaddr(),
        perm: Perm::Rw,
    };
    assert_eq!(node.iotlb(0, wraps), Err(Errno::EINVAL), "beyond the end");
}

fn permissions() {
    let _sim = Sim::net();
    let node = owned();
    let area = Area::whole(&Memory::memfd(PAGE), BASE);
    for bad in [0u8, 4, 7, 0xff] {
        let mut message = update(&area).v2(0);
        message[32] = bad;
        assert_eq!(node.write(&message), Err(Errno::EINVAL), "{bad}");
    }
    for good in [Perm::Ro, Perm::Wo, Perm::Rw] {
        assert_eq!(node.map(0, &area, good), Ok(()));
        node.unmap(0, BASE, PAGE as u64).unwrap();
    }
}

/// How many mappings an address space can have.
const LIMIT: usize = 2048;

fn limit_of_mappings() {
    let _sim = Sim::net_with(&[("max_iotlb_entries", "4096")]);
    let node = owned();
    let limit: usize = sys::read("/sys/module/vhost_vdpa/parameters/max_iotlb_entries")
        .trim()
        .parse()
        .unwrap();
    assert_eq!(limit, LIMIT);
    let area = Area::whole(&Memory::memfd((limit + 1) * PAGE), BASE);
    // So that they do not lie one behind the other.
    let nth = |n: usize| {
        area.part(n * PAGE, PAGE)
            .under(BASE + (2 * n * PAGE) as u64)
    };
    node.batch(0, || {
        for n in 0..limit {
            node.map(0, &nth(n), Perm::Rw)?;
        }
        assert_eq!(node.map(0, &nth(limit), Perm::Rw), Err(Errno::ENOSPC));
        Ok(())
    })
    .unwrap();
    node.unmap(0, nth(0).iova(), PAGE as u64).unwrap();
    assert_eq!(node.map(0, &nth(limit), Perm::Rw), Ok(()));
}

/// Unmapping makes two mappings of one: not any number of them.
fn limit_of_parts() {
    let _sim = Sim::net_with(&[("max_iotlb_entries", "65536")]);
    let node = owned();
    let page = PAGE as u64;
    let area = Area::whole(&Memory::memfd(2 * (LIMIT + 2) * PAGE), BASE);
    node.map(0, &area, Perm::Rw).unwrap();
    let hole = |n: usize| BASE + (2 * n as u64 + 1) * page;
    node.batch(0, || {
        (0..LIMIT - 1).try_for_each(|n| node.unmap(0, hole(n), page))
    })
    .unwrap();
    let next = hole(LIMIT - 1);
    assert_eq!(node.unmap(0, next, page), Err(Errno::ENOSPC));
    let inside = area.part((next - BASE) as usize, PAGE);
    assert_eq!(node.map(0, &inside, Perm::Rw), Err(Errno::EEXIST));
    // With one less there is room again.
    node.unmap(0, BASE, page).unwrap();
    node.unmap(0, next, page).unwrap();
}

/// What was unmapped is kept until the device is told, but not any amount of it.
fn batch_without_end() {
    let _parent = Mgmt::new("m0", "dev.id=26");
    for_vhost();
    let mut v = Vdpa::new();
    let _device = v.add("m0", "n0");
    let node = owned();
    let area = Area::whole(&Memory::private(PAGE), BASE);
    node.iotlb(0, Message::BatchBegin).unwrap();
    node.map(0, &area, Perm::Rw).unwrap();
    node.unmap(0, BASE, PAGE as u64).unwrap();
    assert_eq!(parent::calls("set_map").len(), 0, "it is collected");
    assert_eq!(pinned(), 4, "the device may have been told before");
    for _ in 0..LIMIT + 8 {
        node.map(0, &area, Perm::Rw).unwrap();
        node.unmap(0, BASE, PAGE as u64).unwrap();
    }
    assert_eq!(parent::calls("set_map").len(), 1);
    assert!(pinned() <= 4 * LIMIT as u64, "{} kB", pinned());
    node.iotlb(0, Message::BatchEnd).unwrap();
    assert_eq!(pinned(), 0);
}

fn locked_memory_is_counted() {
    let _sim = Sim::net_with(&[("use_va", "N")]);
    let node = owned();
    let area = Area::whole(&Memory::private(64 * PAGE), BASE);
    node.map(0, &area.part(0, 48 * PAGE), Perm::Rw).unwrap();
    assert_eq!(pinned(), 48 * 4);
    node.map(1, &area.part(0, 8 * PAGE), Perm::Ro).unwrap();
    assert_eq!(pinned(), 56 * 4, "each mapping counts");
    // Nothing of what fails stays.
    let end = Message::Update {
        iova: 0x7000_0000,
        size: 64 * PAGE as u64,
        uaddr: area.uaddr() + 32 * PAGE as u64,
        perm: Perm::Rw,
    };
    let result = node.iotlb(0, end);
    if result.is_ok() {
        node.unmap(0, 0x7000_0000, 64 * PAGE as u64).unwrap();
    }
    assert_eq!(pinned(), 56 * 4);
    drop(node);
    assert_eq!(pinned(), 0);
}

fn part_of_locked_memory() {
    let _sim = Sim::net_with(&[("use_va", "N")]);
    let node = owned();
    let area = Area::whole(&Memory::private(48 * PAGE), BASE);
    node.map(0, &area, Perm::Rw).unwrap();
    for (from, pages, left) in [(8, 8, 40), (0, 4, 36), (40, 8, 28), (4, 44, 0)] {
        node.unmap(0, BASE + from * PAGE as u64, pages * PAGE as u64)
            .unwrap();
        assert_eq!(pinned(), left * 4);
    }
}

/// Lets this process lock so many pages, if it may not lock any amount.
fn limit_locked_memory(pages: usize) {
    let limit = libc::rlimit {
        rlim_cur: (pages * PAGE) as u64,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: The structure lives across the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    assert_eq!(set, 0);
}

/// What was unmapped in a batch does not count, although the device may still have it.
fn locked_memory_in_a_batch() {
    let _sim = Sim::net_with(&[("use_va", "N")]);
    in_child(|| {
        limit_locked_memory(32);
        drop_ipc_lock();
        let node = owned();
        let area = Area::whole(&Memory::private(32 * PAGE), BASE);
        let elsewhere = area.under(2 * BASE);
        node.map(0, &area, Perm::Rw).unwrap();
        node.batch(0, || {
            node.unmap(0, BASE, area.len() as u64)?;
            node.map(0, &elsewhere, Perm::Rw)
        })
        .unwrap();
        assert_eq!(pinned(), 32 * 4);
        let again = area.part(0, PAGE);
        assert_eq!(node.map(0, &again, Perm::Rw), Err(Errno::ENOMEM));
    });
}

fn locked_memory_has_a_limit() {
    let _sim = Sim::net_with(&[("use_va", "N")]);
    in_child(|| {
        let node = owned();
        let area = Area::whole(&Memory::private(64 * PAGE), BASE);
        limit_locked_memory(32);
        // Who may lock any amount is not limited.
        node.map(0, &area, Perm::Rw).unwrap();
        node.unmap(0, BASE, 64 * PAGE as u64).unwrap();
        drop_ipc_lock();
        assert_eq!(node.map(0, &area, Perm::Rw), Err(Errno::ENOMEM));
        assert_eq!(pinned(), 0);
        node.map(0, &area.part(0, 32 * PAGE), Perm::Rw).unwrap();
        let more = area.part(32 * PAGE, PAGE);
        assert_eq!(node.map(0, &more, Perm::Rw), Err(Errno::ENOMEM));
        assert_eq!(pinned(), 32 * 4);
    });
}

fn pages_that_do_not_match() {
    let _sim = Sim::net_with(&[("use_va", "N")]);
    let node = owned();
    let area = Area::whole(&Memory::memfd(2 * PAGE), BASE);
    let shifted = area.part(0, PAGE).under(BASE + 0x100);
    assert_eq!(node.map(0, &shifted, Perm::Rw), Err(Errno::EINVAL));
    // It would be mapped with what is around it.
    for part in [area.part(0x100, PAGE), area.part(0, 0x100)] {
        assert_eq!(node.map(0, &part, Perm::Rw), Err(Errno::EINVAL));
    }
    assert_eq!(pinned(), 0);
}

/// A device whose memory consists of pages that were cut out of a larger mapping, one of which is
/// mapped again elsewhere.
fn cut_out(parameters: &[(&str, &str)]) {
    let mut sim = Sim::net_with(parameters);
    let setup = Setup {
        rx_buffers: 8,
        rx_size: 2048,
        ..Setup::on("n0", Memory::memfd(1 << 20))
    };
    let mut net = Net::start(&setup);
    let memory = Memory::memfd(8 * PAGE);
    let area = Area::whole(&memory, 0x77_0000_0000);
    net.node.map(0, &area, Perm::Rw).unwrap();
    let send = |net: &mut Net, page: usize| {
        let packet = net.write_packet(&area.part(page * PAGE, PAGE), &frame(OWN, page, 300));
        net.send_chain(&[packet.readable()]);
    };
    for page in 0..8 {
        send(&mut net, page);
        assert_eq!(net.receive(), frame(OWN, page, 300), "page {page}");
    }
    let hole = area.part(3 * PAGE, 2 * PAGE);
    net.node.unmap(0, hole.iova(), hole.len() as u64).unwrap();
    // The simulator may still be at work with what it knew before.
    thread::sleep(Duration::from_millis(200));
    for page in [0, 2, 5, 7] {
        send(&mut net, page);
        assert_eq!(net.receive(), frame(OWN, page, 300), "page {page}");
    }
    let before = sim.stat(1, "tx errors");
    for page in [3, 4] {
        send(&mut net, page);
    }
    assert_eq!(sim.stat(1, "tx errors"), before + 2, "pages in the hole");
    assert_eq!(
        net.node.map(0, &area.part(2 * PAGE, PAGE), Perm::Rw),
        Err(Errno::EEXIST)
    );
    net.node.map(0, &hole, Perm::Rw).unwrap();
    send(&mut net, 4);
    assert_eq!(net.receive(), frame(OWN, 4, 300), "mapped again");
}

fn unmapping_a_part() {
    cut_out(&[]);
}

fn unmapping_a_part_of_pieces() {
    cut_out(&[("batch_mapping", "0")]);
}

fn unmapping_a_part_by_pages() {
    cut_out(&[("use_va", "N")]);
}

fn unmapping_a_part_of_pieces_by_pages() {
    cut_out(&[("use_va", "N"), ("batch_mapping", "0")]);
}

/// As DPDK does when it begins.
fn unmapping_everything() {
    for use_va in ["Y", "N"] {
        case(format!("use_va={use_va}"), || {
            let _sim = Sim::net_with(&[("use_va", use_va)]);
            let node = owned();
            let area = Area::whole(&Memory::memfd(16 * PAGE), BASE);
            node.batch(0, || Ok(())).unwrap();
            node.unmap(0, 0, u64::MAX).unwrap();
            node.map(0, &area, Perm::Rw).unwrap();
            node.unmap(0, 0, u64::MAX).unwrap();
            node.map(0, &area, Perm::Rw).unwrap();
        });
    }
}

/// Memory whose pages are in no order, by one message.
fn scattered_pages() {
    const PAGES: usize = 8192;
    let _sim = Sim::net_with(&[("use_va", "N")]);
    let memory = Memory::memfd(PAGES * PAGE);
    let area: Arc<Area> = Arc::new(Area::whole(&memory, BASE));
    // Every other page exists, then the others: neighbours are not made one after the other.
    for start in [0, 1] {
        for page in (start..PAGES).step_by(2) {
            area.write(page * PAGE, &[1]);
        }
    }
    let node = owned();
    node.map(0, &area, Perm::Rw).unwrap();
    assert_eq!(pinned(), PAGES as u64 * 4);
    node.unmap(0, BASE, (PAGES * PAGE) as u64).unwrap();
    assert_eq!(pinned(), 0);
}

/// A parent in C looks at the list and the tree that it gets, of different numbers of pieces.
fn what_a_parent_in_c_is_told() {
    const PAGES: usize = 70;
    let _m = Mgmt::new("m0", "");
    for_vhost();
    let mut v = Vdpa::new();
    let _d = v.add("m0", "n0");
    let node = owned();
    parent::forget();
    let area = Area::whole(&Memory::memfd(PAGES * PAGE), BASE);
    // So that they do not lie one behind the other.
    let nth = |n: usize| {
        area.part(n * PAGE, PAGE)
            .under(BASE + (2 * n * PAGE) as u64)
    };
    // From both ends.
    let order = |n: usize| if n % 2 == 0 { n / 2 } else { PAGES - 1 - n / 2 };
    for n in 0..PAGES {
        node.map(0, &nth(order(n)), Perm::Rw).unwrap();
    }
    for n in 0..PAGES {
        node.unmap(0, nth(order(n)).iova(), PAGE as u64).unwrap();
    }
    let told = (1..=PAGES).chain((0..PAGES).rev());
    let expected: Vec<_> = told.map(|n| format!("0 {n} sound")).collect();
    let calls = parent::calls("set_map");
    let calls: Vec<_> = calls
        .iter()
        .map(|line| line.splitn(4, ' ').last().unwrap_or(""))
        .collect();
    assert_eq!(calls, expected);
}

fn batch_of_two_spaces() {
    let _sim = Sim::net();
    let node = owned();
    let area = Area::whole(&Memory::memfd(PAGE), BASE);
    node.iotlb(0, Message::BatchBegin).unwrap();
    assert_eq!(node.map(1, &area, Perm::Rw), Err(Errno::EINVAL));
    node.map(0, &area, Perm::Rw).unwrap();
    node.iotlb(0, Message::BatchEnd).unwrap();
    node.map(1, &area, Perm::Rw).unwrap();
    assert_eq!(
        node.iotlb(1, Message::BatchEnd),
        Ok(()),
        "there is none to end"
    );
}

fn nothing_of_no_size() {
    let _sim = Sim::net();
    let node = owned();
    let area = Area::whole(&Memory::memfd(PAGE), 0);
    node.map(0, &area, Perm::Rw).unwrap();
    assert_eq!(node.unmap(0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(
        node.map(0, &area, Perm::Rw),
        Err(Errno::EEXIST),
        "it is there"
    );
}
