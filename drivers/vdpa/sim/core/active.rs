// SPDX-License-Identifier: GPL-2.0

//! What of the device's state a running queue has to know: in words that are read without a lock.

use kernel::sync::atomic::{
    ordering::{
        Acquire,
        Relaxed,
        Release, //
    },
    Atomic, //
};
use vdpa::{
    Features,
    Status, //
};

/// The state of the device as a whole. Changed with the device's control lock held, but for
/// [`need_reset`](Self::need_reset).
pub(crate) struct Active {
    status: Atomic<u32>,
    features: Atomic<u64>,
    suspended: Atomic<bool>,
}

impl Active {
    pub(crate) const fn new() -> Self {
        Self {
            status: Atomic::new(0),
            features: Atomic::new(0),
            suspended: Atomic::new(false),
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status::from_bits(u8::try_from(self.status.load(Relaxed)).unwrap_or(u8::MAX))
    }

    /// Whether queues are processed.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        let status = self.status.load(Acquire);
        u8::try_from(status).is_ok_and(|bits| Status::from_bits(bits).driver_ok())
            && !self.suspended.load(Acquire)
    }

    /// Sets the status; only a reset takes away that one is needed.
    pub(crate) fn set_status(&self, status: Status) {
        let mut old = self.status.load(Relaxed);
        loop {
            let kept = old & u32::from(Status::NEEDS_RESET.bits());
            match self
                .status
                .cmpxchg(old, u32::from(status.bits()) | kept, Release)
            {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// The device needs a reset. Says whether that is new. Any context.
    pub(crate) fn need_reset(&self) -> bool {
        let bit = u32::from(Status::NEEDS_RESET.bits());
        let driver_ok = u32::from(Status::DRIVER_OK.bits());
        let mut old = self.status.load(Relaxed);
        loop {
            if old & bit != 0 || old & driver_ok == 0 {
                return false;
            }
            match self.status.cmpxchg(old, old | bit, Relaxed) {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
    }

    #[inline]
    pub(crate) fn features(&self) -> Features {
        Features::from_bits(self.features.load(Relaxed))
    }

    pub(crate) fn set_features(&self, features: Features) {
        self.features.store(features.bits(), Relaxed);
    }

    pub(crate) fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Release);
    }

    /// Queues are not processed any more.
    pub(crate) fn stop(&self) {
        self.status.store(0, Release);
    }

    pub(crate) fn reset(&self) {
        self.status.store(0, Release);
        self.features.store(0, Relaxed);
        self.suspended.store(false, Release);
    }
}
