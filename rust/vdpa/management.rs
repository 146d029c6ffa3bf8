// SPDX-License-Identifier: GPL-2.0

//! Management devices, as the bus sees them: what makes and removes vDPA devices on request.

use crate::{
    device::Device,
    types::{
        DeviceId,
        Features, //
    },
};
use core::ptr;
use kernel::{
    device,
    error::to_result,
    prelude::*,
    types::Opaque, //
};
use vdpa_bindings as bindings;

pub use crate::device_config::{
    Classes,
    DeviceConfig, //
};

/// A management device.
///
/// # Invariants
///
/// Represents a valid `struct vdpa_mgmt_dev` with a device, and operations that have `dev_add` and
/// `dev_del`.
#[repr(transparent)]
pub struct ManagementDevice(Opaque<bindings::vdpa_mgmt_dev>);

// SAFETY: The structure does not change while it is registered, but for `list`, which is unused.
unsafe impl Send for ManagementDevice {}
// SAFETY: As above.
unsafe impl Sync for ManagementDevice {}

impl DeviceConfig {
    fn to_raw(self) -> bindings::vdpa_dev_set_config {
        let mut raw = bindings::vdpa_dev_set_config {
            device_features: self.features.unwrap_or_default().bits(),
            mask: self.mask(),
            ..pin_init::zeroed()
        };
        raw.net.mac = self.mac.unwrap_or_default();
        raw.net.mtu = self.mtu.unwrap_or_default();
        raw.net.max_vq_pairs = self.max_queue_pairs.unwrap_or_default();
        raw
    }

    /// # Safety
    ///
    /// `raw` must be valid.
    pub unsafe fn from_raw(raw: *const bindings::vdpa_dev_set_config) -> Self {
        // SAFETY: By the safety requirements.
        let raw = unsafe { &*raw };
        let has = |attr: u32| raw.mask & 1 << attr != 0;
        Self {
            features: has(bindings::vdpa_attr_VDPA_ATTR_DEV_FEATURES)
                .then_some(Features::from_bits(raw.device_features)),
            mac: has(bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MACADDR).then_some(raw.net.mac),
            mtu: has(bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MTU).then_some(raw.net.mtu),
            max_queue_pairs: has(bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MAX_VQP)
                .then_some(raw.net.max_vq_pairs),
        }
    }
}

impl ManagementDevice {
    /// Takes over a pointer that a C caller passed, if it fulfils what the bus asks of it.
    ///
    /// # Safety
    ///
    /// `ptr` must be a `struct vdpa_mgmt_dev` that stays valid during `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::vdpa_mgmt_dev) -> Result<&'a Self> {
        // SAFETY: By the safety requirements.
        let ops = unsafe {
            if (*ptr).device.is_null() {
                return Err(EINVAL);
            }
            (*ptr).ops.as_ref().ok_or(EINVAL)?
        };
        if ops.dev_add.is_none() || ops.dev_del.is_none() {
            return Err(EINVAL);
        }
        // INVARIANT: Just checked.
        // SAFETY: By the safety requirements; the type is a transparent wrapper.
        Ok(unsafe { &*ptr.cast() })
    }

    fn raw(&self) -> &bindings::vdpa_mgmt_dev {
        // SAFETY: By the type invariants.
        unsafe { &*self.0.get() }
    }

    fn ops(&self) -> &bindings::vdpa_mgmtdev_ops {
        // SAFETY: By the type invariants.
        unsafe { &*self.raw().ops }
    }

    /// Where its operations are: in the module that implements it.
    pub fn operations_address(&self) -> usize {
        self.raw().ops.addr()
    }

    /// The device that it stands for.
    pub fn device(&self) -> &device::Device {
        // SAFETY: By the type invariants.
        unsafe { device::Device::from_raw(self.raw().device) }
    }

    /// The name of its bus, if it is on one.
    pub fn bus_name(&self) -> Option<&CStr> {
        kext::bus::name_of(self.device())
    }

    /// Its name.
    pub fn name(&self) -> &CStr {
        self.device().name()
    }

    /// The virtio device types that it can make.
    pub fn classes(&self) -> Classes {
        let mut classes = Classes::default();
        let mut entry = self.raw().id_table.cast_const();
        // SAFETY: By the type invariants: a table ends with an entry of device 0.
        while let Some(id) = unsafe { entry.as_ref() }.filter(|id| id.device != 0) {
            classes = classes.with(DeviceId::new(id.device));
            // SAFETY: This entry is not the last one.
            entry = unsafe { entry.add(1) };
        }
        classes
    }

    /// The features that a device of it can offer.
    pub fn supported_features(&self) -> Features {
        Features::from_bits(self.raw().supported_features)
    }

    /// The largest number of virtqueues of a device of it.
    pub fn max_queues(&self) -> u32 {
        self.raw().max_supported_vqs
    }

    /// The attributes that it takes for a new device, as a mask of the bits `VDPA_ATTR_*`.
    pub fn attribute_mask(&self) -> u64 {
        self.raw().config_attr_mask
    }

    /// Whether the attributes of its devices can be changed.
    pub fn can_set_attributes(&self) -> bool {
        self.ops().dev_set_attr.is_some()
    }

    /// Makes a device. Fails with the parent's error.
    pub fn add_device(&self, name: &CStr, config: &DeviceConfig) -> Result {
        let dev_add = self.ops().dev_add.ok_or(EOPNOTSUPP)?;
        let config = config.to_raw();
        // SAFETY: By the type invariants; the callee takes copies.
        to_result(unsafe { dev_add(self.0.get(), name.as_char_ptr(), &config) })
    }

    /// Removes a device, which must be one of this management device. The reference keeps the
    /// device valid during the call, as parents rely on.
    ///
    /// Fails with `EINVAL` for a device of another management device.
    pub fn remove_device(&self, device: &Device) -> Result {
        self.check_owner(device)?;
        let dev_del = self.ops().dev_del.ok_or(EOPNOTSUPP)?;
        // SAFETY: By the type invariants; the device is one of this management device.
        unsafe { dev_del(self.0.get(), device.as_raw()) };
        Ok(())
    }

    /// Changes attributes of a device, which must be one of this management device. Takes `cf_lock`
    /// of the device.
    ///
    /// Fails with `EOPNOTSUPP` if it cannot, `EINVAL` for a device of another management device,
    /// or with the parent's error.
    pub fn set_attributes(&self, device: &Device, config: &DeviceConfig) -> Result {
        self.check_owner(device)?;
        let dev_set_attr = self.ops().dev_set_attr.ok_or(EOPNOTSUPP)?;
        let config = config.to_raw();
        let _held = device.config_lock().write();
        // SAFETY: By the type invariants; the device is one of this management device.
        to_result(unsafe { dev_set_attr(self.0.get(), device.as_raw(), &config) })
    }

    fn check_owner(&self, device: &Device) -> Result {
        if self.owns(device) {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// The device as one whose parent may be called, if it is one of this management device.
    pub fn device_of<'a>(&'a self, device: &'a Device) -> Option<&'a Device<device::Bound>> {
        // SAFETY: The parent of its devices goes with the management device, which is valid
        // during `'a`.
        self.owns(device).then(|| unsafe { device.as_bound() })
    }

    /// Whether the device is one of this management device.
    pub fn owns(&self, device: &Device) -> bool {
        // SAFETY: The device is valid; its parent sets `mdev` before the device gets on the bus.
        ptr::eq(unsafe { (*device.as_raw()).mdev }, self.0.get())
    }
}

impl PartialEq for ManagementDevice {
    /// Whether both are the same management device.
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}
