// SPDX-License-Identifier: GPL-2.0

//! What is refused to who makes or changes devices, and that nothing else is.

use super::rules::{self, Refusal};
use vdpa::{management::Classes, DeviceConfig, DeviceId, Features};

/// What is asked of a new device.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub features: Option<u64>,
    pub mac: Option<[u8; 6]>,
    pub mtu: Option<u16>,
    pub pairs: Option<u16>,
}

impl Wish {
    fn config(self) -> DeviceConfig {
        DeviceConfig {
            features: self.features.map(Features::from_bits),
            mac: self.mac,
            mtu: self.mtu,
            max_queue_pairs: self.pairs,
        }
    }

    /// The numbers of `enum vdpa_attr`, as a mask.
    fn mask(self) -> u64 {
        u64::from(self.features.is_some()) << 20 | self.net_mask()
    }

    fn net_mask(self) -> u64 {
        u64::from(self.mac.is_some()) << 10
            | u64::from(self.pairs.is_some()) << 12
            | u64::from(self.mtu.is_some()) << 13
    }
}

/// What a management device takes, and the types of devices that it makes.
#[derive(Clone, Copy, Debug)]
pub struct Manager {
    pub attributes: u64,
    pub types: [u32; 3],
}

impl Manager {
    /// As from a table, which ends at 0.
    fn classes(self) -> Classes {
        self.types
            .into_iter()
            .take_while(|id| *id != 0)
            .fold(Classes::default(), |all, id| all.with(DeviceId::new(id)))
    }
}

/// An attribute needs its feature where features are given; with what is said to be missing, the
/// wish is good.
pub fn check_wish(wish: Wish) {
    assert_eq!(wish.config().mask(), wish.mask());
    let needed = u64::from(wish.mac.is_some()) << 5
        | u64::from(wish.mtu.is_some()) << 3
        | u64::from(wish.pairs > Some(1)) << 22;
    let missing = wish.features.map_or(0, |given| needed & !given);
    let expected = match (wish.pairs, missing) {
        (Some(0), _) => Err(Refusal::NoQueuePair),
        (_, 0) => Ok(()),
        _ => Err(Refusal::MissingFeatures(Features::from_bits(missing))),
    };
    assert_eq!(rules::check_config(&wish.config()), expected);

    if let Err(Refusal::MissingFeatures(missing)) = expected {
        let features = wish.features.map(|given| given | missing.bits());
        let good = Wish { features, ..wish };
        assert_eq!(rules::check_config(&good.config()), Ok(()));
    }
}

/// What a management device cannot do is refused, in the order in which C does it.
pub fn check_manager(wish: Wish, manager: Manager) {
    let Manager { attributes, .. } = manager;
    let classes = manager.classes();
    let ids = || manager.types.into_iter().take_while(|id| *id != 0);
    let makes_net = ids().any(|id| id == 1);
    assert_eq!(classes.has(DeviceId::NET), makes_net);
    assert_eq!(
        classes.count as usize,
        ids().filter(|id| *id < 64).count(),
        "types of which there is a bit"
    );

    // Bits 28 to 42 are the transport's.
    let typed = wish
        .features
        .is_some_and(|bits| bits << 21 >> 49 << 28 != bits);
    let expected = if wish.mask() & !attributes != 0 {
        Err(Refusal::UnsupportedAttributes(wish.mask() & !attributes))
    } else if wish.net_mask() != 0 && !makes_net {
        Err(Refusal::NetAttributes)
    } else if wish.net_mask() == 0 && makes_net && classes.count > 1 && typed {
        Err(Refusal::AmbiguousFeatures)
    } else {
        Ok(())
    };
    let found = rules::check_support(&wish.config(), attributes, classes);
    assert_eq!(found, expected);
}

/// A name is one of a folder.
pub fn check_name(name: &[u8]) {
    let expected = match name.len() {
        0 => Err(Refusal::EmptyName),
        1 | 2 if name.iter().all(|byte| *byte == b'.') => Err(Refusal::DotName),
        1..=255 => Ok(()),
        _ => Err(Refusal::LongName),
    };
    assert_eq!(rules::check_name(name), expected);
}

/// An address is of one interface.
pub fn check_address(mac: [u8; 6]) {
    let good = mac.iter().any(|byte| *byte != 0) && mac[0] % 2 == 0;
    assert_eq!(rules::check_mac(mac).is_ok(), good);
}

