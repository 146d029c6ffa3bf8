// SPDX-License-Identifier: GPL-2.0
//! File systems: with the memory that a device is given, and with the node itself, elsewhere than
//! in devtmpfs. They can be unmounted when nobody uses them any more, and not before.

use std::sync::mpsc;
use std::thread;

use vdpa_test::ktap::case;
use vdpa_test::mount::Tmpfs;
use vdpa_test::sim::Sim;
use vdpa_test::vdpa::Vdpa;
use vdpa_test::vduse::{Answer, Kind, Vduse, NAME};
use vdpa_test::vhost::{Area, Memory, Node, Perm, PAGE};
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    memory,
    memory_of_a_closed_node,
    memory_that_its_owner_let_go,
    node_elsewhere,
    node_elsewhere_of_a_deleted_device,
    node_elsewhere_closed_while_deleted,
);

const BASE: u64 = 0x10_0000;
const SIZE: usize = 64 * PAGE;

/// A node, with memory mapped that is of a file.
#[track_caller]
fn mapped(fs: &Tmpfs) -> (Node, Area) {
    let node = Node::open("n0");
    node.set_owner().unwrap();
    let memory = Memory::file(&fs.path("memory"), SIZE).expect("a file");
    let area = Area::whole(&memory, BASE);
    node.map(0, &area, Perm::Rw).unwrap();
    (node, area)
}

/// With virtual addresses, and with pages that are pinned.
fn each_kind(f: impl Fn(&Tmpfs, &mut Sim)) {
    for use_va in ["Y", "N"] {
        case(format!("use_va={use_va}"), || {
            let fs = Tmpfs::new();
            f(&fs, &mut Sim::net_with(&[("use_va", use_va)]));
        });
    }
}

fn memory() {
    each_kind(|fs, _| {
        let (node, area) = mapped(fs);
        assert_eq!(fs.unmount(), Err(Errno::EBUSY));
        node.unmap(0, BASE, SIZE as u64).unwrap();
        assert_eq!(fs.unmount(), Err(Errno::EBUSY), "the user has it mapped");
        drop(area);
        fs.unmount_when_free();
    });
}

fn memory_of_a_closed_node() {
    each_kind(|fs, _| {
        let (node, area) = mapped(fs);
        drop(node);
        assert_eq!(fs.unmount(), Err(Errno::EBUSY), "the user has it mapped");
        drop(area);
        fs.unmount_when_free();
    });
}

/// These devices have no use for the file.
fn memory_that_its_owner_let_go() {
    each_kind(|fs, _| {
        let (node, area) = mapped(fs);
        drop(area);
        fs.unmount_when_free();
        node.unmap(0, BASE, SIZE as u64).unwrap();
    });
}

fn node_elsewhere() {
    let fs = Tmpfs::new();
    let _sim = Sim::net();
    let path = fs.node_like(&Node::path("n0"));
    let node = Node::try_open(&path).unwrap();
    assert_eq!(node.status(), Ok(0));
    let other = Node::try_open(&Node::path("n0"));
    assert_eq!(other.err(), Some(Errno::EBUSY), "it is the same node");
    assert_eq!(fs.unmount(), Err(Errno::EBUSY));
    drop(node);
    fs.unmount_when_free();
}

/// The file system is in no tree any more, and goes with the descriptor.
fn node_elsewhere_of_a_deleted_device() {
    each_kind(|fs, sim| {
        let path = fs.node_like(&Node::path("n0"));
        let node = Node::try_open(&path).unwrap();
        fs.detach().unwrap();
        sim.v.del("n0");
        assert_eq!(node.status(), Err(Errno::ENODEV));
        drop(node);
    });
}

/// Whether a thread of this process sleeps, and no signal wakes it.
fn sleeps(thread: i32) -> bool {
    let stat = sys::read(format!("/proc/self/task/{thread}/stat"));
    let (_, rest) = stat.rsplit_once(") ").expect("the name in brackets");
    rest.starts_with('D')
}

/// The descriptor, and the file system with it, goes while the device is being taken away: its
/// daemon is slow.
fn node_elsewhere_closed_while_deleted() {
    for _ in 0..sys::rounds(10, 3) {
        let fs = Tmpfs::new();
        let vduse = Vduse::by_thread();
        let server = vduse.server();
        let path = fs.node_like(&Node::path(NAME));
        let node = Node::try_open(&path).unwrap();
        fs.detach().unwrap();
        server.answer_status(&[Answer::Later]);
        let deletion = thread::spawn(|| Vdpa::new().del(NAME));
        assert_eq!(server.wait_for_question(), Kind::Status(0));
        let (tell, told) = mpsc::channel();
        let closing = thread::spawn(move || {
            // SAFETY: A system call without arguments.
            tell.send(unsafe { libc::gettid() }).expect("the test");
            drop(node);
        });
        let thread = told.recv().expect("a thread");
        sys::wait_for("the node to be closed", || sleeps(thread));
        assert!(server.answer_kept(true));
        deletion.join().expect("a thread that deletes");
        closing.join().expect("a thread that closes");
    }
}
