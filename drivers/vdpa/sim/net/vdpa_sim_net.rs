// SPDX-License-Identifier: GPL-2.0

//! `vdpa_sim_net.ko`: a network card made of software.
//!
//! What its driver sends, the card receives: from itself, or from the card that it is paired with.

mod checksum;
mod config;
mod control;
mod control_queue;
mod counters;
mod deliver;
mod faults;
mod features;
mod filter;
mod header;
mod mac;
mod manager;
mod model;
mod net;
mod peers;
mod segment;
mod transmit;
mod wire;

use crate::manager::Manager;
use kernel::prelude::*;
use vdpa::{
    Attributes,
    DeviceId,
    ManagementParams,
    ManagementRegistration,
    RootDevice, //
};
use vdpasim::Parameters;

module! {
    type: Module,
    name: "vdpa_sim_net",
    authors: ["The rust-vdpa developers"],
    description: "vDPA network device simulator",
    license: "GPL v2",
}

struct Module {
    // Dropped first: it removes the devices, which refer to what it keeps, and to the root device.
    _manager: ManagementRegistration<Manager>,
    _root: RootDevice,
}

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let parameters = Parameters::get()?;
        let root = RootDevice::new(c"vdpasim_net", module)?;
        let params = ManagementParams {
            classes: &[DeviceId::NET],
            features: features::SUPPORTED,
            attributes: Attributes::FEATURES
                .union(Attributes::MAC)
                .union(Attributes::MTU)
                .union(Attributes::MAX_QUEUE_PAIRS),
            max_queues: u32::from(features::QueuePairs::MAX.get() * 2 + 1),
        };
        let manager = Manager::new(parameters);
        Ok(Self {
            _manager: ManagementRegistration::new(root.as_ref(), &params, manager)?,
            _root: root,
        })
    }
}
