// SPDX-License-Identifier: GPL-2.0

//! What a vhost device has of its owner's memory.
//!
//! User space maps pieces of its memory into the address spaces of a device. [`Memory`] keeps account
//! of them: it pins pages where that is needed, tells the device in the way that it wants to be told,
//! and lets nothing go before the device was told that it is gone.

mod memory;
mod mirror;
mod region;
mod source;
mod space;

pub use self::{
    memory::{
        Memory,
        Plan,
        Prepared,
        Update, //
    },
    space::Totals, //
};

/// What messages of the kernel log begin with, where no device is named.
const __LOG_PREFIX: &[u8] = b"vhost_vdpa\0";
