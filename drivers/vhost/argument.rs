// SPDX-License-Identifier: GPL-2.0

//! The argument of an ioctl.

use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice,
        UserSliceReader, //
    },
};

/// Where the argument is in the caller's memory.
#[derive(Clone, Copy)]
pub(crate) struct Argument(UserPtr);

impl Argument {
    pub(crate) fn new(address: usize) -> Self {
        Self(UserPtr::from_addr(address))
    }

    /// Where the bytes are that follow the first `size` ones.
    pub(crate) fn after(self, size: usize) -> Self {
        Self(self.0.wrapping_byte_add(size))
    }

    /// To read `size` bytes, a part after the other.
    pub(crate) fn reader(self, size: usize) -> UserSliceReader {
        UserSlice::new(self.0, size).reader()
    }

    /// Reads it. Fails with `EFAULT`.
    pub(crate) fn read<T: FromBytes>(self) -> Result<T> {
        self.reader(size_of::<T>()).read()
    }

    /// Writes it. Fails with `EFAULT`.
    pub(crate) fn write<T: AsBytes>(self, value: &T) -> Result {
        UserSlice::new(self.0, size_of::<T>()).writer().write(value)
    }

    /// Writes bytes. Fails with `EFAULT`.
    pub(crate) fn write_bytes(self, bytes: &[u8]) -> Result {
        UserSlice::new(self.0, bytes.len())
            .writer()
            .write_slice(bytes)
    }
}
