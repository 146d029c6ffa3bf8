// SPDX-License-Identifier: GPL-2.0
//! Doorbells: a page for each queue that notifies when it is written.

use std::os::fd::AsRawFd;

use vdpa_test::ktap::{self, case};
use vdpa_test::vhost::{Node, PAGE};
use vdpa_test::Errno;

use crate::check::checks;
use crate::device::Device;

checks! {
    doorbell: "mmap(2), vhost-vdpa",
        "the page of a queue can be mapped, or the device has none: EOPNOTSUPP or ENOTSUPP";
    doorbell_refused: "mmap(2), vhost-vdpa",
        "a doorbell is one page, shared, and only written: else EINVAL";
    doorbell_of_no_queue: "mmap(2), vhost-vdpa", "a queue that the device does not have is refused";
}

/// The kernel's own ENOTSUPP, which is in no header for programs.
const ENOTSUPP: Errno = Errno(524);

/// Maps some of the node, and at once takes it away again.
fn map(node: &Node, len: usize, protection: i32, flags: i32, queue: u32) -> Result<(), Errno> {
    let offset = i64::from(queue) * PAGE as i64;
    let fd = node.as_raw_fd();
    // SAFETY: A new mapping, wherever the kernel has room.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, offset) };
    if at == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: The mapping was just made and nobody has seen it.
    unsafe { libc::munmap(at, len) };
    Ok(())
}

fn doorbell(d: &Device) {
    let node = d.negotiated(0);
    for queue in d.all_queues() {
        let map = map(&node, PAGE, libc::PROT_WRITE, libc::MAP_SHARED, queue);
        match map {
            Err(Errno::EOPNOTSUPP | ENOTSUPP) => ktap::skip("the device has no doorbells to map"),
            map => assert_eq!(map, Ok(()), "queue {queue}"),
        }
    }
}

fn doorbell_refused(d: &Device) {
    let node = d.negotiated(0);
    let (write, both) = (libc::PROT_WRITE, libc::PROT_READ | libc::PROT_WRITE);
    let (shared, private) = (libc::MAP_SHARED, libc::MAP_PRIVATE);
    for (what, len, protection, flags) in [
        ("two pages", 2 * PAGE, write, shared),
        ("private", PAGE, write, private),
        ("to read", PAGE, libc::PROT_READ, shared),
        ("to read and write", PAGE, both, shared),
    ] {
        case(what, || {
            let map = map(&node, len, protection, flags, 0);
            assert_eq!(map, Err(Errno::EINVAL));
        });
    }
}

fn doorbell_of_no_queue(d: &Device) {
    let node = d.negotiated(0);
    for queue in [d.queues, u32::MAX] {
        let map = map(&node, PAGE, libc::PROT_WRITE, libc::MAP_SHARED, queue);
        let known = [Errno::EINVAL, Errno::EOPNOTSUPP, ENOTSUPP];
        assert!(map.is_err_and(|e| known.contains(&e)), "{queue}: {map:?}");
    }
}
