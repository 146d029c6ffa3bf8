// SPDX-License-Identifier: GPL-2.0

//! What users and drivers rely on, case by case.

use super::{
    commands::{frame, mac, pair, table},
    config::{ConfigSpace, Mtu, OutOfRange},
    control::{self, Ack, Refusal},
    features::{self, Layout, Negotiated, Offered, QueuePairs, Role, C_SIMULATOR},
    filter::Filter,
    frames::negotiated,
    header::{Header, HeaderSize, Large, PartialChecksum, ReceiveOffloads, SegmentKind, Work},
    mac::MacAddress,
    model::{Change, Model, NotPossible, Provision},
    reference::{bits, is_closed, SUPPORTED},
};
use proptest::prelude::*;
use vdpa::{DeviceConfig, Features};

/// A device after its driver has accepted these features, and what every driver does.
fn device(pairs: u16, features: &[u32]) -> Model {
    let (mut model, _) = pair(None, pairs, mac(6), 1500).unwrap();
    let set = Features::from_bits(bits(features) | bits(&[17, 33]));
    model.negotiate(set).unwrap();
    model
}

fn ack(model: &mut Model, command: &[u8]) -> u8 {
    Ack::from(&model.command(command, command.len())).get()
}

fn offer(asked: Option<u64>, pairs: u16) -> Result<u64, features::Refusal> {
    let pairs = QueuePairs::new(pairs).unwrap();
    Offered::new(asked.map(Features::from_bits), pairs).map(|offered| offered.features().bits())
}

#[test]
fn what_is_offered() {
    let all = bits(SUPPORTED);
    // Several queue pairs are offered where there are several.
    assert_eq!(offer(None, 1), Ok(all & !(1 << 22)));
    assert_eq!(offer(None, 16), Ok(all));
    assert_eq!(C_SIMULATOR.bits(), 0x3_0882_0028 | 1 << 16);
    // What is asked for is what is offered, even where a driver could not do with it.
    for asked in [all, C_SIMULATOR.bits(), 1 << 32, 1 << 5, 0] {
        assert_eq!(offer(Some(asked), 1), Ok(asked));
    }
    for number in (0..64).filter(|number| !SUPPORTED.contains(number)) {
        let refusal = features::Refusal::Unsupported(Features::bit(number));
        assert_eq!(offer(Some(1 << number | 1 << 33), 1), Err(refusal));
    }
    let refusal = features::Refusal::Dangling(Features::from_bits(bits(&[11, 18, 22])));
    assert_eq!(offer(Some(bits(&[11, 18, 22, 33])), 1), Err(refusal));
    let refusal = features::Refusal::PairsWithoutMq;
    assert_eq!(offer(Some(bits(&[17, 33])), 2), Err(refusal));
}

#[test]
fn how_many_queues_there_are() {
    for (asked, count) in [
        (0, None),
        (1, Some(3)),
        (2, Some(5)),
        (16, Some(33)),
        (17, None),
    ] {
        let offered = QueuePairs::new(asked).map(|pairs| Offered::new(None, pairs).unwrap());
        assert_eq!(offered.map(Offered::queues), count);
    }
    for (pair, receive, transmit) in [(0, 0, 1), (1, 2, 3), (15, 30, 31)] {
        assert_eq!(Layout::receive_index(pair), receive);
        assert_eq!(Layout::transmit_index(pair), transmit);
    }
}

#[test]
fn where_the_control_queue_is() {
    let of = |numbers| {
        Layout::of(
            Features::from_bits(bits(numbers)),
            QueuePairs::new(4).unwrap(),
        )
    };
    // The driver knows of several pairs, or does not.
    let layout = of(&[17, 22, 33]);
    assert_eq!(layout.control_index(), 8);
    assert_eq!(layout.role(8), Some(Role::Control));
    assert_eq!(layout.role(7), Some(Role::Transmit { pair: 3 }));
    assert_eq!(layout.role(9), None);
    let layout = of(&[17, 33]);
    assert_eq!(layout.control_index(), 2);
    assert_eq!(layout.role(2), Some(Role::Control));
    assert_eq!(layout.role(3), None);
    assert_eq!(layout.role(8), None);
    // Nobody has negotiated anything.
    assert_eq!(Layout::new(Negotiated::NONE, QueuePairs::MAX).role(2), None);
}

#[test]
fn flows_stay_in_their_queue() {
    for (pairs, sent, expected) in [(1, 0, 0), (1, 5, 0), (4, 3, 3), (4, 4, 0), (4, 7, 3)] {
        assert_eq!(QueuePairs::new(pairs).unwrap().steer(sent), expected);
    }
}

