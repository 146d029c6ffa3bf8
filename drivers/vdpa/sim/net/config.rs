// SPDX-License-Identifier: GPL-2.0

//! The configuration space, `struct virtio_net_config` (virtio 1.3, section 5.1.4).
//!
//! It is put together from what holds at the moment when somebody reads it. Fields of features that
//! the device never offers are zero, as in C. All are little-endian: a legacy driver, which has
//! them in the guest's own order, is served on little-endian machines only.
//!
//! Nothing here needs the kernel: `tests/host` has the same file.

use super::{
    mac::MacAddress,
    wire::half, //
};
use vdpa_bindings as bindings;

/// The largest frame that a device carries, without its Ethernet header, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mtu(u16);

impl Mtu {
    /// What a device has if its user does not say: that of Ethernet.
    pub(crate) const DEFAULT: Self = Self(1500);

    /// The least (virtio 1.3, section 5.1.4.1).
    pub(crate) const MIN: u16 = 68;

    /// So many bytes, if a device may have that.
    pub(crate) const fn new(bytes: u16) -> Option<Self> {
        if bytes >= Self::MIN {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// The number of bytes.
    pub(crate) const fn get(self) -> u16 {
        self.0
    }
}

/// A range that is not in the configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfRange;

/// The state of the link, `VIRTIO_NET_S_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    link_up: bool,
    announce: bool,
}

impl Status {
    const LINK_UP: u16 = half(bindings::VIRTIO_NET_S_LINK_UP);
    const ANNOUNCE: u16 = half(bindings::VIRTIO_NET_S_ANNOUNCE);

    fn bits(self) -> u16 {
        let bit = |set: bool, bit: u16| if set { bit } else { 0 };
        bit(self.link_up, Self::LINK_UP) | bit(self.announce, Self::ANNOUNCE)
    }
}

/// What the configuration space tells of, except for the address.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSpace {
    status: Status,
    max_pairs: u16,
    mtu: Mtu,
    generation: u32,
    /// A new address of which the last byte is still to come.
    incomplete_mac: Option<[u8; MacAddress::LEN]>,
}

impl ConfigSpace {
    /// Its length in bytes: that of the structure when C's simulator was written, up to
    /// `supported_hash_types`.
    pub(crate) const LEN: usize = 24;

    /// The space of a new device, whose link is up. `max_pairs` is 0 if it does not offer
    /// `VIRTIO_NET_F_MQ`.
    pub(crate) const fn new(max_pairs: u16, mtu: Mtu) -> Self {
        Self {
            status: Status {
                link_up: true,
                announce: false,
            },
            max_pairs,
            mtu,
            generation: 0,
            incomplete_mac: None,
        }
    }

    /// A number that is another one after anything has changed (virtio 1.3, section 2.5.2).
    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    /// To be called when the address has changed.
    pub(crate) fn mac_changed(&mut self) {
        self.changed();
    }

    fn changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The MTU.
    pub(crate) const fn mtu(&self) -> Mtu {
        self.mtu
    }

    /// Whether the link is up.
    pub(crate) const fn link_is_up(&self) -> bool {
        self.status.link_up
    }

    /// Sets the link up or down. Returns whether that is a change.
    pub(crate) fn set_link(&mut self, up: bool) -> bool {
        self.set_status(Status {
            link_up: up,
            ..self.status
        })
    }

    /// Asks the driver to announce its guest, or ends that. Returns whether that is a change.
    pub(crate) fn set_announce(&mut self, announce: bool) -> bool {
        self.set_status(Status {
            announce,
            ..self.status
        })
    }

    fn set_status(&mut self, status: Status) -> bool {
        let differs = status != self.status;
        if differs {
            self.status = status;
            self.changed();
        }
        differs
    }

    /// Forgets what a driver has done. The link stays as it is.
    pub(crate) fn reset(&mut self) {
        self.incomplete_mac = None;
        self.status.announce = false;
        self.changed();
    }

    /// The whole space.
    fn bytes(&self, mac: MacAddress) -> [u8; Self::LEN] {
        let [m0, m1, m2, m3, m4, m5] = mac.bytes();
        let [s0, s1] = self.status.bits().to_le_bytes();
        let [p0, p1] = self.max_pairs.to_le_bytes();
        let [t0, t1] = self.mtu.get().to_le_bytes();
        // Zero are: the speed, whether it is duplex, what is about hashes.
        [
            m0, m1, m2, m3, m4, m5, s0, s1, p0, p1, t0, t1, //
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]
    }

    /// Reads from `offset` on. Leaves `out` as it is if the space does not have as many bytes.
    pub(crate) fn read(
        &self,
        mac: MacAddress,
        offset: usize,
        out: &mut [u8],
    ) -> Result<(), OutOfRange> {
        let end = offset.checked_add(out.len()).ok_or(OutOfRange)?;
        let bytes = self.bytes(mac);
        out.copy_from_slice(bytes.get(offset..end).ok_or(OutOfRange)?);
        Ok(())
    }

    /// A legacy driver writes to the space, where there is `mac` now. Returns the new address once
    /// its last byte was written: such drivers write one byte after the other, from the first to
    /// the last (virtio 1.3, section 5.1.6.5.2.3), and what is between is nobody's address. What is
    /// written elsewhere is ignored.
    pub(crate) fn write(
        &mut self,
        mac: MacAddress,
        offset: usize,
        data: &[u8],
    ) -> Result<Option<MacAddress>, OutOfRange> {
        let end = offset.checked_add(data.len()).ok_or(OutOfRange)?;
        if end > Self::LEN {
            return Err(OutOfRange);
        }
        let mut bytes = self.incomplete_mac.unwrap_or(mac.bytes());
        for (old, new) in bytes.iter_mut().skip(offset).zip(data) {
            *old = *new;
        }
        let has_last = offset < MacAddress::LEN && end >= MacAddress::LEN;
        self.incomplete_mac = (!has_last).then_some(bytes);
        Ok(has_last.then_some(MacAddress::new(bytes)))
    }
}
