// SPDX-License-Identifier: GPL-2.0

//! How a driver in the kernel lets a device reach its memory.
//!
//! The device reaches all of it as long as the driver has a ring. Mapping a buffer gives its physical
//! address, and unmapping it nothing to do.

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

/// The rings of drivers in the kernel, by number.
pub struct Window {
    rings: Atomic<u64>,
}

impl Window {
    pub(crate) const fn new() -> Self {
        Self {
            rings: Atomic::new(0),
        }
    }

    /// Whether there are any.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.rings.load(Relaxed) != 0
    }

    /// There is one more.
    pub fn add_ring(&self) {
        self.rings.fetch_add(1, Relaxed);
    }

    /// There is one less: the device must have stopped using it.
    pub fn remove_ring(&self) {
        self.rings.fetch_sub(1, Relaxed);
    }
}
