// SPDX-License-Identifier: GPL-2.0

//! What `kernel::device` keeps to itself.

use core::ptr;
use kernel::{
    bindings,
    device::{
        Device,
        DeviceContext, //
    },
    prelude::*, //
};

/// The C structure of `dev`; `Device::as_raw` is private to the kernel crate.
pub fn as_raw<Ctx: DeviceContext>(dev: &Device<Ctx>) -> *mut bindings::device {
    // CAST: `Device` is a transparent wrapper of `struct device`, with interior mutability.
    ptr::from_ref(dev).cast_mut().cast()
}

/// The name of `dev`.
///
/// # Safety
///
/// `dev` must be a valid device that has a name, and is not renamed during `'a`.
pub unsafe fn name<'a>(dev: *const bindings::device) -> &'a CStr {
    // SAFETY: By the safety requirements; this is what the inline `dev_name()` does.
    unsafe {
        let init_name = (*dev).init_name;
        CStr::from_char_ptr(if init_name.is_null() {
            (*dev).kobj.name
        } else {
            init_name
        })
    }
}
