// SPDX-License-Identifier: GPL-2.0

//! Split queues, byte by byte.

use super::pair::*;
use super::ram::Op;
use virtqueue::*;

const AVAIL_INDEX: u64 = DRIVER + 2;
const USED_EVENT: u64 = DRIVER + 4 + 2 * 8;
const USED_INDEX: u64 = DEVICE + 2;
const AVAIL_EVENT: u64 = DEVICE + 4 + 8 * 8;

fn pair_with(change: impl FnOnce(&mut Config)) -> Pair {
    let mut config = config(Format::Split);
    change(&mut config);
    Pair::new(&config)
}

fn pair() -> Pair {
    pair_with(|_| ())
}

/// Address, length, flags, next.
type Descriptor = (u64, u32, u16, u16);

impl Pair {
    fn table(&self, at: u64, descriptors: &[Descriptor]) {
        for (index, (addr, len, flags, next)) in descriptors.iter().enumerate() {
            self.descriptor_at(at + 16 * index as u64, *addr, *len, [*flags, *next]);
        }
    }

    /// The first descriptors.
    fn descriptors(&self, descriptors: &[Descriptor]) {
        self.table(DESCRIPTORS, descriptors);
    }

    /// Makes chains available.
    fn offer(&self, heads: &[u16]) {
        let mut index = self.ram.get16(AVAIL_INDEX);
        for head in heads {
            let slot = u64::from(index % self.config.size);
            self.ram.set16(DRIVER + 4 + 2 * slot, *head);
            index = index.wrapping_add(1);
        }
        self.ram.set16(AVAIL_INDEX, index);
    }

    fn used(&self, slot: u64) -> (u32, u32) {
        let at = DEVICE + 4 + 8 * slot;
        (self.ram.get32(at), self.ram.get32(at + 4))
    }
}

/// The next buffer is refused for this reason if these are the first descriptors.
fn refused(descriptors: &[Descriptor], error: Error) {
    let mut pair = pair();
    pair.descriptors(descriptors);
    pair.offer(&[0]);
    pair.refuses(error);
}

/// The same with an indirect table.
fn refused_table(table: &[Descriptor], error: Error) {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 16 * table.len() as u32, INDIRECT, 0)]);
    pair.table(DATA, table);
    pair.offer(&[0]);
    pair.refuses(error);
}

#[test]
fn a_buffer_there_and_back() {
    let mut pair = pair();
    assert!(pair.next().unwrap().is_none());
    pair.descriptors(&[
        (0, 0, 0, 0),
        (DATA + 0x100, 7, NEXT | WRITE, 2),
        (DATA + 0x200, 9, WRITE, 0),
        (DATA, 5, NEXT, 1),
    ]);
    pair.offer(&[3]);
    let chain = pair.take();
    assert_eq!(chain.id(), 3);
    assert_eq!((chain.readable(), chain.readable_len()), (1, 5));
    assert_eq!((chain.writable(), chain.writable_len()), (2, 16));
    let expected = [(DATA, 5), (DATA + 0x100, 7), (DATA + 0x200, 9)];
    assert_eq!(pair.parts(chain.segments()), expected);
    assert!(pair.next().unwrap().is_none());

    pair.queue.complete(chain, 10).unwrap();
    assert_eq!(pair.ram.get16(USED_INDEX), 0);
    assert_eq!(pair.queue.state(), State::Split { avail: 1, used: 0 });
    pair.queue.publish().unwrap();
    assert_eq!(pair.ram.get16(USED_INDEX), 1);
    assert_eq!(pair.used(0), (3, 10));
    assert_eq!(pair.queue.state(), State::Split { avail: 1, used: 1 });
}

#[test]
fn the_index_comes_after_the_entries_and_a_barrier() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, WRITE, 0), (DATA, 5, WRITE, 0)]);
    pair.offer(&[0, 1]);
    let chains = [pair.take(), pair.take()];
    for chain in chains {
        pair.queue.complete(chain, 5).unwrap();
    }
    pair.queue.publish().unwrap();
    let entries =
        [(4, 0), (8, 5), (12, 1), (16, 5)].map(|(at, value)| store(DEVICE + at, 4, value));
    let mut log = pair.stores();
    // The barrier that belongs to reading the driver's index.
    assert_eq!(log.remove(0), Op::ReadBarrier);
    assert_eq!(log[..4], entries);
    assert_eq!(log[4..], [Op::WriteBarrier, store(USED_INDEX, 2, 2)]);
    pair.queue.publish().unwrap();
    assert_eq!(pair.stores(), []);
}

