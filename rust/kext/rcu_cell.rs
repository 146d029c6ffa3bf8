// SPDX-License-Identifier: GPL-2.0

//! A value that is read often, in any context and without waiting, and rarely replaced.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)
//!
//! # Examples
//!
//! ```ignore
//! let peer = RcuCell::new(None);
//! let old = peer.replace(Some(KBox::new(Peer { mtu: 1500 }, GFP_KERNEL)?));
//! assert!(old.is_none());
//! let mtu = peer.read(|peer| peer.map(|peer| peer.mtu));
//! ```
//!
//! # Memory ordering
//!
//! Terms are those of the kernel's memory model (`tools/memory-model/`).
//!
//! - *A reader sees the value complete.* `replace` puts the pointer in place by a fully ordered
//!   exchange, which is at least a release; `get` loads it with acquire. C relies on the address
//!   dependency in `rcu_dereference()` instead. Rust does not promise to keep one: a compiler that
//!   works out which pointer it must be may drop it. The acquire costs nothing on x86, and one
//!   `ldapr` or `ldar` on arm64.
//! - *Who gets the old value sees it complete*, and after everything that readers did with it. The
//!   exchange is an acquire too, and reads the pointer that another `replace` released. A reader
//!   that saw the old pointer loaded it before the exchange, so its critical section began before
//!   the grace period that follows, which then ends after the section does and orders what comes
//!   later after it. A section that begins after the start of the grace period sees the exchange.
//! - *Each value has one owner*: of all who replace at the same time, each exchange returns what
//!   another one, or `new`, put in.
//! - *Dropping the cell needs no grace period*: references to the value borrow the cell, and who has
//!   it to himself comes after all of them, by whatever gave it to him.

use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full, //
            },
            Atomic, //
        },
        rcu, //
    },
};

/// An optional value that is read under RCU.
///
/// [`read`](Self::read) and [`get`](Self::get) work in any context. As everywhere in the kernel, the
/// types do not keep a reader from sleeping before it leaves its critical section, and it must not:
/// on a kernel without preemption the value could be gone afterwards. That includes
/// [`replace`](Self::replace), for any cell.
///
/// # Invariants
///
/// - `value` is null, or comes from [`KBox::into_raw`] and is owned by the cell.
/// - A pointer that was in `value` stays valid, and nobody has a mutable reference to what it points
///   to, until one RCU grace period after it was replaced.
pub struct RcuCell<T> {
    value: Atomic<*mut T>,
    // The pointer alone would make it `Send` and `Sync` for any `T`.
    _owns: PhantomData<*mut T>,
}

// SAFETY: The cell owns the value as a `KBox` does.
unsafe impl<T: Send> Send for RcuCell<T> {}
// SAFETY: Readers in several threads share `&T`, and any thread can take the value by `replace`.
unsafe impl<T: Send + Sync> Sync for RcuCell<T> {}

impl<T> RcuCell<T> {
    /// A cell with this value in it.
    pub fn new(value: Option<KBox<T>>) -> Self {
        // INVARIANT: `into_raw` gives null or an owned pointer, which was never in a cell.
        Self {
            value: Atomic::new(into_raw(value)),
            _owns: PhantomData,
        }
    }

    /// A cell without a value.
    pub const fn empty() -> Self {
        // INVARIANT: The pointer is null.
        Self {
            value: Atomic::new(ptr::null_mut()),
            _owns: PhantomData,
        }
    }

    /// The value, for as long as the guard is held.
    #[inline]
    pub fn get<'a>(&'a self, _guard: &'a rcu::Guard) -> Option<&'a T> {
        // SAFETY: By the type invariants the pointer is null or valid, and stays so while the guard
        // is held, since a grace period does not end before that. Only shared references exist.
        unsafe { self.value.load(Acquire).as_ref() }
    }

    /// Calls `reader` with the value, in a read-side critical section: it must not sleep.
    #[inline]
    pub fn read<R>(&self, reader: impl FnOnce(Option<&T>) -> R) -> R {
        let guard = rcu::read_lock();
        reader(self.get(&guard))
    }

    /// Exchanges the value. Readers see the new one from now on, and when this returns, none sees
    /// the old one any more.
    ///
    /// If there was a value, waits for an expedited grace period: may sleep, and interrupts all
    /// CPUs, so it is for what happens rarely. Any number of callers may do this at the same time.
    pub fn replace(&self, new: Option<KBox<T>>) -> Option<KBox<T>> {
        // INVARIANT: The new pointer is null or owned, and nobody else has a reference.
        let old = self.value.xchg(into_raw(new), Full);
        if old.is_null() {
            return None;
        }
        // SAFETY: No requirements but process context.
        unsafe { bindings::synchronize_rcu_expedited() };
        // SAFETY: By the type invariants the pointer comes from `into_raw`. The exchange gave it to
        // us alone, and readers that saw it have left, as a grace period is over.
        Some(unsafe { KBox::from_raw(old) })
    }

