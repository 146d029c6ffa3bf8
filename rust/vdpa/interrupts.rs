// SPDX-License-Identifier: GPL-2.0

//! Interrupts of a device, as a parent raises them.
//!
//! A bus driver gives the parent a function and a pointer for each virtqueue and for the
//! configuration space. Nothing of what follows from that is left to the implementer of a device:
//! [`Interrupts`] keeps the callbacks, forgets them at the right time, and waits until calls that had
//! begun are over. So [`Interrupts::raise`] is always safe to call.
//!
//! # How long a callback is valid
//!
//! Until the bus driver replaces it or resets the device, or the device is unregistered. Nobody tells
//! a parent that a driver leaves its device, so the driver does one of these before.
//!
//! The callback of a queue is not called either while the queue is not ready, and then may be
//! invalid already: `virtio_vdpa` makes a queue not ready and frees what the pointer points to,
//! without replacing the callback. It must not be forgotten because of that: `vhost_vdpa` makes
//! queues ready, not ready and ready again as user space wants it, and sets a callback only when
//! user space names another eventfd.
//!
//! So the rule for bus drivers is: who makes a queue ready has set its callback, or reset the device,
//! since it got the device and since it last freed what a callback points to. `virtio_vdpa` sets the
//! callback before each time it makes the queue ready. `vhost_vdpa` resets the device whenever it is
//! opened or closed, and in between frees nothing. For drivers in Rust,
//! [`driver::Adapter`](crate::driver::Adapter) removes all callbacks before they get the device and
//! after they left it, and [`CallbackGuard`](crate::CallbackGuard) its own before it frees what it
//! points to.

use crate::queue::QueueIndex;
use core::{
    cell::UnsafeCell,
    ptr, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        rcu,
        Arc,
        Mutex, //
    },
};
use kext::bottom_half::BottomHalves;
use vdpa_bindings as bindings;

/// There is a callback.
const SET: u32 = 1;
/// It may be called: the queue is ready.
const READY: u32 = 2;

#[derive(Clone, Copy)]
struct Callback {
    function: unsafe extern "C" fn(data: *mut c_void) -> bindings::irqreturn_t,
    data: *mut c_void,
}

/// # Invariants
///
/// - While [`SET`] is in `state`, `callback` is a callback of the bus driver and does not change.
/// - While [`READY`] is there too, it is valid, until one RCU grace period after one of the two was
///   cleared.
/// - `callback` is written by the owner of the update lock only, when the bit has been clear for a
///   grace period.
struct Slot {
    state: Atomic<u32>,
    callback: UnsafeCell<Option<Callback>>,
}

impl Slot {
    fn new(state: u32) -> Self {
        // INVARIANT: `SET` is not in it.
        Self {
            state: Atomic::new(state & !SET),
            callback: UnsafeCell::new(None),
        }
    }

    /// Any context.
    fn raise(&self) {
        if !self.is_enabled() {
            return;
        }
        // What the callback starts, for example a poll of the network, should run when it is over,
        // and not wait for the next interrupt.
        let _bottom_halves = BottomHalves::disable();
        let _guard = rcu::read_lock();
        if self.state.load(Acquire) != SET | READY {
            return;
        }
        // SAFETY: By the type invariants, as the bits were seen in this read-side critical section.
        let callback = unsafe { *self.callback.get() };
        if let Some(Callback { function, data }) = callback {
            // SAFETY: By the type invariants the callback is valid.
            unsafe { function(data) };
        }
    }

    /// Whether a call would reach the bus driver now. Any context.
    fn is_enabled(&self) -> bool {
        self.state.load(Relaxed) == SET | READY
    }

    /// Clears bits, and says whether calls may be running that saw them. With the update lock held.
    fn clear(&self, bits: u32) -> bool {
        let old = self.state.load(Relaxed);
        self.state.store(old & !bits, Relaxed);
        old & bits != 0 && old & SET != 0
    }

    /// With the update lock held.
    fn set(&self, bits: u32) {
        self.state.store(self.state.load(Relaxed) | bits, Release);
    }