#[test]
fn a_batch_reads_the_index_once() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.offer(&[0, 1, 2, 3]);
    pair.take();
    let log = pair.ram.take_log();
    let load = |at, size| Op::Load { at, size };
    let first = [load(AVAIL_INDEX, 2), Op::ReadBarrier, load(DRIVER + 4, 2)];
    assert_eq!(log[..3], first);
    assert_eq!(log[3..], [load(DESCRIPTORS, 8), load(DESCRIPTORS + 8, 8)]);
    for _ in 0..3 {
        assert!(pair.queue.has_available().unwrap());
        pair.take();
        assert_eq!(pair.loads(), 3);
    }
    assert!(pair.next().unwrap().is_none());
    assert_eq!(pair.loads(), 1);
}

#[test]
fn each_part_is_only_used_as_it_must_be() {
    let mut ram = super::ram::Ram::new(0x8000);
    ram.limit(DESCRIPTORS, 0x2000, Access::Read);
    ram.limit(DEVICE, 0x1000, Access::Write);
    let mut config = config(Format::Split);
    config.event_idx = true;
    assert!(Queue::new(&config, State::initial(Format::Split), &mut ram).is_ok());
    ram.limit(DEVICE + 4 + 8 * 8, 2, Access::Read);
    let initial = State::initial(Format::Split);
    assert_eq!(
        Queue::new(&config, initial, &mut ram).err(),
        Some(Error::Fault)
    );
    // Without event indices, nobody needs the fields for them.
    config.event_idx = false;
    assert!(Queue::new(&config, initial, &mut ram).is_ok());
}

#[test]
fn what_is_no_queue() {
    let refused = |change: fn(&mut Config), state, error| {
        let mut config = config(Format::Split);
        change(&mut config);
        let mut ram = super::ram::Ram::new(0x10_0000);
        assert_eq!(Queue::new(&config, state, &mut ram).err(), Some(error));
    };
    let initial = State::initial(Format::Split);
    refused(|c| c.size = 0, initial, Error::BadSize);
    refused(|c| c.size = 12, initial, Error::BadSize);
    refused(|c| c.size = 0xffff, initial, Error::BadSize);
    refused(
        |c| c.descriptors = GuestAddress::new(DESCRIPTORS + 8),
        initial,
        Error::Misaligned,
    );
    refused(
        |c| c.driver = GuestAddress::new(DRIVER + 1),
        initial,
        Error::Misaligned,
    );
    refused(
        |c| c.device = GuestAddress::new(DEVICE + 2),
        initial,
        Error::Misaligned,
    );
    refused(|c| c.device = GuestAddress::new(8), initial, Error::Fault);
    refused(
        |c| c.driver = GuestAddress::new(u64::MAX - 9),
        initial,
        Error::AddressWrap,
    );
    refused(|_| (), State::Split { avail: 9, used: 0 }, Error::BadState);
    refused(|_| (), State::Split { avail: 0, used: 1 }, Error::BadState);
    refused(|_| (), State::initial(Format::Packed), Error::BadState);
}

#[test]
fn the_largest() {
    let mut config = config(Format::Split);
    config.size = 0x8000;
    config.driver = GuestAddress::new(DESCRIPTORS + 0x8_0000);
    config.device = GuestAddress::new(DESCRIPTORS + 0xa_0000);
    let mut ram = super::ram::Ram::new(0x10_0000);
    let mut queue = Queue::new(&config, State::initial(Format::Split), &mut ram).unwrap();
    for index in 0..0x8000u64 {
        ram.set64(DESCRIPTORS + 16 * index, DATA);
        ram.set32(DESCRIPTORS + 16 * index + 8, 1);
        ram.set16(config.driver.get() + 4 + 2 * index, 0x7fff - index as u16);
    }
    ram.set16(config.driver.get() + 2, 0x8000);
    let mut segments = [Segment::default()];
    for index in 0..0x8000 {
        let chain = queue.next(&mut ram, &mut segments).unwrap().unwrap();
        assert_eq!(chain.id(), 0x7fff - index);
        queue.complete(chain, 0).unwrap();
    }
    queue.publish().unwrap();
    assert_eq!(ram.get32(config.device.get() + 4 + 8 * 0x7fff), 0);
    assert_eq!(ram.get16(config.device.get() + 2), 0x8000);
    assert!(!queue.has_available().unwrap());
}

