// SPDX-License-Identifier: GPL-2.0

//! Packed queues, byte by byte.

use super::pair::*;
use super::ram::{Op, Ram};
use virtqueue::*;

const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;
/// What is wanted by event suppression, beside offset and wrap counter.
const DISABLE: u32 = 1 << 16;
const AT: u32 = 2 << 16;

fn pair_with(change: impl FnOnce(&mut Config)) -> Pair {
    let mut config = config(Format::Packed);
    change(&mut config);
    Pair::new(&config)
}

fn pair() -> Pair {
    pair_with(|_| ())
}

fn position(index: u16, wrap: bool) -> Position {
    Position { index, wrap }
}

/// Address, length, id, flags.
type Descriptor = (u64, u32, u16, u16);

impl Pair {
    fn ring(&self, from: u64, descriptors: &[Descriptor]) {
        self.packed_table(DESCRIPTORS + 16 * from, descriptors);
    }

    fn packed_table(&self, at: u64, descriptors: &[Descriptor]) {
        for (index, (addr, len, id, flags)) in descriptors.iter().enumerate() {
            self.descriptor_at(at + 16 * index as u64, *addr, *len, [*id, *flags]);
        }
    }

    /// Length, id and flags of a descriptor.
    fn tail(&self, slot: u64) -> (u32, u16, u16) {
        let at = DESCRIPTORS + 16 * slot;
        let (len, id) = (self.ram.get32(at + 8), self.ram.get16(at + 12));
        (len, id, self.ram.get16(at + 14))
    }

    /// A used descriptor, in one store.
    fn mark(slot: u64, len: u64, id: u64, flags: u16) -> Op {
        let value = len | id << 32 | u64::from(flags) << 48;
        store(DESCRIPTORS + 16 * slot + 8, 8, value)
    }
}

/// The next buffer is refused for this reason if these are the first descriptors.
fn refused(descriptors: &[Descriptor], error: Error) {
    let mut pair = pair();
    pair.ring(0, descriptors);
    pair.refuses(error);
}

#[test]
fn a_buffer_there_and_back() {
    let mut pair = pair();
    assert!(pair.next().unwrap().is_none());
    // The id counts in the last one.
    pair.ring(
        0,
        &[
            (DATA, 5, 7, AVAIL | NEXT),
            (DATA + 0x100, 7, 7, AVAIL | NEXT | WRITE),
            (DATA + 0x200, 9, 0xabcd, AVAIL | WRITE),
        ],
    );
    let chain = pair.take();
    assert_eq!(chain.id(), 0xabcd);
    assert_eq!((chain.readable(), chain.readable_len()), (1, 5));
    assert_eq!((chain.writable(), chain.writable_len()), (2, 16));
    let expected = [(DATA, 5), (DATA + 0x100, 7), (DATA + 0x200, 9)];
    assert_eq!(pair.parts(chain.segments()), expected);
    assert!(pair.next().unwrap().is_none());

    pair.queue.complete(chain, 10).unwrap();
    assert_eq!(pair.tail(0), (5, 7, AVAIL | NEXT));
    let (avail, used) = (position(3, true), position(0, true));
    assert_eq!(pair.queue.state(), State::Packed { avail, used });
    pair.queue.publish().unwrap();
    assert_eq!(pair.tail(0), (10, 0xabcd, AVAIL | USED | WRITE));
    let there = position(3, true);
    let state = State::Packed {
        avail: there,
        used: there,
    };
    assert_eq!(pair.queue.state(), state);
}

#[test]
fn the_first_used_descriptor_is_written_last() {
    let mut pair = pair();
    let ring = [0, 1, 2].map(|id| (DATA, 5, id, AVAIL | WRITE));
    pair.ring(0, &ring);
    let chains = [pair.take(), pair.take(), pair.take()];
    pair.ram.take_log();
    for which in [2, 0, 1] {
        pair.queue.complete(chains[which], which as u32).unwrap();
    }
    let used = AVAIL | USED;
    let later = [Pair::mark(1, 0, 0, used), Pair::mark(2, 1, 1, used | WRITE)];
    assert_eq!(pair.ram.take_log(), later);
    pair.queue.publish().unwrap();
    let first = Pair::mark(0, 2, 2, used | WRITE);
    assert_eq!(pair.ram.take_log(), [Op::WriteBarrier, first]);
    pair.queue.publish().unwrap();
    assert_eq!(pair.ram.take_log(), []);
}

