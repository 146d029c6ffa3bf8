// SPDX-License-Identifier: GPL-2.0

//! Devices on the vDPA bus, as those who use them see them.
//!
//! # Locks
//!
//! `cf_lock` of the device guards its configuration space, its status and the negotiation of
//! features; what takes it is in [`config`](crate::config). All other methods call the parent
//! without a lock, and the bus driver has to serialise them.

use crate::types::{
    DeviceId,
    Features,
    Status, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    device,
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};
use kext::rwsem::RawRwSemaphore;
use vdpa_bindings as bindings;

/// A device on the vDPA bus.
///
/// # Invariants
///
/// Represents a `struct vdpa_device` that `__vdpa_alloc_device()` made: its reference count keeps
/// it valid, `config` points to a table that does not change, and `cf_lock` is initialised.
#[repr(transparent)]
pub struct Device<Ctx: device::DeviceContext = device::Normal>(
    Opaque<bindings::vdpa_device>,
    PhantomData<Ctx>,
);

/// Calls an operation of the parent, or gives `$default` where the parent lacks it. With `=> $wrap`,
/// what the operation returns is wrapped in that.
macro_rules! call {
    ($self:ident, $op:ident($($arg:expr),*), $default:expr) => {
        call!($self, $op($($arg),*) => ::core::convert::identity, $default)
    };
    ($self:ident, $op:ident($($arg:expr),*) => $wrap:path, $default:expr) => {
        match $self.ops().$op {
            // SAFETY: By the type invariants the device is valid, and the table is the parent's
            // for this device.
            Some(op) => $wrap(unsafe { op($self.as_raw() $(, $arg)*) }),
            None => $default,
        }
    };
}
pub(crate) use call;

impl<Ctx: device::DeviceContext> Device<Ctx> {
    /// The C structure.
    pub fn as_raw(&self) -> *mut bindings::vdpa_device {
        self.0.get()
    }

    /// # Safety
    ///
    /// `ptr` must fulfil the type invariants, with a reference held, and be in the context `Ctx`,
    /// during `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::vdpa_device) -> &'a Self {
        // SAFETY: By the safety requirements; the type is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// # Safety
    ///
    /// `dev` must be the `dev` field of a `struct vdpa_device` for which
    /// [`from_raw`](Device::from_raw) may be called.
    pub unsafe fn from_device_raw<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the safety requirements.
        unsafe { Self::from_raw(kernel::container_of!(dev, bindings::vdpa_device, dev)) }
    }

    /// The operations of the parent.
    pub(crate) fn ops(&self) -> &bindings::vdpa_config_ops {
        // SAFETY: By the type invariants.
        unsafe { &*(*self.as_raw()).config }
    }

    pub(crate) fn config_lock(&self) -> &RawRwSemaphore {
        // SAFETY: By the type invariants.
        unsafe { RawRwSemaphore::from_raw(&raw mut (*self.as_raw()).cf_lock) }
    }
}

impl Device {
    /// The device's name on the bus.
    pub fn name(&self) -> &CStr {
        let dev: &device::Device = self.as_ref();
        dev.name()
    }

    /// The number of virtqueues.
    pub fn queue_count(&self) -> u32 {
        // SAFETY: By the type invariants; it is set before the device appears on the bus.
        unsafe { (*self.as_raw()).nvqs }
    }

    /// The number of groups into which the virtqueues are divided.
    pub fn group_count(&self) -> u32 {
        // SAFETY: By the type invariants; it is set when the device is made.
        unsafe { (*self.as_raw()).ngroups }
    }

    /// The number of address spaces.
    pub fn address_space_count(&self) -> u32 {
        // SAFETY: By the type invariants; it is set when the device is made.
        unsafe { (*self.as_raw()).nas }
    }

    /// Whether the device uses virtual addresses of its owner's memory.
    pub fn uses_va(&self) -> bool {
        // SAFETY: By the type invariants; it is set when the device is made.
        unsafe { (*self.as_raw()).use_va }
    }
}

/// What asks the parent: only while it is sure to be there, as it is while a driver is bound.
impl Device<device::Bound> {
    /// The virtio device type.
    pub fn device_id(&self) -> DeviceId {
        DeviceId::new(call!(self, get_device_id(), 0))
    }

    /// The virtio vendor ID.
    pub fn vendor_id(&self) -> u32 {
        call!(self, get_vendor_id(), 0)
    }

    /// The largest size of a virtqueue, in entries.
    pub fn max_queue_size(&self) -> u16 {
        call!(self, get_vq_num_max(), 0)
    }

    /// The smallest size of a virtqueue, in entries; 1 if the parent names none.
    pub fn min_queue_size(&self) -> u16 {
        call!(self, get_vq_num_min(), 1)
    }

