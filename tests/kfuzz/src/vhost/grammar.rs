// SPDX-License-Identifier: GPL-2.0
//! Calls with arguments that are valid, at a limit, or anything.

use vdpa_test::vhost::ioctl::*;
use vdpa_test::vhost::{feature, PAGE};

use super::arena::{EVENTFD, EVENTFDS, FULL, LOOSE, OTHER, SEMAPHORE};
use super::tally::{Argument, IOCTLS};
use super::{message, Call, Change, Place, Step};
use crate::random::Random;

/// How many devices there are.
pub const DEVICES: u8 = 4;

/// Features that devices here offer, some of them.
const FEATURES: [u64; 12] = [
    feature::VERSION_1,
    feature::ACCESS_PLATFORM,
    feature::RING_PACKED,
    feature::IN_ORDER,
    feature::INDIRECT_DESC,
    feature::EVENT_IDX,
    feature::NET_MAC,
    feature::NET_MQ,
    feature::NET_CTRL_VQ,
    feature::NET_MRG_RXBUF,
    feature::NET_STATUS,
    feature::NET_CTRL_MAC_ADDR,
];

pub const BASE_FEATURES: u64 = feature::VERSION_1 | feature::ACCESS_PLATFORM;

/// Of queues: that devices have, and that they do not.
pub fn queue(r: &mut Random) -> u32 {
    match r.below(10) {
        0 => *r.pick(&[3, 4, 63, 64, 65, 0xffff, 0x1_0000, u32::MAX]),
        1 => r.number() as u32,
        _ => r.below(3) as u32,
    }
}

fn fd(r: &mut Random) -> i32 {
    match r.below(12) {
        0 | 1 => -1,
        2 => *r.pick(&[-2, i32::MIN, i32::MAX, 499, 1023, 1024]),
        3 => OTHER,
        4 => FULL,
        5 => SEMAPHORE,
        _ => EVENTFD + r.below(usize::from(EVENTFDS)) as i32,
    }
}

pub fn features(r: &mut Random) -> u64 {
    match r.below(6) {
        0 => r.number(),
        // Those of the backend are small numbers.
        1 => (r.below(256) as u64) << 1,
        _ => {
            let some = FEATURES.iter().filter(|_| r.one_in(2));
            BASE_FEATURES | some.fold(0, |all, f| all | f)
        }
    }
}

fn state(r: &mut Random, name: &str) -> [u32; 2] {
    let number = match name {
        _ if r.one_in(6) => r.number() as u32,
        "set_vring_num" => *r.pick(&[256, 128, 64, 2, 1, 0, 3, 512, 0x8000, 0x1_0000]),
        "set_vring_base" => *r.pick(&[0, 1, 255, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x8000_8000]),
        "set_vring_enable" => *r.pick(&[0, 1, 1, 1, 2, u32::MAX]),
        "set_group_asid" => message::asid(r),
        _ => r.below(300) as u32,
    };
    [queue(r), number]
}

/// Where a ring is: in the window or not.
fn ring(r: &mut Random) -> u64 {
    match r.below(8) {
        0 => message::iova(r),
        1 => r.number(),
        _ => message::WINDOW + 0x1000 * r.below(16) as u64,
    }
}

fn bytes<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

fn argument(r: &mut Random, name: &str, kind: Argument) -> Vec<u8> {
    match kind {
        Argument::None => Vec::new(),
        Argument::Status => {
            vec![*r.pick(&[0, 0, 1, 3, 11, 15, 15, 7, 8, 4, 64, 79, 128, 143, 255])]
        }
        Argument::Byte => vec![*r.pick(&[0, 1, 2, 255])],
        Argument::Half => vec![0; 2],
        Argument::Word => vec![0; 4],
        Argument::Fd => fd(r).to_ne_bytes().to_vec(),
        Argument::Features => features(r).to_ne_bytes().to_vec(),
        Argument::Long => r.number().to_ne_bytes().to_vec(),
        Argument::Range => vec![0; 16],
        Argument::State => bytes(state(r, name)),
        Argument::File => bytes([queue(r), fd(r) as u32]),
        Argument::Addresses => {
            let mut data = bytes([queue(r), *r.pick(&[0, 0, 0, 0, 1, 2, u32::MAX])]);
            (0..3).for_each(|_| data.extend(ring(r).to_ne_bytes()));
            let log = *r.pick(&[0, 0, 0, 1, 4, u64::MAX]);
            data.extend(log.to_ne_bytes());
            data
        }
        Argument::Config => config(r),
        Argument::Table => table(r),
    }
}

fn config(r: &mut Random) -> Vec<u8> {
    let offset = match r.below(6) {
        0 => r.number() as u32,
        _ => r.below(64) as u32,
    };
    let len = match r.below(8) {
        0 => r.number() as u32,
        1 => offset.wrapping_neg(),
        2 => *r.pick(&[0, 255, 256, 257, 4096]),
        _ => 1 + r.below(24) as u32,
    };
    let mut data = bytes([offset, len]);
    data.resize(8 + (len as usize).min(300), r.bits() as u8);
    data
}

