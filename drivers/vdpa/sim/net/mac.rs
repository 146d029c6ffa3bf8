// SPDX-License-Identifier: GPL-2.0

//! Ethernet addresses, and what is read of a frame's header.
//!
//! Nothing here needs the kernel: `tests/host` has the same file.

/// The length of an Ethernet header without tags, in bytes.
pub(crate) const ETHERNET_HEADER_LEN: usize = 14;

/// The length of a VLAN tag, in bytes.
pub(crate) const VLAN_TAG_LEN: usize = 4;

/// An Ethernet address.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MacAddress([u8; Self::LEN]);

impl MacAddress {
    /// The length of an address, in bytes.
    pub(crate) const LEN: usize = 6;

    /// All stations.
    pub(crate) const BROADCAST: Self = Self([0xff; Self::LEN]);

    /// The address with these bytes, in the order of transmission.
    pub(crate) const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, in the order of transmission.
    pub(crate) const fn bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// Whether this is the address of a group. [`BROADCAST`](Self::BROADCAST) is one.
    #[inline]
    pub(crate) const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// Whether an interface can have this address: it is neither that of a group nor zero.
    pub(crate) fn is_assignable(self) -> bool {
        !self.is_multicast() && self != Self::default()
    }

    /// The destination of a frame, if it is long enough to have one.
    #[inline]
    pub(crate) fn destination(frame: &[u8]) -> Option<Self> {
        frame.first_chunk().copied().map(Self)
    }
}

/// The number of a VLAN, 0 to 4095 (IEEE 802.1Q).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VlanId(u16);

impl VlanId {
    /// How many there are.
    pub(crate) const COUNT: usize = 4096;

    /// The bits of a tag that are the number.
    const MASK: u16 = 0xfff;

    /// What stands in the place of the type of a tagged frame (IEEE 802.1Q, customer tags). Service
    /// tags (802.1ad) are not meant by the device's table: Linux fills it with customer VLANs only.
    const TAG_TYPE: [u8; 2] = [0x81, 0x00];

    /// The VLAN with this number, if there is one.
    pub(crate) const fn new(id: u16) -> Option<Self> {
        if id <= Self::MASK {
            Some(Self(id))
        } else {
            None
        }
    }

    /// The number.
    pub(crate) const fn get(self) -> u16 {
        self.0
    }

    /// The VLAN to which a frame belongs.
    #[inline]
    pub(crate) fn of_frame(frame: &[u8]) -> Tag {
        match frame.get(2 * MacAddress::LEN..) {
            Some([a, b, rest @ ..]) if [*a, *b] == Self::TAG_TYPE => match *rest {
                [high, low, ..] => Tag::Vlan(Self(u16::from_be_bytes([high, low]) & Self::MASK)),
                _ => Tag::Cut,
            },
            _ => Tag::None,
        }
    }
}

/// What a frame says of its VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// It has no tag.
    None,
    /// It is tagged.
    Vlan(VlanId),
    /// It ends in the middle of its tag.
    Cut,
}
