// SPDX-License-Identifier: GPL-2.0
//! The driver's side of a packed virtqueue (2.8 of the specification).

use std::collections::VecDeque;
use std::sync::atomic::{fence, Ordering};

use virtio_bindings::virtio_ring as c;

use crate::vhost::memory::Area;
use crate::vhost::node::RingAddress;
use crate::vhost::ring::{passed, Buffer, Interrupts, Options, Tables, Used, DESCRIPTOR};
use crate::vhost::split::Descriptor;

const AVAIL: u16 = 1 << c::VRING_PACKED_DESC_F_AVAIL;
const USED: u16 = 1 << c::VRING_PACKED_DESC_F_USED;

// Offsets in an event suppression structure.
const EVENT: usize = 0;
const EVENT_FLAGS: usize = 2;

/// A place in the ring, and the wrap counter there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    index: u16,
    wrap: bool,
}

impl Place {
    /// Bit 15 is the wrap counter.
    fn decode(word: u16) -> Self {
        Place {
            index: word & 0x7fff,
            wrap: word & 0x8000 != 0,
        }
    }

    fn encode(self) -> u16 {
        self.index | (u16::from(self.wrap) << 15)
    }

    fn advance(self, by: u16, size: u16) -> Self {
        let sum = u32::from(self.index) + u32::from(by);
        let wraps = sum >= u32::from(size);
        Place {
            index: (sum - if wraps { u32::from(size) } else { 0 }) as u16,
            wrap: self.wrap != wraps,
        }
    }

    /// The flags of a descriptor that is made available here.
    fn available(self) -> u16 {
        if self.wrap {
            AVAIL
        } else {
            USED
        }
    }

    /// Whether a descriptor with these flags was used here.
    fn is_used(self, flags: u16) -> bool {
        let both = if self.wrap { AVAIL | USED } else { 0 };
        flags & (AVAIL | USED) == both
    }
}

/// A packed virtqueue. What is hostile can be written to its parts.
#[derive(Debug)]
pub struct Packed {
    pub desc: Area,
    pub driver: Area,
    pub device: Area,
    size: u16,
    event_idx: bool,
    in_order: bool,
    tables: Option<Tables>,
    avail: Place,
    used: Place,
    /// How many descriptors were made available since the last decision about a kick.
    added: u16,
    when: Interrupts,
    unused: u16,
    ids: VecDeque<u16>,
    /// How many descriptors each chain takes, by its id.
    lengths: Vec<u16>,
    /// The ids in the order in which they were added.
    outstanding: VecDeque<u16>,
    /// Chains that were used and not taken yet.
    done: VecDeque<Used>,
}

impl Packed {
    /// A new ring in memory cut off the front of `space`.
    pub fn new(space: &mut Area, options: Options) -> Self {
        let size = usize::from(options.size);
        let base = options.base.unwrap_or(0x8000_8000);
        let ring = Packed {
            desc: space.take(size * DESCRIPTOR, DESCRIPTOR),
            driver: space.take(4, 4),
            device: space.take(4, 4),
            size: options.size,
            event_idx: options.event_idx,
            in_order: options.in_order,
            tables: Tables::new(space, options.size, options.indirect),
            avail: Place::decode(base as u16),
            used: Place::decode((base >> 16) as u16),
            added: 0,
            when: Interrupts::Always,
            unused: options.size,
            ids: (0..options.size).collect(),
            lengths: vec![0; size],
            outstanding: VecDeque::new(),
            done: VecDeque::new(),
        };
        [&ring.desc, &ring.driver, &ring.device]
            .iter()
            .for_each(|a| a.fill(0));
        // Neither available nor used, wherever the ring begins.
        for i in 0..options.size {
            let before = i < ring.avail.index;
            let used = ring.avail.wrap == before;
            let flags = if used { AVAIL | USED } else { 0 };
            ring.desc.store(usize::from(i) * DESCRIPTOR + 14, flags);
        }
        ring.arm();
        ring
    }

    pub fn size(&self) -> u16 {
        self.size
    }

    pub fn address(&self) -> RingAddress {
        RingAddress {
            desc: self.desc.iova(),
            driver: self.driver.iova(),
            device: self.device.iova(),
        }
    }

    pub fn base(&self) -> u32 {
        u32::from(self.avail.encode()) | (u32::from(self.used.encode()) << 16)
    }

    /// Writes a descriptor, its flags last.
    pub fn write(table: &Area, index: u16, buffer: Buffer, id: u16, flags: u16) {
        let at = usize::from(index) * DESCRIPTOR;
        let write = if buffer.writable {
            Descriptor::WRITE
        } else {
            0
        };
        table.store(at, buffer.iova);
        table.store(at + 8, buffer.len);
        table.store(at + 12, id);
        table.store(at + 14, flags | write);
    }

