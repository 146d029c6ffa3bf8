// SPDX-License-Identifier: GPL-2.0

//! Messages about the owner's memory: `struct vhost_msg` and `struct vhost_msg_v2`, which are written
//! to the node, one or more at once.

use crate::{
    node::Shared,
    session::Session,
    trace, //
};
use kernel::{
    current,
    device::Bound,
    iov::IovIterSource,
    prelude::*, //
};
use vdpa::{
    Asid,
    Device,
    Permissions, //
};
use vdpa_bindings as bindings;
use vhost::Update;

/// The size of both structures, with room for messages of other kinds.
const SIZE: usize = size_of::<bindings::vhost_msg>();
const _: () = assert!(SIZE == size_of::<bindings::vhost_msg_v2>());

/// As much of them as a message about memory takes. A sole message may end here.
const USED: usize = 40;

/// A message, as it was read.
struct Message {
    /// Only in the second version, of which it is said whether it counts.
    asid: Option<u32>,
    iova: u64,
    size: u64,
    uaddr: u64,
    permissions: u8,
    kind: u8,
}

/// The nth field of `N` bytes.
fn field<const N: usize>(bytes: &[u8; USED], n: usize) -> Option<[u8; N]> {
    bytes.chunks_exact(N).nth(n)?.try_into().ok()
}

impl Message {
    /// Fails with `EINVAL` if the version is not known.
    fn parse(bytes: &[u8; USED]) -> Result<Self> {
        let word = |n| field(bytes, n).map_or(0, u32::from_ne_bytes);
        let long = |n| field(bytes, n).map_or(0, u64::from_ne_bytes);
        let asid = match word(0) {
            bindings::VHOST_IOTLB_MSG => None,
            bindings::VHOST_IOTLB_MSG_V2 => Some(word(1)),
            _ => return Err(EINVAL),
        };
        let [permissions, kind, ..] = long(4).to_ne_bytes();
        Ok(Self {
            asid,
            iova: long(1),
            size: long(2),
            uaddr: long(3),
            permissions,
            kind,
        })
    }

    /// Does what it says. Fails with `EPERM` unless the owner wrote it, `EINVAL` if it is not known,
    /// `ENODEV` if the device was revoked, or as [`vhost::Memory`].
    fn handle(&self, shared: &Shared) -> Result {
        let kind = u32::from(self.kind);
        if kind == bindings::VHOST_IOTLB_UPDATE {
            return self.update(shared);
        }
        with_session(shared, |device, session| {
            session.owner()?;
            let asid = self.space(session);
            let memory = &mut session.memory;
            match kind {
                bindings::VHOST_IOTLB_INVALIDATE => {
                    let result = memory.invalidate(device, asid, self.iova, self.size);
                    trace::unmap(&shared.loan, asid, self.iova, self.size, &result);
                    result
                }
                bindings::VHOST_IOTLB_BATCH_BEGIN => memory.begin_batch(device, asid),
                bindings::VHOST_IOTLB_BATCH_END => memory.end_batch(device, asid),
                _ => Err(EINVAL),
            }
        })
    }

    /// The address space that it is about.
    fn space(&self, session: &Session) -> Asid {
        Asid::new(match self.asid {
            Some(asid) if session.accepted(bindings::VHOST_BACKEND_F_IOTLB_ASID) => asid,
            _ => 0,
        })
    }

    /// Maps memory. It is found, and pinned, while nothing is locked and the device may go.
    fn update(&self, shared: &Shared) -> Result {
        if self.size == 0 {
            return Err(EINVAL);
        }
        let permissions = u32::from(self.permissions);
        let update = Update {
            iova: self.iova,
            size: self.size,
            uaddr: self.uaddr,
            permissions: Permissions::from_bits(permissions),
        };
        let (owner, asid, plan) = with_session(shared, |device, session| {
            let (owner, asid) = (session.owner()?, self.space(session));
            let plan = if permissions == 0 || permissions & !bindings::VHOST_ACCESS_RW != 0 {
                Err(EINVAL)
            } else {
                session.memory.plan(device, asid, &update)
            };
            Ok((owner, asid, plan))
        })?;
        let result = (|| {
            let mut plan = plan?;
            let prepared = plan.prepare(&owner).or_else(|error| {
                // What this batch unmapped may count as locked still.
                let unpinned = plan.can_retry()
                    && with_session(shared, |device, session| {
                        session.memory.unpin_early(device, asid)
                    })?;
                if unpinned {
                    plan.prepare(&owner)
                } else {
                    Err(error)
                }
            })?;
            with_session(shared, |device, session| {
                session.memory.commit(device, plan, prepared)
            })
        })();
        trace::map(&shared.loan, asid, &update, &result);
        result
    }
}

/// Calls `f` with the device and its session locked. Fails with `ENODEV` if the device was revoked.
fn with_session<R>(
    shared: &Shared,
    f: impl FnOnce(&Device<Bound>, &mut Session) -> Result<R>,
) -> Result<R> {
    let device = shared.loan.get().ok_or(ENODEV)?;
    let mut session = shared.session.lock();
    f(&device, (*session).as_mut().ok_or(ENODEV)?)
}

/// `write()`: handles messages until there is no whole one left, one fails, or a signal comes; how
/// many bytes they had. The error is that of the first one.
pub(crate) fn write(shared: &Shared, from: &mut IovIterSource<'_>) -> Result<usize> {
    let mut done = 0;
    while done == 0 || (from.len() >= SIZE && !current!().signal_pending()) {
        let before = from.len();
        match write_one(shared, from) {
            Ok(()) => done += before.saturating_sub(from.len()),
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn write_one(shared: &Shared, from: &mut IovIterSource<'_>) -> Result {
    if from.len() < USED {
        return Err(EINVAL);
    }
    let mut bytes = [0; USED];
    if from.copy_from_iter(&mut bytes) != USED {
        return Err(EFAULT);
    }
    from.advance(from.len().min(SIZE - USED));
    Message::parse(&bytes)?.handle(shared)
}
