// SPDX-License-Identifier: GPL-2.0
//! Simulated devices, for clients of vhost-vdpa.

use crate::nl::Msg;
use crate::vdpa::{self, Device, Vdpa};
use crate::vhost::Node;
use crate::{ktap, sys};

/// The address of the network device, unless a test chooses another one.
pub const MAC: [u8; 6] = [0x02, 0xe8, 0xca, 0x33, 0xba, 0x05];

/// The parameters of vdpa_sim and their defaults, as in sysfs.
pub const PARAMETERS: [(&str, &str); 3] = [
    ("batch_mapping", "1"),
    ("max_iotlb_entries", "2048"),
    ("use_va", "Y"),
];

/// Ours has one more.
const QUEUE_SIZE: (&str, &str) = ("queue_size", "256");

/// The parameter for devices that get the memory of a guest page by page.
pub const ROOM: (&str, &str) = ("max_iotlb_entries", "131072");

const FAMILY: [&str; 4] = ["vdpa_sim_net", "vdpa_sim_blk", "vdpa_sim", "vringh"];

fn path(name: &str) -> String {
    format!("/sys/module/vdpa_sim/parameters/{name}")
}

pub fn parameter(name: &str) -> String {
    sys::read(path(name)).trim().to_string()
}

pub fn unload() {
    sys::unload(FAMILY);
}

/// Has vhost_vdpa take the devices that come.
pub fn for_vhost() {
    for other in ["virtio_vdpa", "vdpa_test_driver"] {
        if sys::is_loaded(other) {
            sys::rmmod_ok(other);
        }
    }
    sys::modprobe("vhost_vdpa");
}

/// Has vhost_vdpa there, with room for the memory of guests: C's takes each run of pages for a
/// mapping.
pub fn for_guests() {
    let (name, value) = ROOM;
    let limit = format!("/sys/module/vhost_vdpa/parameters/{name}");
    if !sys::is_ours("vhost_vdpa") {
        if sys::is_loaded("vhost_vdpa") && sys::read(limit).trim() != value {
            sys::rmmod_ok("vhost_vdpa");
        }
        if !sys::is_loaded("vhost_vdpa") {
            sys::sh(&format!("modprobe vhost_vdpa {name}={value}")).expect_ok();
        }
    }
    sys::modprobe("vhost_vdpa");
}

/// After a program: parameters that others do not expect go.
pub fn forget_parameters() {
    if sys::is_loaded("vdpa_sim") && !has_parameters(&[]) {
        unload();
    }
}

/// Whether vdpa_sim has these parameters, and else its defaults.
fn has_parameters(parameters: &[(&str, &str)]) -> bool {
    let given = |name: &str| parameters.iter().find(|p| p.0 == name).map(|p| p.1);
    PARAMETERS
        .into_iter()
        .chain([QUEUE_SIZE])
        .filter(|p| std::fs::exists(path(p.0)).unwrap())
        .all(|(name, default)| parameter(name) == given(name).unwrap_or(default))
}

/// Loads vdpa_sim with these parameters and no others.
pub fn load(parameters: &[(&str, &str)]) {
    unload();
    let words = parameters
        .iter()
        .map(|(name, value)| format!(" {name}={value}"));
    let words: String = words.collect();
    sys::sh(&format!("modprobe vdpa_sim{words}")).expect_ok();
}

/// As [`load`], if vdpa_sim is not there with these parameters.
pub fn need(parameters: &[(&str, &str)]) {
    if !sys::is_loaded("vdpa_sim") || !has_parameters(parameters) {
        load(parameters);
    }
}

/// A simulated network device that vhost_vdpa has. It goes with the guard.
pub struct Sim {
    pub v: Vdpa,
    pub name: String,
    _device: Device,
}

impl Sim {
    #[track_caller]
    pub fn net() -> Self {
        Self::net_with(&[])
    }

    /// With parameters of vdpa_sim, written as sysfs shows them.
    #[track_caller]
    pub fn net_with(parameters: &[(&str, &str)]) -> Self {
        Self::net_by(parameters, |msg| msg.attr(vdpa::MAC, &MAC))
    }

    /// With parameters of vdpa_sim, and attributes of the test's own.
    #[track_caller]
    pub fn net_by(parameters: &[(&str, &str)], attributes: impl FnOnce(Msg) -> Msg) -> Self {
        need(parameters);
        sys::modprobe("vdpa_sim_net");
        for_vhost();
        let mut v = Vdpa::new();
        let name = "n0";
        let msg = attributes(v.new_msg("vdpasim_net", name));
        let device = v.add_by(&msg, name);
        assert_eq!(sys::driver_of(name).as_deref(), Some("vhost_vdpa"));
        Sim {
            v,
            name: name.to_string(),
            _device: device,
        }
    }

    /// Skips the test if the device does not offer a feature.
    #[track_caller]
    pub fn need(&self, features: u64, what: &str) {
        let offered = Node::open(&self.name).features().expect("features");
        if offered & features != features {
            ktap::skip(format!("the device has no {what}"));
        }
    }

    /// The statistics of a queue, with their names, in the order in which they come.
    #[track_caller]
    pub fn stats(&mut self, queue: u32) -> Vec<(String, u64)> {
        self.v.stats(&self.name, queue)
    }

    #[track_caller]
    pub fn stat(&mut self, queue: u32, name: &str) -> u64 {
        self.v.stat(&self.name, queue, name)
    }
}
