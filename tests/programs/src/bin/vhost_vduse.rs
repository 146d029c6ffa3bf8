// SPDX-License-Identifier: GPL-2.0
//! Devices of VDUSE: their daemons get the files that the user's memory is of, and may be
//! slow, refuse, or be killed.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;

use vdpa_test::mount::Tmpfs;
use vdpa_test::user::fork;
use vdpa_test::vduse::{Answer, Kind, Region, Server, Vduse, NAME};
use vdpa_test::vhost::{backend, Area, Memory, Node, Perm, PAGE};
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    file_and_offset,
    permissions,
    several_files,
    memory_in_several_areas,
    batch,
    hole_in_the_middle,
    hole_over_areas,
    hole_that_is_filled,
    private_memory,
    mapping_refused_by_the_daemon,
    unmapping_refused_by_the_daemon,
    file_released_when_unmapped,
    file_released_in_parts,
    file_released_with_the_node,
    file_released_with_the_device,
    file_released_when_refused,
    daemon_killed,
    daemon_killed_and_node_closed,
    errors_without_a_daemon,
    daemon_that_comes_back,
    user_killed_while_the_daemon_is_asked,
);

const BASE: u64 = 0x10_0000;
const P: u64 = PAGE as u64;

fn owned() -> Node {
    let node = Node::open(NAME);
    node.set_owner().unwrap();
    let features = backend::IOTLB_MSG_V2 | backend::IOTLB_BATCH | backend::IOTLB_ASID;
    node.set_backend_features(features).unwrap();
    node
}

/// All of a memory, each page of which gets contents that no other one has.
fn numbered(memory: &Arc<Memory>, iova: u64) -> Area {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let area = Area::whole(memory, iova);
    for page in 0..memory.size() / PAGE {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        area.write(page * PAGE, &number.to_ne_bytes().repeat(PAGE / 8));
    }
    area
}

/// Eight pages, which are not the first ones of their file.
fn eight_pages() -> Area {
    numbered(&Memory::memfd(12 * PAGE), BASE).part(2 * PAGE, 8 * PAGE)
}

fn pages(area: &Area, first: usize, count: usize) -> Area {
    area.part(first * PAGE, count * PAGE)
}

fn unmap(node: &Node, area: &Area) -> Result<(), Errno> {
    node.unmap(0, area.iova(), area.len() as u64)
}

/// The daemon gets these areas and nothing else: with their offsets, and contents.
#[track_caller]
fn assert_sees(server: &Server, areas: &[Area]) {
    let regions = server.daemon.regions();
    let places = areas.iter().map(|a| {
        let last = a.iova() + a.len() as u64 - 1;
        (a.iova(), last, a.offset() as u64)
    });
    let seen: Vec<_> = regions.iter().map(Region::place).collect();
    assert_eq!(seen, places.collect::<Vec<_>>());
    for (region, area) in regions.iter().zip(areas) {
        let mut bytes = vec![0; area.len()];
        region
            .file
            .read_exact_at(&mut bytes, region.offset)
            .expect("its bytes");
        assert!(
            bytes == area.read(0, area.len()),
            "bytes at {:#x}",
            area.iova()
        );
    }
}

fn file_and_offset() {
    let vduse = Vduse::by_thread();
    let (node, area) = (owned(), eight_pages());
    node.map(0, &area, Perm::Rw).unwrap();
    assert_sees(vduse.server(), &[area.clone()]);
    // What the daemon writes comes to the user.
    let region = vduse.server().daemon.region(area.iova(), area.iova());
    let region = region.expect("a region");
    let at = region.offset + 3 * P;
    region
        .file
        .write_all_at(b"daemon", at)
        .expect("a shared file");
    assert_eq!(area.read(3 * PAGE, 6), b"daemon");
    unmap(&node, &area).unwrap();
    assert_sees(vduse.server(), &[]);
}

fn permissions() {
    let vduse = Vduse::by_thread();
    let (node, area) = (owned(), eight_pages());
    for perm in [Perm::Ro, Perm::Wo, Perm::Rw] {
        node.map(0, &area, perm).unwrap();
        let regions = vduse.server().daemon.regions();
        assert_eq!(regions.len(), 1);
        assert_eq!(regions[0].perm, perm as u8);
        unmap(&node, &area).unwrap();
    }
}

