// SPDX-License-Identifier: GPL-2.0
//! Event file descriptors: kicks and calls.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use crate::errno::Errno;

/// An eventfd that does not block.
#[derive(Debug)]
pub struct EventFd(File);

impl Default for EventFd {
    fn default() -> Self {
        Self::new()
    }
}

impl EventFd {
    pub fn new() -> Self {
        // SAFETY: A system call without pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        assert!(fd >= 0, "eventfd: {:?}", Errno::last());
        // SAFETY: The descriptor was just made and is nobody else's.
        EventFd(unsafe { File::from_raw_fd(fd) })
    }

    /// Another descriptor of the same.
    pub fn duplicate(&self) -> Self {
        EventFd(self.0.try_clone().expect("eventfd"))
    }

    pub fn signal(&self) {
        (&self.0).write_all(&1u64.to_ne_bytes()).expect("eventfd");
    }

    /// How often it was signalled since the last call.
    pub fn count(&self) -> u64 {
        let mut count = [0; 8];
        match (&self.0).read_exact(&mut count) {
            Ok(()) => u64::from_ne_bytes(count),
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            Err(e) => panic!("eventfd: {e}"),
        }
    }

    /// Waits until it is signalled, at most so many milliseconds; whether it is.
    pub fn wait(&self, milliseconds: i32) -> bool {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: One entry, which lives across the call.
        unsafe { libc::poll(&raw mut poll, 1, milliseconds) == 1 }
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
