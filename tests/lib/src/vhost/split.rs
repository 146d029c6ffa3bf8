// SPDX-License-Identifier: GPL-2.0
//! The driver's side of a split virtqueue (2.7 of the specification).

use std::collections::VecDeque;
use std::sync::atomic::{fence, Ordering};

use virtio_bindings::virtio_ring as c;

use crate::vhost::memory::Area;
use crate::vhost::node::RingAddress;
use crate::vhost::ring::{passed, Buffer, Interrupts, Options, Tables, Used, DESCRIPTOR};

/// A descriptor as it stands in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub addr: u64,
    pub len: u32,
    pub flags: u16,
    pub next: u16,
}

impl Descriptor {
    pub const NEXT: u16 = c::VRING_DESC_F_NEXT as u16;
    pub const WRITE: u16 = c::VRING_DESC_F_WRITE as u16;
    pub const INDIRECT: u16 = c::VRING_DESC_F_INDIRECT as u16;

    /// Of a buffer, with a successor if there is one.
    pub fn new(buffer: Buffer, next: Option<u16>) -> Self {
        let write = if buffer.writable { Self::WRITE } else { 0 };
        Descriptor {
            addr: buffer.iova,
            len: buffer.len,
            flags: write | next.map_or(0, |_| Self::NEXT),
            next: next.unwrap_or(0),
        }
    }

    pub fn write(self, table: &Area, index: u16) {
        let at = usize::from(index) * DESCRIPTOR;
        table.store(at, self.addr);
        table.store(at + 8, self.len);
        table.store(at + 12, self.flags);
        table.store(at + 14, self.next);
    }
}

// Offsets in the available ring; the used ring has the same head.
const FLAGS: usize = 0;
const INDEX: usize = 2;
const ENTRIES: usize = 4;
const USED_ENTRY: usize = 8;

/// A split virtqueue. What is hostile can be written to its parts.
#[derive(Debug)]
pub struct Split {
    pub desc: Area,
    pub avail: Area,
    pub used: Area,
    size: u16,
    event_idx: bool,
    in_order: bool,
    tables: Option<Tables>,
    next_avail: u16,
    next_used: u16,
    /// The index at the last decision about a kick.
    told: u16,
    when: Interrupts,
    free: VecDeque<u16>,
    /// Descriptors of the chains that the device has, by their heads.
    chains: Vec<Vec<u16>>,
    /// The heads in the order in which they were added.
    outstanding: VecDeque<u16>,
    /// Chains that were used and not taken yet.
    done: VecDeque<Used>,
}

impl Split {
    /// A new ring in memory cut off the front of `space`.
    pub fn new(space: &mut Area, options: Options) -> Self {
        let size = usize::from(options.size);
        let parts = [
            space.take(size * DESCRIPTOR, DESCRIPTOR),
            space.take(ENTRIES + 2 * size + 2, 2),
            space.take(ENTRIES + USED_ENTRY * size + 2, 4),
        ];
        let tables = Tables::new(space, options.size, options.indirect);
        Self::assemble(parts, tables, options)
    }

    /// A new ring whose parts are anywhere: descriptors, available and used ring.
    pub fn of_parts(parts: [Area; 3], options: Options) -> Self {
        Self::assemble(parts, None, options)
    }

    fn assemble([desc, avail, used]: [Area; 3], tables: Option<Tables>, options: Options) -> Self {
        let size = usize::from(options.size);
        let start = options.base.unwrap_or(0) as u16;
        let ring = Split {
            desc,
            avail,
            used,
            size: options.size,
            event_idx: options.event_idx,
            in_order: options.in_order,
            tables,
            next_avail: start,
            next_used: start,
            told: start,
            when: Interrupts::Always,
            free: (0..options.size).collect(),
            chains: vec![Vec::new(); size],
            outstanding: VecDeque::new(),
            done: VecDeque::new(),
        };
        [&ring.desc, &ring.avail, &ring.used]
            .iter()
            .for_each(|a| a.fill(0));
        ring.avail.store(INDEX, start);
        ring.used.store(INDEX, start);
        ring.arm();
        ring
    }

