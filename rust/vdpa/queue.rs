// SPDX-License-Identifier: GPL-2.0

//! Virtqueues: what a bus driver does with them.
//!
//! # Serialisation
//!
//! The parent is called without any lock of the bus. Except for [`Device::kick`] and
//! [`Device::kick_with_data`], which may run in any context and at any time, a bus driver must not
//! call two of these operations, or one of them and a change of the status, at the same time. All
//! but the kicks may sleep.
//!
//! # Numbers
//!
//! Many parents use the number of a queue unchecked. So it is checked here: for a queue that the
//! device does not have, operations that return a result fail with `EINVAL`, those that ask for
//! something find nothing, and the others do nothing.

use crate::device::{
    call,
    Device, //
};
use kernel::{
    cpumask::{
        Cpumask,
        CpumaskVar, //
    },
    device::Bound,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};
use kext::chardev::DevicePage;
use vdpa_bindings as bindings;

pub use crate::queue_state::{
    NotificationData,
    PackedState,
    QueueAddresses,
    QueueIndex,
    QueueState, //
};

impl QueueState {
    pub(crate) fn from_raw(raw: bindings::vdpa_vq_state) -> Self {
        // SAFETY: Both are four bytes, and every value of them is a valid `[u16; 2]`: the bit
        // fields of the packed form are allocated from the lowest bit of two `u16`.
        Self(unsafe { core::mem::transmute::<bindings::vdpa_vq_state, [u16; 2]>(raw) })
    }

    pub(crate) fn into_raw(self) -> bindings::vdpa_vq_state {
        // SAFETY: As in `from_raw`: every value of these bytes is a valid union.
        unsafe { core::mem::transmute::<[u16; 2], bindings::vdpa_vq_state>(self.0) }
    }
}

/// Physical memory that kicks a virtqueue when it is written; it can be mapped into user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationArea {
    address: u64,
    size: u64,
}

impl NotificationArea {
    /// `size` bytes from a physical address on.
    ///
    /// # Safety
    ///
    /// User space may get hold of the memory: as long as the device is on the bus, it must be
    /// registers of the device, or of nobody, to which anyone may write anything.
    pub const unsafe fn new(address: u64, size: u64) -> Self {
        Self { address, size }
    }

    /// The physical address.
    pub const fn address(self) -> u64 {
        self.address
    }

    /// The size in bytes.
    pub const fn size(self) -> u64 {
        self.size
    }

    /// The page that it is; nothing if it is not exactly one.
    pub fn page(self) -> Option<DevicePage> {
        let page = PAGE_SIZE as u64;
        if self.size != page || self.address % page != 0 {
            return None;
        }
        // SAFETY: By the promise made to `new`, or to the bus by a parent in C.
        Some(unsafe { DevicePage::new(self.address) })
    }
}

impl Device<Bound> {
    /// The number of a queue, for the parent. Fails with `EINVAL` if the device has no such queue.
    pub(crate) fn check_queue(&self, queue: QueueIndex) -> Result<u16> {
        if u32::from(queue.get()) < self.queue_count() {
            Ok(queue.get())
        } else {
            Err(EINVAL)
        }
    }

    /// Tells the device where a queue is. Fails with the parent's error.
    pub fn set_queue_addresses(&self, queue: QueueIndex, at: &QueueAddresses) -> Result {
        let index = self.check_queue(queue)?;
        to_result(call!(
            self,
            set_vq_address(index, at.descriptors, at.driver, at.device),
            EOPNOTSUPP.to_errno()
        ))
    }

    /// Whether queues can be kicked with data.
    pub fn takes_kick_data(&self) -> bool {
        self.ops().kick_vq_with_data.is_some()
    }

    /// Whether the parent tells of memory by which queues can be kicked.
    pub fn has_notification_areas(&self) -> bool {
        self.ops().get_vq_notification.is_some()
    }

    /// Sets the number of entries of a queue.
    pub fn set_queue_size(&self, queue: QueueIndex, entries: u32) {
        if let Ok(index) = self.check_queue(queue) {
            call!(self, set_vq_num(index, entries), ());
        }
    }

    /// The number of entries of a queue; nothing if the parent cannot tell.
    pub fn queue_size(&self, queue: QueueIndex) -> Option<u16> {
        let index = self.check_queue(queue).ok()?;
        call!(self, get_vq_size(index) => Some, None)
    }

    /// The alignment that the device asks of queues, in bytes.
    pub fn queue_align(&self) -> u32 {
        call!(self, get_vq_align(), 1)
    }

    /// Lets the device process a queue, or stops it.
    pub fn set_queue_ready(&self, queue: QueueIndex, ready: bool) {
        if let Ok(index) = self.check_queue(queue) {
            call!(self, set_vq_ready(index, ready), ());
        }
    }

    /// Whether the device processes a queue.
    pub fn queue_ready(&self, queue: QueueIndex) -> bool {
        self.check_queue(queue)
            .is_ok_and(|index| call!(self, get_vq_ready(index), false))
    }

    /// Sets where the device goes on in a queue. Fails with the parent's error.
    pub fn set_queue_state(&self, queue: QueueIndex, state: QueueState) -> Result {
        let index = self.check_queue(queue)?;
        let raw = state.into_raw();
        to_result(call!(
            self,
            set_vq_state(index, &raw),
            EOPNOTSUPP.to_errno()
        ))
    }

