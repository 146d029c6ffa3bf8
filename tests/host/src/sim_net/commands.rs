// SPDX-License-Identifier: GPL-2.0

//! A device and its reference live through the same events, and have to agree.

use super::{
    config::{ConfigSpace, Mtu},
    control::{self, Ack},
    features::{Layout, Offered, QueuePairs, Role},
    filter::LOOKS_AT,
    header::ReceiveOffloads,
    mac::MacAddress,
    model::{Model, Provision},
    reference::{Mac, Reference},
};
use vdpa::Features;

/// What can happen to a device.
#[derive(Clone, Debug)]
pub enum Event {
    Negotiate(u64),
    Reset,
    Link(bool),
    Announce,
    SetMac(Mac),
    WriteConfig(usize, Vec<u8>),
    Command(Vec<u8>),
    Frame(Vec<u8>),
}

/// One of a few addresses, so that those in tables are also those in frames. Most differ in their
/// last byte only, behind zeros.
pub fn mac(number: u8) -> Mac {
    match number {
        255 => [255; 6],
        0 => [0; 6],
        _ => [number & 3, 0, number >> 6, 0, 0, number],
    }
}

/// The command with two lists of addresses.
pub fn table(unicast: &[Mac], multicast: &[Mac]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    for list in [unicast, multicast] {
        bytes.extend((list.len() as u32).to_le_bytes());
        bytes.extend(list.concat());
    }
    bytes
}

/// How many events one input may have: enough for all of them to meet.
const MAX_EVENTS: usize = 48;

/// The events that bytes stand for: whatever they are, there are some.
pub fn events(bytes: &[u8]) -> Vec<Event> {
    let mut bytes = bytes.iter().copied();
    let mut events = vec![];
    while let (Some(code), true) = (bytes.next(), events.len() < MAX_EVENTS) {
        let mut number = || bytes.next().unwrap_or(0);
        events.push(match code % 12 {
            0 => Event::Negotiate(u64::from_le_bytes([(); 8].map(|()| number())) | 1 << 33),
            1 => Event::Reset,
            2 => Event::Link(number() & 1 == 1),
            3 => Event::Announce,
            4 => Event::SetMac(mac(number())),
            5 => {
                let (offset, len) = (number() % 32, number() % 32);
                Event::WriteConfig(offset.into(), bytes.by_ref().take(len.into()).collect())
            }
            6 | 7 => {
                let len = number();
                Event::Command(bytes.by_ref().take(len.into()).collect())
            }
            8 => {
                let len = number() % 32;
                Event::Frame(bytes.by_ref().take(len.into()).collect())
            }
            9 | 10 => {
                let (destination, tag, id) = (number(), number(), number());
                Event::Frame(frame(mac(destination), (tag < 128).then_some(id.into())))
            }
            _ => {
                let from = number();
                let mut macs =
                    || -> Vec<_> { (0..number()).map(|n| mac(from.wrapping_add(n))).collect() };
                Event::Command(table(&macs(), &macs()))
            }
        });
    }
    events
}

/// A frame for somebody.
pub fn frame(destination: Mac, vlan: Option<u16>) -> Vec<u8> {
    let mut frame = destination.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1]);
    if let Some(id) = vlan {
        frame.extend([0x81, 0]);
        frame.extend(id.to_be_bytes());
    }
    frame.extend([8, 0, 1, 2, 3, 4]);
    frame
}

/// A device that offers these features, or all that there are, and the reference of it.
pub(super) fn pair(
    features: Option<u64>,
    pairs: u16,
    mac: Mac,
    mtu: u16,
) -> Option<(Model, Reference)> {
    let pairs = QueuePairs::new(pairs)?;
    let offered = Offered::new(features.map(Features::from_bits), pairs).ok()?;
    let model = Model::new(Provision {
        offered,
        mac: MacAddress::new(mac),
        mtu: Mtu::new(mtu)?,
    });
    let reference = Reference::new(offered.features().bits(), pairs.get(), mac, mtu);
    Some((model, reference))
}