#[test]
fn two_loads_a_descriptor() {
    let mut pair = pair();
    pair.ring(0, &[(DATA, 5, 0, AVAIL | NEXT), (DATA, 5, 0, AVAIL)]);
    pair.take();
    let load = |at| Op::Load {
        at: DESCRIPTORS + at,
        size: 8,
    };
    let expected = [load(8), Op::ReadBarrier, load(0), load(24), load(16)];
    assert_eq!(pair.ram.take_log(), expected);
    assert!(pair.next().unwrap().is_none());
    assert_eq!(pair.ram.take_log(), [load(40)]);
}

#[test]
fn each_part_is_only_used_as_it_must_be() {
    let mut ram = Ram::new(0x8000);
    ram.limit(DRIVER, 4, Access::Read);
    ram.limit(DEVICE, 4, Access::Write);
    let config = config(Format::Packed);
    let initial = State::initial(Format::Packed);
    assert!(Queue::new(&config, initial, &mut ram).is_ok());
    ram.limit(DESCRIPTORS + 127, 1, Access::Read);
    assert_eq!(
        Queue::new(&config, initial, &mut ram).err(),
        Some(Error::Fault)
    );
}

#[test]
fn what_is_no_queue() {
    let refused = |change: fn(&mut Config), state, error| {
        let mut config = config(Format::Packed);
        change(&mut config);
        let mut ram = Ram::new(0x10_0000);
        assert_eq!(Queue::new(&config, state, &mut ram).err(), Some(error));
    };
    let initial = State::initial(Format::Packed);
    refused(|c| c.size = 0, initial, Error::BadSize);
    refused(|c| c.size = 0x8001, initial, Error::BadSize);
    refused(
        |c| c.descriptors = GuestAddress::new(DESCRIPTORS + 8),
        initial,
        Error::Misaligned,
    );
    refused(
        |c| c.driver = GuestAddress::new(DRIVER + 2),
        initial,
        Error::Misaligned,
    );
    refused(
        |c| c.device = GuestAddress::new(DEVICE + 2),
        initial,
        Error::Misaligned,
    );
    refused(
        |c| c.descriptors = GuestAddress::new(u64::MAX - 15),
        initial,
        Error::AddressWrap,
    );
    refused(|_| (), State::initial(Format::Split), Error::BadState);
    let between = |avail, used| State::Packed { avail, used };
    let start = position(0, true);
    refused(|_| (), between(position(8, true), start), Error::BadState);
    refused(|_| (), between(start, position(8, true)), Error::BadState);
    refused(|_| (), between(position(1, false), start), Error::BadState);
    refused(|_| (), between(start, position(1, true)), Error::BadState);
    // A whole round is what there can be at most.
    let config = config(Format::Packed);
    Pair::at(&config, between(position(0, false), start));
    Pair::at(&config, between(position(3, true), position(3, false)));
}

/// The ring begins again, in the middle of a list too, and each time the flags turn over.
#[test]
fn round_and_round() {
    let mut pair = pair_with(|config| config.size = 5);
    let (mut index, mut wrap) = (0, true);
    for id in 0..20 {
        let mut at = position(index, wrap);
        for part in 0..3 {
            let flags = if at.wrap { AVAIL } else { USED };
            let next = if part < 2 { NEXT } else { 0 };
            pair.ring(at.index.into(), &[(DATA, 1, id, flags | next)]);
            at = match at.index + 1 {
                5 => position(0, !at.wrap),
                index => position(index, at.wrap),
            };
        }
        let chain = pair.take();
        assert_eq!((chain.id(), chain.segments()), (id, 3));
        assert!(!pair.queue.has_available().unwrap());
        pair.queue.complete(chain, 0).unwrap();
        pair.queue.publish().unwrap();
        let used = if wrap { AVAIL | USED } else { 0 };
        assert_eq!(pair.tail(index.into()), (0, id, used));
        (index, wrap) = (at.index, at.wrap);
        assert_eq!(
            pair.queue.state(),
            State::Packed {
                avail: at,
                used: at
            }
        );
    }
}

