// SPDX-License-Identifier: GPL-2.0

//! Commands of the control queue as messages (virtio 1.3, section 5.1.6.5).
//!
//! What follows the data of a command is ignored, as in C. Numbers are little-endian.
//!
//! Nothing here needs the kernel: `tests/host` has the same file.

use super::{
    features::{
        Negotiated,
        QueuePairs,
        GUEST_OFFLOADS, //
    },
    filter::{
        AddressTable,
        Mode, //
    },
    mac::{
        MacAddress,
        VlanId, //
    },
    wire::byte, //
};
use vdpa::Features;
use vdpa_bindings as bindings;

/// How many bytes of a command need to be read: all of the longest one of which no address table
/// overflows. What is longer can only be a table; see [`Command::parse`].
pub(crate) const MAX_LEN: usize =
    HEADER_LEN + 2 * (COUNT_LEN + AddressTable::CAPACITY * MacAddress::LEN);

/// The length of class and command.
const HEADER_LEN: usize = 2;

/// The length of the number before a list of addresses.
const COUNT_LEN: usize = 4;

/// The byte with which the device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack(u8);

impl Ack {
    /// It was done.
    pub(crate) const OK: Self = Self(byte(bindings::VIRTIO_NET_OK));
    /// It was not.
    pub(crate) const ERR: Self = Self(byte(bindings::VIRTIO_NET_ERR));

    /// The byte.
    pub(crate) const fn get(self) -> u8 {
        self.0
    }
}

impl<T> From<&Result<T, Refusal>> for Ack {
    fn from(result: &Result<T, Refusal>) -> Self {
        match result {
            Ok(_) => Self::OK,
            Err(_) => Self::ERR,
        }
    }
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It ends before its data does.
    Short,
    /// There is no such command.
    Unknown,
    /// Its data is not what the command takes.
    Value,
    /// The driver did not accept the feature that it needs.
    NotNegotiated,
}

/// A list of addresses in a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses<'a> {
    /// These, one after the other.
    Listed(&'a [u8]),
    /// More than was read of the command.
    TooMany,
}

impl Addresses<'_> {
    /// Puts them into a table.
    pub(crate) fn store(self, table: &mut AddressTable) {
        match self {
            Self::Listed(bytes) => table.set(
                bytes
                    .chunks_exact(MacAddress::LEN)
                    .filter_map(MacAddress::destination),
            ),
            Self::TooMany => table.set_all(),
        }
    }
}

/// A command of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// A switch of the receive filter.
    SetMode {
        /// Which one.
        mode: Mode,
        /// Whether it is on.
        on: bool,
    },
    /// The addresses to receive, instead of those before.
    SetAddresses {
        /// Addresses of single stations.
        unicast: Addresses<'a>,
        /// Addresses of groups.
        multicast: Addresses<'a>,
    },
    /// The device's own address.
    SetMac(MacAddress),
    /// A VLAN enters the table or leaves it.
    SetVlan {
        /// Which one.
        id: VlanId,
        /// Whether it is in the table.
        member: bool,
    },
    /// The driver announces its guest.
    AcknowledgeAnnounce,
    /// So many queue pairs are used.
    SetPairs(QueuePairs),
    /// The offloads that are on, of those that were accepted.
    SetOffloads(Features),
}

impl<'a> Command<'a> {
    /// Reads a command of `total` bytes. Of one that is longer than [`MAX_LEN`], `bytes` may have
    /// only so many: a driver may send address tables of any length, and those that do not fit mean
    /// all addresses.
    pub(crate) fn parse(bytes: &'a [u8], total: usize) -> Result<Self, Refusal> {
        let [class, command, data @ ..] = bytes else {
            return Err(Refusal::Short);
        };
        let beyond = total.saturating_sub(bytes.len());
        match u32::from(*class) {
            bindings::VIRTIO_NET_CTRL_RX => Self::parse_mode(*command, data),
            bindings::VIRTIO_NET_CTRL_MAC => Self::parse_mac(*command, data, beyond),
            bindings::VIRTIO_NET_CTRL_VLAN => Self::parse_vlan(*command, data),
            bindings::VIRTIO_NET_CTRL_ANNOUNCE => match u32::from(*command) {
                bindings::VIRTIO_NET_CTRL_ANNOUNCE_ACK => Ok(Self::AcknowledgeAnnounce),
                _ => Err(Refusal::Unknown),
            },
            bindings::VIRTIO_NET_CTRL_MQ => match u32::from(*command) {
                bindings::VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET => {
                    let pairs = QueuePairs::new(u16::from_le_bytes(leading(data)?));
                    Ok(Self::SetPairs(pairs.ok_or(Refusal::Value)?))
                }
                _ => Err(Refusal::Unknown),
            },
            bindings::VIRTIO_NET_CTRL_GUEST_OFFLOADS => match u32::from(*command) {
                bindings::VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET => {
                    let bits = u64::from_le_bytes(leading(data)?);
                    Ok(Self::SetOffloads(Features::from_bits(bits)))
                }
                _ => Err(Refusal::Unknown),
            },
            _ => Err(Refusal::Unknown),
        }
    }

