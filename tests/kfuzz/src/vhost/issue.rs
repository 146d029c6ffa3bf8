// SPDX-License-Identifier: GPL-2.0
//! Makes calls, from memory of which parts are not there.
//!
//! Nothing here allocates or panics once there is a [`Scratch`]: it is also used in a
//! child process, whose other threads are gone with the locks that they held.

use std::os::fd::RawFd;
use std::ptr;

use vdpa_test::vhost::PAGE;
use vdpa_test::Errno;

use super::{Call, Place};

/// The longest argument.
pub const ROOM: usize = 2 * PAGE;

/// What memory has that nobody should write to.
const FILL: u8 = 0xa5;

/// How much of it is looked at behind an argument.
const GUARD: usize = 256;

/// Pieces that a write is gathered from.
const PIECES: usize = 64;

/// Memory of a thread for arguments.
pub struct Scratch {
    /// `ROOM` bytes, and a page that is not there.
    area: *mut u8,
    /// As many bytes that can be written here,
    alias: *mut u8,
    /// and are the same that can only be read here.
    fixed: *mut u8,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it returned, or the error.
    pub result: Result<usize, Errno>,
    /// Whether the kernel wrote to what is behind the argument.
    pub overrun: bool,
}

fn map(len: usize, protection: i32, flags: i32, fd: RawFd) -> *mut u8 {
    // SAFETY: A new mapping wherever there is room.
    let at = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, fd, 0) };
    assert_ne!(at, libc::MAP_FAILED, "mmap: {:?}", Errno::last());
    at.cast()
}

fn result(ret: isize) -> Result<usize, Errno> {
    usize::try_from(ret).map_err(|_| Errno::last())
}

/// How much the kernel may write from the beginning of an argument on.
fn writable(call: &Call, data: &[u8]) -> usize {
    const CONFIG: u32 = 0x73;
    match call {
        Call::Ioctl { number, .. } if number & 0xff == CONFIG => {
            let len = data.get(4..8).map(|b| b.try_into().unwrap_or_default());
            let len = len.map_or(0, u32::from_ne_bytes) as usize;
            len.saturating_add(8)
        }
        Call::Ioctl { number, .. } => ((number >> 16) & 0x3fff) as usize,
        Call::Read { len, .. } => usize::from(*len),
        _ => 0,
    }
}