#[test]
fn flags_that_mean_nothing_yet() {
    let mut pair = pair();
    for flags in [0, USED, AVAIL | USED, !AVAIL] {
        pair.ring(0, &[(DATA, 1, 0, flags)]);
        assert!(!pair.queue.has_available().unwrap());
        assert!(pair.next().unwrap().is_none());
    }
    let between = State::Packed {
        avail: position(2, false),
        used: position(2, false),
    };
    pair = Pair::at(&config(Format::Packed), between);
    for flags in [0, AVAIL, AVAIL | USED, !USED] {
        pair.ring(2, &[(DATA, 1, 0, flags)]);
        assert!(pair.next().unwrap().is_none());
    }
    pair.ring(2, &[(DATA, 1, 0, USED)]);
    pair.take();
}

#[test]
fn the_largest() {
    let mut config = config(Format::Packed);
    config.size = 0x8000;
    config.driver = GuestAddress::new(DESCRIPTORS + 0x8_0000);
    config.device = GuestAddress::new(DESCRIPTORS + 0x8_0010);
    let mut ram = Ram::new(0x9_0000);
    let mut queue = Queue::new(&config, State::initial(Format::Packed), &mut ram).unwrap();
    let mut segments = [Segment::default()];
    for flags in [AVAIL, USED] {
        for index in 0..0x8000u64 {
            ram.set32(DESCRIPTORS + 16 * index + 8, 1);
            ram.set16(DESCRIPTORS + 16 * index + 12, index as u16);
            ram.set16(DESCRIPTORS + 16 * index + 14, flags);
        }
        for index in 0..0x8000 {
            let chain = queue.next(&mut ram, &mut segments).unwrap().unwrap();
            assert_eq!(chain.id(), index);
            queue.complete(chain, 0).unwrap();
        }
        queue.publish().unwrap();
        assert!(!queue.has_available().unwrap());
    }
    assert_eq!(queue.state(), State::initial(Format::Packed));
}

#[test]
fn what_is_not_known_to_be_used_takes_up_room() {
    let mut pair = pair();
    pair.ring(0, &[(DATA, 1, 0, AVAIL); 8]);
    let chains: Vec<Chain> = (0..8).map(|_| pair.take()).collect();
    pair.queue.complete(chains[0], 0).unwrap();
    assert!(pair.next().unwrap().is_none());
    pair.ring(0, &[(DATA, 1, 0, USED)]);
    pair.refuses(Error::IndexJump);
}

#[test]
fn a_list_as_long_as_what_is_free() {
    let mut pair = pair();
    pair.ring(0, &[(DATA, 1, 0, AVAIL), (DATA, 1, 0, AVAIL)]);
    pair.take();
    pair.take();
    pair.ring(2, &[(DATA, 1, 0, AVAIL | NEXT); 6]);
    pair.ring(7, &[(DATA, 1, 0, AVAIL)]);
    assert_eq!(pair.take().segments(), 6);
}

#[test]
fn lists_that_make_no_sense() {
    let more = (DATA, 1, 0, AVAIL | NEXT);
    refused(&[more; 8], Error::Loop);
    refused(&[more, (DATA, 1, 0, 0)], Error::NotAvailable);
    refused(&[more, (DATA, 1, 0, USED)], Error::NotAvailable);
    refused(&[more, (DATA, 1, 0, AVAIL | USED)], Error::NotAvailable);
    refused(&[(DATA, 0, 0, AVAIL)], Error::ZeroLength);
    refused(&[(u64::MAX, 2, 0, AVAIL)], Error::AddressWrap);
    let back = [(DATA, 1, 0, AVAIL | NEXT | WRITE), (DATA, 1, 0, AVAIL)];
    refused(&back, Error::ReadableAfterWritable);
    let long = (DATA, 0x8000_0000, 0, AVAIL | NEXT);
    refused(&[long, (DATA, 0x8000_0000, 0, AVAIL)], Error::TooLong);

    // Into what the device still has.
    let mut pair = pair();
    pair.ring(0, &[(DATA, 1, 0, AVAIL)]);
    pair.take();
    pair.ring(1, &[more; 7]);
    pair.ring(0, &[(DATA, 1, 0, USED)]);
    pair.refuses(Error::Loop);
}

