// SPDX-License-Identifier: GPL-2.0

//! Access to memory that a driver, a guest or another process changes while it is accessed.
//!
//! All unsafe access of the crate is here. Nothing ever holds a reference to such memory: values are
//! copied, by single loads and stores where they must not tear.

use crate::bounce::Bounce;
use kernel::{
    bindings,
    prelude::*, //
};
use virtqueue::Fault;

/// Where a piece of memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At an address of the kernel.
    Kernel,
    /// At an address of the process whose memory the current thread uses.
    User,
}

/// Where the kernel has physical memory mapped: one address after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinearMap {
    base: usize,
    size: usize,
}

impl LinearMap {
    pub(crate) fn new() -> Self {
        // SAFETY: No requirements; the address is exposed, as are all that come from it.
        let (base, size) = unsafe {
            (
                vdpa_bindings::phys_to_virt(0).expose_provenance(),
                vdpa_bindings::end_of_memory(),
            )
        };
        Self {
            base,
            size: usize::try_from(size).unwrap_or(usize::MAX),
        }
    }
}

/// A piece of the host's memory.
///
/// # Invariants
///
/// If it is in the kernel, the bytes at `address` are memory that stays as long as this is used: until
/// the [`Session`](crate::Session) ends from which it comes. An address of a process is just a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    place: Place,
    address: usize,
    len: usize,
}

macro_rules! load_and_store {
    ($load:ident, $store:ident, $ty:ty, $get:ident, $put:ident) => {
        /// Loads a value `offset` bytes from the beginning.
        #[inline]
        pub(crate) fn $load(&self, offset: usize) -> Result<$ty, Fault> {
            let at = self.at(offset, size_of::<$ty>())?;
            let at = core::ptr::with_exposed_provenance::<$ty>(at);
            match self.place {
                // SAFETY: By the type invariants, and `at` checked bounds and alignment.
                Place::Kernel => Ok(unsafe { at.read_volatile() }),
                Place::User => {
                    let mut value = 0;
                    // SAFETY: The function checks the address.
                    let error = unsafe { vdpa_bindings::$get(&mut value, at) };
                    if error == 0 {
                        Ok(value)
                    } else {
                        Err(Fault)
                    }
                }
            }
        }

        /// Stores a value `offset` bytes from the beginning.
        #[inline]
        pub(crate) fn $store(&self, offset: usize, value: $ty) -> Result<(), Fault> {
            let at = self.at(offset, size_of::<$ty>())?;
            let at = core::ptr::with_exposed_provenance_mut::<$ty>(at);
            match self.place {
                Place::Kernel => {
                    // SAFETY: By the type invariants, and `at` checked bounds and alignment.
                    unsafe { at.write_volatile(value) };
                    Ok(())
                }
                Place::User => {
                    // SAFETY: The function checks the address.
                    let error = unsafe { vdpa_bindings::$put(value, at) };
                    if error == 0 {
                        Ok(())
                    } else {
                        Err(Fault)
                    }
                }
            }
        }
    };
}

impl Piece {
    /// `len` bytes at a physical address. Fails for what is not within the kernel's mapping.
    ///
    /// # Safety
    ///
    /// If there is memory at that address, it must stay as long as the result, or a copy of it, is
    /// used, and it must not be memory to which Rust code has references.
    #[inline(always)]
    pub(crate) unsafe fn physical(
        memory: LinearMap,
        address: u64,
        len: usize,
    ) -> Result<Self, Fault> {
        let address = usize::try_from(address).map_err(|_| Fault)?;
        let end = address.checked_add(len).ok_or(Fault)?;
        if end > memory.size {
            return Err(Fault);
        }
        // INVARIANT: By the safety requirements.
        Ok(Self {
            place: Place::Kernel,
            address: memory.base.wrapping_add(address),
            len,
        })
    }

