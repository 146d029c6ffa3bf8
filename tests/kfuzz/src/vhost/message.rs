// SPDX-License-Identifier: GPL-2.0
//! Messages about memory, most of which make sense together: they are about a few
//! addresses, so that they meet.

use vdpa_test::vhost::PAGE;

use super::arena::{self, Part};
use super::{Call, Place};
use crate::random::Random;

/// The size of `struct vhost_msg` and `struct vhost_msg_v2`.
pub const SIZE: usize = 72;

/// Where devices find the shared part of the memory, if it is mapped as a VMM would.
pub const WINDOW: u64 = 0x10_0000;

pub const UPDATE: u8 = 2;
pub const INVALIDATE: u8 = 3;
pub const BATCH_BEGIN: u8 = 5;
pub const BATCH_END: u8 = 6;

/// The fields of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    pub version: u32,
    pub asid: u32,
    pub iova: u64,
    pub size: u64,
    pub uaddr: u64,
    pub perm: u8,
    pub kind: u8,
}

impl Fields {
    pub fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&self.version.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.asid.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.iova.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.size.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.uaddr.to_ne_bytes());
        bytes[32] = self.perm;
        bytes[33] = self.kind;
        bytes
    }

    /// Maps a part of the memory.
    pub fn map((first, pages): Part, iova: u64) -> Self {
        Fields {
            version: 2,
            asid: 0,
            iova,
            size: pages * PAGE as u64,
            uaddr: arena::page(first),
            perm: 3,
            kind: UPDATE,
        }
    }

    pub fn unmap(iova: u64, size: u64) -> Self {
        Fields {
            iova,
            size,
            uaddr: 0,
            perm: 0,
            kind: INVALIDATE,
            ..Self::map((0, 0), 0)
        }
    }

    pub fn batch(kind: u8) -> Self {
        Fields {
            kind,
            ..Self::unmap(0, 0)
        }
    }
}

/// Several in one write.
pub fn write(messages: &[Fields]) -> Call {
    let data = messages.iter().flat_map(|m| m.to_bytes()).collect();
    let (place, piece) = (Place::Whole, 0);
    Call::Write { place, piece, data }
}

/// A little more or less, now and then.
fn nudge(r: &mut Random, n: u64) -> u64 {
    match r.below(12) {
        0 => n.wrapping_add(1),
        1 => n.wrapping_sub(1),
        2 => n.wrapping_add(r.below(PAGE) as u64),
        _ => n,
    }
}

/// An address for the device.
pub fn iova(r: &mut Random) -> u64 {
    let page = PAGE as u64;
    let iova = match r.below(12) {
        0 => 0,
        1 => 0u64.wrapping_sub(page * (1 + r.below(4) as u64)),
        2 => r.number(),
        3 => r.number() & !(page - 1),
        4 => 1 << (12 + r.below(52)),
        5 => WINDOW,
        // The device with a range ends there.
        6 => (1 << 40) - page * r.below(3) as u64,
        7 => 0x1_0000u64
            .wrapping_sub(page)
            .wrapping_add(page * r.below(3) as u64),
        _ => WINDOW + page * r.below(64) as u64,
    };
    nudge(r, iova)
}

/// A size of what begins at an address.
pub fn size(r: &mut Random, iova: u64) -> u64 {
    let page = PAGE as u64;
    let size = match r.below(14) {
        0 => 0,
        1 => 1,
        2 => r.number(),
        // Up to the end of all addresses.
        3 => 0u64.wrapping_sub(iova),
        4 => page * (1 << r.below(9)),
        5 => page * 512,
        6 => r.below(2 * PAGE) as u64,
        7..=9 => page,
        _ => page * (1 + r.below(16) as u64),
    };
    nudge(r, size)
}