#[test]
fn counters_go_round() {
    let config = config(Format::Split);
    let state = State::Split {
        avail: 0xffff,
        used: 0xffff,
    };
    let mut pair = Pair::at(&config, state);
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.ram.set16(AVAIL_INDEX, 0xffff);
    pair.offer(&[4, 5, 6]);
    for id in [4, 5, 6] {
        let chain = pair.take();
        assert_eq!(chain.id(), id);
        pair.queue.complete(chain, 0).unwrap();
    }
    pair.queue.publish().unwrap();
    assert_eq!(pair.ram.get16(USED_INDEX), 2);
    assert_eq!([pair.used(7).0, pair.used(0).0, pair.used(1).0], [4, 5, 6]);
}

#[test]
fn the_index_jumps() {
    for index in [9, 0xffff, 0x8000] {
        let mut pair = pair();
        pair.ram.set16(AVAIL_INDEX, index);
        pair.refuses(Error::IndexJump);
    }
}

#[test]
fn the_index_goes_back() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.offer(&[0, 1]);
    pair.take();
    pair.take();
    pair.ram.set16(AVAIL_INDEX, 1);
    pair.refuses(Error::IndexJump);
}

#[test]
fn what_is_not_known_to_be_used_takes_up_room() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.offer(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let chain = pair.take();
    for _ in 1..8 {
        pair.take();
    }
    pair.queue.complete(chain, 0).unwrap();
    pair.offer(&[0]);
    assert_eq!(pair.queue.has_available(), Err(Error::IndexJump));
    pair.refuses(Error::IndexJump);
}

#[test]
fn chains_that_make_no_sense() {
    let good = (DATA, 5, 0, 0);
    let mut pair = pair();
    pair.descriptors(&[good]);
    pair.offer(&[8]);
    pair.refuses(Error::BadHead);

    refused(&[(DATA, 5, NEXT, 0)], Error::Loop);
    let mut pair = self::pair();
    pair.descriptors(&[(DATA, 5, NEXT, 0)]);
    pair.offer(&[0]);
    assert_eq!(pair.next().unwrap_err(), Error::Loop);
    assert_eq!(pair.loads(), 2 + 2 * 8);
    refused(&[(DATA, 5, NEXT, 1), (DATA, 5, NEXT, 0)], Error::Loop);
    refused(&[(DATA, 5, NEXT, 8)], Error::NextOutOfRange);
    refused(&[(DATA, 5, NEXT, 0xffff)], Error::NextOutOfRange);
    refused(&[(DATA, 0, 0, 0)], Error::ZeroLength);
    refused(
        &[(DATA, 5, NEXT, 1), (DATA, 0, WRITE, 0)],
        Error::ZeroLength,
    );
    let back = [(DATA, 5, NEXT | WRITE, 1), (DATA, 5, 0, 0)];
    refused(&back, Error::ReadableAfterWritable);
    refused(&[(u64::MAX, 2, 0, 0)], Error::AddressWrap);
    let long = (DATA, 0x8000_0000, NEXT, 1);
    refused(&[long, (DATA, 0x8000_0000, 0, 0)], Error::TooLong);
    refused(&[long, (DATA, 0x8000_0000, WRITE, 0)], Error::TooLong);
}

#[test]
fn just_not_too_much() {
    let mut pair = pair();
    let long = (DATA, 0x8000_0000, NEXT, 1);
    pair.descriptors(&[long, (u64::MAX - 0x7fff_fffe, 0x7fff_ffff, WRITE, 0)]);
    pair.offer(&[0]);
    let chain = pair.take();
    assert_eq!(chain.readable_len(), 0x8000_0000);
    assert_eq!(chain.writable_len(), 0x7fff_ffff);
}

#[test]
fn more_parts_than_the_device_takes() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, NEXT, 1), (DATA, 5, NEXT, 2), (DATA, 5, 0, 0)]);
    pair.offer(&[0]);
    let mut segments = [Segment::default(); 2];
    let result = pair.queue.next(&mut pair.ram, &mut segments);
    assert_eq!(result.unwrap_err(), Error::TooLong);
    pair.refuses(Error::TooLong);
}

#[test]
fn indirect() {
    let mut pair = pair();
    pair.descriptors(&[(DATA + 1, 48, INDIRECT | WRITE, 0)]);
    let table = [(1, 2, NEXT, 2), (5, 6, WRITE, 0), (3, 4, NEXT | WRITE, 1)];
    pair.table(DATA + 1, &table);
    pair.offer(&[0]);
    let chain = pair.take();
    assert_eq!((chain.readable(), chain.writable()), (1, 2));
    assert_eq!(pair.parts(3), [(1, 2), (3, 4), (5, 6)]);
}

