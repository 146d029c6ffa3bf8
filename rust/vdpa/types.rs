// SPDX-License-Identifier: GPL-2.0

//! Numbers that must not be mixed up, as types.

use vdpa_bindings as bindings;

/// A virtio device type, `VIRTIO_ID_*` (virtio 1.3, section 5).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceId(u32);

impl DeviceId {
    /// Network card.
    pub const NET: Self = Self(bindings::VIRTIO_ID_NET);
    /// Block device.
    pub const BLOCK: Self = Self(bindings::VIRTIO_ID_BLOCK);
    /// File system.
    pub const FS: Self = Self(bindings::VIRTIO_ID_FS);

    /// The type with this number.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number of the type.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A set of virtio feature bits (virtio 1.3, section 2.2).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u64);

impl Features {
    /// No feature.
    pub const NONE: Self = Self(0);

    /// The set with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The set with one bit, given by its number, `VIRTIO_F_*` and the like. A number of 64 or more
    /// gives the empty set.
    pub const fn bit(number: u32) -> Self {
        match 1u64.checked_shl(number) {
            Some(bit) => Self(bit),
            None => Self::NONE,
        }
    }

    /// The bits of the set.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether the feature with this number is in the set.
    pub const fn has(self, number: u32) -> bool {
        self.0 & Self::bit(number).0 != 0
    }

    /// The features in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The features in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The features that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The status byte of a virtio device, `VIRTIO_CONFIG_S_*` (virtio 1.3, section 2.1).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status(u8);

impl Status {
    /// The status of a device that was reset.
    pub const RESET: Self = Self(0);

    /// The status with these bits.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bits of the status.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// A driver found the device.
    pub const ACKNOWLEDGE: Self = Self::bit(bindings::VIRTIO_CONFIG_S_ACKNOWLEDGE);
    /// A driver knows how to drive it.
    pub const DRIVER: Self = Self::bit(bindings::VIRTIO_CONFIG_S_DRIVER);
    /// The driver is done with setting up.
    pub const DRIVER_OK: Self = Self::bit(bindings::VIRTIO_CONFIG_S_DRIVER_OK);
    /// The driver is done with negotiating features.
    pub const FEATURES_OK: Self = Self::bit(bindings::VIRTIO_CONFIG_S_FEATURES_OK);
    /// The device cannot go on without a reset.
    pub const NEEDS_RESET: Self = Self::bit(bindings::VIRTIO_CONFIG_S_NEEDS_RESET);
    /// The driver gave up.
    pub const FAILED: Self = Self::bit(bindings::VIRTIO_CONFIG_S_FAILED);

    const fn bit(bit: u32) -> Self {
        let [low, ..] = bit.to_le_bytes();
        Self(low)
    }

    /// The status with the bits of both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the guest's driver knows how to drive the device and is ready.
    pub const fn driver_ok(self) -> bool {
        self.contains(Self::DRIVER_OK)
    }

    /// Whether feature negotiation is complete.
    pub const fn features_ok(self) -> bool {
        self.contains(Self::FEATURES_OK)
    }
}

/// How to reset a device, `VDPA_RESET_F_*`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetFlags(u32);

impl ResetFlags {
    /// As the virtio specification says.
    pub const NONE: Self = Self(0);
    /// Also forget what is mapped in the address spaces, as old user space expects.
    pub const CLEAN_MAP: Self = Self(bindings::VDPA_RESET_F_CLEAN_MAP);

    /// The flags with these bits.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether [`CLEAN_MAP`](Self::CLEAN_MAP) is among them.
    pub const fn clean_map(self) -> bool {
        self.0 & Self::CLEAN_MAP.0 != 0
    }
}

/// The attributes that a management device takes for a new device, as a mask of the bits
/// `VDPA_ATTR_*`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// None.
    pub const NONE: Self = Self(0);
    /// The features to offer.
    pub const FEATURES: Self = Self(1 << bindings::vdpa_attr_VDPA_ATTR_DEV_FEATURES);
    /// The MAC address of a network device.
    pub const MAC: Self = Self(1 << bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MACADDR);
    /// The MTU of a network device.
    pub const MTU: Self = Self(1 << bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MTU);
    /// The largest number of queue pairs of a network device.
    pub const MAX_QUEUE_PAIRS: Self = Self(1 << bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MAX_VQP);

    /// The attributes in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of the mask.
    pub const fn bits(self) -> u64 {
        self.0
    }
}
