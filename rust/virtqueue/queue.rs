// SPDX-License-Identifier: GPL-2.0

//! A virtqueue of either format.

use crate::{
    chain::{
        Chain,
        Segment, //
    },
    error::Error,
    memory::{
        Access,
        Area,
        GuestAddress,
        GuestMemory, //
    },
    packed::Packed,
    split::Split,
};

/// How a virtqueue is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table of descriptors and two rings (2.7).
    Split,
    /// One ring of descriptors, `VIRTIO_F_RING_PACKED` (2.8).
    Packed,
}

/// What a driver set up and negotiated about a virtqueue.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How it is laid out.
    pub format: Format,
    /// The number of descriptors: 1 to 32768, a power of two if the queue is split.
    pub size: u16,
    /// Whether both sides say by index when they want to be notified, `VIRTIO_F_EVENT_IDX`.
    pub event_idx: bool,
    /// Whether a descriptor may be a table of descriptors, `VIRTIO_F_INDIRECT_DESC`.
    pub indirect: bool,
    /// Whether buffers are used in the order in which they are made available, `VIRTIO_F_IN_ORDER`.
    pub in_order: bool,
    /// Descriptor table, or descriptor ring.
    pub descriptors: GuestAddress,
    /// Available ring, or driver event suppression.
    pub driver: GuestAddress,
    /// Used ring, or device event suppression.
    pub device: GuestAddress,
}

/// A place in a packed ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of the descriptor.
    pub index: u16,
    /// The ring wrap counter: it changes each time that the ring begins again.
    pub wrap: bool,
}

/// How far a device got in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In a split queue, as free running counters.
    Split {
        /// The available entry to take next.
        avail: u16,
        /// The used entry to write next.
        used: u16,
    },
    /// In a packed queue.
    Packed {
        /// The descriptor to take next.
        avail: Position,
        /// The descriptor to write as used next.
        used: Position,
    },
}

impl State {
    /// Where a queue begins.
    pub const fn initial(format: Format) -> Self {
        const START: Position = Position {
            index: 0,
            wrap: true,
        };
        match format {
            Format::Split => Self::Split { avail: 0, used: 0 },
            Format::Packed => Self::Packed {
                avail: START,
                used: START,
            },
        }
    }
}

/// The device side of a virtqueue.
///
/// Operations are for one caller at a time. Unless an operation says otherwise, it fails if the
/// memory of a ring cannot be reached any more.
pub struct Queue<A: Area> {
    config: Config,
    ring: Ring<A>,
    /// What went wrong for good.
    broken: Option<Error>,
}

enum Ring<A> {
    Split(Split<A>),
    Packed(Packed<A>),
}

/// Calls the same method of the ring, whichever it is.
macro_rules! ring {
    ($self:ident.$method:ident($($arg:expr),*)) => {
        match &mut $self.ring {
            Ring::Split(ring) => ring.$method($($arg),*),
            Ring::Packed(ring) => ring.$method($($arg),*),
        }
    };
}

impl<A: Area> Queue<A> {
    /// A queue as a driver set it up, where a device got as far as `state` says.
    ///
    /// Fails if the size, an address or the state is not one of such a queue, or if the memory of a
    /// ring cannot be reached. A used ring is only written, so it need not be readable; available
    /// ring and descriptor table need not be writable.
    pub fn new<M: GuestMemory<Area = A>>(
        config: &Config,
        state: State,
        memory: &mut M,
    ) -> Result<Self, Error> {
        let ring = match (config.format, state) {
            (Format::Split, State::Split { avail, used }) => {
                Ring::Split(Split::new(config, avail, used)?)
            }
            (Format::Packed, State::Packed { avail, used }) => {
                Ring::Packed(Packed::new(config, avail, used)?)
            }
            _ => return Err(Error::BadState),
        };
        let mut queue = Self {
            config: *config,
            ring,
            broken: None,
        };
        queue.remap(memory)?;
        Ok(queue)
    }

    /// Resolves the rings again after the mapping changed; keeps indices and what is not completed.
    ///
    /// If that fails, the queue does not use what it had resolved before either: operations fail
    /// with [`Error::NotMapped`] and change nothing, until this succeeds. That is no reason for a
    /// reset, as a mapping may change in several steps.
    pub fn remap<M: GuestMemory<Area = A>>(&mut self, memory: &mut M) -> Result<(), Error> {
        ring!(self.remap(&self.config, memory))
    }

