// SPDX-License-Identifier: GPL-2.0

//! Allocation of small integers.
//!
//! C header: [`include/linux/idr.h`](srctree/include/linux/idr.h)

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// A `struct ida`: hands out the smallest free integers.
///
/// # Invariants
///
/// Represents an initialised `struct ida`.
#[pin_data(PinnedDrop)]
pub struct Ida {
    #[pin]
    ida: Opaque<bindings::ida>,
}

// SAFETY: The C functions lock it themselves.
unsafe impl Send for Ida {}
// SAFETY: As above.
unsafe impl Sync for Ida {}

impl Ida {
    /// An allocator with every integer free.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: The helper initialises it.
            // SAFETY: `slot` is valid for writes.
            ida <- Opaque::ffi_init(|slot| unsafe { vdpa_bindings::ida_init(slot) }),
        })
    }

    /// Takes the smallest free integer from 0 to `i32::MAX`. May sleep.
    ///
    /// Fails with `ENOMEM`, or `ENOSPC` when none is free.
    pub fn alloc(&self) -> Result<u32> {
        // SAFETY: By the type invariant.
        let id = unsafe {
            bindings::ida_alloc_range(
                self.ida.get(),
                0,
                i32::MAX.unsigned_abs(),
                bindings::GFP_KERNEL,
            )
        };
        to_result(id)?;
        Ok(id.unsigned_abs())
    }

    /// Gives `id` back. It must have come from [`alloc`](Ida::alloc): the kernel warns if it is
    /// free already.
    pub fn free(&self, id: u32) {
        // SAFETY: By the type invariant.
        unsafe { bindings::ida_free(self.ida.get(), id) };
    }
}

#[pinned_drop]
impl PinnedDrop for Ida {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant; nobody uses it any more.
        unsafe { bindings::ida_destroy(self.ida.get()) };
    }
}
