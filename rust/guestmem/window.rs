// SPDX-License-Identifier: GPL-2.0

//! How a driver in the kernel lets a device reach its memory.
//!
//! The device reaches all of it as long as the driver has a ring. Mapping a buffer gives its physical
//! address, and unmapping it nothing to do.

use crate::session::MapId;
use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

/// The rings of drivers in the kernel, by number.
pub struct Window {
    rings: Atomic<u64>,
    /// The [`MapId`]: what was resolved before a ring went is not used any more.
    id: Atomic<u64>,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            rings: Atomic::new(0),
            id: Atomic::new(MapId::new().get()),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> MapId {
        MapId::from_raw(self.id.load(Relaxed))
    }

    /// Whether there are any.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.rings.load(Relaxed) != 0
    }

    /// There is one more.
    pub(crate) fn add_ring(&self) {
        self.rings.fetch_add(1, Relaxed);
    }

    /// There is one less: the device must have stopped using it.
    pub(crate) fn remove_ring(&self) {
        self.id.store(MapId::new().get(), Relaxed);
        self.rings.fetch_sub(1, Relaxed);
    }
}
