// SPDX-License-Identifier: GPL-2.0

//! What users ask of devices, and what kinds of devices a management device makes.
//!
//! Nothing here needs the kernel, so that the same file is tested on the host (`tests/host`).

use crate::types::{
    DeviceId,
    Features, //
};
use vdpa_bindings as bindings;

/// What a user asks of a device to be made or changed, `struct vdpa_dev_set_config` in C.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceConfig {
    /// The features to offer.
    pub features: Option<Features>,
    /// The MAC address of a network device.
    pub mac: Option<[u8; 6]>,
    /// The MTU of a network device, in bytes.
    pub mtu: Option<u16>,
    /// The largest number of queue pairs of a network device.
    pub max_queue_pairs: Option<u16>,
}

impl DeviceConfig {
    /// The attributes that are about network devices.
    pub const NET_ATTRIBUTES: u64 = 1 << bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MACADDR
        | 1 << bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MTU
        | 1 << bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MAX_VQP;

    /// The attributes that are set, as a mask of the bits `VDPA_ATTR_*`.
    pub fn mask(&self) -> u64 {
        let bit = |set: bool, attr: u32| u64::from(set) << attr;
        bit(
            self.features.is_some(),
            bindings::vdpa_attr_VDPA_ATTR_DEV_FEATURES,
        ) | bit(
            self.mac.is_some(),
            bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MACADDR,
        ) | bit(
            self.mtu.is_some(),
            bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MTU,
        ) | bit(
            self.max_queue_pairs.is_some(),
            bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MAX_VQP,
        )
    }
}

/// The virtio device types that a management device can make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// A bit for each type with a number below 64.
    pub bits: u64,
    /// The number of types with a number below 64.
    pub count: u32,
}

impl Classes {
    /// These and one more. A type with a number of 64 or more is left out.
    pub fn with(mut self, id: DeviceId) -> Self {
        if let Some(bit) = 1u64.checked_shl(id.get()) {
            self.bits |= bit;
            self.count = self.count.saturating_add(1);
        }
        self
    }

    /// Whether the type is among them.
    pub fn has(self, id: DeviceId) -> bool {
        1u64.checked_shl(id.get())
            .is_some_and(|bit| self.bits & bit != 0)
    }
}