    /// The value, without RCU: the exclusive reference shows that there is no reader.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: By the type invariants the pointer is null or valid; what `get` returned borrowed
        // the cell, so it is gone.
        unsafe { self.value.get_mut().as_mut() }
    }
}

fn into_raw<T>(value: Option<KBox<T>>) -> *mut T {
    value.map_or(ptr::null_mut(), KBox::into_raw)
}

impl<T> Default for RcuCell<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T> Drop for RcuCell<T> {
    /// Drops the value at once: there are no readers.
    fn drop(&mut self) {
        let value = *self.value.get_mut();
        if !value.is_null() {
            // SAFETY: By the type invariants the cell owns the pointer; what `get` returned borrowed
            // the cell, so it is gone.
            drop(unsafe { KBox::from_raw(value) });
        }
    }
}

#[kunit_tests(rust_rcu_cell)]
mod tests {
    use super::*;
    use kernel::{
        sync::{
            atomic::ordering::Relaxed,
            Arc,
            Completion, //
        },
        workqueue, //
    };

    /// Counts itself in its word when it is dropped.
    struct Counted {
        drops: Arc<Atomic<u32>>,
        number: u32,
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.drops.fetch_add(1, Relaxed);
        }
    }

    fn counted(drops: &Arc<Atomic<u32>>, number: u32) -> Result<KBox<Counted>> {
        let drops = drops.clone();
        Ok(KBox::new(Counted { drops, number }, GFP_KERNEL)?)
    }

    fn number(cell: &RcuCell<Counted>) -> Option<u32> {
        cell.read(|value| value.map(|value| value.number))
    }

    #[test]
    fn replace_returns_what_was_there() -> Result {
        let drops = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let cell = RcuCell::empty();
        assert_eq!(number(&cell), None);
        assert!(cell.replace(None).is_none());
        assert!(cell.replace(Some(counted(&drops, 1)?)).is_none());
        assert_eq!(number(&cell), Some(1));
        let old = cell.replace(Some(counted(&drops, 2)?));
        assert_eq!(old.as_ref().map(|old| old.number), Some(1));
        assert_eq!(number(&cell), Some(2));
        assert_eq!(drops.load(Relaxed), 0);
        drop(old);
        assert_eq!(drops.load(Relaxed), 1);
        let last = cell.replace(None);
        assert_eq!(last.as_ref().map(|last| last.number), Some(2));
        assert_eq!(number(&cell), None);
        Ok(())
    }

    #[test]
    fn the_value_goes_with_the_cell() -> Result {
        let drops = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let mut cell = RcuCell::new(Some(counted(&drops, 1)?));
        if let Some(value) = cell.get_mut() {
            value.number = 7;
        }
        assert_eq!(number(&cell), Some(7));
        drop(cell);
        assert_eq!(drops.load(Relaxed), 1);
        drop(RcuCell::<Counted>::empty());
        assert_eq!(drops.load(Relaxed), 1);
        Ok(())
    }

    #[pin_data]
    struct Meeting {
        cell: RcuCell<Counted>,
        drops: Arc<Atomic<u32>>,
        left: Atomic<u32>,
        /// How often the value was found dropped by a reader.
        stale: Atomic<u32>,
        #[pin]
        entered: Completion,
        #[pin]
        over: Completion,
    }

    /// A reader that leaves only some time after the value was replaced.
    fn linger(meeting: &Meeting) {
        // In case there is one CPU, and whoever replaces the value cannot run meanwhile.
        const PATIENCE: u32 = 100_000_000;

        let guard = rcu::read_lock();
        let value = meeting.cell.get(&guard);
        meeting.entered.complete_all();
        let mut turns = 0;
        while meeting.cell.get(&guard).is_some() && turns < PATIENCE {
            core::hint::spin_loop();
            turns += 1;
        }
        for _ in 0..1_000_000 {
            core::hint::spin_loop();
        }
        let dropped = meeting.drops.load(Relaxed) != 0;
        if dropped || value.map(|value| value.number) != Some(1) {
            meeting.stale.fetch_add(1, Relaxed);
        }
        meeting.left.store(1, Relaxed);
        drop(guard);
        meeting.over.complete_all();
    }

    #[test]
    fn replace_waits_for_readers() -> Result {
        let drops = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let cell = RcuCell::new(Some(counted(&drops, 1)?));
        let seen = drops.clone();
        let meeting = Arc::pin_init(
            pin_init!(Meeting {
                cell,
                drops: seen,
                left: Atomic::new(0),
                stale: Atomic::new(0),
                entered <- Completion::new(),
                over <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        let reader = meeting.clone();
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || linger(&reader))?;
        meeting.entered.wait_for_completion();
        let old = meeting.cell.replace(None);
        let left = meeting.left.load(Relaxed);
        drop(old);
        meeting.over.wait_for_completion();
        assert_eq!(left, 1);
        assert_eq!(meeting.stale.load(Relaxed), 0);
        assert_eq!(drops.load(Relaxed), 1);
        Ok(())
    }
}
