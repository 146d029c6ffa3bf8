// SPDX-License-Identifier: GPL-2.0

//! A frame with its header goes from a sender to a receiver. What arrives is compared with what
//! the specification says (virtio 1.3, sections 5.1.6.2 and 5.1.6.4), and with what `etherparse`
//! thinks of packets.

use super::{
    checksum,
    features::{Negotiated, Offered, QueuePairs},
    header::{Header, HeaderError, HeaderSize, Large, ReceiveOffloads, SegmentKind, Work},
    reference::bits,
    segment::Segments,
};
use etherparse::{EtherType, Ethernet2Header, Ipv4Header, Ipv6Header, SingleVlanHeader, TcpHeader};
use vdpa::Features;

/// What a driver has accepted, of all features.
pub(super) fn negotiated(features: u64) -> Option<Negotiated> {
    let all = Offered::new(None, QueuePairs::ONE).unwrap();
    let set = Features::from_bits(features | 1 << 33);
    all.negotiate(set).ok()
}

/// The header of a frame as the specification has it, and what is wrong with it.
fn expected_header(
    bytes: &[u8],
    len: usize,
    features: u64,
) -> Result<(bool, Option<u8>), HeaderError> {
    let has = |number: u32| features >> number & 1 == 1;
    let Some(bytes) = bytes.get(..10) else {
        return Err(HeaderError::Short);
    };
    let number = |at: usize| usize::from(bytes[at]) | usize::from(bytes[at + 1]) << 8;
    let partial = bytes[0] & 1 == 1 && has(0);
    if partial && number(6) + number(8) + 2 > len {
        return Err(HeaderError::ChecksumPlace);
    }
    let segments = match bytes[1] {
        0 | 0x80 => None,
        kind @ 1 if has(11) => Some(kind),
        kind @ 4 if has(12) => Some(kind),
        kind @ 0x81 if has(11) && has(13) => Some(kind),
        kind @ 0x84 if has(12) && has(13) => Some(kind),
        _ => return Err(HeaderError::Segmentation),
    };
    if segments.is_some() && !partial {
        return Err(HeaderError::NoChecksum);
    }
    if segments.is_some() && number(4) == 0 {
        return Err(HeaderError::NoSegmentSize);
    }
    Ok((partial, segments))
}

/// A frame on its way. The features are those of its sender, and the offloads that its receiver has
/// on: any of them, it can switch off what others require.
pub fn check_delivery(header: &[u8], frame: &[u8], sender: u64, receiver: u64) {
    let Some(sends) = negotiated(sender) else {
        return;
    };
    let parsed = Header::parse(header, frame.len(), sends);
    let expected = expected_header(header, frame.len(), sender);
    assert_eq!(parsed.err(), expected.err());
    let (Ok(parsed), Ok((partial, segments))) = (parsed, expected) else {
        return;
    };
    let has = |number: u32| receiver >> number & 1 == 1;
    let takes = match segments {
        _ if !has(1) => !partial,
        None => true,
        Some(kind) => has(if kind & 0x7f == 1 { 7 } else { 8 }) && (kind & 0x80 == 0 || has(9)),
    };
    let offloads = ReceiveOffloads::new(Features::from_bits(receiver));
    let done = Header::to_bytes(offloads.done(), 1);
    assert_eq!(
        done[..],
        [u8::from(has(1)) << 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    );
    match parsed.work_for(offloads) {
        Work::None(arrives) => {
            assert!(takes);
            check_header(header, &arrives.to_bytes(3), partial, segments);
        }
        Work::Checksum(checksum) => {
            assert!(!takes && segments.is_none());
            let mut completed = frame.to_vec();
            checksum::complete(&mut completed, checksum).unwrap();
            check_completed(header, frame, &completed);
        }
        Work::Segment(large) => {
            assert!(!takes && segments.is_some());
            check_segments(frame, large);
        }
    }
}

/// The header of a frame that arrives as it was sent.
fn check_header(sent: &[u8], arrived: &[u8; HeaderSize::MAX], partial: bool, kind: Option<u8>) {
    let mut expected = [0; HeaderSize::MAX];
    expected[0] = u8::from(partial);
    if let Some(kind) = kind {
        expected[1] = kind;
        expected[2..6].copy_from_slice(&sent[2..6]);
    }
    if partial {
        expected[6..10].copy_from_slice(&sent[6..10]);
    }
    expected[10] = 3;
    assert_eq!(*arrived, expected);
}

/// The sum of RFC 1071, the slow way. Only the last part may have an odd length.
pub(super) fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    words.fold(0, |sum: u16, word| {
        let low = word.get(1).copied().unwrap_or(0);
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes([word[0], low]));
        sum + u16::from(carry)
    })
}

