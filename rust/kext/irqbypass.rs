// SPDX-License-Identifier: GPL-2.0

//! Interrupts of devices that can reach a virtual machine without passing through the host.
//!
//! Who has an interrupt and who wants it meet by the eventfd that both know: one would signal it, the
//! other, KVM for example, waits for it. Once they have met they may connect the two in hardware, and
//! the eventfd is signalled no more.
//!
//! All functions are inline, so that only modules which use them depend on `irqbypass.ko`.
//!
//! C header: [`include/linux/irqbypass.h`](srctree/include/linux/irqbypass.h)

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};
use vdpa_bindings as irqbypass;

/// An interrupt that is offered to who waits for an eventfd. Dropping it takes the offer back, and
/// disconnects who took it; it may sleep.
///
/// # Invariants
///
/// The producer is registered.
pub struct Producer {
    raw: Pin<KBox<Opaque<irqbypass::irq_bypass_producer>>>,
    irq: u32,
}

// SAFETY: A producer may be unregistered by any thread.
unsafe impl Send for Producer {}
// SAFETY: Nothing is done with a shared reference but reading a number.
unsafe impl Sync for Producer {}

impl Producer {
    /// Offers an interrupt. May sleep.
    ///
    /// Fails with `EBUSY` if one is offered for this eventfd already, `ENOMEM`, or with the error of
    /// who waits for the eventfd and cannot take the interrupt.
    ///
    /// # Safety
    ///
    /// The eventfd must stay until this is dropped.
    #[inline]
    pub unsafe fn register(eventfd: *mut bindings::eventfd_ctx, irq: u32) -> Result<Self> {
        let number = c_int::try_from(irq)?;
        let raw: Pin<KBox<Opaque<irqbypass::irq_bypass_producer>>> =
            KBox::pin(Opaque::zeroed(), GFP_KERNEL)?;
        // SAFETY: All zero is a producer that is not registered. It stays in place until it was
        // unregistered, and so does the eventfd by the safety requirements.
        to_result(unsafe { irqbypass::irq_bypass_register_producer(raw.get(), eventfd, number) })?;
        // INVARIANT: It was just registered.
        Ok(Self { raw, irq })
    }

    /// The number of the interrupt.
    #[inline]
    pub fn irq(&self) -> u32 {
        self.irq
    }
}

impl Drop for Producer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants; afterwards nobody knows it any more.
        unsafe { irqbypass::irq_bypass_unregister_producer(self.raw.get()) };
    }
}
