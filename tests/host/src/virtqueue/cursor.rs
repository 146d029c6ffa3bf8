// SPDX-License-Identifier: GPL-2.0

//! Going through the bytes of a buffer.

use super::ram::{Op, Ram, BASE};
use proptest::{collection::vec, prelude::*};
use virtqueue::*;

const SIZE: usize = 0x1000;

fn segment(at: u64, len: u32) -> Segment {
    Segment {
        at: GuestAddress::new(at),
        len,
    }
}

#[test]
fn pieces() {
    let segments = [(1, 10), (100, 0), (200, 5)].map(|(at, len)| segment(at, len));
    let mut cursor = Cursor::new(&segments);
    assert_eq!(cursor.remaining(), 15);
    assert!(!cursor.is_empty());
    assert_eq!(cursor.next_piece(0), None);
    assert_eq!(cursor.next_piece(4), Some(segment(1, 4)));
    assert_eq!(cursor.remaining(), 11);
    assert_eq!(cursor.next_piece(u32::MAX), Some(segment(5, 6)));
    assert_eq!(cursor.next_piece(5), Some(segment(200, 5)));
    assert!(cursor.is_empty());
    assert_eq!(cursor.next_piece(1), None);
    assert_eq!(cursor.remaining(), 0);
}

#[test]
fn the_last_address_there_is() {
    let segments = [segment(u64::MAX, 1), segment(u64::MAX - 1, 2)];
    let mut cursor = Cursor::new(&segments);
    assert_eq!(cursor.next_piece(7), Some(segments[0]));
    assert_eq!(cursor.next_piece(1), Some(segment(u64::MAX - 1, 1)));
    assert_eq!(cursor.next_piece(7), Some(segment(u64::MAX, 1)));
    assert_eq!(cursor.next_piece(7), None);
}

#[test]
fn more_than_fits_into_32_bits() {
    let segments = [segment(0, u32::MAX); 3];
    let mut cursor = Cursor::new(&segments);
    let all = 3 * u64::from(u32::MAX);
    assert_eq!(cursor.remaining(), all);
    assert_eq!(cursor.skip(1 << 33), 1 << 33);
    assert_eq!(cursor.remaining(), all - (1 << 33));
    assert_eq!(cursor.skip(u64::MAX), all - (1 << 33));
    assert_eq!(cursor.skip(1), 0);
}

#[test]
fn where_memory_ends() {
    let mut ram = Ram::new(SIZE);
    let end = BASE + SIZE as u64;
    ram.set(end - 4, b"good");
    let segments = [segment(end - 4, 4), segment(end, 4)];
    let mut cursor = Cursor::new(&segments);
    let mut bytes = [0; 8];
    assert_eq!(cursor.read(&mut ram, &mut bytes), Err(Fault));
    assert_eq!(&bytes, b"good\0\0\0\0");
    assert_eq!(cursor.remaining(), 4);
    assert_eq!(cursor.write(&mut ram, b"x"), Err(Fault));
    assert_eq!(cursor.remaining(), 4);
}

proptest! {
    #![proptest_config(crate::cases())]

    /// It is as if all bytes lay together.
    #[test]
    fn any_segments(
        parts in vec((0..SIZE, 0usize..100), 0..6),
        steps in vec((0u8..4, 0usize..150), 0..10),
    ) {
        let mut ram = Ram::new(SIZE);
        let pattern: Vec<u8> = (0..SIZE).map(|n| (n % 251) as u8).collect();
        ram.set(BASE, &pattern);
        let parts = parts.into_iter().map(|(at, len)| (at, len.min(SIZE - at)));
        let addresses: Vec<usize> = parts.clone().flat_map(|(at, len)| at..at + len).collect();
        let segments: Vec<Segment> = parts
            .map(|(at, len)| segment(BASE + at as u64, len as u32))
            .collect();
        let mut expected = pattern;
        let mut cursor = Cursor::new(&segments);
        let mut done = 0;
        for (kind, len) in steps {
            let there = len.min(addresses.len() - done);
            let places = &addresses[done..done + there];
            match kind {
                0 => {
                    let mut bytes = vec![0xee; len];
                    prop_assert_eq!(cursor.read(&mut ram, &mut bytes), Ok(there));
                    let found: Vec<u8> = places.iter().map(|place| expected[*place]).collect();
                    prop_assert_eq!(&bytes[..there], &found);
                    prop_assert!(bytes[there..].iter().all(|byte| *byte == 0xee));
                }
                1 => {
                    let bytes: Vec<u8> = (0..len).map(|n| n as u8 ^ 0xa5).collect();
                    prop_assert_eq!(cursor.write(&mut ram, &bytes), Ok(there));
                    for (place, byte) in places.iter().zip(bytes) {
                        expected[*place] = byte;
                    }
                }
                2 => prop_assert_eq!(cursor.skip(len as u64), there as u64),
                _ => {
                    let piece = cursor.next_piece(len as u32);
                    prop_assert_eq!(piece.is_some(), there > 0);
                    if let Some(piece) = piece {
                        prop_assert_eq!(piece.at.get() - BASE, places[0] as u64);
                        prop_assert!((1..=there).contains(&(piece.len as usize)));
                        done += piece.len as usize;
                    }
                    continue;
                }
            }
            done += there;
            prop_assert_eq!(cursor.remaining(), (addresses.len() - done) as u64);
            prop_assert_eq!(cursor.is_empty(), done == addresses.len());
        }
        prop_assert_eq!(ram.get(BASE, SIZE), expected);
        for op in ram.take_log() {
            if let Op::Read { len, .. } | Op::Write { len, .. } = op {
                prop_assert_ne!(len, 0);
            }
        }
    }
}