/// An address of this process.
fn uaddr(r: &mut Random, iova: u64) -> u64 {
    match r.below(14) {
        0 => r.number(),
        1 => 0,
        // Above what a process can have.
        2 => *r.pick(&[
            0x7fff_ffff_f000,
            0x8000_0000_0000,
            0xffff_8000_0000_0000,
            !0xfff,
        ]),
        // A hole.
        3 => arena::page(512 + r.below(16) as u64),
        _ => {
            let part = if r.one_in(2) {
                arena::SHARED
            } else {
                *r.pick(&arena::PARTS)
            };
            let at = arena::page(part.0 + r.below(part.1 as usize) as u64);
            // Mostly at the same place of its page, as devices with physical addresses
            // need it.
            let within = if r.one_in(8) { 0 } else { iova % PAGE as u64 };
            let at = at + within;
            nudge_seldom(r, at)
        }
    }
}

fn nudge_seldom(r: &mut Random, n: u64) -> u64 {
    if r.one_in(8) {
        nudge(r, n)
    } else {
        n
    }
}

/// The number of an address space, most often one that there is.
pub fn asid(r: &mut Random) -> u32 {
    *r.pick(&[0, 0, 0, 0, 0, 1, 1, 2, 64, u32::MAX])
}

/// A message.
pub fn message(r: &mut Random) -> Fields {
    let kind = match r.below(20) {
        0..=8 => UPDATE,
        9..=14 => INVALIDATE,
        15 | 16 => BATCH_BEGIN,
        17 | 18 => BATCH_END,
        _ => *r.pick(&[0, 1, 4, 7, 0xff]),
    };
    let iova = iova(r);
    Fields {
        version: *r.pick(&[2, 2, 2, 2, 2, 2, 1, 1, 3, 0]),
        asid: asid(r),
        iova,
        size: size(r, iova),
        uaddr: uaddr(r, iova),
        perm: *r.pick(&[3, 3, 3, 3, 1, 1, 2, 0, 4, 0xff]),
        kind,
    }
}

/// Messages in one write, now and then not quite whole.
pub fn some(r: &mut Random) -> Call {
    let count = *r.pick(&[1, 1, 1, 1, 2, 3, 4, 8]);
    let messages: Vec<_> = (0..count).map(|_| message(r)).collect();
    let mut call = write(&messages);
    if let Call::Write { place, piece, data } = &mut call {
        match r.below(16) {
            0 => data.truncate(r.below(data.len() + 1)),
            1 => data.truncate(data.len() - SIZE + 40),
            2 => data.resize(data.len() + r.below(SIZE), 0),
            3 => *piece = *r.pick(&[1, 8, 39, 40, 41, 71, 73, 4096]),
            4 => *place = super::grammar::place(r),
            _ => {}
        }
    }
    call
}

/// Maps pages one by one, and takes ranges out of them again: regions are split and
/// joined, by batch or not.
pub fn patchwork(r: &mut Random) -> Vec<Call> {
    let page = PAGE as u64;
    let batch = r.one_in(2);
    let part = *r.pick(&[arena::SHARED, arena::PRIVATE, arena::HUGE, arena::LOOSE]);
    let mut messages = Vec::new();
    if batch {
        messages.push(Fields::batch(BATCH_BEGIN));
    }
    let large = r.one_in(2);
    if large {
        messages.push(Fields::map((part.0, 64), WINDOW));
    }
    for _ in 0..2 + r.below(10) {
        let first = r.below(48) as u64;
        let pages = 1 + r.below(16) as u64;
        let iova = WINDOW + first * page;
        messages.push(if large || r.one_in(3) {
            let iova = nudge_seldom(r, iova);
            let size = nudge_seldom(r, pages * page);
            Fields::unmap(iova, size)
        } else {
            Fields::map((part.0 + first, pages), iova)
        });
    }
    if batch {
        messages.push(Fields::batch(BATCH_END));
    }
    let version = *r.pick(&[2, 2, 2, 1]);
    let asid = *r.pick(&[0, 0, 0, 1]);
    messages.iter_mut().for_each(|m| {
        m.version = version;
        m.asid = asid;
    });
    let at_once = *r.pick(&[1, 1, 4, 64]);
    messages.chunks(at_once).map(write).collect()
}
