// SPDX-License-Identifier: GPL-2.0

//! Split queues, ring by ring and byte by byte.

use super::ram::{Op, Ram, RamArea, BASE};
use virtqueue::*;

const TABLE: u64 = BASE;
const AVAIL: u64 = BASE + 0x1000;
const USED: u64 = BASE + 0x2000;
const DATA: u64 = BASE + 0x3000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A driver that writes what the test says, and the device under test.
struct Pair {
    ram: Ram,
    config: Config,
    queue: Queue<RamArea>,
    segments: [Segment; 16],
}

impl Pair {
    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut ram = Ram::new(0x8000);
        let mut config = Config {
            format: Format::Split,
            size: 8,
            event_idx: false,
            indirect: true,
            in_order: false,
            descriptors: GuestAddress::new(TABLE),
            driver: GuestAddress::new(AVAIL),
            device: GuestAddress::new(USED),
        };
        change(&mut config);
        let queue = Queue::new(&config, State::initial(Format::Split), &mut ram).unwrap();
        Self {
            ram,
            config,
            queue,
            segments: Default::default(),
        }
    }

    fn new() -> Self {
        Self::with(|_| ())
    }

    fn descriptor_at(&self, at: u64, (addr, len, flags, next): (u64, u32, u16, u16)) {
        self.ram.set64(at, addr);
        self.ram.set32(at + 8, len);
        self.ram.set16(at + 12, flags);
        self.ram.set16(at + 14, next);
    }

    fn descriptor(&self, index: u16, descriptor: (u64, u32, u16, u16)) {
        self.descriptor_at(TABLE + 16 * u64::from(index), descriptor);
    }

    /// Makes chains available.
    fn offer(&self, heads: &[u16]) {
        let mut index = self.ram.get16(AVAIL + 2);
        for head in heads {
            let slot = u64::from(index % self.config.size);
            self.ram.set16(AVAIL + 4 + 2 * slot, *head);
            index = index.wrapping_add(1);
        }
        self.ram.set16(AVAIL + 2, index);
    }

    fn used_index(&self) -> u16 {
        self.ram.get16(USED + 2)
    }

    fn used(&self, slot: u64) -> (u32, u32) {
        let at = USED + 4 + 8 * slot;
        (self.ram.get32(at), self.ram.get32(at + 4))
    }

    fn next(&mut self) -> Result<Option<Chain>, Error> {
        self.queue.next(&mut self.ram, &mut self.segments)
    }

    fn take(&mut self) -> Chain {
        self.next().unwrap().expect("a buffer is available")
    }
}

#[test]
fn a_buffer_there_and_back() {
    let mut pair = Pair::new();
    assert!(pair.next().unwrap().is_none());
    pair.descriptor(3, (DATA, 5, NEXT, 1));
    pair.descriptor(1, (DATA + 0x100, 7, NEXT | WRITE, 6));
    pair.descriptor(6, (DATA + 0x200, 9, WRITE, 0));
    pair.offer(&[3]);
    let chain = pair.take();
    assert_eq!(
        (chain.readable(), chain.writable(), chain.segments()),
        (1, 2, 3)
    );
    assert_eq!((chain.readable_len(), chain.writable_len()), (5, 16));
    assert_eq!(chain.id(), 3);
    let segments = pair.segments.map(|segment| (segment.at.get(), segment.len));
    assert_eq!(
        segments[..3],
        [(DATA, 5), (DATA + 0x100, 7), (DATA + 0x200, 9)]
    );
    assert!(pair.next().unwrap().is_none());

    pair.queue.complete(chain, 10).unwrap();
    assert_eq!(pair.used_index(), 0);
    pair.queue.publish().unwrap();
    assert_eq!(pair.used_index(), 1);
    assert_eq!(pair.used(0), (3, 10));
    assert_eq!(pair.queue.state(), State::Split { avail: 1, used: 1 });
}

#[test]
fn the_index_comes_after_the_entries_and_a_barrier() {
    let mut pair = Pair::new();
    pair.descriptor(0, (DATA, 5, WRITE, 0));
    pair.offer(&[0]);
    let chain = pair.take();
    pair.ram.take_log();
    pair.queue.complete(chain, 5).unwrap();
    pair.queue.publish().unwrap();
    let log = pair.ram.take_log();
    let store = |at, size, value| Op::Store { at, size, value };
    assert_eq!(
        log,
        [
            store(USED + 4, 4, 0),
            store(USED + 8, 4, 5),
            Op::WriteBarrier,
            store(USED + 2, 2, 1)
        ]
    );
}

#[test]
fn indirect() {
    let mut pair = Pair::new();
    pair.descriptor(0, (DATA, 48, INDIRECT, 0));
    pair.descriptor_at(DATA, (1, 2, NEXT, 2));
    pair.descriptor_at(DATA + 32, (3, 4, NEXT | WRITE, 1));
    pair.descriptor_at(DATA + 16, (5, 6, WRITE, 0));
    pair.offer(&[0]);
    let chain = pair.take();
    assert_eq!((chain.readable(), chain.writable()), (1, 2));
    let segments = pair.segments.map(|segment| (segment.at.get(), segment.len));
    assert_eq!(segments[..3], [(1, 2), (3, 4), (5, 6)]);
}
