// SPDX-License-Identifier: GPL-2.0

//! Cuts a large TCP frame into segments, for a receiver that does not do that itself.
//!
//! All is as in Linux: lengths in the IP header of the large frame do not count, it is as long as it
//! is; options of IPv4 and TCP are in each segment; the number that IPv4 gives each packet counts
//! on. The frame comes from a guest: what is not exactly a TCP segment is refused, and so are IPv6
//! extension headers, which can change of which addresses the checksum is made.
//!
//! Nothing here needs the kernel: `tests/host` has the same file.

use super::{
    checksum::Sum,
    header::{
        Large,
        SegmentKind, //
    },
    mac::{
        MacAddress,
        ETHERNET_HEADER_LEN,
        VLAN_TAG_LEN, //
    },
};
use core::num::NonZeroUsize;

/// How many VLAN tags a frame may have: one of a customer in one of a service (IEEE 802.1ad).
const MAX_TAGS: usize = 2;

/// The longest header of IPv4, and that of TCP: their lengths have four bits, for words of four
/// bytes.
const MAX_WORDS_LEN: usize = 15 * 4;

/// The length of a header of IPv4 or TCP without options.
const MIN_WORDS_LEN: usize = 20;

/// The length of an IPv6 header.
const IPV6_LEN: usize = 40;

/// The longest headers before a payload. Those of IPv6 are shorter than the longest ones of IPv4.
const MAX_HEADERS_LEN: usize =
    ETHERNET_HEADER_LEN + MAX_TAGS * VLAN_TAG_LEN + MAX_WORDS_LEN + MAX_WORDS_LEN;

/// The smallest size of a segment. TCP need not be able to make smaller ones (`TCP_MIN_GSO_SIZE` in
/// Linux); a guest that asks for them wants many packets for the price of one.
const MIN_SEGMENT_SIZE: usize = 8;

const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const TYPE_CUSTOMER_TAG: [u8; 2] = [0x81, 0x00];
const TYPE_SERVICE_TAG: [u8; 2] = [0x88, 0xa8];

/// The number of TCP among the protocols over IP.
const PROTOCOL_TCP: u8 = 6;

/// In the word with the place of a fragment: all but the bit that forbids to make some.
const IPV4_FRAGMENT: u16 = 0x3fff;

/// Where things are in the header of IPv4 (RFC 791).
mod ipv4 {
    pub(super) const LENGTH: usize = 2;
    pub(super) const ID: usize = 4;
    pub(super) const FRAGMENT: usize = 6;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: usize = 10;
    pub(super) const ADDRESSES: usize = 12;
    pub(super) const ADDRESSES_LEN: usize = 8;
}

/// Where things are in the header of IPv6 (RFC 8200).
mod ipv6 {
    pub(super) const LENGTH: usize = 4;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const ADDRESSES: usize = 8;
    pub(super) const ADDRESSES_LEN: usize = 32;
}

/// Where things are in the header of TCP (RFC 9293).
mod tcp {
    pub(super) const SEQUENCE: usize = 4;
    pub(super) const OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const CHECKSUM: usize = 16;

    pub(super) const FIN: u8 = 0x01;
    pub(super) const SYN: u8 = 0x02;
    pub(super) const RST: u8 = 0x04;
    pub(super) const PSH: u8 = 0x08;
    pub(super) const URG: u8 = 0x20;
    pub(super) const CWR: u8 = 0x80;
}

/// Why a frame cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CannotSegment {
    /// It ends in the middle of its headers.
    Short,
    /// It is not of the IP version that its sender says.
    NotIp,
    /// The length or the version in its IP header is none.
    IpHeader,
    /// It is a fragment itself.
    Fragment,
    /// It is not TCP, or there is something between IP and TCP.
    NotTcp,
    /// The length in its TCP header is none.
    TcpHeader,
    /// Its flags do not belong to a stream of data: it begins or breaks a connection, or points to
    /// urgent data.
    Flags,
    /// What its sender says of the checksum is not that of TCP.
    Checksum,
    /// The segments would be too small, or one of them too large for IP.
    SegmentSize,
}

/// The segments of a frame that are still to come.
#[derive(Clone, Debug)]
pub(crate) struct Segments<'a> {
    kind: SegmentKind,
    /// Where IP begins, and TCP.
    ip: usize,
    tcp: usize,
    /// All headers of the large frame.
    headers: &'a [u8],
    /// What was not sent yet; `None` when there was a last segment.
    payload: Option<&'a [u8]>,
    size: NonZeroUsize,
    /// What the next segment has.
    id: u16,
    sequence: u32,
    is_first: bool,
}