    pub fn size(&self) -> u16 {
        self.size
    }

    pub fn address(&self) -> RingAddress {
        RingAddress {
            desc: self.desc.iova(),
            driver: self.avail.iova(),
            device: self.used.iova(),
        }
    }

    pub fn base(&self) -> u32 {
        self.next_avail.into()
    }

    pub fn add(&mut self, chain: &[Buffer]) -> Option<u16> {
        assert!(!chain.is_empty(), "a chain of buffers");
        let indirect = self.tables.is_some() && chain.len() > 1;
        let wanted = if indirect { 1 } else { chain.len() };
        if self.free.len() < wanted {
            return None;
        }
        let indexes: Vec<u16> = self.free.drain(..wanted).collect();
        let head = indexes[0];
        if indirect {
            let table = self.tables.as_ref()?.table(head, chain.len());
            for (i, buffer) in (0u16..).zip(chain) {
                let next = (usize::from(i) + 1 < chain.len()).then_some(i + 1);
                Descriptor::new(*buffer, next).write(&table, i);
            }
            let descriptor = Descriptor {
                flags: Descriptor::INDIRECT,
                ..Descriptor::new(table.readable(), None)
            };
            descriptor.write(&self.desc, head);
        } else {
            for (i, buffer) in chain.iter().enumerate() {
                Descriptor::new(*buffer, indexes.get(i + 1).copied()).write(&self.desc, indexes[i]);
            }
        }
        self.chains[usize::from(head)] = indexes;
        self.outstanding.push_back(head);
        self.make_available(head);
        Some(head)
    }

    /// Puts a head into the available ring, whatever it is.
    pub fn make_available(&mut self, head: u16) {
        let slot = usize::from(self.next_avail % self.size);
        self.avail.store(ENTRIES + 2 * slot, head);
        self.next_avail = self.next_avail.wrapping_add(1);
        self.avail.store(INDEX, self.next_avail);
    }

    /// Sets the index of the available ring, whatever it is.
    pub fn set_avail_index(&mut self, index: u16) {
        self.next_avail = index;
        self.avail.store(INDEX, index);
    }

    /// The index that the device wrote.
    pub fn used_index(&self) -> u16 {
        self.used.load(INDEX)
    }

    pub fn needs_kick(&mut self) -> bool {
        let old = std::mem::replace(&mut self.told, self.next_avail);
        // The index must be visible before the device's wish is read.
        fence(Ordering::SeqCst);
        if self.event_idx {
            let at = ENTRIES + USED_ENTRY * usize::from(self.size);
            passed(self.used.load(at), old, self.next_avail)
        } else {
            self.used.load::<u16>(FLAGS) & c::VRING_USED_F_NO_NOTIFY as u16 == 0
        }
    }

