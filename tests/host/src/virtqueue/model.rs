// SPDX-License-Identifier: GPL-2.0

//! A driver and a device that take turns in any order, beside a model of the queue between them:
//! lists of buffers, and counters that never wrap.

use super::driver::{Driver, Part};
use super::ram::{Ram, RamArea, BASE};
use proptest::{collection::vec, prelude::*};
use std::collections::VecDeque;
use virtqueue::*;

const DESCRIPTORS: u64 = BASE;
const DRIVER: u64 = BASE + 0x1000;
const DEVICE: u64 = BASE + 0x2000;
/// A table for each buffer that is under way.
const TABLES: u64 = BASE + 0x3000;
const TABLE_SIZE: u64 = 0x100;
const SIZE: usize = 0x3000 + 64 * TABLE_SIZE as usize;

/// What one of the two sides does next.
#[derive(Clone, Debug)]
enum Step {
    /// Parts by length and direction, and how many of them are before an indirect table.
    Offer(Vec<(u32, bool)>, Option<usize>),
    DriverPublish,
    NeedsKick,
    Collect,
    EnableInterrupts(u16),
    DisableInterrupts,
    Take,
    PutBack,
    /// Which of the taken ones, and how much is written: of 4 parts.
    Complete(usize, u32),
    Publish,
    NeedsInterrupt,
    EnableKicks,
    DisableKicks,
    HasAvailable,
    Remap,
    /// Another device goes on, if it can.
    HandOver,
}

fn step() -> impl Strategy<Value = Step> {
    let parts = vec((1u32..5000, any::<bool>()), 1..6);
    prop_oneof![
        8 => (parts, prop::option::of(0usize..3)).prop_map(|(parts, table)| Step::Offer(parts, table)),
        6 => Just(Step::DriverPublish),
        4 => Just(Step::NeedsKick),
        4 => Just(Step::Collect),
        2 => (0u16..10).prop_map(Step::EnableInterrupts),
        1 => Just(Step::DisableInterrupts),
        8 => Just(Step::Take),
        2 => Just(Step::PutBack),
        8 => (any::<usize>(), 0u32..=4).prop_map(|(which, part)| Step::Complete(which, part)),
        6 => Just(Step::Publish),
        4 => Just(Step::NeedsInterrupt),
        3 => Just(Step::EnableKicks),
        2 => Just(Step::DisableKicks),
        2 => Just(Step::HasAvailable),
        1 => Just(Step::Remap),
        1 => Just(Step::HandOver),
    ]
}

/// When one side wants to be notified.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Always,
    Never,
    /// When the entry or descriptor with this number is reached.
    At(u64),
}

impl Wish {
    /// Whether to notify when the numbers from `old` to `new` were reached, if one cannot tell numbers from
    /// others that are a multiple of `lap` away.
    fn holds(self, old: u64, new: u64, lap: u64) -> bool {
        match self {
            Self::Always => new > old,
            Self::Never => false,
            Self::At(event) => (old..new).any(|number| number % lap == event % lap),
        }
    }
}

#[derive(Clone, Debug)]
struct Buffer {
    token: u64,
    parts: Vec<Part>,
    slots: u64,
}

struct World {
    ram: Ram,
    config: Config,
    driver: Driver<Ram>,
    queue: Queue<RamArea>,
    tokens: u64,
    /// Buffers on their way: what the driver keeps to itself, then what the device can take, then what
    /// it has, then what it is done with, then what the driver can see again.
    hidden: VecDeque<Buffer>,
    available: VecDeque<Buffer>,
    taken: Vec<(Chain, Buffer)>,
    completed: Vec<(u64, u32, u64)>,
    published: VecDeque<(u64, u32)>,
    /// How many entries or descriptors were offered, taken, published, collected; and how many had been
    /// when a notification was thought of.
    offered: u64,
    kicked: u64,
    took: u64,
    used: u64,
    interrupted: u64,
    collected: u64,
    kicks: Wish,
    interrupts: Wish,
}

