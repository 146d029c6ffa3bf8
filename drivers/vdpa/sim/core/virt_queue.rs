// SPDX-License-Identifier: GPL-2.0

//! A virtqueue of a simulator: what the driver says of it, and the queue itself once it is in use.

use guestmem::{
    Bounce,
    GuestQueue,
    Session, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
};
use kext::claim::{
    Claim,
    Claimed, //
};
use vdpa::{
    Features,
    PackedState,
    QueueAddresses,
    QueueState, //
};
use vdpa_bindings as bindings;
use virtqueue::{
    Config,
    Error,
    Format,
    GuestAddress,
    Position,
    Segment,
    State, //
};

/// The largest number of segments of a buffer, as QEMU has it.
const MAX_SEGMENTS: usize = 1024;

/// What a model keeps with a queue.
pub trait QueueData: Sized + Send {
    /// That of a queue that was not used yet. Large parts are to be in memory of their own: it is
    /// made on the stack. Fails with `ENOMEM`.
    fn new() -> Result<Self>;

    /// The queue begins anew.
    fn restart(&mut self) {}
}

/// A virtqueue.
#[pin_data]
pub struct VirtQueue<D> {
    /// Whether the driver says that it is. Also in the claim; here for kicks.
    ready: Atomic<bool>,
    /// Whether somebody could not have the claim, and so left something to do to who has it.
    left: Atomic<bool>,
    #[pin]
    inner: Claim<Inner<D>>,
}

/// What one context at a time may have of a virtqueue.
pub struct Inner<D> {
    addresses: QueueAddresses,
    size: u32,
    ready: bool,
    /// Where to go on while the queue is not in use, if that is not the beginning.
    state: Option<QueueState>,
    queue: Option<GuestQueue>,
    /// Whether it is broken, until it is reset or made ready again.
    broken: bool,
    /// A place for the segments of a buffer.
    segments: KVVec<Segment>,
    bounce: Bounce,
    data: D,
}

/// A queue in use.
pub struct Open<'a, D> {
    /// The queue.
    pub queue: &'a mut GuestQueue,
    /// A place for the segments of a buffer.
    pub segments: &'a mut [Segment],
    /// By way of which memory of one process is copied to that of another one.
    pub bounce: &'a mut Bounce,
    /// What the model keeps with it.
    pub data: &'a mut D,
}

impl<D: QueueData> VirtQueue<D> {
    pub(crate) fn new() -> impl PinInit<Self, kernel::error::Error> {
        try_pin_init!(Self {
            ready: Atomic::new(false),
            left: Atomic::new(false),
            inner <- Claim::new(Inner {
                addresses: QueueAddresses::default(),
                size: 0,
                ready: false,
                state: None,
                queue: None,
                broken: false,
                segments: {
                    let mut segments = KVVec::new();
                    segments.resize(MAX_SEGMENTS, Segment::default(), GFP_KERNEL)?;
                    segments
                },
                bounce: Bounce::new()?,
                data: D::new()?,
            }),
        }? kernel::error::Error)
    }

    /// Whether the driver says that the queue is ready.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    /// The queue, if nobody has it. Otherwise, who has it will find that something was
    /// [left](Self::take_left). Any context.
    #[inline]
    pub fn try_claim(&self) -> Option<Claimed<'_, Inner<D>>> {
        if let Some(inner) = self.inner.try_take() {
            return Some(inner);
        }
        self.left.store(true, Relaxed);
        // Who had it may have looked for that before: then it is free now.
        kernel::sync::barrier::smp_mb(kernel::sync::barrier::Full);
        self.inner.try_take()
    }

    /// Whether somebody asked for the queue meanwhile. To be called after the claim was given up.
    #[inline]
    pub fn take_left(&self) -> bool {
        kernel::sync::barrier::smp_mb(kernel::sync::barrier::Full);
        if !self.left.load(Relaxed) {
            return false;
        }
        self.left.store(false, Relaxed);
        true
    }

    /// The queue; waits for who has it.
    pub(crate) fn claim(&self) -> Claimed<'_, Inner<D>> {
        self.inner.take()
    }

    /// Changes what the model keeps with the queue; waits for who has it.
    pub fn with_data<R>(&self, f: impl FnOnce(&mut D) -> R) -> R {
        f(&mut self.claim().data)
    }

    /// Waits for who has the queue. As with the other functions that wait, somebody may have tried to
    /// have it meanwhile: whoever calls this has to see to it that the queue is looked at again.
    pub fn wait(&self) {
        drop(self.claim());
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        let mut inner = self.claim();
        inner.close();
        inner.ready = ready;
        inner.broken = false;
        inner.data.restart();
        self.ready.store(ready, Relaxed);
    }

    pub(crate) fn reset(&self) {
        let mut inner = self.claim();
        self.ready.store(false, Relaxed);
        inner.addresses = QueueAddresses::default();
        inner.size = 0;
        inner.ready = false;
        inner.state = None;
        inner.queue = None;
        inner.broken = false;
        inner.data.restart();
    }
}

