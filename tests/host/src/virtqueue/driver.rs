// SPDX-License-Identifier: GPL-2.0

//! The driver side of virtqueues, by the letter of virtio 1.3 and without any haste: what the device
//! side is tried against.

use std::collections::{HashMap, VecDeque};
use virtqueue::{Config, Format};

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;
const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;

/// How a driver gets at the memory. Accesses are relaxed; order comes of the barriers.
pub trait Bus {
    fn load16(&self, at: u64) -> u16;
    fn load32(&self, at: u64) -> u32;
    fn store16(&self, at: u64, value: u16);
    fn store32(&self, at: u64, value: u32);
    fn store64(&self, at: u64, value: u64);
    fn read_barrier(&self);
    fn write_barrier(&self);
    fn full_barrier(&self);
}

/// A part of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub at: u64,
    pub len: u32,
    pub write: bool,
}

/// A buffer that the device may have.
#[derive(Clone, Debug)]
struct Outstanding {
    token: u64,
    /// The descriptors that it takes up in the table or ring.
    descriptors: Vec<u16>,
    /// How much can be written.
    room: u32,
}

/// A driver.
pub struct Driver<B> {
    pub bus: B,
    config: Config,
    /// What the device may have, by head or id; in order, it is a queue.
    outstanding: HashMap<u16, Outstanding>,
    order: VecDeque<u16>,
    /// Descriptors of a split queue, ids of a packed one.
    free: Vec<u16>,
    /// Free descriptors of a packed ring.
    room: u16,
    /// The next available entry or descriptor, its wrap counter, and how many came since a kick was
    /// thought of.
    next: u16,
    wrap: bool,
    added: u32,
    /// Where the next used entry or descriptor is.
    used: u16,
    used_wrap: bool,
    /// Used buffers that were skipped in the ring.
    batch: VecDeque<(u64, u32)>,
}

impl<B: Bus> Driver<B> {
    pub fn new(bus: B, config: &Config) -> Self {
        let mut free: Vec<u16> = (0..config.size).collect();
        if !config.in_order {
            free.reverse();
        }
        Self {
            bus,
            config: *config,
            outstanding: HashMap::new(),
            order: VecDeque::new(),
            free,
            room: config.size,
            next: 0,
            wrap: true,
            added: 0,
            used: 0,
            used_wrap: true,
            batch: VecDeque::new(),
        }
    }

    fn packed(&self) -> bool {
        self.config.format == Format::Packed
    }

    /// How many buffers the device may have.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Puts a buffer into the queue. With `table`, parts from the one with that number on are in an
    /// indirect table there. Returns whether there was room; a packed queue's device sees it at once.
    pub fn offer(&mut self, token: u64, parts: &[Part], table: Option<(usize, u64)>) -> bool {
        let needed = table.map_or(parts.len(), |(direct, _)| direct + 1);
        let room = if self.packed() {
            usize::from(self.room)
        } else {
            self.free.len()
        };
        if needed > room || self.free.is_empty() {
            return false;
        }
        let mut list: Vec<(u64, u32, u16)> = parts
            .iter()
            .map(|part| (part.at, part.len, if part.write { WRITE } else { 0 }))
            .collect();
        if let Some((direct, at)) = table {
            let inner = list.split_off(direct);
            let len = 16 * inner.len() as u32;
            self.write_table(at, &inner);
            list.push((at, len, INDIRECT));
        }
        let last = list.len() - 1;
        for (_, _, flags) in &mut list[..last] {
            *flags |= NEXT;
        }
        let (id, descriptors) = if self.packed() {
            self.offer_packed(&list)
        } else {
            self.offer_split(&list)
        };
        let room = parts.iter().filter(|part| part.write).map(|part| part.len);
        let buffer = Outstanding {
            token,
            descriptors,
            room: room.sum(),
        };
        assert!(self.outstanding.insert(id, buffer).is_none());
        self.order.push_back(id);
        true
    }

    fn write_table(&self, at: u64, inner: &[(u64, u32, u16)]) {
        for (index, (addr, len, flags)) in inner.iter().enumerate() {
            let at = at + 16 * index as u64;
            self.bus.store64(at, *addr);
            self.bus.store32(at + 8, *len);
            let (a, b) = if self.packed() {
                (0, *flags)
            } else if index + 1 < inner.len() {
                (*flags | NEXT, index as u16 + 1)
            } else {
                (*flags, 0)
            };
            self.bus.store16(at + 12, a);
            self.bus.store16(at + 14, b);
        }
    }

