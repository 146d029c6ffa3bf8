// SPDX-License-Identifier: GPL-2.0

//! What is said about virtqueues: which one, where it is, how far the device got in it.
//!
//! Nothing here needs the kernel, so that the same file is tested on the host (`tests/host`).

/// The number of a virtqueue.
///
/// Nothing says that the device has a queue of this number: a parent has to look it up.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueIndex(u16);

impl QueueIndex {
    /// The queue with this number.
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The number, to look the queue up in a slice.
    pub fn to_usize(self) -> usize {
        usize::from(self.0)
    }
}

/// Where the three parts of a virtqueue are, in the address space of its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueAddresses {
    /// Descriptor table, or descriptor ring.
    pub descriptors: u64,
    /// Available ring, or driver event suppression.
    pub driver: u64,
    /// Used ring, or device event suppression.
    pub device: u64,
}

/// How far the device got in a packed virtqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedState {
    /// The driver's ring wrap counter, as the device saw it last.
    pub avail_wrap: bool,
    /// The next descriptor to look at, below 2^15.
    pub avail_index: u16,
    /// The device's ring wrap counter.
    pub used_wrap: bool,
    /// The next descriptor to write as used, below 2^15.
    pub used_index: u16,
}

/// How far the device got in a virtqueue, `struct vdpa_vq_state` in C.
///
/// Whether the queue is split or packed is not part of it: that is what `VIRTIO_F_RING_PACKED`,
/// when negotiated, says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState(pub(crate) [u16; 2]);

impl QueueState {
    /// The state of a split queue: the available index at which the device goes on.
    pub const fn split(avail_index: u16) -> Self {
        Self([avail_index, 0])
    }

    /// The state of a packed queue. Bits of an index above the fifteenth are lost.
    pub fn packed(state: PackedState) -> Self {
        let word = |wrap: bool, index: u16| (index << 1) | u16::from(wrap);
        Self([
            word(state.avail_wrap, state.avail_index),
            word(state.used_wrap, state.used_index),
        ])
    }

    /// The available index, if the queue is split.
    pub const fn as_split(self) -> u16 {
        let Self([avail, _]) = self;
        avail
    }

    /// The state, if the queue is packed.
    pub const fn as_packed(self) -> PackedState {
        let Self([avail, used]) = self;
        PackedState {
            avail_wrap: avail & 1 != 0,
            avail_index: avail >> 1,
            used_wrap: used & 1 != 0,
            used_index: used >> 1,
        }
    }
}

/// What a driver says with a kick when `VIRTIO_F_NOTIFICATION_DATA` is negotiated (virtio 1.3,
/// section 4.1.5.2).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationData(u32);

impl NotificationData {
    /// The queue in the lower half, and in the upper one the next available index of a split
    /// queue, or the next offset of a packed one with the wrap counter in the highest bit.
    pub fn new(queue: QueueIndex, next: u16) -> Self {
        Self(u32::from(next) << 16 | u32::from(queue.get()))
    }

    /// From the 32 bits that go over the wire.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The 32 bits that go over the wire.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The queue that is kicked.
    pub const fn queue(self) -> QueueIndex {
        let [low, high, _, _] = self.0.to_le_bytes();
        QueueIndex(u16::from_le_bytes([low, high]))
    }

    /// The next available index, or offset and wrap counter.
    pub const fn next(self) -> u16 {
        let [_, _, low, high] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}
