// SPDX-License-Identifier: GPL-2.0

//! The network card as a model of a simulator.
//!
//! # Tasks
//!
//! Each queue pair has a task, of its number: it takes what is in the transmit queue to the receive
//! queue of the same pair, or of the card at the other end. The last task is that of the control
//! queue.
//!
//! # Locks
//!
//! `Net::state` is taken when claims of queues are held, for short and not for each frame.

use crate::{
    control_queue,
    counters::Counters,
    features::{
        Layout,
        Negotiated,
        QueuePairs,
        Role, //
    },
    model::{
        self,
        Provision, //
    },
    peers::{
        DeviceRef,
        Registry, //
    },
    transmit::{
        self,
        QueueData, //
    },
    LocalModule,
};
use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Full,
                Relaxed, //
            },
            Atomic, //
        },
        Arc,
        SpinLockIrq, //
    },
};
use kext::rcu_cell::RcuCell;
use vdpa::{
    DeviceId,
    Features,
    GroupId,
    QueueIndex,
    StatsWriter, //
};
use vdpa_bindings as bindings;
use vdpasim::{
    Model,
    Place, //
};

/// A simulated network card.
pub(crate) type Device = vdpasim::Simulator<Net>;

/// The group of all queues but the control queue.
pub(crate) const DATA: GroupId = GroupId::new(0);
/// The group of the control queue.
pub(crate) const CONTROL: GroupId = GroupId::new(1);

/// After so many kicks, a driver in the kernel does the work of the thread.
const BATCH: u32 = 64;

/// The longest frame that is worked on: what an IP packet can have, an Ethernet header and tags.
pub(crate) const MAX_FRAME: usize = 65_535 + 14 + 8;

/// Frames that are lost on purpose.
pub(crate) struct Dropped {
    every: Atomic<u32>,
    count: Atomic<u32>,
}

impl Dropped {
    const fn new() -> Self {
        Self {
            every: Atomic::new(0),
            count: Atomic::new(0),
        }
    }

    /// Every how many frames one is lost; 0 for none.
    pub(crate) fn every(&self) -> u32 {
        self.every.load(Relaxed)
    }

    pub(crate) fn set(&self, every: u32) {
        self.every.store(every, Relaxed);
    }

    /// Whether this one is.
    #[inline]
    pub(crate) fn next(&self) -> bool {
        let every = self.every();
        every != 0 && self.count.fetch_add(1, Relaxed).checked_rem(every) == Some(0)
    }
}

/// What makes a simulator a network card.
#[pin_data]
pub(crate) struct Net {
    /// How many queue pairs there are.
    all_pairs: QueuePairs,
    /// How many of them the driver uses.
    used_pairs: Atomic<u32>,
    link_is_up: Atomic<bool>,
    /// Of each queue.
    counters: KVec<Counters>,
    /// How many times the driver has kicked a transmit queue since the task of the pair looked.
    kicks: KVec<Atomic<u32>>,
    #[pin]
    state: SpinLockIrq<KBox<model::Model>>,
    /// Changes whenever that does.
    version: Atomic<u32>,
    /// The card at the other end; also with each transmit queue. Changed with the registry's lock
    /// held.
    pub(crate) peer: RcuCell<DeviceRef>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) dropped: Dropped,
}

/// The model: not in the frame of a caller, for whom it is too large.
#[inline(never)]
fn boxed(provision: Provision) -> Result<KBox<model::Model>> {
    Ok(KBox::new(model::Model::new(provision), GFP_KERNEL)?)
}

impl Net {
    pub(crate) fn new(provision: Provision, registry: &Arc<Registry>) -> impl PinInit<Self, Error> {
        let registry = registry.clone();
        let offered = provision.offered;
        try_pin_init!(Self {
            all_pairs: offered.pairs(),
            used_pairs: Atomic::new(1),
            link_is_up: Atomic::new(true),
            counters: {
                let mut counters = KVec::new();
                for _ in 0..offered.queues() {
                    counters.push(Counters::default(), GFP_KERNEL)?;
                }
                counters
            },
            kicks: {
                let mut kicks = KVec::new();
                for _ in 0..offered.pairs().get() {
                    kicks.push(Atomic::new(0), GFP_KERNEL)?;
                }
                kicks
            },
            state <- new_spinlock_irq!(boxed(provision)?, "vdpa_sim_net"),
            version: Atomic::new(1),
            peer: RcuCell::empty(),
            registry,
            dropped: Dropped::new(),
        })
    }

