// SPDX-License-Identifier: GPL-2.0

//! A driver and a device at the same time, each asleep whenever it has nothing to do and was told
//! that it would be woken.

use super::driver::{Driver, Part};
use super::shared::{Shared, SharedArea};
use std::sync::{Condvar, Mutex};
use virtqueue::*;

const SIZE: u16 = 4;
/// Where the other two parts are, from the first one on.
const DRIVER: u64 = 0x400;
const DEVICE: u64 = 0x800;
/// For each buffer: what the device reads, what it writes, and a table.
const DATA: u64 = 0x1000;
const DATA_SIZE: u64 = 0x100;
const BUFFERS: u64 = 64;

/// How many buffers go through a queue. Under valgrind, threads take turns and there is less to see.
fn total() -> u64 {
    let cases = crate::cases().cases;
    u64::from(cases).clamp(16, 2048) * 10
}

#[derive(Default)]
struct Bells {
    kicked: bool,
    interrupted: bool,
    device_sleeps: bool,
    driver_sleeps: bool,
    over: bool,
    /// One of them failed, and will not wake the other.
    failed: bool,
}

/// How the two wake each other.
#[derive(Default)]
struct Doorbells(Mutex<Bells>, Condvar);

impl Doorbells {
    fn ring(&self, change: impl FnOnce(&mut Bells)) {
        change(&mut self.0.lock().unwrap());
        self.1.notify_all();
    }

    /// Sleeps until the driver kicks. Returns whether there is anything to be done.
    fn wait_for_kick(&self) -> bool {
        let mut bells = self.0.lock().unwrap();
        bells.device_sleeps = true;
        while !bells.kicked && !bells.over {
            assert!(!bells.failed);
            let dead = bells.driver_sleeps && !bells.interrupted;
            assert!(!dead, "a notification was lost: the driver sleeps as well");
            bells = self.1.wait(bells).unwrap();
        }
        bells.device_sleeps = false;
        bells.kicked = false;
        !bells.over
    }

    fn wait_for_interrupt(&self) {
        let mut bells = self.0.lock().unwrap();
        bells.driver_sleeps = true;
        while !bells.interrupted {
            assert!(!bells.failed);
            let dead = bells.device_sleeps && !bells.kicked;
            assert!(!dead, "a notification was lost: the device sleeps as well");
            bells = self.1.wait(bells).unwrap();
        }
        bells.driver_sleeps = false;
        bells.interrupted = false;
    }
}

/// Wakes the other if this one fails.
struct Alarm<'a>(&'a Doorbells);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut bells = self.0 .0.lock().unwrap_or_else(|error| error.into_inner());
            bells.failed = true;
            self.0 .1.notify_all();
        }
    }
}

/// Numbers without order: how much is done at a time.
struct Dice(u32);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) % sides
    }
}

/// What the device has to answer.
fn answer(question: u64) -> u64 {
    question.rotate_left(20) ^ 0x5555_5555
}

fn drive(mut driver: Driver<Shared>, memory: &Shared, bells: &Doorbells, indirect: bool) {
    let _alarm = Alarm(bells);
    let total = total();
    let mut dice = Dice(1);
    let (mut sent, mut received) = (0, 0);
    while received < total {
        for _ in 0..=dice.roll(u32::from(SIZE)) {
            if sent == total || driver.outstanding() >= BUFFERS as usize {
                break;
            }
            let at = memory.start() + DATA + DATA_SIZE * (sent % BUFFERS);
            let question = u64::from(dice.roll(u32::MAX)) << 32 | sent;
            memory
                .clone()
                .write(GuestAddress::new(at), &question.to_le_bytes())
                .unwrap();
            memory
                .clone()
                .write(GuestAddress::new(at + 8), &[0; 8])
                .unwrap();
            let part = |at, write| Part { at, len: 8, write };
            let parts = [part(at, false), part(at + 8, true)];
            let table = (indirect && dice.roll(2) == 0).then_some((0, at + 16));
            if !driver.offer(sent, &parts, table) {
                break;
            }
            sent += 1;
        }
        driver.publish();
        if driver.needs_kick() {
            bells.ring(|bells| bells.kicked = true);
        }
        let before = received;
        while let Some((token, written)) = driver.take_used() {
            assert_eq!(written, 8);
            let at = memory.start() + DATA + DATA_SIZE * (token % BUFFERS);
            let word = |at| {
                let mut bytes = [0; 8];
                memory
                    .clone()
                    .read(GuestAddress::new(at), &mut bytes)
                    .unwrap();
                u64::from_le_bytes(bytes)
            };
            let question = word(at);
            assert_eq!(question & 0xffff_ffff, token);
            assert_eq!(word(at + 8), answer(question));
            received += 1;
        }
        if received == before && driver.outstanding() > 0 {
            if !driver.enable_interrupts(0) {
                bells.wait_for_interrupt();
            }
            driver.disable_interrupts();
        }
    }
    bells.ring(|bells| bells.over = true);
}

fn serve(mut queue: Queue<SharedArea>, memory: &mut Shared, bells: &Doorbells, in_order: bool) {
    let _alarm = Alarm(bells);
    let mut dice = Dice(2);
    let mut segments = [Segment::default(); 2];
    loop {
        queue.disable_kicks().unwrap();
        loop {
            let mut batch = vec![];
            while let Some(chain) = queue.next(memory, &mut segments).unwrap() {
                if dice.roll(8) == 0 {
                    queue.put_back(chain);
                    break;
                }
                let (readable, writable) = segments.split_at(chain.readable());
                let mut question = [0; 8];
                Cursor::new(readable).read(memory, &mut question).unwrap();
                let answer = answer(u64::from_le_bytes(question)).to_le_bytes();
                Cursor::new(writable).write(memory, &answer).unwrap();
                batch.push(chain);
            }
            if !in_order {
                batch.reverse();
            }
            for chain in batch {
                queue.complete(chain, 8).unwrap();
            }
            queue.publish().unwrap();
            if queue.needs_interrupt().unwrap() {
                bells.ring(|bells| bells.interrupted = true);
            }
            if !queue.has_available().unwrap() {
                break;
            }
        }
        if !queue.enable_kicks().unwrap() && !bells.wait_for_kick() {
            break;
        }
    }
}

/// All buffers go to the device and come back, whatever the two do at the same time.
fn exchange(format: Format, features: usize) {
    let mut memory = Shared::new((DATA + DATA_SIZE * BUFFERS) as usize);
    let config = Config {
        format,
        size: SIZE,
        event_idx: features & 1 != 0,
        indirect: features & 2 != 0,
        in_order: features & 4 != 0,
        descriptors: GuestAddress::new(memory.start()),
        driver: GuestAddress::new(memory.start() + DRIVER),
        device: GuestAddress::new(memory.start() + DEVICE),
    };
    let queue = Queue::new(&config, State::initial(format), &mut memory).unwrap();
    let driver = Driver::new(memory.clone(), &config);
    let bells = Doorbells::default();
    std::thread::scope(|scope| {
        scope.spawn(|| drive(driver, &memory, &bells, config.indirect));
        let mut memory = memory.clone();
        let bells = &bells;
        scope.spawn(move || serve(queue, &mut memory, bells, config.in_order));
    });
}

#[test]
fn split() {
    (0..8).for_each(|features| exchange(Format::Split, features));
}

#[test]
fn packed() {
    (0..8).for_each(|features| exchange(Format::Packed, features));
}
