// SPDX-License-Identifier: GPL-2.0

//! Packed virtqueues (virtio 1.3, section 2.8).

use crate::{
    chain::{
        Chain,
        Collector,
        Segment,
        Tail,
        DESCRIPTOR_SIZE,
        INDIRECT,
        NEXT,
        WRITE, //
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

/// The largest queue.
const MAX_SIZE: u16 = 1 << 15;

/// The flag by which the driver makes a descriptor available, and the one by which the device marks
/// it as used.
const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;

/// Event suppression: offset and wrap counter are in the lower 16 bits, what is wanted in the upper.
const EVENT_SIZE: usize = 4;
/// All notifications.
const ENABLE: u16 = 0;
/// None.
const DISABLE: u16 = 1;
/// One when a certain descriptor is reached.
const DESCRIPTOR: u16 = 2;
/// The bits of them.
const EVENT_FLAGS: u16 = 3;
/// Where the wrap counter is beside the offset.
const EVENT_WRAP: u16 = 1 << 15;

/// Where the length of a descriptor is, and what comes after it.
const TAIL: usize = 8;

impl Position {
    /// The place `slots` further, at most one round. No sum is above 65535.
    #[inline]
    fn advance(self, slots: u16, size: u16) -> Self {
        let index = self.index.wrapping_add(slots);
        match index.checked_sub(size) {
            Some(index) => Self {
                index,
                wrap: !self.wrap,
            },
            None => Self { index, ..self },
        }
    }

    /// How many slots it is from `earlier` to here, within two rounds: after those, both counters are as
    /// before.
    #[inline]
    fn since(self, earlier: Self, size: u16) -> u32 {
        let rounds = 2 * u32::from(size);
        let turned = if self.wrap == earlier.wrap {
            0
        } else {
            u32::from(size)
        };
        (rounds + turned + u32::from(self.index) - u32::from(earlier.index)) % rounds
    }

    /// Where the descriptor begins.
    #[inline]
    fn offset(self) -> usize {
        usize::from(self.index) * usize::from(DESCRIPTOR_SIZE)
    }

    /// Whether a descriptor with these flags is available here.
    #[inline]
    fn is_available(self, flags: u16) -> bool {
        let expected = if self.wrap { AVAIL } else { USED };
        flags & (AVAIL | USED) == expected
    }
}

/// The three parts of a queue.
struct Rings<A> {
    descriptors: A,
    driver: A,
    device: A,
}

/// A used descriptor.
#[derive(Clone, Copy)]
struct Used {
    at: Position,
    id: u16,
    written: u32,
}

/// A packed virtqueue.
///
/// From `published` on come `completed` descriptors, up to `used`, and then `taken` ones, up to `next`. Together
/// they are at most the size of the queue.
pub(crate) struct Packed<A> {
    /// Nothing while the memory is not mapped.
    rings: Option<Rings<A>>,
    size: u16,
    event_idx: bool,
    indirect: bool,
    in_order: bool,
    /// The descriptor to take next.
    next: Position,
    /// How many descriptors are taken and not completed.
    taken: u16,
    /// The place of the next used descriptor.
    used: Position,
    /// How many descriptors are completed, but not seen by the driver.
    completed: u16,
    /// The place at which the driver waits for a used descriptor.
    published: Position,
    /// How many descriptors were published since an interrupt was asked about.
    unsignalled: u32,
    /// The used descriptor at `published`, if it is known yet. With it the driver sees all that follow, so
    /// it is written last.
    first: Option<Used>,
    /// What is completed, and waits for others that the same used descriptor can stand for.
    run: Option<Run<Position>>,
    /// What the device wrote last to ask for kicks or not.
    kicks: Option<u32>,
}

impl<A: Area> Packed<A> {
    pub(crate) fn new(config: &Config, next: Position, used: Position) -> Result<Self, Error> {
        let size = config.size;
        if size == 0 || size > MAX_SIZE {
            return Err(Error::BadSize);
        }
        if next.index >= size || used.index >= size {
            return Err(Error::BadState);
        }
        let taken = u16::try_from(next.since(used, size)).map_err(|_| Error::BadState)?;
        if taken > size {
            return Err(Error::BadState);
        }
        Ok(Self {
            rings: None,
            size,
            event_idx: config.event_idx,
            indirect: config.indirect,
            in_order: config.in_order,
            next,
            taken,
            used,
            completed: 0,
            published: used,
            unsignalled: 0,
            first: None,
            run: None,
            kicks: None,
        })
    }

    pub(crate) fn remap<M: GuestMemory<Area = A>>(
        &mut self,
        config: &Config,
        memory: &mut M,
    ) -> Result<(), Error> {
        self.rings = None;
        self.kicks = None;
        let ring = usize::from(self.size) * usize::from(DESCRIPTOR_SIZE);
        self.rings = Some(Rings {
            descriptors: resolve(memory, config.descriptors, 16, ring, Access::ReadWrite)?,
            driver: resolve(memory, config.driver, 4, EVENT_SIZE, Access::Read)?,
            device: resolve(memory, config.device, 4, EVENT_SIZE, Access::Write)?,
        });
        Ok(())
    }

    /// The length, id and flags of the descriptor at `at`, if it is available.
    ///
    /// One load has all of them. The driver writes the flags last, so they say that the others are
    /// right as well.
    #[inline]
    fn look(rings: &Rings<A>, at: Position) -> Result<Option<Tail>, Error> {
        let tail = Tail::new(rings.descriptors.load_le64(at.offset() + TAIL)?);
        Ok(at.is_available(tail.second).then_some(tail))
    }

    #[inline]
    pub(crate) fn has_available(&mut self) -> Result<bool, Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        Ok(Self::look(rings, self.next)?.is_some())
    }

    pub(crate) fn next<M: GuestMemory<Area = A>>(
        &mut self,
        memory: &mut M,
        segments: &mut [Segment],
    ) -> Result<Option<Chain>, Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        let Some(mut tail) = Self::look(rings, self.next)? else {
            return Ok(None);
        };
        // The flags of the first descriptor of a list are written after all of it.
        rings.descriptors.read_barrier();
        // What the driver does not know to be used takes up room.
        let room = self
            .size
            .saturating_sub(self.taken)
            .saturating_sub(self.completed);
        if room == 0 {
            return Err(Error::IndexJump);
        }
        let mut collector = Collector::new(segments);
        let mut at = self.next;
        let mut slots = 1;
        loop {
            let address = rings.descriptors.load_le64(at.offset())?;
            let flags = tail.second;
            if flags & INDIRECT != 0 {
                if !self.indirect {
                    return Err(Error::IndirectNotNegotiated);
                }
                if flags & NEXT != 0 || slots > 1 {
                    return Err(Error::IndirectInList);
                }
                indirect::collect_all(memory, address, tail.len, &mut collector)?;
                break;
            }
            collector.push(address, tail.len, flags)?;
            if flags & NEXT == 0 {
                break;
            }
            if slots >= room {
                return Err(Error::Loop);
            }
            slots += 1;
            at = at.advance(1, self.size);
            tail = Self::look(rings, at)?.ok_or(Error::NotAvailable)?;
        }
        // The id is that of the last descriptor of a list.
        let chain = collector.finish(tail.first, self.next, slots);
        self.next = at.advance(1, self.size);
        self.taken += slots;
        Ok(Some(chain))
    }

    #[inline]
    pub(crate) fn put_back(&mut self, chain: &Chain) -> Result<(), Error> {
        let taken = self.taken.checked_sub(chain.slots).ok_or(Error::NotTaken)?;
        if chain.start.advance(chain.slots, self.size) != self.next {
            return Err(Error::OutOfOrder);
        }
        self.next = chain.start;
        self.taken = taken;
        Ok(())
    }

    #[inline]
    pub(crate) fn complete(&mut self, chain: &Chain, written: u32) -> Result<(), Error> {
        if self.rings.is_none() {
            return Err(Error::NotMapped);
        }
        let taken = self.taken.checked_sub(chain.slots).ok_or(Error::NotTaken)?;
        if self.in_order {
            if chain.start != self.used {
                return Err(Error::OutOfOrder);
            }
            if let Some(run) = Run::extend(&mut self.run, self.used, chain, written) {
                self.put(run.into())?;
            }
        } else {
            self.put(Used {
                at: self.used,
                id: chain.id,
                written,
            })?;
        }
        self.used = self.used.advance(chain.slots, self.size);
        self.taken = taken;
        self.completed += chain.slots;
        Ok(())
    }

    /// Writes a used descriptor, unless it is the first of the batch. Neither is seen by the driver
    /// before the first one is written.
    #[inline]
    fn put(&mut self, used: Used) -> Result<(), Error> {
        if self.first.is_none() {
            self.first = Some(used);
            return Ok(());
        }
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        Self::store(rings, used)
    }

    /// Writes a used descriptor: all of it that counts in one store.
    #[inline]
    fn store(rings: &Rings<A>, used: Used) -> Result<(), Error> {
        let wrap = if used.at.wrap { AVAIL | USED } else { 0 };
        let write = if used.written > 0 { WRITE } else { 0 };
        let tail = Tail {
            len: used.written,
            first: used.id,
            second: wrap | write,
        };
        rings
            .descriptors
            .store_le64(used.at.offset() + TAIL, tail.bits())?;
        Ok(())
    }

    #[inline]
    pub(crate) fn publish(&mut self) -> Result<(), Error> {
        if self.rings.is_none() {
            return Err(Error::NotMapped);
        }
        if self.completed == 0 {
            return Ok(());
        }
        if let Some(run) = self.run.take() {
            self.put(run.into())?;
        }
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        if let Some(first) = self.first.take() {
            // Buffers and the other used descriptors before the first one.
            rings.descriptors.write_barrier();
            Self::store(rings, first)?;
        }
        self.published = self.used;
        self.unsignalled = self.unsignalled.saturating_add(self.completed.into());
        self.completed = 0;
        Ok(())
    }

    #[inline]
    pub(crate) fn needs_interrupt(&mut self) -> Result<bool, Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        if self.unsignalled == 0 {
            return Ok(false);
        }
        // The used descriptor before what the driver says, or both sides could miss the other's news.
        rings.driver.full_barrier();
        let count = mem::take(&mut self.unsignalled);
        let [place, flags] = halves(rings.driver.load_le32(0)?);
        let event = Position {
            index: place & !EVENT_WRAP,
            wrap: place & EVENT_WRAP != 0,
        };
        Ok(match flags & EVENT_FLAGS {
            DISABLE => false,
            // Whether the descriptor is among the last `count`, before the published place.
            DESCRIPTOR if self.event_idx && event.index < self.size => {
                let ago = self.published.since(event, self.size);
                (1..=count).contains(&ago) || count >= 2 * u32::from(self.size)
            }
            // Also what is reserved: rather an interrupt too many than one too few.
            _ => true,
        })
    }

    /// Says which kicks the device wants, unless it said so before. Returns whether it had to.
    #[inline]
    fn ask(&mut self, place: u16, flags: u16) -> Result<bool, Error> {
        let rings = self.rings.as_ref().ok_or(Error::NotMapped)?;
        let word = u32::from(place) | u32::from(flags) << 16;
        if self.kicks == Some(word) {
            return Ok(false);
        }
        rings.device.store_le32(0, word)?;
        self.kicks = Some(word);
        Ok(true)
    }

    #[inline]
    pub(crate) fn disable_kicks(&mut self) -> Result<(), Error> {
        self.ask(0, DISABLE)?;
        Ok(())
    }

    #[inline]
    pub(crate) fn enable_kicks(&mut self) -> Result<bool, Error> {
        let asked = if self.event_idx {
            let wrap = if self.next.wrap { EVENT_WRAP } else { 0 };
            self.ask(self.next.index | wrap, DESCRIPTOR)?
        } else {
            self.ask(0, ENABLE)?
        };
        if let (true, Some(rings)) = (asked, &self.rings) {
            // The request before the driver's flags, or both sides could miss the other's news.
            rings.device.full_barrier();
        }
        self.has_available()
    }

    pub(crate) fn state(&self) -> State {
        State::Packed {
            avail: self.next,
            used: self.published,
        }
    }
}

impl From<Run<Position>> for Used {
    #[inline]
    fn from(run: Run<Position>) -> Self {
        Self {
            at: run.first,
            id: run.id,
            written: run.written,
        }
    }
}

/// The lower and the upper half of a word.
#[inline]
fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}
