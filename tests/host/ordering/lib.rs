// SPDX-License-Identifier: GPL-2.0

//! Every outcome that the rules of memory allow when a driver and a device are in a virtqueue at the
//! same time, tried one by one (loom): what no x86 CPU would show, but others do.

#![cfg(test)]

use loom::sync::atomic::{fence, AtomicU64, Ordering};
use loom::thread;
use std::sync::{Arc, Mutex};
use vdpa_host::virtqueue::driver::{Bus, Driver, Part};
use virtqueue::{
    Access, Area, Chain, Config, Fault, Format, GuestAddress, GuestMemory, Queue, Segment, State,
};

const SIZE: u16 = 2;
const DESCRIPTORS: u64 = 0;
const DRIVER: u64 = 32;
const DEVICE: u64 = 48;
/// What the device writes for each buffer.
const DATA: u64 = 80;
const WORDS: usize = 12;

/// Memory in words, as one side has it.
#[derive(Clone)]
struct Memory {
    words: Arc<Vec<AtomicU64>>,
    /// What this side wrote last. No field here is written by both sides in turn, so that this is what
    /// a store of less than a word replaces. To load it first would not do: loom then leaves out
    /// values that others can load.
    written: Arc<Mutex<[u64; WORDS]>>,
}

impl Memory {
    fn new() -> Self {
        Self {
            words: Arc::new((0..WORDS).map(|_| AtomicU64::new(0)).collect()),
            written: Arc::default(),
        }
    }

    fn other_side(&self) -> Self {
        Self {
            words: self.words.clone(),
            written: Arc::default(),
        }
    }

    fn load(&self, at: u64, size: u64) -> u64 {
        let shift = 8 * (at % 8);
        let word = self.words[(at / 8) as usize].load(Ordering::Relaxed);
        word >> shift & (u64::MAX >> (64 - 8 * size))
    }

    fn store(&self, at: u64, size: u64, value: u64) {
        let index = (at / 8) as usize;
        let written = &mut self.written.lock().unwrap()[index];
        if size == 8 {
            *written = value;
            return self.words[index].store(value, Ordering::Relaxed);
        }
        let shift = 8 * (at % 8);
        let mask = (u64::MAX >> (64 - 8 * size)) << shift;
        let changed = (*written ^ value << shift) & mask;
        *written ^= changed;
        self.words[index].fetch_xor(changed, Ordering::Relaxed);
    }
}

/// A part of it.
struct Window {
    memory: Memory,
    at: u64,
}

impl Area for Window {
    fn load_u16(&self, offset: usize) -> Result<u16, Fault> {
        Ok(self.memory.load(self.at + offset as u64, 2) as u16)
    }
    fn load_u32(&self, offset: usize) -> Result<u32, Fault> {
        Ok(self.memory.load(self.at + offset as u64, 4) as u32)
    }
    fn load_u64(&self, offset: usize) -> Result<u64, Fault> {
        Ok(self.memory.load(self.at + offset as u64, 8))
    }
    fn store_u16(&self, offset: usize, value: u16) -> Result<(), Fault> {
        self.memory.store(self.at + offset as u64, 2, value.into());
        Ok(())
    }
    fn store_u32(&self, offset: usize, value: u32) -> Result<(), Fault> {
        self.memory.store(self.at + offset as u64, 4, value.into());
        Ok(())
    }
    fn store_u64(&self, offset: usize, value: u64) -> Result<(), Fault> {
        self.memory.store(self.at + offset as u64, 8, value);
        Ok(())
    }
    fn read_barrier(&self) {
        fence(Ordering::Acquire);
    }
    fn write_barrier(&self) {
        fence(Ordering::Release);
    }
    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

impl GuestMemory for Memory {
    type Area = Window;

    fn area(&mut self, at: GuestAddress, _: usize, _: Access) -> Result<Window, Fault> {
        Ok(Window {
            memory: self.clone(),
            at: at.get(),
        })
    }

    fn read(&mut self, _: GuestAddress, _: &mut [u8]) -> Result<(), Fault> {
        Err(Fault)
    }

    fn write(&mut self, _: GuestAddress, _: &[u8]) -> Result<(), Fault> {
        Err(Fault)
    }
}

impl Bus for Memory {
    fn load16(&self, at: u64) -> u16 {
        self.load(at, 2) as u16
    }
    fn load32(&self, at: u64) -> u32 {
        self.load(at, 4) as u32
    }
    fn store16(&self, at: u64, value: u16) {
        self.store(at, 2, value.into());
    }
    fn store32(&self, at: u64, value: u32) {
        self.store(at, 4, value.into());
    }
    fn store64(&self, at: u64, value: u64) {
        self.store(at, 8, value);
    }
    fn read_barrier(&self) {
        fence(Ordering::Acquire);
    }
    fn write_barrier(&self) {
        fence(Ordering::Release);
    }
    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

/// Tries every outcome, with and without event indices.
fn all(format: Format, test: fn(Pair)) {
    for event_idx in [false, true] {
        loom::model(move || test(Pair::new(format, event_idx)));
    }
}

/// The two sides.
struct Pair {
    memory: Memory,
    driver: Driver<Memory>,
    queue: Queue<Window>,
}

impl Pair {
    fn new(format: Format, event_idx: bool) -> Self {
        let mut memory = Memory::new();
        let config = Config {
            format,
            size: SIZE,
            event_idx,
            indirect: false,
            in_order: false,
            descriptors: GuestAddress::new(DESCRIPTORS),
            driver: GuestAddress::new(DRIVER),
            device: GuestAddress::new(DEVICE),
        };
        Self {
            driver: Driver::new(memory.other_side(), &config),
            queue: Queue::new(&config, State::initial(format), &mut memory).unwrap(),
            memory,
        }
    }

