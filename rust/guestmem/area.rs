// SPDX-License-Identifier: GPL-2.0

//! Rings: parts of a driver's memory that are resolved once, and then accessed many times.

use crate::host::Piece;
use kernel::{
    prelude::*,
    sync::barrier::{
        smp_mb,
        Full,
        Read,
        Write, //
    },
};
use virtqueue::{
    Area,
    Fault, //
};

/// A ring in memory that may be in several pieces.
///
/// Only a [`GuestQueue`](crate::GuestQueue) has one, which sees to it that the pieces are still what
/// is mapped when they are accessed.
pub struct Ring {
    /// The beginning, and mostly all of it.
    first: Piece,
    /// The other pieces with the offsets at which they begin, in this order.
    rest: KVec<(usize, Piece)>,
}

/// What rings are aligned to at most (virtio 1.3, sections 2.7 and 2.8): as far as that, host
/// addresses must be aligned as the driver's.
const ALIGN: usize = 16;

impl Ring {
    /// The ring at `at`, of which `next` gives the pieces: what there is from the given address on,
    /// and at most as many bytes as given.
    pub(crate) fn resolve(
        at: u64,
        len: usize,
        mut next: impl FnMut(u64, usize) -> Result<Piece, Fault>,
    ) -> Result<Self, Fault> {
        let mut piece = |offset: usize| {
            let at = u64::try_from(offset)
                .ok()
                .and_then(|offset| at.checked_add(offset))
                .ok_or(Fault)?;
            let piece = next(at, len.checked_sub(offset).ok_or(Fault)?)?;
            if piece.len() != 0 && piece.is_aligned_as(at, ALIGN) {
                Ok(piece)
            } else {
                Err(Fault)
            }
        };
        let first = piece(0)?;
        let mut rest = KVec::new();
        let mut offset = first.len();
        while offset < len {
            let next = piece(offset)?;
            let at = offset;
            offset = offset.checked_add(next.len()).ok_or(Fault)?;
            rest.push((at, next), GFP_ATOMIC).map_err(|_| Fault)?;
        }
        Ok(Self { first, rest })
    }

    /// The piece in which `offset` is, and where in there.
    #[inline]
    fn piece(&self, offset: usize) -> Result<(&Piece, usize), Fault> {
        if offset < self.first.len() {
            return Ok((&self.first, offset));
        }
        self.later_piece(offset)
    }

    fn later_piece(&self, offset: usize) -> Result<(&Piece, usize), Fault> {
        let after = self.rest.partition_point(|(begin, _)| *begin <= offset);
        let (begin, piece) = after
            .checked_sub(1)
            .and_then(|last| self.rest.get(last))
            .ok_or(Fault)?;
        Ok((piece, offset.checked_sub(*begin).ok_or(Fault)?))
    }
}

macro_rules! load_and_store {
    ($load:ident, $store:ident, $ty:ty) => {
        #[inline]
        fn $load(&self, offset: usize) -> Result<$ty, Fault> {
            let (piece, offset) = self.piece(offset)?;
            piece.$load(offset)
        }

        #[inline]
        fn $store(&self, offset: usize, value: $ty) -> Result<(), Fault> {
            let (piece, offset) = self.piece(offset)?;
            piece.$store(offset, value)
        }
    };
}

impl Area for Ring {
    load_and_store!(load_u16, store_u16, u16);
    load_and_store!(load_u32, store_u32, u32);
    load_and_store!(load_u64, store_u64, u64);

    #[inline]
    fn read_barrier(&self) {
        smp_mb(Read);
    }

    #[inline]
    fn write_barrier(&self) {
        smp_mb(Write);
    }

    #[inline]
    fn full_barrier(&self) {
        smp_mb(Full);
    }
}