    /// With the update lock held. May sleep.
    fn replace(&self, new: Option<Callback>) {
        if self.state.load(Relaxed) & SET != 0 {
            // SAFETY: Only the owner of the update lock writes it.
            let old = unsafe { *self.callback.get() };
            // VMMs that mask interrupts set the same callback over and over.
            if let (Some(old), Some(new)) = (old, new) {
                if ptr::fn_addr_eq(old.function, new.function) && old.data == new.data {
                    return;
                }
            }
            self.clear(SET);
            wait_for_calls();
        }
        // SAFETY: `SET` has been clear for a grace period, or was never set, and the caller has the
        // update lock.
        unsafe { *self.callback.get() = new };
        if new.is_some() {
            // INVARIANT: The callback is in place; the bus driver keeps it valid.
            self.set(SET);
        }
    }
}

/// Waits for calls that began before.
fn wait_for_calls() {
    // A VMM may wait for this, with its guest stopped: milliseconds matter more than the disturbance
    // of other CPUs.
    // SAFETY: No requirements but process context.
    unsafe { bindings::synchronize_rcu_expedited() };
}

#[pin_data]
struct Shared {
    /// Taken by those who change a slot.
    #[pin]
    update: Mutex<()>,
    queues: KVec<Slot>,
    config: Slot,
}

// SAFETY: The callbacks may be called from any thread, and the slots say who may change them.
unsafe impl Send for Shared {}
// SAFETY: As above.
unsafe impl Sync for Shared {}

/// The interrupts of a device; a handle that can be cloned and kept anywhere.
#[derive(Clone)]
pub struct Interrupts(Arc<Shared>);

impl Interrupts {
    /// Nothing is set for any queue yet.
    pub(crate) fn new(queue_count: u16) -> Result<Self> {
        let mut queues = KVec::with_capacity(usize::from(queue_count), GFP_KERNEL)?;
        for _ in 0..queue_count {
            queues.push(Slot::new(0), GFP_KERNEL)?;
        }
        Ok(Self(Arc::pin_init(
            pin_init!(Shared {
                update <- new_mutex!((), "vdpa_interrupts"),
                queues,
                // No status stops this one.
                config: Slot::new(READY),
            }),
            GFP_KERNEL,
        )?))
    }

    /// Raises the interrupt of a queue, if the bus driver wants it and the queue is ready. Any
    /// context, but from within the `kick_vq` operation only if the driver is in the kernel.
    ///
    /// The bus driver's callback runs before this returns, with bottom halves disabled; those that
    /// it starts may run before this returns, too. All of that may kick the device again: no lock
    /// may be held that `kick_vq` takes. And a kick may come from the signal of an eventfd, in which
    /// case the kernel refuses to signal another one, with a warning, and the interrupt is lost. A
    /// device that answers such a kick at once has to do so from a work item or a thread.
    #[inline]
    pub fn raise(&self, queue: QueueIndex) {
        if let Some(slot) = self.0.queues.get(queue.to_usize()) {
            slot.raise();
        }
    }

    /// Tells the bus driver that the configuration space changed, if it wants to know. Any context.
    pub fn raise_config(&self) {
        self.0.config.raise();
    }

    /// Whether the bus driver wants the interrupt of a queue, and the queue is ready.
    pub fn is_enabled(&self, queue: QueueIndex) -> bool {
        self.0
            .queues
            .get(queue.to_usize())
            .is_some_and(Slot::is_enabled)
    }

    /// # Safety
    ///
    /// What `raw` holds must stay valid until it is replaced, or the device is reset or
    /// unregistered, each by a function here. In between, it need not be valid while the queue is
    /// not ready.
    pub(crate) unsafe fn set_queue(&self, queue: QueueIndex, raw: &bindings::vdpa_callback) {
        if let Some(slot) = self.0.queues.get(queue.to_usize()) {
            let _guard = self.0.update.lock();
            slot.replace(from_raw(raw));
        }
    }

    /// # Safety
    ///
    /// What `raw` holds must stay valid until it is replaced, or the device is reset or
    /// unregistered, each by a function here.
    pub(crate) unsafe fn set_config(&self, raw: &bindings::vdpa_callback) {
        let _guard = self.0.update.lock();
        self.0.config.replace(from_raw(raw));
    }

    /// Allows or forbids the interrupt of a queue. When it is forbidden, no call is running after
    /// this. May sleep.
    ///
    /// The callback stays, see the [module](self)'s documentation.
    pub(crate) fn set_ready(&self, queue: QueueIndex, ready: bool) {
        if let Some(slot) = self.0.queues.get(queue.to_usize()) {
            let _guard = self.0.update.lock();
            if ready {
                slot.set(READY);
            } else if slot.clear(READY) {
                wait_for_calls();
            }
        }
    }