    pub fn add(&mut self, chain: &[Buffer]) -> Option<u16> {
        assert!(!chain.is_empty(), "a chain of buffers");
        let indirect = self.tables.is_some() && chain.len() > 1;
        let wanted = if indirect { 1 } else { chain.len() };
        if usize::from(self.unused) < wanted {
            return None;
        }
        let id = self.ids.pop_front()?;
        if indirect {
            let table = self.tables.as_ref()?.table(id, chain.len());
            for (i, buffer) in (0u16..).zip(chain) {
                Self::write(&table, i, *buffer, 0, 0);
            }
            let flags = self.avail.available() | Descriptor::INDIRECT;
            Self::write(&self.desc, self.avail.index, table.readable(), id, flags);
        } else {
            // The first one last: it makes the chain available.
            for (i, buffer) in chain.iter().enumerate().rev() {
                let place = self.avail.advance(i as u16, self.size);
                let next = if i + 1 < chain.len() {
                    Descriptor::NEXT
                } else {
                    0
                };
                Self::write(
                    &self.desc,
                    place.index,
                    *buffer,
                    id,
                    place.available() | next,
                );
            }
        }
        let taken = wanted as u16;
        self.lengths[usize::from(id)] = taken;
        self.outstanding.push_back(id);
        self.unused -= taken;
        self.added += taken;
        self.avail = self.avail.advance(taken, self.size);
        Some(id)
    }

    pub fn needs_kick(&mut self) -> bool {
        let added = std::mem::take(&mut self.added);
        // The descriptors must be visible before the device's wish is read.
        fence(Ordering::SeqCst);
        match u32::from(self.device.load::<u16>(EVENT_FLAGS)) {
            c::VRING_PACKED_EVENT_FLAG_DISABLE => false,
            c::VRING_PACKED_EVENT_FLAG_DESC if self.event_idx => {
                let event = Place::decode(self.device.load(EVENT));
                let new = self.avail.index;
                // In the round before, it counts from before the start of this one.
                let index = if event.wrap == self.avail.wrap {
                    event.index
                } else {
                    event.index.wrapping_sub(self.size)
                };
                passed(index, new.wrapping_sub(added), new)
            }
            _ => true,
        }
    }

    pub fn take(&mut self) -> Option<Used> {
        if let Some(used) = self.done.pop_front() {
            return Some(used);
        }
        let at = usize::from(self.used.index) * DESCRIPTOR;
        // A used descriptor looks like one that was never available.
        if self.outstanding.is_empty() || !self.used.is_used(self.desc.load(at + 14)) {
            return None;
        }
        let used = Used {
            id: self.desc.load(at + 12),
            len: Some(self.desc.load(at + 8)),
        };
        let known = self.outstanding.iter().position(|id| *id == used.id);
        let position = known.unwrap_or_else(|| panic!("used, but not available: {used:?}"));
        if self.in_order {
            // One descriptor may stand for all chains up to this one (2.8.18).
            for id in self.outstanding.drain(..position) {
                self.done.push_back(Used { id, len: None });
            }
            self.outstanding.pop_front();
        } else {
            self.outstanding.remove(position);
        }
        self.done.push_back(used);
        for used in &self.done {
            let taken = self.lengths[usize::from(used.id)];
            self.unused += taken;
            self.used = self.used.advance(taken, self.size);
            self.ids.push_back(used.id);
        }
        if self.when == Interrupts::Always {
            self.arm();
        }
        self.done.pop_front()
    }

    pub fn interrupts(&mut self, when: Interrupts) {
        assert!(
            self.event_idx || !matches!(when, Interrupts::After(_)),
            "VIRTIO_F_EVENT_IDX"
        );
        self.when = when;
        self.arm();
    }