#[test]
fn a_list_that_ends_in_a_table() {
    let mut pair = pair();
    pair.descriptors(&[(7, 8, NEXT, 1), (DATA, 32, INDIRECT, 0)]);
    pair.table(DATA, &[(1, 2, NEXT, 1), (3, 4, WRITE, 0)]);
    pair.offer(&[0]);
    let chain = pair.take();
    assert_eq!((chain.readable(), chain.writable()), (2, 1));
    assert_eq!(pair.parts(3), [(7, 8), (1, 2), (3, 4)]);
}

#[test]
fn long_tables_are_read_in_pieces() {
    let mut pair = pair();
    let table: Vec<Descriptor> = (0..16)
        .map(|n| (n, 1, if n < 15 { NEXT } else { 0 }, n as u16 + 1))
        .collect();
    pair.table(DATA, &table);
    pair.descriptors(&[(DATA, 16 * 16, INDIRECT, 0)]);
    pair.offer(&[0]);
    pair.take();
    let expected: Vec<_> = (0..16).map(|n| (n, 1)).collect();
    assert_eq!(pair.parts(16), expected);
    let log = pair.ram.take_log();
    let reads: Vec<_> = log
        .iter()
        .filter(|op| matches!(op, Op::Read { .. }))
        .collect();
    let read = |at| Op::Read { at, len: 128 };
    assert_eq!(reads, [&read(DATA), &read(DATA + 128)]);
}

#[test]
fn tables_that_make_no_sense() {
    let refused_size = |len| refused(&[(DATA, len, INDIRECT, 0)], Error::BadIndirectSize);
    [0, 15, 17, 24, 16 * 0x8001, u32::MAX].map(refused_size);
    refused(&[(DATA, 16, INDIRECT | NEXT, 0)], Error::IndirectInList);
    refused(&[(u64::MAX - 16, 32, INDIRECT, 0)], Error::AddressWrap);
    refused(&[(u64::MAX - 31, 32, INDIRECT, 0)], Error::Fault);

    refused_table(
        &[(1, 1, NEXT, 1), (DATA, 16, INDIRECT, 0)],
        Error::NestedIndirect,
    );
    refused_table(&[(1, 1, NEXT, 1), (1, 1, NEXT, 0)], Error::Loop);
    // As long as what the device takes, and not longer.
    refused_table(&[(1, 1, NEXT, 0); 16], Error::Loop);
    refused_table(&[(1, 1, NEXT, 2), (1, 1, 0, 0)], Error::NextOutOfRange);
    refused_table(&[(1, 1, NEXT, 0xffff), (1, 1, 0, 0)], Error::NextOutOfRange);
    refused_table(&[(1, 0, 0, 0)], Error::ZeroLength);

    let mut pair = pair_with(|config| config.indirect = false);
    pair.descriptors(&[(DATA, 16, INDIRECT, 0)]);
    pair.offer(&[0]);
    pair.refuses(Error::IndirectNotNegotiated);
}

#[test]
fn a_table_that_is_longer_than_its_part_of_the_queue() {
    let mut pair = pair();
    let table: Vec<Descriptor> = (0..9)
        .map(|n| (n, 1, if n < 8 { NEXT } else { 0 }, n as u16 + 1))
        .collect();
    pair.table(DATA, &table);
    pair.descriptors(&[(DATA, 9 * 16, INDIRECT, 0)]);
    pair.offer(&[0]);
    assert_eq!(pair.take().segments(), 9);
}

#[test]
fn back_and_again() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.offer(&[0, 1, 2]);
    let chains = [pair.take(), pair.take(), pair.take()];
    pair.queue.put_back(chains[2]);
    pair.queue.put_back(chains[1]);
    assert!(pair.queue.has_available().unwrap());
    assert_eq!(pair.queue.state(), State::Split { avail: 1, used: 0 });
    assert_eq!([pair.take().id(), pair.take().id()], [1, 2]);
    assert!(pair.next().unwrap().is_none());
    pair.queue.put_back(chains[0]);
    pair.refuses(Error::OutOfOrder);
}

