// SPDX-License-Identifier: GPL-2.0

//! Frames as drivers send them, made by `etherparse`.

use super::frames::sum;
use etherparse::{
    EtherType, Ethernet2Header, IpFragOffset, IpNumber, Ipv4Header, Ipv6Header, SingleVlanHeader,
    TcpHeader, UdpHeader, VlanId,
};

/// What a packet is made of.
#[derive(Clone, Debug)]
pub struct Packet {
    pub v6: bool,
    pub udp: bool,
    /// The numbers of VLANs, from the outer one.
    pub vlans: Vec<u16>,
    /// Words of options.
    pub ip_options: u8,
    pub tcp_options: u8,
    /// The flags of TCP, from the lowest: FIN, SYN, RST, PSH, ACK, URG, ECE, CWR.
    pub flags: u8,
    pub id: u16,
    pub sequence: u32,
    pub fragment: bool,
    pub payload: Vec<u8>,
    /// The largest payload of a segment; 0 for a packet that is not to be cut.
    pub segment_size: u16,
}

impl Packet {
    /// A TCP packet of so many bytes, to be cut into segments.
    pub fn tcp(v6: bool, len: usize, segment_size: u16) -> Self {
        Self {
            v6,
            udp: false,
            vlans: vec![],
            ip_options: 0,
            tcp_options: 3,
            flags: 0x10,
            id: 7,
            sequence: 0xffff_ff00,
            fragment: false,
            payload: (0..len).map(|n| (n * 7 + n / 256) as u8).collect(),
            segment_size,
        }
    }

