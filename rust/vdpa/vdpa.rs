// SPDX-License-Identifier: GPL-2.0

//! The vDPA API for drivers.
//!
//! A vDPA device is a virtio device whose data path follows the virtio specification, while its
//! control path is a table of operations ([`struct vdpa_config_ops`]) in a *parent* driver. Bus
//! drivers use a [`Device`] through these operations; parents implement them.
//!
//! Everything here keeps to the C layouts and calls the C symbols of `vdpa.ko`, so modules built on
//! it work with the C and the Rust build of that module, and beside C parents and C drivers.
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h)
//!
//! [`struct vdpa_config_ops`]: srctree/include/linux/vdpa.h

pub mod config;
pub mod core;
pub mod device;
pub mod management;
pub mod types;

pub use self::{
    device::Device,
    management::{
        DeviceConfig,
        ManagementDevice, //
    },
    types::*,
};
