// SPDX-License-Identifier: GPL-2.0

//! A device, and a driver that writes what a test says.

use super::ram::{Op, Ram, RamArea, BASE};
use virtqueue::*;

/// Where the parts of the queue are, and room for tables and data.
pub const DESCRIPTORS: u64 = BASE;
pub const DRIVER: u64 = BASE + 0x1000;
pub const DEVICE: u64 = BASE + 0x2000;
pub const DATA: u64 = BASE + 0x3000;

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// The two of them.
pub struct Pair {
    pub ram: Ram,
    pub config: Config,
    pub queue: Queue<RamArea>,
    pub segments: [Segment; 16],
}

/// A queue with 8 descriptors and no feature but `VIRTIO_F_INDIRECT_DESC`.
pub fn config(format: Format) -> Config {
    Config {
        format,
        size: 8,
        event_idx: false,
        indirect: true,
        in_order: false,
        descriptors: GuestAddress::new(DESCRIPTORS),
        driver: GuestAddress::new(DRIVER),
        device: GuestAddress::new(DEVICE),
    }
}

impl Pair {
    /// From such a state on.
    pub fn at(config: &Config, state: State) -> Self {
        let mut ram = Ram::new(0x8000);
        let queue = Queue::new(config, state, &mut ram).unwrap();
        ram.take_log();
        Self {
            ram,
            config: *config,
            queue,
            segments: Default::default(),
        }
    }

    /// From the beginning on.
    pub fn new(config: &Config) -> Self {
        Self::at(config, State::initial(config.format))
    }

    pub fn descriptor_at(&self, at: u64, addr: u64, len: u32, [third, fourth]: [u16; 2]) {
        self.ram.set64(at, addr);
        self.ram.set32(at + 8, len);
        self.ram.set16(at + 12, third);
        self.ram.set16(at + 14, fourth);
    }

    pub fn next(&mut self) -> Result<Option<Chain>, Error> {
        self.queue.next(&mut self.ram, &mut self.segments)
    }

    pub fn take(&mut self) -> Chain {
        self.next().unwrap().expect("a buffer is available")
    }

    /// Where the segments of the last buffer are, and how long they are.
    pub fn parts(&self, count: usize) -> Vec<(u64, u32)> {
        let parts = self.segments[..count].iter();
        parts.map(|part| (part.at.get(), part.len)).collect()
    }

    /// The next buffer is refused for this reason, and so are all.
    pub fn refuses(&mut self, error: Error) {
        assert_eq!(self.next().unwrap_err(), error);
        assert_eq!(self.queue.error(), Some(error));
        self.ram.take_log();
        assert_eq!(self.next().unwrap_err(), error);
        assert_eq!(self.ram.take_log(), []);
    }

    /// Gives back the next `count` buffers, with nothing written.
    pub fn serve(&mut self, count: usize) {
        for _ in 0..count {
            let chain = self.take();
            self.queue.complete(chain, 0).unwrap();
        }
        self.queue.publish().unwrap();
    }

    /// What was stored, and where the barriers were.
    pub fn stores(&self) -> Vec<Op> {
        let mut log = self.ram.take_log();
        log.retain(|op| !matches!(op, Op::Load { .. } | Op::Read { .. }));
        log
    }

    /// How often something was loaded.
    pub fn loads(&self) -> usize {
        let log = self.ram.take_log();
        let loads = log.iter().filter(|op| matches!(op, Op::Load { .. }));
        loads.count()
    }
}

pub fn store(at: u64, size: usize, value: u64) -> Op {
    Op::Store { at, size, value }
}
