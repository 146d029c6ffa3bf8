// SPDX-License-Identifier: GPL-2.0

//! Which ranges of a configuration space may be asked for: `rust/vdpa/config_range.rs`.

#[path = "../../../rust/vdpa/config_range.rs"]
mod config_range;

/// A range is taken if and only if each of its bytes is in the space; there, an empty one at the
/// end is as well.
pub fn check_range(offset: u32, len: usize, size: usize) {
    let inside = offset as u128 + len as u128 <= size as u128;
    // Parents have 32 bits for where the range ends.
    let fits = offset as u128 + len as u128 <= u32::MAX as u128;
    let expected = (inside && fits).then_some(len as u128);
    let found = config_range::checked_len(offset, len, size);
    assert_eq!(found.map(u128::from), expected);
}

#[cfg(test)]
mod tests {
    use super::{check_range, config_range::checked_len};
    use proptest::prelude::*;

    #[test]
    fn up_to_the_end() {
        assert_eq!(checked_len(0, 60, 60), Some(60));
        assert_eq!(checked_len(20, 40, 60), Some(40));
        assert_eq!(checked_len(20, 41, 60), None);
        assert_eq!(checked_len(60, 0, 60), Some(0));
        assert_eq!(checked_len(61, 0, 60), None);
        assert_eq!(checked_len(0, 0, 0), Some(0));
    }

    #[test]
    fn sums_do_not_wrap() {
        assert_eq!(checked_len(u32::MAX, 1, 60), None);
        assert_eq!(checked_len(8, u32::MAX as usize, 60), None);
        assert_eq!(checked_len(8, usize::MAX, usize::MAX), None);
        assert_eq!(checked_len(8, 1 << 32, usize::MAX), None);
    }

    /// Numbers near those where something happens.
    fn edgy() -> impl Strategy<Value = u64> {
        let edges = prop_oneof![
            Just(0),
            Just(60),
            Just(1u64 << 31),
            Just(1u64 << 32),
            Just(u64::MAX)
        ];
        prop_oneof![
            any::<u64>(),
            (edges, -2i64..=2).prop_map(|(edge, by)| edge.wrapping_add_signed(by))
        ]
    }

    proptest! {
        #![proptest_config(crate::cases())]

        #[test]
        fn any_range(offset in edgy(), len in edgy(), size in edgy()) {
            check_range(offset as u32, len as usize, size as usize);
        }
    }
}