fn several_files() {
    let vduse = Vduse::by_thread();
    let node = owned();
    let files = [4, 1, 8].map(|size| Memory::memfd(size * PAGE));
    let [a, b, c] = [0, 1, 2].map(|n| numbered(&files[n], BASE * (n as u64 + 1)));
    for area in [&b, &c, &a] {
        node.map(0, area, Perm::Rw).unwrap();
    }
    assert_sees(vduse.server(), &[a.clone(), b.clone(), c.clone()]);
    unmap(&node, &b).unwrap();
    assert_sees(vduse.server(), &[a, c]);
}

/// Memory that is one for the user, and three areas for the kernel, by one message.
fn in_three_areas() -> Area {
    let area = numbered(&Memory::memfd(12 * PAGE), BASE);
    let memory = area.memory();
    memory
        .advise(4 * PAGE, 4 * PAGE, libc::MADV_DONTFORK)
        .unwrap();
    area
}

fn memory_in_several_areas() {
    let vduse = Vduse::by_thread();
    let (node, area) = (owned(), in_three_areas());
    node.map(0, &area, Perm::Rw).unwrap();
    let parts = [0, 4, 8].map(|n| pages(&area, n, 4));
    assert_sees(vduse.server(), &parts);
}

fn batch() {
    let vduse = Vduse::by_thread();
    let (node, area) = (owned(), eight_pages());
    let (a, b) = (pages(&area, 0, 3), pages(&area, 3, 2));
    node.batch(0, || {
        node.map(0, &a, Perm::Rw)?;
        node.map(0, &b, Perm::Rw)?;
        assert_sees(vduse.server(), &[]);
        Ok(())
    })
    .unwrap();
    assert_sees(vduse.server(), &[a.clone(), b.clone()]);
    node.batch(0, || {
        unmap(&node, &a)?;
        assert_sees(vduse.server(), &[a.clone(), b.clone()]);
        Ok(())
    })
    .unwrap();
    assert_sees(vduse.server(), &[b]);
}

fn hole_in_the_middle() {
    let vduse = Vduse::by_thread();
    let (node, area) = (owned(), eight_pages());
    node.map(0, &area, Perm::Rw).unwrap();
    let hole = pages(&area, 3, 2);
    unmap(&node, &hole).unwrap();
    assert_sees(vduse.server(), &[pages(&area, 0, 3), pages(&area, 5, 3)]);
    let last = hole.iova() + hole.len() as u64 - 1;
    let daemon = &vduse.server().daemon;
    assert!(daemon.region(hole.iova(), last).is_none());
    // Parts have parts.
    unmap(&node, &pages(&area, 6, 1)).unwrap();
    unmap(&node, &pages(&area, 0, 1)).unwrap();
    let left = [(1, 2), (5, 1), (7, 1)].map(|(first, count)| pages(&area, first, count));
    assert_sees(vduse.server(), &left);
}

fn hole_over_areas() {
    let vduse = Vduse::by_thread();
    let (node, area) = (owned(), in_three_areas());
    node.map(0, &area, Perm::Rw).unwrap();
    unmap(&node, &pages(&area, 2, 3)).unwrap();
    let left = [(0, 2), (5, 3), (8, 4)].map(|(first, count)| pages(&area, first, count));
    assert_sees(vduse.server(), &left);
    unmap(&node, &pages(&area, 1, 10)).unwrap();
    assert_sees(vduse.server(), &[pages(&area, 0, 1), pages(&area, 11, 1)]);
}

/// By another file.
fn hole_that_is_filled() {
    let vduse = Vduse::by_thread();
    let (node, area) = (owned(), eight_pages());
    node.map(0, &area, Perm::Rw).unwrap();
    let hole = pages(&area, 3, 2);
    unmap(&node, &hole).unwrap();
    let other = numbered(&Memory::memfd(2 * PAGE), hole.iova());
    node.map(0, &other, Perm::Rw).unwrap();
    let now = [pages(&area, 0, 3), other, pages(&area, 5, 3)];
    assert_sees(vduse.server(), &now);
}

