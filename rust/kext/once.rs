// SPDX-License-Identifier: GPL-2.0

//! Static state that is initialised in place, once, when the module is loaded.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        ordering::{
            Acquire,
            Release, //
        },
        Atomic, //
    },
};

const EMPTY: u32 = 0;
const BUSY: u32 = 1;
const READY: u32 = 2;

/// A static that holds a pinned value from the first successful [`init`](StaticCell::init) on.
///
/// `kernel::sync::SetOnce` moves its value in, which locks cannot stand. The value is never
/// dropped: it has to be empty of anything that allocates when the module goes.
///
/// # Invariants
///
/// - `state` is [`READY`] if and only if `value` is initialised; it stays so.
/// - While `state` is [`BUSY`], one task has exclusive access to `value`.
pub struct StaticCell<T> {
    state: Atomic<u32>,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: The state word hands exclusive access to one task and shared access to all afterwards.
unsafe impl<T: Send + Sync> Sync for StaticCell<T> {}

impl<T> StaticCell<T> {
    /// An empty cell.
    pub const fn new() -> Self {
        // INVARIANT: The value is not initialised, and the state says so.
        Self {
            state: Atomic::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Initialises the value. Fails with `EBUSY` if that was done before, or with `init`'s error.
    pub fn init<E>(&'static self, init: impl PinInit<T, E>) -> Result
    where
        Error: From<E>,
    {
        self.state
            .cmpxchg(EMPTY, BUSY, Acquire)
            .map_err(|_| EBUSY)?;
        // SAFETY: By the type invariant this task has exclusive access. The place is static, so
        // the value is pinned; on failure the cell stays empty.
        match unsafe { pin_init::raw_try_init(self.value.get().cast(), init) } {
            Ok(()) => {
                // INVARIANT: The value is initialised.
                self.state.store(READY, Release);
                Ok(())
            }
            Err(e) => {
                // INVARIANT: The value is not initialised.
                self.state.store(EMPTY, Release);
                Err(e.into())
            }
        }
    }

    /// The value, or nothing if it was not initialised yet.
    pub fn get(&'static self) -> Option<Pin<&'static T>> {
        if self.state.load(Acquire) != READY {
            return None;
        }
        // SAFETY: By the type invariant the value is initialised and only shared from now on.
        Some(Pin::static_ref(unsafe { &*self.value.get().cast::<T>() }))
    }
}

impl<T> Default for StaticCell<T> {
    fn default() -> Self {
        Self::new()
    }
}
