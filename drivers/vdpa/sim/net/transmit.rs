// SPDX-License-Identifier: GPL-2.0

//! From a transmit queue to a receive queue.
//!
//! A task takes the claim of the transmit queue, then that of the receive queue; of what it cannot
//! have it only asks to be run again by who has it. It copies from buffer to buffer, tells both
//! drivers of all that it did at once, and raises interrupts when it has given up the claim of the
//! receive queue.
//!
//! A frame for which there is no buffer stays in its queue until there is one: that is what makes
//! the sender slow down.

use crate::{
    counters::Delta,
    deliver::{
        self,
        Taken,
        Verdict,
        MAX_BUFFERS, //
    },
    features::Layout,
    header::HeaderSize,
    model::Receiver,
    net::{
        self,
        Device,
        DATA,
        MAX_FRAME, //
    },
    peers::DeviceRef,
};
use guestmem::{
    NoSession,
    Session, //
};
use kernel::prelude::*;
use vdpa::QueueIndex;
use vdpa_bindings as bindings;
use vdpasim::{
    Open,
    Place, //
};
use virtqueue::Error as QueueError;

/// After so many frames a task lets others run.
const BUDGET: u32 = 256;

/// And after so many bytes.
const BYTE_BUDGET: u64 = 1 << 20;

/// What is kept with a queue.
pub(crate) struct QueueData {
    /// With a receive queue: what its card receives.
    receiver: KBox<Receiver>,
    /// As of which version of the card's state that is.
    version: Option<u32>,
    /// With a transmit queue: the card at the other end, if that is another one.
    pub(crate) peer: Option<DeviceRef>,
    /// With a transmit queue: how many segments of the next frame were received already.
    resume: usize,
    /// With a transmit queue, of a card that does work on frames: a place for one.
    scratch: KVVec<u8>,
    /// With a receive queue: buffers that were taken for one frame.
    taken: KVec<Option<Taken>>,
}

impl vdpasim::QueueData for QueueData {
    #[inline(never)]
    fn new() -> Result<Self> {
        let mut taken = KVec::new();
        taken.resize(MAX_BUFFERS, None, GFP_KERNEL)?;
        Ok(Self {
            receiver: nobody()?,
            version: None,
            peer: None,
            resume: 0,
            scratch: KVVec::new(),
            taken,
        })
    }

    fn restart(&mut self) {
        self.resume = 0;
    }
}

impl QueueData {
    /// Finds out what a card receives, if that has changed.
    #[inline]
    fn learn(&mut self, card: &Device) {
        let version = card.model().version();
        if self.version != Some(version) {
            copy_receiver(card, &mut self.receiver);
            self.version = Some(version);
        }
    }
}

/// Lets a new card work on frames, if it offers to. Fails with `ENOMEM`.
pub(crate) fn prepare(device: &Device) -> Result {
    if !device.offered().has(bindings::VIRTIO_NET_F_CSUM) {
        return Ok(());
    }
    for pair in 0..device.model().all_pairs().get() {
        if let Some(queue) = device.queue(usize::from(Layout::transmit_index(pair))) {
            let mut bytes = KVVec::new();
            bytes.resize(MAX_FRAME, 0, GFP_KERNEL)?;
            queue.with_data(|data| data.scratch = bytes);
        }
    }
    Ok(())
}

/// Not inlined, as the next one: it is large for a frame of the stack that stays.
#[inline(never)]
fn nobody() -> Result<KBox<Receiver>> {
    Ok(KBox::new(Receiver::nobody(), GFP_KERNEL)?)
}

#[cold]
#[inline(never)]
fn copy_receiver(card: &Device, to: &mut Receiver) {
    card.model().read(|state| to.clone_from(state.receiver()));
}

/// What is to be done when the claims were given up.
#[derive(Default)]
struct After {
    /// There is more to do.
    again: bool,
    /// Others wait for the receive queue.
    wake_others: bool,
    /// It has to be done in a thread.
    in_thread: bool,
    /// The driver that sends wants an interrupt.
    interrupt_sender: bool,
    /// The driver that receives wants one.
    interrupt_receiver: bool,
    /// What is wrong with the transmit queue.
    sender_error: Option<QueueError>,
    /// What is wrong with the receive queue.
    receiver_error: Option<QueueError>,
    /// It is news that the device that sends needs a reset.
    sender_failed: bool,
    /// It is news that the device that receives needs one.
    receiver_failed: bool,
}