impl<D> Inner<D> {
    pub(crate) fn set_addresses(&mut self, at: QueueAddresses) {
        self.addresses = at;
    }

    pub(crate) fn set_size(&mut self, entries: u32) {
        self.size = entries;
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    pub(crate) fn set_state(&mut self, state: QueueState) {
        self.queue = None;
        self.state = Some(state);
    }

    /// Where the device goes on.
    pub(crate) fn state(&self, features: Features) -> QueueState {
        match (&self.queue, self.state) {
            (Some(queue), _) => to_vdpa(queue.state()),
            (None, Some(state)) => state,
            (None, None) => to_vdpa(State::initial(format(features))),
        }
    }

    /// Takes the queue out of use; it goes on where it was.
    pub(crate) fn close(&mut self) {
        if let Some(queue) = self.queue.take() {
            self.state = Some(to_vdpa(queue.state()));
        }
    }

    /// The queue is broken: it is not used any more.
    pub fn break_down(&mut self) {
        self.close();
        self.broken = true;
    }

    /// What the model keeps with the queue.
    #[inline]
    pub fn data(&mut self) -> &mut D {
        &mut self.data
    }

    /// The queue in use; nothing if it is not ready, or broken.
    #[inline]
    pub fn open(
        &mut self,
        features: Features,
        session: &mut Session<'_>,
    ) -> Result<Option<Open<'_, D>>, Error> {
        if !self.ready || self.broken {
            return Ok(None);
        }
        let queue = match &mut self.queue {
            Some(queue) => queue,
            empty => {
                let config = config(&self.addresses, self.size, features)?;
                let state = from_vdpa(self.state, config.format);
                empty.insert(GuestQueue::new(&config, state, session)?)
            }
        };
        Ok(Some(Open {
            queue,
            segments: &mut self.segments,
            bounce: &mut self.bounce,
            data: &mut self.data,
        }))
    }
}

fn format(features: Features) -> Format {
    if features.has(bindings::VIRTIO_F_RING_PACKED) {
        Format::Packed
    } else {
        Format::Split
    }
}

fn config(at: &QueueAddresses, size: u32, features: Features) -> Result<Config, Error> {
    Ok(Config {
        format: format(features),
        size: u16::try_from(size).map_err(|_| Error::BadSize)?,
        event_idx: features.has(bindings::VIRTIO_RING_F_EVENT_IDX),
        indirect: features.has(bindings::VIRTIO_RING_F_INDIRECT_DESC),
        in_order: features.has(bindings::VIRTIO_F_IN_ORDER),
        descriptors: GuestAddress::new(at.descriptors),
        driver: GuestAddress::new(at.driver),
        device: GuestAddress::new(at.device),
    })
}

/// What bus drivers know of a split queue is only where the device goes on; a queue is always taken
/// out of use when all that was taken from it was used.
fn from_vdpa(state: Option<QueueState>, format: Format) -> State {
    let Some(state) = state else {
        return State::initial(format);
    };
    match format {
        Format::Split => State::Split {
            avail: state.as_split(),
            used: state.as_split(),
        },
        Format::Packed => {
            let state = state.as_packed();
            State::Packed {
                avail: Position {
                    index: state.avail_index,
                    wrap: state.avail_wrap,
                },
                used: Position {
                    index: state.used_index,
                    wrap: state.used_wrap,
                },
            }
        }
    }
}

fn to_vdpa(state: State) -> QueueState {
    match state {
        State::Split { avail, .. } => QueueState::split(avail),
        State::Packed { avail, used } => QueueState::packed(PackedState {
            avail_wrap: avail.wrap,
            avail_index: avail.index,
            used_wrap: used.wrap,
            used_index: used.index,
        }),
    }
}