    /// The counters of a queue.
    pub(crate) fn counters(&self, queue: usize) -> Option<&Counters> {
        self.counters.get(queue)
    }

    /// Asks something of the state.
    pub(crate) fn read<R>(&self, f: impl FnOnce(&model::Model) -> R) -> R {
        f(&self.state.lock())
    }

    /// Changes the state.
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut model::Model) -> R) -> R {
        let mut state = self.state.lock();
        let result = f(&mut state);
        let receiver = state.receiver();
        self.used_pairs
            .store(u32::from(receiver.pairs.get()), Relaxed);
        self.link_is_up.store(receiver.link_is_up, Relaxed);
        self.version.fetch_add(1, Relaxed);
        result
    }

    /// The pair that receives what comes from a pair of the other card.
    #[inline]
    pub(crate) fn steer(&self, pair: u16) -> u16 {
        u16::try_from(self.used_pairs.load(Relaxed))
            .ok()
            .and_then(QueuePairs::new)
            .unwrap_or(QueuePairs::ONE)
            .steer(pair)
    }

    /// Whether the link is up.
    #[inline]
    pub(crate) fn link_is_up(&self) -> bool {
        self.link_is_up.load(Relaxed)
    }

    /// There may be room in the receive queue of a pair: those run that send to it.
    #[inline]
    pub(crate) fn wake_senders(&self, device: &Device, pair: u16) {
        self.peer.read(|peer| {
            let other: &Device = peer.map_or(device, |peer| peer);
            for sender in 0..other.model().all_pairs.get() {
                if self.steer(sender) == pair {
                    other.run_or_schedule(usize::from(sender));
                }
            }
        });
    }

    /// Runs all soon that send to this card, as it changed, or has buffers again.
    pub(crate) fn schedule_all_senders(&self, device: &Device) {
        self.peer.read(|peer| match peer {
            None => device.schedule_all(),
            Some(peer) => peer.schedule_all(),
        });
    }

    /// How many queue pairs there are.
    pub(crate) fn all_pairs(&self) -> QueuePairs {
        self.all_pairs
    }

    /// There is something in the transmit queue of a pair.
    ///
    /// It is left to a thread, for which it takes some time to begin: then there may be more. A
    /// driver in the kernel that does not wait for that does the work itself, which costs less than
    /// to wait with it for the thread's turn.
    #[inline]
    fn kicked_to_send(&self, device: &Device, pair: u16) {
        let pair = usize::from(pair);
        let Some(kicks) = self.kicks.get(pair) else {
            return;
        };
        match kicks.fetch_add(1, Full) {
            0 => device.schedule(pair),
            BATCH.. if device.is_in_kernel() => device.run_or_schedule(pair),
            _ => {}
        }
    }

    /// The task of a pair looks at its queue now.
    #[inline]
    pub(crate) fn begin_to_send(&self, pair: u16) {
        if let Some(kicks) = self.kicks.get(usize::from(pair)) {
            kicks.xchg(0, Full);
        }
    }

    /// A number that is not the same if the state is not.
    #[inline]
    pub(crate) fn version(&self) -> u32 {
        self.version.load(Relaxed)
    }

    /// The task of the control queue.
    pub(crate) fn control_task(&self) -> usize {
        usize::from(self.all_pairs.get())
    }

    /// The index of the control queue.
    pub(crate) fn control_index(&self, device: &Device) -> u16 {
        self.layout(device).control_index()
    }

    fn layout(&self, device: &Device) -> Layout {
        // Before there is a driver that knows better, one that knows all.
        let features = match device.features() {
            Features::NONE => device.offered(),
            features => features,
        };
        Layout::of(features, self.all_pairs)
    }
}

