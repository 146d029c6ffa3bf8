// SPDX-License-Identifier: GPL-2.0

//! A virtqueue, as its user describes it.

use crate::{
    event::Hook,
    trace, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        rcu,
        Arc, //
    },
};
use kext::eventfd::{
    EventFd,
    Watch,
    Watcher, //
};
use vdpa::{
    Loan,
    PackedState,
    QueueAddresses,
    QueueIndex,
    QueueState, //
};

/// Kicks a queue when its eventfd is signalled.
pub(crate) struct Kick {
    loan: Arc<Loan>,
    hook: Arc<Hook>,
    queue: QueueIndex,
    kicks: Atomic<u64>,
}

impl Kick {
    pub(crate) fn new(loan: &Arc<Loan>, hook: &Arc<Hook>, queue: QueueIndex) -> Self {
        Self {
            loan: loan.clone(),
            hook: hook.clone(),
            queue,
            kicks: Atomic::new(0),
        }
    }

    /// How often the queue was kicked.
    pub(crate) fn count(&self) -> u64 {
        self.kicks.load(Relaxed)
    }
}

impl Watcher for Kick {
    fn signalled(&self) {
        self.kicks.fetch_add(1, Relaxed);
        trace::kick(&self.loan, self.queue);
        if self.hook.kick_with_data(self.queue) {
            return;
        }
        let guard = rcu::read_lock();
        if let Some(device) = self.loan.get_atomic(&guard) {
            device.kick(self.queue);
        }
    }
}

/// What is known of a queue. All of it is forgotten when the node is closed.
#[derive(Default)]
pub(crate) struct Queue {
    /// The number of entries, once it was set.
    pub(crate) size: Option<u16>,
    pub(crate) addresses: Option<QueueAddresses>,
    /// Where the user said that the device begins.
    pub(crate) base: u32,
    /// Where its driver was at the last kick with data, as `base` has it.
    pub(crate) position: Option<u16>,
    pub(crate) kick: Option<Watch<Kick>>,
    /// Signalled when the device needs a reset.
    pub(crate) error: Option<EventFd>,
    /// In microseconds. Nobody here polls in a loop, but who sets it can read it.
    pub(crate) busy_loop: u32,
}

impl Queue {
    /// Whether anything was set.
    pub(crate) fn is_used(&self) -> bool {
        self.size.is_some() || self.addresses.is_some() || self.kick.is_some()
    }
}

/// The wrap counter beside an index of a packed ring.
pub(crate) const WRAP: u16 = 1 << 15;

/// How a ring's state looks to users of `VHOST_GET_VRING_BASE`.
pub(crate) fn base_of(state: QueueState, packed: bool) -> u32 {
    if !packed {
        return u32::from(state.as_split());
    }
    let PackedState {
        avail_wrap,
        avail_index,
        used_wrap,
        used_index,
    } = state.as_packed();
    let word = |wrap: bool, index: u16| u32::from(index | if wrap { WRAP } else { 0 });
    word(avail_wrap, avail_index) | word(used_wrap, used_index) << 16
}

/// The other way round. Fails with `EINVAL` for an index that a split ring cannot have.
pub(crate) fn state_of(base: u32, packed: bool) -> Result<QueueState> {
    if !packed {
        return Ok(QueueState::split(u16::try_from(base).map_err(|_| EINVAL)?));
    }
    let [a, b, c, d] = base.to_le_bytes();
    let (avail, used) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    Ok(QueueState::packed(PackedState {
        avail_wrap: avail & WRAP != 0,
        avail_index: avail & !WRAP,
        used_wrap: used & WRAP != 0,
        used_index: used & !WRAP,
    }))
}
