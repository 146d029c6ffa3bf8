// SPDX-License-Identifier: GPL-2.0

//! Interrupts of a device, as a bus driver gets them.
//!
//! A bus driver hands a function and a pointer to the parent (`struct vdpa_callback`), which keeps
//! copies of both and calls the function whenever the device has news. The parent may read its copy
//! while another one is written: the function of one call can come together with the pointer of
//! another.
//!
//! So here every callback of every driver uses one C function, which takes a pointer to a
//! `Holder`, and a [`CallbackGuard`] takes its holder back from the parent, and waits until no call
//! is running, before it frees it. [`driver::Adapter`](crate::driver::Adapter) sees to it that
//! neither a pointer of an earlier driver nor the function outlasts a driver.
//!
//! # The wait
//!
//! Not all parents call from interrupts or with bottom halves disabled: `mlx5_vdpa` calls from work
//! items, `pds_vdpa` from a notifier chain, preemptible and outside of any RCU read-side critical
//! section. What all of them have in common is that they do not sleep between the reading of their
//! copy and the end of the call, as the function may not sleep. So the wait is one for Tasks RCU:
//! until each task slept, or was in user mode. Such a grace period begins and ends with one of RCU,
//! which covers interrupts and whatever else may hit an idle CPU.
//!
//! It takes from tenths of a second up to seconds on a busy machine. A driver with many queues puts
//! its guards into a [`CallbackSet`], which waits once.

use crate::{
    device::{
        call,
        Device, //
    },
    queue::QueueIndex,
};
use core::{
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    device::Bound,
    prelude::*,
    sync::Arc, //
};
use kext::unload::wait_for_running_code;
use vdpa_bindings as bindings;

/// What is called when a device raises an interrupt.
pub trait InterruptHandler: Send + Sync + 'static {
    /// Must not sleep. It may run on several CPUs at the same time.
    ///
    /// Most parents call it in hard or soft interrupt context, or in process context with bottom
    /// halves disabled. But some call it in preemptible process context, so what it does must be
    /// right in all of these.
    fn handle(&self);
}

/// What the parent's pointer points to.
struct Holder {
    handler: Arc<dyn InterruptHandler>,
}

/// # Safety
///
/// `data` must be null or point to a valid [`Holder`]. To be called by a parent, with a pointer that
/// it was given together with this function, or null.
unsafe extern "C" fn callback(data: *mut c_void) -> bindings::irqreturn_t {
    // SAFETY: By the safety requirements.
    if let Some(holder) = unsafe { data.cast::<Holder>().as_ref() } {
        holder.handler.handle();
    }
    bindings::irqreturn_t::IRQ_HANDLED
}

/// What can interrupt.
#[derive(Clone, Copy)]
enum Source {
    Queue(QueueIndex),
    Config,
}

/// A handler that the parent calls; dropping it ends that.
///
/// Dropping it sleeps, often for some tenths of a second; see [`CallbackSet`] if there are several.
/// It must not be done where a handler, or what a parent does around it, could wait for the task.
///
/// A second handler for the same queue replaces the first. Dropping either then leaves the queue
/// without one.
///
/// # Invariants
///
/// `holder` is a leaked `KBox`, and a parent may call it until it is taken back.
#[must_use = "the handler is taken back when the guard is dropped"]
pub struct CallbackGuard<'a> {
    device: &'a Device<Bound>,
    source: Source,
    holder: NonNull<Holder>,
}

// SAFETY: A guard is a borrowed device and an owned holder, which both may move between threads.
unsafe impl Send for CallbackGuard<'_> {}
// SAFETY: Nothing can be done with a shared guard.
unsafe impl Sync for CallbackGuard<'_> {}