/// There are at most 32768 queue pairs; C checks the number of a queue against that of pairs.
pub fn check_queue_index(index: u32) {
    let expected = (index <= 0x8000).then_some(index as u16);
    assert_eq!(rules::queue_index(index), expected);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const NOTHING: Wish = Wish {
        features: None,
        mac: None,
        mtu: None,
        pairs: None,
    };
    const MAC: Wish = Wish {
        mac: Some([2; 6]),
        ..NOTHING
    };

    fn support(wish: Wish, attributes: u64, types: [u32; 3]) -> Result<(), Refusal> {
        let classes = Manager { attributes, types }.classes();
        rules::check_support(&wish.config(), attributes, classes)
    }

    #[test]
    fn features_are_only_checked_where_given() {
        let all = Wish {
            mtu: Some(1500),
            pairs: Some(2),
            ..MAC
        };
        assert_eq!(rules::check_config(&all.config()), Ok(()));
        let none = Wish {
            features: Some(0),
            ..all
        };
        let missing = Features::from_bits(1 << 3 | 1 << 5 | 1 << 22);
        assert_eq!(
            rules::check_config(&none.config()),
            Err(Refusal::MissingFeatures(missing))
        );
    }

    #[test]
    fn one_queue_pair_needs_no_feature_and_none_is_refused() {
        let pairs = |pairs| Wish {
            features: Some(0),
            pairs: Some(pairs),
            ..NOTHING
        };
        assert_eq!(rules::check_config(&pairs(1).config()), Ok(()));
        assert_eq!(
            rules::check_config(&pairs(0).config()),
            Err(Refusal::NoQueuePair)
        );
    }

    #[test]
    fn attributes_of_a_network_device() {
        assert_eq!(support(MAC, 1 << 10, [1, 0, 0]), Ok(()));
        assert_eq!(
            support(MAC, 1 << 20, [1, 0, 0]),
            Err(Refusal::UnsupportedAttributes(1 << 10))
        );
        assert_eq!(
            support(MAC, 1 << 10, [2, 0, 1]),
            Err(Refusal::NetAttributes)
        );
    }

    #[test]
    fn features_of_several_types() {
        let features = |bits| Wish {
            features: Some(bits),
            ..NOTHING
        };
        let both = [1, 2, 0];
        let ambiguous = Err(Refusal::AmbiguousFeatures);
        assert_eq!(support(features(1 << 5), 1 << 20, both), ambiguous);
        assert_eq!(support(features(1 << 43), 1 << 20, both), ambiguous);
        assert_eq!(support(features(1 << 32), 1 << 20, both), Ok(()));
        assert_eq!(support(features(1 << 28 | 1 << 42), 1 << 20, both), Ok(()));
        assert_eq!(support(features(1 << 5), 1 << 20, [1, 0, 0]), Ok(()));
        assert_eq!(support(features(1 << 5), 1 << 20, [2, 26, 0]), Ok(()));
    }

    #[test]
    fn names() {
        for name in [&b"a"[..], b"...", b".a", b"/", b"\xff", &[b'n'; 255]] {
            assert_eq!(rules::check_name(name), Ok(()));
        }
        assert_eq!(rules::check_name(b""), Err(Refusal::EmptyName));
        assert_eq!(rules::check_name(b"."), Err(Refusal::DotName));
        assert_eq!(rules::check_name(b".."), Err(Refusal::DotName));
        assert_eq!(rules::check_name(&[b'n'; 256]), Err(Refusal::LongName));
    }

    #[test]
    fn addresses() {
        check_address([0; 6]);
        check_address([0xff; 6]);
        check_address([0, 0, 0, 0, 0, 1]);
        assert_eq!(
            rules::check_mac([1, 0, 0, 0, 0, 0]),
            Err(Refusal::InvalidMac)
        );
    }

    #[test]
    fn queue_indices() {
        for index in [0, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1_0000, u32::MAX] {
            check_queue_index(index);
        }
    }

    prop_compose! {
        fn wish()(
            features in prop::option::of(prop_oneof![any::<u64>(), (0u32..64).prop_map(|bit| 1 << bit), Just(0)]),
            mac: Option<[u8; 6]>,
            mtu: Option<u16>,
            pairs in prop::option::of(0u16..4),
        ) -> Wish {
            Wish { features, mac, mtu, pairs }
        }
    }

    prop_compose! {
        /// Mostly one that takes what there is.
        fn manager()(
            attributes in prop_oneof![any::<u64>(), Just(u64::MAX)],
            types in prop::array::uniform3(prop_oneof![0u32..4, 62u32..66, any::<u32>()]),
        ) -> Manager {
            Manager { attributes, types }
        }
    }

    proptest! {
        #![proptest_config(crate::cases())]

        #[test]
        fn any_wish(wish in wish()) {
            check_wish(wish);
        }

        #[test]
        fn any_manager(wish in wish(), manager in manager()) {
            check_manager(wish, manager);
        }

        #[test]
        fn any_name(name in prop_oneof![vec(any::<u8>(), 0..300), vec(Just(b'.'), 0..4)]) {
            check_name(&name);
        }

        #[test]
        fn any_address_and_index(mac: [u8; 6], index: u32) {
            check_address(mac);
            check_queue_index(index);
        }
    }
}