    /// Forgets all callbacks; no call is running after this. May sleep.
    pub(crate) fn reset(&self) {
        let _guard = self.0.update.lock();
        let mut wait = self.0.config.clear(SET);
        for slot in &self.0.queues {
            wait |= slot.clear(SET | READY);
        }
        if wait {
            wait_for_calls();
        }
    }
}

/// The `trigger` is left out: signalling it does what the callback does.
fn from_raw(raw: &bindings::vdpa_callback) -> Option<Callback> {
    Some(Callback {
        function: raw.callback?,
        data: raw.private,
    })
}

#[kunit_tests(rvdpa_interrupts)]
mod tests {
    use super::*;
    use kernel::sync::atomic::Atomic;

    /// # Safety
    ///
    /// `data` must be an `Atomic<u32>`.
    unsafe extern "C" fn count(data: *mut c_void) -> bindings::irqreturn_t {
        // SAFETY: By the safety requirements.
        unsafe { &*data.cast::<Atomic<u32>>() }.fetch_add(1, Relaxed);
        bindings::irqreturn_t::IRQ_HANDLED
    }

    fn callback(counter: &Atomic<u32>) -> bindings::vdpa_callback {
        bindings::vdpa_callback {
            callback: Some(count),
            private: ptr::from_ref(counter).cast_mut().cast(),
            trigger: ptr::null_mut(),
        }
    }

    #[test]
    fn raised_only_while_set_and_ready() -> Result {
        let (counter, queue) = (Atomic::new(0), QueueIndex::new(1));
        let interrupts = Interrupts::new(2)?;
        interrupts.raise(queue);
        interrupts.set_ready(queue, true);
        interrupts.raise(queue);
        assert_eq!(counter.load(Relaxed), 0);
        // SAFETY: The counter outlives `interrupts`' use of it.
        unsafe { interrupts.set_queue(queue, &callback(&counter)) };
        interrupts.raise(queue);
        interrupts.raise(QueueIndex::new(0));
        interrupts.raise(QueueIndex::new(2));
        assert_eq!(counter.load(Relaxed), 1);
        interrupts.set_ready(queue, false);
        interrupts.raise(queue);
        interrupts.set_ready(queue, true);
        interrupts.raise(queue);
        assert_eq!(counter.load(Relaxed), 2);
        interrupts.reset();
        interrupts.set_ready(queue, true);
        interrupts.raise(queue);
        assert_eq!(counter.load(Relaxed), 2);
        Ok(())
    }

    #[test]
    fn config_needs_no_ready_queue() -> Result {
        let counter = Atomic::new(0);
        let interrupts = Interrupts::new(1)?;
        // SAFETY: The counter outlives `interrupts`' use of it.
        unsafe { interrupts.set_config(&callback(&counter)) };
        interrupts.raise_config();
        // SAFETY: Nothing has to stay valid.
        unsafe { interrupts.set_config(&bindings::vdpa_callback::default()) };
        interrupts.raise_config();
        // SAFETY: As above.
        unsafe { interrupts.set_config(&callback(&counter)) };
        interrupts.reset();
        interrupts.raise_config();
        assert_eq!(counter.load(Relaxed), 1);
        Ok(())
    }

    /// # Safety
    ///
    /// `data` must be an `Atomic<u32>`.
    unsafe extern "C" fn context(data: *mut c_void) -> bindings::irqreturn_t {
        // SAFETY: No requirements.
        let enabled = unsafe { bindings::local_bh_try_disable() };
        if enabled {
            // SAFETY: They were just disabled.
            unsafe { bindings::local_bh_enable() };
        }
        // SAFETY: By the safety requirements.
        unsafe { &*data.cast::<Atomic<u32>>() }.store(1 + u32::from(enabled), Relaxed);
        bindings::irqreturn_t::IRQ_HANDLED
    }

    #[test]
    fn bottom_halves_are_disabled_in_a_callback() -> Result {
        let seen = Atomic::new(0);
        let interrupts = Interrupts::new(1)?;
        let mut raw = callback(&seen);
        raw.callback = Some(context);
        // SAFETY: The word outlives `interrupts`' use of it.
        unsafe { interrupts.set_config(&raw) };
        interrupts.raise_config();
        assert_eq!(seen.load(Relaxed), 1);
        // And enabled again afterwards.
        // SAFETY: The pointer is that of an `Atomic<u32>`.
        unsafe { context(raw.private) };
        assert_eq!(seen.load(Relaxed), 2);
        Ok(())
    }
}