/// `struct vhost_memory`.
fn table(r: &mut Random) -> Vec<u8> {
    let count = *r.pick(&[0, 1, 1, 2, 64, 65, u32::MAX]);
    let mut data = bytes([count, *r.pick(&[0, 0, 0, 0, 1])]);
    for _ in 0..count.min(64) {
        let (guest, size) = (message::iova(r), message::size(r, 0));
        [guest, size, 0, 0]
            .iter()
            .for_each(|w| data.extend(w.to_ne_bytes()));
    }
    data
}

pub fn place(r: &mut Random) -> Place {
    match r.below(24) {
        0 => Place::Cut,
        1 => Place::Half,
        2 => Place::Fixed,
        3 => Place::Null,
        4 => Place::Kernel,
        _ => Place::Whole,
    }
}

/// An ioctl with given bytes.
pub fn ioctl(number: u64, data: &[u8]) -> Call {
    Call::Ioctl {
        number: number as u32,
        place: Place::Whole,
        data: data.to_vec(),
    }
}

/// Any ioctl.
pub fn any_ioctl(r: &mut Random) -> Call {
    let (name, number, kind) = *r.pick(&IOCTLS);
    let mut number = number as u32;
    let data = argument(r, name, kind);
    match r.below(40) {
        0 => number = (number & !0xff) | r.below(256) as u32,
        1 => number ^= 1 << r.below(32),
        2 => number = r.bits() as u32,
        _ => {}
    }
    Call::Ioctl {
        number,
        place: place(r),
        data,
    }
}

/// Any call.
pub fn call(r: &mut Random) -> Call {
    match r.weighted(&[20, 16, 3, 2, 2]) {
        0 => any_ioctl(r),
        1 => message::some(r),
        2 => Call::Read {
            place: place(r),
            len: *r.pick(&[0, 1, 7, 8, 9, 15, 16, 64, 4096]),
        },
        3 => Call::Poll,
        _ => Call::Map {
            page: *r.pick(&[0, 1, 2, 3, 64, 65535, 65536, 1 << 40, (1 << 51) - 1]),
            len: *r.pick(&[0, 1, PAGE as u32, 2 * PAGE as u32, 1 << 21]),
            protection: *r.pick(&[2, 2, 2, 0, 1, 3, 7]),
            flags: *r.pick(&[1, 1, 1, 2, 3]),
        },
    }
}

pub fn device(r: &mut Random) -> u8 {
    r.below(usize::from(DEVICES)) as u8
}

fn change(r: &mut Random) -> Step {
    let changes = [
        Change::Unmap,
        Change::Renew,
        Change::Renew,
        Change::Protect,
        Change::Permit,
        Change::Discard,
    ];
    Step::Memory {
        change: *r.pick(&changes),
        page: r.below(LOOSE.1 as usize) as u8,
        pages: 1 + r.below(LOOSE.1 as usize) as u8,
    }
}

/// What rings may hold: descriptors and indexes, or anything.
fn poke(r: &mut Random) -> Step {
    let mut data = Vec::new();
    for _ in 0..1 + r.below(8) {
        match r.below(4) {
            0 => data.extend(r.bits().to_ne_bytes()),
            1 => data.extend(bytes([r.number() as u32])),
            _ => {
                // A descriptor: address, length, flags, next one.
                let at = message::WINDOW + 0x8_0000 + 0x800 * r.below(64) as u64;
                data.extend(at.to_ne_bytes());
                data.extend(bytes([*r.pick(&[64, 1500, 0x600, 0, u32::MAX])]));
                let flags = *r.pick(&[0u16, 2, 1, 3, 4, 0x80, 0x82, 0x8080]);
                data.extend(flags.to_ne_bytes());
                data.extend((r.below(300) as u16).to_ne_bytes());
            }
        }
    }
    let at = match r.below(4) {
        0 => r.below(1 << 20) as u32,
        // The beginning of a ring: descriptors, or indexes.
        _ => 0x1000 * r.below(16) as u32 + 16 * r.below(3) as u32,
    };
    Step::Poke { at, data }
}

/// Any step, about a device.
pub fn step(r: &mut Random, device: u8) -> Step {
    match r.weighted(&[40, 2, 3, 2, 3, 3, 4, 2]) {
        0 => Step::Call(device, call(r)),
        1 => Step::Open(device),
        2 => Step::Close(device),
        3 => Step::Child {
            device,
            own: r.one_in(2),
            calls: (0..1 + r.below(6)).map(|_| call(r)).collect(),
        },
        4 => change(r),
        5 => poke(r),
        6 => Step::Signal(r.below(usize::from(EVENTFDS)) as u8),
        _ => Step::Exchange(r.below(usize::from(EVENTFDS)) as u8),
    }
}

/// The status, by its number.
pub fn set_status(status: u8) -> Call {
    ioctl(SET_STATUS.number(), &[status])
}