#[test]
fn a_driver_needs_the_platforms_addresses() {
    let (mut model, _) = pair(None, 1, mac(6), 1500).unwrap();
    let refusal = Err(features::Refusal::NoAccessPlatform);
    assert_eq!(model.negotiate(Features::NONE), refusal);
    assert_eq!(model.negotiate(Features::from_bits(1 << 32)), refusal);
    // What was not offered does not count.
    assert_eq!(
        model.negotiate(Features::from_bits(u64::MAX & !(1 << 22))),
        Ok(())
    );
    assert_eq!(model.negotiated().features(), model.offered.features());
    // A refusal changes nothing.
    assert_eq!(model.negotiate(Features::NONE), refusal);
    assert_eq!(model.negotiated().features(), model.offered.features());
}

#[test]
fn addresses_are_compared_as_bytes() {
    // C compares strings: at the first zero byte all are equal.
    let own = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    let filter = Filter::new(MacAddress::new(own), Negotiated::NONE);
    assert!(filter.accepts(&frame(own, None)));
    for other in [[0x52, 0x54, 0, 0x12, 0x34, 0x57], [0x52, 0x54, 0, 0, 0, 0]] {
        assert!(!filter.accepts(&frame(other, None)));
    }
    let filter = Filter::new(MacAddress::new([0; 6]), Negotiated::NONE);
    assert!(!filter.accepts(&frame([0, 1, 2, 3, 4, 5], None)));
    assert!(filter.accepts(&frame([0; 6], None)));
}

#[test]
fn without_commands_groups_are_received() {
    let filter = Filter::new(MacAddress::new(mac(6)), Negotiated::NONE);
    assert!(filter.accepts(&frame([255; 6], None)));
    assert!(filter.accepts(&frame([1, 0, 0x5e, 0, 0, 1], None)));
    assert!(filter.accepts(&frame(mac(6), Some(100))));
    assert!(!filter.accepts(&mac(6)[..5]));
    assert!(filter.accepts(&mac(6)));
}

#[test]
fn vlans() {
    let mut model = device(1, &[19]);
    let accepts = |model: &Model, tag| model.receiver().filter.accepts(&frame(mac(6), tag));
    assert!(accepts(&model, None));
    for id in [0, 1, 63, 64, 2048, 4095] {
        let [low, high] = u16::to_le_bytes(id);
        assert!(!accepts(&model, Some(id)));
        assert_eq!(ack(&mut model, &[2, 0, low, high]), 0);
        assert!(accepts(&model, Some(id)));
        // With a priority.
        assert!(accepts(&model, Some(id | 0xe000)));
        for bit in 0..12 {
            assert!(!accepts(&model, Some(id ^ 1 << bit)));
        }
        assert_eq!(ack(&mut model, &[2, 1, low, high]), 0);
        assert!(!accepts(&model, Some(id)));
    }
    assert_eq!(model.command(&[2, 0, 0, 0x10], 4), Err(Refusal::Value));
    // The table is of customers' tags, of which all is there.
    let mut tagged = frame(mac(6), Some(5));
    let filter = &model.receiver().filter;
    assert!(!filter.accepts(&tagged[..15]));
    tagged[12..14].copy_from_slice(&[0x88, 0xa8]);
    assert!(filter.accepts(&tagged));
}

#[test]
fn an_answer_is_that_of_its_command() {
    // In C, what is unknown succeeds if what came before did.
    let mut model = device(1, &[18, 23]);
    assert_eq!(ack(&mut model, &[1, 1, 2, 0, 0, 0, 0, 9]), 0);
    assert_eq!(model.mac().bytes(), [2, 0, 0, 0, 0, 9]);
    for unknown in [[0xff, 0], [1, 2], [6, 0], [5, 0], [3, 0]] {
        assert_eq!(ack(&mut model, &unknown), 1);
    }
    assert_eq!(ack(&mut model, &[1]), 1);
    assert_eq!(ack(&mut model, &[]), 1);
    assert_eq!(
        model.command(&[1, 1, 2, 0, 0, 0, 0], 7),
        Err(Refusal::Short)
    );
    assert_eq!(model.command(&[0, 0, 1], 3), Ok(Change::Receiver));
}

