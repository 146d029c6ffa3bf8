// SPDX-License-Identifier: GPL-2.0

//! What has to be over before a module's memory is freed.
//!
//! C headers: [`include/linux/module.h`](srctree/include/linux/module.h),
//! [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::marker::PhantomData;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// A module that is being unloaded: its exit function has run if its init function succeeded, and
/// its memory is still there.
///
/// # Invariants
///
/// Represents a valid `struct module`.
#[repr(transparent)]
pub struct GoingModule(Opaque<bindings::module>);

impl GoingModule {
    /// The module's name.
    pub fn name(&self) -> &CStr {
        // SAFETY: By the type invariant; the name is an array that ends with a NUL.
        unsafe { CStr::from_char_ptr((&raw const (*self.0.get()).name).cast()) }
    }

    /// Whether `address` lies in the module's code or data.
    pub fn contains(&self, address: usize) -> bool {
        // SAFETY: By the type invariant; the address is only compared.
        unsafe { vdpa_bindings::within_module(address, self.0.get()) }
    }
}

/// Called for every module that is unloaded, or whose initialisation failed.
pub trait OnUnload {
    /// Runs in process context, after the module's exit function and before its memory is freed.
    /// May sleep; the unload waits for it.
    fn module_going(module: &GoingModule);
}

/// The registration of an [`OnUnload`]; undone by `Drop`, which waits for running calls.
#[pin_data(PinnedDrop)]
pub struct Notifier<T: OnUnload> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    _type: PhantomData<T>,
}

// SAFETY: It may be registered and unregistered in different threads; nothing else is done to it.
unsafe impl<T: OnUnload> Send for Notifier<T> {}
// SAFETY: As above.
unsafe impl<T: OnUnload> Sync for Notifier<T> {}

impl<T: OnUnload> Notifier<T> {
    /// Registers the notifier.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            block <- Opaque::try_ffi_init(|slot: *mut bindings::notifier_block| {
                // SAFETY: `slot` is valid for writes.
                unsafe {
                    slot.write(bindings::notifier_block {
                        notifier_call: Some(Self::callback),
                        // Before tracing, static branches and the like are taken down for code
                        // that may still run.
                        priority: c_int::MAX,
                        ..pin_init::zeroed()
                    })
                };
                // SAFETY: The block is complete, and pinned until it is unregistered.
                to_result(unsafe { bindings::register_module_notifier(slot) })
            }),
            _type: PhantomData,
        })
    }

    /// # Safety
    ///
    /// Called by the module notifier chain only.
    unsafe extern "C" fn callback(
        _block: *mut bindings::notifier_block,
        action: c_ulong,
        module: *mut c_void,
    ) -> c_int {
        if action == bindings::module_state_MODULE_STATE_GOING as c_ulong {
            // SAFETY: The chain passes the module, which stays valid during the call.
            T::module_going(unsafe { &*module.cast::<GoingModule>() });
        }
        0 // NOTIFY_DONE
    }
}

#[pinned_drop]
impl<T: OnUnload> PinnedDrop for Notifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `new` registered it.
        unsafe { bindings::unregister_module_notifier(self.block.get()) };
    }
}

/// Waits until every task has left the code that it runs now, by a voluntary switch or to user mode.
///
/// A callback that reports its own end runs a few more instructions of its module. Calling this
/// after the report makes sure that they were executed. May sleep for a noticeable time.
pub fn wait_for_running_code() {
    // SAFETY: No requirements but process context.
    unsafe { vdpa_bindings::wait_for_rcu_tasks() };
}
