// SPDX-License-Identifier: GPL-2.0

//! A buffer, and how it is put together of descriptors.

use crate::{
    error::Error,
    memory::GuestAddress,
    queue::Position, //
};

/// The buffer goes on in another descriptor.
pub(crate) const NEXT: u16 = 1;
/// The device writes; in a used descriptor, it did.
pub(crate) const WRITE: u16 = 2;
/// The buffer is a table of descriptors.
pub(crate) const INDIRECT: u16 = 4;

/// The size of a descriptor in bytes.
pub(crate) const DESCRIPTOR_SIZE: u16 = 16;

/// The part of a buffer that one descriptor describes. It has at least one byte, and does not go
/// beyond the last address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The address of the first byte.
    pub at: GuestAddress,
    /// The number of bytes.
    pub len: u32,
}

/// A buffer taken from a queue.
///
/// Its segments are in the slice given to [`Queue::next`](crate::Queue::next): first those to read,
/// then those to write.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// The head of a split queue's chain, the buffer id of a packed one.
    pub(crate) id: u16,
    /// How many descriptors of a packed ring it takes up. In a split ring, an available entry.
    pub(crate) slots: u16,
    /// Where it was in the ring. A split ring's index is a free running counter.
    pub(crate) start: Position,
    readable: u16,
    segments: u16,
    readable_len: u32,
    total_len: u32,
}

impl Chain {
    /// The number of segments that the device reads.
    #[inline]
    pub fn readable(&self) -> usize {
        usize::from(self.readable)
    }

    /// The number of segments that the device writes; they come after those that it reads.
    #[inline]
    pub fn writable(&self) -> usize {
        usize::from(self.segments.saturating_sub(self.readable))
    }

    /// The number of segments.
    #[inline]
    pub fn segments(&self) -> usize {
        usize::from(self.segments)
    }

    /// The number of bytes to read.
    #[inline]
    pub fn readable_len(&self) -> u32 {
        self.readable_len
    }

    /// The number of bytes that there is room for to write.
    #[inline]
    pub fn writable_len(&self) -> u32 {
        self.total_len.saturating_sub(self.readable_len)
    }

    /// What the driver knows the buffer by: the head of the chain if the queue is split, the buffer
    /// id if it is packed.
    #[inline]
    pub fn id(&self) -> u16 {
        self.id
    }
}

/// Checks the descriptors of a chain and puts them into the caller's slice.
pub(crate) struct Collector<'a> {
    segments: &'a mut [Segment],
    count: u16,
    readable: u16,
    total_len: u32,
    readable_len: u32,
}

impl<'a> Collector<'a> {
    #[inline]
    pub(crate) fn new(segments: &'a mut [Segment]) -> Self {
        Self {
            segments,
            count: 0,
            readable: 0,
            total_len: 0,
            readable_len: 0,
        }
    }

    /// Adds what a descriptor describes.
    #[inline]
    pub(crate) fn push(&mut self, at: u64, len: u32, flags: u16) -> Result<(), Error> {
        let at = GuestAddress::new(at);
        let last = len.checked_sub(1).ok_or(Error::ZeroLength)?;
        at.checked_add(last.into()).ok_or(Error::AddressWrap)?;
        let segment = self
            .segments
            .get_mut(usize::from(self.count))
            .ok_or(Error::TooLong)?;
        // Counting the bytes in 32 bits also bounds the work for a list without end. The
        // specification allows one byte more, which no caller could count so.
        let total_len = self.total_len.checked_add(len).ok_or(Error::TooLong)?;
        let count = self.count.checked_add(1).ok_or(Error::TooLong)?;
        if flags & WRITE == 0 {
            if self.readable != self.count {
                return Err(Error::ReadableAfterWritable);
            }
            self.readable = count;
            self.readable_len = total_len;
        }
        *segment = Segment { at, len };
        self.count = count;
        self.total_len = total_len;
        Ok(())
    }

    /// How many segments there still is room for.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.segments.len().saturating_sub(usize::from(self.count))
    }

    /// The chain that was collected.
    #[inline]
    pub(crate) fn finish(self, id: u16, start: Position, slots: u16) -> Chain {
        Chain {
            id,
            slots,
            start,
            readable: self.readable,
            segments: self.count,
            readable_len: self.readable_len,
            total_len: self.total_len,
        }
    }
}

/// The last eight bytes of a descriptor: its length, and two fields of 16 bits whose meaning
/// depends on the format.
#[derive(Clone, Copy)]
pub(crate) struct Tail {
    pub(crate) len: u32,
    /// The flags of a split descriptor, the buffer id of a packed one.
    pub(crate) first: u16,
    /// Where a split descriptor's chain goes on, the flags of a packed one.
    pub(crate) second: u16,
}

impl Tail {
    /// From what is in memory, in the byte order of the CPU.
    #[inline]
    pub(crate) const fn new(bits: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
        Self {
            len: u32::from_le_bytes([a, b, c, d]),
            first: u16::from_le_bytes([e, f]),
            second: u16::from_le_bytes([g, h]),
        }
    }

    /// What is in memory, in the byte order of the CPU.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.len) | u64::from(self.first) << 32 | u64::from(self.second) << 48
    }
}
