// SPDX-License-Identifier: GPL-2.0

//! What drivers say with a kick when `VIRTIO_F_NOTIFICATION_DATA` is negotiated: how far they are
//! (virtio 1.3, section 2.9).
//!
//! An eventfd has no room for that. But who kicks has written it to the ring before, and the pages of
//! the ring are pinned, so it can be read there. (C kicks without data, which some devices do not
//! notice and others misunderstand.) Devices that go by their owner's addresses have no such pages, and
//! are kicked without data: they can look into the ring themselves.

use crate::{
    node::Shared,
    queue::{
        Queue,
        WRAP, //
    },
    session::Session, //
};
use kernel::device::Bound;
use vdpa::{
    Asid,
    Device,
    NotificationData,
    QueueAddresses,
    QueueIndex, //
};
use vdpa_bindings as bindings;

/// Where the index of a split queue's available ring is.
const AVAIL_INDEX: u64 = 2;
/// The size of a descriptor of a packed queue, and where its flags are.
const DESCRIPTOR: u64 = 16;
const FLAGS: u64 = 14;
/// The driver's wrap counter, when it made a descriptor available.
const AVAIL: u16 = 1 << bindings::VRING_PACKED_DESC_F_AVAIL;

/// How many descriptors are looked at in one go: others wait for what is locked.
const AT_ONCE: u16 = 256;

/// Where the driver of a packed queue is, and whether that is all: its next offset, and its wrap
/// counter in the highest bit. It was at `from`, and has made all descriptors available since that
/// have its wrap counter.
fn packed_position(from: u16, size: u16, mut flags: impl FnMut(u16) -> Option<u16>) -> (u16, bool) {
    let (mut offset, mut wrap) = (from & !WRAP, from & WRAP);
    for _ in 0..size.min(AT_ONCE) {
        let is_available = |flags: u16| (flags & AVAIL != 0) == (wrap != 0);
        if !flags(offset).is_some_and(is_available) {
            return (offset | wrap, true);
        }
        offset = offset.wrapping_add(1);
        if offset >= size {
            offset = 0;
            wrap ^= WRAP;
        }
    }
    (offset | wrap, size <= AT_ONCE)
}

impl Session {
    /// The address space of a queue's ring.
    fn space_of(&self, device: &Device<Bound>, queue: QueueIndex) -> Asid {
        let group = device
            .queue_descriptor_group(queue)
            .or_else(|| device.queue_group(queue));
        let chosen = self.spaces.iter().find(|(of, _)| Some(*of) == group);
        chosen.map_or(Asid::new(0), |(_, asid)| *asid)
    }

    /// How far the driver of a queue is, as far as that can be found out, else where it was; and
    /// whether there is no more to find out.
    fn position(&mut self, device: &Device<Bound>, index: QueueIndex) -> (u16, bool) {
        let (packed, limit) = (self.is_packed(), self.size_limit);
        let asid = self.space_of(device, index);
        let memory = &self.memory;
        let Some(queue) = self.queues.get_mut(index.to_usize()) else {
            return (0, true);
        };
        let from = queue.position.unwrap_or(if packed { WRAP } else { 0 });
        let QueueAddresses {
            descriptors,
            driver,
            ..
        } = queue.addresses.unwrap_or_default();
        let word = |base: u64, offset| memory.read_word(asid, base.checked_add(offset)?);
        let (position, is_all) = if packed {
            packed_position(from, queue.size.unwrap_or(limit), |offset| {
                word(descriptors, u64::from(offset) * DESCRIPTOR + FLAGS)
            })
        } else {
            (word(driver, AVAIL_INDEX).unwrap_or(from), true)
        };
        queue.position = Some(position);
        (position, is_all)
    }
}

impl Shared {
    /// Kicks a queue and tells the device how far its driver is. May sleep.
    pub(crate) fn kick_with_data(&self, queue: QueueIndex) {
        let Some(device) = self.loan.get() else {
            return;
        };
        let mut session = self.session.lock();
        let Some(session) = (*session).as_mut() else {
            return;
        };
        // The device may have been reset since, or even closed.
        let is_kicked = |queue: &Queue| queue.kick.is_some();
        if !self.hook.wants_kick_data()
            || !session.queues.get(queue.to_usize()).is_some_and(is_kicked)
        {
            return;
        }
        let (position, is_all) = session.position(&device, queue);
        // Only for devices that take it.
        let _ = device.kick_with_data(NotificationData::new(queue, position));
        if !is_all {
            self.hook.kick_with_data(queue);
        }
    }
}
