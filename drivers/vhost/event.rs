// SPDX-License-Identifier: GPL-2.0

//! What the device reports by itself, for who reads the node or waits for it.
//!
//! Reading gives records of eight bytes: a type and a number, both 32 bits in native order.

use crate::{
    node::Shared,
    trace, //
};
use kernel::{
    fs::File,
    iov::IovIterDest,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        poll::PollTable,
        Arc, //
    },
};
use kext::work::{
    RunItem,
    WorkQueue,
    WorkSet, //
};
use vdpa::{
    Loan,
    QueueIndex,
    SignalHook,
    Status, //
};
use vdpa_bindings as bindings;

/// The configuration space has changed; the number counts the changes that were reported.
const CONFIG: u32 = 1;
/// The device needs a reset; the number is its status.
const NEEDS_RESET: u32 = 2;

const RECORD: usize = 8;

/// Hears of interrupts.
#[pin_data]
pub(crate) struct Hook {
    /// How often the configuration space changed.
    changes: Atomic<u32>,
    /// Whether kicks have data, which are to be found out.
    kick_data: Atomic<bool>,
    /// What follows a change, then kicks of the queues.
    #[pin]
    work: WorkSet<Work>,
    loan: Arc<Loan>,
}

impl Hook {
    /// For a device with so many queues that are kicked with data.
    pub(crate) fn new(
        queue: &Arc<WorkQueue>,
        loan: Arc<Loan>,
        queues: usize,
    ) -> impl PinInit<Self, Error> {
        let work = WorkSet::new(queue.clone(), queues.saturating_add(1));
        try_pin_init!(Self {
            changes: Atomic::new(0),
            kick_data: Atomic::new(false),
            work <- work,
            loan,
        })
    }

    /// From now on, tells a node.
    pub(crate) fn start(&self, node: Arc<Shared>) {
        self.work.start(Work(node));
    }

    /// From now on, tells nobody.
    pub(crate) fn stop(&self) {
        self.work.stop();
    }

    /// Whether queues are to be kicked with data from now on.
    pub(crate) fn set_kick_data(&self, wanted: bool) {
        self.kick_data.store(wanted, Relaxed);
    }

    /// Whether queues are to be kicked with data.
    pub(crate) fn wants_kick_data(&self) -> bool {
        self.kick_data.load(Relaxed)
    }

    /// Kicks a queue with data, in a while, if that is how queues are kicked; says whether. Any
    /// context.
    pub(crate) fn kick_with_data(&self, queue: QueueIndex) -> bool {
        let wanted = self.wants_kick_data();
        if wanted {
            self.work.queue(queue.to_usize().saturating_add(1));
        }
        wanted
    }
}

impl SignalHook for Hook {
    fn queue(&self, queue: QueueIndex) {
        trace::call(&self.loan, queue);
    }

    fn config(&self) {
        self.changes.fetch_add(1, Relaxed);
        self.work.queue(0);
    }
}

/// What follows a change of the configuration space or a kick, where it may sleep.
struct Work(Arc<Shared>);

impl RunItem for Work {
    fn run(&self, item: usize) {
        match item.checked_sub(1).map(u16::try_from) {
            None => self.0.report(),
            Some(Ok(queue)) => self.0.kick_with_data(QueueIndex::new(queue)),
            Some(Err(_)) => {}
        }
    }
}

/// What the reader of a node was told.
#[derive(Default)]
pub(crate) struct Seen {
    changes: u32,
    /// The status with which the device said that it needs a reset, and whether that was told.
    broken: Option<(Status, bool)>,
}

impl Seen {
    /// The next record.
    fn next(&mut self, changes: u32) -> Option<[u32; 2]> {
        if self.changes != changes {
            self.changes = changes;
            return Some([CONFIG, changes]);
        }
        match &mut self.broken {
            Some((status, told)) if !*told => {
                *told = true;
                Some([NEEDS_RESET, u32::from(status.bits())])
            }
            _ => None,
        }
    }

    fn is_pending(&self, changes: u32) -> bool {
        self.changes != changes || matches!(self.broken, Some((_, false)))
    }
}

impl Shared {
    /// Begins to count anew.
    pub(crate) fn forget_events(&self) {
        let mut seen = self.seen.lock();
        seen.changes = self.hook.changes.load(Relaxed);
        seen.broken = None;
    }

    /// The device was reset.
    pub(crate) fn forget_breakage(&self) {
        self.seen.lock().broken = None;
    }

    /// Wakes those who wait, after something changed.
    pub(crate) fn wake(&self) {
        // Who decided to wait did so with the lock held, and waits by now.
        let seen = self.seen.lock();
        self.readable.notify_all();
        drop(seen);
    }

    /// Finds out what happened, and tells.
    fn report(&self) {
        if let Some(device) = self.loan.get() {
            let session = self.session.lock();
            if let Some(session) = session.as_ref() {
                let status = device.status();
                let mut seen = self.seen.lock();
                let news = status.contains(Status::NEEDS_RESET) && seen.broken.is_none();
                if news {
                    seen.broken = Some((status, false));
                }
                drop(seen);
                if news {
                    session
                        .queues
                        .iter()
                        .filter_map(|queue| queue.error.as_ref())
                        .for_each(|error| error.signal());
                }
            }
        }
        self.wake();
    }

    /// `read()`: fails with `EINVAL` if not even one record fits, `ENODEV` if the device is gone,
    /// `EAGAIN` if it must not wait, or `ERESTARTSYS`.
    pub(crate) fn read(&self, to: &mut IovIterDest<'_>, nonblocking: bool) -> Result<usize> {
        if to.len() < RECORD {
            return Err(EINVAL);
        }
        let mut seen = self.seen.lock();
        loop {
            if self.loan.is_over() {
                return Err(ENODEV);
            }
            if seen.is_pending(self.hook.changes.load(Relaxed)) {
                break;
            }
            if nonblocking {
                return Err(EAGAIN);
            }
            if self.readable.wait_interruptible(&mut seen) {
                return Err(ERESTARTSYS);
            }
        }
        let mut next = || seen.next(self.hook.changes.load(Relaxed));
        let first = next();
        let second = if to.len() < 2 * RECORD { None } else { next() };
        drop(seen);
        let mut written = 0;
        for [kind, number] in [first, second].into_iter().flatten() {
            for word in [kind, number] {
                if to.copy_to_iter(&word.to_ne_bytes()) != size_of::<u32>() {
                    return Err(EFAULT);
                }
            }
            written += RECORD;
        }
        Ok(written)
    }

    /// `poll()`.
    pub(crate) fn poll(&self, this: &File, table: PollTable<'_>) -> u32 {
        table.register_wait(this, &self.readable);
        if self.loan.is_over() {
            return bindings::POLLHUP | bindings::POLLERR;
        }
        let mut events = bindings::POLLOUT | bindings::POLLWRNORM;
        let changes = self.hook.changes.load(Relaxed);
        if self.seen.lock().is_pending(changes) {
            events |= bindings::POLLIN | bindings::POLLRDNORM;
        }
        events
    }
}
