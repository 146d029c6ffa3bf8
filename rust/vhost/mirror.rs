// SPDX-License-Identifier: GPL-2.0

//! The contents of an address space in the form in which devices are told of it as a whole.
//!
//! C header: [`include/linux/vhost_iotlb.h`](srctree/include/linux/vhost_iotlb.h)

use crate::region::{
    Piece,
    Region, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};
use vdpa::{
    Iotlb,
    Permissions, //
};
use vdpa_bindings as bindings;

/// A `struct vhost_iotlb` of our own.
///
/// # Invariants
///
/// It is initialised, and its entries do not overlap.
pub(crate) struct Mirror(Pin<KBox<Opaque<bindings::vhost_iotlb>>>);

// SAFETY: It is memory that is only changed through an exclusive reference.
unsafe impl Send for Mirror {}
// SAFETY: As above.
unsafe impl Sync for Mirror {}

impl Mirror {
    /// An empty one.
    pub(crate) fn new() -> Result<Self> {
        // INVARIANT: The function initialises it.
        Ok(Self(KBox::pin_init(
            Opaque::ffi_init(|slot: *mut bindings::vhost_iotlb| {
                // SAFETY: `slot` is valid for writes, and pinned. Whoever adds entries limits them.
                unsafe { bindings::vhost_iotlb_init(slot, u32::MAX, 0) }
            }),
            GFP_KERNEL,
        )?))
    }

    /// To be shown to a device.
    pub(crate) fn iotlb(&self) -> &Iotlb {
        // SAFETY: By the type invariants; it does not change while it is borrowed. Its entries are
        // those of regions, which stay until the device was told of others.
        unsafe { Iotlb::from_raw(self.0.get()) }
    }

    /// Adds a region, or nothing of it: fails with `ENOMEM`. It must not overlap others.
    pub(crate) fn add(&mut self, region: &Region) -> Result {
        let added =
            region.each_piece(|piece| self.add_piece(piece, region.permissions, piece.size));
        if added.is_err() {
            self.remove(region);
        }
        added
    }

    /// Adds the first `size` bytes of a piece.
    fn add_piece(&mut self, piece: Piece, permissions: Permissions, size: u64) -> Result {
        let last = piece
            .iova
            .checked_add(size.checked_sub(1).ok_or(EINVAL)?)
            .ok_or(EINVAL)?;
        // SAFETY: By the type invariants.
        to_result(unsafe {
            bindings::vhost_iotlb_add_range_ctx(
                self.0.get(),
                piece.iova,
                last,
                piece.address,
                permissions.bits(),
                piece.opaque,
            )
        })
    }

    /// Removes a region that was added.
    pub(crate) fn remove(&mut self, region: &Region) {
        // SAFETY: By the type invariants.
        unsafe { bindings::vhost_iotlb_del_range(self.0.get(), region.first, region.last) };
    }

    /// Sees to it that no entry reaches over `at`. Fails with `ENOMEM`, and then nothing changes.
    pub(crate) fn split(&mut self, at: u64) -> Result {
        // SAFETY: By the type invariants.
        let entry = unsafe { bindings::vhost_iotlb_itree_first(self.0.get(), at, at) };
        // SAFETY: The function gives null or a valid entry.
        let Some(old) = (unsafe { entry.as_ref() }) else {
            return Ok(());
        };
        let left = at.wrapping_sub(old.start);
        if left == 0 {
            return Ok(());
        }
        let permissions = Permissions::from_bits(old.perm);
        let piece = Piece {
            iova: old.start,
            size: old.size,
            address: old.addr,
            opaque: old.opaque,
        };
        let rest = Piece {
            iova: at,
            size: piece.size.wrapping_sub(left),
            address: piece.address.wrapping_add(left),
            opaque: piece.opaque,
        };
        self.add_piece(piece, permissions, left)?;
        if let Err(error) = self.add_piece(rest, permissions, rest.size) {
            // SAFETY: The list ends with what was added last, the left half.
            unsafe {
                let link = (*self.0.get()).list.prev;
                let added = kernel::container_of!(link, bindings::vhost_iotlb_map, link);
                bindings::vhost_iotlb_map_free(self.0.get(), added);
            }
            return Err(error);
        }
        // SAFETY: It is an entry, and not used afterwards.
        unsafe { bindings::vhost_iotlb_map_free(self.0.get(), entry) };
        Ok(())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::vhost_iotlb_reset(self.0.get()) };
    }
}
