// SPDX-License-Identifier: GPL-2.0

//! What is reported of configuration spaces, compared with a table made from the specification.

use super::{
    attr,
    report::{self, Value},
};
use std::mem::size_of;
use std::ptr;
use vdpa::Features;
use vdpa_bindings as bindings;

/// The types of devices whose configuration is reported.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Net,
    Block,
}

/// A field that is reported: the attribute, features of which one must be there (none: always),
/// where it is, and how long.
type Field = (u16, &'static [u32], usize, usize);

/// Virtio 1.3, sections 5.1.3 and 5.1.4.
const NET: &[Field] = &[
    (attr::NET_CFG_MACADDR, &[5], 0, 6),
    (attr::NET_STATUS, &[16], 6, 2),
    (attr::NET_CFG_MAX_VQP, &[22, 60], 8, 2),
    (attr::NET_CFG_MTU, &[3], 10, 2),
];

/// Virtio 1.3, sections 5.2.3 and 5.2.4.
const BLOCK: &[Field] = &[
    (attr::BLK_CAPACITY, &[], 0, 8),
    (attr::BLK_SIZE_MAX, &[1], 8, 4),
    (attr::BLK_SEG_MAX, &[2], 12, 4),
    (attr::BLK_BLK_SIZE, &[6], 20, 4),
    (attr::BLK_PHY_BLK_EXP, &[10], 24, 1),
    (attr::BLK_ALIGN_OFFSET, &[10], 25, 1),
    (attr::BLK_MIN_IO_SIZE, &[10], 26, 2),
    (attr::BLK_OPT_IO_SIZE, &[10], 28, 4),
    (attr::BLK_NUM_QUEUES, &[12], 34, 2),
    (attr::BLK_MAX_DISCARD_SEC, &[13], 36, 4),
    (attr::BLK_MAX_DISCARD_SEG, &[13], 40, 4),
    (attr::BLK_DISCARD_SEC_ALIGN, &[13], 44, 4),
    (attr::BLK_MAX_WRITE_ZEROES_SEC, &[14], 48, 4),
    (attr::BLK_MAX_WRITE_ZEROES_SEG, &[14], 52, 4),
];

/// A block device's attributes that only say that there is a feature.
const BLOCK_FLAGS: &[(u16, u32)] = &[(attr::BLK_READ_ONLY, 5), (attr::BLK_FLUSH, 9)];

/// A structure of integers only, so that every bit pattern is a value of it.
///
/// # Safety
///
/// As said.
unsafe trait Layout: Default {}

// SAFETY: Integers and arrays of integers only.
unsafe impl Layout for bindings::virtio_net_config {}
// SAFETY: Integers and arrays of integers only.
unsafe impl Layout for bindings::virtio_blk_config {}

/// Reads a configuration space from its start. As in the kernel, what is beyond its end is 0.
fn read<T: Layout>(space: &[u8]) -> T {
    let mut config = T::default();
    let len = space.len().min(size_of::<T>());
    // SAFETY: So many bytes are in both, and every value of them is one of the structure.
    unsafe { ptr::copy_nonoverlapping(space.as_ptr(), (&raw mut config).cast(), len) };
    config
}

/// Makes a report for who takes the first `room` attributes only.
fn reported(
    kind: Kind,
    features: u64,
    space: &[u8],
    room: usize,
) -> (Vec<(u16, Value)>, Result<(), &'static str>) {
    let mut found = vec![];
    let put = |number, value| {
        if found.len() == room {
            return Err("no room");
        }
        found.push((number, value));
        Ok(())
    };
    let features = Features::from_bits(features);
    let result = match kind {
        Kind::Net => report::net(&read(space), features, put),
        Kind::Block => report::block(&read(space), features, put),
    };
    (found, result)
}

/// The bytes of a value where it came from: little-endian.
fn le_bytes(value: Value) -> Vec<u8> {
    match value {
        Value::U8(value) => value.to_le_bytes().into(),
        Value::U16(value) => value.to_le_bytes().into(),
        Value::U32(value) => value.to_le_bytes().into(),
        Value::U64(value) => value.to_le_bytes().into(),
        Value::Mac(value) => value.into(),
    }
}

/// What the table says.
fn expected(kind: Kind, features: u64, space: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let has = |bit: &u32| features >> bit & 1 == 1;
    let fields = match kind {
        Kind::Net => NET,
        Kind::Block => BLOCK,
    };
    let byte = |at: usize| space.get(at).copied().unwrap_or(0);
    let mut all = vec![(attr::FEATURES, features.to_le_bytes().to_vec())];
    for (number, needed, at, len) in fields {
        if needed.is_empty() || needed.iter().any(has) {
            all.push((*number, (*at..at + len).map(byte).collect()));
        }
    }
    if let Kind::Block = kind {
        all.extend(
            BLOCK_FLAGS
                .iter()
                .map(|(number, bit)| (*number, vec![u8::from(has(bit))])),
        );
    }
    all.sort();
    all
}

/// What is reported is what the table says, each attribute once.
pub fn check_report(kind: Kind, features: u64, space: &[u8]) {
    let (found, result) = reported(kind, features, space, usize::MAX);
    assert_eq!(result, Ok(()));
    let mut found: Vec<_> = found
        .into_iter()
        .map(|(number, value)| (number, le_bytes(value)))
        .collect();
    found.sort();
    assert_eq!(found, expected(kind, features, space));
}

/// Where the room ends, so does the report, with that error; what came before is the same.
pub fn check_no_room(kind: Kind, features: u64, space: &[u8], room: usize) {
    let (all, _) = reported(kind, features, space, usize::MAX);
    let (found, result) = reported(kind, features, space, room);
    assert_eq!(found, all[..room.min(all.len())]);
    assert_eq!(result.is_err(), room < all.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn structures_are_as_long_as_the_specification_says() {
        assert_eq!(size_of::<bindings::virtio_net_config>(), 24);
        assert_eq!(size_of::<bindings::virtio_blk_config>(), 96);
    }

    #[test]
    fn a_network_device() {
        let space = [0x52, 0x54, 0, 1, 2, 3, 1, 0, 4, 0, 0xdc, 5];
        let (found, _) = reported(Kind::Net, 1 << 3 | 1 << 5 | 1 << 22, &space, 9);
        assert_eq!(
            found,
            [
                (attr::FEATURES, Value::U64(1 << 3 | 1 << 5 | 1 << 22)),
                (attr::NET_CFG_MTU, Value::U16(1500)),
                (attr::NET_CFG_MACADDR, Value::Mac([0x52, 0x54, 0, 1, 2, 3])),
                (attr::NET_CFG_MAX_VQP, Value::U16(4)),
            ]
        );
    }

    #[test]
    fn no_feature_no_field() {
        let (net, _) = reported(Kind::Net, 0, &[0xff; 64], 9);
        assert_eq!(net, [(attr::FEATURES, Value::U64(0))]);
        let (block, _) = reported(Kind::Block, 0, &[0xff; 96], 9);
        assert_eq!(
            block,
            [
                (attr::FEATURES, Value::U64(0)),
                (attr::BLK_CAPACITY, Value::U64(u64::MAX)),
                (attr::BLK_READ_ONLY, Value::U8(0)),
                (attr::BLK_FLUSH, Value::U8(0)),
            ]
        );
    }

    #[test]
    fn beyond_the_end_is_0() {
        let (found, _) = reported(Kind::Block, 1 << 1, &[1, 2, 3, 4, 5, 6, 7, 8, 9], 9);
        assert!(found.contains(&(attr::BLK_CAPACITY, Value::U64(0x0807_0605_0403_0201))));
        assert!(found.contains(&(attr::BLK_SIZE_MAX, Value::U32(9))));
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Net), Just(Kind::Block)]
    }

    proptest! {
        #![proptest_config(crate::cases())]

        #[test]
        fn any_space(kind in kind(), features: u64, space in vec(any::<u8>(), 0..120)) {
            check_report(kind, features, &space);
        }

        #[test]
        fn any_room(kind in kind(), features: u64, space in vec(any::<u8>(), 0..120), room in 0usize..25) {
            check_no_room(kind, features, &space, room);
        }

        /// Bits of other types and of the transport change nothing.
        #[test]
        fn one_feature(kind in kind(), bit in 0u32..64, space in vec(any::<u8>(), 0..120)) {
            check_report(kind, 1 << bit, &space);
            check_report(kind, !(1 << bit), &space);
        }
    }
}