/// The daemon could not map it.
fn private_memory() {
    let vduse = Vduse::by_thread();
    let node = owned();
    let area = Area::whole(&Memory::private(PAGE), BASE);
    let result = node.map(0, &area, Perm::Rw);
    assert_eq!(result, Err(Errno::EOPNOTSUPP));
    assert_sees(vduse.server(), &[]);
}

/// What was there before stays.
fn mapping_refused_by_the_daemon() {
    let vduse = Vduse::by_thread();
    let (node, area) = (owned(), eight_pages());
    let (a, b) = (pages(&area, 0, 3), pages(&area, 5, 2));
    node.map(0, &a, Perm::Rw).unwrap();
    vduse.server().answer_iotlb(&[Answer::No]);
    assert_eq!(node.map(0, &b, Perm::Rw), Err(Errno::EIO));
    assert_sees(vduse.server(), &[a.clone()]);
    node.map(0, &b, Perm::Rw).unwrap();
    assert_sees(vduse.server(), &[a, b]);
}

/// What else was there stays.
fn unmapping_refused_by_the_daemon() {
    let vduse = Vduse::by_thread();
    let (node, area) = (owned(), eight_pages());
    let [a, b, c] = [0, 2, 4].map(|n| pages(&area, n, 2));
    for area in [&a, &b] {
        node.map(0, area, Perm::Rw).unwrap();
    }
    vduse.server().answer_iotlb(&[Answer::No]);
    assert_eq!(unmap(&node, &b), Err(Errno::EIO));
    assert_sees(vduse.server(), &[a.clone()]);
    node.map(0, &c, Perm::Rw).unwrap();
    assert_sees(vduse.server(), &[a, c]);
}

/// Maps a file of that file system, which afterwards nobody has open but the kernel.
#[track_caller]
fn map_file(node: &Node, fs: &Tmpfs) {
    let memory = Memory::file(&fs.path("memory"), 8 * PAGE).expect("a file");
    node.map(0, &Area::whole(&memory, BASE), Perm::Rw).unwrap();
}

fn file_released_when_unmapped() {
    let fs = Tmpfs::new();
    let _vduse = Vduse::by_thread();
    let node = owned();
    map_file(&node, &fs);
    assert_eq!(fs.unmount(), Err(Errno::EBUSY));
    node.unmap(0, BASE, 8 * P).unwrap();
    fs.unmount_when_free();
}

/// Each part keeps it.
fn file_released_in_parts() {
    let fs = Tmpfs::new();
    let vduse = Vduse::by_thread();
    let node = owned();
    map_file(&node, &fs);
    for (page, count) in [(3, 2), (0, 3), (6, 1), (5, 1)] {
        node.unmap(0, BASE + page * P, count * P).unwrap();
        assert_eq!(fs.unmount(), Err(Errno::EBUSY), "without page {page}");
    }
    let regions = vduse.server().daemon.regions();
    assert_eq!(regions.len(), 1);
    let region = regions.first().expect("a region");
    assert_eq!(region.place(), (BASE + 7 * P, BASE + 8 * P - 1, 7 * P));
    drop(regions);
    node.unmap(0, BASE + 7 * P, P).unwrap();
    fs.unmount_when_free();
}

fn file_released_with_the_node() {
    let fs = Tmpfs::new();
    let vduse = Vduse::by_thread();
    let node = owned();
    map_file(&node, &fs);
    drop(node);
    fs.unmount_when_free();
    assert_sees(vduse.server(), &[]);
}

fn file_released_with_the_device() {
    let fs = Tmpfs::new();
    let mut vduse = Vduse::by_thread();
    let node = owned();
    map_file(&node, &fs);
    vduse.v.del(NAME);
    fs.unmount_when_free();
    assert_eq!(node.status(), Err(Errno::ENODEV));
}

fn file_released_when_refused() {
    let fs = Tmpfs::new();
    let vduse = Vduse::by_thread();
    let node = owned();
    vduse.server().answer_iotlb(&[Answer::No]);
    let memory = Memory::file(&fs.path("memory"), 8 * PAGE).expect("a file");
    let area = Area::whole(&memory, BASE);
    assert!(node.map(0, &area, Perm::Rw).is_err());
    drop((area, memory));
    fs.unmount_when_free();
}

