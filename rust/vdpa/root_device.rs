// SPDX-License-Identifier: GPL-2.0

//! Devices that stand for nothing but themselves, under `/sys/devices`.
//!
//! The management device of a software device has such a parent: `vdpa mgmtdev show` gives its name
//! without a bus.
//!
//! C header: [`include/linux/device.h`](srctree/include/linux/device.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    device::Device,
    error::from_err_ptr,
    prelude::*, //
};

/// A registered root device; dropping it unregisters it.
///
/// # Invariants
///
/// The pointer is that of a root device that was registered here.
pub struct RootDevice(NonNull<bindings::device>);

// SAFETY: A device can be used and unregistered from any thread.
unsafe impl Send for RootDevice {}
// SAFETY: As above.
unsafe impl Sync for RootDevice {}

impl RootDevice {
    /// Registers a root device, which belongs to `module` in sysfs. Fails with `EEXIST` or `ENOMEM`.
    pub fn new(name: &CStr, module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The name is copied; the module stays as long as this code runs.
        let dev = from_err_ptr(unsafe {
            bindings::__root_device_register(name.as_char_ptr(), module.as_ptr())
        })?;
        // INVARIANT: It was just registered.
        Ok(Self(NonNull::new(dev).ok_or(ENOMEM)?))
    }
}

impl AsRef<Device> for RootDevice {
    fn as_ref(&self) -> &Device {
        // SAFETY: By the type invariants.
        unsafe { Device::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for RootDevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::root_device_unregister(self.0.as_ptr()) };
    }
}