/// Only the field has changed, and now all of it sums up, with the pseudo header of which the sum
/// was there before.
fn check_completed(header: &[u8], frame: &[u8], completed: &[u8]) {
    let start = usize::from(u16::from_le_bytes([header[6], header[7]]));
    let offset = usize::from(u16::from_le_bytes([header[8], header[9]]));
    let field = start + offset..start + offset + 2;
    let mut restored = completed.to_vec();
    restored[field.clone()].copy_from_slice(&frame[field.clone()]);
    assert_eq!(restored, frame);
    // It is only a checksum if it is at an even place.
    if offset % 2 == 0 {
        assert_eq!(sum(&[&frame[field.clone()], &completed[start..]]), 0xffff);
        assert_ne!(completed[field], [0, 0]);
    }
}

/// What `etherparse` finds in a frame: where IP and TCP begin, and where the payload.
struct Found {
    ip: usize,
    tcp: usize,
    payload: usize,
    tcp_header: TcpHeader,
}

/// The parts of a frame, if it is one that can be cut.
fn find(frame: &[u8], large: Large) -> Option<Found> {
    let (ethernet, mut rest) = Ethernet2Header::from_slice(frame).ok()?;
    let mut ether_type = ethernet.ether_type;
    for _ in 0..2 {
        if let EtherType::VLAN_TAGGED_FRAME | EtherType::PROVIDER_BRIDGING = ether_type {
            let tag;
            (tag, rest) = SingleVlanHeader::from_slice(rest).ok()?;
            ether_type = tag.ether_type;
        }
    }
    let ip = frame.len() - rest.len();
    let (is_tcp, rest) = match (ether_type, large.kind) {
        (EtherType::IPV4, SegmentKind::TcpV4) => {
            let (header, rest) = Ipv4Header::from_slice(rest).ok()?;
            (
                header.protocol.0 == 6 && !header.is_fragmenting_payload(),
                rest,
            )
        }
        (EtherType::IPV6, SegmentKind::TcpV6) => {
            let (header, rest) = Ipv6Header::from_slice(rest).ok()?;
            (header.next_header.0 == 6, rest)
        }
        _ => return None,
    };
    let tcp = frame.len() - rest.len();
    let (tcp_header, payload) = TcpHeader::from_slice(rest).ok()?;
    let found = Found {
        ip,
        tcp,
        payload: frame.len() - payload.len(),
        tcp_header,
    };
    let header = &found.tcp_header;
    let stream = is_tcp && !header.syn && !header.rst && !header.urg;
    let checksum = large.checksum.start() == tcp && large.checksum.field() == tcp + 16;
    let size = usize::from(large.segment_size.get());
    let first = size.min(payload.len()) + found.payload;
    let longest = match large.kind {
        SegmentKind::TcpV4 => first - ip,
        SegmentKind::TcpV6 => first - tcp,
    };
    (stream && checksum && size >= 8 && longest <= 65535).then_some(found)
}

