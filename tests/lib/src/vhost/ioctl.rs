// SPDX-License-Identifier: GPL-2.0
//! Numbers and arguments of the ioctls, as in `uapi/linux/vhost.h` and `vhost_types.h`.

use std::fs::File;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::ptr;

use crate::errno::Errno;
use crate::withheld::Withheld;

/// A request and what its argument is.
#[derive(Clone, Copy)]
pub struct Request<T> {
    number: u64,
    argument: std::marker::PhantomData<T>,
}

const NONE: u64 = 0;
const WRITE: u64 = 1;
const READ: u64 = 2;

impl<T> Request<T> {
    const fn new(direction: u64, nr: u64, size: usize) -> Self {
        let number = (direction << 30) | ((size as u64) << 16) | (0xaf << 8) | nr;
        Request {
            number,
            argument: std::marker::PhantomData,
        }
    }

    /// One that the kernel answers.
    pub const fn get(nr: u64) -> Self {
        Self::new(READ, nr, size_of::<T>())
    }

    /// One that tells the kernel.
    pub const fn set(nr: u64) -> Self {
        Self::new(WRITE, nr, size_of::<T>())
    }

    /// One that tells the kernel, and is answered.
    pub const fn change(nr: u64) -> Self {
        Self::new(READ | WRITE, nr, size_of::<T>())
    }

    /// The number that the kernel knows it by.
    pub const fn number(self) -> u64
    where
        T: Copy,
    {
        self.number
    }
}

impl Request<()> {
    const fn plain(nr: u64) -> Self {
        Self::new(NONE, nr, 0)
    }
}

/// Arguments: plain numbers, of which every value is valid.
///
/// # Safety
///
/// Any bytes are a value of the type.
pub unsafe trait Argument: Copy {}

// SAFETY: Integers, and structures of integers.
unsafe impl Argument for () {}
// SAFETY: As above.
unsafe impl Argument for u8 {}
// SAFETY: As above.
unsafe impl Argument for u16 {}
// SAFETY: As above.
unsafe impl Argument for u32 {}
// SAFETY: As above.
unsafe impl Argument for i32 {}
// SAFETY: As above.
unsafe impl Argument for u64 {}
// SAFETY: As above.
unsafe impl Argument for IovaRange {}
// SAFETY: As above.
unsafe impl Argument for VringState {}
// SAFETY: As above.
unsafe impl Argument for VringFile {}
// SAFETY: As above.
unsafe impl Argument for VringAddr {}
// SAFETY: As above.
unsafe impl Argument for MemoryTable {}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct IovaRange {
    pub first: u64,
    pub last: u64,
}

/// `struct vhost_vring_state`; the index is a queue's or a group's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct VringState {
    pub index: u32,
    pub num: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct VringFile {
    pub index: u32,
    pub fd: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct VringAddr {
    pub index: u32,
    pub flags: u32,
    pub desc: u64,
    pub used: u64,
    pub avail: u64,
    pub log: u64,
}

/// The part of `struct vhost_memory` before the regions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryTable {
    pub regions: u32,
    pub padding: u32,
}

/// The part of `struct vhost_vdpa_config` before the bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfigHeader {
    pub offset: u32,
    pub len: u32,
}

pub const GET_FEATURES: Request<u64> = Request::get(0x00);
pub const SET_FEATURES: Request<u64> = Request::set(0x00);
pub const SET_OWNER: Request<()> = Request::plain(0x01);
pub const SET_MEM_TABLE: Request<MemoryTable> = Request::set(0x03);
pub const SET_LOG_BASE: Request<u64> = Request::set(0x04);
pub const SET_LOG_FD: Request<i32> = Request::set(0x07);
pub const SET_VRING_NUM: Request<VringState> = Request::set(0x10);
pub const SET_VRING_ADDR: Request<VringAddr> = Request::set(0x11);
pub const SET_VRING_BASE: Request<VringState> = Request::set(0x12);
pub const GET_VRING_BASE: Request<VringState> = Request::change(0x12);
pub const SET_VRING_KICK: Request<VringFile> = Request::set(0x20);
pub const SET_VRING_CALL: Request<VringFile> = Request::set(0x21);
pub const SET_VRING_ERR: Request<VringFile> = Request::set(0x22);
pub const SET_VRING_BUSYLOOP_TIMEOUT: Request<VringState> = Request::set(0x23);
pub const GET_VRING_BUSYLOOP_TIMEOUT: Request<VringState> = Request::set(0x24);
pub const SET_BACKEND_FEATURES: Request<u64> = Request::set(0x25);
pub const GET_BACKEND_FEATURES: Request<u64> = Request::get(0x26);
pub const GET_DEVICE_ID: Request<u32> = Request::get(0x70);
pub const GET_STATUS: Request<u8> = Request::get(0x71);
pub const SET_STATUS: Request<u8> = Request::set(0x72);
pub const GET_CONFIG: Request<ConfigHeader> = Request::get(0x73);
pub const SET_CONFIG: Request<ConfigHeader> = Request::set(0x74);
pub const SET_VRING_ENABLE: Request<VringState> = Request::set(0x75);
pub const GET_VRING_NUM: Request<u16> = Request::get(0x76);
pub const SET_CONFIG_CALL: Request<i32> = Request::set(0x77);
pub const GET_IOVA_RANGE: Request<IovaRange> = Request::get(0x78);
pub const GET_CONFIG_SIZE: Request<u32> = Request::get(0x79);
pub const GET_AS_NUM: Request<u32> = Request::get(0x7a);
pub const GET_VRING_GROUP: Request<VringState> = Request::change(0x7b);
pub const SET_GROUP_ASID: Request<VringState> = Request::set(0x7c);
pub const SUSPEND: Request<()> = Request::plain(0x7d);
pub const RESUME: Request<()> = Request::plain(0x7e);
pub const GET_VRING_DESC_GROUP: Request<VringState> = Request::change(0x7f);
pub const GET_VQS_COUNT: Request<u32> = Request::get(0x80);
pub const GET_GROUP_NUM: Request<u32> = Request::get(0x81);
pub const GET_VRING_SIZE: Request<VringState> = Request::change(0x82);
pub const SET_FORK_FROM_OWNER: Request<u8> = Request::set(0x84);
pub const GET_FORK_FROM_OWNER: Request<u8> = Request::get(0x85);

