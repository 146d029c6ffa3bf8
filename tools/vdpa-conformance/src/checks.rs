// SPDX-License-Identifier: GPL-2.0
//! The checks, by what they are about.

mod block;
mod config;
mod events;
mod features;
mod groups;
mod iotlb;
mod iotlb_refused;
mod life;
mod memory;
mod mmap;
mod net;
mod requests;
mod status;
mod suspend;
mod vring;

use crate::check::Check;

const ALL: [&[Check]; 15] = [
    requests::CHECKS,
    features::CHECKS,
    status::CHECKS,
    config::CHECKS,
    vring::CHECKS,
    groups::CHECKS,
    iotlb::CHECKS,
    iotlb_refused::CHECKS,
    memory::CHECKS,
    events::CHECKS,
    mmap::CHECKS,
    net::CHECKS,
    block::CHECKS,
    suspend::CHECKS,
    life::CHECKS,
];

/// All of them, in the order in which they run.
pub fn all() -> impl Iterator<Item = &'static Check> {
    ALL.into_iter().flatten()
}
