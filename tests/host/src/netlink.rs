// SPDX-License-Identifier: GPL-2.0

//! The family `vdpa`: `drivers/vdpa/netlink`.

#[path = "../../../drivers/vdpa/netlink/attr.rs"]
#[allow(dead_code, reason = "the names of objects are put by the kernel")]
mod attr;
#[path = "../../../drivers/vdpa/netlink/report.rs"]
mod report;
#[path = "../../../drivers/vdpa/netlink/rules.rs"]
mod rules;

pub mod config;
pub mod requests;