#[test]
fn a_device_that_makes_mistakes() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, NEXT, 1), (DATA, 3, WRITE, 0)]);
    pair.offer(&[0]);
    let chain = pair.take();
    assert_eq!(pair.queue.complete(chain, 4), Err(Error::Overwritten));
    pair.queue.complete(chain, 3).unwrap();
    assert_eq!(pair.queue.complete(chain, 3), Err(Error::NotTaken));
    pair.refuses(Error::Overwritten);
    pair.queue.put_back(chain);
    pair.queue.publish().unwrap();
    assert_eq!(pair.ram.get16(USED_INDEX), 1);
}

#[test]
fn interrupts_by_flag() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.offer(&[0, 1, 2]);
    assert_eq!(pair.queue.needs_interrupt(), Ok(false));
    assert_eq!(pair.loads(), 0);
    pair.serve(1);
    pair.ram.take_log();
    assert_eq!(pair.queue.needs_interrupt(), Ok(true));
    let load = Op::Load {
        at: DRIVER,
        size: 2,
    };
    assert_eq!(pair.ram.take_log(), [Op::FullBarrier, load]);
    assert_eq!(pair.queue.needs_interrupt(), Ok(false));
    pair.ram.set16(DRIVER, 1);
    pair.serve(1);
    assert_eq!(pair.queue.needs_interrupt(), Ok(false));
    // That one is over, whatever the driver says now.
    pair.ram.set16(DRIVER, 0);
    assert_eq!(pair.queue.needs_interrupt(), Ok(false));
    // Other bits are not ours.
    pair.ram.set16(DRIVER, 0xfffe);
    pair.serve(1);
    assert_eq!(pair.queue.needs_interrupt(), Ok(true));
}

#[test]
fn interrupts_by_index() {
    let mut pair = pair_with(|config| config.event_idx = true);
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.ram.set16(DRIVER, 1);
    for (event, expected) in [
        (0, true),
        (0, false),
        (3, false),
        (3, true),
        (3, false),
        (6, false),
    ] {
        pair.offer(&[0]);
        pair.serve(1);
        pair.ram.set16(USED_EVENT, event);
        assert_eq!(pair.queue.needs_interrupt(), Ok(expected));
    }
    pair.offer(&[0, 1, 2, 3]);
    pair.ram.take_log();
    pair.serve(4);
    pair.ram.set16(USED_EVENT, 8);
    pair.ram.take_log();
    assert_eq!(pair.queue.needs_interrupt(), Ok(true));
    let (at, size) = (USED_EVENT, 2);
    assert_eq!(
        pair.ram.take_log(),
        [Op::FullBarrier, Op::Load { at, size }]
    );
}

#[test]
fn after_a_whole_round_there_is_an_interrupt() {
    let mut pair = pair_with(|config| config.event_idx = true);
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    for count in [0xffff, 0x1_0000] {
        for _ in 0..count {
            pair.offer(&[0]);
            pair.serve(1);
        }
        // The one place that a count of 65535 leaves out.
        let used = pair.ram.get16(USED_INDEX);
        pair.ram.set16(USED_EVENT, used);
        assert_eq!(pair.queue.needs_interrupt(), Ok(count > 0xffff));
        pair.ram.take_log();
    }
}

#[test]
fn kicks_by_flag() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.queue.disable_kicks().unwrap();
    pair.queue.disable_kicks().unwrap();
    assert_eq!(pair.stores(), [store(DEVICE, 2, 1)]);
    assert_eq!(pair.queue.enable_kicks(), Ok(false));
    let (at, size) = (AVAIL_INDEX, 2);
    let expected = [store(DEVICE, 2, 0), Op::FullBarrier, Op::Load { at, size }];
    assert_eq!(pair.ram.take_log(), expected);
    // It said so already.
    assert_eq!(pair.queue.enable_kicks(), Ok(false));
    assert_eq!(pair.ram.take_log(), [Op::Load { at, size }]);
    pair.queue.disable_kicks().unwrap();
    pair.offer(&[0]);
    assert_eq!(pair.queue.enable_kicks(), Ok(true));
    pair.serve(1);
    // Who knows what memory holds now.
    pair.queue.remap(&mut pair.ram).unwrap();
    pair.ram.take_log();
    assert_eq!(pair.queue.enable_kicks(), Ok(false));
    assert_eq!(pair.ram.take_log(), expected);
}

