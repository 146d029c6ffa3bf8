// SPDX-License-Identifier: GPL-2.0

//! What is known from the opening of a node to its closing.

use crate::{
    event::Hook,
    queue::Queue,
    state, //
};
use kernel::{
    current,
    device::Bound,
    mm::Mm,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use kext::{
    chardev::Mappings,
    nospec::checked_index, //
};
use vdpa::{
    Asid,
    Device,
    Features,
    GroupId,
    Loan,
    QueueIndex,
    ResetFlags,
    Signals, //
};
use vdpa_bindings as bindings;
use vhost::Memory;

/// A device in the hands of a user. Its state is reset when this is closed.
pub(crate) struct Session {
    /// The memory of the process that may map its memory and set queues up.
    owner: Option<ARef<Mm>>,
    /// Whether the device is bound to the owner's memory.
    mm_bound: bool,
    pub(crate) queues: KVVec<Queue>,
    pub(crate) memory: Memory,
    /// The address spaces of groups of queues, if they are not the first one.
    pub(crate) spaces: KVec<(GroupId, Asid)>,
    /// What the user accepted of `VHOST_BACKEND_F_*`.
    pub(crate) backend: Features,
    /// The features that were negotiated, as the device has them.
    pub(crate) features: Features,
    /// The largest size of a queue; 0 if the last reset failed.
    pub(crate) size_limit: u16,
    pub(crate) suspended: bool,
    /// `VHOST_FORK_OWNER_*`, which has no meaning for devices without a thread of their own.
    pub(crate) fork_owner: u8,
    /// Doorbells that are mapped.
    pub(crate) mappings: Mappings,
}

impl Session {
    /// Resets the device and makes it ready for a user.
    pub(crate) fn open(
        device: &Device<Bound>,
        loan: &Arc<Loan>,
        mappings: Mappings,
    ) -> Result<Self> {
        device.reset()?;
        let count = usize::try_from(device.queue_count())?.min(usize::from(u16::MAX));
        let mut queues = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..count {
            queues.push(Queue::default(), GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Self {
            owner: None,
            mm_bound: false,
            queues,
            memory: Memory::new(device, loan, state::map_limit())?,
            spaces: KVec::new(),
            backend: Features::NONE,
            features: Features::NONE,
            size_limit: device.max_queue_size(),
            suspended: false,
            fork_owner: 1,
            mappings,
        })
    }

    /// Leaves the device as if nobody had used it.
    pub(crate) fn close(mut self, device: &Device<Bound>, signals: &Signals<Hook>) {
        for queue in &mut self.queues {
            queue.kick = None;
        }
        if self.reset(device, signals).is_err() {
            dev_warn!(device, "the device does not reset\n");
        }
        signals.disconnect(device);
        self.disown(device);
        self.memory.clear(device);
    }

    /// Resets the device, as a status of 0 does.
    pub(crate) fn reset(&mut self, device: &Device<Bound>, signals: &Signals<Hook>) -> Result {
        self.suspended = false;
        self.spaces.clear();
        for queue in &mut self.queues {
            queue.position = None;
        }
        signals.withdraw_interrupts();
        let flags = if self.accepted(bindings::VHOST_BACKEND_F_IOTLB_PERSIST) {
            ResetFlags::NONE
        } else {
            ResetFlags::CLEAN_MAP
        };
        self.size_limit = 0;
        device.reset_with(flags)?;
        // It may depend on what was reset.
        self.size_limit = device.max_queue_size();
        Ok(())
    }

    /// Whether the user accepted a `VHOST_BACKEND_F_*`.
    pub(crate) fn accepted(&self, bit: u32) -> bool {
        self.backend.has(bit)
    }

    /// Whether queues are packed.
    pub(crate) fn is_packed(&self) -> bool {
        self.features.has(bindings::VIRTIO_F_RING_PACKED)
    }

    /// Whether queues may be moved: not while the device uses them.
    pub(crate) fn may_move_queues(&self, device: &Device<Bound>) -> bool {
        !device.status().driver_ok() || self.suspended
    }

    /// Makes the current process the owner. Fails with `EBUSY` if there is one, `EINVAL` without a
    /// process, or with the error of a device that is to be bound to its memory.
    pub(crate) fn own(&mut self, device: &Device<Bound>) -> Result {
        if self.owner.is_some() {
            return Err(EBUSY);
        }
        let current = current!();
        let mm: &Mm = current.mm().ok_or(EINVAL)?;
        if device.uses_va() && device.has_bind_mm() {
            device.bind_mm(mm)?;
            self.mm_bound = true;
        }
        self.owner = Some(mm.into());
        Ok(())
    }

    fn disown(&mut self, device: &Device<Bound>) {
        if self.mm_bound {
            device.unbind_mm();
            self.mm_bound = false;
        }
        self.owner = None;
    }

    pub(crate) fn has_owner(&self) -> bool {
        self.owner.is_some()
    }

    /// The owner, who has to be the current process. Fails with `EPERM`.
    pub(crate) fn owner(&self) -> Result<ARef<Mm>> {
        match &self.owner {
            Some(owner) if kext::mm::is_current(owner) => Ok(owner.clone()),
            _ => Err(EPERM),
        }
    }

    /// The queue of a number that the user names. Fails with `ENOBUFS` if the device has none.
    pub(crate) fn queue(&mut self, index: u32) -> Result<(QueueIndex, &mut Queue)> {
        let index = checked_index(usize::try_from(index)?, self.queues.len()).ok_or(ENOBUFS)?;
        let queue = self.queues.get_mut(index).ok_or(ENOBUFS)?;
        Ok((QueueIndex::new(u16::try_from(index)?), queue))
    }
}
