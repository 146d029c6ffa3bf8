// SPDX-License-Identifier: GPL-2.0

//! A network device without its virtqueues: what it offers, what its driver has asked for, what
//! both see in the configuration space.
//!
//! Nothing here needs the kernel: `tests/host` has the same file.

use super::{
    config::{
        ConfigSpace,
        Mtu,
        OutOfRange, //
    },
    control::{
        Command,
        Refusal, //
    },
    features::{
        self,
        Negotiated,
        Offered,
        QueuePairs,
        GUEST_OFFLOADS, //
    },
    filter::Filter,
    header::{
        Header,
        HeaderSize,
        ReceiveOffloads, //
    },
    mac::{
        MacAddress,
        ETHERNET_HEADER_LEN,
        VLAN_TAG_LEN, //
    },
};
use core::fmt;
use vdpa::{
    DeviceConfig,
    Features, //
};
use vdpa_bindings as bindings;

/// What of a device is needed to give it a frame. A copy of it is all that a data path needs.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    /// Which frames it wants.
    pub(crate) filter: Filter,
    /// What it takes as it is.
    pub(crate) offloads: ReceiveOffloads,
    /// How many queue pairs are in use.
    pub(crate) pairs: QueuePairs,
    /// How long the header before a frame is.
    pub(crate) header: HeaderSize,
    /// The longest frame in bytes, unless it stands for several (virtio 1.3, section 5.1.4.1).
    pub(crate) max_frame_len: Option<usize>,
    /// Whether the link is up.
    pub(crate) link_is_up: bool,
}

impl Receiver {
    /// What nobody receives.
    pub(crate) fn nobody() -> Self {
        let config = ConfigSpace::new(0, Mtu::DEFAULT);
        receiver(
            MacAddress::new([0; MacAddress::LEN]),
            Negotiated::NONE,
            &config,
        )
    }

    /// Whether it receives a frame of `len` bytes, of which `start` is what
    /// [`Filter::accepts`] wants.
    #[inline]
    pub(crate) fn accepts(&self, start: &[u8], len: usize, header: &Header) -> bool {
        self.link_is_up && self.fits(len, header) && self.filter.accepts(start)
    }

    /// Whether a frame of `len` bytes is not longer than what it can take. One that stands for
    /// several may be; where it is cut, this is to be asked for each segment.
    #[inline]
    pub(crate) fn fits(&self, len: usize, header: &Header) -> bool {
        matches!(header, Header::Large(_)) || self.max_frame_len.is_none_or(|max| len <= max)
    }
}

/// Why no device can be made as a user asks. All of it is `EINVAL` to user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotPossible {
    /// Its features.
    Features(features::Refusal),
    /// Its number of queue pairs.
    Pairs,
    /// Its MTU.
    Mtu,
    /// Its address.
    Mac,
}

impl fmt::Display for NotPossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features(reason) => reason.fmt(f),
            Self::Pairs => write!(f, "it has 1 to {} pairs of queues", QueuePairs::MAX.get()),
            Self::Mtu => write!(f, "an MTU is at least {}", Mtu::MIN),
            Self::Mac => f.write_str("no interface has this MAC address"),
        }
    }
}

/// What a command has changed, for who has to act upon it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Something that only [`Receiver`] tells.
    Receiver,
    /// The device's address.
    Mac,
    /// How many queue pairs are in use.
    Pairs(QueuePairs),
    /// The driver has heard that it is to announce its guest.
    Announced,
}

/// A network device.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) offered: Offered,
    negotiated: Negotiated,
    config: ConfigSpace,
    receiver: Receiver,
}

/// What a device is made by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Provision {
    pub(crate) offered: Offered,
    pub(crate) mac: MacAddress,
    pub(crate) mtu: Mtu,
}

impl Provision {
    /// As a user asks for it. `random` is the device's address if it is not asked for one: drivers
    /// of C's devices, which have zero then, make up one each.
    pub(crate) fn new(config: &DeviceConfig, random: MacAddress) -> Result<Self, NotPossible> {
        let pairs = config.max_queue_pairs.map(QueuePairs::new);
        let pairs = pairs.unwrap_or(Some(QueuePairs::ONE));
        let pairs = pairs.ok_or(NotPossible::Pairs)?;
        let offered = Offered::new(config.features, pairs).map_err(NotPossible::Features)?;
        let mtu = config.mtu.map(Mtu::new).unwrap_or(Some(Mtu::DEFAULT));
        let mtu = mtu.ok_or(NotPossible::Mtu)?;
        let mac = config.mac.map_or(random, MacAddress::new);
        if !mac.is_assignable() {
            return Err(NotPossible::Mac);
        }
        Ok(Self { offered, mac, mtu })
    }
}

impl Model {
    /// A device that no driver has touched.
    pub(crate) fn new(provision: Provision) -> Self {
        let Provision { offered, mac, mtu } = provision;
        let max_pairs = if offered.features().has(bindings::VIRTIO_NET_F_MQ) {
            offered.pairs().get()
        } else {
            0
        };
        let config = ConfigSpace::new(max_pairs, mtu);
        let negotiated = Negotiated::NONE;
        Self {
            offered,
            negotiated,
            receiver: receiver(mac, negotiated, &config),
            config,
        }
    }

