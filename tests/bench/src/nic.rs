// SPDX-License-Identifier: GPL-2.0
//! Network interfaces that packets are sent through.

use vdpa_test::card::{interface_of, virtio_path};
use vdpa_test::sys;
use vdpa_test::user_nic::bring_up;
use vdpa_test::vdpa::{Device, Vdpa, FEATURES, MAC, MAX_VQP};

/// The address of the interface that receives.
pub const ADDRESS: &str = "02:00:00:00:00:05";
const ADDRESS_BYTES: [u8; 6] = [2, 0, 0, 0, 0, 5];

/// VIRTIO_NET_F_MQ of the virtio specification, section 5.1.3.
const MQ: u64 = 1 << 22;

/// An interface on a simulated device, whose packets come back to it.
pub struct Simulated {
    pub name: String,
    /// The features that the driver took, as a number.
    pub features: u64,
    _device: Device,
}

impl Simulated {
    /// With these features, or else with those that the simulator offers, and so many
    /// pairs of queues.
    pub fn new(features: Option<u64>, pairs: u16) -> Self {
        let mut v = Vdpa::new();
        let mut msg = v.new_msg("vdpasim_net", "n0").attr(MAC, &ADDRESS_BYTES);
        if let Some(features) = features {
            let features = if pairs > 1 { features | MQ } else { features };
            msg = msg.attr(FEATURES, &features.to_ne_bytes());
        }
        if pairs > 1 {
            msg = msg.attr(MAX_VQP, &pairs.to_ne_bytes());
        }
        let device = v.add_by(&msg, "n0");
        let nic = Simulated {
            name: interface_of("n0"),
            features: negotiated(&(virtio_path("n0") + "/features")),
            _device: device,
        };
        nic.use_pairs(pairs);
        bring_up(&nic.name);
        nic
    }

    /// Lets the driver use so many pairs of queues. It begins with no more than CPUs.
    pub fn use_pairs(&self, pairs: u16) {
        let show = sys::run(&["ethtool", "-l", &self.name]);
        let current = show
            .expect_ok()
            .lines()
            .rfind(|l| l.starts_with("Combined"));
        if current.is_some_and(|l| l.ends_with(&format!("\t{pairs}"))) {
            return;
        }
        sys::sh(&format!("ethtool -L {} combined {pairs}", self.name)).expect_ok();
    }
}

/// Two interfaces joined back to back by the kernel's own means.
pub struct Veth;

impl Veth {
    pub const NAME: &str = "veth0";

    pub fn new() -> Self {
        sys::sh(&format!(
            "ip link add {} type veth peer name veth1 address {ADDRESS}",
            Self::NAME
        ))
        .expect_ok();
        bring_up("veth1");
        bring_up(Self::NAME);
        Veth
    }

    /// The end at which packets arrive.
    pub const PEER: &str = "veth1";
}

impl Drop for Veth {
    fn drop(&mut self) {
        sys::sh(&format!("ip link del {}", Self::NAME)).expect_ok();
    }
}

/// The packets that an interface has received.
pub fn received(name: &str) -> u64 {
    let path = format!("/sys/class/net/{name}/statistics/rx_packets");
    sys::read(path).trim().parse().expect("a number of packets")
}

/// sysfs has the lowest bit first.
fn negotiated(path: &str) -> u64 {
    let bits = sys::read(path);
    let set = |(n, bit): (usize, char)| if bit == '1' { 1 << n } else { 0 };
    bits.trim().chars().take(64).enumerate().map(set).sum()
}