impl<'a> Segments<'a> {
    /// The segments of a frame. There are as many as its payload needs, and one if it has none.
    pub(crate) fn new(frame: &'a [u8], large: Large) -> Result<Self, CannotSegment> {
        let size = NonZeroUsize::from(large.segment_size);
        if size.get() < MIN_SEGMENT_SIZE {
            return Err(CannotSegment::SegmentSize);
        }
        let ip = network_header(frame, large.kind)?;
        let ip_header = frame.get(ip..).ok_or(CannotSegment::Short)?;
        let (ip_len, id) = match large.kind {
            SegmentKind::TcpV4 => check_ipv4(ip_header)?,
            SegmentKind::TcpV6 => (check_ipv6(ip_header)?, 0),
        };
        let tcp_header = ip_header.get(ip_len..).ok_or(CannotSegment::Short)?;
        let (tcp_len, sequence) = check_tcp(tcp_header)?;
        // No overflow: each is at most 60, or the length of a slice.
        let tcp = ip + ip_len;
        if large.checksum.start() != tcp || large.checksum.field() != tcp + tcp::CHECKSUM {
            return Err(CannotSegment::Checksum);
        }
        let (headers, payload) = frame
            .split_at_checked(tcp + tcp_len)
            .ok_or(CannotSegment::Short)?;
        // What the length field of the IP header counts. It is below 2^17: no overflow.
        let counted = match large.kind {
            SegmentKind::TcpV4 => ip_len + tcp_len,
            SegmentKind::TcpV6 => tcp_len,
        };
        if u16::try_from(counted + size.get().min(payload.len())).is_err() {
            return Err(CannotSegment::SegmentSize);
        }
        Ok(Self {
            kind: large.kind,
            ip,
            tcp,
            headers,
            payload: Some(payload),
            size,
            id,
            sequence,
            is_first: true,
        })
    }

    /// The segments but for the first `count` ones. There is always one left.
    pub(crate) fn after(mut self, count: usize) -> Self {
        let Some(payload) = self.payload.filter(|_| count != 0) else {
            return self;
        };
        // All are of the same size, but for the last one.
        let last = payload.len().saturating_sub(1) / self.size;
        let count = count.min(last);
        let skipped = count.saturating_mul(self.size.get());
        self.payload = payload.get(skipped..);
        self.is_first &= count == 0;
        // The numbers wrap.
        let low = |n: usize| u16::try_from(n & 0xffff).unwrap_or(0);
        self.id = self.id.wrapping_add(low(count));
        self.sequence = self
            .sequence
            .wrapping_add(u32::try_from(skipped).unwrap_or(0));
        self
    }