/// Runs the task of a pair, and says whether there is more to do.
pub(crate) fn run(device: &Device, pair: u16, place: Place<'_>) -> bool {
    let index = usize::from(Layout::transmit_index(pair));
    let Some(queue) = device.queue(index) else {
        return false;
    };
    // Also if this comes to nothing: who has the claim sees to it that it is done again.
    device.model().begin_to_send(pair);
    let Some(mut claim) = queue.try_claim() else {
        return false;
    };
    // It comes back before the claim goes, for which those wait who change it.
    let peer = claim.data().peer.take();
    let other: &Device = match &peer {
        Some(peer) => peer,
        None => device,
    };
    let other_pair = other.model().steer(pair);
    let other_index = usize::from(Layout::receive_index(other_pair));
    let mut after = After::default();
    if let Some(other_queue) = other.queue(other_index) {
        if let Some(mut other_claim) = other_queue.try_claim() {
            let mut lane = Lane {
                device,
                other,
                is_loop: peer.is_none(),
                index,
                other_index,
                place,
            };
            after = lane.run(&mut claim, &mut other_claim);
            if after.sender_error.is_some() {
                claim.break_down();
                after.sender_failed = device.fail();
            }
            if after.receiver_error.is_some() {
                other_claim.break_down();
                after.receiver_failed = other.fail();
                // There is nobody any more to receive it.
                after.again = true;
            }
            drop(other_claim);
            if other_queue.take_left() {
                after.wake_others = true;
            }
        }
    }
    // If a driver answers by a kick at once, it finds the claim taken, and that is looked at below.
    if after.interrupt_receiver {
        raise(other, other_index);
    }
    if after.interrupt_sender {
        raise(device, index);
    }
    if let (true, Some(error)) = (after.sender_failed, after.sender_error) {
        device.report(index, error);
    }
    if let (true, Some(error)) = (after.receiver_failed, after.receiver_error) {
        other.report(other_index, error);
    }
    if after.wake_others {
        other.model().schedule_all_senders(other);
    }
    claim.data().peer = peer;
    drop(claim);

    if after.in_thread {
        device.schedule(usize::from(pair));
    }
    queue.take_left() || after.again
}

/// Whether the queue cannot go on: not if its memory is only not mapped at the moment.
fn is_fatal(error: &QueueError) -> bool {
    *error != QueueError::NotMapped
}

fn raise(device: &Device, queue: usize) {
    if let Ok(queue) = u16::try_from(queue) {
        device.interrupts().raise(QueueIndex::new(queue));
    }
}

/// From where to where.
struct Lane<'a> {
    device: &'a Device,
    other: &'a Device,
    is_loop: bool,
    index: usize,
    other_index: usize,
    place: Place<'a>,
}

type Claimed<'a> = kext::claim::Claimed<'a, vdpasim::Inner<QueueData>>;

