// SPDX-License-Identifier: GPL-2.0

//! The C interface, `include/linux/vdpa.h`: each function turns pointers into references, calls the
//! one that does it, and turns its result into an errno. `exports.c` makes them visible to modules.
//!
//! All are called in process context and may sleep.

use crate::{
    bus,
    life, //
};
use core::mem::ManuallyDrop;
use kernel::{
    device::Bound,
    error::from_result,
    prelude::*, //
};
use vdpa::{
    bus::{
        Registered,
        Specification,
        Unregistered, //
    },
    config::{
        InBuffer,
        OutBuffer, //
    },
    Device,
    ManagementDevice,
    Status, //
};
use vdpa_bindings as bindings;

kext::c_export! {
    use bindings;

    /// # Safety
    ///
    /// The pointers must be null or valid; `parent`, `config` and `map` as long as the device.
    unsafe extern "C" fn __vdpa_alloc_device(
        parent: *mut bindings::device,
        config: *const bindings::vdpa_config_ops,
        map: *const bindings::virtio_map_ops,
        ngroups: c_uint,
        nas: c_uint,
        size: usize,
        name: *const c_char,
        use_va: bool,
    ) -> *mut bindings::vdpa_device {
        // SAFETY: By the safety requirements.
        let spec = unsafe {
            Specification::from_raw(parent, config, map, ngroups, nas, size, name, use_va)
        };
        match spec.and_then(|spec| life::allocate(&spec)) {
            Ok(device) => ManuallyDrop::new(device).as_raw(),
            Err(e) => e.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// `vdev` must be an allocated device that was never registered.
    unsafe extern "C" fn _vdpa_register_device(
        vdev: *mut bindings::vdpa_device,
        nvqs: u32,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let device = unsafe { Unregistered::from_raw(vdev) };
        from_result(|| life::register_managed(device, nvqs).map(|()| 0))
    }

    /// # Safety
    ///
    /// `vdev` must be an allocated device that was never registered.
    unsafe extern "C" fn vdpa_register_device(
        vdev: *mut bindings::vdpa_device,
        nvqs: u32,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let device = unsafe { Unregistered::from_raw(vdev) };
        from_result(|| life::register_unmanaged(device, nvqs).map(|()| 0))
    }

    /// # Safety
    ///
    /// `vdev` must be a registered device; the caller gives up its reference.
    unsafe extern "C" fn _vdpa_unregister_device(vdev: *mut bindings::vdpa_device) {
        // SAFETY: By the safety requirements.
        life::unregister_managed(unsafe { Registered::from_raw(vdev) });
    }

    /// # Safety
    ///
    /// `vdev` must be a registered device; the caller gives up its reference.
    unsafe extern "C" fn vdpa_unregister_device(vdev: *mut bindings::vdpa_device) {
        // SAFETY: By the safety requirements.
        life::unregister_unmanaged(unsafe { Registered::from_raw(vdev) });
    }

    /// # Safety
    ///
    /// `drv` must be valid until it is unregistered, with a name, and `owner` be null or its module.
    unsafe extern "C" fn __vdpa_register_driver(
        drv: *mut bindings::vdpa_driver,
        owner: *mut bindings::module,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe {
            (*drv).driver.bus = bus::BUS.as_raw();
            (*drv).driver.owner = owner;
            bindings::driver_register(&raw mut (*drv).driver)
        }
    }

    /// # Safety
    ///
    /// `drv` must be a registered driver.
    unsafe extern "C" fn vdpa_unregister_driver(drv: *mut bindings::vdpa_driver) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::driver_unregister(&raw mut (*drv).driver) };
    }

    /// # Safety
    ///
    /// `mdev` must be valid until `vdpa_mgmtdev_unregister()` returns.
    unsafe extern "C" fn vdpa_mgmtdev_register(mdev: *mut bindings::vdpa_mgmt_dev) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements; the bus lets go of the reference in time.
            let manager = unsafe { ManagementDevice::from_raw(mdev) }?;
            life::add_manager(manager).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// `mdev` must be a registered management device.
    unsafe extern "C" fn vdpa_mgmtdev_unregister(mdev: *mut bindings::vdpa_mgmt_dev) {
        // SAFETY: By the safety requirements.
        if let Ok(manager) = unsafe { ManagementDevice::from_raw(mdev) } {
            life::remove_manager(manager);
        }
    }

    /// # Safety
    ///
    /// `vdev` must be a device whose parent is there, and `buf` valid for writes of `len` bytes.
    unsafe extern "C" fn vdpa_get_config(
        vdev: *mut bindings::vdpa_device,
        offset: c_uint,
        buf: *mut c_void,
        len: c_uint,
    ) {
        // SAFETY: By the safety requirements.
        let (device, buf) =
            unsafe { (Device::<Bound>::from_raw(vdev), OutBuffer::from_raw(buf, len)) };
        device.get_config(offset, buf);
    }

    /// # Safety
    ///
    /// `dev` must be a device whose parent is there, and `buf` valid for reads of `length` bytes.
    unsafe extern "C" fn vdpa_set_config(
        dev: *mut bindings::vdpa_device,
        offset: c_uint,
        buf: *const c_void,
        length: c_uint,
    ) {
        // SAFETY: By the safety requirements.
        let (device, buf) =
            unsafe { (Device::<Bound>::from_raw(dev), InBuffer::from_raw(buf, length)) };
        device.set_config(offset, buf);
    }

    /// # Safety
    ///
    /// `vdev` must be a device whose parent is there.
    unsafe extern "C" fn vdpa_set_status(vdev: *mut bindings::vdpa_device, status: u8) {
        // SAFETY: By the safety requirements.
        let device = unsafe { Device::<Bound>::from_raw(vdev) };
        device.set_status(Status::from_bits(status));
    }
}