    /// Takes the next available buffer; nothing if there is none.
    ///
    /// Its segments are at the start of `segments`; the rest of the slice is as it was. Indirect tables
    /// are read through `memory`.
    ///
    /// Fails if what the driver made available is malformed, and then always, with the same error.
    #[inline]
    pub fn next<M: GuestMemory<Area = A>>(
        &mut self,
        memory: &mut M,
        segments: &mut [Segment],
    ) -> Result<Option<Chain>, Error> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let result = ring!(self.next(memory, segments));
        self.note(result)
    }

    /// Gives back the buffer taken last, as if it had not been taken.
    ///
    /// This can be repeated, last in first out. Any other buffer is refused: the queue fails with
    /// [`Error::OutOfOrder`] from then on.
    #[inline]
    pub fn put_back(&mut self, chain: Chain) {
        let result = ring!(self.put_back(&chain));
        // The next call of `next` tells.
        let _ = self.note(result);
    }

    /// Marks a buffer as used, with `written` bytes written from the start of its writable part.
    /// The driver does not see it until [`publish`](Self::publish).
    ///
    /// Fails if the buffer cannot be one that was taken, or has no room for `written` bytes.
    #[inline]
    pub fn complete(&mut self, chain: Chain, written: u32) -> Result<(), Error> {
        let result = if written > chain.writable_len() {
            Err(Error::Overwritten)
        } else {
            ring!(self.complete(&chain, written))
        };
        self.note(result)
    }

    /// Lets the driver see all completed buffers: a barrier, and one store for the batch.
    #[inline]
    pub fn publish(&mut self) -> Result<(), Error> {
        let result = ring!(self.publish());
        self.note(result)
    }

    /// Whether the driver wants an interrupt for what was published since the last call.
    ///
    /// If nothing was, this costs nothing. What was published by an earlier queue on the same rings
    /// does not count: ask before the state is handed on.
    #[inline]
    pub fn needs_interrupt(&mut self) -> Result<bool, Error> {
        let result = ring!(self.needs_interrupt());
        self.note(result)
    }

    /// Asks the driver not to kick. It may do so all the same.
    ///
    /// With `VIRTIO_F_EVENT_IDX` in a split queue nothing has to be said: the driver does not kick
    /// again until its index has gone round.
    #[inline]
    pub fn disable_kicks(&mut self) -> Result<(), Error> {
        let result = ring!(self.disable_kicks());
        self.note(result)
    }

    /// Asks the driver to kick when it makes a buffer available, and says whether there are any
    /// already, for which no kick may come.
    ///
    /// With `VIRTIO_F_EVENT_IDX` that is for the next buffer to take. A device that waits for more than
    /// there are asks before it puts back those that it took.
    #[inline]
    pub fn enable_kicks(&mut self) -> Result<bool, Error> {
        let result = ring!(self.enable_kicks());
        self.note(result)
    }

    /// Whether a buffer is available.
    #[inline]
    pub fn has_available(&mut self) -> Result<bool, Error> {
        let result = ring!(self.has_available());
        self.note(result)
    }

    /// Where to go on: exact when no buffer is taken and not completed, and all completed ones are
    /// published.
    pub fn state(&self) -> State {
        match &self.ring {
            Ring::Split(ring) => ring.state(),
            Ring::Packed(ring) => ring.state(),
        }
    }

    /// What the queue was made of.
    #[inline]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What went wrong for good, if anything.
    #[inline]
    pub fn error(&self) -> Option<Error> {
        self.broken
    }

    /// Remembers an error that does not go away; the first one stays.
    #[inline]
    fn note<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.note_error(*error);
        }
        result
    }

    #[cold]
    fn note_error(&mut self, error: Error) {
        if error != Error::NotMapped && self.broken.is_none() {
            self.broken = Some(error);
        }
    }
}

/// Resolves a part of a queue, whose address has to be a multiple of `align`.
pub(crate) fn resolve<M: GuestMemory>(
    memory: &mut M,
    at: GuestAddress,
    align: u64,
    len: usize,
    access: Access,
) -> Result<M::Area, Error> {
    if at.get() % align != 0 {
        return Err(Error::Misaligned);
    }
    let last = u64::try_from(len)
        .map_err(|_| Error::AddressWrap)?
        .saturating_sub(1);
    at.checked_add(last).ok_or(Error::AddressWrap)?;
    Ok(memory.area(at, len, access)?)
}

/// Buffers completed in order that one used element can stand for (2.7.9, 2.8.8): that of the
/// last one, in the place of the first one. The driver takes those that are
/// skipped for wholly written.
#[derive(Clone, Copy)]
pub(crate) struct Run<P> {
    /// The place of the first one.
    pub(crate) first: P,
    /// The last one.
    pub(crate) id: u16,
    /// How many bytes were written to the last one.
    pub(crate) written: u32,
    /// Whether the last one is wholly written. Else it cannot be skipped.
    pub(crate) whole: bool,
}

impl<P> Run<P> {
    /// Adds a buffer at `place` to the run before it, or begins one. Returns the run that ended, if
    /// its last buffer cannot be skipped.
    #[inline]
    pub(crate) fn extend(
        run: &mut Option<Self>,
        place: P,
        chain: &Chain,
        written: u32,
    ) -> Option<Self> {
        let (first, ended) = match run.take() {
            Some(run) if run.whole => (run.first, None),
            ended => (place, ended),
        };
        *run = Some(Self {
            first,
            id: chain.id,
            written,
            whole: written == chain.writable_len(),
        });
        ended
    }
}