/// Both live through the events.
pub fn check_events(features: Option<u64>, pairs: u16, script: &[Event]) {
    let Some((mut model, mut reference)) = pair(features, pairs, mac(6), 1500) else {
        return;
    };
    for event in script {
        let (before, generation) = (reference.config(), model.generation());
        happen(&mut model, &mut reference, event);
        compare(&model, &reference);
        let differs = before != reference.config() || matches!(event, Event::Reset);
        assert_eq!(model.generation() != generation, differs, "{event:?}");
    }
    let id = script.len() as u16 % 8;
    for destination in [reference.mac, [255; 6], mac(1), mac(7), mac(8), mac(100)] {
        compare_frame(&model, &reference, &frame(destination, None));
        compare_frame(&model, &reference, &frame(destination, Some(id)));
    }
}

fn happen(model: &mut Model, reference: &mut Reference, event: &Event) {
    match event {
        Event::Negotiate(set) => {
            let result = model.negotiate(Features::from_bits(*set));
            assert_eq!(result.is_ok(), reference.negotiate(*set), "{result:?}");
        }
        Event::Reset => {
            model.reset();
            reference.reset();
        }
        Event::Link(up) => {
            let tells = reference.link != *up && reference.has(16);
            reference.link = *up;
            assert_eq!(model.set_link(*up), tells);
        }
        Event::Announce => {
            let can = reference.has(21) && reference.has(16);
            let tells = can && !reference.announce;
            reference.announce |= can;
            assert_eq!(model.announce(), tells);
        }
        Event::SetMac(mac) => {
            assert_eq!(model.set_mac(MacAddress::new(*mac)), reference.mac != *mac);
            reference.mac = *mac;
        }
        Event::WriteConfig(offset, data) => {
            if offset + data.len() <= 24 {
                reference.write_config(*offset, data);
                assert_eq!(model.write_config(*offset, data), Ok(()));
            } else {
                let _ = model.write_config(*offset, data);
            }
        }
        Event::Command(bytes) => {
            let read = &bytes[..bytes.len().min(control::MAX_LEN)];
            let result = model.command(read, bytes.len());
            let expected = if reference.command(bytes, result.is_ok()) {
                0
            } else {
                1
            };
            assert_eq!(Ack::from(&result).get(), expected, "{result:?}");
        }
        Event::Frame(frame) => compare_frame(model, reference, frame),
    }
}

fn compare_frame(model: &Model, reference: &Reference, frame: &[u8]) {
    let accepts = model.receiver().filter.accepts(frame);
    if let Some(expected) = reference.accepts(frame) {
        assert_eq!(accepts, expected, "{frame:02x?} {reference:?}");
    }
    let start = &frame[..frame.len().min(LOOKS_AT)];
    assert_eq!(model.receiver().filter.accepts(start), accepts);
}

