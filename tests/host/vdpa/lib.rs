// SPDX-License-Identifier: GPL-2.0

//! The files of `rust/vdpa` that need no kernel, under the names that they have there.

#![no_std]

#[path = "../../../rust/vdpa/device_config.rs"]
mod device_config;
#[path = "../../../rust/vdpa/queue_state.rs"]
mod queue_state;
#[path = "../../../rust/vdpa/types.rs"]
pub mod types;

pub mod management {
    pub use crate::device_config::{Classes, DeviceConfig};
}

pub use self::{device_config::DeviceConfig, queue_state::*, types::*};
