// SPDX-License-Identifier: GPL-2.0

//! The control queue: commands of the driver (virtio 1.3, section 5.1.6.5).

use crate::{
    control::{
        Ack,
        MAX_LEN, //
    },
    counters::Delta,
    model::Change,
    net::{
        Device,
        CONTROL, //
    },
    transmit::QueueData,
};
use guestmem::{
    NoSession,
    Session, //
};
use kext::claim::Claimed;
use vdpa::QueueIndex;
use vdpasim::{
    Inner,
    Open,
    Place, //
};
use virtqueue::{
    Chain,
    Cursor,
    Error as QueueError, //
};

/// After so many commands a task lets others run.
const BUDGET: u32 = 16;

/// Runs the task of the control queue, and says whether there is more to do.
pub(crate) fn run(device: &Device, place: Place<'_>) -> bool {
    let index = device.model().control_index(device);
    let Some(queue) = device.queue(usize::from(index)) else {
        return false;
    };
    let Some(mut claim) = queue.try_claim() else {
        return false;
    };
    let mut delta = Delta::default();
    let result = answer_all(device, place, &mut claim, &mut delta);
    let mut failed = false;
    if result.is_err() {
        claim.break_down();
        failed = device.fail();
    }
    drop(claim);
    if let Some(counters) = device.model().counters(usize::from(index)) {
        counters.add(&delta);
    }
    let again = match result {
        Ok((again, interrupt)) => {
            if interrupt {
                device.interrupts().raise(QueueIndex::new(index));
            }
            again
        }
        Err(error) => {
            if failed {
                device.report(usize::from(index), error);
            }
            false
        }
    };
    queue.take_left() || again
}

/// Answers what there is, if that can be done here; see [`process`].
fn answer_all(
    device: &Device,
    place: Place<'_>,
    claim: &mut Claimed<'_, Inner<QueueData>>,
    delta: &mut Delta,
) -> Result<(bool, bool), QueueError> {
    let index = device.model().control_index(device);
    if !device.is_running() || device.faults().is_stalled(usize::from(index)) {
        return Ok((false, false));
    }
    let mut session = match device.session(CONTROL, place) {
        Ok(session) => session,
        Err(NoSession::Nothing) => return Ok((false, false)),
        Err(NoSession::Busy | NoSession::NotHere) => return Ok((true, false)),
    };
    match claim.open(device.features(), &mut session) {
        Ok(Some(mut open)) => match process(device, &mut open, &mut session, delta) {
            Err(QueueError::NotMapped) => Ok((false, false)),
            result => result,
        },
        Ok(None) => Ok((false, false)),
        Err(error) => Err(error),
    }
}

/// Answers commands; says whether there are more, and whether the driver wants an interrupt.
fn process(
    device: &Device,
    open: &mut Open<'_, QueueData>,
    session: &mut Session<'_>,
    delta: &mut Delta,
) -> Result<(bool, bool), QueueError> {
    let mut again = true;
    for _ in 0..BUDGET {
        let Some(chain) = open.queue.next(session, open.segments)? else {
            if open.queue.enable_kicks(session)? {
                continue;
            }
            again = false;
            break;
        };
        let written = answer(device, open, session, chain, delta);
        open.queue.complete(session, chain, written)?;
    }
    open.queue.publish(session)?;
    Ok((again, open.queue.needs_interrupt(session)?))
}

/// Does what a command says, and writes the answer. Returns how long that is.
fn answer(
    device: &Device,
    open: &Open<'_, QueueData>,
    session: &mut Session<'_>,
    chain: Chain,
    delta: &mut Delta,
) -> u32 {
    let segments = open.segments.get(..chain.segments()).unwrap_or_default();
    let (readable, writable) = segments
        .split_at_checked(chain.readable())
        .unwrap_or((&[], &[]));
    let mut from = Cursor::new(readable);
    let total = usize::try_from(from.remaining()).unwrap_or(usize::MAX);
    let mut command = [0; MAX_LEN];
    let result = match from.read(session, &mut command) {
        Ok(read) => device.model().change(|state| {
            state
                .command(command.get(..read).unwrap_or_default(), total)
                .map_err(|_| ())
        }),
        Err(_) => Err(()),
    };
    delta.packets = delta.packets.saturating_add(1);
    let ack = match result {
        Ok(change) => {
            delta.bytes = delta.bytes.saturating_add(1);
            if let Change::Pairs(_) = change {
                // Other pairs receive now.
                device.model().schedule_all_senders(device);
            }
            Ack::OK
        }
        Err(()) => {
            delta.errors = delta.errors.saturating_add(1);
            Ack::ERR
        }
    };
    match Cursor::new(writable).write(session, &[ack.get()]) {
        Ok(written) => u32::try_from(written).unwrap_or(0),
        Err(_) => 0,
    }
}
