// SPDX-License-Identifier: GPL-2.0

//! The operations of a simulator.
//!
//! Nothing is processed while a queue is changed: who changes it has its claim. An operation that
//! stops the device waits for the claims of all queues, after which no buffer is taken and not used.
//! A task that could not have a queue meanwhile left it at that, so whoever had claims lets all tasks
//! look again afterwards ([`Model::changed`]).

use crate::{
    model::Model,
    simulator::{
        Simulator,
        ANY_CPU, //
    },
    virt_queue::{
        Inner,
        VirtQueue, //
    },
};
use kernel::{
    cpumask::Cpumask,
    mm::Mm,
    prelude::*,
    sync::atomic::ordering::Relaxed, //
};
use vdpa::{
    Asid,
    DeviceId,
    DeviceOps,
    Features,
    GroupId,
    Iotlb,
    IovaRange,
    Mapping,
    NotificationData,
    QueueAddresses,
    QueueIndex,
    QueueState,
    ResetFlags,
    StatsWriter,
    Status, //
};
use vdpa_bindings as bindings;

impl<M: Model> Simulator<M> {
    fn find(&self, queue: QueueIndex) -> Result<&VirtQueue<M::QueueData>> {
        self.queue(queue.to_usize()).ok_or(EINVAL)
    }

    /// Does something with a queue that nobody else has meanwhile. Fails with `EINVAL` if there is no
    /// such queue.
    fn with<R>(
        &self,
        index: QueueIndex,
        f: impl FnOnce(&mut Inner<M::QueueData>) -> R,
    ) -> Result<R> {
        let queue = self.find(index)?;
        let result = f(&mut queue.claim());
        if queue.take_left() {
            self.model().missed(self, index);
        }
        Ok(result)
    }

    /// Whether a change of what is mapped is to fail.
    fn check_map(&self) -> Result {
        if self.faults.fails_map() {
            Err(ENOMEM)
        } else {
            Ok(())
        }
    }

    /// What was not mapped when it was kicked may be now.
    fn mapped(&self) {
        if self.is_running() {
            self.model().changed(self);
        }
    }

    /// Waits until all that was running has seen that it should not.
    fn wait_for_queues(&self) {
        for queue in &self.queues {
            queue.wait();
        }
    }

    fn set_running(&self, was_running: bool) {
        let running = self.is_running();
        if was_running && !running {
            self.wait_for_queues();
        }
        if was_running || running {
            // What was kicked before counts.
            self.model().changed(self);
        }
    }

    fn reset_device(&self, flags: ResetFlags) -> Result {
        let _control = self.control.lock();
        let was_running = self.is_running();
        self.active.stop();
        if was_running {
            self.wait_for_queues();
        }
        for queue in &self.queues {
            queue.reset();
        }
        // Who was running knew by these what the queues are like.
        self.active.reset();
        for group in &self.groups {
            group.store(0, Relaxed);
        }
        self.model().reset();
        if flags.clean_map() {
            for space in self.memory.spaces() {
                space.clear();
            }
        }
        self.model().changed(self);
        Ok(())
    }
}

#[vtable]
impl<M: Model> DeviceOps for Simulator<M> {
    type OwnerModule = M::OwnerModule;

    fn set_vq_address(&self, queue: QueueIndex, at: QueueAddresses) -> Result {
        self.with(queue, |queue| queue.set_addresses(at))
    }

    fn set_vq_num(&self, queue: QueueIndex, entries: u32) {
        let _ = self.with(queue, |queue| queue.set_size(entries));
    }

    fn kick_vq(&self, queue: QueueIndex) {
        self.kick(queue);
    }

    /// What the driver says of its position is in the ring, too.
    fn kick_vq_with_data(&self, data: NotificationData) {
        self.kick(data.queue());
    }

    fn set_vq_ready(&self, index: QueueIndex, ready: bool) {
        let Ok(queue) = self.find(index) else {
            return;
        };
        queue.set_ready(ready);
        // There may be something in it, or in the queue at the other end.
        self.model().missed(self, index);
    }

    fn get_vq_ready(&self, queue: QueueIndex) -> bool {
        self.find(queue).is_ok_and(VirtQueue::is_ready)
    }

    fn set_vq_state(&self, queue: QueueIndex, state: QueueState) -> Result {
        self.with(queue, |queue| queue.set_state(state))
    }

    fn get_vq_state(&self, queue: QueueIndex) -> Result<QueueState> {
        self.with(queue, |queue| queue.state(self.features()))
    }

    fn get_vendor_vq_stats(&self, queue: QueueIndex, stats: &mut StatsWriter<'_>) -> Result {
        self.model().write_stats(self, queue, stats)
    }

