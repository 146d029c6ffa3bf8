// SPDX-License-Identifier: GPL-2.0
//! Memory of this process that is not there until it is given: whoever touches it
//! waits (`userfaultfd`).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;

use crate::errno::Errno;
use crate::vhost::{Memory, PAGE};

/// `UFFD_API` and `UFFDIO_*` of `linux/userfaultfd.h`.
const API: u64 = 0xaa;
const SET_API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const ZEROPAGE: u64 = 0xc020_aa04;
const MODE_MISSING: u64 = 1;
const EVENT_PAGEFAULT: u8 = 0x12;

/// A page. It is given at the latest when this is dropped.
pub struct Withheld {
    memory: Arc<Memory>,
    control: File,
}

impl Withheld {
    #[track_caller]
    pub fn page() -> Self {
        // SAFETY: Makes a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        assert!(fd >= 0, "userfaultfd: {:?}", Errno::last());
        // SAFETY: It was just made and is nobody else's.
        let control = unsafe { File::from_raw_fd(i32::try_from(fd).expect("a descriptor")) };
        let withheld = Withheld {
            memory: Memory::private(PAGE),
            control,
        };
        let mut area = [withheld.uaddr(), PAGE as u64, MODE_MISSING, 0];
        let made = withheld
            .control(SET_API, &mut [API, 0, 0])
            .and_then(|()| withheld.control(REGISTER, &mut area));
        assert_eq!(made, Ok(()), "a page to be withheld");
        withheld
    }

    pub fn uaddr(&self) -> u64 {
        self.memory.uaddr()
    }

    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Waits until somebody waits for it.
    pub fn wait_for_access(&self) {
        let mut message = [0; 32];
        let len = (&self.control).read(&mut message).expect("an event");
        assert_eq!((len, message[0]), (32, EVENT_PAGEFAULT));
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
