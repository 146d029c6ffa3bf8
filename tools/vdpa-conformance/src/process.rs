// SPDX-License-Identifier: GPL-2.0
//! What a check asks of the process that it runs in.

use vdpa_test::{sys, Errno};

/// Kilobytes that this process has pinned.
pub fn pinned() -> u64 {
    let status = sys::read("/proc/self/status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmPin:"));
    let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.expect("VmPin in /proc/self/status")
}

/// A limit on memory that this process may lock, as long as the value lives. The
/// capability to lock more is gone meanwhile.
pub struct LockLimit {
    before: libc::rlimit,
    capabilities: [u32; 6],
}

const CAP_IPC_LOCK: u32 = 14;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

const HEADER: Header = Header {
    // Version 3, of two words of each set.
    version: 0x2008_0522,
    pid: 0,
};

impl LockLimit {
    pub fn of(bytes: u64) -> Self {
        let mut limit = LockLimit {
            before: libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            },
            capabilities: [0; 6],
        };
        let header = HEADER;
        let data = limit.capabilities.as_mut_ptr();
        // SAFETY: Both have the layout of version 3 and live across the call.
        let ret = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data) };
        assert_eq!(ret, 0, "capget: {:?}", Errno::last());
        // SAFETY: The pointer is to a live value.
        let ret = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit.before) };
        assert_eq!(ret, 0, "getrlimit: {:?}", Errno::last());
        let mut lower = limit.capabilities;
        lower[0] &= !(1 << CAP_IPC_LOCK);
        set_capabilities(&lower);
        set_limit(&libc::rlimit {
            rlim_cur: bytes.min(limit.before.rlim_max),
            rlim_max: limit.before.rlim_max,
        });
        limit
    }
}

impl Drop for LockLimit {
    fn drop(&mut self) {
        set_limit(&self.before);
        set_capabilities(&self.capabilities);
    }
}

fn set_capabilities(data: &[u32; 6]) {
    let header = HEADER;
    // SAFETY: Both have the layout of version 3 and live across the call.
    let ret = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    assert_eq!(ret, 0, "capset: {:?}", Errno::last());
}

fn set_limit(limit: &libc::rlimit) {
    // SAFETY: The pointer is to a live value.
    let ret = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, limit) };
    assert_eq!(ret, 0, "setrlimit: {:?}", Errno::last());
}

/// Addresses of this process: a page that can be used, and one after it that
/// cannot. They go with the value.
pub struct Edge(*mut u8);

const PAGE: usize = vdpa_test::vhost::PAGE;

impl Edge {
    pub fn new() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: A new mapping, wherever the kernel has room.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                2 * PAGE,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED, "mmap: {:?}", Errno::last());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: The page is this value's own.
        let ret = unsafe { libc::mprotect(at, PAGE, protection) };
        assert_eq!(ret, 0, "mprotect: {:?}", Errno::last());
        Edge(at.cast())
    }

    /// Where the page that cannot be used begins.
    pub fn end(&self) -> u64 {
        self.0 as u64 + PAGE as u64
    }

    /// Puts bytes before the end; where they begin.
    pub fn put(&self, bytes: &[u8]) -> *mut u8 {
        assert!(bytes.len() <= PAGE, "room in the page");
        // SAFETY: The bytes fit into the page, which is writable and this value's own.
        unsafe {
            let to = self.0.add(PAGE - bytes.len());
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            to
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // SAFETY: The mapping is this value's own.
        unsafe { libc::munmap(self.0.cast(), 2 * PAGE) };
    }
}