    /// Buffers that the device has, before there is anything going on at the same time.
    fn taken(&mut self, count: u64) -> Vec<Chain> {
        (0..count).for_each(|token| offer(&mut self.driver, token));
        let mut chains = vec![];
        while let Some(chain) = take(&mut self.queue, &self.memory) {
            chains.push(chain);
        }
        assert_eq!(chains.len(), count as usize);
        chains
    }
}

fn part(token: u64) -> Part {
    Part {
        at: DATA + 8 * token,
        len: 8,
        write: true,
    }
}

fn offer(driver: &mut Driver<Memory>, token: u64) {
    assert!(driver.offer(token, &[part(token)], None));
    driver.publish();
}

fn take(queue: &mut Queue<Window>, memory: &Memory) -> Option<Chain> {
    let mut segments = [Segment::default()];
    let chain = queue.next(&mut memory.clone(), &mut segments).unwrap()?;
    let Part { at, len, .. } = part(0);
    let at = GuestAddress::new(at + 8 * u64::from(segments[0].at.get() != at));
    assert_eq!(segments[0], Segment { at, len });
    assert_eq!(chain.writable(), 1);
    Some(chain)
}

/// What the device sees, it sees whole.
fn offered(pair: Pair) {
    let Pair {
        memory,
        mut driver,
        mut queue,
    } = pair;
    let other = thread::spawn(move || offer(&mut driver, 0));
    take(&mut queue, &memory);
    other.join().unwrap();
    assert!(
        take(&mut queue, &memory).is_some()
            || queue.state() != State::initial(queue.config().format)
    );
}

/// What the driver sees as used, was written; and it sees all of a batch.
fn used(mut pair: Pair) {
    let chains = pair.taken(2);
    let Pair {
        memory,
        mut driver,
        mut queue,
    } = pair;
    let data = memory.clone();
    let other = thread::spawn(move || {
        for (chain, token) in chains.into_iter().zip(0..) {
            data.store(part(token).at, 8, 0x1234 + token);
            queue.complete(chain, 8).unwrap();
        }
        queue.publish().unwrap();
    });
    if let Some(first) = driver.take_used() {
        let second = driver.take_used().expect("the rest of the batch");
        assert_eq!([first, second], [(0, 8), (1, 8)]);
        assert_eq!(
            [0, 1].map(|token| memory.load(part(token).at, 8)),
            [0x1234, 0x1235]
        );
    }
    other.join().unwrap();
}

/// A buffer that the device does not see when it asks for kicks brings one.
fn kick(pair: Pair) {
    let Pair {
        mut driver,
        mut queue,
        ..
    } = pair;
    queue.disable_kicks().unwrap();
    let other = thread::spawn(move || queue.enable_kicks().unwrap());
    offer(&mut driver, 0);
    let kicked = driver.needs_kick();
    let seen = other.join().unwrap();
    assert!(kicked || seen);
}

/// A used buffer that the driver does not see when it asks for interrupts brings one.
fn interrupt(mut pair: Pair) {
    let chains = pair.taken(1);
    let Pair {
        mut driver,
        mut queue,
        ..
    } = pair;
    driver.disable_interrupts();
    let other = thread::spawn(move || {
        queue.complete(chains[0], 8).unwrap();
        queue.publish().unwrap();
        queue.needs_interrupt().unwrap()
    });
    let seen = driver.enable_interrupts(0);
    let interrupted = other.join().unwrap();
    assert!(interrupted || seen);
}

#[test]
fn split_offered() {
    all(Format::Split, offered);
}

#[test]
fn split_used() {
    all(Format::Split, used);
}

#[test]
fn split_kick() {
    all(Format::Split, kick);
}

#[test]
fn split_interrupt() {
    all(Format::Split, interrupt);
}

#[test]
fn packed_offered() {
    all(Format::Packed, offered);
}

#[test]
fn packed_used() {
    all(Format::Packed, used);
}

#[test]
fn packed_kick() {
    all(Format::Packed, kick);
}

#[test]
fn packed_interrupt() {
    all(Format::Packed, interrupt);
}
