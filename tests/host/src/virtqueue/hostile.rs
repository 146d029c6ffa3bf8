// SPDX-License-Identifier: GPL-2.0

//! A driver that does what it likes, also while the device is looking.
//!
//! The input decides what is in the rings at first, what the device does, and what the driver does to
//! the memory between any two accesses of the device. Whatever it is: the device touches its rings only
//! ([`super::ram`] sees to that), its work is bounded, it gets buffers that make sense or an error that
//! stays, and there is no panic.

use super::ram::{Op, Ram, RamArea, BASE};
pub use virtqueue::Format;
use virtqueue::*;

const MAX_SIZE: u16 = 16;
const DESCRIPTORS: u64 = BASE;
const DRIVER: u64 = BASE + 0x100;
const DEVICE: u64 = BASE + 0x140;
const TABLES: u64 = BASE + 0x1d0;
const SIZE: usize = 0x2d0;

/// What is left of the input; zeroes after its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

/// A descriptor in five bytes: addresses and lengths where something happens are as likely as others.
fn descriptor(bytes: &mut Bytes<'_>) -> [u8; 16] {
    let (kind, a, b) = (bytes.byte(), bytes.byte(), bytes.byte());
    let number = u64::from(kind >> 4);
    let at = match kind % 4 {
        0 => TABLES + 8 * number,
        1 => BASE + 64 * number,
        2 => u64::MAX - number,
        _ => number << 60,
    };
    let len = match kind >> 2 & 3 {
        0 => 16 * u32::from(a & 0x1f),
        1 => u32::from(a),
        2 => u32::MAX - u32::from(a),
        _ => 1 << (a & 0x1f),
    };
    // Flags of split ones are before the next index, of packed ones after the id.
    let (third, fourth) = (u16::from(b & 0x8f) | u16::from(b & 0x70) << 9, bytes.word());
    let mut raw = [0; 16];
    raw[..8].copy_from_slice(&at.to_le_bytes());
    raw[8..12].copy_from_slice(&len.to_le_bytes());
    raw[12..14].copy_from_slice(&third.to_le_bytes());
    raw[14..].copy_from_slice(&fourth.to_le_bytes());
    raw
}

/// As [`descriptor`], of a packed ring: with the flags last.
fn packed_descriptor(bytes: &mut Bytes<'_>) -> [u8; 16] {
    let mut raw = descriptor(bytes);
    let (left, right) = raw[12..].split_at_mut(2);
    left.swap_with_slice(right);
    raw
}

/// The device, and what is known of it.
struct Device {
    ram: Ram,
    config: Config,
    queue: Queue<RamArea>,
    slots: usize,
    taken: Vec<Chain>,
    /// Whether it gave the same buffer back twice, which it can do as long as it has another one.
    misused: bool,
    error: Option<Error>,
}

/// Runs a device on a queue of this format against the driver that `input` describes.
pub fn check(format: Format, input: &[u8]) {
    // Where the first part ends, and the driver's meddling begins.
    let Some((split, rest)) = input.split_first() else {
        return;
    };
    let (device, meddling) = rest.split_at(rest.len() * usize::from(*split) / 256);
    let bytes = &mut Bytes(device);

    let features = bytes.byte();
    let size = bytes.byte();
    let config = Config {
        format,
        size: match format {
            Format::Split => 1 << (size % 5),
            Format::Packed => 1 + u16::from(size) % MAX_SIZE,
        },
        event_idx: features & 1 != 0,
        indirect: features & 2 != 0,
        in_order: features & 4 != 0,
        descriptors: GuestAddress::new(DESCRIPTORS),
        driver: GuestAddress::new(DRIVER),
        device: GuestAddress::new(DEVICE),
    };
    let mut ram = Ram::new(SIZE);
    let state = set_up(&ram, &config, features, bytes);
    let queue = match Queue::new(&config, state, &mut ram) {
        Ok(queue) => queue,
        Err(error) => return assert_eq!(error, Error::BadState),
    };
    if !meddling.is_empty() {
        meddle(&ram, meddling.to_vec());
    }
    let mut device = Device {
        ram,
        config,
        queue,
        slots: 1 + usize::from(features >> 4),
        taken: vec![],
        misused: false,
        error: None,
    };
    for _ in 0..100 {
        if bytes.0.is_empty() {
            break;
        }
        device.step(bytes);
    }
}

