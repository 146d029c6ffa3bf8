// SPDX-License-Identifier: GPL-2.0

//! What a user may ask for, and why not.
//!
//! Nothing here needs the kernel, so that the same file is tested and fuzzed on the host
//! (`tests/host`).

use vdpa::{
    management::Classes,
    DeviceConfig,
    DeviceId,
    Features, //
};
use vdpa_bindings as bindings;

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A name without a byte.
    EmptyName,
    /// A name that means another folder.
    DotName,
    /// A name that no folder can have.
    LongName,
    /// A network device without queues.
    NoQueuePair,
    /// Attributes are given, the features on which they depend are not.
    MissingFeatures(Features),
    /// Attributes, as a mask of their numbers, that cannot be given here.
    UnsupportedAttributes(u64),
    /// Attributes of a network device for something else.
    NetAttributes,
    /// Features that mean different things to the types of devices that could be made.
    AmbiguousFeatures,
    /// An address that no interface can have.
    InvalidMac,
}

/// The longest name of a device, in bytes: what a folder can have (`NAME_MAX`).
pub(super) const MAX_NAME_LEN: usize = 255;

/// The features that depend on the type of the device: all but those of the transport (virtio 1.3,
/// section 6).
pub(super) const DEVICE_FEATURES: Features = Features::from_bits(
    !((u64::MAX << bindings::VIRTIO_TRANSPORT_F_START)
        & (u64::MAX >> (u64::BITS - 1 - bindings::VIRTIO_TRANSPORT_F_END))),
);

/// The largest index that a virtqueue of a network device can have where what is counted for it is
/// asked.
const MAX_QUEUE_INDEX: u16 = {
    assert!(bindings::VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX <= u16::MAX as u32);
    bindings::VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX as u16
};

/// Checks the name of a new device.
///
/// It becomes the name of a folder in sysfs, where `/` turns into `!`. C checks nothing but that it
/// is unique: an empty name is a warning with a stack trace, and one of thousands of bytes makes a
/// device that no reply has room for.
pub(super) fn check_name(name: &[u8]) -> Result<(), Refusal> {
    match name {
        b"" => Err(Refusal::EmptyName),
        b"." | b".." => Err(Refusal::DotName),
        _ if name.len() > MAX_NAME_LEN => Err(Refusal::LongName),
        _ => Ok(()),
    }
}

/// Checks what is asked of a new device, whoever is to make it: an attribute needs its feature,
/// where features are named.
pub(super) fn check_config(config: &DeviceConfig) -> Result<(), Refusal> {
    if config.max_queue_pairs == Some(0) {
        return Err(Refusal::NoQueuePair);
    }
    let Some(features) = config.features else {
        return Ok(());
    };
    let needed = [
        (config.mac.is_some(), bindings::VIRTIO_NET_F_MAC),
        (config.mtu.is_some(), bindings::VIRTIO_NET_F_MTU),
        (
            config.max_queue_pairs.is_some_and(|pairs| pairs > 1),
            bindings::VIRTIO_NET_F_MQ,
        ),
    ];
    let missing = needed
        .into_iter()
        .filter(|(given, feature)| *given && !features.has(*feature))
        .fold(Features::NONE, |set, (_, feature)| {
            set.union(Features::bit(feature))
        });
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Refusal::MissingFeatures(missing))
    }
}

/// Checks that a management device, which takes the attributes of a mask and makes devices of some
/// types, knows what is asked of it.
pub(super) fn check_support(
    config: &DeviceConfig,
    attributes: u64,
    classes: Classes,
) -> Result<(), Refusal> {
    let unknown = config.mask() & !attributes;
    if unknown != 0 {
        return Err(Refusal::UnsupportedAttributes(unknown));
    }
    let is_net = classes.has(DeviceId::NET);
    let for_net = config.mask() & DeviceConfig::NET_ATTRIBUTES != 0;
    if for_net && !is_net {
        return Err(Refusal::NetAttributes);
    }
    let typed = config
        .features
        .is_some_and(|features| !features.intersection(DEVICE_FEATURES).is_empty());
    if !for_net && is_net && classes.count > 1 && typed {
        return Err(Refusal::AmbiguousFeatures);
    }
    Ok(())
}

/// Checks a new address of an interface: not a multicast address and not zero.
pub(super) fn check_mac(mac: [u8; 6]) -> Result<(), Refusal> {
    let [first, ..] = mac;
    if first & 1 == 0 && mac != [0; 6] {
        Ok(())
    } else {
        Err(Refusal::InvalidMac)
    }
}

/// The index of a virtqueue of a network device, if there can be one.
pub(super) fn queue_index(index: u32) -> Option<u16> {
    u16::try_from(index)
        .ok()
        .filter(|index| *index <= MAX_QUEUE_INDEX)
}