#[test]
fn without_a_control_queue_there_are_no_commands() {
    let (mut model, _) = pair(None, 1, mac(6), 1500).unwrap();
    let set = Features::from_bits(bits(&[1, 2, 20, 33]));
    assert_eq!(model.negotiate(set), Ok(()));
    for command in [&[0, 2, 1][..], &[5, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let result = model.command(command, command.len());
        assert_eq!(result, Err(Refusal::NotNegotiated));
    }
    let mut model = device(1, &[1, 2, 20]);
    assert_eq!(ack(&mut model, &[0, 2, 1]), 0);
    assert_eq!(ack(&mut model, &[5, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 0);
    // What is not among the offloads cannot be switched, even if it was accepted.
    for (bits, answer) in [(1u64 << 1, 0), (1 << 2, 1), (1 << 7, 1), (1 << 17, 1)] {
        let command = [&[5, 0], &bits.to_le_bytes()[..]].concat();
        assert_eq!(ack(&mut model, &command), answer);
    }
}

#[test]
fn an_address_that_no_interface_can_have() {
    let mut model = device(1, &[23]);
    for wrong in [[0; 6], [255; 6], [1, 0, 0x5e, 0, 0, 1]] {
        let command = [&[1, 1], &wrong[..]].concat();
        assert_eq!(model.command(&command, 8), Err(Refusal::Value));
    }
    assert_eq!(model.mac().bytes(), mac(6));
}

#[test]
fn tables_that_are_too_long() {
    let list = |n: u8| -> Vec<_> { (0..n).map(|n| [0x02, 1, 2, 3, 4, n]).collect() };
    let groups = |n: u8| -> Vec<_> { (0..n).map(|n| [0x03, 1, 2, 3, 4, n]).collect() };
    let mut model = device(1, &[18]);
    for (unicast, multicast, all_unicast, all_multicast) in [
        (0, 0, false, false),
        (64, 64, false, false),
        (65, 1, true, false),
        (1, 65, false, true),
        (255, 255, true, true),
    ] {
        let command = table(&list(unicast), &groups(multicast));
        // No more needs to be read than there is room for.
        let read = &command[..command.len().min(control::MAX_LEN)];
        assert_eq!(model.command(read, command.len()), Ok(Change::Receiver));
        let filter = &model.receiver().filter;
        for (last, others) in [
            ([0x02, 1, 2, 3, 4, unicast.wrapping_sub(1)], all_unicast),
            ([0x03, 1, 2, 3, 4, multicast.wrapping_sub(1)], all_multicast),
        ] {
            let listed = unicast > 0 || all_unicast;
            assert_eq!(filter.accepts(&frame(last, None)), listed);
            let mut other = last;
            other[1] = 9;
            assert_eq!(filter.accepts(&frame(other, None)), others);
        }
    }
}

#[test]
fn tables_that_lie() {
    let mut model = device(1, &[18]);
    let mut command = table(&[mac(2)], &[mac(3)]);
    assert_eq!(command.len(), 22);
    for count in [2, 3, u32::MAX / 6, u32::MAX] {
        command[2..6].copy_from_slice(&count.to_le_bytes());
        let result = model.command(&command, command.len());
        assert_eq!(result, Err(Refusal::Short), "{count}");
    }
    // Of a command that goes on, not even the second number may have been read.
    command[2..6].copy_from_slice(&2u32.to_le_bytes());
    assert_eq!(model.command(&command[..18], 22), Ok(Change::Receiver));
    for total in [17, 18, 19, 21] {
        assert_eq!(model.command(&command[..18], total), Err(Refusal::Short));
    }
}

#[test]
fn the_configuration_space() {
    let (model, _) = pair(None, 8, mac(6), 9000).unwrap();
    let mut space = [0; ConfigSpace::LEN];
    model.read_config(0, &mut space).unwrap();
    assert_eq!(space[..6], mac(6));
    assert_eq!(space[6..12], [1, 0, 8, 0, 0x28, 0x23]);
    assert_eq!(space[12..], [0; 12]);
    // Parts of it, and what is not there.
    let mut part = [0xaa; 2];
    assert_eq!(model.read_config(10, &mut part), Ok(()));
    assert_eq!(part, [0x28, 0x23]);
    for offset in [23, 24, usize::MAX] {
        assert_eq!(model.read_config(offset, &mut part), Err(OutOfRange));
        assert_eq!(part, [0x28, 0x23]);
    }
    // C has no number of pairs.
    let (model, _) = pair(Some(C_SIMULATOR.bits()), 1, mac(6), 1500).unwrap();
    model.read_config(8, &mut part).unwrap();
    assert_eq!(part, [0, 0]);
}

#[test]
fn what_a_user_can_ask_for() {
    let random = MacAddress::new(mac(6));
    let default = DeviceConfig::default();
    let make = |config| Provision::new(&config, random).map(Model::new);
    let read = |model: Model| {
        let mut space = [0; ConfigSpace::LEN];
        model.read_config(0, &mut space).unwrap();
        (model.offered.features().bits(), space[..12].to_vec())
    };
    let all = bits(SUPPORTED);
    let (features, space) = read(make(default).unwrap());
    assert_eq!(features, all & !(1 << 22));
    assert_eq!(space, [2, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0xdc, 5]);
    let (features, space) = read(
        make(DeviceConfig {
            features: None,
            mac: Some([2, 1, 1, 1, 1, 1]),
            mtu: Some(68),
            max_queue_pairs: Some(16),
        })
        .unwrap(),
    );
    assert_eq!(features, all);
    assert_eq!(space, [2, 1, 1, 1, 1, 1, 1, 0, 16, 0, 68, 0]);

    let wrong = |config| make(config).err().unwrap();
    for pairs in [0, 17] {
        let max_queue_pairs = Some(pairs);
        let config = DeviceConfig {
            max_queue_pairs,
            ..default
        };
        assert_eq!(wrong(config), NotPossible::Pairs);
    }
    for mac in [[0; 6], [255; 6]] {
        let mac = Some(mac);
        assert_eq!(wrong(DeviceConfig { mac, ..default }), NotPossible::Mac);
    }
    let mtu = Some(67);
    assert_eq!(wrong(DeviceConfig { mtu, ..default }), NotPossible::Mtu);
    let features = Some(Features::bit(6));
    let refusal = features::Refusal::Unsupported(Features::bit(6));
    let config = DeviceConfig {
        features,
        ..default
    };
    assert_eq!(wrong(config), NotPossible::Features(refusal));
}

#[test]
fn frames_that_are_too_long() {
    let start = frame(mac(6), None);
    let large = PartialChecksum::new(34, 16, 65536).map(|checksum| {
        Header::Large(Large {
            checksum,
            kind: SegmentKind::TcpV4,
            ecn: false,
            segment_size: 1448.try_into().unwrap(),
            header_len: 0,
        })
    });
    let large = large.unwrap();
    // A tag is not part of what the MTU counts, nor is the Ethernet header.
    let mut model = device(1, &[3]);
    let accepts = |model: &Model, len, header| model.receiver().accepts(&start, len, &header);
    assert!(accepts(&model, 1518, Header::Plain));
    assert!(!accepts(&model, 1519, Header::Plain));
    assert!(!accepts(&model, 1519, Header::Verified));
    assert!(accepts(&model, 65536, large));
    model.set_link(false);
    assert!(!accepts(&model, 60, Header::Plain));
    model.set_link(true);
    assert!(accepts(&model, 60, Header::Plain));
    let other = frame(mac(10), None);
    assert!(!model.receiver().accepts(&other, 60, &Header::Plain));
    // Without the feature, the driver has to see to it.
    assert!(accepts(&device(1, &[]), 9000, Header::Plain));
}

#[test]
fn the_smallest_mtu() {
    assert_eq!(Mtu::new(67), None);
    assert_eq!(Mtu::new(68).map(Mtu::get), Some(68));
    assert_eq!(Mtu::new(u16::MAX).map(Mtu::get), Some(u16::MAX));
    assert_eq!(Mtu::DEFAULT.get(), 1500);
}

#[test]
fn a_legacy_driver_writes_its_address() {
    let (mut model, _) = pair(None, 1, mac(6), 1500).unwrap();
    let new = [2, 4, 6, 8, 10, 12];
    // Byte by byte: nobody sees half an address.
    for (at, byte) in new.iter().enumerate() {
        assert_eq!(model.mac().bytes(), mac(6));
        model.write_config(at, &[*byte]).unwrap();
    }
    assert_eq!(model.mac().bytes(), new);
    // At once, with all that is behind; nothing but the address counts.
    model.write_config(0, &[0x22; 24]).unwrap();
    assert_eq!(model.mac().bytes(), [0x22; 6]);
    let mut rest = [0; 18];
    model.read_config(6, &mut rest).unwrap();
    assert_eq!(rest[..6], [1, 0, 0, 0, 0xdc, 0x05]);
    assert_eq!(model.write_config(1, &[0x22; 24]), Err(OutOfRange));
    assert_eq!(model.write_config(0, &[0xff; 6]), Ok(()));
    assert_eq!(model.mac().bytes(), [0x22; 6]);
    // What began before a reset does not go on after it.
    model.write_config(0, &[0x44; 5]).unwrap();
    model.reset();
    model.write_config(5, &[0x33]).unwrap();
    assert_eq!(model.mac().bytes(), [0x22, 0x22, 0x22, 0x22, 0x22, 0x33]);
    // Other drivers cannot.
    for feature in [32, 23] {
        let mut model = device(1, &[feature]);
        assert_eq!(model.write_config(0, &new), Ok(()));
        assert_eq!(model.mac().bytes(), mac(6));
    }
}

#[test]
fn a_reset_leaves_the_address_and_the_link() {
    let mut model = device(2, &[16, 18, 19, 21, 22, 23]);
    assert_eq!(ack(&mut model, &[1, 1, 2, 0, 0, 0, 0, 9]), 0);
    assert_eq!(ack(&mut model, &[0, 0, 1]), 0);
    assert_eq!(
        model.command(&[4, 0, 2, 0], 4),
        Ok(Change::Pairs(QueuePairs::new(2).unwrap()))
    );
    assert!(model.set_link(false));
    assert!(model.announce());
    let generation = model.generation();
    model.reset();
    assert_ne!(model.generation(), generation);
    assert_eq!(model.mac().bytes(), [2, 0, 0, 0, 0, 9]);
    let receiver = model.receiver();
    assert!(!receiver.link_is_up);
    assert_eq!(receiver.pairs, QueuePairs::ONE);
    assert!(!receiver.filter.accepts(&frame(mac(100), None)));
    let mut status = [0; 2];
    model.read_config(6, &mut status).unwrap();
    assert_eq!(status, [0, 0]);
}

#[test]
fn announcing() {
    let mut model = device(1, &[16, 21]);
    assert!(model.announce());
    // It was asked already.
    assert!(!model.announce());
    let mut status = [0; 2];
    model.read_config(6, &mut status).unwrap();
    assert_eq!(status, [3, 0]);
    assert_eq!(model.command(&[3, 0], 2), Ok(Change::Announced));
    model.read_config(6, &mut status).unwrap();
    assert_eq!(status, [1, 0]);
    // Drivers that do not know how.
    for features in [&[16][..], &[21], &[]] {
        let mut model = device(1, features);
        assert!(!model.announce());
        model.read_config(6, &mut status).unwrap();
        assert_eq!(status, [1, 0]);
    }
}

#[test]
fn sizes_of_headers() {
    for (features, size) in [(&[][..], 10), (&[15], 12), (&[32], 12), (&[15, 32], 12)] {
        let size_found = HeaderSize::new(negotiated(bits(features)).unwrap());
        assert_eq!(size_found.bytes(), size);
    }
    assert_eq!(
        Header::Plain.to_bytes(1),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    );
    assert_eq!(Header::Verified.to_bytes(0x102)[10..], [2, 1]);
    // Who did not accept a flag does not get it.
    let none = ReceiveOffloads::default();
    assert_eq!(Header::Verified.work_for(none), Work::None(Header::Plain));
    let checksum = ReceiveOffloads::new(Features::bit(1));
    assert_eq!(
        Header::Verified.work_for(checksum),
        Work::None(Header::Verified)
    );
}

#[test]
fn a_checksum_is_within_its_frame() {
    assert!(PartialChecksum::new(34, 16, 52).is_some());
    assert!(PartialChecksum::new(34, 16, 51).is_none());
    let last = PartialChecksum::new(u16::MAX, u16::MAX, 0x20000).unwrap();
    assert_eq!((last.start(), last.field()), (0xffff, 0x1fffe));
    assert!(PartialChecksum::new(u16::MAX, u16::MAX, 0x1ffff).is_none());
}

proptest! {
    #![proptest_config(crate::cases())]

    #[test]
    fn no_feature_without_what_it_requires(set: u64, pairs in 1u16..=16) {
        let asked = set & bits(SUPPORTED);
        let fits = is_closed(asked) && (pairs == 1 || asked >> 22 & 1 == 1);
        prop_assert_eq!(offer(Some(asked), pairs).is_ok(), fits);
        let all = Offered::new(None, QueuePairs::MAX).unwrap();
        let accepted = Features::from_bits(asked | 1 << 33);
        prop_assert_eq!(all.negotiate(accepted).is_ok(), is_closed(asked));
    }
}
