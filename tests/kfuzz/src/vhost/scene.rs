// SPDX-License-Identifier: GPL-2.0
//! What well-meaning programs do: the ways to where devices work, from which the
//! fuzzer strays.

use vdpa_test::vhost::ioctl::*;
use vdpa_test::vhost::{backend, feature};

use super::grammar::{self, ioctl, set_status, BASE_FEATURES};
use super::message::{self, Fields, WINDOW};
use super::tally::{self, Argument};
use super::{arena, Call, Place, Step};
use crate::random::Random;

fn state(number: u64, index: u32, value: u32) -> Call {
    let data = [index.to_ne_bytes(), value.to_ne_bytes()].concat();
    ioctl(number, &data)
}

fn features(number: u64, features: u64) -> Call {
    ioctl(number, &features.to_ne_bytes())
}

/// Where the rings of a queue are in the shared part of the memory.
fn ring_at(queue: u32) -> u32 {
    queue * 0x4000
}

/// Rings of 16 descriptors, with buffers that the device writes (even queues) or
/// reads.
fn rings(queue: u32, packed: bool) -> Vec<Step> {
    let writable = queue % 2 == 0;
    let (mut descriptors, mut available) = (Vec::new(), vec![0u8, 0, 16, 0]);
    for n in 0..16u16 {
        let at = WINDOW + 0x8_0000 + u64::from(queue) * 0x1_0000 + u64::from(n) * 0x800;
        let flags: u16 = if writable { 2 } else { 0 };
        descriptors.extend(at.to_ne_bytes());
        descriptors.extend(if writable { 2048u32 } else { 200 }.to_ne_bytes());
        if packed {
            // The number of the buffer, and that it is available.
            descriptors.extend(n.to_ne_bytes());
            descriptors.extend((flags | 0x80).to_ne_bytes());
        } else {
            descriptors.extend(flags.to_ne_bytes());
            descriptors.extend(0u16.to_ne_bytes());
        }
        available.extend(n.to_ne_bytes());
    }
    let at = ring_at(queue);
    let mut steps = vec![Step::Poke {
        at,
        data: descriptors,
    }];
    if !packed {
        let at = at + 0x1000;
        steps.push(Step::Poke {
            at,
            data: available,
        });
    }
    steps
}

fn queue(index: u32) -> Vec<Call> {
    let rings = WINDOW + u64::from(ring_at(index));
    let mut addresses = [index.to_ne_bytes(), [0; 4]].concat();
    for at in [rings, rings + 0x2000, rings + 0x1000, 0] {
        addresses.extend(at.to_ne_bytes());
    }
    let eventfd = arena::EVENTFD as u32 + 2 * index;
    vec![
        state(SET_VRING_NUM.number(), index, 16),
        ioctl(SET_VRING_ADDR.number(), &addresses),
        state(SET_VRING_BASE.number(), index, 0),
        state(SET_VRING_KICK.number(), index, eventfd),
        state(SET_VRING_CALL.number(), index, eventfd + 1),
        state(SET_VRING_ENABLE.number(), index, 1),
    ]
}

/// The way to a device that runs.
pub fn running(r: &mut Random, device: u8) -> Vec<Step> {
    let packed = r.one_in(3);
    let mut accepted = BASE_FEATURES;
    if packed {
        accepted |= feature::RING_PACKED;
    }
    if r.one_in(2) {
        accepted |= grammar::features(r);
    }
    let mut calls = owned();
    if r.one_in(2) {
        calls.insert(0, set_status(0));
    }
    calls.extend([
        set_status(3),
        features(SET_FEATURES.number(), accepted),
        set_status(11),
        message::write(&[Fields::map(arena::SHARED, WINDOW)]),
    ]);
    let queues = if r.one_in(2) { 0..2 } else { 0..3 };
    queues.clone().for_each(|q| calls.extend(queue(q)));
    calls.push(set_status(15));
    let mut steps = vec![Step::Open(device)];
    queues.for_each(|q| steps.extend(rings(q, packed)));
    steps.extend(calls.into_iter().map(|c| Step::Call(device, c)));
    (0..3).for_each(|n| steps.push(Step::Signal(2 * n)));
    let (place, len) = (Place::Whole, 64);
    steps.push(Step::Call(device, Call::Read { place, len }));
    if r.one_in(3) {
        steps.push(Step::Call(device, ioctl(SUSPEND.number(), &[])));
        steps.push(Step::Call(device, state(GET_VRING_BASE.number(), 0, 0)));
        steps.push(Step::Call(device, ioctl(RESUME.number(), &[])));
    }
    steps
}

