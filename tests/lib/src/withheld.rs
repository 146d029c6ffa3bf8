// SPDX-License-Identifier: GPL-2.0
//! Memory of this process that is not there until it is given: whoever touches it
//! waits (`userfaultfd`).

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;

use crate::errno::Errno;
use crate::sys;
use crate::vhost::{Memory, PAGE};

/// `UFFD_API` and `UFFDIO_*` of `linux/userfaultfd.h`.
const API: u64 = 0xaa;
const SET_API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const ZEROPAGE: u64 = 0xc020_aa04;
const MODE_MISSING: u64 = 1;
const EVENT_PAGEFAULT: u8 = 0x12;

/// A page, and what is before it. It is given at the latest when this is dropped.
pub struct Withheld {
    memory: Arc<Memory>,
    /// How many bytes are before it, of ordinary memory.
    before: usize,
    control: File,
}

impl Withheld {
    #[track_caller]
    pub fn page() -> Self {
        Self::behind(0)
    }

    /// The last page of memory, behind so many ordinary ones.
    #[track_caller]
    pub fn behind(pages: usize) -> Self {
        // What does not come is not waited for for ever.
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: Makes a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        assert!(fd >= 0, "userfaultfd: {:?}", Errno::last());
        // SAFETY: It was just made and is nobody else's.
        let control = unsafe { File::from_raw_fd(i32::try_from(fd).expect("a descriptor")) };
        let withheld = Withheld {
            memory: Memory::private((pages + 1) * PAGE),
            before: pages * PAGE,
            control,
        };
        let mut area = [withheld.uaddr(), PAGE as u64, MODE_MISSING, 0];
        let made = withheld
            .control(SET_API, &mut [API, 0, 0])
            .and_then(|()| withheld.control(REGISTER, &mut area));
        assert_eq!(made, Ok(()), "a page to be withheld");
        withheld
    }

    /// Where the page is.
    pub fn uaddr(&self) -> u64 {
        self.memory.uaddr() + self.before as u64
    }

    /// All of it, which ends with the page.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Waits until somebody waits for it.
    #[track_caller]
    pub fn wait_for_access(&self) {
        let mut message = [0; 32];
        let mut read = || (&self.control).read(&mut message);
        sys::wait_for("an access", || match read() {
            Ok(len) => len == 32,
            Err(e) if e.kind() == ErrorKind::WouldBlock => false,
            Err(e) => panic!("an event: {e}"),
        });
        assert_eq!(message[0], EVENT_PAGEFAULT);
    }

    /// Lets those go on who wait for it.
    pub fn give(&self) {
        let mut argument = [self.uaddr(), PAGE as u64, 0, 0];
        // It may have been given.
        let _ = self.control(ZEROPAGE, &mut argument);
    }

    fn control(&self, number: u64, argument: &mut [u64]) -> Result<(), Errno> {
        let (fd, pointer) = (self.control.as_raw_fd(), argument.as_mut_ptr());
        // SAFETY: The argument is as long as the structure that the number names.
        let ret = unsafe { libc::ioctl(fd, number, pointer) };
        if ret < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        self.give();
    }
}