/// What is in the memory at first, and how far the device is said to have got.
fn set_up(ram: &Ram, config: &Config, features: u8, bytes: &mut Bytes<'_>) -> State {
    let packed = config.format == Format::Packed;
    for index in 0..u64::from(config.size) {
        let raw = if packed {
            packed_descriptor(bytes)
        } else {
            descriptor(bytes)
        };
        ram.set(DESCRIPTORS + 16 * index, &raw);
    }
    for index in 0..4 {
        let raw = if packed {
            packed_descriptor(bytes)
        } else {
            descriptor(bytes)
        };
        ram.set(TABLES + 16 * index, &raw);
    }
    if features & 8 == 0 {
        return State::initial(config.format);
    }
    if packed {
        let position = |word: u16| Position {
            index: word & 0x7fff,
            wrap: word & 0x8000 != 0,
        };
        State::Packed {
            avail: position(bytes.word()),
            used: position(bytes.word()),
        }
    } else {
        let used = bytes.word();
        ram.set16(DRIVER + 2, used);
        State::Split {
            avail: used.wrapping_add(bytes.byte().into()),
            used,
        }
    }
}

/// Changes the memory before each access of the device, again and again as the bytes say.
fn meddle(ram: &Ram, meddling: Vec<u8>) {
    let mut next = 0;
    ram.meddle(move |memory| {
        let mut byte = || {
            let byte = meddling[next % meddling.len()];
            next += 1;
            usize::from(byte)
        };
        let how = byte();
        if how >= 0x60 {
            return;
        }
        let at = (byte() | byte() << 8) % (SIZE - 1);
        match how % 3 {
            0 => memory[at] = byte() as u8,
            1 => memory[at] ^= 1 << (how >> 4),
            _ => memory[at..at + 2].copy_from_slice(&[byte() as u8, byte() as u8]),
        }
    });
}

