// SPDX-License-Identifier: GPL-2.0
//! The kernel's log, from a moment on.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;

/// What the kernel logs after it was made.
pub struct Kmsg(File);

impl Kmsg {
    pub fn from_now() -> Self {
        let mut file = File::open("/dev/kmsg").expect("/dev/kmsg");
        // SAFETY: The descriptor is open, and the call takes no pointer.
        let ret = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        assert_eq!(ret, 0, "/dev/kmsg: {:?}", crate::Errno::last());
        file.seek(SeekFrom::End(0)).expect("the end of /dev/kmsg");
        Kmsg(file)
    }

    /// The texts logged since the last call, without their headers.
    pub fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(0) => return lines,
                Ok(n) => {
                    let text = String::from_utf8_lossy(&record[..n]);
                    let (_, text) = text.split_once(';').expect("a record of /dev/kmsg");
                    // Lines that begin with a space tell of the device.
                    lines.push(text.lines().next().unwrap_or("").to_string());
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return lines,
                // Records were overwritten before they were read.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
                Err(e) => panic!("/dev/kmsg: {e}"),
            }
        }
    }
}

/// Comes before a text in the log that a report is going to have.
pub const ANNOUNCED: &str = "rvdpa-expect: ";

/// Reports with this text, during the test that runs, are what it is about. Whether
/// they come is for the test to see.
pub fn announce(text: &str) {
    std::fs::write("/dev/kmsg", format!("<6>{ANNOUNCED}{text}\n")).expect("/dev/kmsg");
}
