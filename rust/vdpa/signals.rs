// SPDX-License-Identifier: GPL-2.0

//! Interrupts of a device that go to eventfds.
//!
//! A parent keeps copies of the pointers that it was given, and some parents also signal an eventfd
//! themselves (`trigger`). So what the pointers lead to stays until the driver is unbound and no call
//! can be running any more, as the [`callback`](crate::callback) module explains; and an eventfd is
//! released only when the parent was told of its successor, and nobody signals it any more.
//!
//! While a device is running, queues that have an interrupt of their own offer it to who waits for
//! their eventfd: a virtual machine that gets it without the host's help is interrupted sooner.

use crate::{
    device::{
        call,
        Device, //
    },
    queue::QueueIndex,
};
use core::ptr;
use kernel::{
    device::Bound,
    devres, new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
};
use kext::{
    eventfd::{
        EventFd,
        SignalCell, //
    },
    irqbypass::Producer,
    log::may_print,
    unload::wait_for_running_code,
};
use vdpa_bindings as bindings;

/// Who hears of interrupts besides the eventfds. Called before these are signalled, in any context:
/// must not sleep.
pub trait SignalHook: Send + Sync + 'static {
    /// A queue has used buffers.
    fn queue(&self, queue: QueueIndex);

    /// The configuration space has changed.
    fn config(&self);
}

/// What a parent's pointer leads to.
struct Slot<H> {
    hook: Arc<H>,
    source: Source,
    eventfd: SignalCell,
    /// Whether the parent has the pointer.
    connected: Atomic<bool>,
    calls: Atomic<u64>,
}

#[derive(Clone, Copy)]
enum Source {
    Queue(QueueIndex),
    Config,
}

impl Source {
    fn is_queue(self, queue: QueueIndex) -> bool {
        matches!(self, Source::Queue(index) if index == queue)
    }
}

impl<H> Slot<H> {
    /// Offers the interrupt of the queue, if it has one and an eventfd. That it is not taken is no
    /// error: the eventfd is signalled then.
    fn offer(&self, device: &Device<Bound>, offers: &mut KVec<(QueueIndex, Producer)>) {
        let eventfd = self.eventfd.as_raw();
        let Source::Queue(queue) = self.source else {
            return;
        };
        let Some(irq) = device.queue_irq(queue).filter(|_| !eventfd.is_null()) else {
            return;
        };
        // SAFETY: The eventfd stays until it is replaced, and before that the offer is dropped.
        let offered = unsafe { Producer::register(eventfd, irq) }
            .and_then(|producer| Ok(offers.push((queue, producer), GFP_KERNEL)?));
        if let Err(error) = offered {
            if may_print() {
                dev_info!(
                    device,
                    "interrupt {irq} of queue {} has to go through the host: {error:?}\n",
                    queue.get()
                );
            }
        }
    }
}

/// The eventfds of a device's interrupts.
#[pin_data]
pub struct Signals<H: SignalHook> {
    /// Only compared: who keeps this must not keep the device.
    device: *const Device,
    /// The interrupts that are offered, each until its eventfd is replaced or the device is to be
    /// reset. Held while a parent is told. Dropped before the eventfds.
    #[pin]
    offers: Mutex<KVec<(QueueIndex, Producer)>>,
    /// Those of the queues, then that of the configuration space. They do not move.
    slots: KVVec<Slot<H>>,
    /// Whether the parent ever had a pointer.
    used: Atomic<bool>,
}

// SAFETY: The pointer is only compared; all else may be used by any thread.
unsafe impl<H: SignalHook> Send for Signals<H> {}
// SAFETY: As above.
unsafe impl<H: SignalHook> Sync for Signals<H> {}

/// Keeps the slots until no parent uses them.
struct UntilUnbound<H: SignalHook> {
    device: ARef<Device>,
    signals: Arc<Signals<H>>,
}