    pub fn take(&mut self) -> Option<Used> {
        if let Some(used) = self.done.pop_front() {
            return Some(used);
        }
        let index = self.used_index();
        if index == self.next_used {
            return None;
        }
        let at = ENTRIES + USED_ENTRY * usize::from(self.next_used % self.size);
        let (id, len) = (self.used.load::<u32>(at), self.used.load::<u32>(at + 4));
        let used = Used {
            id: u16::try_from(id).expect("the id of a used chain"),
            len: Some(len),
        };
        let known = self.outstanding.iter().position(|h| *h == used.id);
        let position = known.unwrap_or_else(|| panic!("used, but not available: {used:?}"));
        if self.in_order {
            // One entry may stand for all chains up to this one (2.7.9).
            for id in self.outstanding.drain(..position) {
                self.done.push_back(Used { id, len: None });
            }
            self.outstanding.pop_front();
        } else {
            self.outstanding.remove(position);
        }
        self.done.push_back(used);
        for used in &self.done {
            self.free
                .extend(self.chains[usize::from(used.id)].drain(..));
        }
        let batch = self.done.len() as u16;
        assert!(
            batch <= index.wrapping_sub(self.next_used),
            "used up to {index}, {batch} from {} on",
            self.next_used
        );
        self.next_used = self.next_used.wrapping_add(batch);
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
        if self.event_idx {
            let from = self.next_used;
            let event = match self.when {
                Interrupts::Always => from,
                Interrupts::Never => from.wrapping_sub(1),
                Interrupts::After(n) => from.wrapping_add(n).wrapping_sub(1),
            };
            self.avail
                .store(ENTRIES + 2 * usize::from(self.size), event);
        } else {
            let flag = c::VRING_AVAIL_F_NO_INTERRUPT as u16;
            let flags = if self.when == Interrupts::Never {
                flag
            } else {
                0
            };
            self.avail.store(FLAGS, flags);
        }
        // The wish must be visible before what is used is looked at again.
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vhost::Memory;

    fn ring(options: Options) -> Split {
        let memory = Memory::private(1 << 16);
        Split::new(&mut Area::whole(&memory, 0x1000_0000), options)
    }

    fn options(size: u16) -> Options {
        Options {
            event_idx: true,
            ..Options::of(0, size)
        }
    }

    fn buffers(n: u32) -> Vec<Buffer> {
        let one = |len| Buffer {
            iova: 0x100,
            len,
            writable: false,
        };
        (1..=n).map(one).collect()
    }

    /// What a device does that is done with the next `batch` chains and tells of the
    /// last one only.
    fn use_batch(ring: &Split, batch: u16) {
        let index = ring.used_index();
        let last = index.wrapping_add(batch).wrapping_sub(1);
        let head: u16 = ring.avail.load(ENTRIES + 2 * usize::from(last % ring.size));
        let at = ENTRIES + USED_ENTRY * usize::from(index % ring.size);
        ring.used.store(at, u32::from(head));
        ring.used.store(at + 4, 100u32);
        ring.used.store(INDEX, index.wrapping_add(batch));
    }

    #[test]
    fn around_the_ring() {
        for in_order in [false, true] {
            let mut ring = ring(Options {
                in_order,
                base: Some(0xfff0),
                ..options(8)
            });
            for n in 0..200 {
                let mut given = Vec::new();
                while let Some(id) = ring.add(&buffers(1 + n % 3)) {
                    given.push(id);
                }
                assert_eq!(given.len() as u32, 8 / (1 + n % 3));
                let batch = if in_order { given.len() } else { 1 };
                for some in given.chunks(batch) {
                    use_batch(&ring, batch as u16);
                    for (i, id) in some.iter().enumerate() {
                        let len = (i + 1 == batch).then_some(100);
                        assert_eq!(ring.take(), Some(Used { id: *id, len }));
                    }
                }
                assert_eq!(ring.take(), None);
            }
        }
    }

    #[test]
    fn chains_in_memory() {
        let mut ring = ring(Options {
            indirect: 4,
            ..options(8)
        });
        let word = |ring: &Split, at| ring.desc.load::<u16>(at);
        ring.add(&buffers(1));
        assert_eq!((word(&ring, 12), word(&ring, 14)), (0, 0));
        ring.add(&buffers(3));
        assert_eq!(word(&ring, 16 + 12), Descriptor::INDIRECT);
        assert_eq!(ring.desc.load::<u32>(16 + 8), 48);
        assert_eq!(ring.free.len(), 6);
    }

    #[test]
    fn kicks_and_interrupts() {
        let mut ring = ring(Options {
            base: Some(0xffff),
            ..options(8)
        });
        let event = |ring: &Split| ring.avail.load::<u16>(ENTRIES + 16);
        assert_eq!(event(&ring), 0xffff);
        ring.interrupts(Interrupts::After(3));
        assert_eq!(event(&ring), 1);
        ring.interrupts(Interrupts::Never);
        assert_eq!(event(&ring), 0xfffe);
        // The device wants to know of the third one.
        ring.used.store(ENTRIES + 64, 1u16);
        ring.add(&buffers(1));
        ring.add(&buffers(1));
        assert!(!ring.needs_kick());
        ring.add(&buffers(1));
        assert!(ring.needs_kick());
    }
}
