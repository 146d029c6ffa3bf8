// SPDX-License-Identifier: GPL-2.0

//! What precedes each frame in a virtqueue, `struct virtio_net_hdr` (virtio 1.3, sections 5.1.6.2
//! and 5.1.6.4): what the sender left to do, and what the receiver may rely on.
//!
//! Its numbers are little-endian. Nothing here needs the kernel: `tests/host` has the same file.

use super::{
    features::Negotiated,
    wire::byte, //
};
use core::num::NonZeroU16;
use vdpa::Features;
use vdpa_bindings as bindings;

const NEEDS_CSUM: u8 = byte(bindings::VIRTIO_NET_HDR_F_NEEDS_CSUM);
const DATA_VALID: u8 = byte(bindings::VIRTIO_NET_HDR_F_DATA_VALID);
const GSO_NONE: u8 = byte(bindings::VIRTIO_NET_HDR_GSO_NONE);
const GSO_TCPV4: u8 = byte(bindings::VIRTIO_NET_HDR_GSO_TCPV4);
const GSO_TCPV6: u8 = byte(bindings::VIRTIO_NET_HDR_GSO_TCPV6);
const GSO_ECN: u8 = byte(bindings::VIRTIO_NET_HDR_GSO_ECN);

/// How long the header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderSize {
    /// Without the number of buffers, for legacy drivers.
    Legacy,
    /// With it.
    Full,
}

impl HeaderSize {
    /// The longest header, in bytes.
    pub(crate) const MAX: usize = 12;

    /// The shortest.
    const MIN: usize = 10;

    /// The size with these features (virtio 1.3, section 5.1.6.1).
    #[inline]
    pub(crate) const fn new(negotiated: Negotiated) -> Self {
        if negotiated.has(bindings::VIRTIO_F_VERSION_1)
            || negotiated.has(bindings::VIRTIO_NET_F_MRG_RXBUF)
        {
            Self::Full
        } else {
            Self::Legacy
        }
    }

    /// The size in bytes.
    #[inline]
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Legacy => Self::MIN,
            Self::Full => Self::MAX,
        }
    }
}

/// Why a header is refused. The frame is lost and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// It is not all there.
    Short,
    /// Nobody knows this kind of segmentation, or it was not negotiated.
    Segmentation,
    /// Segments without a size.
    NoSegmentSize,
    /// Segments of which nobody computes the checksums.
    NoChecksum,
    /// The checksum is not in the frame.
    ChecksumPlace,
}

/// A checksum that is still to be computed: from `start` to the end of the frame, where the field
/// itself already has the sum of a pseudo header.
///
/// # Invariants
///
/// The field was within the frame for which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartialChecksum {
    start: u16,
    offset: u16,
}

impl PartialChecksum {
    /// For a field at `offset` from `start`, if a frame of so many bytes has it.
    pub(crate) fn new(start: u16, offset: u16, frame_len: usize) -> Option<Self> {
        let checksum = Self { start, offset };
        (checksum.end() <= frame_len).then_some(checksum)
    }

    /// Where the sum begins.
    pub(crate) fn start(self) -> usize {
        usize::from(self.start)
    }

    /// Where the field is.
    pub(crate) fn field(self) -> usize {
        // No overflow: each is below 65536.
        usize::from(self.start) + usize::from(self.offset)
    }

    /// Where the field ends.
    fn end(self) -> usize {
        self.field() + 2
    }
}

/// The kinds of segmentation that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
}

impl SegmentKind {
    const fn of(gso_type: u8) -> Option<Self> {
        match gso_type {
            GSO_TCPV4 => Some(Self::TcpV4),
            GSO_TCPV6 => Some(Self::TcpV6),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::TcpV4 => GSO_TCPV4,
            Self::TcpV6 => GSO_TCPV6,
        }
    }

    /// The feature without which a driver must not send it.
    const fn transmit_feature(self) -> u32 {
        match self {
            Self::TcpV4 => bindings::VIRTIO_NET_F_HOST_TSO4,
            Self::TcpV6 => bindings::VIRTIO_NET_F_HOST_TSO6,
        }
    }

    /// The feature without which a driver does not receive it.
    const fn receive_feature(self) -> u32 {
        match self {
            Self::TcpV4 => bindings::VIRTIO_NET_F_GUEST_TSO4,
            Self::TcpV6 => bindings::VIRTIO_NET_F_GUEST_TSO6,
        }
    }
}

/// A frame that stands for several: its payload has to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Large {
    /// The checksum that each of the segments needs.
    pub(crate) checksum: PartialChecksum,
    /// What is cut.
    pub(crate) kind: SegmentKind,
    /// Whether a flag of it says that there is congestion, which belongs to the first segment.
    pub(crate) ecn: bool,
    /// How many bytes of payload a segment has; the last one may have less.
    pub(crate) segment_size: NonZeroU16,
    /// How long the sender says that all headers are. Nothing may depend on it.
    pub(crate) header_len: u16,
}

/// What a header says of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// It is complete. Nobody has looked at its checksum.
    Plain,
    /// It is complete, and its checksum is known to be right.
    Verified,
    /// Its checksum is still to be computed.
    Partial(PartialChecksum),
    /// It stands for several.
    Large(Large),
}

impl Header {
    /// Reads the header of a frame of `frame_len` bytes that a driver sends.
    ///
    /// Flags that mean nothing without a feature are ignored, which the specification demands.
    /// What has to be done to a frame and is not allowed, or cannot be done, is an error.
    #[inline]
    pub(crate) fn parse(
        bytes: &[u8],
        frame_len: usize,
        negotiated: Negotiated,
    ) -> Result<Self, HeaderError> {
        let Some(bytes) = bytes.first_chunk::<{ HeaderSize::MIN }>() else {
            return Err(HeaderError::Short);
        };
        // The usual frame.
        if let [0, GSO_NONE, ..] = bytes {
            return Ok(Self::Plain);
        }
        Self::parse_offloads(bytes, frame_len, negotiated)
    }