    /// The headers before a payload, of which there is more to come if it is not the last.
    fn make_headers(&self, payload: &[u8], is_last: bool) -> Option<[u8; MAX_HEADERS_LEN]> {
        let mut headers = [0; MAX_HEADERS_LEN];
        let used = headers.get_mut(..self.headers.len())?;
        used.copy_from_slice(self.headers);

        let (before_tcp, tcp) = used.split_at_mut_checked(self.tcp)?;
        let ip = before_tcp.get_mut(self.ip..)?;
        let tcp_len = u16::try_from(tcp.len().checked_add(payload.len())?).ok()?;
        let addresses = match self.kind {
            SegmentKind::TcpV4 => {
                let len = u16::try_from(ip.len()).ok()?.checked_add(tcp_len)?;
                put(ip, ipv4::LENGTH, len.to_be_bytes())?;
                put(ip, ipv4::ID, self.id.to_be_bytes())?;
                put(ip, ipv4::CHECKSUM, [0; 2])?;
                let checksum = Sum::ZERO.add(ip).checksum();
                put(ip, ipv4::CHECKSUM, checksum)?;
                ip.get(ipv4::ADDRESSES..)?.get(..ipv4::ADDRESSES_LEN)?
            }
            SegmentKind::TcpV6 => {
                put(ip, ipv6::LENGTH, tcp_len.to_be_bytes())?;
                ip.get(ipv6::ADDRESSES..)?.get(..ipv6::ADDRESSES_LEN)?
            }
        };

        put(tcp, tcp::SEQUENCE, self.sequence.to_be_bytes())?;
        let flags = tcp.get_mut(tcp::FLAGS)?;
        if !self.is_first {
            *flags &= !tcp::CWR;
        }
        if !is_last {
            *flags &= !(tcp::FIN | tcp::PSH);
        }
        put(tcp, tcp::CHECKSUM, [0; 2])?;
        let checksum = Sum::ZERO
            .add(addresses)
            .add_number(u16::from(PROTOCOL_TCP))
            .add_number(tcp_len)
            .add(tcp)
            .add(payload)
            .checksum();
        put(tcp, tcp::CHECKSUM, checksum)?;
        Some(headers)
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let rest = self.payload.take()?;
        let (payload, rest) = match rest.split_at_checked(self.size.get()) {
            Some((payload, rest)) if !rest.is_empty() => (payload, Some(rest)),
            _ => (rest, None),
        };
        let headers = self.make_headers(payload, rest.is_none())?;
        self.payload = rest;
        self.id = self.id.wrapping_add(1);
        self.sequence = self
            .sequence
            .wrapping_add(u32::try_from(payload.len()).ok()?);
        self.is_first = false;
        Some(Segment {
            headers,
            headers_len: self.headers.len(),
            payload,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self.payload {
            Some(payload) => (payload.len().saturating_sub(1) / self.size).saturating_add(1),
            None => 0,
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Segments<'_> {}

/// One of the frames into which a large one is cut: headers of its own, and a part of the payload.
#[derive(Clone, Debug)]
pub(crate) struct Segment<'a> {
    headers: [u8; MAX_HEADERS_LEN],
    headers_len: usize,
    payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The headers, with all checksums.
    pub(crate) fn headers(&self) -> &[u8] {
        self.headers.get(..self.headers_len).unwrap_or(&[])
    }

    /// The payload, where it is in the large frame.
    pub(crate) const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The length of headers and payload.
    pub(crate) const fn len(&self) -> usize {
        self.headers_len.saturating_add(self.payload.len())
    }
}

/// Replaces what is at an offset.
fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = value;
    Some(())
}

/// What is at an offset.
fn take<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], CannotSegment> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or(CannotSegment::Short)
}

/// Where the IP header begins.
fn network_header(frame: &[u8], kind: SegmentKind) -> Result<usize, CannotSegment> {
    let wanted = match kind {
        SegmentKind::TcpV4 => TYPE_IPV4,
        SegmentKind::TcpV6 => TYPE_IPV6,
    };
    let mut at = 2 * MacAddress::LEN;
    for _ in 0..=MAX_TAGS {
        match take(frame, at)? {
            found if found == wanted => return Ok(at + wanted.len()),
            TYPE_CUSTOMER_TAG | TYPE_SERVICE_TAG => at += VLAN_TAG_LEN,
            _ => break,
        }
    }
    Err(CannotSegment::NotIp)
}

/// The length in bytes that stands in four bits as a number of words.
fn words_len(words: u8) -> Option<usize> {
    Some(usize::from(words & 0xf) * 4).filter(|len| *len >= MIN_WORDS_LEN)
}

/// The length of an IPv4 header, and the number of its packet.
fn check_ipv4(header: &[u8]) -> Result<(usize, u16), CannotSegment> {
    let [version_and_len] = take(header, 0)?;
    let len = words_len(version_and_len).filter(|_| version_and_len >> 4 == 4);
    let len = len.ok_or(CannotSegment::IpHeader)?;
    if u16::from_be_bytes(take(header, ipv4::FRAGMENT)?) & IPV4_FRAGMENT != 0 {
        return Err(CannotSegment::Fragment);
    }
    if take(header, ipv4::PROTOCOL)? != [PROTOCOL_TCP] {
        return Err(CannotSegment::NotTcp);
    }
    Ok((len, u16::from_be_bytes(take(header, ipv4::ID)?)))
}

/// The length of an IPv6 header.
fn check_ipv6(header: &[u8]) -> Result<usize, CannotSegment> {
    let [version_and_class] = take(header, 0)?;
    if version_and_class >> 4 != 6 {
        return Err(CannotSegment::IpHeader);
    }
    if take(header, ipv6::NEXT_HEADER)? != [PROTOCOL_TCP] {
        return Err(CannotSegment::NotTcp);
    }
    Ok(IPV6_LEN)
}

/// The length of a TCP header, and where its data is in the stream.
fn check_tcp(header: &[u8]) -> Result<(usize, u32), CannotSegment> {
    let [offset] = take(header, tcp::OFFSET)?;
    let len = words_len(offset >> 4).ok_or(CannotSegment::TcpHeader)?;
    let [flags] = take(header, tcp::FLAGS)?;
    if flags & (tcp::SYN | tcp::RST | tcp::URG) != 0 {
        return Err(CannotSegment::Flags);
    }
    Ok((len, u32::from_be_bytes(take(header, tcp::SEQUENCE)?)))
}