impl Scratch {
    pub fn new() -> Self {
        let read_write = libc::PROT_READ | libc::PROT_WRITE;
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let area = map(ROOM + PAGE, read_write, anonymous, -1);
        // SAFETY: The last page of the mapping; nobody uses it.
        let ret = unsafe { libc::mprotect(area.add(ROOM).cast(), PAGE, libc::PROT_NONE) };
        assert_eq!(ret, 0, "mprotect: {:?}", Errno::last());
        // SAFETY: The name is a C string.
        let fd = unsafe { libc::memfd_create(c"fixed".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "memfd: {:?}", Errno::last());
        // SAFETY: The descriptor was just made.
        let ret = unsafe { libc::ftruncate(fd, ROOM as libc::off_t) };
        assert_eq!(ret, 0, "ftruncate: {:?}", Errno::last());
        let alias = map(ROOM, read_write, libc::MAP_SHARED, fd);
        let fixed = map(ROOM, libc::PROT_READ, libc::MAP_SHARED, fd);
        // SAFETY: The mappings keep the file.
        unsafe { libc::close(fd) };
        Scratch { area, alias, fixed }
    }

    /// Lays out an argument; where it is.
    fn lay(&self, place: Place, data: &[u8], room: usize) -> *mut u8 {
        let room = room.max(data.len()).min(ROOM);
        let data = &data[..data.len().min(room)];
        let (to, at, there) = match place {
            Place::Null => return ptr::null_mut(),
            Place::Kernel => return 0xffff_8000_0000_0000 as *mut u8,
            Place::Fixed => (self.alias, 0, room),
            Place::Whole => (self.area, 0, room),
            Place::Cut => (
                self.area,
                ROOM - room.saturating_sub(1),
                room.saturating_sub(1),
            ),
            Place::Half => (self.area, ROOM - room / 2, room / 2),
        };
        let count = data.len().min(there);
        // SAFETY: `at + there` is at most `ROOM`, and both mappings have so many
        // bytes, to which nobody has a reference.
        unsafe {
            if place == Place::Whole {
                to.write_bytes(FILL, ROOM);
            }
            to.add(at).copy_from_nonoverlapping(data.as_ptr(), count);
        }
        match place {
            Place::Fixed => self.fixed,
            // SAFETY: As above.
            _ => unsafe { to.add(at) },
        }
    }

    /// Whether something was written behind the first `end` bytes.
    fn is_overrun(&self, end: usize) -> bool {
        let end = end.min(ROOM);
        let len = GUARD.min(ROOM - end);
        // SAFETY: The bytes are in the mapping, and only this thread uses them.
        let guard = unsafe { std::slice::from_raw_parts(self.area.add(end), len) };
        guard.iter().any(|b| *b != FILL)
    }

    /// Makes a call on an open node.
    pub fn issue(&self, fd: RawFd, call: &Call) -> Outcome {
        let (place, data): (Place, &[u8]) = match call {
            Call::Ioctl { place, data, .. } | Call::Write { place, data, .. } => (*place, data),
            Call::Read { place, .. } => (*place, &[]),
            Call::Poll | Call::Map { .. } => (Place::Null, &[]),
        };
        let wanted = writable(call, data);
        let at = self.lay(place, data, wanted);
        // SAFETY: The kernel checks what it is given. What is there is this thread's
        // own, and the mappings that it makes are taken away at once.
        let ret = unsafe {
            match call {
                Call::Ioctl { number, .. } => {
                    libc::ioctl(fd, libc::c_ulong::from(*number), at) as isize
                }
                Call::Write { piece: 0, .. } => libc::write(fd, at.cast(), data.len().min(ROOM)),
                Call::Write { piece, .. } => gather(fd, at, data.len().min(ROOM), *piece),
                Call::Read { len, .. } => libc::read(fd, at.cast(), usize::from(*len).min(ROOM)),
                Call::Poll => poll(fd),
                Call::Map {
                    page,
                    len,
                    protection,
                    flags,
                } => map_node(fd, *page, *len as usize, *protection, *flags),
            }
        };
        let result = result(ret);
        let end = wanted.max(data.len());
        Outcome {
            result,
            overrun: place == Place::Whole && self.is_overrun(end),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: The mappings are this one's own.
        unsafe {
            libc::munmap(self.area.cast(), ROOM + PAGE);
            libc::munmap(self.alias.cast(), ROOM);
            libc::munmap(self.fixed.cast(), ROOM);
        }
    }
}

/// # Safety
///
/// As for the system call.
unsafe fn gather(fd: RawFd, at: *mut u8, len: usize, piece: u16) -> isize {
    let mut pieces = [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; PIECES];
    let (mut count, mut done) = (0, 0);
    while done < len && count < PIECES {
        // What there is no piece for goes with the last one.
        let size = if count + 1 == PIECES {
            len - done
        } else {
            usize::from(piece).min(len - done)
        };
        pieces[count] = libc::iovec {
            iov_base: at.wrapping_add(done).cast(),
            iov_len: size,
        };
        done += size;
        count += 1;
    }
    // SAFETY: As many were filled in.
    unsafe { libc::writev(fd, pieces.as_ptr(), count as libc::c_int) }
}

fn poll(fd: RawFd) -> isize {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN | libc::POLLOUT | libc::POLLPRI,
        revents: 0,
    };
    // SAFETY: One entry, which lives across the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) as isize }
}

/// Maps a part of the node, has it faulted in, and takes it away.
fn map_node(fd: RawFd, page: u64, len: usize, protection: u8, flags: u8) -> isize {
    let offset = page.wrapping_mul(PAGE as u64) as libc::off_t;
    let (protection, flags) = (i32::from(protection) & 7, i32::from(flags) & 3);
    // SAFETY: A new mapping wherever there is room, which only the kernel touches.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), len, protection, flags, fd, offset);
        if at == libc::MAP_FAILED {
            return -1;
        }
        libc::madvise(at, len, libc::MADV_POPULATE_WRITE);
        libc::munmap(at, len);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn places() {
        let scratch = Scratch::new();
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let write = |place, piece| {
            let data = (0..100).collect();
            let call = Call::Write { place, piece, data };
            scratch.issue(writer.as_raw_fd(), &call).result
        };
        assert_eq!(write(Place::Null, 0), Err(Errno::EFAULT));
        assert_eq!(write(Place::Kernel, 0), Err(Errno::EFAULT));
        for (place, piece) in [(Place::Whole, 0), (Place::Whole, 1), (Place::Fixed, 7)] {
            assert_eq!(write(place, piece), Ok(100), "{place:?} {piece}");
            let mut got = [0; 100];
            reader.read_exact(&mut got).unwrap();
            assert!(got.iter().copied().eq(0..100), "{place:?} {piece}");
        }
        assert_ne!(write(Place::Cut, 0), Ok(100));
        assert_ne!(write(Place::Half, 0), Ok(100));
    }

    #[test]
    fn overruns() {
        let scratch = Scratch::new();
        let (reader, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(&[1; 64]).unwrap();
        let (place, len) = (Place::Whole, 16);
        let read = Call::Read { place, len };
        let outcome = scratch.issue(reader.as_raw_fd(), &read);
        assert_eq!((outcome.result, outcome.overrun), (Ok(16), false));
        assert!(!scratch.is_overrun(16));
        assert!(scratch.is_overrun(15));
    }
}
