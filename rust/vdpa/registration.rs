// SPDX-License-Identifier: GPL-2.0

//! Devices that a parent registers by itself, and waiting for the end of devices.
//!
//! # Module lifetime
//!
//! A device lives until its last reference is gone, and then calls into the parent's module for the
//! last time. That may be after the module's exit function: anyone may hold a reference, and a kernel
//! with `CONFIG_DEBUG_KOBJECT_RELEASE` delays the end on purpose. So a registration, here or that of
//! a [management device](crate::manager::ManagementRegistration), does not end before every device
//! made through it has ended, and the code of the module that said so has been left.

use crate::{
    ops::DeviceOps,
    parent::{
        DeviceParams,
        ParentDevice,
        Setup,
        Unregistered, //
    },
};
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    new_condvar,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        CondVarTimeoutResult,
        SpinLock, //
    },
    time::msecs_to_jiffies,
    ModuleMetadata, //
};
use kext::unload::wait_for_running_code;
use vdpa_bindings as bindings;

/// After this long, a message says that a device is still in use.
const PATIENCE_MS: u32 = 10_000;

struct Count {
    /// Devices that are not released.
    alive: usize,
    /// Whether there ever was one.
    used: bool,
}

/// Counts devices until they are released.
#[pin_data]
pub(crate) struct Tracker {
    #[pin]
    count: SpinLock<Count>,
    #[pin]
    released: CondVar,
}

impl Tracker {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                count <- new_spinlock!(Count { alive: 0, used: false }, "vdpa_tracker"),
                released <- new_condvar!("vdpa_tracker"),
            }),
            GFP_KERNEL,
        )
    }

    /// Counts one more device, until the ticket is dropped.
    pub(crate) fn ticket(this: &Arc<Self>) -> Ticket {
        let mut count = this.count.lock();
        count.alive = count.alive.saturating_add(1);
        count.used = true;
        drop(count);
        Ticket(this.clone())
    }

    /// Waits until no device is left, and no code that reported so is running. Uninterruptible.
    fn wait(&self, module: &CStr) {
        let mut count = self.count.lock();
        let mut patient = true;
        while count.alive != 0 {
            if !patient {
                self.released.wait(&mut count);
                continue;
            }
            let limit = msecs_to_jiffies(PATIENCE_MS);
            match self.released.wait_interruptible_timeout(&mut count, limit) {
                CondVarTimeoutResult::Woken { .. } => {}
                CondVarTimeoutResult::Timeout | CondVarTimeoutResult::Signal { .. } => {
                    pr_warn!(
                        "{} device(s) of module {} still in use, waiting\n",
                        count.alive,
                        module
                    );
                    patient = false;
                }
            }
        }
        let used = count.used;
        drop(count);
        if used {
            wait_for_running_code();
        }
    }
}

/// A device that counts as alive.
pub(crate) struct Ticket(Arc<Tracker>);

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut count = self.0.count.lock();
        count.alive = count.alive.saturating_sub(1);
        self.0.released.notify_all();
    }
}

/// Waits for all devices of a [`Tracker`] when it is dropped. May sleep.
pub(crate) struct Waiter {
    tracker: Arc<Tracker>,
    module: &'static CStr,
}

impl Waiter {
    /// A new tracker for devices of type `T`.
    pub(crate) fn new<T: DeviceOps>() -> Result<Self> {
        Ok(Self {
            tracker: Tracker::new()?,
            module: T::OwnerModule::NAME,
        })
    }

    pub(crate) fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.tracker.wait(self.module);
    }
}

/// A device on the bus that its parent made by itself, not on a user's request.
///
/// `vdpa dev` does not show such a device. Dropping the registration takes the device off the bus,
/// and waits until nobody has a reference to it any more. It must not be dropped in an operation of
/// a device or management device, or while the same task holds a reference.
///
/// # Invariants
///
/// `device` is registered, and fulfils the invariants of [`ParentDevice`] until it is unregistered.
pub struct Registration<T: DeviceOps> {
    device: NonNull<ParentDevice<T>>,
    // Dropped after the device was unregistered.
    _waiter: Waiter,
}

// SAFETY: The device may be used and unregistered from any thread.
unsafe impl<T: DeviceOps> Send for Registration<T> {}
// SAFETY: As above.
unsafe impl<T: DeviceOps> Sync for Registration<T> {}

impl<T: DeviceOps> Registration<T> {
    /// Makes a device and puts it on the bus; the bus chooses its name if there is none.
    ///
    /// `init` makes the initialiser of the parent's data. Fails with its error, `EEXIST` if there is
    /// a device of that name, `EINVAL` for parameters that make no sense, or `ENOMEM`.
    pub fn new<I, E>(
        name: Option<&CStr>,
        params: &DeviceParams<'_, T>,
        init: impl FnOnce(&Setup<'_>) -> I,
    ) -> Result<Self>
    where
        I: PinInit<T, E>,
        Error: From<E>,
    {
        // Declared first, so dropped last.
        let waiter = Waiter::new::<T>()?;
        let device = Unregistered::new(name, params, waiter.tracker(), init)?;
        // SAFETY: The device is complete and not registered.
        to_result(unsafe {
            bindings::vdpa_register_device(device.as_raw(), u32::from(params.queues))
        })?;
        // INVARIANT: It is registered now.
        Ok(Self {
            device: device.into_raw(),
            _waiter: waiter,
        })
    }
}

impl<T: DeviceOps> Deref for Registration<T> {
    type Target = ParentDevice<T>;

    fn deref(&self) -> &ParentDevice<T> {
        // SAFETY: By the type invariants.
        unsafe { self.device.as_ref() }
    }
}

impl<T: DeviceOps> Drop for Registration<T> {
    fn drop(&mut self) {
        let interrupts = self.interrupts().clone();
        // SAFETY: By the type invariants; this also gives up our reference.
        unsafe { bindings::vdpa_unregister_device(self.as_raw()) };
        interrupts.reset();
    }
}
