// SPDX-License-Identifier: GPL-2.0

//! A device that a driver lends to those who may outlast it.
//!
//! A driver has its device until it is unbound, and what borrows the device cannot be there for
//! longer. An open file can: whoever has it open decides. So a file gets a [`Loan`], asks for the
//! device each time, and hears at some time that there is none any more.

use crate::device::Device;
use core::{
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    bindings,
    device::Bound,
    devres, new_srcu,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            ordering::{
                Acquire,
                Full, //
            },
            Atomic, //
        },
        rcu,
        srcu,
        Arc,
        Srcu, //
    },
};

/// A device, as long as its driver lends it. Afterwards not even a reference to the device is left:
/// parents wait for those to go.
///
/// # Invariants
///
/// While `lent` is set, and until all who saw it set have left their critical sections, of `users` or
/// of RCU, the driver is bound to the device, and `device` owns a reference to it.
#[pin_data(PinnedDrop)]
pub struct Loan {
    /// Never null; only compared once the loan is over.
    device: NonNull<Device>,
    /// The device's name.
    name: CString,
    lent: Atomic<bool>,
    #[pin]
    users: Srcu,
}

// SAFETY: A device can be used, and its reference dropped, by any thread.
unsafe impl Send for Loan {}
// SAFETY: As above.
unsafe impl Sync for Loan {}

/// A device in use. The end of the loan waits until this is dropped.
pub struct Lent<'a> {
    device: &'a Device<Bound>,
    _user: srcu::Guard<'a>,
}

/// Ends the loan when the driver loses the device, if it did not do so itself.
struct AtUnbind(Arc<Loan>);

impl Drop for AtUnbind {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Loan {
    /// Lends the device, until [`end`](Self::end) is called or the driver is unbound.
    ///
    /// Fails with `ENOMEM`.
    pub fn new(device: &Device<Bound>) -> Result<Arc<Self>> {
        let name = CString::try_from_fmt(fmt!("{}", device.name()))?;
        let loan = Arc::pin_init(
            try_pin_init!(Self {
                device: ARef::into_raw(ARef::from(&**device)),
                name,
                // INVARIANT: `device` shows that the driver is bound; what is registered below waits
                // for all users before it is unbound.
                lent: Atomic::new(true),
                users <- new_srcu!(),
            }? Error),
            GFP_KERNEL,
        )?;
        devres::register(device.as_ref(), AtUnbind(loan.clone()), GFP_KERNEL).inspect_err(
            |_| {
                loan.end();
            },
        )?;
        Ok(loan)
    }

    /// The device; nothing if the loan ended. May be called in any context, and the user may sleep.
    pub fn get(&self) -> Option<Lent<'_>> {
        let user = self.users.read_lock();
        if !self.lent.load(Acquire) {
            return None;
        }
        Some(Lent {
            // SAFETY: By the type invariants the driver is bound until `user` is dropped.
            device: unsafe { self.device.as_ref().as_bound() },
            _user: user,
        })
    }

    /// As [`get`](Self::get), for what is short and does not sleep.
    #[inline]
    pub fn get_atomic<'a>(&'a self, _guard: &'a rcu::Guard) -> Option<&'a Device<Bound>> {
        self.lent.load(Acquire).then(|| {
            // SAFETY: By the type invariants the driver is bound until the guard is dropped.
            unsafe { self.device.as_ref().as_bound() }
        })
    }

    /// Ends the loan, and waits until nobody uses the device any more. May sleep; not to be called by
    /// a user.
    pub fn end(&self) {
        let was_lent = self.lent.xchg(false, Full);
        // Also for who comes second: the first one may still be waiting.
        self.users.synchronize_expedited();
        // SAFETY: No requirements but process context.
        unsafe { bindings::synchronize_rcu_expedited() };
        if was_lent {
            // SAFETY: By the type invariants there was a reference. Nobody uses the device any more,
            // and only one caller gets here.
            drop(unsafe { ARef::from_raw(self.device) });
        }
    }

    /// Whether the loan ended.
    pub fn is_over(&self) -> bool {
        !self.lent.load(Acquire)
    }

    /// Whether it is, or was, this device.
    pub fn is_of(&self, device: &Device) -> bool {
        ptr::eq(self.device.as_ptr(), device)
    }

    /// The name of the device.
    pub fn name(&self) -> &CStr {
        &self.name
    }
}

#[pinned_drop]
impl PinnedDrop for Loan {
    fn drop(self: Pin<&mut Self>) {
        if !self.is_over() {
            self.end();
        }
    }
}

impl Deref for Lent<'_> {
    type Target = Device<Bound>;

    fn deref(&self) -> &Device<Bound> {
        self.device
    }
}