    fn arm(&self) {
        let flags = match self.when {
            Interrupts::Always => c::VRING_PACKED_EVENT_FLAG_ENABLE,
            Interrupts::Never => c::VRING_PACKED_EVENT_FLAG_DISABLE,
            Interrupts::After(n) => {
                // Chains that are still to be added are taken for single descriptors.
                let mut lengths = vec![1; usize::from(n) - 1];
                for (length, id) in lengths.iter_mut().zip(&self.outstanding) {
                    *length = self.lengths[usize::from(*id)];
                }
                let skipped = lengths.iter().sum();
                let event = self.used.advance(skipped, self.size);
                self.driver.store(EVENT, event.encode());
                c::VRING_PACKED_EVENT_FLAG_DESC
            }
        };
        self.driver.store(EVENT_FLAGS, flags as u16);
        // The wish must be visible before what is used is looked at again.
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vhost::Memory;

    /// A device after 2.8.22 of the specification, apart from how the driver does it.
    struct Device {
        ring: RingAddress,
        area: Area,
        size: u16,
        index: u16,
        wrap: bool,
    }

    impl Device {
        fn word(&self, at: u64) -> u16 {
            self.area.load((at - self.area.iova()) as usize)
        }

        /// The id and the number of descriptors of the next chain, without using it.
        fn next(&self, index: u16, wrap: bool) -> Option<(u16, u16)> {
            let at = |i: u16| self.ring.desc + u64::from(i) * 16;
            let flags = self.word(at(index) + 14);
            if ((flags >> 7) & 1 == 1) != wrap || ((flags >> 15) & 1 == 1) == wrap {
                return None;
            }
            let mut last = index;
            let mut count = 1;
            while self.word(at(last) + 14) & 1 == 1 {
                last = (last + 1) % self.size;
                count += 1;
            }
            Some((self.word(at(last) + 12), count))
        }

        /// Uses up to `batch` chains, and tells of the last one only.
        fn use_batch(&mut self, batch: usize) -> Vec<u16> {
            let (mut index, mut wrap) = (self.index, self.wrap);
            let mut ids = Vec::new();
            while let Some((id, count)) = self.next(index, wrap).filter(|_| ids.len() < batch) {
                ids.push(id);
                index += count;
                if index >= self.size {
                    index -= self.size;
                    wrap = !wrap;
                }
            }
            if let Some(id) = ids.last() {
                let at =
                    (self.ring.desc - self.area.iova()) as usize + usize::from(self.index) * 16;
                self.area.store(at + 8, 100u32);
                self.area.store(at + 12, *id);
                let flags = if self.wrap { 0x8080u16 } else { 0 };
                self.area.store(at + 14, flags);
            }
            (self.index, self.wrap) = (index, wrap);
            ids
        }
    }

    fn ring(size: u16, in_order: bool, base: u32) -> (Packed, Device) {
        let memory = Memory::private(1 << 16);
        let area = Area::whole(&memory, 0x1000_0000);
        let options = Options {
            size,
            packed: true,
            event_idx: true,
            in_order,
            indirect: 0,
            base: Some(base),
        };
        let ring = Packed::new(&mut area.clone(), options);
        let device = Device {
            ring: ring.address(),
            area,
            size,
            index: (base & 0x7fff) as u16,
            wrap: base & 0x8000 != 0,
        };
        (ring, device)
    }

    fn buffers(n: usize) -> Vec<Buffer> {
        let one = |i: usize| Buffer {
            iova: i as u64,
            len: 1,
            writable: false,
        };
        (0..n).map(one).collect()
    }

    /// Chains of all lengths, many times around the ring, batch by batch.
    fn rounds(size: u16, in_order: bool, base: u32) {
        let (mut ring, mut device) = ring(size, in_order, base);
        let mut given = VecDeque::new();
        for n in 0..500usize {
            while let Some(id) = ring.add(&buffers(1 + n % 3)) {
                given.push_back(id);
            }
            let batch = if in_order { 1 + n % 4 } else { 1 };
            let ids = device.use_batch(batch);
            assert!(!ids.is_empty(), "round {n}: nothing available");
            for (i, id) in ids.iter().enumerate() {
                let used = ring.take().expect("what was used");
                assert_eq!((used.id, Some(used.id)), (*id, given.pop_front()));
                let told = i + 1 == ids.len();
                assert_eq!(used.len, told.then_some(100));
            }
            assert_eq!(ring.take(), None);
        }
    }

    #[test]
    fn around_the_ring() {
        for size in [3, 4, 7, 8] {
            rounds(size, false, 0x8000_8000);
            rounds(size, true, 0x8000_8000);
        }
        rounds(8, false, 0x0005_0005);
        rounds(8, true, 0x8006_8006);
    }

    #[test]
    fn kicks() {
        let (mut ring, _) = ring(8, false, 0x8000_8000);
        assert!({
            ring.add(&buffers(1));
            ring.needs_kick()
        });
        ring.device.store(EVENT_FLAGS, 1u16);
        ring.add(&buffers(1));
        assert!(!ring.needs_kick(), "disabled");
        // At the fourth descriptor of this round; two are there.
        ring.device.store(EVENT_FLAGS, 2u16);
        ring.device.store(EVENT, 3u16 | 0x8000);
        ring.add(&buffers(1));
        assert!(!ring.needs_kick(), "the third");
        ring.add(&buffers(2));
        assert!(ring.needs_kick(), "the fourth and fifth");
        // The last one of this round, when the driver is in the next.
        ring.device.store(EVENT, 7u16 | 0x8000);
        ring.add(&buffers(3));
        assert_eq!(ring.avail, Place::decode(0));
        assert!(ring.needs_kick(), "around the end");
    }

    #[test]
    fn interrupts() {
        let (mut ring, _) = ring(8, false, 0x8006_8006);
        ring.interrupts(Interrupts::Never);
        assert_eq!(ring.driver.load::<u16>(EVENT_FLAGS), 1);
        ring.add(&buffers(3));
        ring.add(&buffers(1));
        ring.interrupts(Interrupts::After(2));
        assert_eq!(ring.driver.load::<u16>(EVENT_FLAGS), 2);
        // Three descriptors on: in the next round.
        assert_eq!(ring.driver.load::<u16>(EVENT), 1);
    }
}
