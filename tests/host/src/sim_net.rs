// SPDX-License-Identifier: GPL-2.0

//! The simulated network device: `drivers/vdpa/sim/net`.

#![allow(dead_code, reason = "most of it is called by the module only")]

#[path = "../../../drivers/vdpa/sim/net/checksum.rs"]
mod checksum;
#[path = "../../../drivers/vdpa/sim/net/config.rs"]
mod config;
#[path = "../../../drivers/vdpa/sim/net/control.rs"]
mod control;
#[path = "../../../drivers/vdpa/sim/net/features.rs"]
mod features;
#[path = "../../../drivers/vdpa/sim/net/filter.rs"]
mod filter;
#[path = "../../../drivers/vdpa/sim/net/header.rs"]
mod header;
#[path = "../../../drivers/vdpa/sim/net/mac.rs"]
mod mac;
#[path = "../../../drivers/vdpa/sim/net/model.rs"]
mod model;
#[path = "../../../drivers/vdpa/sim/net/segment.rs"]
mod segment;
#[path = "../../../drivers/vdpa/sim/net/wire.rs"]
mod wire;
