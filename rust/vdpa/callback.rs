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
//! is running, before it frees it.

use crate::{
    device::{
        call,
        Device, //
    },
    queue::QueueIndex,
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    device::Bound,
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
};
use vdpa_bindings as bindings;

/// What is called when a device raises an interrupt.
pub trait InterruptHandler: Send + Sync + 'static {
    /// Runs in hard interrupt, soft interrupt, or process context with soft interrupts disabled:
    /// it must not sleep. It may run on several CPUs at the same time.
    fn handle(&self);
}

/// What the parent's pointer points to.
///
/// The function comes first and takes a pointer to the whole, so that the C function need not know
/// the type of the handler.
#[repr(C)]
struct Holder<H: InterruptHandler> {
    header: Header,
    handler: Arc<H>,
}

struct Header {
    handle: unsafe fn(NonNull<Header>),
}

/// # Safety
///
/// `header` must be that of a valid `Holder<H>`.
unsafe fn handle<H: InterruptHandler>(header: NonNull<Header>) {
    // SAFETY: By the safety requirements; the header is the first field of a `repr(C)` structure.
    unsafe { header.cast::<Holder<H>>().as_ref() }
        .handler
        .handle();
}

/// # Safety
///
/// `data` must be null or the header of a valid [`Holder`]. To be called by a parent, with a pointer
/// that it was given together with this function or later.
unsafe extern "C" fn callback(data: *mut c_void) -> bindings::irqreturn_t {
    if let Some(header) = NonNull::new(data.cast::<Header>()) {
        // SAFETY: By the safety requirements the header is valid, and its function is the one for
        // the holder that it is in.
        unsafe { (header.as_ref().handle)(header) };
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
/// A second handler for the same queue replaces the first. Dropping either then leaves the queue
/// without one.
///
/// # Invariants
///
/// `holder` came from `KBox::into_raw`, and a parent may call it until it is taken back.
#[must_use = "the handler is taken back when the guard is dropped"]
pub struct CallbackGuard<'a, H: InterruptHandler> {
    device: &'a Device<Bound>,
    source: Source,
    holder: NonNull<Holder<H>>,
}

// SAFETY: A guard is a borrowed device and an owned holder, which both may move between threads.
unsafe impl<H: InterruptHandler> Send for CallbackGuard<'_, H> {}
// SAFETY: Nothing can be done with a shared guard.
unsafe impl<H: InterruptHandler> Sync for CallbackGuard<'_, H> {}

impl Device<Bound> {
    /// Calls `handler` for the interrupts of a queue. May sleep.
    ///
    /// Fails with `ENOMEM`.
    pub fn set_queue_callback<H: InterruptHandler>(
        &self,
        queue: QueueIndex,
        handler: Arc<H>,
    ) -> Result<CallbackGuard<'_, H>> {
        CallbackGuard::new(self, Source::Queue(queue), handler)
    }

    /// Calls `handler` when the device changes its configuration space. May sleep.
    ///
    /// Fails with `ENOMEM`.
    pub fn set_config_callback<H: InterruptHandler>(
        &self,
        handler: Arc<H>,
    ) -> Result<CallbackGuard<'_, H>> {
        CallbackGuard::new(self, Source::Config, handler)
    }

    fn set_callback(&self, source: Source, data: Option<NonNull<c_void>>) {
        let function: unsafe extern "C" fn(*mut c_void) -> bindings::irqreturn_t = callback;
        let mut raw = bindings::vdpa_callback {
            callback: data.map(|_| function),
            private: data.map_or(ptr::null_mut(), NonNull::as_ptr),
            // Parents copy it.
            trigger: ptr::null_mut(),
        };
        match source {
            Source::Queue(queue) => call!(self, set_vq_cb(queue.get(), &mut raw), ()),
            Source::Config => call!(self, set_config_cb(&mut raw), ()),
        }
    }
}

impl<'a, H: InterruptHandler> CallbackGuard<'a, H> {
    fn new(device: &'a Device<Bound>, source: Source, handler: Arc<H>) -> Result<Self> {
        let holder = KBox::new(
            Holder {
                header: Header {
                    handle: handle::<H>,
                },
                handler,
            },
            GFP_KERNEL,
        )?;
        let holder = NonNull::from(KBox::leak(holder));
        device.set_callback(source, Some(holder.cast()));
        // INVARIANT: The box was just leaked.
        Ok(Self {
            device,
            source,
            holder,
        })
    }
}

impl<H: InterruptHandler> Drop for CallbackGuard<'_, H> {
    fn drop(&mut self) {
        self.device.set_callback(self.source, None);
        // Parents call from hard or soft interrupt context, or with soft interrupts disabled, all of
        // which are RCU read-side critical sections. A call that began with the old pointer is over
        // afterwards.
        rcu::synchronize_rcu();
        // SAFETY: By the type invariants; the parent does not have the pointer any more.
        drop(unsafe { KBox::from_raw(self.holder.as_ptr()) });
    }
}