impl Device<Bound> {
    /// Calls `handler` for the interrupts of a queue. May sleep.
    ///
    /// Fails with `EINVAL` if there is no such queue, or `ENOMEM`.
    pub fn set_queue_callback<H: InterruptHandler>(
        &self,
        queue: QueueIndex,
        handler: Arc<H>,
    ) -> Result<CallbackGuard<'_>> {
        self.check_queue(queue)?;
        CallbackGuard::new(self, Source::Queue(queue), handler)
    }

    /// Calls `handler` when the device changes its configuration space. May sleep.
    ///
    /// Fails with `ENOMEM`.
    pub fn set_config_callback<H: InterruptHandler>(
        &self,
        handler: Arc<H>,
    ) -> Result<CallbackGuard<'_>> {
        CallbackGuard::new(self, Source::Config, handler)
    }

    /// Takes all callbacks away from the parent, whoever set them. Calls may be running afterwards.
    pub(crate) fn clear_callbacks(&self) {
        let count = u16::try_from(self.queue_count()).unwrap_or(u16::MAX);
        for queue in 0..count {
            self.set_callback(Source::Queue(QueueIndex::new(queue)), None);
        }
        self.set_callback(Source::Config, None);
    }

    /// A queue must be one of the device.
    fn set_callback(&self, source: Source, holder: Option<NonNull<Holder>>) {
        let function: unsafe extern "C" fn(*mut c_void) -> bindings::irqreturn_t = callback;
        // The parent copies it.
        let mut raw = bindings::vdpa_callback {
            callback: holder.map(|_| function),
            private: holder.map_or(ptr::null_mut(), |holder| holder.as_ptr().cast()),
            trigger: ptr::null_mut(),
        };
        match source {
            Source::Queue(queue) => call!(self, set_vq_cb(queue.get(), &mut raw), ()),
            Source::Config => call!(self, set_config_cb(&mut raw), ()),
        }
    }
}

impl<'a> CallbackGuard<'a> {
    fn new(
        device: &'a Device<Bound>,
        source: Source,
        handler: Arc<dyn InterruptHandler>,
    ) -> Result<Self> {
        let holder = KBox::new(Holder { handler }, GFP_KERNEL)?;
        let holder = NonNull::from(KBox::leak(holder));
        device.set_callback(source, Some(holder));
        // INVARIANT: The box was just leaked.
        Ok(Self {
            device,
            source,
            holder,
        })
    }

    /// Takes the holder away from the parent. Calls may be running afterwards.
    fn silence(&self) {
        self.device.set_callback(self.source, None);
    }

    /// Frees the holder.
    ///
    /// # Safety
    ///
    /// The guard was silenced, and all calls that began before are over. This is its last use.
    unsafe fn free(&mut self) {
        // SAFETY: By the type invariants; by the safety requirements nobody has the pointer any
        // more.
        drop(unsafe { KBox::from_raw(self.holder.as_ptr()) });
    }
}

impl Drop for CallbackGuard<'_> {
    fn drop(&mut self) {
        self.silence();
        wait_for_running_code();
        // SAFETY: A call that began with the old pointer is over, see the module's documentation.
        unsafe { self.free() };
    }
}

/// Guards that are dropped together, with a single wait for all of them.
///
/// # Examples
///
/// ```ignore
/// let mut callbacks = CallbackSet::new();
/// for index in 0..queues {
///     callbacks.push(dev.set_queue_callback(QueueIndex::new(index), handler.clone())?)?;
/// }
/// callbacks.push(dev.set_config_callback(handler)?)?;
/// ```
#[derive(Default)]
#[must_use = "the handlers are taken back when the set is dropped"]
pub struct CallbackSet<'a>(KVec<ManuallyDrop<CallbackGuard<'a>>>);

impl<'a> CallbackSet<'a> {
    /// An empty set.
    pub const fn new() -> Self {
        Self(KVec::new())
    }

    /// Adds a guard. Fails with `ENOMEM`, and then drops it.
    pub fn push(&mut self, guard: CallbackGuard<'a>) -> Result {
        self.0.reserve(1, GFP_KERNEL)?;
        Ok(self.0.push(ManuallyDrop::new(guard), GFP_KERNEL)?)
    }

    /// Drops all guards in it. Sleeps if there are any.
    pub fn clear(&mut self) {
        if self.0.is_empty() {
            return;
        }
        for guard in &self.0 {
            guard.silence();
        }
        wait_for_running_code();
        for mut guard in self.0.drain_all() {
            // SAFETY: Calls that began with the old pointer are over, see the module's
            // documentation.
            unsafe { guard.free() };
        }
    }
}

impl Drop for CallbackSet<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}
