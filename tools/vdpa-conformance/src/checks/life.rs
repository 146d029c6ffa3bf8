// SPDX-License-Identifier: GPL-2.0
//! What closing the node leaves, which is nothing.

use std::fs::File;
use std::os::fd::AsRawFd;

use vdpa_test::vhost::{backend, status, EventFd, Memory, Node, Perm, PAGE};
use vdpa_test::vhost::{Area, Message};
use vdpa_test::{ktap, sys, user, Errno};

use crate::check::checks;
use crate::checks::iotlb::is_mapped;
use crate::device::Device;
use crate::process::pinned;
use crate::traffic::Traffic;

const CLOSE: &str = "close(2), vhost-vdpa";

checks! {
    close_resets: CLOSE, "the device is reset: status, queues";
    close_forgets_the_owner: CLOSE, "whoever opens it next can own it";
    close_forgets_maps: CLOSE, "nothing stays mapped, also with VHOST_BACKEND_F_IOTLB_PERSIST";
    close_ends_a_batch: CLOSE, "a batch that was not ended is forgotten";
    close_forgets_backend_features: CLOSE, "nothing is acknowledged when it is opened next";
    close_unpins: CLOSE, "no memory stays pinned";
    close_lets_memory_go: CLOSE, "no mapped file stays in use";
    close_lets_eventfds_go: CLOSE, "no eventfd stays in use";
    close_while_it_works: CLOSE, "a device that is closed while it works works when opened next";
    killed_owner: "exit(2), vhost-vdpa", "a process that is killed leaves nothing";
}

fn close_resets(d: &Device) {
    let (node, _queues) = d.running();
    drop(node);
    let node = d.owned();
    assert_eq!(node.status(), Ok(0));
    for index in d.all_queues() {
        assert_eq!(node.vring_base(index), Ok(0), "queue {index}");
    }
    assert_eq!(node.set_features(d.basic_features()), Ok(()));
}

fn close_forgets_the_owner(d: &Device) {
    drop(d.owned());
    user::in_child(|| drop(d.owned()));
    drop(d.owned());
}

fn close_forgets_maps(d: &Device) {
    let area = d.area(PAGE);
    let node = d.owned();
    let wanted = (backend::USUAL | backend::IOTLB_PERSIST) & d.backend;
    assert_eq!(node.set_backend_features(wanted), Ok(()));
    for asid in 0..d.spaces.min(2) {
        assert_eq!(node.map(asid, &area, Perm::Rw), Ok(()), "space {asid}");
    }
    drop(node);
    let node = d.for_maps();
    for asid in 0..d.spaces.min(2) {
        assert!(!is_mapped(&node, asid, &area), "space {asid}");
    }
}

fn close_ends_a_batch(d: &Device) {
    d.need_backend(backend::IOTLB_BATCH, "VHOST_BACKEND_F_IOTLB_BATCH");
    let node = d.for_maps();
    assert_eq!(node.iotlb(0, Message::BatchBegin), Ok(()));
    drop(node);
    if d.spaces > 1 {
        let node = d.for_maps();
        assert_eq!(node.map(1, &d.area(PAGE), Perm::Rw), Ok(()), "space 1");
    }
    // The first message of a batch is not kept from the device.
    if [crate::device::NET, crate::device::BLOCK].contains(&d.id) {
        Traffic::start(d, 0).pass(1);
    }
}

fn close_forgets_backend_features(d: &Device) {
    d.need_backend(backend::IOTLB_ASID, "VHOST_BACKEND_F_IOTLB_ASID");
    drop(d.for_maps());
    let (node, area) = (d.owned(), d.area(PAGE));
    // Were it acknowledged, the address space would not be there.
    assert_eq!(node.map(d.spaces, &area, Perm::Rw), Ok(()));
    assert!(is_mapped(&node, 0, &area));
}

fn close_unpins(d: &Device) {
    if !d.pins() {
        ktap::skip("the device does not need pinned memory");
    }
    let (node, _queues) = d.running();
    assert_ne!(pinned(), 0, "the device runs");
    drop(node);
    assert_eq!(pinned(), 0, "the device is closed");
}

fn close_lets_memory_go(d: &Device) {
    // SAFETY: The name is a C string that lives across the call.
    let fd = unsafe { libc::memfd_create(c"lease".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd: {:?}", Errno::last());
    let path = format!("/proc/self/fd/{fd}");
    let (memory, file) = (Memory::file(&path, PAGE), File::open(&path));
    // SAFETY: The descriptor was just made and is nobody else's.
    unsafe { libc::close(fd) };
    let (memory, file) = (memory.expect("memory"), file.expect("a file"));
    // Only a file that nobody has open for writing can be leased for reading.
    let lease = |kind: i32| {
        // SAFETY: The descriptor is open, and the call takes no pointer.
        match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } {
            0 => Errno::OK,
            _ => Errno::last(),
        }
    };
    let node = d.for_maps();
    let area = Area::whole(&memory, d.iova());
    assert_eq!(node.map(0, &area, Perm::Rw), Ok(()));
    assert_eq!(lease(libc::F_RDLCK), Errno::EAGAIN, "it is in use");
    drop(node);
    drop((area, memory));
    assert_eq!(lease(libc::F_RDLCK), Errno::OK, "nobody uses it any more");
}

fn close_lets_eventfds_go(d: &Device) {
    let (node, queues) = d.running();
    let call = EventFd::new();
    assert_eq!(node.set_config_call(Some(&call)), Ok(()));
    for queue in &queues {
        // The last of the eventfds goes with the node, or with the device's answer.
        queue.kick.signal();
    }
    drop(node);
    for queue in &queues {
        queue.kick.signal();
        assert_eq!(queue.call.count(), 0, "queue {}", queue.index);
    }
    assert_eq!(call.count(), 0, "of the configuration");
    let (node, _again) = d.running();
    queues.iter().for_each(|q| q.kick.signal());
    assert_eq!(node.status(), Ok(status::RUNNING));
}

fn close_while_it_works(d: &Device) {
    for _ in 0..5 {
        let mut traffic = Traffic::start(d, 0);
        for _ in 0..10 {
            traffic.add();
        }
        traffic.queue.kick.signal();
    }
    Traffic::start(d, 0).pass(5);
}

fn killed_owner(d: &Device) {
    let (told, tell) = (EventFd::new(), EventFd::new());
    let child = user::fork(|| {
        let (node, _queues) = d.running();
        tell.signal();
        told.wait(-1);
        drop(node);
    });
    let limit = i32::try_from(sys::patience().as_millis()).unwrap_or(i32::MAX);
    assert!(tell.wait(limit), "the child has the device running");
    assert_eq!(Node::try_open(&d.path).err(), Some(Errno::EBUSY));
    // Kills it.
    drop(child);
    let mut node = Node::try_open(&d.path);
    sys::wait_for("the node to be free", || {
        if node.is_err() {
            node = Node::try_open(&d.path);
        }
        node.is_ok()
    });
    let node = node.expect("open");
    assert_eq!(node.status(), Ok(0));
    assert_eq!(node.set_owner(), Ok(()));
    let backend = backend::USUAL & d.backend;
    assert_eq!(node.set_backend_features(backend), Ok(()));
    assert!(
        !is_mapped(&node, 0, &d.area(PAGE)),
        "what the child had mapped"
    );
}