fn daemon_killed() {
    let fs = Tmpfs::new();
    let mut vduse = Vduse::by_child();
    vduse.limit_answers(1);
    let node = owned();
    map_file(&node, &fs);
    vduse.end_daemon();
    assert_eq!(fs.unmount(), Err(Errno::EBUSY));
    let more = Area::whole(&Memory::memfd(PAGE), 2 * BASE);
    assert!(node.map(0, &more, Perm::Rw).is_err());
    // C does not say that the device was not told.
    let _ = node.unmap(0, BASE, 8 * P);
    fs.unmount_when_free();
    assert!(node.reset().is_err());
    drop(node);
    assert!(Node::try_open(&Node::path(NAME)).is_err());
}

fn daemon_killed_and_node_closed() {
    let fs = Tmpfs::new();
    let mut vduse = Vduse::by_child();
    vduse.limit_answers(1);
    let node = owned();
    map_file(&node, &fs);
    vduse.end_daemon();
    drop(node);
    fs.unmount_when_free();
}

fn errors_without_a_daemon() {
    let mut vduse = Vduse::by_child();
    vduse.limit_answers(1);
    let (node, area) = (owned(), eight_pages());
    let (a, b) = (pages(&area, 0, 3), pages(&area, 3, 2));
    node.map(0, &a, Perm::Rw).unwrap();
    vduse.end_daemon();
    assert_eq!(node.map(0, &b, Perm::Rw), Err(Errno::EIO));
    assert_eq!(node.batch(0, || Ok(())), Err(Errno::EIO));
    assert_eq!(unmap(&node, &pages(&a, 1, 1)), Err(Errno::EIO));
    assert_eq!(unmap(&node, &a), Err(Errno::EIO));
    assert_eq!(node.reset(), Err(Errno::EIO));
    drop(node);
    let opened = Node::try_open(&Node::path(NAME));
    assert_eq!(opened.err(), Some(Errno::EIO));
}

/// What the user asked for meanwhile waits for it.
fn daemon_that_comes_back() {
    let mut vduse = Vduse::by_child();
    let (node, area) = (owned(), eight_pages());
    let (a, b) = (pages(&area, 0, 3), pages(&area, 3, 2));
    node.map(0, &a, Perm::Rw).unwrap();
    vduse.end_daemon();
    thread::scope(|s| {
        let mapping = s.spawn(|| node.map(0, &b, Perm::Rw));
        let server = vduse.serve_again();
        assert_eq!(mapping.join().expect("a thread"), Ok(()));
        assert_sees(server, &[a, b.clone()]);
    });
}

fn user_killed_while_the_daemon_is_asked() {
    let fs = Tmpfs::new();
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let files = &fs;
    // Before there are other threads.
    let user = fork(move || {
        there.read_exact(&mut [0]).unwrap();
        let node = owned();
        map_file(&node, files);
        there.write_all(&[0]).unwrap();
        there.read_exact(&mut [0]).unwrap();
        let more = Memory::file(&files.path("more"), 8 * PAGE).expect("a file");
        let more = Area::whole(&more, 2 * BASE);
        panic!("mapped: {:?}", node.map(0, &more, Perm::Rw));
    });
    let vduse = Vduse::by_thread();
    let server = vduse.server();
    here.write_all(&[0]).unwrap();
    here.read_exact(&mut [0]).unwrap();
    server.answer_iotlb(&[Answer::Later]);
    here.write_all(&[0]).unwrap();
    assert_eq!(server.wait_for_question(), Kind::Iotlb);
    user.kill();
    sys::wait_for("the user to end", || user.has_ended());
    let status = user.wait();
    assert!(libc::WIFSIGNALED(status), "status of the user: {status:#x}");
    assert!(!server.answer_kept(true), "somebody waits for the answer");
    fs.unmount_when_free();
    let (node, area) = (owned(), eight_pages());
    assert_sees(server, &[]);
    node.map(0, &area, Perm::Rw).unwrap();
    assert_sees(server, &[area]);
}
