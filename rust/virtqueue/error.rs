// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with a queue.

use crate::memory::Fault;

/// What is wrong with a queue.
///
/// Sections are those of virtio 1.3 that the driver, or the device for the last few, disregards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Memory of a ring or an indirect table cannot be reached.
    Fault,
    /// The size of the queue is not 1 to 32768, or no power of two for a split queue.
    BadSize,
    /// A part of the queue is not at a multiple of what 2.7 or 2.8 asks for.
    Misaligned,
    /// The state does not belong to a queue of this format and size.
    BadState,
    /// The available ring names a descriptor that is not in the table (2.7.6).
    BadHead,
    /// A chain comes back to where it was, or is longer than the ring has room for (2.7.5.3.1,
    /// 2.8.17).
    Loop,
    /// A chain goes on at a descriptor that is not in the table (2.7.5).
    NextOutOfRange,
    /// A descriptor of an indirect table is one of a table itself (2.7.5.3.1).
    NestedIndirect,
    /// An indirect descriptor, without `VIRTIO_F_INDIRECT_DESC` (2.7.5.3.1, 2.8.19).
    IndirectNotNegotiated,
    /// An indirect descriptor in a list that goes on after it, or if the queue is packed, that has
    /// another one before it (2.7.5.3.1, 2.8.19).
    IndirectInList,
    /// An indirect table is empty, has a part of a descriptor, or more than 32768 of them.
    BadIndirectSize,
    /// A part that the device reads comes after one that it writes (2.7.4.2, 2.8.17).
    ReadableAfterWritable,
    /// A descriptor without bytes.
    ZeroLength,
    /// A buffer has more parts than the caller's slice, or 4 GiB and more (2.7.5.2).
    TooLong,
    /// A part of a buffer, or of the queue, goes beyond the last address.
    AddressWrap,
    /// More buffers are available than the queue has room for, or the index went back (2.7.6.1).
    IndexJump,
    /// A descriptor in the middle of a packed list is not available by its flags (2.8.6).
    NotAvailable,
    /// The rings are not resolved, as [`remap`](crate::Queue::remap) failed the last time. Unlike
    /// the others, this ends with a `remap` that succeeds.
    NotMapped,
    /// The device completed or put back a buffer that it has not taken.
    NotTaken,
    /// The device completed buffers out of order in spite of `VIRTIO_F_IN_ORDER`, or put back
    /// another buffer than the last.
    OutOfOrder,
    /// The device claims to have written more than the buffer has room for.
    Overwritten,
}

impl Error {
    /// In words, for who wrote the driver, with the section of virtio 1.3.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Fault => "memory of its rings cannot be reached",
            Self::BadSize => "a size that no queue can have",
            Self::Misaligned => "misaligned rings (2.7, 2.8)",
            Self::BadState => "indices that are not of this queue",
            Self::BadHead => "an available descriptor that is not in the table (2.7.6)",
            Self::Loop => "a chain that comes back to itself (2.7.5.3.1, 2.8.17)",
            Self::NextOutOfRange => "a chain that leaves the table (2.7.5)",
            Self::NestedIndirect => "an indirect table in an indirect table (2.7.5.3.1)",
            Self::IndirectNotNegotiated => {
                "an indirect descriptor without VIRTIO_F_INDIRECT_DESC (2.7.5.3.1, 2.8.19)"
            }
            Self::IndirectInList => "an indirect descriptor in a chain (2.7.5.3.1, 2.8.19)",
            Self::BadIndirectSize => "a size that no indirect table can have (2.7.5.3.1)",
            Self::ReadableAfterWritable => "a readable part after a writable one (2.7.4.2, 2.8.17)",
            Self::ZeroLength => "a descriptor without bytes",
            Self::TooLong => "a buffer of too many parts or bytes (2.7.5.2)",
            Self::AddressWrap => "a part that goes beyond the last address",
            Self::IndexJump => "more buffers available than it has room for (2.7.6.1)",
            Self::NotAvailable => "a list with a descriptor that is not available (2.8.6)",
            Self::NotMapped => "rings that are not mapped",
            Self::NotTaken => "a buffer returned that was not taken",
            Self::OutOfOrder => "a buffer returned out of order",
            Self::Overwritten => "more bytes written than there was room for",
        }
    }
}

impl From<Fault> for Error {
    #[inline]
    fn from(Fault: Fault) -> Self {
        Self::Fault
    }
}