fn compare(model: &Model, reference: &Reference) {
    let mut space = [0xa5; ConfigSpace::LEN];
    assert_eq!(model.read_config(0, &mut space), Ok(()));
    assert_eq!(space, reference.config());

    let receiver = model.receiver();
    assert_eq!(model.mac().bytes(), reference.mac);
    assert_eq!(model.negotiated().features().bits(), reference.features);
    assert_eq!(receiver.pairs.get(), reference.pairs);
    let offloads = ReceiveOffloads::new(Features::from_bits(reference.offloads));
    assert_eq!(receiver.offloads, offloads);
    assert_eq!(receiver.link_is_up, reference.link);
    let header = if reference.has(32) || reference.has(15) {
        12
    } else {
        10
    };
    assert_eq!(receiver.header.bytes(), header);
    let longest = reference.has(3).then_some(usize::from(reference.mtu) + 18);
    assert_eq!(receiver.max_frame_len, longest);

    let pairs = if reference.has(22) {
        reference.max_pairs
    } else {
        1
    };
    let layout = Layout::of(model.negotiated().features(), model.offered.pairs());
    for index in [0, 1, 2, 3, 2 * pairs - 1, 2 * pairs, 2 * pairs + 1] {
        let role = match index {
            _ if index < 2 * pairs && index % 2 == 0 => Some(Role::Receive { pair: index / 2 }),
            _ if index < 2 * pairs => Some(Role::Transmit { pair: index / 2 }),
            _ if index == 2 * pairs && reference.has(17) => Some(Role::Control),
            _ => None,
        };
        assert_eq!(layout.role(index), role);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_net::reference::{bits, SUPPORTED};
    use proptest::{collection::vec, prelude::*};

    /// Sets of features, mostly such as are accepted.
    fn features() -> impl Strategy<Value = u64> {
        let all = bits(SUPPORTED);
        prop_oneof![
            Just(all),
            any::<u64>(),
            any::<u64>().prop_map(move |set| all & set | bits(&[0, 1, 7, 8, 11, 12, 17, 33])),
        ]
    }

    fn macs() -> impl Strategy<Value = Vec<Mac>> {
        prop_oneof![
            vec(any::<u8>().prop_map(mac), 0..10),
            vec(any::<u8>().prop_map(mac), 60..70),
            vec(any::<Mac>(), 120..140),
        ]
    }

    fn command() -> impl Strategy<Value = Vec<u8>> {
        let bytes = |class: u8, command: u8, data: &[u8]| {
            let mut bytes = vec![class, command];
            bytes.extend(data);
            bytes
        };
        prop_oneof![
            3 => (0u8..8, 0u8..3).prop_map(move |(mode, on)| bytes(0, mode, &[on])),
            3 => (macs(), macs()).prop_map(|(unicast, multicast)| table(&unicast, &multicast)),
            1 => any::<u8>().prop_map(move |n| bytes(1, 1, &mac(n))),
            2 => (0u8..3, 0u16..16).prop_map(move |(set, id)| bytes(2, set, &id.to_le_bytes())),
            1 => (0u8..2).prop_map(move |command| bytes(3, command, &[])),
            1 => (0u8..2, 0u16..20).prop_map(move |(c, n)| bytes(4, c, &n.to_le_bytes())),
            1 => (0u8..2, any::<u64>(), 0u32..8).prop_map(move |(c, set, other)| {
                let set = set & bits(&[1, 7, 8, 9]) | u64::from(other == 0);
                bytes(5, c, &set.to_le_bytes())
            }),
            1 => (0u8..8, 0u8..8, vec(any::<u8>(), 0..12))
                .prop_map(move |(class, command, data)| bytes(class, command, &data)),
        ]
    }

    /// A command of which some bytes are missing, or too many, now and then.
    fn cut_command() -> impl Strategy<Value = Vec<u8>> {
        (command(), 0usize..30).prop_map(|(mut bytes, cut)| {
            match cut {
                0..=9 => bytes.truncate(bytes.len().saturating_sub(cut)),
                10 => bytes.push(0),
                _ => (),
            }
            bytes
        })
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            1 => features().prop_map(Event::Negotiate),
            1 => Just(Event::Reset),
            1 => any::<bool>().prop_map(Event::Link),
            1 => Just(Event::Announce),
            1 => any::<u8>().prop_map(|n| Event::SetMac(mac(n))),
            2 => (0usize..26, vec(any::<u8>(), 0..8))
                .prop_map(|(offset, data)| Event::WriteConfig(offset, data)),
            12 => cut_command().prop_map(Event::Command),
            12 => (any::<u8>(), proptest::option::of(0u16..16))
                .prop_map(|(to, vlan)| Event::Frame(frame(mac(to), vlan))),
            1 => vec(any::<u8>(), 0..20).prop_map(Event::Frame),
        ]
    }

    proptest! {
        #![proptest_config(crate::cases())]

        #[test]
        fn any_events(
            offered in proptest::option::of(features()),
            pairs in 0u16..20,
            accepted in features(),
            script in vec(event(), 0..40),
        ) {
            let mut all = vec![Event::Negotiate(accepted)];
            all.extend(script);
            check_events(offered, pairs, &all);
        }

        #[test]
        fn any_bytes(pairs in 1u16..4, bytes in vec(any::<u8>(), 0..200)) {
            check_events(None, pairs, &events(&bytes));
        }
    }
}