/// Every ioctl that a device may have, as it is meant.
pub fn tour(device: u8) -> Vec<Step> {
    let mut steps = vec![Step::Close(device), Step::Open(device)];
    let fork = ioctl(SET_FORK_FROM_OWNER.number(), &[1]);
    let mut calls = [&[fork][..], &owned()].concat();
    calls.extend([
        set_status(3),
        features(SET_FEATURES.number(), BASE_FEATURES),
        set_status(11),
        ioctl(SET_MEM_TABLE.number(), &[0; 8]),
        state(SET_GROUP_ASID.number(), 0, 0),
        state(SET_VRING_BUSYLOOP_TIMEOUT.number(), 0, 5),
        state(SET_VRING_ERR.number(), 0, arena::EVENTFD as u32 + 7),
        ioctl(
            SET_CONFIG_CALL.number(),
            &(arena::EVENTFD + 6).to_ne_bytes(),
        ),
        ioctl(SET_CONFIG.number(), &[0, 0, 0, 0, 1, 0, 0, 0, 2]),
    ]);
    calls.extend(queue(0));
    calls.push(set_status(15));
    calls.push(ioctl(SUSPEND.number(), &[]));
    for (_, number, argument) in tally::IOCTLS {
        const READS: u64 = 2;
        if (number >> 30) & READS != 0 || number == GET_VRING_BUSYLOOP_TIMEOUT.number() {
            let data = match argument {
                // Eight bytes from the first one on.
                Argument::Config => [0u32, 8].iter().flat_map(|w| w.to_ne_bytes()).collect(),
                _ => vec![0; 16],
            };
            calls.push(ioctl(number, &data));
        }
    }
    calls.push(ioctl(RESUME.number(), &[]));
    steps.extend(calls.into_iter().map(|c| Step::Call(device, c)));
    steps
}

/// What comes before messages.
fn owned() -> Vec<Call> {
    vec![
        ioctl(SET_OWNER.number(), &[]),
        features(SET_BACKEND_FEATURES.number(), backend::USUAL),
    ]
}

/// Memory that is mapped, unmapped, and changes meanwhile.
pub fn messages(r: &mut Random, device: u8) -> Vec<Step> {
    let mut steps = vec![Step::Open(device)];
    let mut calls = owned();
    if r.one_in(6) {
        // Only before there is an owner.
        steps.insert(0, Step::Close(device));
        calls.insert(0, ioctl(SET_FORK_FROM_OWNER.number(), &[r.below(2) as u8]));
    }
    if r.one_in(8) {
        let all = backend::USUAL | backend::IOTLB_PERSIST;
        calls.push(features(SET_BACKEND_FEATURES.number(), all));
    }
    if r.one_in(2) {
        calls.extend(message::patchwork(r));
    }
    (0..r.below(8)).for_each(|_| calls.push(message::some(r)));
    for call in calls {
        steps.push(Step::Call(device, call));
        if r.one_in(6) {
            steps.push(grammar::step(r, device));
        }
    }
    if r.one_in(4) {
        steps.push(Step::Call(device, set_status(0)));
    }
    if r.one_in(8) {
        steps.push(Step::Close(device));
    }
    steps
}

/// A child that maps memory and leaves all of it behind.
pub fn orphan(r: &mut Random, device: u8) -> Vec<Step> {
    let own = r.one_in(2);
    let mut calls = owned();
    calls.extend(message::patchwork(r));
    calls.truncate(8);
    let mut steps = Vec::new();
    if own {
        steps.push(Step::Close(device));
    } else {
        steps.push(Step::Open(device));
    }
    steps.push(Step::Child { device, own, calls });
    steps.push(Step::Open(device));
    steps
}