/// An ioctl with a pointer that leads nowhere.
pub fn ioctl_nowhere(file: &File, number: u64) -> Result<(), Errno> {
    // SAFETY: Nothing is mapped at zero, so the kernel finds no argument.
    unsafe { ioctl_at(file, number, ptr::null_mut()) }
}

/// An ioctl whose argument is in a page that is not there yet.
pub fn ioctl_withheld(file: &File, number: u64, page: &Withheld) -> Result<(), Errno> {
    // SAFETY: Nobody has references into that page, and no argument is larger.
    unsafe { ioctl_at(file, number, page.uaddr() as *mut u8) }
}

/// # Safety
///
/// The kernel may write the argument there.
unsafe fn ioctl_at(file: &File, number: u64, argument: *mut u8) -> Result<(), Errno> {
    // SAFETY: By the safety requirements.
    let ret = unsafe { libc::ioctl(file.as_raw_fd(), number, argument) };
    if ret < 0 {
        return Err(Errno::last());
    }
    Ok(())
}

/// An ioctl whose argument goes both ways, as far as the request says.
pub fn ioctl<T: Argument>(file: &File, request: Request<T>, mut argument: T) -> Result<T, Errno> {
    let (fd, pointer) = (file.as_raw_fd(), &raw mut argument);
    // SAFETY: The request carries the size of its argument, which is a T, and any
    // bytes are a T.
    let ret = unsafe { libc::ioctl(fd, request.number, pointer) };
    if ret < 0 {
        return Err(Errno::last());
    }
    Ok(argument)
}

/// An ioctl on the bytes of a configuration space: a header, then the bytes.
pub fn config_ioctl(
    file: &File,
    request: Request<ConfigHeader>,
    argument: &mut [u8],
) -> Result<(), Errno> {
    let (fd, pointer) = (file.as_raw_fd(), argument.as_mut_ptr());
    let len = argument
        .get(4..8)
        .expect("a header")
        .try_into()
        .map(u32::from_ne_bytes);
    assert!(
        argument.len() - 8 >= len.unwrap() as usize,
        "room for the bytes"
    );
    // SAFETY: The kernel reads the header and as many bytes more as that says,
    // which the buffer has.
    let ret = unsafe { libc::ioctl(fd, request.number, pointer) };
    if ret < 0 {
        return Err(Errno::last());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a C compiler makes them of the headers.
    #[test]
    fn numbers() {
        assert_eq!(GET_FEATURES.number, 0x8008_af00);
        assert_eq!(SET_OWNER.number, 0xaf01);
        assert_eq!(SET_VRING_ADDR.number, 0x4028_af11);
        assert_eq!(GET_VRING_BASE.number, 0xc008_af12);
        assert_eq!(SET_STATUS.number, 0x4001_af72);
        assert_eq!(GET_CONFIG.number, 0x8008_af73);
        assert_eq!(GET_VRING_NUM.number, 0x8002_af76);
        assert_eq!(GET_IOVA_RANGE.number, 0x8010_af78);
        assert_eq!(SUSPEND.number, 0xaf7d);
        assert_eq!(GET_VRING_SIZE.number, 0xc008_af82);
        assert_eq!(GET_FORK_FROM_OWNER.number, 0x8001_af85);
        assert_eq!(GET_VRING_BUSYLOOP_TIMEOUT.number, 0x4008_af24);
    }
}