impl Lane<'_> {
    fn run(&mut self, claim: &mut Claimed<'_>, other_claim: &mut Claimed<'_>) -> After {
        let mut after = After::default();
        if !self.device.is_running()
            || self.device.faults().is_stalled(self.index)
            || self.other.faults().is_stalled(self.other_index)
        {
            return after;
        }
        let mut session = match self.device.session(DATA, self.place) {
            Ok(session) => session,
            Err(error) => return after.without_session(error),
        };
        let mut sender = match claim.open(self.device.features(), &mut session) {
            Ok(Some(sender)) => sender,
            Ok(None) => return after,
            Err(error) => {
                after.sender_error = Some(error);
                return after;
            }
        };
        if !self.device.model().link_is_up() {
            self.discard(&mut session, &mut sender, &mut after);
            return after;
        }
        if !self.other.is_running() {
            if !self.is_loop {
                self.discard(&mut session, &mut sender, &mut after);
            }
            return after;
        }
        let mut other_session = if self.is_loop {
            None
        } else {
            match self.other.try_session(DATA, self.place) {
                Ok(session) => Some(session),
                Err(NoSession::Nothing) => {
                    self.discard(&mut session, &mut sender, &mut after);
                    return after;
                }
                Err(error) => return after.without_session(error),
            }
        };
        let opened = other_claim.open(
            self.other.features(),
            other_session.as_mut().unwrap_or(&mut session),
        );
        let mut receiver = match opened {
            Ok(Some(receiver)) => receiver,
            Ok(None) => {
                if !self.is_loop {
                    self.discard(&mut session, &mut sender, &mut after);
                }
                return after;
            }
            Err(error) => {
                after.receiver_error = Some(error);
                return after;
            }
        };
        self.transmit(
            &mut session,
            &mut sender,
            other_session.as_mut(),
            &mut receiver,
            &mut after,
        );
        after
    }

    /// Moves frames until there are no more, or no buffers for them.
    fn transmit<'s>(
        &mut self,
        session: &mut Session<'s>,
        sender: &mut Open<'_, QueueData>,
        mut other_session: Option<&mut Session<'s>>,
        receiver: &mut Open<'_, QueueData>,
        after: &mut After,
    ) {
        let (mut sent, mut received) = (Delta::default(), Delta::default());
        receiver.data.learn(self.other);
        let negotiated = net::negotiated(self.device);
        let mut lane = deliver::Lane {
            negotiated,
            header: HeaderSize::new(negotiated),
            merges: net::merges_buffers(self.other),
            receiver: &receiver.data.receiver,
            from: sender.segments,
            bounce: sender.bounce,
            queue: receiver.queue,
            to: receiver.segments,
            taken: &mut receiver.data.taken,
            resume: &mut sender.data.resume,
            scratch: &mut sender.data.scratch,
            dropped: &self.other.model().dropped,
            sent: &mut sent,
            received: &mut received,
        };
        let asked = lane
            .queue
            .disable_kicks(other_session.as_deref_mut().unwrap_or(session));
        if let Err(error) = asked {
            after.receiver_error = Some(error).filter(is_fatal);
            return;
        }
        let mut budget = BUDGET;
        let result = (|| {
            sender.queue.disable_kicks(session)?;
            loop {
                if budget == 0 || lane.sent.bytes > BYTE_BUDGET {
                    after.again = true;
                    break;
                }
                budget = budget.saturating_sub(1);
                let Some(chain) = sender.queue.next(session, lane.from)? else {
                    if sender.queue.enable_kicks(session)? {
                        continue;
                    }
                    break;
                };
                // After the frame was taken: what was mapped before it was sent is seen.
                if !session.is_current() || other_session.as_ref().is_some_and(|s| !s.is_current())
                {
                    sender.queue.put_back(chain);
                    after.again = true;
                    break;
                }
                match lane.deliver(session, other_session.as_deref_mut(), chain) {
                    Ok(Verdict::Done) => {
                        *lane.resume = 0;
                        sender.queue.complete(session, chain, 0)?;
                    }
                    Ok(Verdict::Starved) => {
                        // The receiver's kick goes on with it.
                        sender.queue.put_back(chain);
                        lane.received.overruns = lane.received.overruns.saturating_add(1);
                        break;
                    }
                    Err(error) => {
                        sender.queue.put_back(chain);
                        after.receiver_error = Some(error);
                        break;
                    }
                }
            }
            Ok(())
        })();
        // Before the drivers are told of the frames: then they find them counted.
        self.count(lane.sent, lane.received);
        let result = result.and_then(|()| {
            sender.queue.publish(session)?;
            after.interrupt_sender = sender.queue.needs_interrupt(session)?;
            Ok(())
        });
        after.sender_error = result.err().filter(is_fatal);
        let result = (|| {
            let session = other_session.unwrap_or(session);
            lane.queue.publish(session)?;
            after.interrupt_receiver = lane.queue.needs_interrupt(session)?;
            Ok(())
        })();
        after.receiver_error = after.receiver_error.or(result.err()).filter(is_fatal);
    }

    /// Nobody is there to receive, or the link is down: what is sent is lost, as with a cable that is
    /// not plugged in.
    fn discard(
        &self,
        session: &mut Session<'_>,
        sender: &mut Open<'_, QueueData>,
        after: &mut After,
    ) {
        let mut sent = Delta::default();
        sender.data.resume = 0;
        let result = (|| {
            for _ in 0..BUDGET {
                let Some(chain) = sender.queue.next(session, sender.segments)? else {
                    if sender.queue.enable_kicks(session)? {
                        continue;
                    }
                    break;
                };
                sender.queue.complete(session, chain, 0)?;
                sent.packets = sent.packets.saturating_add(1);
                sent.drops = sent.drops.saturating_add(1);
            }
            Ok(())
        })();
        self.count(&sent, &Delta::default());
        let result = result.and_then(|()| {
            sender.queue.publish(session)?;
            after.again = sender.queue.enable_kicks(session)?;
            after.interrupt_sender = sender.queue.needs_interrupt(session)?;
            Ok(())
        });
        after.sender_error = result.err().filter(is_fatal);
    }

    fn count(&self, sent: &Delta, received: &Delta) {
        if let Some(counters) = self.device.model().counters(self.index) {
            counters.add(sent);
        }
        if let Some(counters) = self.other.model().counters(self.other_index) {
            counters.add(received);
        }
    }
}

impl After {
    fn without_session(mut self, error: NoSession) -> Self {
        match error {
            NoSession::Nothing => {}
            NoSession::NotHere => self.in_thread = true,
            NoSession::Busy => self.again = true,
        }
        self
    }
}
