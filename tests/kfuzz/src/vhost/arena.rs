// SPDX-License-Identifier: GPL-2.0
//! The memory and the eventfds that calls name, at the same places in every run.
//!
//! Devices write to this memory, and threads take parts of it away, so that nobody
//! here ever looks at it: the kernel writes to it by the file behind it.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use vdpa_test::vhost::PAGE;
use vdpa_test::Errno;

use super::Change;

/// Where it begins. Nothing else of a process is near.
pub const BASE: u64 = 0x1000_0000_0000;

/// Parts of the memory: first page and number of pages.
pub type Part = (u64, u64);

/// A file that others could map, too. Rings are here.
pub const SHARED: Part = (0, 256);
/// Private and of no file.
pub const PRIVATE: Part = (256, 256);
/// Private, and never to be written.
pub const READ_ONLY: Part = (528, 16);
/// Nobody may even read it.
pub const FORBIDDEN: Part = (544, 16);
/// Private memory of which parts come and go.
pub const LOOSE: Part = (560, 64);
/// A file that is shorter than its mapping.
pub const BEYOND: Part = (640, 16);
const BEYOND_FILE: u64 = 8;
/// Of huge pages, where there are any.
pub const HUGE: Part = (1024, 512);

/// All of it, with holes.
pub const PARTS: [Part; 7] = [SHARED, PRIVATE, READ_ONLY, FORBIDDEN, LOOSE, BEYOND, HUGE];

/// The numbers of the eventfds.
pub const EVENTFD: RawFd = 500;
pub const EVENTFDS: u8 = 8;
/// One that cannot be signalled any more: its counter is at its end.
pub const FULL: RawFd = 508;
/// A descriptor of something else.
pub const OTHER: RawFd = 509;
/// One of which the kernel takes a single event at a time.
pub const SEMAPHORE: RawFd = 510;

/// The address of a page.
pub fn page(number: u64) -> u64 {
    BASE + number * PAGE as u64
}

/// The memory.
pub struct Arena {
    shared: File,
}

fn map((first, pages): Part, protection: i32, flags: i32, fd: RawFd) {
    let at = page(first) as *mut libc::c_void;
    let len = pages as usize * PAGE;
    // SAFETY: The addresses are this module's, and nobody has references to them.
    let got = unsafe { libc::mmap(at, len, protection, flags | libc::MAP_FIXED, fd, 0) };
    assert_eq!(got, at, "mmap: {:?}", Errno::last());
}

fn memfd(pages: u64) -> File {
    // SAFETY: The name is a C string that lives across the call.
    let fd = unsafe { libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd: {:?}", Errno::last());
    // SAFETY: The descriptor was just made and is nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(pages * PAGE as u64).expect("memfd");
    file
}

const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn eventfd(number: RawFd, value: u32, flags: i32) {
    // SAFETY: A system call without pointers.
    let fd = unsafe { libc::eventfd(value, flags | libc::EFD_NONBLOCK) };
    assert!(fd >= 0, "eventfd: {:?}", Errno::last());
    move_to(fd, number);
}

/// Gives a descriptor another number, in the place of what was there.
fn move_to(fd: RawFd, number: RawFd) {
    // SAFETY: Only this module uses descriptors of such numbers.
    let ret = unsafe { libc::dup2(fd, number) };
    assert_eq!(ret, number, "dup2: {:?}", Errno::last());
    // SAFETY: The descriptor is the caller's, who gave it up.
    unsafe { libc::close(fd) };
}

fn add(fd: RawFd, count: u64) {
    let count = count.to_ne_bytes();
    // SAFETY: The bytes live across the call. Events beyond the end are lost.
    unsafe { libc::write(fd, count.as_ptr().cast(), count.len()) };
}

impl Arena {
    fn new() -> Self {
        let whole = (0, HUGE.0 + HUGE.1);
        map(whole, libc::PROT_NONE, ANONYMOUS, -1);
        let shared = memfd(SHARED.1);
        map(SHARED, READ_WRITE, libc::MAP_SHARED, shared.as_raw_fd());
        map(PRIVATE, READ_WRITE, ANONYMOUS, -1);
        map(READ_ONLY, libc::PROT_READ, ANONYMOUS, -1);
        map(LOOSE, READ_WRITE, ANONYMOUS, -1);
        let short = memfd(BEYOND_FILE);
        map(BEYOND, READ_WRITE, libc::MAP_SHARED, short.as_raw_fd());
        map(HUGE, READ_WRITE, ANONYMOUS, -1);
        let huge = page(HUGE.0) as *mut libc::c_void;
        // SAFETY: Advice about memory of this module.
        unsafe { libc::madvise(huge, HUGE.1 as usize * PAGE, libc::MADV_HUGEPAGE) };
        // The holes.
        for pair in PARTS.windows(2) {
            let (end, next) = (pair[0].0 + pair[0].1, pair[1].0);
            if end < next {
                let len = (next - end) as usize * PAGE;
                // SAFETY: The addresses are this module's.
                unsafe { libc::munmap(page(end) as *mut libc::c_void, len) };
            }
        }
        (0..EVENTFDS).for_each(exchange);
        eventfd(FULL, 0, 0);
        add(FULL, u64::MAX - 1);
        eventfd(SEMAPHORE, 3, libc::EFD_SEMAPHORE);
        // SAFETY: The path is a C string.
        let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        assert!(null >= 0, "/dev/null: {:?}", Errno::last());
        move_to(null, OTHER);
        Arena { shared }
    }

    /// Writes to the shared part, as far as it goes.
    pub fn poke(&self, at: u32, data: &[u8]) {
        let size = (SHARED.1 * PAGE as u64) as usize;
        let at = at as usize % size;
        let data = &data[..data.len().min(size - at)];
        let _ = self.shared.write_all_at(data, at as u64);
    }

    /// Changes pages of the loose part.
    pub fn change(&self, change: Change, first: u8, pages: u8) {
        let first = u64::from(first) % LOOSE.1;
        let pages = u64::from(pages).clamp(1, LOOSE.1 - first);
        let part = (LOOSE.0 + first, pages);
        let at = page(part.0) as *mut libc::c_void;
        let len = pages as usize * PAGE;
        // SAFETY: The addresses are this module's, and nobody has references to them.
        unsafe {
            match change {
                Change::Unmap => libc::munmap(at, len),
                Change::Renew => {
                    map(part, READ_WRITE, ANONYMOUS, -1);
                    0
                }
                Change::Protect => libc::mprotect(at, len, libc::PROT_READ),
                Change::Permit => libc::mprotect(at, len, READ_WRITE),
                Change::Discard => libc::madvise(at, len, libc::MADV_DONTNEED),
            }
        };
    }
}

/// The memory of this process, with its eventfds.
pub fn get() -> &'static Arena {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    ARENA.get_or_init(Arena::new)
}

/// Signals the nth eventfd, and takes events away before they are too many.
pub fn signal(n: u8) {
    let fd = EVENTFD + i32::from(n % EVENTFDS);
    add(fd, 1);
    let mut count = [0u8; 8];
    // SAFETY: The buffer is of this size; the descriptor does not block.
    unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) };
}

/// Puts a new eventfd in the place of the nth one. Every other one was signalled.
pub fn exchange(n: u8) {
    eventfd(
        EVENTFD + i32::from(n % EVENTFDS),
        u32::from(n % 2),
        libc::EFD_CLOEXEC,
    );
}