    fn offer_split(&mut self, list: &[(u64, u32, u16)]) -> (u16, Vec<u16>) {
        let descriptors: Vec<u16> = if self.config.in_order {
            // In ring order: free ones are kept so.
            self.free.drain(..list.len()).collect()
        } else {
            self.free.split_off(self.free.len() - list.len())
        };
        for (index, (addr, len, flags)) in list.iter().enumerate() {
            let at = self.config.descriptors.get() + 16 * u64::from(descriptors[index]);
            self.bus.store64(at, *addr);
            self.bus.store32(at + 8, *len);
            self.bus.store16(at + 12, *flags);
            let next = descriptors.get(index + 1).copied().unwrap_or(0xffff);
            self.bus.store16(at + 14, next);
        }
        let slot = u64::from(self.next % self.config.size);
        let entry = self.config.driver.get() + 4 + 2 * slot;
        self.bus.store16(entry, descriptors[0]);
        self.next = self.next.wrapping_add(1);
        self.added += 1;
        (descriptors[0], descriptors)
    }

    fn offer_packed(&mut self, list: &[(u64, u32, u16)]) -> (u16, Vec<u16>) {
        let id = if self.config.in_order {
            self.next
        } else {
            self.free.pop().unwrap()
        };
        let mut descriptors = vec![];
        let mut first = None;
        for (addr, len, flags) in list {
            let at = self.config.descriptors.get() + 16 * u64::from(self.next);
            self.bus.store64(at, *addr);
            self.bus.store32(at + 8, *len);
            // The id counts in the last one only.
            let last = flags & NEXT == 0;
            self.bus.store16(at + 12, if last { id } else { !id });
            let flags = flags | if self.wrap { AVAIL } else { USED };
            if first.is_none() {
                first = Some((at + 14, flags));
            } else {
                self.bus.store16(at + 14, flags);
            }
            descriptors.push(self.next);
            (self.next, self.wrap) = self.advance(self.next, self.wrap, 1);
        }
        self.bus.write_barrier();
        let (at, flags) = first.unwrap();
        self.bus.store16(at, flags);
        self.room -= list.len() as u16;
        self.added += list.len() as u32;
        (id, descriptors)
    }

    fn advance(&self, index: u16, wrap: bool, by: u16) -> (u16, bool) {
        let index = index + by;
        if index >= self.config.size {
            (index - self.config.size, !wrap)
        } else {
            (index, wrap)
        }
    }

    /// Lets the device of a split queue see what was put into it.
    pub fn publish(&mut self) {
        if !self.packed() {
            self.bus.write_barrier();
            self.bus.store16(self.config.driver.get() + 2, self.next);
        }
    }

    /// Whether the device wants a kick for what it sees since the last call.
    pub fn needs_kick(&mut self) -> bool {
        self.bus.full_barrier();
        let added = std::mem::take(&mut self.added);
        let device = self.config.device.get();
        if added == 0 {
            return false;
        }
        if !self.packed() {
            if !self.config.event_idx {
                return self.bus.load16(device) & 1 == 0;
            }
            let event = self
                .bus
                .load16(device + 4 + 8 * u64::from(self.config.size));
            let ago = self.next.wrapping_sub(event).wrapping_sub(1);
            return u32::from(ago) < added;
        }
        let flags = self.bus.load16(device + 2);
        self.bus.read_barrier();
        let place = self.bus.load16(device);
        match flags {
            0 => true,
            1 => false,
            2 if self.config.event_idx => {
                let event = (place & 0x7fff, place & 0x8000 != 0);
                // After two rounds everything is as before: that is the way back.
                let rounds = 2 * u32::from(self.config.size);
                let count = added.min(rounds);
                let first = self.forward((self.next, self.wrap), rounds - count);
                (0..count).any(|step| self.forward(first, step) == event)
            }
            other => panic!("the device wants {other}"),
        }
    }

    fn forward(&self, at: (u16, bool), by: u32) -> (u16, bool) {
        (0..by).fold(at, |(index, wrap), _| self.advance(index, wrap, 1))
    }