impl<H: SignalHook> Drop for UntilUnbound<H> {
    fn drop(&mut self) {
        if self.signals.used.load(Relaxed) {
            // SAFETY: A device has a driver until all its resources are released.
            unsafe { self.device.as_bound() }.clear_callbacks();
            wait_for_running_code();
        }
    }
}

impl<H: SignalHook> Signals<H> {
    /// A place for the eventfd of each queue, all empty.
    ///
    /// Fails with `ENOMEM`.
    pub fn new(device: &Device<Bound>, hook: Arc<H>) -> Result<Arc<Self>> {
        let queues = u16::try_from(device.queue_count()).unwrap_or(u16::MAX);
        let mut slots = KVVec::with_capacity(usize::from(queues).saturating_add(1), GFP_KERNEL)?;
        for index in 0..=u32::from(queues) {
            let source = match u16::try_from(index) {
                Ok(queue) if queue < queues => Source::Queue(QueueIndex::new(queue)),
                _ => Source::Config,
            };
            slots.push(
                Slot {
                    hook: hook.clone(),
                    source,
                    eventfd: SignalCell::empty(),
                    connected: Atomic::new(false),
                    calls: Atomic::new(0),
                },
                GFP_KERNEL,
            )?;
        }
        let signals = Arc::pin_init(
            pin_init!(Self {
                device: &raw const **device,
                offers <- new_mutex!(KVec::new()),
                slots,
                used: Atomic::new(false),
            }),
            GFP_KERNEL,
        )?;
        let until_unbound = UntilUnbound {
            device: ARef::from(&**device),
            signals: signals.clone(),
        };
        devres::register(device.as_ref(), until_unbound, GFP_KERNEL)?;
        Ok(signals)
    }

    fn queue(&self, queue: QueueIndex) -> Option<&Slot<H>> {
        self.slots
            .get(queue.to_usize())
            .filter(|slot| matches!(slot.source, Source::Queue(_)))
    }

    /// Signals this eventfd for the interrupts of a queue, or none. The parent is told, and takes
    /// "none" for a driver that polls.
    ///
    /// Fails with `EINVAL` if there is no such queue, or `device` is another one.
    pub fn set_queue(
        &self,
        device: &Device<Bound>,
        queue: QueueIndex,
        eventfd: Option<EventFd>,
    ) -> Result {
        let slot = self.queue(queue).ok_or(EINVAL)?;
        self.set(device, slot, eventfd)
    }

    /// Signals this eventfd when the configuration space changes, or none. The hook is called either
    /// way.
    ///
    /// Fails with `EINVAL` if `device` is another one.
    pub fn set_config(&self, device: &Device<Bound>, eventfd: Option<EventFd>) -> Result {
        let slot = self.slots.last().ok_or(EINVAL)?;
        self.set(device, slot, eventfd)
    }

    /// Tells the parent of a device that was reset again what to call when the configuration space
    /// changes: some forget it in a reset.
    pub fn renew_config(&self, device: &Device<Bound>) {
        if !ptr::eq(self.device, &raw const **device) {
            return;
        }
        let _held = self.offers.lock();
        if let Some(slot) = self
            .slots
            .last()
            .filter(|slot| slot.connected.load(Relaxed))
        {
            self.tell(device, slot, ptr::null_mut());
        }
    }

    fn set(&self, device: &Device<Bound>, slot: &Slot<H>, eventfd: Option<EventFd>) -> Result {
        if !ptr::eq(self.device, &raw const **device) {
            return Err(EINVAL);
        }
        let mut offers = self.offers.lock();
        offers.retain(|(queue, _)| !slot.source.is_queue(*queue));
        let trigger = eventfd.as_ref().map_or(ptr::null_mut(), EventFd::as_raw);
        let old = slot.eventfd.replace(eventfd);
        self.tell(device, slot, trigger);
        if device.has_queue_irqs() && device.status().driver_ok() {
            slot.offer(device, &mut offers);
        }
        // The parent has the new one. (C releases the old one first.)
        drop(old);
        Ok(())
    }

