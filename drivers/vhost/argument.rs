// SPDX-License-Identifier: GPL-2.0

//! The argument of an ioctl.
//!
//! It is in memory of the user, who may take any time to provide it: `userfaultfd`. So it is read
//! before the device is used or anything locked, and answered afterwards. Which error comes first
//! does not change by that: what could not be read is told when it is asked for.

use kernel::{
    ioctl::_IOC_SIZE,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

/// The longest structure that has no part of variable length: `struct vhost_vring_addr`.
const MAX: usize = 40;
/// What precedes the part of variable length, of `struct vhost_vdpa_config` and `vhost_memory`.
const HEAD: usize = 8;
/// The longest answer of fixed length.
const ANSWER: usize = 16;

/// What an ioctl is given, and what it answers.
pub(crate) struct Argument {
    user: UserPtr,
    bytes: [u8; MAX],
    /// How many of the bytes could be read.
    readable: usize,
    /// What follows the head.
    tail: Option<Result<KVVec<u8>>>,
    answer: Answer,
}

enum Answer {
    None,
    Short([u8; ANSWER], usize),
    /// To be put behind the head.
    Tail(KVVec<u8>),
}

impl Argument {
    /// Reads the argument of a command, as far as that is possible.
    pub(crate) fn new(address: usize, command: u32) -> Self {
        let mut argument = Self {
            user: UserPtr::from_addr(address),
            bytes: [0; MAX],
            readable: 0,
            tail: None,
            answer: Answer::None,
        };
        // All commands that are not known are taken to begin with the number of a queue.
        let size = _IOC_SIZE(command).clamp(HEAD, MAX);
        if !argument.fetch(0, size) {
            // Who needs less may have less.
            const WORD: usize = size_of::<u32>();
            let steps = if argument.fetch(0, 1) { size } else { 0 };
            for at in (0..steps).step_by(WORD) {
                if !argument.fetch(at, WORD) {
                    break;
                }
            }
        }
        argument
    }

    fn fetch(&mut self, at: usize, len: usize) -> bool {
        let user = self.user.wrapping_byte_add(at);
        let end = at.saturating_add(len);
        let read = match self.bytes.get_mut(at..end) {
            Some(bytes) => UserSlice::new(user, len).reader().read_slice(bytes).is_ok(),
            None => false,
        };
        if read {
            self.readable = end;
        }
        read
    }

    /// Reads `len` bytes behind the head, for [`tail`](Self::tail).
    pub(crate) fn fetch_tail(&mut self, len: usize) {
        let user = self.user.wrapping_byte_add(HEAD);
        let mut bytes = KVVec::new();
        let read = UserSlice::new(user, len).read_all(&mut bytes, GFP_KERNEL);
        self.tail = Some(read.map(|()| bytes));
    }

    /// What it begins with. Fails with `EFAULT`.
    pub(crate) fn read<T: FromBytes>(&self) -> Result<T> {
        self.read_at(0)
    }

    /// What follows the first `offset` bytes. Fails with `EFAULT`.
    pub(crate) fn read_at<T: FromBytes>(&self, offset: usize) -> Result<T> {
        let read = self.bytes.get(..self.readable).ok_or(EFAULT)?;
        let (value, _) =
            T::from_bytes_copy_prefix(read.get(offset..).ok_or(EFAULT)?).ok_or(EFAULT)?;
        Ok(value)
    }

    /// What follows the head. Fails with `EFAULT` or `ENOMEM`.
    pub(crate) fn tail(&mut self) -> Result<KVVec<u8>> {
        self.tail.take().unwrap_or(Err(EFAULT))
    }

    /// What the user is to find in its place.
    pub(crate) fn answer<T: AsBytes>(&mut self, value: &T) -> Result {
        let mut bytes = [0; ANSWER];
        let value = value.as_bytes();
        bytes
            .get_mut(..value.len())
            .ok_or(EINVAL)?
            .copy_from_slice(value);
        self.answer = Answer::Short(bytes, value.len());
        Ok(())
    }

    /// What the user is to find behind the head.
    pub(crate) fn answer_tail(&mut self, bytes: KVVec<u8>) {
        self.answer = Answer::Tail(bytes);
    }

    /// Gives the user the answer, if there is one. Fails with `EFAULT`.
    pub(crate) fn finish(self) -> Result {
        let write = |user, bytes: &[u8]| {
            UserSlice::new(user, bytes.len())
                .writer()
                .write_slice(bytes)
        };
        match &self.answer {
            Answer::None => Ok(()),
            Answer::Short(bytes, len) => write(self.user, bytes.get(..*len).ok_or(EFAULT)?),
            Answer::Tail(bytes) => write(self.user.wrapping_byte_add(HEAD), bytes),
        }
    }
}