    fn parse_mode(command: u8, data: &[u8]) -> Result<Self, Refusal> {
        let mode = match u32::from(command) {
            bindings::VIRTIO_NET_CTRL_RX_PROMISC => Mode::Promiscuous,
            bindings::VIRTIO_NET_CTRL_RX_ALLMULTI => Mode::AllMulticast,
            bindings::VIRTIO_NET_CTRL_RX_ALLUNI => Mode::AllUnicast,
            bindings::VIRTIO_NET_CTRL_RX_NOMULTI => Mode::NoMulticast,
            bindings::VIRTIO_NET_CTRL_RX_NOUNI => Mode::NoUnicast,
            bindings::VIRTIO_NET_CTRL_RX_NOBCAST => Mode::NoBroadcast,
            _ => return Err(Refusal::Unknown),
        };
        let on = match leading(data)? {
            [0] => false,
            [1] => true,
            _ => return Err(Refusal::Value),
        };
        Ok(Self::SetMode { mode, on })
    }

    fn parse_mac(command: u8, data: &'a [u8], beyond: usize) -> Result<Self, Refusal> {
        match u32::from(command) {
            bindings::VIRTIO_NET_CTRL_MAC_TABLE_SET => {
                let (unicast, rest) = split_addresses(data, beyond)?;
                let (multicast, _) = match unicast {
                    Addresses::Listed(_) => split_addresses(rest, beyond)?,
                    // Where the next list begins was not read.
                    Addresses::TooMany => (Addresses::TooMany, rest),
                };
                Ok(Self::SetAddresses { unicast, multicast })
            }
            bindings::VIRTIO_NET_CTRL_MAC_ADDR_SET => {
                let mac = MacAddress::new(leading(data)?);
                // C takes any. No interface can have the address of a group or zero, Linux never
                // asks for one, and users cannot give one to a device: no driver can either.
                if mac.is_assignable() {
                    Ok(Self::SetMac(mac))
                } else {
                    Err(Refusal::Value)
                }
            }
            _ => Err(Refusal::Unknown),
        }
    }

    fn parse_vlan(command: u8, data: &[u8]) -> Result<Self, Refusal> {
        let member = match u32::from(command) {
            bindings::VIRTIO_NET_CTRL_VLAN_ADD => true,
            bindings::VIRTIO_NET_CTRL_VLAN_DEL => false,
            _ => return Err(Refusal::Unknown),
        };
        let id = VlanId::new(u16::from_le_bytes(leading(data)?)).ok_or(Refusal::Value)?;
        Ok(Self::SetVlan { id, member })
    }

    /// Whether a driver may give the command that accepted these features, of a device with so many
    /// queue pairs.
    pub(crate) fn check(self, negotiated: Negotiated, pairs: QueuePairs) -> Result<(), Refusal> {
        let has = |feature| negotiated.has(feature);
        let allowed = match self {
            Self::SetMode { mode, .. } => has(mode.feature()),
            Self::SetAddresses { .. } => has(bindings::VIRTIO_NET_F_CTRL_RX),
            // The latter is what the driver's part of section 5.1.6.5.2 says.
            Self::SetMac(_) => {
                has(bindings::VIRTIO_NET_F_CTRL_MAC_ADDR) || has(bindings::VIRTIO_NET_F_CTRL_RX)
            }
            Self::SetVlan { .. } => has(bindings::VIRTIO_NET_F_CTRL_VLAN),
            Self::AcknowledgeAnnounce => has(bindings::VIRTIO_NET_F_GUEST_ANNOUNCE),
            Self::SetPairs(_) => has(bindings::VIRTIO_NET_F_MQ),
            Self::SetOffloads(_) => has(bindings::VIRTIO_NET_F_CTRL_GUEST_OFFLOADS),
        };
        if !allowed || !has(bindings::VIRTIO_NET_F_CTRL_VQ) {
            return Err(Refusal::NotNegotiated);
        }
        let possible = match self {
            Self::SetPairs(wanted) => wanted <= pairs,
            Self::SetOffloads(on) => on
                .without(negotiated.features().intersection(GUEST_OFFLOADS))
                .is_empty(),
            _ => true,
        };
        if possible {
            Ok(())
        } else {
            Err(Refusal::Value)
        }
    }
}

/// The first bytes of the data.
fn leading<const N: usize>(data: &[u8]) -> Result<[u8; N], Refusal> {
    data.first_chunk().copied().ok_or(Refusal::Short)
}

/// A list of addresses and what follows it. `beyond` is how many bytes were not read.
fn split_addresses(data: &[u8], beyond: usize) -> Result<(Addresses<'_>, &[u8]), Refusal> {
    let Some((count, rest)) = data.split_first_chunk() else {
        return if beyond >= COUNT_LEN.saturating_sub(data.len()) {
            Ok((Addresses::TooMany, &[]))
        } else {
            Err(Refusal::Short)
        };
    };
    let len = usize::try_from(u32::from_le_bytes(*count))
        .ok()
        .and_then(|count| count.checked_mul(MacAddress::LEN))
        .ok_or(Refusal::Short)?;
    match rest.split_at_checked(len) {
        Some((list, rest)) => Ok((Addresses::Listed(list), rest)),
        None if len <= rest.len().saturating_add(beyond) => Ok((Addresses::TooMany, &[])),
        None => Err(Refusal::Short),
    }
}
