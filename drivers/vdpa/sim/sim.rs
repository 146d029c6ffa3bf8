// SPDX-License-Identifier: GPL-2.0

//! `vdpa_sim.ko`: what the modules of simulated devices share.
//!
//! These are the parameters, and for users the name: `modprobe vdpa_sim` and `lsmod` are what
//! tutorials and test suites begin with. The code that simulated devices share is a library
//! ([`core/`](../core)), as no Rust symbol is to cross a module boundary.

use kernel::prelude::*;

module! {
    type: Module,
    name: "vdpa_sim",
    authors: ["The rust-vdpa developers"],
    description: "vDPA Device Simulator core",
    license: "GPL v2",
}

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
