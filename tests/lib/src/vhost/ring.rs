// SPDX-License-Identifier: GPL-2.0
//! What the driver's sides of split and of packed virtqueues have in common.
//!
//! Section numbers are those of the virtio specification, version 1.3.

use crate::vhost::memory::Area;
use crate::vhost::node::RingAddress;
use crate::vhost::{feature, Packed, Split};

/// A piece of memory for the device, which reads or writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub iova: u64,
    pub len: u32,
    pub writable: bool,
}

/// A chain of buffers that the device is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// What [`Ring::add`] returned for it.
    pub id: u16,
    /// How many bytes the device says that it wrote; nothing, if it told only of a
    /// later chain, as it may with VIRTIO_F_IN_ORDER if it wrote all of this one.
    pub len: Option<u32>,
}

/// When the device should interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    Always,
    Never,
    /// When so many more chains are used; needs VIRTIO_F_EVENT_IDX.
    After(u16),
}

/// How a queue is used.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Descriptors in the ring.
    pub size: u16,
    pub packed: bool,
    pub event_idx: bool,
    pub in_order: bool,
    /// Tables of so many descriptors, for chains of more than one; 0 for none.
    pub indirect: u16,
    /// Where the ring begins, as in [`Ring::base`]; `None` at the very beginning.
    pub base: Option<u32>,
}

impl Options {
    /// What features that were negotiated make possible.
    pub fn of(features: u64, size: u16) -> Self {
        Options {
            size,
            packed: features & feature::RING_PACKED != 0,
            event_idx: features & feature::EVENT_IDX != 0,
            in_order: features & feature::IN_ORDER != 0,
            indirect: 0,
            base: None,
        }
    }
}

/// The driver's side of a virtqueue.
#[derive(Debug)]
pub enum Ring {
    Split(Split),
    Packed(Packed),
}

macro_rules! either {
    ($self:ident, $ring:ident => $body:expr) => {
        match $self {
            Ring::Split($ring) => $body,
            Ring::Packed($ring) => $body,
        }
    };
}

impl Ring {
    /// A new ring in memory cut off the front of `space`.
    pub fn new(space: &mut Area, options: Options) -> Self {
        if options.packed {
            Ring::Packed(Packed::new(space, options))
        } else {
            Ring::Split(Split::new(space, options))
        }
    }

    pub fn size(&self) -> u16 {
        either!(self, ring => ring.size())
    }

    pub fn address(&self) -> RingAddress {
        either!(self, ring => ring.address())
    }

    /// Where the driver is, as VHOST_SET_VRING_BASE wants to know it: the index of
    /// the next available entry (split), or that and the next used one, each with
    /// its wrap counter in bit 15, in the lower and upper half (packed).
    pub fn base(&self) -> u32 {
        either!(self, ring => ring.base())
    }

    /// Makes a chain available; its id, or nothing if there are too few descriptors.
    pub fn add(&mut self, chain: &[Buffer]) -> Option<u16> {
        either!(self, ring => ring.add(chain))
    }

    /// Whether the device wants to know of what was added since the last call.
    pub fn needs_kick(&mut self) -> bool {
        either!(self, ring => ring.needs_kick())
    }

    /// The next chain that the device used.
    pub fn take(&mut self) -> Option<Used> {
        either!(self, ring => ring.take())
    }

    pub fn interrupts(&mut self, when: Interrupts) {
        either!(self, ring => ring.interrupts(when))
    }

    /// The ring, if it is split.
    #[track_caller]
    pub fn split(&mut self) -> &mut Split {
        match self {
            Ring::Split(ring) => ring,
            Ring::Packed(_) => panic!("a packed ring"),
        }
    }

    /// The ring, if it is packed.
    #[track_caller]
    pub fn packed(&mut self) -> &mut Packed {
        match self {
            Ring::Packed(ring) => ring,
            Ring::Split(_) => panic!("a split ring"),
        }
    }
}

/// Whether an index that went from `old` to `new` passed `event` (2.7.10).
pub(super) fn passed(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// Tables for indirect descriptors, one for each chain that can be in the ring.
#[derive(Debug)]
pub(super) struct Tables {
    area: Area,
    entries: u16,
}

pub(super) const DESCRIPTOR: usize = 16;

impl Tables {
    pub(super) fn new(space: &mut Area, size: u16, entries: u16) -> Option<Self> {
        (entries > 0).then(|| Tables {
            area: space.take(
                usize::from(size) * usize::from(entries) * DESCRIPTOR,
                DESCRIPTOR,
            ),
            entries,
        })
    }

    /// The table of a chain, cut to its length.
    pub(super) fn table(&self, id: u16, entries: usize) -> Area {
        assert!(entries <= self.entries.into(), "room in the table");
        let each = usize::from(self.entries) * DESCRIPTOR;
        self.area.part(usize::from(id) * each, entries * DESCRIPTOR)
    }
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn events() {
        assert!(passed(5, 5, 6));
        assert!(!passed(6, 5, 6));
        assert!(passed(0xffff, 0xfffe, 1));
        assert!(!passed(1, 0xfffe, 1));
    }
}