    /// Where the device goes on in a queue. Fails with the parent's error.
    pub fn queue_state(&self, queue: QueueIndex) -> Result<QueueState> {
        let index = self.check_queue(queue)?;
        let mut raw = QueueState::default().into_raw();
        to_result(call!(
            self,
            get_vq_state(index, &mut raw),
            EOPNOTSUPP.to_errno()
        ))?;
        Ok(QueueState::from_raw(raw))
    }

    /// Tells the device that there are new buffers in a queue. Any context, also atomic.
    pub fn kick(&self, queue: QueueIndex) {
        if let Ok(index) = self.check_queue(queue) {
            call!(self, kick_vq(index), ());
        }
    }

    /// As [`kick`](Self::kick), with data. Any context, also atomic.
    ///
    /// Fails with `EOPNOTSUPP` if the parent does not take data.
    pub fn kick_with_data(&self, data: NotificationData) -> Result {
        self.check_queue(data.queue())?;
        call!(self, kick_vq_with_data(data.bits()) => Ok, Err(EOPNOTSUPP))
    }

    /// The memory by which a queue can be kicked, if there is any.
    pub fn notification_area(&self, queue: QueueIndex) -> Option<NotificationArea> {
        let index = self.check_queue(queue).ok()?;
        let raw = call!(self, get_vq_notification(index) => Some, None)?;
        (raw.size != 0).then_some(NotificationArea {
            address: raw.addr,
            size: raw.size,
        })
    }

    /// Whether the parent tells of the interrupts of queues.
    pub fn has_queue_irqs(&self) -> bool {
        self.ops().get_vq_irq.is_some()
    }

    /// The interrupt of a queue, if it has one of its own. It does not change after `DRIVER_OK`.
    pub fn queue_irq(&self, queue: QueueIndex) -> Option<u32> {
        let index = self.check_queue(queue).ok()?;
        let irq = call!(self, get_vq_irq(index) => Some, None)?;
        u32::try_from(irq).ok()
    }

    /// Chooses the CPUs on which the interrupt of a queue is handled, or gives up the choice.
    ///
    /// Fails with `EOPNOTSUPP` if the parent cannot, or with its error.
    pub fn set_queue_affinity(&self, queue: QueueIndex, cpus: Option<&Cpumask>) -> Result {
        let index = self.check_queue(queue)?;
        let mask = cpus.map_or(core::ptr::null_mut(), Cpumask::as_raw);
        to_result(call!(
            self,
            set_vq_affinity(index, mask.cast_const()),
            EOPNOTSUPP.to_errno()
        ))
    }

    /// A copy of the CPUs on which the interrupt of a queue is handled, if the parent can tell.
    ///
    /// # Safety
    ///
    /// Nothing may change the status of the device meanwhile: parents keep the mask with the
    /// interrupt, which goes with `DRIVER_OK`.
    pub unsafe fn queue_affinity(&self, queue: QueueIndex) -> Result<Option<CpumaskVar>> {
        let index = self.check_queue(queue)?;
        let mask = call!(self, get_vq_affinity(index), core::ptr::null());
        if mask.is_null() {
            return Ok(None);
        }
        // SAFETY: The parent gives a valid mask, which stays by the safety requirements.
        Ok(Some(CpumaskVar::try_clone(unsafe {
            Cpumask::from_raw(mask)
        })?))
    }
}

#[kunit_tests(rvdpa_queue)]
mod tests {
    use super::*;

    #[test]
    fn split_state_is_the_first_word() {
        let raw = QueueState::split(0xfffe).into_raw();
        // SAFETY: All variants of the union are plain numbers.
        let avail = unsafe { raw.__bindgen_anon_1.split.avail_index };
        assert_eq!(avail, 0xfffe);
        assert_eq!(QueueState::from_raw(raw).as_split(), 0xfffe);
    }

    #[test]
    fn packed_state_is_as_the_c_bit_fields() {
        let state = PackedState {
            avail_wrap: true,
            avail_index: 0x7ffe,
            used_wrap: false,
            used_index: 0x1234,
        };
        let raw = QueueState::packed(state).into_raw();
        // SAFETY: All variants of the union are plain numbers.
        let packed = unsafe { raw.__bindgen_anon_1.packed };
        assert_eq!(packed.last_avail_counter(), 1);
        assert_eq!(packed.last_avail_idx(), 0x7ffe);
        assert_eq!(packed.last_used_counter(), 0);
        assert_eq!(packed.last_used_idx(), 0x1234);
        assert!(QueueState::from_raw(raw).as_packed() == state);
    }

    #[test]
    fn an_index_above_15_bits_does_not_reach_its_neighbours() {
        let state = QueueState::packed(PackedState {
            avail_wrap: false,
            avail_index: 0x8001,
            used_wrap: true,
            used_index: 0,
        });
        assert_eq!(state.as_packed().avail_index, 1);
        assert!(!state.as_packed().avail_wrap);
        assert!(state.as_packed().used_wrap);
    }

    #[test]
    fn notification_data() {
        let data = NotificationData::new(QueueIndex::new(3), 0x8005);
        assert_eq!(data.bits(), 0x8005_0003);
        assert!(data.queue() == QueueIndex::new(3));
        assert_eq!(data.next(), 0x8005);
    }
}