#[test]
fn more_parts_than_the_device_takes() {
    let mut pair = pair();
    pair.ring(0, &[(DATA, 1, 0, AVAIL | NEXT), (DATA, 1, 0, AVAIL)]);
    let result = pair.queue.next(&mut pair.ram, &mut [Segment::default()]);
    assert_eq!(result.unwrap_err(), Error::TooLong);
    pair.refuses(Error::TooLong);
}

#[test]
fn indirect() {
    let mut pair = pair();
    pair.ring(0, &[(DATA + 1, 64, 9, AVAIL | INDIRECT | WRITE)]);
    // All flags but one are to be ignored, and so is the id.
    pair.packed_table(
        DATA + 1,
        &[
            (1, 2, 5, 0),
            (3, 4, 6, NEXT | INDIRECT),
            (5, 6, 7, WRITE | USED),
            (7, 8, 8, WRITE | AVAIL),
        ],
    );
    let chain = pair.take();
    assert_eq!((chain.id(), chain.readable(), chain.writable()), (9, 2, 2));
    assert_eq!(pair.parts(4), [(1, 2), (3, 4), (5, 6), (7, 8)]);
    pair.queue.complete(chain, 0).unwrap();
    pair.queue.publish().unwrap();
    let there = position(1, true);
    assert_eq!(
        pair.queue.state(),
        State::Packed {
            avail: there,
            used: there
        }
    );
}

#[test]
fn tables_that_make_no_sense() {
    let refused_size = |len| refused(&[(DATA, len, 0, AVAIL | INDIRECT)], Error::BadIndirectSize);
    [0, 15, 17, 24, 16 * 0x8001, u32::MAX].map(refused_size);
    let table = (DATA, 16, 0, AVAIL | INDIRECT);
    refused(
        &[(DATA, 16, 0, AVAIL | INDIRECT | NEXT), table],
        Error::IndirectInList,
    );
    refused(&[(DATA, 16, 0, AVAIL | NEXT), table], Error::IndirectInList);
    refused(
        &[(u64::MAX - 14, 16, 0, AVAIL | INDIRECT)],
        Error::AddressWrap,
    );
    refused(&[(0, 16, 0, AVAIL | INDIRECT)], Error::Fault);
    refused(&[table], Error::ZeroLength);

    let mut pair = pair_with(|config| config.indirect = false);
    pair.ring(0, &[table]);
    pair.refuses(Error::IndirectNotNegotiated);

    // Not even read.
    let mut pair = self::pair();
    pair.ring(0, &[(DATA, 16 * 17, 0, AVAIL | INDIRECT)]);
    assert_eq!(pair.next().unwrap_err(), Error::TooLong);
    let log = pair.ram.take_log();
    assert!(!log.iter().any(|op| matches!(op, Op::Read { .. })));
}

#[test]
fn back_and_again() {
    let mut pair = pair_with(|config| config.size = 4);
    let more = (DATA, 1, 1, AVAIL | NEXT);
    let list = [more, (DATA, 1, 1, AVAIL), more, (DATA, 1, 2, AVAIL)];
    pair.ring(0, &list);
    let chains = [pair.take(), pair.take()];
    assert_eq!(
        pair.queue.state(),
        State::Packed {
            avail: position(0, false),
            used: position(0, true)
        }
    );
    pair.queue.put_back(chains[1]);
    assert!(pair.queue.has_available().unwrap());
    assert_eq!(pair.take().id(), 2);
    pair.queue.put_back(chains[1]);
    pair.queue.put_back(chains[0]);
    assert_eq!(pair.queue.state(), State::initial(Format::Packed));
    assert_eq!([pair.take().id(), pair.take().id()], [1, 2]);
    pair.queue.put_back(chains[0]);
    pair.refuses(Error::OutOfOrder);
}

#[test]
fn a_device_that_makes_mistakes() {
    let mut pair = pair();
    pair.ring(0, &[(DATA, 5, 0, AVAIL), (DATA, 5, 1, AVAIL | WRITE)]);
    let chains = [pair.take(), pair.take()];
    assert_eq!(pair.queue.complete(chains[0], 1), Err(Error::Overwritten));
    pair.queue.complete(chains[0], 0).unwrap();
    pair.queue.complete(chains[1], 5).unwrap();
    assert_eq!(pair.queue.complete(chains[1], 5), Err(Error::NotTaken));
    pair.refuses(Error::Overwritten);
}

