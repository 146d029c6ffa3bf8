// SPDX-License-Identifier: GPL-2.0

//! Reader/writer semaphores: sleeping locks with many readers or one writer.
//!
//! A task must not take a semaphore again while it holds it, not even for reading twice: a writer
//! that waits in between would block it.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A `struct rw_semaphore`, in our own or in a C structure.
///
/// # Invariants
///
/// Represents an initialised semaphore that is never moved.
#[repr(transparent)]
#[pin_data]
pub struct RawRwSemaphore {
    #[pin]
    sem: Opaque<bindings::rw_semaphore>,
}

// SAFETY: The semaphore may be used from any thread.
unsafe impl Send for RawRwSemaphore {}
// SAFETY: As above.
unsafe impl Sync for RawRwSemaphore {}

impl RawRwSemaphore {
    /// Creates an unlocked semaphore; `name` and `key` are for lockdep.
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: The slot is pinned.
            sem <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes; the name and the key are static.
                unsafe { bindings::__init_rwsem(slot, name.as_char_ptr(), key.as_ptr()) }
            }),
        })
    }

    /// # Safety
    ///
    /// `ptr` must point to an initialised semaphore that stays valid and in place during `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::rw_semaphore) -> &'a Self {
        // SAFETY: By the safety requirements; the type is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// Waits, uninterruptibly, until no writer holds the semaphore.
    pub fn read(&self) -> RawReadGuard<'_> {
        // SAFETY: By the type invariant.
        unsafe { bindings::down_read(self.sem.get()) };
        RawReadGuard {
            lock: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Takes the semaphore for reading if that can be done without waiting.
    pub fn try_read(&self) -> Option<RawReadGuard<'_>> {
        // SAFETY: By the type invariant.
        let taken = unsafe { bindings::down_read_trylock(self.sem.get()) } != 0;
        // Not `then_some()`: a guard that is dropped gives the semaphore back.
        taken.then(|| RawReadGuard {
            lock: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Waits, uninterruptibly, until nobody else holds the semaphore.
    pub fn write(&self) -> RawWriteGuard<'_> {
        // SAFETY: By the type invariant.
        unsafe { bindings::down_write(self.sem.get()) };
        RawWriteGuard {
            lock: self,
            _not_send: NotThreadSafe,
        }
    }
}

/// A semaphore that this task holds for reading.
#[must_use = "the semaphore is released when the guard is dropped"]
pub struct RawReadGuard<'a> {
    lock: &'a RawRwSemaphore,
    _not_send: NotThreadSafe,
}

impl Drop for RawReadGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: The guard stands for a semaphore that this task holds for reading.
        unsafe { bindings::up_read(self.lock.sem.get()) };
    }
}

/// A semaphore that this task holds for writing.
#[must_use = "the semaphore is released when the guard is dropped"]
pub struct RawWriteGuard<'a> {
    lock: &'a RawRwSemaphore,
    _not_send: NotThreadSafe,
}

impl Drop for RawWriteGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: The guard stands for a semaphore that this task holds for writing.
        unsafe { bindings::up_write(self.lock.sem.get()) };
    }
}

/// A value that a semaphore protects. Both guards may be held over anything that sleeps.
#[pin_data]
pub struct RwSemaphore<T> {
    #[pin]
    sem: RawRwSemaphore,
    #[pin]
    _pin: PhantomPinned,
    data: UnsafeCell<T>,
}

// SAFETY: The semaphore hands out `&mut T` in any thread.
unsafe impl<T: Send> Send for RwSemaphore<T> {}
// SAFETY: As above, and readers in several threads share `&T`.
unsafe impl<T: Send + Sync> Sync for RwSemaphore<T> {}

impl<T> RwSemaphore<T> {
    /// Creates an unlocked semaphore; `name` and `key` are for lockdep. See also [`new_rwsem!`].
    pub fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            sem <- RawRwSemaphore::new(name, key),
            _pin: PhantomPinned,
            data: UnsafeCell::new(data),
        })
    }

    /// Waits, uninterruptibly, until no writer holds the semaphore.
    pub fn read(&self) -> ReadGuard<'_, T> {
        ReadGuard {
            _held: self.sem.read(),
            lock: self,
        }
    }

    /// Takes the semaphore for reading if that can be done without waiting.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        Some(ReadGuard {
            _held: self.sem.try_read()?,
            lock: self,
        })
    }

    /// Waits, uninterruptibly, until nobody else holds the semaphore.
    pub fn write(&self) -> WriteGuard<'_, T> {
        WriteGuard {
            _held: self.sem.write(),
            lock: self,
        }
    }
}

// The guards do not hold the references that they give: those would count as used until the guard
// is gone, after the semaphore was released.

/// Shared access to the value of an [`RwSemaphore`].
#[must_use = "the semaphore is released when the guard is dropped"]
pub struct ReadGuard<'a, T> {
    lock: &'a RwSemaphore<T>,
    _held: RawReadGuard<'a>,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: While it is held for reading, there are only shared references.
        unsafe { &*self.lock.data.get() }
    }
}

/// Exclusive access to the value of an [`RwSemaphore`].
#[must_use = "the semaphore is released when the guard is dropped"]
pub struct WriteGuard<'a, T> {
    lock: &'a RwSemaphore<T>,
    _held: RawWriteGuard<'a>,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: While it is held for writing, nobody else has a reference.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: While it is held for writing, nobody else has a reference.
        unsafe { &mut *self.lock.data.get() }
    }
}

/// Creates an [`RwSemaphore`] with a lock class of its own.
#[macro_export]
macro_rules! new_rwsem {
    ($data:expr, $name:literal) => {
        $crate::rwsem::RwSemaphore::new($data, $name, ::kernel::static_lock_class!())
    };
}
pub use new_rwsem;
