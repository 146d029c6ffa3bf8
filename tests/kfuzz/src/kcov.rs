// SPDX-License-Identifier: GPL-2.0
//! The kernel's coverage of one thread: `/sys/kernel/debug/kcov`.
//!
//! The kernel writes the addresses that the thread passes in the code that was
//! compiled with `KCOV_INSTRUMENT` to a buffer that both see.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const FILE: &str = "/sys/kernel/debug/kcov";
/// `KCOV_INIT_TRACE`, `_IOR('c', 1, unsigned long)`: sets the size of the buffer.
const INIT_TRACE: libc::c_ulong = 0x8008_6301;
/// `KCOV_ENABLE`, `_IO('c', 100)`.
const ENABLE: libc::c_ulong = 0x6364;
/// `KCOV_DISABLE`, `_IO('c', 101)`.
const DISABLE: libc::c_ulong = 0x6365;
/// `KCOV_TRACE_PC`: addresses, not comparisons.
const TRACE_PC: libc::c_ulong = 0;

/// Addresses that one input can pass before the rest is lost.
const WORDS: usize = 64 << 10;

/// Records the thread that made it, until it is dropped.
///
/// Not `Send`: another thread could not stop the recording.
pub struct Kcov {
    fd: OwnedFd,
    /// The first word counts the addresses that follow.
    area: *mut AtomicU64,
}

/// Whether the kernel has it.
pub fn is_there() -> bool {
    std::path::Path::new(FILE).exists()
}

fn check(ret: libc::c_int) -> io::Result<()> {
    if ret == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

impl Kcov {
    /// Begins to record this thread.
    pub fn start() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(FILE)?;
        let fd = OwnedFd::from(file);
        let raw = fd.as_raw_fd();
        // SAFETY: The argument is a number.
        check(unsafe { libc::ioctl(raw, INIT_TRACE, WORDS as libc::c_ulong) })?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: A new mapping wherever there is room.
        let area = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                WORDS * 8,
                protection,
                libc::MAP_SHARED,
                raw,
                0,
            )
        };
        if area == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let kcov = Kcov {
            fd,
            area: area.cast(),
        };
        // SAFETY: The argument is a number.
        check(unsafe { libc::ioctl(raw, ENABLE, TRACE_PC) })?;
        Ok(kcov)
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: The mapping has this size and lives as long as `self`; the kernel
        // writes whole words, and all that is read are atomics.
        unsafe { std::slice::from_raw_parts(self.area, WORDS) }
    }

    /// Forgets what was recorded.
    pub fn clear(&self) {
        self.words()[0].store(0, Relaxed);
    }

    /// The addresses since the last `clear`, in their order.
    pub fn trace(&self) -> impl Iterator<Item = u64> + '_ {
        let words = self.words();
        let count = (words[0].load(Relaxed) as usize).min(WORDS - 1);
        words[1..=count].iter().map(|w| w.load(Relaxed))
    }
}

impl Drop for Kcov {
    fn drop(&mut self) {
        // SAFETY: The argument is a number; nothing refers to the mapping any more.
        unsafe {
            libc::ioctl(self.fd.as_raw_fd(), DISABLE, 0);
            libc::munmap(self.area.cast(), WORDS * 8);
        }
    }
}