#[test]
fn interrupts() {
    for event_idx in [false, true] {
        let mut pair = pair_with(|config| config.event_idx = event_idx);
        pair.ring(0, &[(DATA, 1, 0, AVAIL); 8]);
        assert_eq!(pair.queue.needs_interrupt(), Ok(false));
        assert_eq!(pair.ram.take_log(), []);
        pair.serve(1);
        pair.ram.take_log();
        assert_eq!(pair.queue.needs_interrupt(), Ok(true));
        let load = Op::Load {
            at: DRIVER,
            size: 4,
        };
        assert_eq!(pair.ram.take_log(), [Op::FullBarrier, load]);
        assert_eq!(pair.queue.needs_interrupt(), Ok(false));
        // Each is one more descriptor, and what the driver says. Reserved bits are not ours.
        let wrapped = 1 << 15;
        for (word, without, with) in [
            (DISABLE, false, false),
            (DISABLE | 0xfffc_0000, false, false),
            (AT | wrapped | 3, true, true),
            (AT | 5, true, false),
            (3 << 16, true, true),
            (AT | wrapped | 8, true, true),
            (0xfffc_0000, true, true),
        ] {
            pair.ram.set32(DRIVER, word);
            pair.serve(1);
            let expected = if event_idx { with } else { without };
            assert_eq!(pair.queue.needs_interrupt(), Ok(expected), "{word:x}");
        }
    }
}

/// All places that an event can have, against all that a device can have written.
#[test]
fn interrupts_by_place() {
    const SIZE: u64 = 5;
    let mut config = config(Format::Packed);
    config.size = SIZE as u16;
    config.event_idx = true;
    let place = |number: u64| position((number % SIZE) as u16, number / SIZE % 2 == 0);
    for (from, count, event) in (0..2 * SIZE)
        .flat_map(|from| (1..=SIZE).flat_map(move |n| (0..2 * SIZE).map(move |e| (from, n, e))))
    {
        let state = State::Packed {
            avail: place(from),
            used: place(from),
        };
        let mut pair = Pair::at(&config, state);
        for number in from..from + count {
            let at = place(number);
            let flags = if at.wrap { AVAIL } else { USED };
            pair.ring(at.index.into(), &[(DATA, 1, 0, flags)]);
            pair.serve(1);
        }
        let at = place(event);
        let word = AT | u32::from(at.wrap) << 15 | u32::from(at.index);
        pair.ram.set32(DRIVER, word);
        let expected = (from..from + count).any(|number| number % (2 * SIZE) == event);
        assert_eq!(
            pair.queue.needs_interrupt(),
            Ok(expected),
            "{from} {count} {event}"
        );
    }
}

#[test]
fn after_two_rounds_there_is_an_interrupt() {
    for count in [15, 16] {
        let mut pair = pair_with(|config| config.event_idx = true);
        for number in 0..count {
            let flags = if number < 8 { AVAIL } else { USED };
            pair.ring(number % 8, &[(DATA, 1, 0, flags)]);
            pair.serve(1);
        }
        // The one place that a count of 15 leaves out.
        let wrap = if count < 16 { 0 } else { 1 << 15 };
        pair.ram.set32(DRIVER, AT | wrap | count as u32 % 8);
        assert_eq!(pair.queue.needs_interrupt(), Ok(count == 16));
    }
}

#[test]
fn kicks() {
    let load = |slot: u64| Op::Load {
        at: DESCRIPTORS + 16 * slot + 8,
        size: 8,
    };
    for event_idx in [false, true] {
        let mut pair = pair_with(|config| config.event_idx = event_idx);
        pair.ring(0, &[(DATA, 1, 0, AVAIL)]);
        pair.queue.disable_kicks().unwrap();
        pair.queue.disable_kicks().unwrap();
        assert_eq!(pair.ram.take_log(), [store(DEVICE, 4, DISABLE.into())]);
        pair.serve(1);
        pair.ram.take_log();
        assert_eq!(pair.queue.enable_kicks(), Ok(false));
        let word = if event_idx { AT | 1 << 15 | 1 } else { 0 };
        let expected = [store(DEVICE, 4, word.into()), Op::FullBarrier, load(1)];
        assert_eq!(pair.ram.take_log(), expected);
        // It said so already.
        assert_eq!(pair.queue.enable_kicks(), Ok(false));
        assert_eq!(pair.ram.take_log(), [load(1)]);
        pair.queue.disable_kicks().unwrap();
        pair.ring(1, &[(DATA, 1, 0, AVAIL); 7]);
        assert_eq!(pair.queue.enable_kicks(), Ok(true));
        pair.serve(7);
        assert_eq!(pair.queue.enable_kicks(), Ok(false));
        let word = if event_idx { AT } else { 0 };
        assert_eq!(pair.ram.get32(DEVICE), word);
        // Who knows what memory holds now.
        pair.queue.remap(&mut pair.ram).unwrap();
        pair.ram.take_log();
        assert_eq!(pair.queue.enable_kicks(), Ok(false));
        assert_eq!(pair.ram.take_log()[0], store(DEVICE, 4, word.into()));
    }
}

