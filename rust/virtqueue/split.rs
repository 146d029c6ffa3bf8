// SPDX-License-Identifier: GPL-2.0

//! Split virtqueues (virtio 1.3, section 2.7).

use crate::{
    chain::{
        Chain,
        Collector,
        Segment,
        Tail,
        DESCRIPTOR_SIZE,
        INDIRECT,
        NEXT, //
    },
    error::Error,
    indirect,
    memory::{
        Access,
        Area,
        Fields,
        GuestMemory, //
    },
    queue::{
        resolve,
        Config,
        Position,
        Run,
        State, //
    },
};
use core::mem;

/// In the available ring: the driver wants no interrupts (`VIRTQ_AVAIL_F_NO_INTERRUPT`).
const NO_INTERRUPT: u16 = 1;
/// In the used ring: the device wants no kicks (`VIRTQ_USED_F_NO_NOTIFY`).
const NO_NOTIFY: u16 = 1;

/// Where the fields are that both rings begin with.
const FLAGS: usize = 0;
const INDEX: usize = 2;
const RING: usize = 4;
/// The size of their entries.
const AVAIL_ENTRY: usize = 2;
const USED_ENTRY: usize = 8;

/// The three parts of a queue.
struct Rings<A> {
    descriptors: A,
    avail: A,
    used: A,
}

/// What the device asked for last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kicks {
    /// Nothing yet.
    Unknown,
    /// None.
    Disabled,
    /// One for each buffer.
    Enabled,
    /// One when the buffer with this index becomes available.
    EnabledAt(u16),
}

/// A split virtqueue.
///
/// Indices are free running counters. It is always so that `published`, `used`, `next` and `seen` follow
/// each other, with at most the size of the queue between the first and the last.
pub(crate) struct Split<A> {
    /// Nothing while the memory is not mapped.
    rings: Option<Rings<A>>,
    size: u16,
    event_idx: bool,
    indirect: bool,
    in_order: bool,
    /// The available entry to take next.
    next: u16,
    /// The driver's index, as it was read last.
    seen: u16,
    /// The used entry that the next completed buffer gets.
    used: u16,
    /// The used index that the driver sees.
    published: u16,
    /// How many were published since an interrupt was asked about.
    unsignalled: u32,
    /// What is completed, but not in the used ring yet.
    run: Option<Run<u16>>,
    kicks: Kicks,
}

impl<A: Area> Split<A> {
    pub(crate) fn new(config: &Config, avail: u16, used: u16) -> Result<Self, Error> {
        // Being a u16, it is 32768 at most.
        if !config.size.is_power_of_two() {
            return Err(Error::BadSize);
        }
        if avail.wrapping_sub(used) > config.size {
            return Err(Error::BadState);
        }
        Ok(Self {
            rings: None,
            size: config.size,
            event_idx: config.event_idx,
            indirect: config.indirect,
            in_order: config.in_order,
            next: avail,
            seen: avail,
            used,
            published: used,
            unsignalled: 0,
            run: None,
            kicks: Kicks::Unknown,
        })
    }

    pub(crate) fn remap<M: GuestMemory<Area = A>>(
        &mut self,
        config: &Config,
        memory: &mut M,
    ) -> Result<(), Error> {
        self.rings = None;
        self.kicks = Kicks::Unknown;
        let size = usize::from(self.size);
        // Without event indices the rings end before the field for them.
        let event = if self.event_idx { 2 } else { 0 };
        let (table, avail, used) = (
            size * usize::from(DESCRIPTOR_SIZE),
            RING + size * AVAIL_ENTRY + event,
            RING + size * USED_ENTRY + event,
        );
        self.rings = Some(Rings {
            descriptors: resolve(memory, config.descriptors, 16, table, Access::Read)?,
            avail: resolve(memory, config.driver, 2, avail, Access::Read)?,
            used: resolve(memory, config.device, 4, used, Access::Write)?,
        });
        Ok(())
    }

    /// The place of an index in the rings.
    #[inline]
    fn slot(&self, index: u16) -> usize {
        usize::from(index & self.size.wrapping_sub(1))
    }

