// SPDX-License-Identifier: GPL-2.0

//! Which frames a driver wants to receive (virtio 1.3, sections 5.1.6.5.1 to 5.1.6.5.3).
//!
//! Every frame comes through here: what is usual is decided by one or two comparisons.
//!
//! Nothing here needs the kernel: `tests/host` has the same file.

use super::{
    features::Negotiated,
    mac::{
        MacAddress,
        Tag,
        VlanId,
        VLAN_TAG_LEN, //
    },
};
use vdpa_bindings as bindings;

/// How many bytes of a frame the filter looks at.
pub(crate) const LOOKS_AT: usize = 2 * MacAddress::LEN + VLAN_TAG_LEN;

/// A switch of the filter: the commands of class `VIRTIO_NET_CTRL_RX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything is received, whatever else is said.
    Promiscuous,
    /// Every multicast frame is received.
    AllMulticast,
    /// Every unicast frame is received.
    AllUnicast,
    /// No multicast frame is received; broadcast is another matter.
    NoMulticast,
    /// No unicast frame is received.
    NoUnicast,
    /// No broadcast frame is received.
    NoBroadcast,
}

impl Mode {
    /// The feature that a driver needs for it.
    pub(crate) const fn feature(self) -> u32 {
        match self {
            Self::Promiscuous | Self::AllMulticast => bindings::VIRTIO_NET_F_CTRL_RX,
            Self::AllUnicast | Self::NoMulticast | Self::NoUnicast | Self::NoBroadcast => {
                bindings::VIRTIO_NET_F_CTRL_RX_EXTRA
            }
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Promiscuous => 1 << 0,
            Self::AllMulticast => 1 << 1,
            Self::AllUnicast => 1 << 2,
            Self::NoMulticast => 1 << 3,
            Self::NoUnicast => 1 << 4,
            Self::NoBroadcast => 1 << 5,
        }
    }
}

/// The modes that are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Modes(u8);

impl Modes {
    const fn has(self, mode: Mode) -> bool {
        self.0 & mode.bit() != 0
    }

    const fn with(self, mode: Mode, on: bool) -> Self {
        if on {
            Self(self.0 | mode.bit())
        } else {
            Self(self.0 & !mode.bit())
        }
    }
}

/// A list of addresses that a driver wants. One that is too long stands for all addresses, as the
/// specification allows.
#[derive(Clone, Debug)]
pub(crate) struct AddressTable {
    /// How many of the addresses count; `None` stands for all that there are.
    len: Option<usize>,
    addresses: [MacAddress; Self::CAPACITY],
}

impl AddressTable {
    /// How many addresses there is room for.
    pub(crate) const CAPACITY: usize = 64;

    /// None.
    const EMPTY: Self = Self {
        len: Some(0),
        addresses: [MacAddress::new([0; MacAddress::LEN]); Self::CAPACITY],
    };

    /// Takes other addresses instead.
    pub(crate) fn set(&mut self, addresses: impl Iterator<Item = MacAddress>) {
        let mut room = self.addresses.iter_mut();
        let mut len = 0usize;
        self.len = None;
        for address in addresses {
            let Some(place) = room.next() else {
                return;
            };
            *place = address;
            len = len.saturating_add(1);
        }
        self.len = Some(len);
    }

    /// Takes all addresses that there are.
    pub(crate) fn set_all(&mut self) {
        self.len = None;
    }

    fn contains(&self, address: MacAddress) -> bool {
        match self.len {
            Some(len) => self
                .addresses
                .get(..len)
                .is_some_and(|addresses| addresses.contains(&address)),
            None => true,
        }
    }
}

/// A set of VLANs.
#[derive(Clone, Debug)]
struct VlanTable([u64; VlanId::COUNT / 64]);

impl VlanTable {
    const EMPTY: Self = Self([0; VlanId::COUNT / 64]);

    fn bit(id: VlanId) -> (usize, u64) {
        (usize::from(id.get() / 64), 1 << (id.get() % 64))
    }

    fn set(&mut self, id: VlanId, member: bool) {
        let (word, bit) = Self::bit(id);
        if let Some(word) = self.0.get_mut(word) {
            if member {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }

    fn contains(&self, id: VlanId) -> bool {
        let (word, bit) = Self::bit(id);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// The filter of a device.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    own: MacAddress,
    modes: Modes,
    has_vlan_table: bool,
    unicast: AddressTable,
    multicast: AddressTable,
    vlans: VlanTable,
}

impl Filter {
    /// The filter for a driver that did not send a command yet.
    ///
    /// If it cannot send any, it gets every multicast frame, as in C. Otherwise the tables are
    /// empty, and it gets what is meant for it or for all.
    pub(crate) fn new(own: MacAddress, negotiated: Negotiated) -> Self {
        Self {
            own,
            modes: Modes::default().with(
                Mode::AllMulticast,
                !negotiated.has(bindings::VIRTIO_NET_F_CTRL_RX),
            ),
            has_vlan_table: negotiated.has(bindings::VIRTIO_NET_F_CTRL_VLAN),
            unicast: AddressTable::EMPTY,
            multicast: AddressTable::EMPTY,
            vlans: VlanTable::EMPTY,
        }
    }

    /// The device's own address.
    pub(crate) const fn own(&self) -> MacAddress {
        self.own
    }

    /// Gives the device another address.
    pub(crate) fn set_own(&mut self, own: MacAddress) {
        self.own = own;
    }

    /// Switches a mode.
    pub(crate) fn set_mode(&mut self, mode: Mode, on: bool) {
        self.modes = self.modes.with(mode, on);
    }

    /// The other unicast addresses that are received.
    pub(crate) fn unicast_mut(&mut self) -> &mut AddressTable {
        &mut self.unicast
    }

    /// The multicast addresses that are received.
    pub(crate) fn multicast_mut(&mut self) -> &mut AddressTable {
        &mut self.multicast
    }

    /// Puts a VLAN into the table, or takes it out.
    pub(crate) fn set_vlan(&mut self, id: VlanId, member: bool) {
        self.vlans.set(id, member);
    }

    /// Whether a frame is received, of which this is the start: [`LOOKS_AT`] bytes, or the whole
    /// frame if it is shorter.
    #[inline]
    pub(crate) fn accepts(&self, frame: &[u8]) -> bool {
        let Some(destination) = MacAddress::destination(frame) else {
            return false;
        };
        if self.modes.has(Mode::Promiscuous) {
            return true;
        }
        if self.has_vlan_table && !self.accepts_tag(VlanId::of_frame(frame)) {
            return false;
        }
        if destination.is_multicast() {
            self.accepts_group(destination)
        } else {
            !self.modes.has(Mode::NoUnicast)
                && (destination == self.own
                    || self.modes.has(Mode::AllUnicast)
                    || self.unicast.contains(destination))
        }
    }

    fn accepts_tag(&self, tag: Tag) -> bool {
        match tag {
            Tag::None => true,
            Tag::Vlan(id) => self.vlans.contains(id),
            Tag::Cut => false,
        }
    }

    fn accepts_group(&self, destination: MacAddress) -> bool {
        if destination == MacAddress::BROADCAST {
            !self.modes.has(Mode::NoBroadcast)
        } else {
            !self.modes.has(Mode::NoMulticast)
                && (self.modes.has(Mode::AllMulticast) || self.multicast.contains(destination))
        }
    }
}
