// SPDX-License-Identifier: GPL-2.0
//! The memory of the owner: what kinds can be mapped, and what is pinned of it.

use vdpa_test::ktap;
use vdpa_test::vhost::{Area, Memory, Perm, PAGE};
use vdpa_test::Errno;

use crate::check::checks;
use crate::checks::iotlb::{is_mapped, some};
use crate::device::Device;
use crate::process::{pinned, LockLimit};

checks! {
    private_memory: "linux/vhost_types.h, VHOST_IOTLB_UPDATE",
        "private memory is mapped, or refused; not left out without a word";
    memory_of_several_kinds: "linux/vhost_types.h, VHOST_IOTLB_UPDATE",
        "neighbouring addresses with memory of two files can be mapped as one range";
    exact_ranges: "linux/vhost_types.h, VHOST_IOTLB_UPDATE",
        "a range that does not begin with a page is refused, or mapped without its surroundings";
    pinned_memory_is_counted: "setrlimit(2), RLIMIT_MEMLOCK; proc_pid_status(5), VmPin",
        "pinned memory is counted as long as it is mapped";
    pinned_memory_is_limited: "setrlimit(2), RLIMIT_MEMLOCK",
        "more than the limit is not pinned, and what was refused leaves nothing pinned";
    limit_is_told: "setrlimit(2), RLIMIT_MEMLOCK", "memory beyond the limit is ENOMEM";
    read_only_memory: "mmap(2), PROT_READ",
        "memory that the process must not write is not mapped for the device to write";
}

fn private_memory(d: &Device) {
    let node = d.for_maps();
    let area = Area::whole(&Memory::private(4 * PAGE), d.iova());
    area.fill(1);
    match node.map(0, &area, Perm::Rw) {
        Ok(()) => assert!(is_mapped(&node, 0, &area), "taken, and not mapped"),
        Err(e) => ktap::note(format!("it is refused: {e:?}")),
    }
}

/// Two files at neighbouring addresses.
fn memory_of_several_kinds(d: &Device) {
    let node = d.for_maps();
    let area = d.area(4 * PAGE);
    let (middle, flags) = (
        area.uaddr() + 2 * PAGE as u64,
        libc::MAP_SHARED | libc::MAP_FIXED,
    );
    // SAFETY: The name is a C string that lives across the call.
    let fd = unsafe { libc::memfd_create(c"second".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd: {:?}", Errno::last());
    // SAFETY: The pages replaced are the area's, and nobody holds references to them.
    let at = unsafe {
        libc::ftruncate(fd, PAGE as i64);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let at = libc::mmap(middle as *mut _, PAGE, protection, flags, fd, 0);
        libc::close(fd);
        at
    };
    assert_ne!(at, libc::MAP_FAILED, "mmap: {:?}", Errno::last());
    assert_eq!(node.map(0, &area, Perm::Rw), Ok(()));
    for page in 0..4 {
        assert!(is_mapped(&node, 0, &some(&area, page, 1)), "page {page}");
    }
    let unmap = node.unmap(0, area.iova(), area.len() as u64);
    assert_eq!(unmap, Ok(()));
    assert!(!is_mapped(&node, 0, &area));
}

fn exact_ranges(d: &Device) {
    let node = d.for_maps();
    let area = d.area(4 * PAGE);
    let half = area.part(PAGE + PAGE / 2, PAGE / 2);
    match node.map(0, &half, Perm::Rw) {
        Err(e) => {
            assert_eq!(e, Errno::EINVAL);
            assert!(!is_mapped(&node, 0, &area), "although it was refused");
        }
        Ok(()) => {
            assert!(is_mapped(&node, 0, &half), "what was asked for");
            let before = area.part(PAGE, PAGE / 2);
            assert!(!is_mapped(&node, 0, &before), "what is before it");
            assert!(!is_mapped(&node, 0, &some(&area, 2, 1)), "after it");
        }
    }
}

fn need_pins(d: &Device) {
    if !d.pins() {
        ktap::skip("the device does not need pinned memory");
    }
}

fn pinned_memory_is_counted(d: &Device) {
    need_pins(d);
    let node = d.for_maps();
    let area = d.area(64 * PAGE);
    let kilobytes = |pages: usize| (pages * PAGE / 1024) as u64;
    assert_eq!(pinned(), 0, "before");
    assert_eq!(node.map(0, &some(&area, 0, 16), Perm::Rw), Ok(()));
    assert_eq!(pinned(), kilobytes(16));
    assert_eq!(node.map(0, &some(&area, 32, 8), Perm::Ro), Ok(()));
    assert_eq!(pinned(), kilobytes(24));
    let first = some(&area, 0, 16);
    let unmap = node.unmap(0, first.iova(), first.len() as u64);
    assert_eq!(unmap, Ok(()));
    assert_eq!(pinned(), kilobytes(8), "after the first was unmapped");
    drop(node);
    assert_eq!(pinned(), 0, "after the device was closed");
}

/// What becomes of a map that is twice as large as what may be locked.
fn beyond_the_limit(d: &Device) -> Result<(), Errno> {
    need_pins(d);
    let node = d.for_maps();
    let area = d.area(32 * PAGE);
    let limit = LockLimit::of(16 * PAGE as u64);
    let result = node.map(0, &area, Perm::Rw);
    if result.is_err() {
        assert_eq!(pinned(), 0, "although it was refused");
        assert!(!is_mapped(&node, 0, &some(&area, 0, 1)), "the first page");
        let within = node.map(0, &some(&area, 0, 8), Perm::Rw);
        assert_eq!(within, Ok(()), "within the limit");
        let unmap = node.unmap(0, area.iova(), area.len() as u64);
        assert_eq!(unmap, Ok(()));
        drop(limit);
        assert_eq!(node.map(0, &area, Perm::Rw), Ok(()), "without the limit");
    }
    result
}

fn pinned_memory_is_limited(d: &Device) {
    let result = beyond_the_limit(d);
    assert!(result.is_err(), "{result:?}");
}

fn limit_is_told(d: &Device) {
    assert_eq!(beyond_the_limit(d), Err(Errno::ENOMEM));
}

fn read_only_memory(d: &Device) {
    need_pins(d);
    let node = d.for_maps();
    let area = d.area(2 * PAGE);
    // SAFETY: The page is the area's, and nobody holds references to it.
    let ret = unsafe { libc::mprotect(area.uaddr() as *mut _, PAGE, libc::PROT_READ) };
    assert_eq!(ret, 0, "mprotect: {:?}", Errno::last());
    let writable = node.map(0, &area, Perm::Rw);
    assert!(writable.is_err(), "{writable:?}");
    assert_eq!(pinned(), 0, "although it was refused");
    assert_eq!(node.map(0, &area, Perm::Ro), Ok(()), "to read");
}
