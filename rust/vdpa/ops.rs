// SPDX-License-Identifier: GPL-2.0

//! The operations of a device, as its parent implements them.
//!
//! [`DeviceOps`] has a method for each operation of `struct vdpa_config_ops`, under its C name, but
//! for `free`: dropping the implementing type does that. Operations that C calls optional are
//! optional here; leaving one out leaves its place in the C table empty, and users of the device
//! notice. A few that C calls mandatory say what they do unless they are implemented.
//!
//! # Concurrency
//!
//! Operations get a shared reference, as any two of them may run at the same time: what changes has
//! to be in locks or atomics. Unless a method says otherwise, it runs in process context, may sleep,
//! and no lock of the bus is held. In practice a bus driver serialises the operations on virtqueues,
//! but `vdpa dev show` and friends call those that only ask (`get_device_id`, `get_vendor_id`,
//! `get_vq_num_max`, `get_vq_num_min`, `get_device_features`, `get_driver_features`, `get_status`,
//! `get_config`, `get_vendor_vq_stats`) at any time.
//!
//! Numbers of queues, groups and address spaces come unchecked. Sizes, addresses and what is in
//! memory come from whoever uses the device, often an untrusted guest.

use crate::{
    memory::{
        Asid,
        GroupId,
        Iotlb,
        IovaRange,
        Mapping,
        VirtioMap, //
    },
    queue::{
        NotificationArea,
        NotificationData,
        QueueAddresses,
        QueueIndex,
        QueueState, //
    },
    stats::StatsWriter,
    types::{
        DeviceId,
        Features,
        ResetFlags,
        Status, //
    },
};
use kernel::{
    cpumask::Cpumask,
    error::VTABLE_DEFAULT_ERROR,
    mm::Mm,
    prelude::*, //
};