    /// What the driver chose once it is ready; before, what a driver in the kernel should choose.
    fn get_vq_size(&self, queue: QueueIndex) -> u16 {
        if !self.active.status().driver_ok() {
            return self.parameters.queue_size;
        }
        self.with(queue, |queue| queue.size())
            .ok()
            .and_then(|size| u16::try_from(size).ok())
            .unwrap_or(0)
    }

    /// The first of these CPUs does what is to be done for the queue.
    fn set_vq_affinity(&self, queue: QueueIndex, cpus: Option<&Cpumask>) -> Result {
        self.find(queue)?;
        let cpu = cpus.map_or(ANY_CPU, kext::cpu::first);
        let task = self.model().task_of(self, queue);
        if let Some(slot) = task.and_then(|task| self.cpus.get(task)) {
            slot.store(cpu, Relaxed);
        }
        Ok(())
    }

    fn get_vq_group(&self, queue: QueueIndex) -> GroupId {
        self.model().group_of(self, queue)
    }

    fn get_device_features(&self) -> Features {
        self.offered
    }

    fn get_backend_features(&self) -> u64 {
        1 << bindings::VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK
    }

    fn set_driver_features(&self, features: Features) -> Result {
        // The driver's addresses are to be translated.
        if !features.has(bindings::VIRTIO_F_ACCESS_PLATFORM) {
            return Err(EINVAL);
        }
        let _control = self.control.lock();
        let features = self.model().accept(features.intersection(self.offered))?;
        self.active.set_features(features);
        Ok(())
    }

    fn get_driver_features(&self) -> Features {
        self.features()
    }

    fn get_vq_num_max(&self) -> u16 {
        self.parameters.queue_size
    }

    fn get_device_id(&self) -> DeviceId {
        M::ID
    }

    fn get_status(&self) -> Status {
        self.active.status()
    }

    fn set_status(&self, status: Status) {
        let _control = self.control.lock();
        let was_running = self.is_running();
        self.active.set_status(status);
        if self.is_running() != was_running {
            self.set_running(was_running);
        }
    }

    fn reset(&self) -> Result {
        self.reset_device(ResetFlags::NONE)
    }

    fn compat_reset(&self, flags: ResetFlags) -> Result {
        self.reset_device(flags)
    }

    fn suspend(&self) -> Result {
        let _control = self.control.lock();
        let was_running = self.is_running();
        self.active.set_suspended(true);
        self.set_running(was_running);
        Ok(())
    }

    fn resume(&self) -> Result {
        let _control = self.control.lock();
        let was_running = self.is_running();
        self.active.set_suspended(false);
        self.set_running(was_running);
        Ok(())
    }

    fn get_config_size(&self) -> usize {
        self.model().config_size()
    }

    fn get_config(&self, offset: usize, buf: &mut [u8]) {
        self.model().read_config(self, offset, buf);
    }

    fn set_config(&self, offset: usize, buf: &[u8]) {
        self.model().write_config(self, offset, buf);
    }

    fn get_generation(&self) -> u32 {
        self.model().config_generation()
    }

    fn get_iova_range(&self) -> IovaRange {
        IovaRange {
            first: 0,
            last: u64::MAX,
        }
    }

    fn set_map(&self, asid: Asid, iotlb: &Iotlb) -> Result {
        let space = self.memory.space(asid)?;
        let result = match self.check_map() {
            Ok(()) => space.set_map(iotlb),
            Err(error) => {
                // What was mapped before need not be there any more.
                space.clear();
                Err(error)
            }
        };
        self.mapped();
        result
    }

    fn dma_map(&self, asid: Asid, mapping: &Mapping) -> Result {
        let space = self.memory.space(asid)?;
        self.check_map()?;
        space.map(mapping)?;
        self.mapped();
        Ok(())
    }

    fn dma_unmap(&self, asid: Asid, iova: u64, size: u64) -> Result {
        self.memory.space(asid)?.unmap(iova, size)
    }

    /// An address space begins empty. (In C, it begins with all of the host's memory.)
    fn reset_map(&self, asid: Asid) -> Result {
        self.memory.space(asid)?.clear();
        Ok(())
    }

    fn set_group_asid(&self, group: GroupId, asid: Asid) -> Result {
        self.memory.space(asid)?;
        let slot = usize::try_from(group.get())
            .ok()
            .and_then(|group| self.groups.get(group))
            .ok_or(EINVAL)?;
        let _control = self.control.lock();
        slot.store(asid.get(), Relaxed);
        // They go on in another memory.
        for queue in &self.queues {
            queue.claim().close();
        }
        self.model().changed(self);
        Ok(())
    }

    fn bind_mm(&self, mm: &Mm) -> Result {
        self.memory.set_owner(Some(mm));
        Ok(())
    }

    fn unbind_mm(&self) {
        self.memory.set_owner(None);
    }
}
