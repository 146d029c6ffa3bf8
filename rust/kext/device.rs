// SPDX-License-Identifier: GPL-2.0

//! What `kernel::device` keeps to itself.

use core::ptr;
use kernel::{
    bindings,
    device::{
        Device,
        DeviceContext, //
    }, //
};

/// The C structure of `dev`; `Device::as_raw` is private to the kernel crate.
pub fn as_raw<Ctx: DeviceContext>(dev: &Device<Ctx>) -> *mut bindings::device {
    // CAST: `Device` is a transparent wrapper of `struct device`, with interior mutability.
    ptr::from_ref(dev).cast_mut().cast()
}