/// A vDPA device, as its parent implements it: `struct vdpa_config_ops` in C.
///
/// The value lives in the same allocation as the C device, from the initialiser that is given when
/// the device is made until the last reference to the device is gone. That may be long after the
/// device left the bus, and is then in the task that held the reference.
#[vtable]
pub trait DeviceOps: Sized + Send + Sync + 'static {
    // Virtqueues.

    /// Where a virtqueue is, in the address space of its group. Comes before the queue is made
    /// ready.
    fn set_vq_address(&self, queue: QueueIndex, at: QueueAddresses) -> Result;

    /// The number of entries of a virtqueue. Comes before the queue is made ready.
    fn set_vq_num(&self, queue: QueueIndex, entries: u32);

    /// There are new buffers in a virtqueue.
    ///
    /// Runs in any context, also with interrupts disabled and under locks of others: it must not
    /// sleep.
    fn kick_vq(&self, queue: QueueIndex);

    /// As [`kick_vq`](Self::kick_vq), when `VIRTIO_F_NOTIFICATION_DATA` is negotiated. Optional.
    ///
    /// Same context as `kick_vq`.
    fn kick_vq_with_data(&self, data: NotificationData) {
        let _ = data;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The bus driver wants interrupts of a virtqueue, or none. Optional.
    ///
    /// [`Interrupts`](crate::Interrupts) keeps the callback itself; this is for those who have to
    /// tell hardware.
    fn set_vq_cb(&self, queue: QueueIndex, wanted: bool) {
        let _ = (queue, wanted);
    }

    /// Starts the processing of a virtqueue, or stops it.
    fn set_vq_ready(&self, queue: QueueIndex, ready: bool);

    /// Whether a virtqueue is ready.
    fn get_vq_ready(&self, queue: QueueIndex) -> bool;

    /// Where to go on in a virtqueue. Comes before the queue is made ready.
    fn set_vq_state(&self, queue: QueueIndex, state: QueueState) -> Result;

    /// Where the device goes on in a virtqueue. Exact while the device is suspended or the queue is
    /// not ready.
    fn get_vq_state(&self, queue: QueueIndex) -> Result<QueueState>;

    /// Writes statistics of a virtqueue, which user space asks for by netlink. Optional.
    ///
    /// Runs with `cf_lock` held for reading. Any 16 bits can come as number of the queue.
    fn get_vendor_vq_stats(&self, queue: QueueIndex, stats: &mut StatsWriter<'_>) -> Result {
        let _ = (queue, stats);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Memory by which user space can kick a virtqueue, one page of its own. Optional.
    fn get_vq_notification(&self, queue: QueueIndex) -> Option<NotificationArea> {
        let _ = queue;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The interrupt line of a virtqueue, for delivery to a guest without the host's CPU. Optional.
    ///
    /// It must not change while `DRIVER_OK` is set.
    fn get_vq_irq(&self, queue: QueueIndex) -> Result<u32> {
        let _ = queue;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The number of entries of a virtqueue. Optional.
    fn get_vq_size(&self, queue: QueueIndex) -> u16 {
        let _ = queue;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    // The device.

    /// The alignment of virtqueues in bytes; 4096, which suits all drivers, unless implemented.
    fn get_vq_align(&self) -> u32 {
        4096
    }

    /// The group of a virtqueue, below the number of groups. Optional.
    fn get_vq_group(&self, queue: QueueIndex) -> GroupId {
        let _ = queue;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The group of a virtqueue's descriptor table. Optional.
    fn get_vq_desc_group(&self, queue: QueueIndex) -> GroupId {
        let _ = queue;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The features that the device offers.
    fn get_device_features(&self) -> Features;

    /// What the device offers beyond virtio, `VHOST_BACKEND_F_*`. Optional.
    fn get_backend_features(&self) -> u64 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The features that the driver accepts. Runs with `cf_lock` held, mostly for writing.
    fn set_driver_features(&self, features: Features) -> Result;

    /// The features that were accepted.
    fn get_driver_features(&self) -> Features;

    /// The bus driver wants to know of changes of the configuration space, or not. Optional.
    ///
    /// See [`set_vq_cb`](Self::set_vq_cb).
    fn set_config_cb(&self, wanted: bool) {
        let _ = wanted;
    }

    /// The largest number of entries of a virtqueue. 0 keeps drivers from the device.
    fn get_vq_num_max(&self) -> u16;

    /// The smallest number of entries of a virtqueue. Optional.
    fn get_vq_num_min(&self) -> u16 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The virtio device type. It must not change.
    fn get_device_id(&self) -> DeviceId;

    /// The virtio vendor ID; 0, as of a device made of software, unless implemented. It must not
    /// change.
    fn get_vendor_id(&self) -> u32 {
        0
    }

    /// The status.
    fn get_status(&self) -> Status;

    /// Sets the status, which is not 0. Runs with `cf_lock` held for writing.
    fn set_status(&self, status: Status);

    /// Resets the device: status 0, no features, no queue ready, no access to memory in progress
    /// when it returns. What is mapped stays. Runs with `cf_lock` held for writing.
    ///
    /// The callbacks of the bus driver are forgotten afterwards, also if this fails.
    fn reset(&self) -> Result;

    /// As [`reset`](Self::reset), with quirks. Optional, for parents that used to reset more.
    fn compat_reset(&self, flags: ResetFlags) -> Result {
        let _ = flags;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Stops all processing until [`resume`](Self::resume) or a reset. Optional.
    fn suspend(&self) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Goes on after [`suspend`](Self::suspend). Optional.
    fn resume(&self) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The size of the configuration space in bytes, whatever features are negotiated.
    fn get_config_size(&self) -> usize;

    /// Reads configuration space into `buf`, which comes filled with zeroes. Any offset and length
    /// may come: what is outside of the space stays 0.
    ///
    /// Runs with `cf_lock` held for reading.
    fn get_config(&self, offset: usize, buf: &mut [u8]);

    /// Writes configuration space. Any offset and length may come: what is outside of the space, or
    /// not writable, is ignored. Unless implemented, nothing is writable.
    ///
    /// Runs with `cf_lock` held for writing.
    fn set_config(&self, offset: usize, buf: &[u8]) {
        let _ = (offset, buf);
    }

    /// A number that changes with the configuration space. Optional.
    fn get_generation(&self) -> u32 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The I/O virtual addresses that the device can reach. Optional: all.
    fn get_iova_range(&self) -> IovaRange {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The CPUs on which to handle the interrupt of a virtqueue; `None` for no preference.
    /// Optional.
    fn set_vq_affinity(&self, queue: QueueIndex, cpus: Option<&Cpumask>) -> Result {
        let _ = (queue, cpus);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The CPUs on which the interrupt of a virtqueue is handled. Optional.
    fn get_vq_affinity(&self, queue: QueueIndex) -> Option<&Cpumask> {
        let _ = queue;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    // Memory. A device that translates addresses itself implements either `set_map`, or `dma_map`
    // and `dma_unmap`; one behind the platform's IOMMU implements neither.

    /// Replaces the contents of an address space. Optional.
    ///
    /// Runs under the bus driver's lock, and at times with the `mmap` lock of the owner's memory
    /// held for reading: it must not take that or fault on it.
    fn set_map(&self, asid: Asid, iotlb: &Iotlb) -> Result {
        let _ = (asid, iotlb);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Adds a piece to an address space. Optional, goes with [`dma_unmap`](Self::dma_unmap).
    ///
    /// Same context as [`set_map`](Self::set_map).
    fn dma_map(&self, asid: Asid, mapping: &Mapping) -> Result {
        let _ = (asid, mapping);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Removes `size` bytes from `iova` on. Optional, goes with [`dma_map`](Self::dma_map).
    ///
    /// Same context as [`set_map`](Self::set_map). The device must not access physical memory when
    /// this returns. Memory of a process it may access as the process could, for what it is at.
    fn dma_unmap(&self, asid: Asid, iova: u64, size: u64) -> Result {
        let _ = (asid, iova, size);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives an address space its initial contents back. Optional.
    fn reset_map(&self, asid: Asid) -> Result {
        let _ = asid;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Lets a group see an address space. Optional. Never at the same time as `set_status`.
    fn set_group_asid(&self, group: GroupId, asid: Asid) -> Result {
        let _ = (group, asid);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// How kernel drivers map memory for a virtqueue. Optional: as for the whole device.
    fn get_vq_map(&self, queue: QueueIndex) -> VirtioMap<'_> {
        let _ = queue;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// From now on addresses are virtual ones of this memory. Optional.
    fn bind_mm(&self, mm: &Mm) -> Result {
        let _ = mm;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Undoes [`bind_mm`](Self::bind_mm). Optional.
    fn unbind_mm(&self) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}