impl World {
    fn new(format: Format, size: u16, features: [bool; 3]) -> Self {
        let [event_idx, indirect, in_order] = features;
        let mut ram = Ram::new(SIZE);
        // What the device has no business with: it only writes to one part.
        ram.limit(DRIVER, 0x1000, Access::Read);
        ram.limit(DEVICE, 0x1000, Access::Write);
        ram.limit(TABLES, SIZE - 0x3000, Access::Read);
        if format == Format::Split {
            ram.limit(DESCRIPTORS, 0x1000, Access::Read);
        }
        let config = Config {
            format,
            size,
            event_idx,
            indirect,
            in_order,
            descriptors: GuestAddress::new(DESCRIPTORS),
            driver: GuestAddress::new(DRIVER),
            device: GuestAddress::new(DEVICE),
        };
        let queue = Queue::new(&config, State::initial(format), &mut ram).unwrap();
        // As in memory that is all 0.
        let initial = if event_idx && format == Format::Split {
            Wish::At(0)
        } else {
            Wish::Always
        };
        Self {
            driver: Driver::new(ram.clone(), &config),
            ram,
            config,
            queue,
            tokens: 0,
            hidden: VecDeque::new(),
            available: VecDeque::new(),
            taken: vec![],
            completed: vec![],
            published: VecDeque::new(),
            offered: 0,
            kicked: 0,
            took: 0,
            used: 0,
            interrupted: 0,
            collected: 0,
            kicks: initial,
            interrupts: initial,
        }
    }

    fn packed(&self) -> bool {
        self.config.format == Format::Packed
    }

    /// After how many entries or descriptors event indices come again.
    fn lap(&self) -> u64 {
        if self.packed() {
            2 * u64::from(self.config.size)
        } else {
            1 << 16
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Offer(parts, table) => self.offer(&parts, table),
            Step::DriverPublish => self.driver_publish(),
            Step::NeedsKick => {
                // What is hidden would count as seen.
                self.driver_publish();
                let expected = self.kicks.holds(self.kicked, self.offered, self.lap());
                self.kicked = self.offered;
                assert_eq!(self.driver.needs_kick(), expected);
            }
            Step::Collect => {
                while let Some(expected) = self.published.pop_front() {
                    assert!(self.driver.has_used());
                    assert_eq!(self.driver.take_used(), Some(expected));
                }
                assert!(!self.driver.has_used());
                assert_eq!(self.driver.take_used(), None);
                self.collected = self.used;
            }
            Step::EnableInterrupts(more) => {
                self.run(Step::Collect);
                assert!(!self.driver.enable_interrupts(more));
                self.interrupts = if self.config.event_idx {
                    Wish::At(self.collected + u64::from(more))
                } else {
                    Wish::Always
                };
            }
            Step::DisableInterrupts => {
                self.run(Step::Collect);
                self.driver.disable_interrupts();
                self.interrupts = if self.config.event_idx && !self.packed() {
                    Wish::At(self.collected + 0xffff)
                } else {
                    Wish::Never
                };
            }
            Step::Take => self.take(),
            Step::PutBack => {
                if let Some((chain, buffer)) = self.taken.pop() {
                    // Only the last one can be put back, and that it is the last one is known.
                    if self.last_taken_token() == Some(buffer.token) {
                        self.took -= buffer.slots;
                        self.queue.put_back(chain);
                        self.available.push_front(buffer);
                    } else {
                        self.taken.push((chain, buffer));
                    }
                }
            }
            Step::Complete(which, part) => self.complete(which, part),
            Step::Publish => {
                self.queue.publish().unwrap();
                for (token, written, slots) in self.completed.drain(..) {
                    self.published.push_back((token, written));
                    self.used += slots;
                }
            }
            Step::NeedsInterrupt => {
                let expected = self
                    .interrupts
                    .holds(self.interrupted, self.used, self.lap());
                self.interrupted = self.used;
                assert_eq!(self.queue.needs_interrupt(), Ok(expected));
            }
            Step::EnableKicks => {
                assert_eq!(self.queue.enable_kicks(), Ok(!self.available.is_empty()));
                self.kicks = if self.config.event_idx {
                    Wish::At(self.took)
                } else {
                    Wish::Always
                };
            }
            Step::DisableKicks => {
                self.queue.disable_kicks().unwrap();
                if !self.config.event_idx || self.packed() {
                    self.kicks = Wish::Never;
                }
            }
            Step::HasAvailable => {
                assert_eq!(self.queue.has_available(), Ok(!self.available.is_empty()));
            }
            Step::Remap => {
                self.ram.unmap(true);
                assert_eq!(self.queue.remap(&mut self.ram), Err(Error::Fault));
                assert_eq!(self.queue.publish(), Err(Error::NotMapped));
                self.ram.unmap(false);
                self.queue.remap(&mut self.ram).unwrap();
            }
            Step::HandOver => {
                if self.taken.is_empty() && self.completed.is_empty() {
                    self.run(Step::NeedsInterrupt);
                    let state = self.queue.state();
                    self.queue = Queue::new(&self.config, state, &mut self.ram).unwrap();
                }
            }
        }
    }