impl Model for Net {
    type OwnerModule = LocalModule;
    type QueueData = QueueData;
    const ID: DeviceId = DeviceId::NET;

    fn tasks(&self) -> usize {
        self.control_task().saturating_add(1)
    }

    #[inline]
    fn kicked(&self, device: &Device, queue: QueueIndex) {
        match Layout::of(device.features(), self.all_pairs).role(queue.get()) {
            Some(Role::Transmit { pair }) => self.kicked_to_send(device, pair),
            Some(Role::Receive { pair }) => self.wake_senders(device, pair),
            // A driver in the kernel does nothing else until there is an answer.
            Some(Role::Control) => device.run_or_schedule(self.control_task()),
            None => {}
        }
    }

    fn task_of(&self, device: &Device, queue: QueueIndex) -> Option<usize> {
        match Layout::of(device.features(), self.all_pairs).role(queue.get())? {
            Role::Transmit { pair } => Some(usize::from(pair)),
            // Its frames are brought by another queue's task.
            Role::Receive { .. } => None,
            Role::Control => Some(self.control_task()),
        }
    }

    fn missed(&self, device: &Device, queue: QueueIndex) {
        match Layout::of(device.features(), self.all_pairs).role(queue.get()) {
            Some(Role::Transmit { pair }) => device.schedule(usize::from(pair)),
            Some(Role::Receive { .. }) => self.schedule_all_senders(device),
            Some(Role::Control) => device.schedule(self.control_task()),
            None => {}
        }
    }

    fn changed(&self, device: &Device) {
        device.schedule_all();
        self.peer.read(|peer| {
            if let Some(peer) = peer {
                peer.schedule_all();
            }
        });
    }

    fn group_of(&self, device: &Device, queue: QueueIndex) -> GroupId {
        if queue.get() == self.layout(device).control_index() {
            CONTROL
        } else {
            DATA
        }
    }

    fn run(&self, device: &Device, task: usize, place: Place<'_>) -> bool {
        match u16::try_from(task) {
            Ok(pair) if pair < self.all_pairs.get() => transmit::run(device, pair, place),
            _ => control_queue::run(device, place),
        }
    }

    fn accept(&self, features: Features) -> Result<Features> {
        self.change(|state| {
            state.negotiate(features).map_err(|_| EINVAL)?;
            Ok(state.negotiated().features())
        })
    }

    fn reset(&self) {
        self.change(model::Model::reset);
    }

    fn config_size(&self) -> usize {
        crate::config::ConfigSpace::LEN
    }

    fn read_config(&self, _device: &Device, offset: usize, to: &mut [u8]) {
        // As in C, what is not wholly inside stays as it is.
        let _ = self.read(|state| state.read_config(offset, to));
    }

    fn write_config(&self, _device: &Device, offset: usize, from: &[u8]) {
        let _ = self.change(|state| state.write_config(offset, from));
    }

    fn config_generation(&self) -> u32 {
        self.read(model::Model::generation)
    }

    fn write_stats(
        &self,
        device: &Device,
        queue: QueueIndex,
        stats: &mut StatsWriter<'_>,
    ) -> Result {
        let layout = self.layout(device);
        let role = match layout.role(queue.get()) {
            Some(role) => role,
            // As in C, also of one that the driver does not use.
            None if queue.get() == layout.control_index() => Role::Control,
            None => return Err(EINVAL),
        };
        let counters = self.counters(queue.to_usize()).ok_or(EINVAL)?;
        counters.write(role, stats)
    }
}

/// Whether the driver has a feature.
#[inline]
pub(crate) fn has(device: &Device, feature: u32) -> bool {
    device.features().has(feature)
}

/// Whether a received frame may be in several buffers.
#[inline]
pub(crate) fn merges_buffers(device: &Device) -> bool {
    has(device, bindings::VIRTIO_NET_F_MRG_RXBUF)
}

/// What was negotiated, as a running queue sees it.
#[inline]
pub(crate) fn negotiated(device: &Device) -> Negotiated {
    Negotiated::of_accepted(device.features())
}