    /// One that follows from any bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = bytes.iter().copied();
        let mut number = || bytes.next().unwrap_or(0);
        let kind = number();
        let vlans = (0..number() % 4).map(|_| u16::from(number())).collect();
        let (options, flags) = (number(), number());
        let long = |low, high| u16::from_le_bytes([low, high]);
        Self {
            v6: kind & 1 != 0,
            udp: kind & 6 == 6,
            vlans,
            ip_options: options % 11,
            tcp_options: options / 16 % 11,
            // Mostly such as can be cut.
            flags: if kind & 8 == 0 { flags & 0xd9 } else { flags },
            id: long(number(), number()),
            sequence: u32::from_le_bytes([(); 4].map(|()| number())),
            fragment: kind & 0xf0 == 0xf0,
            segment_size: long(number(), number() & 3),
            payload: {
                let len = long(number(), number() & 3).into();
                let seed = number();
                (0..len)
                    .map(|n: usize| (n as u8).wrapping_mul(seed | 1))
                    .collect()
            },
        }
    }

    /// All headers, complete, and the payload.
    pub fn complete(&self) -> Vec<u8> {
        let (headers, transport) = self.headers();
        [headers, transport, self.payload.clone()].concat()
    }

    /// How long the headers before TCP or UDP are.
    fn transport_at(&self) -> usize {
        self.headers().0.len()
    }

    /// Where the checksum is in the header of TCP or UDP.
    fn checksum_at(&self) -> usize {
        if self.udp {
            6
        } else {
            16
        }
    }

    /// The packet with its checksum left to do: there is only the sum of the pseudo header.
    pub fn partial(&self) -> Vec<u8> {
        let mut frame = self.complete();
        let at = self.transport_at();
        let transport = frame.len() - at;
        let ip_len = if self.v6 {
            40
        } else {
            20 + usize::from(self.ip_options) * 4
        };
        let ip = &frame[at - ip_len..];
        let addresses = if self.v6 { &ip[8..40] } else { &ip[12..20] };
        let protocol = if self.udp { 17 } else { 6 };
        let pseudo = sum(&[addresses, &[0, protocol], &(transport as u16).to_be_bytes()]);
        let field = at + self.checksum_at();
        frame[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        frame
    }

    /// The header of the queue for it.
    pub fn header(&self) -> [u8; 12] {
        let kind = match self.segment_size {
            0 => 0,
            _ => (if self.v6 { 4 } else { 1 }) | (self.flags & 0x80),
        };
        let mut header = [1, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[4..6].copy_from_slice(&self.segment_size.to_le_bytes());
        header[6..8].copy_from_slice(&(self.transport_at() as u16).to_le_bytes());
        header[8..10].copy_from_slice(&(self.checksum_at() as u16).to_le_bytes());
        header
    }

    /// The headers up to IP, and the one after that.
    fn headers(&self) -> (Vec<u8>, Vec<u8>) {
        let ip_type = if self.v6 {
            EtherType::IPV6
        } else {
            EtherType::IPV4
        };
        let tag_type = |place: usize| match self.vlans.len() - place {
            0 => ip_type,
            1 => EtherType::VLAN_TAGGED_FRAME,
            _ => EtherType::PROVIDER_BRIDGING,
        };
        let ethernet = Ethernet2Header {
            source: [2, 0, 0, 0, 0, 1],
            destination: [2, 0, 0, 0, 0, 2],
            ether_type: tag_type(0),
        };
        let mut headers = ethernet.to_bytes().to_vec();
        for (place, vlan) in self.vlans.iter().enumerate() {
            let tag = SingleVlanHeader {
                vlan_id: VlanId::try_new(vlan & 0xfff).unwrap(),
                ether_type: tag_type(place + 1),
                ..Default::default()
            };
            headers.extend(tag.to_bytes());
        }

        let mut tcp = TcpHeader::new(1234, 80, self.sequence, 8192);
        tcp.acknowledgment_number = 99;
        tcp.fin = self.flags & 1 != 0;
        tcp.syn = self.flags & 2 != 0;
        tcp.rst = self.flags & 4 != 0;
        tcp.psh = self.flags & 8 != 0;
        tcp.ack = self.flags & 16 != 0;
        tcp.urg = self.flags & 32 != 0;
        tcp.ece = self.flags & 64 != 0;
        tcp.cwr = self.flags & 128 != 0;
        let options = vec![1; usize::from(self.tcp_options) * 4];
        tcp.set_options_raw(&options).unwrap();
        let transport_len = if self.udp { 8 } else { tcp.header_len() };
        let len = transport_len + self.payload.len();

        let protocol = if self.udp {
            IpNumber::UDP
        } else {
            IpNumber::TCP
        };
        let mut v4 = Ipv4Header::new(0, 64, protocol, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
        let mut v6 = Ipv6Header {
            payload_length: len as u16,
            next_header: protocol,
            hop_limit: 64,
            source: [0xfe; 16],
            destination: [0xfd; 16],
            ..Default::default()
        };
        v6.source[15] = 1;
        let options = vec![1; usize::from(self.ip_options) * 4];
        v4.options = options[..].try_into().unwrap();
        v4.set_payload_len(len).unwrap();
        v4.identification = self.id;
        v4.dont_fragment = !self.fragment;
        if self.fragment {
            v4.fragment_offset = IpFragOffset::try_new(5).unwrap();
        }
        v4.header_checksum = v4.calc_header_checksum();

        let payload = &self.payload;
        let transport = if self.udp {
            let udp = if self.v6 {
                UdpHeader::with_ipv6_checksum(1, 2, &v6, payload)
            } else {
                UdpHeader::with_ipv4_checksum(1, 2, &v4, payload)
            };
            udp.unwrap().to_bytes().to_vec()
        } else {
            let checksum = if self.v6 {
                tcp.calc_checksum_ipv6(&v6, payload)
            } else {
                tcp.calc_checksum_ipv4(&v4, payload)
            };
            tcp.checksum = checksum.unwrap();
            tcp.to_bytes().to_vec()
        };
        if self.v6 {
            headers.extend(v6.to_bytes());
        } else {
            headers.extend(v4.to_bytes());
        }
        (headers, transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_net::{
        checksum::{self, Sum},
        frames::{self, all_offloads, negotiated},
        header::{Header, ReceiveOffloads, Work},
        segment::{CannotSegment, Segments},
    };
    use proptest::{collection::vec, prelude::*};

    /// What becomes of a packet for a receiver without offloads.
    fn work(packet: &Packet) -> Work {
        let sender = negotiated(all_offloads()).unwrap();
        let frame = packet.partial();
        let header = Header::parse(&packet.header(), frame.len(), sender).unwrap();
        header.work_for(ReceiveOffloads::default())
    }

    /// Why a frame cannot be cut, with the header of a packet.
    fn refusal(packet: &Packet, frame: &[u8]) -> Option<CannotSegment> {
        let Work::Segment(large) = work(packet) else {
            panic!("nothing to cut");
        };
        Segments::new(frame, large).err()
    }

    #[test]
    fn a_checksum_is_completed() {
        for (v6, udp) in [(false, false), (false, true), (true, false), (true, true)] {
            let packet = Packet {
                udp,
                ..Packet::tcp(v6, 1001, 0)
            };
            let mut frame = packet.partial();
            assert_ne!(frame, packet.complete());
            let Work::Checksum(place) = work(&packet) else {
                panic!("no checksum to complete");
            };
            checksum::complete(&mut frame, place).unwrap();
            assert_eq!(frame, packet.complete());
            let short = &mut frame[..30];
            assert_eq!(checksum::complete(short, place), Err(checksum::NotInFrame));
        }
    }

    #[test]
    fn known_sums() {
        // RFC 1071, section 3.
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::ZERO.add(&example).checksum(), [0x22, 0x0d]);
        assert_eq!(Sum::ZERO.checksum(), [0xff, 0xff]);
        assert_eq!(Sum::ZERO.add(&[0xff; 40]).checksum(), [0xff, 0xff]);
        assert_eq!(Sum::ZERO.add_number(0x1234).checksum(), [0xed, 0xcb]);
        // A carry comes back, and makes another.
        let bytes = [0xffff, 0xffff, 0x0001, 0x0000]
            .map(u16::to_ne_bytes)
            .concat();
        let expected = !sum(&[&bytes]);
        assert_eq!(Sum::ZERO.add(&bytes).checksum(), expected.to_be_bytes());
    }

    #[test]
    fn flags_are_on_the_right_segments() {
        // CWR, ECE, ACK, PSH, FIN.
        let packet = Packet {
            flags: 0xd9,
            ..Packet::tcp(false, 2500, 1000)
        };
        let frame = packet.partial();
        let Work::Segment(large) = work(&packet) else {
            panic!("nothing to cut");
        };
        let segments = Segments::new(&frame, large).unwrap();
        let flags: Vec<_> = segments.map(|segment| segment.headers()[34 + 13]).collect();
        assert_eq!(flags, [0xd0, 0x50, 0x59]);
        frames::check_segments(&frame, large);
    }

    #[test]
    fn numbers_go_on_after_their_end() {
        let packet = Packet {
            id: 0xffff,
            ..Packet::tcp(false, 300, 100)
        };
        let frame = packet.partial();
        let Work::Segment(large) = work(&packet) else {
            panic!("nothing to cut");
        };
        let segments = Segments::new(&frame, large).unwrap();
        let numbers: Vec<_> = segments
            .map(|segment| {
                let headers = segment.headers();
                let sequence = headers[38..42].try_into().map(u32::from_be_bytes);
                (
                    u16::from_be_bytes([headers[18], headers[19]]),
                    sequence.unwrap(),
                )
            })
            .collect();
        assert_eq!(
            numbers,
            [(0xffff, 0xffff_ff00), (0, 0xffff_ff64), (1, 0xffff_ffc8)]
        );
    }

    #[test]
    fn a_frame_of_64_kib() {
        for v6 in [false, true] {
            let longest = 65535 - 20 - 32;
            for (len, size) in [
                (3000, 8),
                (longest, 1448),
                (longest, 9000),
                (longest, 65000),
            ] {
                let packet = Packet::tcp(v6, len, size);
                frames::check_delivery(&packet.header(), &packet.partial(), all_offloads(), 0);
            }
        }
    }

    #[test]
    fn a_segment_for_each_part() {
        for (len, count) in [(0, 1), (1, 1), (100, 1), (101, 2), (200, 2), (201, 3)] {
            let packet = Packet::tcp(true, len, 100);
            let frame = packet.partial();
            let Work::Segment(large) = work(&packet) else {
                panic!("nothing to cut");
            };
            assert_eq!(Segments::new(&frame, large).unwrap().count(), count);
            frames::check_segments(&frame, large);
        }
    }

    #[test]
    fn tagged_frames_are_cut() {
        for (vlans, refused) in [
            (vec![5], None),
            (vec![5, 6], None),
            (vec![5, 6, 7], Some(CannotSegment::NotIp)),
        ] {
            let packet = Packet {
                vlans,
                ..Packet::tcp(false, 500, 100)
            };
            assert_eq!(refusal(&packet, &packet.partial()), refused);
            frames::check_delivery(&packet.header(), &packet.partial(), all_offloads(), 0);
        }
    }

    #[test]
    fn what_cannot_be_cut() {
        let packet = Packet::tcp(false, 500, 100);
        let frame = packet.partial();
        let with = |at: usize, byte: u8| {
            let mut frame = frame.clone();
            frame[at] = byte;
            refusal(&packet, &frame)
        };
        assert_eq!(with(13, 0), None);
        assert_eq!(with(12, 0x86), Some(CannotSegment::NotIp));
        let mut other = frame.clone();
        other[12..14].copy_from_slice(&[0x86, 0xdd]);
        assert_eq!(refusal(&packet, &other), Some(CannotSegment::NotIp));
        // The version, and the length of the IP header.
        assert_eq!(with(14, 0x65), Some(CannotSegment::IpHeader));
        assert_eq!(with(14, 0x44), Some(CannotSegment::IpHeader));
        assert_eq!(with(20, 0x20), Some(CannotSegment::Fragment));
        assert_eq!(with(21, 1), Some(CannotSegment::Fragment));
        assert_eq!(with(23, 17), Some(CannotSegment::NotTcp));
        // The length of the TCP header.
        assert_eq!(with(46, 0x40), Some(CannotSegment::TcpHeader));
        for flag in [2, 4, 32] {
            assert_eq!(with(47, 0x10 | flag), Some(CannotSegment::Flags));
        }
        for len in [0, 13, 14, 33, 34, 53, 54, 65] {
            assert_eq!(refusal(&packet, &frame[..len]), Some(CannotSegment::Short));
        }
        assert_eq!(refusal(&packet, &frame[..66]), None);

        for (start, offset) in [(2, 0), (0, 2), (2, 254)] {
            let mut header = packet.header();
            header[6] -= start;
            header[8] = header[8].wrapping_sub(offset);
            let sender = negotiated(all_offloads()).unwrap();
            let Ok(Header::Large(large)) = Header::parse(&header, frame.len(), sender) else {
                panic!("nothing to cut");
            };
            let refused = Segments::new(&frame, large).err();
            assert_eq!(refused, Some(CannotSegment::Checksum));
        }

        let packet = Packet::tcp(false, 500, 7);
        let frame = packet.partial();
        assert_eq!(refusal(&packet, &frame), Some(CannotSegment::SegmentSize));

        let packet = Packet::tcp(true, 500, 100);
        let mut frame = packet.partial();
        frame[20] = 0;
        assert_eq!(refusal(&packet, &frame), Some(CannotSegment::NotTcp));
        frame[14] = 0x40;
        assert_eq!(refusal(&packet, &frame), Some(CannotSegment::IpHeader));
    }

    #[test]
    fn segments_that_ip_cannot_have() {
        for (v6, longest) in [(false, 65535 - 20 - 32), (true, 65535 - 32)] {
            for (len, refused) in [
                (longest, None),
                (longest + 1, Some(CannotSegment::SegmentSize)),
            ] {
                let mut packet = Packet::tcp(v6, 100, 65535);
                let mut frame = packet.partial();
                packet.segment_size = len as u16;
                frame.resize(frame.len() - 100 + 65535, 0);
                assert_eq!(refusal(&packet, &frame), refused);
            }
        }
    }

    /// The features of a receiver, or a sender.
    fn offloads() -> impl Strategy<Value = u64> {
        prop_oneof![
            1 => Just(all_offloads()),
            1 => Just(0u64),
            3 => any::<u64>().prop_map(|set| set & all_offloads()),
        ]
    }

    proptest! {
        #![proptest_config(crate::cases())]

        #[test]
        fn any_packet(
            bytes in vec(any::<u8>(), 0..24),
            edit in proptest::option::of((0usize..80, any::<u8>())),
            cut in prop_oneof![4 => Just(0usize), 1 => 0usize..2000],
            receiver in offloads(),
        ) {
            let packet = Packet::from_bytes(&bytes);
            let mut frame = packet.partial();
            if let Some((at, byte)) = edit {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(frame.len().saturating_sub(cut).max(20));
            frames::check_delivery(&packet.header(), &frame, all_offloads(), receiver);
        }

        #[test]
        fn any_header(
            kind in (0u8..4, prop_oneof![Just(0u8), Just(1), Just(4), any::<u8>()], 0u8..2),
            numbers in vec(prop_oneof![3 => Just(0u8), 1 => Just(1), 1 => any::<u8>()], 0..12),
            len in 0usize..600,
            sender in offloads(),
            receiver in offloads(),
        ) {
            let (flags, kind, ecn) = kind;
            let header = [&[flags, kind | ecn << 7], &numbers[..]].concat();
            frames::check_delivery(&header, &vec![0x5a; len], sender, receiver);
        }

        #[test]
        fn any_sum(bytes in vec(any::<u8>(), 0..200), number: u16) {
            let expected = match !sum(&[&bytes]) {
                0 => 0xffff,
                checksum => checksum,
            };
            prop_assert_eq!(Sum::ZERO.add(&bytes).checksum(), expected.to_be_bytes());
            let expected = match !sum(&[&number.to_be_bytes(), &bytes]) {
                0 => 0xffff,
                checksum => checksum,
            };
            let found = Sum::ZERO.add_number(number).add(&bytes).checksum();
            prop_assert_eq!(found, expected.to_be_bytes());
        }
    }
}