    /// Reads the driver's index, and whether it leaves any buffer to take.
    #[inline]
    fn look(&mut self) -> Result<bool, Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        let index = rings.avail.load_le16(INDEX)?;
        if index == self.next {
            return Ok(false);
        }
        // What the driver does not know to be used takes up room.
        let taken = self.next.wrapping_sub(self.published);
        let room = self.size.saturating_sub(taken);
        if index.wrapping_sub(self.next) > room {
            return Err(Error::IndexJump);
        }
        // The driver wrote entries and descriptors before the index.
        rings.avail.read_barrier();
        self.seen = index;
        Ok(true)
    }

    #[inline]
    pub(crate) fn has_available(&mut self) -> Result<bool, Error> {
        if self.rings.is_none() {
            return Err(Error::NotMapped);
        }
        Ok(self.seen != self.next || self.look()?)
    }

    pub(crate) fn next<M: GuestMemory<Area = A>>(
        &mut self,
        memory: &mut M,
        segments: &mut [Segment],
    ) -> Result<Option<Chain>, Error> {
        if self.seen == self.next && !self.look()? {
            return Ok(None);
        }
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        let entry = RING + self.slot(self.next) * AVAIL_ENTRY;
        let head = rings.avail.load_le16(entry)?;
        if head >= self.size {
            return Err(Error::BadHead);
        }
        let mut collector = Collector::new(segments);
        self.collect(rings, memory, head, &mut collector)?;
        let start = Position {
            index: self.next,
            wrap: true,
        };
        self.next = self.next.wrapping_add(1);
        Ok(Some(collector.finish(head, start, 1)))
    }

    /// Collects the chain that begins at `head`.
    #[inline]
    fn collect<M: GuestMemory<Area = A>>(
        &self,
        rings: &Rings<A>,
        memory: &mut M,
        head: u16,
        collector: &mut Collector<'_>,
    ) -> Result<(), Error> {
        let mut index = head;
        for _ in 0..self.size {
            if index >= self.size {
                return Err(Error::NextOutOfRange);
            }
            let offset = usize::from(index) * usize::from(DESCRIPTOR_SIZE);
            let at = rings.descriptors.load_le64(offset)?;
            let tail = Tail::new(rings.descriptors.load_le64(offset + 8)?);
            let (flags, next) = (tail.first, tail.second);
            if flags & INDIRECT != 0 {
                if !self.indirect {
                    return Err(Error::IndirectNotNegotiated);
                }
                if flags & NEXT != 0 {
                    return Err(Error::IndirectInList);
                }
                return indirect::collect_list(memory, at, tail.len, collector);
            }
            collector.push(at, tail.len, flags)?;
            if flags & NEXT == 0 {
                return Ok(());
            }
            index = next;
        }
        Err(Error::Loop)
    }

    #[inline]
    pub(crate) fn put_back(&mut self, chain: &Chain) -> Result<(), Error> {
        if self.next == self.used {
            return Err(Error::NotTaken);
        }
        if chain.start.index.wrapping_add(1) != self.next {
            return Err(Error::OutOfOrder);
        }
        self.next = chain.start.index;
        Ok(())
    }

    #[inline]
    pub(crate) fn complete(&mut self, chain: &Chain, written: u32) -> Result<(), Error> {
        if self.rings.is_none() {
            return Err(Error::NotMapped);
        }
        if self.next == self.used {
            return Err(Error::NotTaken);
        }
        if self.in_order {
            if chain.start.index != self.used {
                return Err(Error::OutOfOrder);
            }
            if let Some(run) = Run::extend(&mut self.run, self.used, chain, written) {
                self.store(run.first, run.id, run.written)?;
            }
        } else {
            self.store(self.used, chain.id, written)?;
        }
        self.used = self.used.wrapping_add(1);
        Ok(())
    }

    /// Writes an entry of the used ring, which the driver does not look at before its index says so.
    #[inline]
    fn store(&self, index: u16, id: u16, written: u32) -> Result<(), Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        let entry = RING + self.slot(index) * USED_ENTRY;
        rings.used.store_le32(entry, id.into())?;
        rings.used.store_le32(entry + 4, written)?;
        Ok(())
    }

    #[inline]
    pub(crate) fn publish(&mut self) -> Result<(), Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        let count = self.used.wrapping_sub(self.published);
        if count == 0 {
            return Ok(());
        }
        if let Some(run) = self.run {
            self.store(run.first, run.id, run.written)?;
        }
        // Buffers and entries before the index.
        rings.used.write_barrier();
        rings.used.store_le16(INDEX, self.used)?;
        self.run = None;
        self.published = self.used;
        self.unsignalled = self.unsignalled.saturating_add(count.into());
        Ok(())
    }

    #[inline]
    pub(crate) fn needs_interrupt(&mut self) -> Result<bool, Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        if self.unsignalled == 0 {
            return Ok(false);
        }
        // The used index before what the driver says, or both sides could miss the other's news.
        rings.avail.full_barrier();
        let count = mem::take(&mut self.unsignalled);
        if !self.event_idx {
            return Ok(rings.avail.load_le16(FLAGS)? & NO_INTERRUPT == 0);
        }
        let event = rings
            .avail
            .load_le16(RING + usize::from(self.size) * AVAIL_ENTRY)?;
        // Whether the entry with that index is among the last `count`, before the published one. If
        // there were so many that they went round, it is.
        let ago = self.published.wrapping_sub(event).wrapping_sub(1);
        Ok(u32::from(ago) < count)
    }

    #[inline]
    pub(crate) fn disable_kicks(&mut self) -> Result<(), Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        if !self.event_idx && self.kicks != Kicks::Disabled {
            rings.used.store_le16(FLAGS, NO_NOTIFY)?;
            self.kicks = Kicks::Disabled;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn enable_kicks(&mut self) -> Result<bool, Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        let kicks = if self.event_idx {
            Kicks::EnabledAt(self.next)
        } else {
            Kicks::Enabled
        };
        if self.kicks != kicks {
            match kicks {
                Kicks::EnabledAt(index) => {
                    let event = RING + usize::from(self.size) * USED_ENTRY;
                    rings.used.store_le16(event, index)?;
                }
                _ => rings.used.store_le16(FLAGS, 0)?,
            }
            self.kicks = kicks;
            // The request before the driver's index, or both sides could miss the other's news.
            rings.used.full_barrier();
        }
        self.has_available()
    }

    pub(crate) fn state(&self) -> State {
        State::Split {
            avail: self.next,
            used: self.published,
        }
    }
}