    /// The features that the device offers.
    pub fn device_features(&self) -> Features {
        Features::from_bits(call!(self, get_device_features(), 0))
    }

    /// The features that were negotiated.
    pub fn driver_features(&self) -> Features {
        Features::from_bits(call!(self, get_driver_features(), 0))
    }

    /// The status.
    pub fn status(&self) -> Status {
        Status::from_bits(call!(self, get_status(), 0))
    }

    /// Whether the device can be suspended.
    pub fn can_suspend(&self) -> bool {
        self.ops().suspend.is_some()
    }

    /// Whether a suspended device can go on.
    pub fn can_resume(&self) -> bool {
        self.ops().resume.is_some()
    }

    /// Whether descriptor tables can be in groups of their own.
    pub fn has_descriptor_groups(&self) -> bool {
        self.ops().get_vq_desc_group.is_some()
    }

    /// Whether groups can be moved to other address spaces.
    pub fn can_set_group_address_space(&self) -> bool {
        self.ops().set_group_asid.is_some()
    }

    /// Whether the device has statistics of its virtqueues.
    pub fn has_vendor_stats(&self) -> bool {
        self.ops().get_vendor_vq_stats.is_some()
    }

    /// Size of the configuration space, in bytes.
    pub fn config_size(&self) -> usize {
        call!(self, get_config_size(), 0)
    }
}

impl Device {
    /// The device as one whose parent may be called.
    ///
    /// # Safety
    ///
    /// For as long as the reference is used, a driver must be bound to the device, or something else
    /// must keep it from being unregistered.
    pub unsafe fn as_bound(&self) -> &Device<device::Bound> {
        // SAFETY: `self` is valid, and by the safety requirements in the context `Bound`.
        unsafe { Device::from_raw(self.as_raw()) }
    }
}

impl Device<device::Bound> {
    /// What the parent offers to its user beyond virtio, `VHOST_BACKEND_F_*`; nothing if it does
    /// not tell.
    pub fn backend_features(&self) -> Option<u64> {
        call!(self, get_backend_features() => Some, None)
    }

    /// A number that changes with the configuration space, if the parent counts.
    pub fn config_generation(&self) -> Option<u32> {
        call!(self, get_generation() => Some, None)
    }

    /// Stops the device, so that it leaves memory alone and its state can be read. May sleep; not
    /// at the same time as another change of the status.
    ///
    /// Fails with `EOPNOTSUPP` if the parent cannot, or with its error.
    pub fn suspend(&self) -> Result {
        to_result(call!(self, suspend(), EOPNOTSUPP.to_errno()))
    }

    /// Lets a suspended device go on. May sleep; not at the same time as another change of the
    /// status.
    ///
    /// Fails with `EOPNOTSUPP` if the parent cannot, or with its error.
    pub fn resume(&self) -> Result {
        to_result(call!(self, resume(), EOPNOTSUPP.to_errno()))
    }
}

impl<Ctx: device::DeviceContext> AsRef<device::Device<Ctx>> for Device<Ctx> {
    fn as_ref(&self) -> &device::Device<Ctx> {
        // SAFETY: By the type invariants the embedded device is valid, in the same context.
        unsafe { device::Device::from_raw(&raw mut (*self.as_raw()).dev) }
    }
}

// SAFETY: `Device` is a transparent wrapper of a type that does not depend on the context.
kernel::impl_device_context_deref!(unsafe { Device });
kernel::impl_device_context_into_aref!(Device);

// SAFETY: `Device` is a transparent wrapper; `dev` lies at this offset, whatever the context.
unsafe impl<Ctx: device::DeviceContext> device::AsBusDevice<Ctx> for Device<Ctx> {
    const OFFSET: usize = offset_of!(bindings::vdpa_device, dev);
}

// SAFETY: The embedded `struct device` counts the references.
unsafe impl AlwaysRefCounted for Device {
    fn inc_ref(&self) {
        // SAFETY: The reference to `self` guarantees a count above zero.
        unsafe { bindings::get_device(&raw mut (*self.as_raw()).dev) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // CAST: `Device` is a transparent wrapper.
        let vdev = obj.cast::<bindings::vdpa_device>().as_ptr();
        // SAFETY: By the safety requirements the caller gives up a reference that it has.
        unsafe { bindings::put_device(&raw mut (*vdev).dev) };
    }
}

// SAFETY: A device is reference counted, and may be released in any thread.
unsafe impl Send for Device {}
// SAFETY: All methods of `Device` may be called from any thread.
unsafe impl Sync for Device {}
// SAFETY: As `Device<Normal>`; the context is a marker without data.
unsafe impl Sync for Device<device::Bound> {}

impl PartialEq for Device {
    /// Whether both are the same device.
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

/// A counted reference to a device.
pub type DeviceRef = ARef<Device>;