#[test]
fn in_order_one_descriptor_is_for_all_that_are_whole() {
    let mut pair = pair_with(|config| config.in_order = true);
    let readable = |id| (DATA, 5, id, AVAIL);
    let writable = |id| (DATA, 8, id, AVAIL | WRITE);
    let list = (DATA, 5, 5, AVAIL | NEXT);
    let ring = [
        readable(0),
        writable(1),
        readable(2),
        writable(3),
        readable(4),
    ];
    pair.ring(0, &ring);
    pair.ring(5, &[list, writable(6), readable(7)]);
    // The fourth one is not wholly written, so that it ends the first run.
    let written = [0, 8, 0, 7, 0, 8, 0];
    let chains = written.map(|_| pair.take());
    pair.ram.take_log();
    for (chain, written) in chains.into_iter().zip(written) {
        pair.queue.complete(chain, written).unwrap();
    }
    assert_eq!(pair.ram.take_log(), []);
    pair.queue.publish().unwrap();
    let used = AVAIL | USED;
    let expected = [
        Pair::mark(4, 0, 7, used),
        Op::WriteBarrier,
        Pair::mark(0, 7, 3, used | WRITE),
    ];
    assert_eq!(pair.ram.take_log(), expected);
    let there = position(0, false);
    assert_eq!(
        pair.queue.state(),
        State::Packed {
            avail: there,
            used: there
        }
    );
    assert_eq!(pair.queue.needs_interrupt(), Ok(true));
}

#[test]
fn out_of_order() {
    let mut pair = pair_with(|config| config.in_order = true);
    pair.ring(0, &[(DATA, 5, 0, AVAIL), (DATA, 5, 1, AVAIL)]);
    let chains = [pair.take(), pair.take()];
    assert_eq!(pair.queue.complete(chains[1], 0), Err(Error::OutOfOrder));
    pair.refuses(Error::OutOfOrder);
}

#[test]
fn while_nothing_is_mapped() {
    let mut pair = pair();
    pair.ring(
        0,
        &[
            (DATA, 5, 0, AVAIL),
            (DATA, 5, 1, AVAIL),
            (DATA, 5, 2, AVAIL),
        ],
    );
    let chains = [pair.take(), pair.take()];
    pair.queue.complete(chains[1], 0).unwrap();
    pair.ram.unmap(true);
    assert_eq!(pair.queue.remap(&mut pair.ram), Err(Error::Fault));
    pair.ram.unmap(false);
    pair.ram.take_log();
    let gone = Error::NotMapped;
    assert_eq!(pair.next().unwrap_err(), gone);
    assert_eq!(pair.queue.complete(chains[0], 0), Err(gone));
    assert_eq!(pair.queue.publish(), Err(gone));
    assert_eq!(pair.queue.needs_interrupt(), Err(gone));
    assert_eq!(pair.queue.enable_kicks(), Err(gone));
    assert_eq!(pair.queue.disable_kicks(), Err(gone));
    assert_eq!(pair.queue.has_available(), Err(gone));
    assert_eq!(pair.ram.take_log(), []);

    pair.queue.remap(&mut pair.ram).unwrap();
    assert_eq!(pair.queue.error(), None);
    pair.queue.complete(chains[0], 0).unwrap();
    pair.serve(1);
    assert_eq!([0, 1, 2].map(|slot| pair.tail(slot).1), [1, 0, 2]);
    assert_eq!(pair.queue.needs_interrupt(), Ok(true));
}
