// SPDX-License-Identifier: GPL-2.0

//! Memory that two threads share as a driver and a device do: with plain loads and stores of each
//! size, and barriers.

use super::driver::Bus;
use std::sync::atomic::{fence, AtomicU16, AtomicU32, AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;
use virtqueue::{Access, Area, Fault, GuestAddress, GuestMemory};

#[derive(Default)]
#[repr(C, align(64))]
struct Line([AtomicU64; 8]);

const LINE: usize = size_of::<Line>();

/// The memory. Its addresses are those of this process.
#[derive(Clone)]
pub struct Shared(Arc<[Line]>);

impl Shared {
    /// At least `size` bytes, all 0.
    pub fn new(size: usize) -> Self {
        Self((0..size.div_ceil(LINE)).map(|_| Line::default()).collect())
    }

    /// The first address.
    pub fn start(&self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// Where `len` bytes are, which are all there.
    pub fn pointer(&self, at: u64, len: usize) -> Result<*mut u8, Fault> {
        let offset = usize::try_from(at.checked_sub(self.start()).ok_or(Fault)?);
        let offset = offset.map_err(|_| Fault)?;
        let end = offset.checked_add(len).ok_or(Fault)?;
        if end > self.0.len() * LINE {
            return Err(Fault);
        }
        // The lines are one allocation, of atomics, so that it may be written to.
        Ok(self.0.as_ptr().cast::<u8>().cast_mut().wrapping_add(offset))
    }
}

/// Loads and stores of one size.
macro_rules! access {
    ($atomic:ident, $value:ident, $load:ident, $store:ident) => {
        impl Shared {
            fn $load(&self, at: u64) -> Result<$value, Fault> {
                let pointer = self.pointer(at, size_of::<$value>())?.cast::<$value>();
                assert!(pointer.is_aligned());
                // SAFETY: It is within the memory, which is there as long as `self`, and aligned. All
                // accesses are atomic; that some are of other sizes is as on hardware.
                let atomic = unsafe { $atomic::from_ptr(pointer) };
                Ok(atomic.load(Ordering::Relaxed))
            }

            fn $store(&self, at: u64, value: $value) -> Result<(), Fault> {
                let pointer = self.pointer(at, size_of::<$value>())?.cast::<$value>();
                assert!(pointer.is_aligned());
                // SAFETY: As above.
                let atomic = unsafe { $atomic::from_ptr(pointer) };
                atomic.store(value, Ordering::Relaxed);
                Ok(())
            }
        }
    };
}

access!(AtomicU8, u8, load_8, store_8);
access!(AtomicU16, u16, load_16, store_16);
access!(AtomicU32, u32, load_32, store_32);
access!(AtomicU64, u64, load_64, store_64);

/// A part of the memory.
pub struct SharedArea {
    memory: Shared,
    at: u64,
    len: usize,
}

impl SharedArea {
    fn at(&self, offset: usize, size: usize) -> u64 {
        assert!(offset + size <= self.len, "outside of the ring");
        self.at + offset as u64
    }
}

impl Area for SharedArea {
    fn load_u16(&self, offset: usize) -> Result<u16, Fault> {
        self.memory.load_16(self.at(offset, 2))
    }
    fn load_u32(&self, offset: usize) -> Result<u32, Fault> {
        self.memory.load_32(self.at(offset, 4))
    }
    fn load_u64(&self, offset: usize) -> Result<u64, Fault> {
        self.memory.load_64(self.at(offset, 8))
    }
    fn store_u16(&self, offset: usize, value: u16) -> Result<(), Fault> {
        self.memory.store_16(self.at(offset, 2), value)
    }
    fn store_u32(&self, offset: usize, value: u32) -> Result<(), Fault> {
        self.memory.store_32(self.at(offset, 4), value)
    }
    fn store_u64(&self, offset: usize, value: u64) -> Result<(), Fault> {
        self.memory.store_64(self.at(offset, 8), value)
    }
    fn read_barrier(&self) {
        fence(Ordering::Acquire);
    }
    fn write_barrier(&self) {
        fence(Ordering::Release);
    }
    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

impl GuestMemory for Shared {
    type Area = SharedArea;

    fn area(&mut self, at: GuestAddress, len: usize, _: Access) -> Result<SharedArea, Fault> {
        self.pointer(at.get(), len)?;
        Ok(SharedArea {
            memory: self.clone(),
            at: at.get(),
            len,
        })
    }

    fn read(&mut self, from: GuestAddress, to: &mut [u8]) -> Result<(), Fault> {
        (from.get()..).zip(to).try_for_each(|(at, byte)| {
            *byte = self.load_8(at)?;
            Ok(())
        })
    }

    fn write(&mut self, to: GuestAddress, from: &[u8]) -> Result<(), Fault> {
        let mut places = (to.get()..).zip(from);
        places.try_for_each(|(at, byte)| self.store_8(at, *byte))
    }
}

/// As little endian machines do it.
impl Bus for Shared {
    fn load16(&self, at: u64) -> u16 {
        self.load_16(at).unwrap()
    }
    fn load32(&self, at: u64) -> u32 {
        self.load_32(at).unwrap()
    }
    fn store16(&self, at: u64, value: u16) {
        self.store_16(at, value).unwrap();
    }
    fn store32(&self, at: u64, value: u32) {
        self.store_32(at, value).unwrap();
    }
    fn store64(&self, at: u64, value: u64) {
        self.store_64(at, value).unwrap();
    }
    fn read_barrier(&self) {
        fence(Ordering::Acquire);
    }
    fn write_barrier(&self) {
        fence(Ordering::Release);
    }
    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}
