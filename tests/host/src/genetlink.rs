// SPDX-License-Identifier: GPL-2.0

//! Attributes of messages: `rust/kext/genetlink`.

#[path = "../../../rust/kext/genetlink/tlv.rs"]
mod tlv;

use tlv::{Tlv, HEADER_LEN};

/// Whatever a message is, each of its attributes is within it, and what is read of an attribute is
/// within that.
pub fn check_message(message: &[u8]) {
    let mut rest = message;
    while let Some(tlv) = Tlv::first(rest) {
        check_attribute(tlv, rest);
        rest = rest
            .get(tlv.as_bytes().len().next_multiple_of(4)..)
            .unwrap_or_default();
    }
    if let Some(header) = rest.first_chunk() {
        assert!(tlv::total_len(*header) > rest.len());
    }
}

fn check_attribute(tlv: Tlv<'_>, rest: &[u8]) {
    let stated = u16::from_ne_bytes([rest[0], rest[1]]);
    let whole = tlv.as_bytes();
    assert_eq!(whole.as_ptr(), rest.as_ptr());
    assert_eq!(whole.len(), usize::from(stated).max(HEADER_LEN));
    assert!(whole.len() <= rest.len());
    assert!(tlv.attr_type() < 0x4000);

    let payload = tlv.payload();
    assert_eq!(payload, &whole[HEADER_LEN..]);
    assert!(payload.len() <= tlv::MAX_PAYLOAD);
    check_array::<1>(tlv);
    check_array::<2>(tlv);
    check_array::<4>(tlv);
    check_array::<6>(tlv);
    check_array::<8>(tlv);

    let text = tlv.as_c_string_bytes();
    assert!(!text.contains(&0));
    match payload.strip_prefix(text) {
        Some([] | [0, ..]) => (),
        other => panic!("after the text comes {other:?}"),
    }
}

fn check_array<const N: usize>(tlv: Tlv<'_>) {
    match tlv.as_array::<N>() {
        Some(array) => assert_eq!(array, tlv.payload()),
        None => assert_ne!(N, tlv.payload().len()),
    }
}

/// What is encoded as in `nla_put()` is read again.
pub fn check_round_trip(attributes: &[(u16, Vec<u8>)]) {
    let mut message = vec![];
    for (number, payload) in attributes {
        let len = u16::try_from(HEADER_LEN + payload.len()).expect("at most MAX_PAYLOAD");
        message.extend(len.to_ne_bytes());
        message.extend(number.to_ne_bytes());
        message.extend(payload);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    check_message(&message);
    let mut rest = &message[..];
    for (number, payload) in attributes {
        let tlv = Tlv::first(rest).expect("it was encoded");
        assert_eq!(tlv.attr_type(), number & !tlv::TYPE_FLAGS);
        assert_eq!(tlv.payload(), payload);
        rest = &rest[tlv.as_bytes().len().next_multiple_of(4)..];
    }
    assert!(rest.is_empty());
}

#[cfg(test)]
mod tests {
    use super::{tlv::*, *};
    use proptest::{collection::vec, prelude::*};

    /// An attribute of type 7.
    fn bytes(len: u16, payload: &[u8]) -> Vec<u8> {
        [&len.to_ne_bytes()[..], &7u16.to_ne_bytes(), payload].concat()
    }

    #[test]
    fn none_where_the_bytes_end() {
        assert_eq!(Tlv::first(&[]), None);
        assert_eq!(Tlv::first(&[4, 0, 7]), None);
        assert_eq!(Tlv::first(&bytes(5, &[])), None);
        assert_eq!(Tlv::first(&bytes(u16::MAX, &[0; 100])), None);
    }

    #[test]
    fn what_follows_is_not_seen() {
        let bytes = bytes(5, &[1, 2, 3]);
        let tlv = Tlv::first(&bytes).unwrap();
        assert_eq!(tlv.payload(), [1]);
        assert_eq!(tlv.as_array(), Some([1]));
        assert_eq!(tlv.as_array::<3>(), None);
    }

    #[test]
    fn a_length_below_the_header_is_no_payload() {
        for len in 0..4 {
            let bytes = bytes(len, b"abc");
            let tlv = Tlv::first(&bytes).unwrap();
            assert_eq!(tlv.as_bytes(), &bytes[..4]);
            assert_eq!(tlv.payload(), []);
            assert_eq!(tlv.attr_type(), 7);
            assert_eq!(tlv.as_c_string_bytes(), []);
        }
    }

    #[test]
    fn the_longest() {
        let bytes = bytes(u16::MAX, &[1; MAX_PAYLOAD]);
        let tlv = Tlv::first(&bytes).unwrap();
        assert_eq!(tlv.payload().len(), MAX_PAYLOAD);
        assert_eq!(tlv.as_c_string_bytes().len(), MAX_PAYLOAD);
    }

    #[test]
    fn the_type_has_no_flags() {
        for flags in [0, 0x4000, 0x8000, 0xc000u16] {
            let word = 0x3fff | flags;
            let bytes = [&[4, 0][..], &word.to_ne_bytes()].concat();
            assert_eq!(Tlv::first(&bytes).unwrap().attr_type(), 0x3fff);
        }
    }

    #[test]
    fn texts() {
        for (payload, text) in [
            (&b"abc"[..], &b"abc"[..]),
            (b"ab\0c", b"ab"),
            (b"\0", b""),
            (b"", b""),
        ] {
            let bytes = bytes(4 + payload.len() as u16, payload);
            assert_eq!(Tlv::first(&bytes).unwrap().as_c_string_bytes(), text);
        }
    }

    proptest! {
        #![proptest_config(crate::cases())]

        #[test]
        fn any_message(message in vec(any::<u8>(), 0..200)) {
            check_message(&message);
        }

        /// Where lengths are mostly possible.
        #[test]
        fn likely_messages(attributes in vec((0u16..40, vec(any::<u8>(), 0..24)), 0..8)) {
            let message: Vec<u8> = attributes
                .iter()
                .flat_map(|(len, payload)| bytes(*len, payload))
                .collect();
            check_message(&message);
        }

        #[test]
        fn round_trip(attributes in vec((any::<u16>(), vec(any::<u8>(), 0..40)), 0..8)) {
            check_round_trip(&attributes);
        }
    }
}