    /// `len` bytes at an address of a process.
    #[inline]
    pub(crate) fn user(address: u64, len: usize) -> Result<Self, Fault> {
        // INVARIANT: An address of a process.
        Ok(Self {
            place: Place::User,
            address: usize::try_from(address).map_err(|_| Fault)?,
            len,
        })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address, if it can be used as that of a value: rings have to be aligned as the
    /// specification says, and their host addresses, too.
    pub(crate) fn is_aligned_as(&self, at: u64, align: usize) -> bool {
        let mask = align.wrapping_sub(1);
        usize::try_from(at).is_ok_and(|at| at & mask == self.address & mask)
    }

    #[inline]
    fn at(&self, offset: usize, size: usize) -> Result<usize, Fault> {
        let end = offset.checked_add(size).ok_or(Fault)?;
        if end > self.len {
            return Err(Fault);
        }
        let at = self.address.wrapping_add(offset);
        // Sizes are powers of two; `u64` may stand at addresses for which C wants less.
        if at & size.wrapping_sub(1) != 0 {
            return Err(Fault);
        }
        Ok(at)
    }

    load_and_store!(load_u16, store_u16, u16, get_user_u16, put_user_u16);
    load_and_store!(load_u32, store_u32, u32, get_user_u32, put_user_u32);
    load_and_store!(load_u64, store_u64, u64, get_user_u64, put_user_u64);

    /// Copies the beginning of the piece.
    #[inline]
    pub(crate) fn read(&self, to: &mut [u8]) -> Result<(), Fault> {
        if to.len() > self.len {
            return Err(Fault);
        }
        match self.place {
            Place::Kernel => {
                // SAFETY: By the type invariants, and the length was checked. What others write
                // meanwhile can make bytes of it any value, no more: `memcpy()` is C.
                unsafe {
                    bindings::memcpy(
                        to.as_mut_ptr().cast(),
                        core::ptr::with_exposed_provenance(self.address),
                        to.len(),
                    )
                };
                Ok(())
            }
            Place::User => {
                // SAFETY: The function checks the user's side; `to` is ours.
                let left = unsafe {
                    vdpa_bindings::raw_copy_from_user(
                        to.as_mut_ptr().cast(),
                        core::ptr::with_exposed_provenance(self.address),
                        to.len(),
                    )
                };
                if left == 0 {
                    Ok(())
                } else {
                    Err(Fault)
                }
            }
        }
    }

    /// Copies to the beginning of the piece.
    #[inline]
    pub(crate) fn write(&self, from: &[u8]) -> Result<(), Fault> {
        if from.len() > self.len {
            return Err(Fault);
        }
        match self.place {
            Place::Kernel => {
                // SAFETY: By the type invariants, and the length was checked.
                unsafe {
                    bindings::memcpy(
                        core::ptr::with_exposed_provenance_mut(self.address),
                        from.as_ptr().cast(),
                        from.len(),
                    )
                };
                Ok(())
            }
            Place::User => {
                // SAFETY: The function checks the user's side; `from` is ours.
                let left = unsafe {
                    vdpa_bindings::raw_copy_to_user(
                        core::ptr::with_exposed_provenance_mut(self.address),
                        from.as_ptr().cast(),
                        from.len(),
                    )
                };
                if left == 0 {
                    Ok(())
                } else {
                    Err(Fault)
                }
            }
        }
    }

    /// Copies the beginning of the piece to the beginning of another one, of which both are at least
    /// `len` bytes long. They may overlap. Of two pieces in user memory, both have to be of the same
    /// process.
    #[inline]
    pub(crate) fn copy_to(&self, to: &Self, len: usize, bounce: &mut Bounce) -> Result<(), Fault> {
        match (self.place, to.place) {
            (Place::User, Place::User) => self.copy_by_bounce(to, len, bounce),
            _ => self.copy_directly_to(to, len),
        }
    }

    /// As [`copy_to`](Self::copy_to), but fails if both pieces are in user memory.
    #[inline]
    pub(crate) fn copy_directly_to(&self, to: &Self, len: usize) -> Result<(), Fault> {
        if len > self.len || len > to.len {
            return Err(Fault);
        }
        let target = core::ptr::with_exposed_provenance_mut(to.address);
        let source = core::ptr::with_exposed_provenance(self.address);
        let left = match (self.place, to.place) {
            (Place::Kernel, Place::Kernel) => {
                if self.address.abs_diff(to.address) >= len {
                    // SAFETY: By the type invariants, and the lengths were checked.
                    unsafe { bindings::memcpy(target, source, len) };
                } else {
                    // SAFETY: As above.
                    unsafe { bindings::memmove(target, source, len) };
                }
                0
            }
            // SAFETY: The function checks the user's side; the other one is so by the type
            // invariants.
            (Place::Kernel, Place::User) => unsafe {
                vdpa_bindings::raw_copy_to_user(target, source, len)
            },
            // SAFETY: As above.
            (Place::User, Place::Kernel) => unsafe {
                vdpa_bindings::raw_copy_from_user(target, source, len)
            },
            (Place::User, Place::User) => len,
        };
        if left == 0 {
            Ok(())
        } else {
            Err(Fault)
        }
    }

    fn copy_by_bounce(&self, to: &Self, len: usize, bounce: &mut Bounce) -> Result<(), Fault> {
        let mut done = 0;
        while done < len {
            let part = bounce.part(len.wrapping_sub(done))?;
            let size = part.len();
            self.after(done)?.read(part)?;
            to.after(done)?.write(part)?;
            done = done.checked_add(size).ok_or(Fault)?;
        }
        Ok(())
    }

    /// What follows `offset` bytes from the beginning.
    #[inline]
    pub(crate) fn after(&self, offset: usize) -> Result<Self, Fault> {
        let len = self.len.checked_sub(offset).ok_or(Fault)?;
        // INVARIANT: A part of this piece.
        Ok(Self {
            address: self.address.checked_add(offset).ok_or(Fault)?,
            len,
            ..*self
        })
    }
}