    /// Offers the interrupts of queues to who waits for their eventfds, if the device is running.
    /// To be called when it begins to.
    pub fn offer_interrupts(&self, device: &Device<Bound>) {
        if !ptr::eq(self.device, &raw const **device) || !device.has_queue_irqs() {
            return;
        }
        let mut offers = self.offers.lock();
        offers.clear();
        if device.status().driver_ok() {
            for slot in &self.slots {
                slot.offer(device, &mut offers);
            }
        }
    }

    /// Takes back what is offered. To be called before the device is reset, as it gives its
    /// interrupts up then.
    pub fn withdraw_interrupts(&self) {
        self.offers.lock().clear();
    }

    /// The interrupt of a queue that is offered.
    pub fn offered_interrupt(&self, queue: QueueIndex) -> Option<u32> {
        let offers = self.offers.lock();
        let offer = offers.iter().find(|(index, _)| *index == queue);
        offer.map(|(_, producer)| producer.irq())
    }

    /// Gives the parent what it needs to call, with the lock held.
    fn tell(&self, device: &Device<Bound>, slot: &Slot<H>, trigger: *mut bindings::eventfd_ctx) {
        let wanted = !trigger.is_null() || matches!(slot.source, Source::Config);
        let function: unsafe extern "C" fn(*mut c_void) -> bindings::irqreturn_t = callback::<H>;
        let mut raw = bindings::vdpa_callback {
            callback: wanted.then_some(function),
            private: if wanted {
                ptr::from_ref(slot).cast_mut().cast()
            } else {
                ptr::null_mut()
            },
            trigger: match slot.source {
                Source::Queue(_) => trigger,
                Source::Config => ptr::null_mut(),
            },
        };
        if wanted {
            self.used.store(true, Relaxed);
        }
        slot.connected.store(wanted, Relaxed);
        match slot.source {
            Source::Queue(queue) => call!(device, set_vq_cb(queue.get(), &mut raw), ()),
            Source::Config => call!(device, set_config_cb(&mut raw), ()),
        }
    }

    /// Takes all eventfds and pointers away from the parent.
    pub fn disconnect(&self, device: &Device<Bound>) {
        if !ptr::eq(self.device, &raw const **device) {
            return;
        }
        let mut offers = self.offers.lock();
        offers.clear();
        let mut raw = bindings::vdpa_callback::default();
        for slot in &self.slots {
            if !slot.connected.load(Relaxed) {
                continue;
            }
            slot.connected.store(false, Relaxed);
            match slot.source {
                Source::Queue(queue) => call!(device, set_vq_cb(queue.get(), &mut raw), ()),
                Source::Config => call!(device, set_config_cb(&mut raw), ()),
            }
        }
        SignalCell::clear_all(self.slots.iter().map(|slot| &slot.eventfd));
    }

    /// Whether a queue has an eventfd.
    pub fn is_set(&self, queue: QueueIndex) -> bool {
        self.queue(queue).is_some_and(|slot| slot.eventfd.is_set())
    }

    /// How often the parent called for a queue.
    pub fn calls(&self, queue: QueueIndex) -> u64 {
        self.queue(queue).map_or(0, |slot| slot.calls.load(Relaxed))
    }
}

/// # Safety
///
/// `data` must be null or point to a valid [`Slot<H>`]. To be called by a parent, with a pointer that
/// it was given together with this function, or null.
unsafe extern "C" fn callback<H: SignalHook>(data: *mut c_void) -> bindings::irqreturn_t {
    // SAFETY: By the safety requirements.
    if let Some(slot) = unsafe { data.cast::<Slot<H>>().as_ref() } {
        slot.calls.fetch_add(1, Relaxed);
        match slot.source {
            Source::Queue(queue) => slot.hook.queue(queue),
            Source::Config => slot.hook.config(),
        }
        slot.eventfd.signal();
    }
    bindings::irqreturn_t::IRQ_HANDLED
}