impl Device {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        self.ram.each_op(|_| ());
        let kind = bytes.byte();
        match kind % 12 {
            0..=2 => self.next(),
            3 | 4 => self.complete(kind, bytes),
            5 => drop(self.queue.publish()),
            6 => drop(self.queue.needs_interrupt()),
            7 => drop(self.queue.enable_kicks()),
            8 => match kind >> 5 {
                0..4 => drop(self.queue.disable_kicks()),
                _ => drop(self.queue.has_available()),
            },
            9 => self.put_back(kind),
            10 => self.remap(kind),
            _ => self.driver(kind, bytes),
        }
        self.look();
    }

    /// What the device did must be its business, and not too much.
    fn look(&mut self) {
        let size = usize::from(self.config.size);
        let (mut loads, mut reads) = (0, 0);
        let format = self.config.format;
        self.ram.each_op(|op| match op {
            Op::Load { .. } => loads += 1,
            Op::Read { len, .. } => {
                reads += 1;
                assert!(len <= 128);
            }
            Op::Store {
                at, size: bytes, ..
            } => match format {
                Format::Split => assert!(at >= DEVICE),
                // Addresses are the driver's.
                Format::Packed if at < DRIVER => assert_eq!((bytes, at % 16), (8, 8)),
                Format::Packed => assert_eq!(at, DEVICE),
            },
            Op::Write { .. } => panic!("who writes to buffers?"),
            Op::ReadBarrier | Op::WriteBarrier | Op::FullBarrier => (),
        });
        assert!(loads <= 2 + 2 * size && reads <= self.slots + 1);
        let error = self.queue.error();
        assert!(self.error.is_none() || self.error == error);
        self.error = error;
        // Distances in the ring stay what they can be.
        match self.queue.state() {
            State::Split { avail, used } => assert!(avail.wrapping_sub(used) <= self.config.size),
            State::Packed { avail, used } => {
                assert!(avail.index < self.config.size && used.index < self.config.size);
            }
        }
    }

    fn next(&mut self) {
        const UNTOUCHED: Segment = Segment {
            at: GuestAddress::new(0x5555),
            len: 0,
        };
        let mut segments = [UNTOUCHED; 17];
        let room = self.slots;
        let result = self.queue.next(&mut self.ram, &mut segments[..room]);
        if let Some(error) = self.error {
            assert_eq!(result.unwrap_err(), error);
            return;
        }
        match result {
            Ok(None) | Err(Error::NotMapped) => (),
            Ok(Some(chain)) => {
                check_chain(&chain, &segments[..room]);
                let rest = &segments[chain.segments()..];
                assert!(rest.iter().all(|segment| *segment == UNTOUCHED));
                if self.config.format == Format::Split {
                    assert!(chain.id() < self.config.size);
                }
                self.taken.push(chain);
                assert!(self.misused || self.taken.len() <= self.config.size.into());
            }
            Err(error) => self.fail(error),
        }
    }

    /// The first error stays, except that of rings that are not mapped.
    fn fail(&mut self, error: Error) {
        if error != Error::NotMapped {
            assert_eq!(self.queue.error(), self.error.or(Some(error)));
        }
    }

    /// Mostly as it ought to be, and sometimes not.
    fn complete(&mut self, kind: u8, bytes: &mut Bytes<'_>) {
        if self.taken.is_empty() {
            return;
        }
        let which = match kind >> 5 {
            0..4 => 0,
            _ => usize::from(bytes.byte()) % self.taken.len(),
        };
        let chain = self.taken[which];
        let written = match bytes.byte() {
            0xff => chain.writable_len().saturating_add(1),
            part => (u64::from(chain.writable_len()) * u64::from(part) / 0xfe) as u32,
        };
        let result = self.queue.complete(chain, written);
        match result {
            // Once in a while it is completed again.
            Ok(()) if bytes.byte() != 0xff => drop(self.taken.remove(which)),
            Ok(()) => self.misused = true,
            Err(error) => {
                if written > chain.writable_len() {
                    assert_eq!(error, Error::Overwritten);
                }
                self.fail(error);
            }
        }
    }

    fn put_back(&mut self, kind: u8) {
        let chain = match kind >> 5 {
            0 => {
                self.misused = true;
                self.taken.first().copied()
            }
            _ => self.taken.pop(),
        };
        if let Some(chain) = chain {
            self.queue.put_back(chain);
        }
    }

    fn remap(&mut self, kind: u8) {
        let unmapped = kind >= 0xc0;
        self.ram.unmap(unmapped);
        let result = self.queue.remap(&mut self.ram);
        assert_eq!(result.is_err(), unmapped);
        self.ram.unmap(false);
    }

    /// The driver has something to say of its own.
    fn driver(&mut self, kind: u8, bytes: &mut Bytes<'_>) {
        let word = bytes.word();
        match (self.config.format, kind >> 6) {
            (_, 0) => self
                .ram
                .set(BASE + u64::from(word) % SIZE as u64, &[bytes.byte()]),
            (Format::Split, 1) => self.ram.set16(DRIVER + 2, word),
            (Format::Split, _) => {
                // One more of what there is.
                let index = self.ram.get16(DRIVER + 2);
                let slot = u64::from(index % self.config.size);
                self.ram
                    .set16(DRIVER + 4 + 2 * slot, word % self.config.size);
                self.ram.set16(DRIVER + 2, index.wrapping_add(1));
            }
            (Format::Packed, 1) => self.ram.set32(DRIVER, u32::from(word) << 16 | 3),
            (Format::Packed, how) => {
                // The device waits for one of these two.
                let available = if how == 2 { 0x80 } else { 0x8000 };
                let index = u64::from(word % self.config.size);
                let at = DESCRIPTORS + 16 * index + 14;
                let flags = self.ram.get16(at) & 0x7f7f;
                self.ram.set16(at, flags | available);
            }
        }
    }
}

/// A buffer is one that a device can work with.
fn check_chain(chain: &Chain, segments: &[Segment]) {
    assert!(chain.readable() <= chain.segments());
    assert_eq!(chain.readable() + chain.writable(), chain.segments());
    let (readable, writable) = segments[..chain.segments()].split_at(chain.readable());
    let sum = |segments: &[Segment]| {
        segments.iter().fold(0u64, |sum, segment| {
            assert_ne!(segment.len, 0);
            let last = u64::from(segment.len) - 1;
            assert!(segment.at.checked_add(last).is_some());
            sum + u64::from(segment.len)
        })
    };
    assert_eq!(sum(readable), u64::from(chain.readable_len()));
    assert_eq!(sum(writable), u64::from(chain.writable_len()));
    assert!(sum(readable) + sum(writable) <= u64::from(u32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #![proptest_config(crate::cases())]

        #[test]
        fn split(input in vec(any::<u8>(), 0..400)) {
            check(Format::Split, &input);
        }

        #[test]
        fn packed(input in vec(any::<u8>(), 0..400)) {
            check(Format::Packed, &input);
        }
    }
}