    /// What was negotiated.
    pub(crate) const fn negotiated(&self) -> Negotiated {
        self.negotiated
    }

    /// What a data path needs to know of the device.
    pub(crate) const fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// A driver accepts these features. If they are refused, nothing changes.
    pub(crate) fn negotiate(&mut self, accepted: Features) -> Result<(), features::Refusal> {
        let negotiated = self.offered.negotiate(accepted)?;
        if negotiated != self.negotiated {
            self.start(negotiated);
        }
        Ok(())
    }

    /// Forgets what a driver has done, except for the address: C keeps it, and QEMU, which sets it
    /// before its guest starts, relies on that.
    pub(crate) fn reset(&mut self) {
        self.config.reset();
        self.start(Negotiated::NONE);
    }

    /// Begins with a driver that did not send a command yet.
    fn start(&mut self, negotiated: Negotiated) {
        self.negotiated = negotiated;
        self.receiver = receiver(self.mac(), negotiated, &self.config);
    }

    /// The device's address.
    pub(crate) const fn mac(&self) -> MacAddress {
        self.receiver.filter.own()
    }

    /// Gives the device another address. Returns whether that is a change.
    pub(crate) fn set_mac(&mut self, mac: MacAddress) -> bool {
        let differs = mac != self.mac();
        if differs {
            self.receiver.filter.set_own(mac);
            self.config.mac_changed();
        }
        differs
    }

    /// Sets the link up or down. Returns whether the driver is to be told that its configuration
    /// has changed.
    pub(crate) fn set_link(&mut self, up: bool) -> bool {
        self.receiver.link_is_up = up;
        self.config.set_link(up) && self.negotiated.has(bindings::VIRTIO_NET_F_STATUS)
    }

    /// Asks the driver to announce its guest (virtio 1.3, section 5.1.6.5.4). Returns whether the
    /// driver is to be told that its configuration has changed: if it knows how to, and was not
    /// asked already.
    pub(crate) fn announce(&mut self) -> bool {
        self.negotiated.has(bindings::VIRTIO_NET_F_GUEST_ANNOUNCE)
            && self.negotiated.has(bindings::VIRTIO_NET_F_STATUS)
            && self.config.set_announce(true)
    }

    /// The configuration space's generation.
    pub(crate) const fn generation(&self) -> u32 {
        self.config.generation()
    }

    /// Reads the configuration space from `offset` on. Leaves `out` as it is if the space does not
    /// have as many bytes.
    pub(crate) fn read_config(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        self.config.read(self.mac(), offset, out)
    }

    /// A driver writes to the configuration space: only a legacy driver can, and only its address.
    /// An address that no interface can have is ignored, as is everything else.
    pub(crate) fn write_config(&mut self, offset: usize, data: &[u8]) -> Result<(), OutOfRange> {
        if !self.negotiated.mac_is_writable() {
            return Ok(());
        }
        match self.config.write(self.mac(), offset, data)? {
            Some(mac) if mac.is_assignable() => {
                self.set_mac(mac);
            }
            _ => (),
        }
        Ok(())
    }

    /// Does what a command says, of which [`Command::parse`] explains the parameters. The answer is
    /// an [`Ack`](super::control::Ack) of the result, of which each command has its own.
    pub(crate) fn command(&mut self, bytes: &[u8], total: usize) -> Result<Change, Refusal> {
        let command = Command::parse(bytes, total)?;
        command.check(self.negotiated, self.offered.pairs())?;
        let filter = &mut self.receiver.filter;
        match command {
            Command::SetMode { mode, on } => filter.set_mode(mode, on),
            Command::SetAddresses { unicast, multicast } => {
                unicast.store(filter.unicast_mut());
                multicast.store(filter.multicast_mut());
            }
            Command::SetVlan { id, member } => filter.set_vlan(id, member),
            Command::SetOffloads(on) => self.receiver.offloads = ReceiveOffloads::new(on),
            Command::SetMac(mac) => {
                self.set_mac(mac);
                return Ok(Change::Mac);
            }
            Command::SetPairs(pairs) => {
                self.receiver.pairs = pairs;
                return Ok(Change::Pairs(pairs));
            }
            Command::AcknowledgeAnnounce => {
                self.config.set_announce(false);
                return Ok(Change::Announced);
            }
        }
        Ok(Change::Receiver)
    }
}

/// What a driver receives that did not send a command yet.
fn receiver(mac: MacAddress, negotiated: Negotiated, config: &ConfigSpace) -> Receiver {
    let longest = usize::from(config.mtu().get()) + ETHERNET_HEADER_LEN + VLAN_TAG_LEN;
    Receiver {
        filter: Filter::new(mac, negotiated),
        offloads: ReceiveOffloads::new(negotiated.features().intersection(GUEST_OFFLOADS)),
        pairs: QueuePairs::ONE,
        header: HeaderSize::new(negotiated),
        max_frame_len: negotiated
            .has(bindings::VIRTIO_NET_F_MTU)
            .then_some(longest),
        link_is_up: config.link_is_up(),
    }
}
