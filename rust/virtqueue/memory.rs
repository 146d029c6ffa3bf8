// SPDX-License-Identifier: GPL-2.0

//! The driver's memory, as a device sees it.

/// An address in the driver's memory, as rings and descriptors hold it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GuestAddress(u64);

impl GuestAddress {
    /// The address with this number.
    #[inline]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `offset` bytes further, if there is one.
    #[inline]
    pub const fn checked_add(self, offset: u64) -> Option<Self> {
        match self.0.checked_add(offset) {
            Some(address) => Some(Self(address)),
            None => None,
        }
    }
}

/// Memory that cannot be reached: not mapped, not for this kind of access, or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// What a device does with a part of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only reads.
    Read,
    /// It only writes.
    Write,
    /// It does both.
    ReadWrite,
}

/// A part of the driver's memory that was resolved in advance: a ring.
///
/// Offsets are in bytes. An access that is not within the part is a [`Fault`]. Values are in the
/// byte order of the CPU; the little endian order of rings is not the area's business.
///
/// The driver changes this memory at any time. A load or store is one access that does not tear if
/// its address is a multiple of its size, which all of a [`Queue`](crate::Queue)'s are, and relaxed
/// otherwise: order comes of the barriers.
pub trait Area {
    /// Loads 16 bits.
    fn load_u16(&self, offset: usize) -> Result<u16, Fault>;
    /// Loads 32 bits.
    fn load_u32(&self, offset: usize) -> Result<u32, Fault>;
    /// Loads 64 bits.
    fn load_u64(&self, offset: usize) -> Result<u64, Fault>;

    /// Stores 16 bits.
    fn store_u16(&self, offset: usize, value: u16) -> Result<(), Fault>;
    /// Stores 32 bits.
    fn store_u32(&self, offset: usize, value: u32) -> Result<(), Fault>;
    /// Stores 64 bits.
    fn store_u64(&self, offset: usize, value: u64) -> Result<(), Fault>;

    /// Earlier loads come before later loads and stores, `virtio_rmb()` with weak barriers in C.
    ///
    /// Like the other barriers, it holds for all of the memory, not only for this area.
    fn read_barrier(&self);
    /// Earlier loads and stores come before later stores, `virtio_wmb()` with weak barriers in C.
    ///
    /// The loads matter too: of a buffer that the driver may use again after the store.
    fn write_barrier(&self);
    /// Everything earlier comes before everything later, `virtio_mb()` with weak barriers in C.
    fn full_barrier(&self);
}

/// All of a driver's memory.
pub trait GuestMemory {
    /// A part that was resolved in advance.
    type Area: Area;

    /// Resolves `len` bytes from `at` on for this kind of access, as long as the mapping stays.
    fn area(&mut self, at: GuestAddress, len: usize, access: Access) -> Result<Self::Area, Fault>;

    /// Copies out of the memory.
    fn read(&mut self, from: GuestAddress, to: &mut [u8]) -> Result<(), Fault>;

    /// Copies into the memory.
    fn write(&mut self, to: GuestAddress, from: &[u8]) -> Result<(), Fault>;
}

/// Fields of rings, which are little endian.
pub(crate) trait Fields: Area {
    #[inline]
    fn load_le16(&self, offset: usize) -> Result<u16, Fault> {
        self.load_u16(offset).map(u16::from_le)
    }

    #[inline]
    fn load_le32(&self, offset: usize) -> Result<u32, Fault> {
        self.load_u32(offset).map(u32::from_le)
    }

    #[inline]
    fn load_le64(&self, offset: usize) -> Result<u64, Fault> {
        self.load_u64(offset).map(u64::from_le)
    }

    #[inline]
    fn store_le16(&self, offset: usize, value: u16) -> Result<(), Fault> {
        self.store_u16(offset, value.to_le())
    }

    #[inline]
    fn store_le32(&self, offset: usize, value: u32) -> Result<(), Fault> {
        self.store_u32(offset, value.to_le())
    }

    #[inline]
    fn store_le64(&self, offset: usize, value: u64) -> Result<(), Fault> {
        self.store_u64(offset, value.to_le())
    }
}

impl<A: Area> Fields for A {}