/// A frame can be cut exactly if it is TCP, and then the segments are as TCP would have made them.
pub(super) fn check_segments(frame: &[u8], large: Large) {
    let segments = Segments::new(frame, large);
    let found = find(frame, large);
    assert_eq!(segments.is_ok(), found.is_some(), "{segments:?}");
    let (Ok(segments), Some(found)) = (segments, found) else {
        return;
    };
    let size = usize::from(large.segment_size.get());
    let payload = &frame[found.payload..];
    let count = payload.len().div_ceil(size).max(1);
    assert_eq!(segments.len(), count);
    // Whoever goes on later gets what would have come.
    let all: Vec<_> = segments.clone().collect();
    for done in [0, 1, count / 2, count - 1] {
        let done = done.min(count - 1);
        let rest: Vec<_> = segments.clone().after(done).collect();
        assert_eq!(rest.len(), count - done);
        for (one, other) in rest.iter().zip(&all[done..]) {
            assert_eq!(one.headers(), other.headers());
            assert_eq!(one.payload(), other.payload());
        }
    }

    let mut joined: Vec<u8> = vec![];
    for (index, segment) in segments.enumerate() {
        let whole = [segment.headers(), segment.payload()].concat();
        assert_eq!(segment.len(), whole.len());
        check_segment(frame, &whole, large, &found, (index, count));
        assert!(index + 1 == count || whole.len() == found.payload + size);
        joined.extend(&whole[found.payload..]);
    }
    assert_eq!(joined, payload);
}

/// One segment of so many.
fn check_segment(
    frame: &[u8],
    segment: &[u8],
    large: Large,
    found: &Found,
    (index, count): (usize, usize),
) {
    let (ip, tcp) = (&segment[found.ip..], &segment[found.tcp..]);
    let tcp_len = (tcp.len() as u16).to_be_bytes();
    let mut headers = frame[..found.payload].to_vec();
    let pseudo = match large.kind {
        SegmentKind::TcpV4 => {
            let (old, _) = Ipv4Header::from_slice(&frame[found.ip..]).unwrap();
            let (new, _) = Ipv4Header::from_slice(ip).unwrap();
            assert_eq!(usize::from(new.total_len), ip.len());
            assert_eq!(
                new.identification,
                old.identification.wrapping_add(index as u16)
            );
            let raw = &segment[found.ip..found.tcp];
            assert_eq!(sum(&[raw]), 0xffff);
            if new.to_bytes()[..] == *raw && new.header_checksum != 0xffff {
                assert_eq!(new.header_checksum, new.calc_header_checksum());
            }
            for field in [2..6, 10..12] {
                let field = field.start + found.ip..field.end + found.ip;
                headers[field.clone()].copy_from_slice(&segment[field]);
            }
            [&ip[12..20], &[0, 6], &tcp_len].concat()
        }
        SegmentKind::TcpV6 => {
            let (new, _) = Ipv6Header::from_slice(ip).unwrap();
            assert_eq!(usize::from(new.payload_length), tcp.len());
            let field = found.ip + 4..found.ip + 6;
            headers[field.clone()].copy_from_slice(&segment[field]);
            [&ip[8..40], &[0, 6], &tcp_len].concat()
        }
    };
    assert_eq!(sum(&[&pseudo, tcp]), 0xffff);

    let (new, payload) = TcpHeader::from_slice(tcp).unwrap();
    let size = usize::from(large.segment_size.get());
    let mut expected = found.tcp_header.clone();
    let (is_first, is_last) = (index == 0, index + 1 == count);
    expected.sequence_number = expected.sequence_number.wrapping_add((index * size) as u32);
    expected.checksum = new.checksum;
    expected.cwr &= is_first;
    expected.fin &= is_last;
    expected.psh &= is_last;
    assert_eq!(new, expected);
    if new.to_bytes()[..] == tcp[..new.header_len()] && new.checksum != 0xffff {
        let checksum = match large.kind {
            SegmentKind::TcpV4 => {
                let (ip, _) = Ipv4Header::from_slice(ip).unwrap();
                new.calc_checksum_ipv4(&ip, payload)
            }
            SegmentKind::TcpV6 => {
                let (ip, _) = Ipv6Header::from_slice(ip).unwrap();
                new.calc_checksum_ipv6(&ip, payload)
            }
        };
        assert_eq!(new.checksum, checksum.unwrap());
    }

    // Nothing else is different.
    for field in [4..8, 13..14, 16..18] {
        let field = field.start + found.tcp..field.end + found.tcp;
        headers[field.clone()].copy_from_slice(&segment[field]);
    }
    assert_eq!(segment[..found.payload], headers);
}

/// The features of somebody who does all offloads.
pub fn all_offloads() -> u64 {
    bits(&[0, 1, 7, 8, 9, 11, 12, 13, 17, 32])
}
