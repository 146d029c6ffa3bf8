// SPDX-License-Identifier: GPL-2.0

//! The types of `rust/vdpa` that are numbers.

use proptest::prelude::*;
use vdpa::{
    management::Classes, Attributes, DeviceConfig, DeviceId, Features, NotificationData,
    PackedState, QueueIndex, QueueState, ResetFlags, Status,
};

#[test]
fn numbers_are_those_of_the_specification() {
    assert_eq!(DeviceId::NET.get(), 1);
    assert_eq!(DeviceId::BLOCK.get(), 2);
    assert_eq!(DeviceId::FS.get(), 26);
    assert_eq!(Status::ACKNOWLEDGE.bits(), 1);
    assert_eq!(Status::DRIVER.bits(), 2);
    assert_eq!(Status::DRIVER_OK.bits(), 4);
    assert_eq!(Status::FEATURES_OK.bits(), 8);
    assert_eq!(Status::NEEDS_RESET.bits(), 64);
    assert_eq!(Status::FAILED.bits(), 128);
    assert!(ResetFlags::from_bits(3).clean_map());
    assert!(!ResetFlags::NONE.clean_map());
}

#[test]
fn attributes_are_those_of_a_config() {
    let all = DeviceConfig {
        features: Some(Features::NONE),
        mac: Some([0; 6]),
        mtu: Some(0),
        max_queue_pairs: Some(0),
    };
    let attributes = Attributes::FEATURES
        .union(Attributes::MAC)
        .union(Attributes::MTU)
        .union(Attributes::MAX_QUEUE_PAIRS);
    assert_eq!(all.mask(), attributes.bits());
    assert_eq!(
        DeviceConfig::NET_ATTRIBUTES,
        attributes.bits() & !Attributes::FEATURES.bits()
    );
    assert_eq!(DeviceConfig::default().mask(), Attributes::NONE.bits());
}

#[test]
fn a_type_without_a_bit_is_none_of_the_classes() {
    let classes = Classes::default()
        .with(DeviceId::new(63))
        .with(DeviceId::new(64))
        .with(DeviceId::new(u32::MAX));
    assert_eq!(classes.bits, 1 << 63);
    assert_eq!(classes.count, 1);
    assert!(classes.has(DeviceId::new(63)));
    assert!(!classes.has(DeviceId::new(64)));
    assert!(!classes.has(DeviceId::new(u32::MAX)));
}

proptest! {
    #![proptest_config(crate::cases())]

    #[test]
    fn features_are_a_set(a: u64, b: u64, bit in 0u32..100) {
        let (x, y) = (Features::from_bits(a), Features::from_bits(b));
        prop_assert_eq!(x.union(y).has(bit), x.has(bit) || y.has(bit));
        prop_assert_eq!(x.intersection(y).has(bit), x.has(bit) && y.has(bit));
        prop_assert_eq!(x.without(y).has(bit), x.has(bit) && !y.has(bit));
        prop_assert_eq!(x.has(bit), bit < 64 && a >> bit.min(63) & 1 == 1);
        prop_assert_eq!(Features::bit(bit).is_empty(), bit >= 64);
        prop_assert_eq!(x.is_empty(), a == 0);
        prop_assert_eq!(x.without(y).union(x.intersection(y)), x);
    }

    #[test]
    fn a_status_contains_its_parts(a: u8, b: u8) {
        let (x, y) = (Status::from_bits(a), Status::from_bits(b));
        prop_assert!(x.union(y).contains(x) && x.union(y).contains(y));
        prop_assert!(x.contains(Status::RESET));
        prop_assert_eq!(x.contains(y) && y.contains(x), a == b);
        prop_assert_eq!(x.driver_ok(), a & 4 != 0);
        prop_assert_eq!(x.features_ok(), a & 8 != 0);
    }

    #[test]
    fn a_packed_state_is_what_it_was_made_of(
        avail_wrap: bool,
        used_wrap: bool,
        avail_index: u16,
        used_index: u16,
    ) {
        let state = QueueState::packed(PackedState {
            avail_wrap,
            avail_index,
            used_wrap,
            used_index,
        });
        let expected = PackedState {
            avail_wrap,
            avail_index: avail_index & 0x7fff,
            used_wrap,
            used_index: used_index & 0x7fff,
        };
        prop_assert_eq!(state.as_packed(), expected);
        prop_assert_eq!(QueueState::packed(expected), state);
        prop_assert_eq!(QueueState::split(avail_index).as_split(), avail_index);
    }

    #[test]
    fn a_kick_says_what_it_was_made_of(queue: u16, next: u16, bits: u32) {
        let data = NotificationData::new(QueueIndex::new(queue), next);
        prop_assert_eq!(data.queue().get(), queue);
        prop_assert_eq!(data.next(), next);
        let data = NotificationData::from_bits(bits);
        prop_assert_eq!(NotificationData::new(data.queue(), data.next()).bits(), bits);
    }
}