    /// Takes back a used buffer: its token, and how much was written.
    pub fn take_used(&mut self) -> Option<(u64, u32)> {
        if let Some(used) = self.batch.pop_front() {
            return Some(used);
        }
        let (id, len) = if self.packed() {
            self.used_packed()?
        } else {
            self.used_split()?
        };
        if !self.config.in_order {
            let buffer = self.release(id);
            assert!(len <= buffer.room);
            return Some((buffer.token, len));
        }
        loop {
            let first = *self.order.front().expect("a buffer of that id");
            let buffer = self.release(first);
            if first == id {
                assert!(len <= buffer.room);
                self.batch.push_back((buffer.token, len));
                break;
            }
            self.batch.push_back((buffer.token, buffer.room));
        }
        self.batch.pop_front()
    }

    /// Whether a used buffer can be taken back.
    pub fn has_used(&self) -> bool {
        !self.batch.is_empty()
            || if self.packed() {
                self.is_used_packed()
            } else {
                self.used_index() != self.used
            }
    }

    fn used_index(&self) -> u16 {
        self.bus.load16(self.config.device.get() + 2)
    }

    fn used_split(&mut self) -> Option<(u16, u32)> {
        if self.used_index() == self.used {
            return None;
        }
        self.bus.read_barrier();
        let slot = u64::from(self.used % self.config.size);
        let at = self.config.device.get() + 4 + 8 * slot;
        let (id, len) = (self.bus.load32(at), self.bus.load32(at + 4));
        Some((u16::try_from(id).unwrap(), len))
    }

    fn used_flags(&self) -> u16 {
        let at = self.config.descriptors.get() + 16 * u64::from(self.used);
        self.bus.load16(at + 14)
    }

    fn is_used_packed(&self) -> bool {
        let expected = if self.used_wrap { AVAIL | USED } else { 0 };
        self.used_flags() & (AVAIL | USED) == expected
    }

    fn used_packed(&mut self) -> Option<(u16, u32)> {
        if !self.is_used_packed() {
            return None;
        }
        let flags = self.used_flags();
        self.bus.read_barrier();
        let at = self.config.descriptors.get() + 16 * u64::from(self.used);
        let (len, id) = (self.bus.load32(at + 8), self.bus.load16(at + 12));
        assert_eq!(flags & WRITE != 0, len > 0);
        Some((id, len))
    }

    /// Forgets a buffer that was used, and goes on in the ring.
    fn release(&mut self, id: u16) -> Outstanding {
        let buffer = self.outstanding.remove(&id).expect("a buffer of that id");
        let place = self.order.iter().position(|other| *other == id).unwrap();
        self.order.remove(place);
        if self.packed() {
            let count = buffer.descriptors.len() as u16;
            (self.used, self.used_wrap) = self.advance(self.used, self.used_wrap, count);
            self.room += count;
            if !self.config.in_order {
                self.free.push(id);
            }
        } else {
            self.used = self.used.wrapping_add(1);
            self.free.extend(&buffer.descriptors);
        }
        buffer
    }

    /// Asks for no interrupts; with event indices in a split queue, for none soon.
    pub fn disable_interrupts(&mut self) {
        let driver = self.config.driver.get();
        if self.packed() {
            self.bus.store16(driver + 2, 1);
        } else if !self.config.event_idx {
            self.bus.store16(driver, 1);
        } else {
            let at = driver + 4 + 2 * u64::from(self.config.size);
            self.bus.store16(at, self.used.wrapping_sub(1));
        }
    }

    /// Asks for an interrupt when a buffer is used; with event indices, when `more` entries or
    /// descriptors were skipped before. Returns whether some are used already, for which none may come.
    pub fn enable_interrupts(&mut self, more: u16) -> bool {
        let driver = self.config.driver.get();
        let event = driver + 4 + 2 * u64::from(self.config.size);
        match (self.packed(), self.config.event_idx) {
            (false, false) => self.bus.store16(driver, 0),
            (false, true) => self.bus.store16(event, self.used.wrapping_add(more)),
            (true, false) => self.bus.store16(driver + 2, 0),
            (true, true) => {
                let (index, wrap) = self.forward((self.used, self.used_wrap), more.into());
                self.bus.store16(driver, index | u16::from(wrap) << 15);
                self.bus.write_barrier();
                self.bus.store16(driver + 2, 2);
            }
        }
        self.bus.full_barrier();
        self.has_used()
    }
}