    fn parse_offloads(
        bytes: &[u8; HeaderSize::MIN],
        frame_len: usize,
        negotiated: Negotiated,
    ) -> Result<Self, HeaderError> {
        let [flags, gso_type, header_len @ .., s0, s1, c0, c1, o0, o1] = *bytes;
        let needs_checksum = flags & NEEDS_CSUM != 0 && negotiated.has(bindings::VIRTIO_NET_F_CSUM);
        let checksum = if needs_checksum {
            let start = u16::from_le_bytes([c0, c1]);
            let offset = u16::from_le_bytes([o0, o1]);
            let checksum = PartialChecksum::new(start, offset, frame_len);
            Some(checksum.ok_or(HeaderError::ChecksumPlace)?)
        } else {
            None
        };
        let ecn = gso_type & GSO_ECN != 0;
        let base = gso_type & !GSO_ECN;
        if base == GSO_NONE {
            return Ok(checksum.map_or(Self::Plain, Self::Partial));
        }
        let kind = SegmentKind::of(base)
            .filter(|kind| negotiated.has(kind.transmit_feature()))
            .filter(|_| !ecn || negotiated.has(bindings::VIRTIO_NET_F_HOST_ECN))
            .ok_or(HeaderError::Segmentation)?;
        Ok(Self::Large(Large {
            checksum: checksum.ok_or(HeaderError::NoChecksum)?,
            kind,
            ecn,
            segment_size: NonZeroU16::new(u16::from_le_bytes([s0, s1]))
                .ok_or(HeaderError::NoSegmentSize)?,
            header_len: u16::from_le_bytes(header_len),
        }))
    }

    /// What is to be done to the frame for a receiver with these offloads on.
    #[inline]
    pub(crate) fn work_for(self, offloads: ReceiveOffloads) -> Work {
        match self {
            Self::Plain => Work::None(self),
            Self::Verified | Self::Partial(_) | Self::Large(_) => self.offload_work(offloads),
        }
    }

    fn offload_work(self, offloads: ReceiveOffloads) -> Work {
        match self {
            Self::Large(large) if !offloads.take(large) => Work::Segment(large),
            Self::Partial(checksum) if !offloads.checksum() => Work::Checksum(checksum),
            Self::Verified if !offloads.checksum() => Work::None(Self::Plain),
            _ => Work::None(self),
        }
    }

    /// The header for a receiver. `buffers` is the number of buffers that the frame takes: 1 without
    /// `VIRTIO_NET_F_MRG_RXBUF` (virtio 1.3, section 5.1.6.3.2). A legacy driver gets the first
    /// [`HeaderSize::bytes`] of it.
    #[inline]
    pub(crate) fn to_bytes(self, buffers: u16) -> [u8; HeaderSize::MAX] {
        let [n0, n1] = buffers.to_le_bytes();
        let flags = |flags| [flags, GSO_NONE, 0, 0, 0, 0, 0, 0, 0, 0, n0, n1];
        match self {
            Self::Plain => flags(0),
            Self::Verified => flags(DATA_VALID),
            Self::Partial(checksum) => {
                let [c0, c1] = checksum.start.to_le_bytes();
                let [o0, o1] = checksum.offset.to_le_bytes();
                [NEEDS_CSUM, GSO_NONE, 0, 0, 0, 0, c0, c1, o0, o1, n0, n1]
            }
            Self::Large(large) => {
                let ecn = if large.ecn { GSO_ECN } else { 0 };
                let gso_type = large.kind.bits() | ecn;
                let [h0, h1] = large.header_len.to_le_bytes();
                let [s0, s1] = large.segment_size.get().to_le_bytes();
                let [c0, c1] = large.checksum.start.to_le_bytes();
                let [o0, o1] = large.checksum.offset.to_le_bytes();
                [NEEDS_CSUM, gso_type, h0, h1, s0, s1, c0, c1, o0, o1, n0, n1]
            }
        }
    }
}

/// What is to be done to a frame before its receiver gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing; this is its header.
    None(Header),
    /// Its checksum is to be completed; its header is then [`done`](ReceiveOffloads::done).
    Checksum(PartialChecksum),
    /// It is to be cut into segments, each with the header [`done`](ReceiveOffloads::done).
    Segment(Large),
}

/// What a receiver takes as it is, by what it accepted and has not switched off since (virtio 1.3,
/// section 5.1.6.5.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiveOffloads(Features);

impl ReceiveOffloads {
    /// Those of a set of features. Others in it do not matter.
    pub(crate) const fn new(features: Features) -> Self {
        Self(features)
    }

    /// Whether it takes frames with a checksum still to be computed.
    const fn checksum(self) -> bool {
        self.0.has(bindings::VIRTIO_NET_F_GUEST_CSUM)
    }

    /// Whether it takes such a frame uncut. A driver can switch off what segmentation requires.
    fn take(self, large: Large) -> bool {
        self.checksum()
            && self.0.has(large.kind.receive_feature())
            && (!large.ecn || self.0.has(bindings::VIRTIO_NET_F_GUEST_ECN))
    }

    /// The header of a frame of which the device itself has computed the checksum.
    pub(crate) const fn done(self) -> Header {
        if self.checksum() {
            Header::Verified
        } else {
            Header::Plain
        }
    }
}
