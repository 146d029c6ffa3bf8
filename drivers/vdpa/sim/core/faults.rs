// SPDX-License-Identifier: GPL-2.0

//! What can be made to go wrong with a device, to see what its driver does.
//!
//! `/sys/kernel/debug/vdpa_sim_net/DEVICE/` has a file for each; see
//! `Documentation/ABI/debugfs-vdpa_sim`.

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

/// No queue.
const NONE: u32 = u32::MAX;

/// What goes wrong with a device.
pub struct Faults {
    stalled_queue: Atomic<u32>,
    delay_ms: Atomic<u32>,
    failing_maps: Atomic<u32>,
}

impl Faults {
    pub(crate) const fn new() -> Self {
        Self {
            stalled_queue: Atomic::new(NONE),
            delay_ms: Atomic::new(0),
            failing_maps: Atomic::new(0),
        }
    }

    /// Stops the processing of one queue, or of none.
    pub fn stall(&self, queue: Option<u16>) {
        self.stalled_queue
            .store(queue.map_or(NONE, u32::from), Relaxed);
    }

    /// The queue that is not processed.
    pub fn stalled(&self) -> Option<u16> {
        u16::try_from(self.stalled_queue.load(Relaxed)).ok()
    }

    /// Whether a queue is to be left as it is.
    #[inline]
    pub fn is_stalled(&self, queue: usize) -> bool {
        let stalled = self.stalled_queue.load(Relaxed);
        stalled != NONE && u32::try_from(queue).is_ok_and(|queue| queue == stalled)
    }

    /// Waits for so many milliseconds before anything is done.
    pub fn set_delay_ms(&self, delay: u32) {
        self.delay_ms.store(delay, Relaxed);
    }

    /// How long to wait before anything is done.
    #[inline]
    pub fn delay_ms(&self) -> u32 {
        self.delay_ms.load(Relaxed)
    }

    /// Lets so many of the next changes of what is mapped fail with `ENOMEM`.
    pub fn fail_maps(&self, count: u32) {
        self.failing_maps.store(count, Relaxed);
    }

    /// How many are to fail.
    pub fn failing_maps(&self) -> u32 {
        self.failing_maps.load(Relaxed)
    }

    /// Whether this one is to fail.
    pub(crate) fn fails_map(&self) -> bool {
        let mut left = self.failing_maps.load(Relaxed);
        while let Some(next) = left.checked_sub(1) {
            match self.failing_maps.cmpxchg(left, next, Relaxed) {
                Ok(_) => return true,
                Err(now) => left = now,
            }
        }
        false
    }
}