#[test]
fn kicks_by_index() {
    let mut pair = pair_with(|config| config.event_idx = true);
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.offer(&[0, 1]);
    pair.queue.disable_kicks().unwrap();
    assert_eq!(pair.ram.take_log(), []);
    pair.serve(2);
    pair.ram.take_log();
    assert_eq!(pair.queue.enable_kicks(), Ok(false));
    let (at, size) = (AVAIL_INDEX, 2);
    let expected = [
        store(AVAIL_EVENT, 2, 2),
        Op::FullBarrier,
        Op::Load { at, size },
    ];
    assert_eq!(pair.ram.take_log(), expected);
    pair.offer(&[0]);
    assert_eq!(pair.queue.enable_kicks(), Ok(true));
    assert_eq!(pair.stores(), [Op::ReadBarrier]);
    pair.serve(1);
    assert_eq!(pair.queue.enable_kicks(), Ok(false));
    assert_eq!(pair.ram.get16(AVAIL_EVENT), 3);
}

#[test]
fn in_order_one_entry_is_for_all_that_are_whole() {
    let mut pair = pair_with(|config| config.in_order = true);
    let readable = (DATA, 5, 0, 0);
    let writable = (DATA, 8, WRITE, 0);
    pair.descriptors(&[readable, writable, readable, writable, readable, writable]);
    pair.offer(&[0, 1, 2, 3, 4, 5]);
    // The fourth one is not wholly written, so that it ends the first run.
    for written in [0, 8, 0, 7, 0, 0] {
        let chain = pair.take();
        pair.queue.complete(chain, written).unwrap();
    }
    pair.ram.take_log();
    pair.queue.publish().unwrap();
    let element = |slot: u64, id, len| {
        let at = DEVICE + 4 + 8 * slot;
        [store(at, 4, id), store(at + 4, 4, len)]
    };
    let [a, b] = element(4, 5, 0);
    let expected = [a, b, Op::WriteBarrier, store(USED_INDEX, 2, 6)];
    assert_eq!(pair.stores(), expected);
    assert_eq!(pair.used(0), (3, 7));
    // Those between were left alone.
    assert_eq!([1, 2, 3, 5].map(|slot| pair.used(slot)), [(0, 0); 4]);

    pair.offer(&[6]);
    pair.descriptors(&[(DATA, 5, 0, 0); 7]);
    pair.serve(1);
    assert_eq!(pair.used(6), (6, 0));
}

#[test]
fn out_of_order() {
    let mut pair = pair_with(|config| config.in_order = true);
    pair.descriptors(&[(DATA, 5, 0, 0); 2]);
    pair.offer(&[0, 1]);
    let chains = [pair.take(), pair.take()];
    assert_eq!(pair.queue.complete(chains[1], 0), Err(Error::OutOfOrder));
    pair.refuses(Error::OutOfOrder);
}

#[test]
fn while_nothing_is_mapped() {
    let mut pair = pair();
    pair.descriptors(&[(DATA, 5, 0, 0); 8]);
    pair.offer(&[0, 1, 2]);
    let chains = [pair.take(), pair.take()];
    pair.queue.complete(chains[0], 0).unwrap();
    pair.ram.unmap(true);
    assert_eq!(pair.queue.remap(&mut pair.ram), Err(Error::Fault));
    pair.ram.unmap(false);
    pair.ram.take_log();
    let gone = Error::NotMapped;
    assert_eq!(pair.next().unwrap_err(), gone);
    assert_eq!(pair.queue.complete(chains[1], 0), Err(gone));
    assert_eq!(pair.queue.publish(), Err(gone));
    assert_eq!(pair.queue.needs_interrupt(), Err(gone));
    assert_eq!(pair.queue.enable_kicks(), Err(gone));
    assert_eq!(pair.queue.disable_kicks(), Err(gone));
    assert_eq!(pair.queue.has_available(), Err(gone));
    assert_eq!(pair.ram.take_log(), []);

    pair.queue.remap(&mut pair.ram).unwrap();
    assert_eq!(pair.queue.error(), None);
    pair.queue.complete(chains[1], 0).unwrap();
    pair.serve(1);
    assert_eq!(pair.queue.needs_interrupt(), Ok(true));
    assert_eq!([0, 1, 2].map(|slot| pair.used(slot).0), [0, 1, 2]);
    assert_eq!(pair.ram.get16(USED_INDEX), 3);
}

#[test]
fn memory_that_goes_away() {
    let mut pair = pair();
    pair.offer(&[0]);
    pair.ram.unmap(true);
    pair.refuses(Error::Fault);
    // That is not forgotten by a new mapping.
    pair.ram.unmap(false);
    pair.queue.remap(&mut pair.ram).unwrap();
    pair.refuses(Error::Fault);
}