    /// The buffer that was taken last and not put back, whatever came of it.
    fn last_taken_token(&self) -> Option<u64> {
        match (self.available.front(), self.hidden.front()) {
            (Some(next), _) | (None, Some(next)) => Some(next.token - 1),
            (None, None) => Some(self.tokens),
        }
    }

    fn offer(&mut self, parts: &[(u32, bool)], table: Option<usize>) {
        let table = table.filter(|_| self.config.indirect);
        let mut parts: Vec<Part> = parts
            .iter()
            .enumerate()
            .map(|(index, (len, write))| Part {
                at: u64::from(*len) * 1000 + index as u64,
                len: *len,
                write: *write,
            })
            .collect();
        parts.sort_by_key(|part| part.write);
        let token = self.tokens + 1;
        let table = table.map(|direct| {
            let direct = if self.packed() { 0 } else { direct };
            let at = TABLES + TABLE_SIZE * (token % 64);
            (direct.min(parts.len() - 1), at)
        });
        if !self.driver.offer(token, &parts, table) {
            return;
        }
        self.tokens = token;
        let slots = match table {
            _ if !self.packed() => 1,
            Some(_) => 1,
            None => parts.len() as u64,
        };
        self.hidden.push_back(Buffer {
            token,
            parts,
            slots,
        });
        if self.packed() {
            self.driver_publish();
        }
    }

    fn driver_publish(&mut self) {
        self.driver.publish();
        for buffer in self.hidden.drain(..) {
            self.offered += buffer.slots;
            self.available.push_back(buffer);
        }
    }

    fn take(&mut self) {
        let mut segments = [Segment::default(); 8];
        let chain = self.queue.next(&mut self.ram, &mut segments).unwrap();
        let Some(buffer) = self.available.pop_front() else {
            assert!(chain.is_none());
            return;
        };
        let chain = chain.expect("a buffer is available");
        let found: Vec<Part> = segments[..chain.segments()]
            .iter()
            .enumerate()
            .map(|(index, segment)| Part {
                at: segment.at.get(),
                len: segment.len,
                write: index >= chain.readable(),
            })
            .collect();
        assert_eq!(found, buffer.parts);
        assert_eq!(chain.writable(), chain.segments() - chain.readable());
        let sum = |write| {
            let parts = buffer.parts.iter().filter(|part| part.write == write);
            parts.map(|part| part.len).sum::<u32>()
        };
        assert_eq!(chain.readable_len(), sum(false));
        assert_eq!(chain.writable_len(), sum(true));
        self.took += buffer.slots;
        self.taken.push((chain, buffer));
    }

    fn complete(&mut self, which: usize, part: u32) {
        if self.taken.is_empty() {
            return;
        }
        let which = if self.config.in_order {
            0
        } else {
            which % self.taken.len()
        };
        let (chain, buffer) = self.taken.remove(which);
        let written = u64::from(chain.writable_len()) * u64::from(part) / 4;
        let written = written as u32;
        self.queue.complete(chain, written).unwrap();
        self.completed.push((buffer.token, written, buffer.slots));
    }

    /// Gives everything back, and nothing is missing.
    fn finish(&mut self) {
        self.run(Step::DriverPublish);
        while !self.available.is_empty() || !self.taken.is_empty() {
            self.run(Step::Take);
            self.run(Step::Complete(0, 4));
        }
        self.run(Step::Publish);
        self.run(Step::NeedsInterrupt);
        self.run(Step::Collect);
        self.run(Step::Take);
        assert_eq!(self.driver.outstanding(), 0);
        let lap = self.lap();
        let expected = if self.packed() {
            let position = Position {
                index: (self.used % u64::from(self.config.size)) as u16,
                wrap: self.used % lap < u64::from(self.config.size),
            };
            State::Packed {
                avail: position,
                used: position,
            }
        } else {
            let index = self.used as u16;
            State::Split {
                avail: index,
                used: index,
            }
        };
        assert_eq!(self.queue.state(), expected);
    }
}

proptest! {
    #![proptest_config(crate::cases())]

    #[test]
    fn split(size in 0u32..5, features: [bool; 3], steps in vec(step(), 0..200)) {
        let mut world = World::new(Format::Split, 1 << size, features);
        steps.into_iter().for_each(|step| world.run(step));
        world.finish();
    }

    #[test]
    fn packed(size in 1u16..20, features: [bool; 3], steps in vec(step(), 0..200)) {
        let mut world = World::new(Format::Packed, size, features);
        steps.into_iter().for_each(|step| world.run(step));
        world.finish();
    }
}
