// SPDX-License-Identifier: GPL-2.0

//! The vDPA API for drivers.
//!
//! A vDPA device is a virtio device whose data path follows the virtio specification, while its
//! control path is a table of operations ([`struct vdpa_config_ops`]) in a *parent* driver. Bus
//! drivers use a [`Device`] through these operations; parents implement them.
//!
//! To write
//! - a bus driver: [`Driver`], [`module_vdpa_driver!`], and the operations of [`Device`];
//! - a device: [`DeviceOps`], and [`ManagementOps`] with a [`ManagementRegistration`] if users make
//!   and remove it by `vdpa dev`, else a [`Registration`].
//!
//! `samples/` has one of each.
//!
//! Everything here keeps to the C layouts and calls the C symbols of `vdpa.ko`, so modules built on
//! it work with the C and the Rust build of that module, and beside C parents and C drivers.
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h)
//!
//! [`struct vdpa_config_ops`]: srctree/include/linux/vdpa.h

pub mod bus;
pub mod callback;
pub mod config;
mod config_range;
pub mod device;
mod device_config;
pub mod driver;
pub mod interrupts;
pub mod loan;
pub mod management;
pub mod manager;
pub mod memory;
pub mod ops;
mod ops_table;
mod ops_tests;
pub mod parent;
pub mod queue;
mod queue_state;
pub mod registration;
pub mod root_device;
pub mod signals;
pub mod stats;
pub mod types;

pub use self::{
    callback::{
        CallbackGuard,
        CallbackSet,
        InterruptHandler, //
    },
    device::Device,
    driver::Driver,
    interrupts::Interrupts,
    loan::{
        Lent,
        Loan, //
    },
    management::{
        DeviceConfig,
        ManagementDevice, //
    },
    manager::{
        MadeDevice,
        ManagedDevice,
        ManagementOps,
        ManagementParams,
        ManagementRegistration,
        NewDevice, //
    },
    memory::*,
    ops::DeviceOps,
    parent::{
        DeviceParams,
        DmaDevice,
        MapStyle,
        ParentDevice,
        Setup,
        StaysBound, //
    },
    queue::*,
    registration::Registration,
    root_device::RootDevice,
    signals::{
        SignalHook,
        Signals, //
    },
    stats::StatsWriter,
    types::*,
};

/// What messages of the kernel log begin with, where no device is named.
const __LOG_PREFIX: &[u8] = b"vdpa\0";
