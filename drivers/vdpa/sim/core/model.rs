// SPDX-License-Identifier: GPL-2.0

//! What makes a simulator a device of some type.

use crate::{
    simulator::Simulator,
    virt_queue::QueueData, //
};
use kernel::{
    prelude::*,
    ModuleMetadata, //
};
use kext::mm::MmSwitch;
use vdpa::{
    DeviceId,
    Features,
    GroupId,
    QueueIndex,
    StatsWriter, //
};

/// Where a device runs.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// Anywhere: it must not sleep, and only reaches the memory of a driver in the kernel.
    Atomic,
    /// In a kernel thread.
    Thread(&'a MmSwitch),
}

/// What makes a simulator a device of some type.
///
/// A model has a number of tasks. A task runs when there may be something to do in one of the queues
/// that belong to it; different tasks run at the same time.
pub trait Model: Sized + Send + Sync + 'static {
    /// The module that the model is part of.
    type OwnerModule: ModuleMetadata;

    /// What the model keeps with each queue, for who has the queue's claim.
    type QueueData: QueueData;

    /// The virtio device type.
    const ID: DeviceId;

    /// The number of tasks.
    fn tasks(&self) -> usize;

    /// There may be something new in a queue: [schedules](Simulator::schedule) who has to know. Any
    /// context.
    fn kicked(&self, device: &Simulator<Self>, queue: QueueIndex);

    /// The task that mostly works for a queue.
    fn task_of(&self, device: &Simulator<Self>, queue: QueueIndex) -> Option<usize>;

    /// Somebody who wanted a queue could not have it: schedules all who may be that. Any context.
    fn missed(&self, device: &Simulator<Self>, queue: QueueIndex);

    /// The group of a queue.
    fn group_of(&self, device: &Simulator<Self>, queue: QueueIndex) -> GroupId;

    /// Runs a task, and says whether there is more to do at once. Several contexts may run the same
    /// one, as a kick beside a thread: what it changes is in claims.
    fn run(&self, device: &Simulator<Self>, task: usize, place: Place<'_>) -> bool;

    /// The features that a driver may accept of those that it wants to. Fails if they make no sense.
    fn accept(&self, features: Features) -> Result<Features>;

    /// The device was reset. Nothing runs.
    fn reset(&self);

    /// Something about the device or its queues is not as it was: schedules all tasks that work with
    /// them, also those of other devices. Any context.
    fn changed(&self, device: &Simulator<Self>) {
        device.schedule_all();
    }

    /// The size of the configuration space in bytes.
    fn config_size(&self) -> usize;

    /// Reads configuration space. What is outside stays as it is.
    fn read_config(&self, device: &Simulator<Self>, offset: usize, to: &mut [u8]);

    /// Writes configuration space. What is outside, or not writable, is ignored.
    fn write_config(&self, device: &Simulator<Self>, offset: usize, from: &[u8]);

    /// A number that changes with the configuration space.
    fn config_generation(&self) -> u32;

    /// Writes statistics of a queue. Fails with `EINVAL` for one that the device does not have.
    fn write_stats(
        &self,
        device: &Simulator<Self>,
        queue: QueueIndex,
        stats: &mut StatsWriter<'_>,
    ) -> Result;
}
