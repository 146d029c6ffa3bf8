// SPDX-License-Identifier: GPL-2.0

//! Bus types.
//!
//! C header: [`include/linux/device/bus.h`](srctree/include/linux/device/bus.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    device,
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// A `struct bus_type` in a static.
#[repr(transparent)]
pub struct BusType(Opaque<bindings::bus_type>);

// SAFETY: The driver core only reads a `struct bus_type`, and nothing writes it once it is built.
unsafe impl Sync for BusType {}

impl BusType {
    /// Wraps the C structure.
    ///
    /// # Safety
    ///
    /// Its name must be a static string, and all else null or what the driver core expects there.
    pub const unsafe fn new(bus: bindings::bus_type) -> Self {
        Self(Opaque::new(bus))
    }

    /// A bus of this name, and nothing else: a subsystem for devices that need no driver.
    pub const fn named(name: &'static CStr) -> Self {
        Self(Opaque::new(bindings::bus_type {
            name: kernel::str::as_char_ptr_in_const_context(name),
            ..pin_init::zeroed()
        }))
    }

    /// The name.
    pub fn name(&'static self) -> &'static CStr {
        // SAFETY: By the promise made to `new`, or by `named`, it is a static string.
        unsafe { CStr::from_char_ptr((*self.as_raw()).name) }
    }

    /// The C structure.
    pub const fn as_raw(&self) -> *const bindings::bus_type {
        self.0.get()
    }
}

/// The registration of a bus type with the driver core; undone by `Drop`.
pub struct Registration {
    bus: &'static BusType,
}

impl Registration {
    /// Registers `bus`. May sleep.
    pub fn new(bus: &'static BusType) -> Result<Self> {
        // SAFETY: The bus type is static.
        to_result(unsafe { bindings::bus_register(bus.as_raw()) })?;
        Ok(Self { bus })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: `new` registered it.
        unsafe { bindings::bus_unregister(self.bus.as_raw()) };
    }
}

/// What a device's `driver_override` says of a driver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Override {
    /// None is set: the bus decides.
    Unset,
    /// It names this driver.
    Matches,
    /// It names another driver.
    Differs,
}

/// Compares the device's `driver_override` with the driver's name. Takes a spinlock.
///
/// # Safety
///
/// `drv` must be a valid driver.
pub unsafe fn driver_override(
    dev: &device::Device,
    drv: *const bindings::device_driver,
) -> Override {
    let dev = crate::device::as_raw(dev);
    // SAFETY: The device is valid, and so is `drv` by the safety requirements.
    match unsafe { vdpa_bindings::device_match_driver_override(dev, drv) } {
        ..0 => Override::Unset,
        0 => Override::Differs,
        1.. => Override::Matches,
    }
}

/// The environment of a uevent that is being made.
///
/// # Invariants
///
/// Represents a valid `struct kobj_uevent_env`.
#[repr(transparent)]
pub struct UeventEnv(Opaque<bindings::kobj_uevent_env>);

impl UeventEnv {
    /// # Safety
    ///
    /// `env` must be valid, and used by nobody else, during `'a`.
    pub unsafe fn from_raw<'a>(env: *mut bindings::kobj_uevent_env) -> &'a mut Self {
        // SAFETY: By the safety requirements; the type is a transparent wrapper.
        unsafe { &mut *env.cast() }
    }

    /// Adds a variable, given as `NAME=value`. Fails with `ENOMEM` when the environment is full.
    pub fn add(&mut self, variable: &CStr) -> Result {
        // SAFETY: By the type invariant; both strings are NUL-terminated.
        to_result(unsafe {
            bindings::add_uevent_var(self.0.get(), c"%s".as_char_ptr(), variable.as_char_ptr())
        })
    }
}

/// The name of the bus of `dev`, if it is on one.
pub fn name_of(dev: &device::Device) -> Option<&CStr> {
    // SAFETY: The device is valid, and a device's bus does not change.
    let bus = NonNull::new(unsafe { (*crate::device::as_raw(dev)).bus }.cast_mut())?;
    // SAFETY: A bus type outlives the devices on it and has a name.
    Some(unsafe { CStr::from_char_ptr((*bus.as_ptr()).name) })
}
