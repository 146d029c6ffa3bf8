// SPDX-License-Identifier: GPL-2.0

//! A value that one context at a time may have, whatever context that is.
//!
//! A mutex cannot be taken in a soft interrupt, and nobody may sleep who holds a spinlock. What a
//! soft interrupt and a thread that sleeps (for example while it copies from user memory) share is
//! put into a [`Claim`]: the soft interrupt tries, and leaves its work to the holder if it fails.
//!
//! C header: [`include/linux/semaphore.h`](srctree/include/linux/semaphore.h)

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// A value that one context at a time may have.
///
/// # Invariants
///
/// `sem` is an initialised semaphore that is never moved, with a count of 1 while nobody has the
/// value and 0 otherwise.
#[pin_data]
pub struct Claim<T> {
    #[pin]
    sem: Opaque<bindings::semaphore>,
    value: UnsafeCell<T>,
}

// SAFETY: The semaphore hands out `&mut T` in any thread.
unsafe impl<T: Send> Send for Claim<T> {}
// SAFETY: As above; there are no shared references in several threads.
unsafe impl<T: Send> Sync for Claim<T> {}

impl<T> Claim<T> {
    /// A value that nobody has.
    pub fn new(value: T) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: The slot is pinned, and the count is 1.
            sem <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes.
                unsafe { vdpa_bindings::sema_init(slot, 1) }
            }),
            value: UnsafeCell::new(value),
        })
    }

    /// Takes the value if nobody has it. Any context.
    #[inline]
    pub fn try_take(&self) -> Option<Claimed<'_, T>> {
        // SAFETY: By the type invariants.
        let taken = unsafe { bindings::down_trylock(self.sem.get()) } == 0;
        // Not `then_some()`: a guard that is dropped gives the value back.
        taken.then(|| Claimed::new(self))
    }

    /// Takes the value; waits, uninterruptibly, while somebody has it.
    pub fn take(&self) -> Claimed<'_, T> {
        // SAFETY: By the type invariants.
        unsafe { bindings::down(self.sem.get()) };
        Claimed::new(self)
    }
}

/// The value of a [`Claim`], which goes back when this is dropped.
///
/// # Invariants
///
/// Nobody else has the value.
#[must_use = "the value goes back when the guard is dropped"]
pub struct Claimed<'a, T> {
    claim: &'a Claim<T>,
    // It may be shared between threads as `&mut T` may.
    _value: PhantomData<&'a mut T>,
}

impl<'a, T> Claimed<'a, T> {
    /// The caller has just taken the semaphore.
    #[inline]
    fn new(claim: &'a Claim<T>) -> Self {
        // INVARIANT: It says that nobody else has the value.
        Self {
            claim,
            _value: PhantomData,
        }
    }
}

impl<T> Deref for Claimed<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariants.
        unsafe { &*self.claim.value.get() }
    }
}

impl<T> DerefMut for Claimed<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type invariants.
        unsafe { &mut *self.claim.value.get() }
    }
}

impl<T> Drop for Claimed<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants of the claim; this gives back what was taken.
        unsafe { bindings::up(self.claim.sem.get()) };
    }
}
