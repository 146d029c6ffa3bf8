// SPDX-License-Identifier: GPL-2.0

//! What a device is doing, to be read in `/sys/kernel/debug/vhost_vdpa/NODE/`.

use crate::{
    node::Shared,
    queue::{
        base_of,
        Queue, //
    },
    session::Session, //
};
use kernel::{
    device::Bound,
    prelude::*,
    sync::Arc, //
};
use kext::{
    attribute::{
        Attribute,
        Page, //
    },
    debugfs, //
};
use vdpa::{
    Device,
    QueueIndex, //
};

/// The files of a node.
pub(crate) type Files = debugfs::Files<Arc<Shared>>;

/// Makes the files. Fails with `ENOMEM` only.
pub(crate) fn files(dir: &debugfs::Dir, name: &CStr, node: Arc<Shared>) -> Result<Files> {
    Files::new::<(Summary, Queues, Maps)>(dir, name, node)
}

/// A line of this length always fits.
const LINE: usize = 200;

/// Calls `f` with what is shown, or says that nobody has the node open.
fn show(
    node: &Shared,
    page: &mut Page<'_>,
    f: impl FnOnce(&Device<Bound>, &Session, &mut Page<'_>) -> Result,
) -> Result {
    let device = node.loan.get().ok_or(ENODEV)?;
    match &*node.session.lock() {
        Some(session) => f(&device, session, page),
        None => writeln!(page, "closed"),
    }
}

/// The device and its user.
struct Summary;

#[vtable]
impl Attribute<Arc<Shared>> for Summary {
    const NAME: &'static CStr = c"state";

    fn show(node: &Arc<Shared>, page: &mut Page<'_>) -> Result {
        show(node, page, |device, session, page| {
            page.write_fmt(fmt!("device: {}\n", node.loan.name()))?;
            writeln!(page, "status: {:#x}", device.status().bits())?;
            writeln!(page, "suspended: {}", session.suspended)?;
            writeln!(page, "features: {:#x}", device.driver_features().bits())?;
            writeln!(page, "offered: {:#x}", device.device_features().bits())?;
            writeln!(page, "backend features: {:#x}", session.backend.bits())?;
            writeln!(page, "queues: {}", device.queue_count())?;
            writeln!(page, "owner: {}", session.has_owner())?;
            let range = session.memory.range();
            writeln!(page, "iova: {:#x}-{:#x}", range.first, range.last)?;
            let pinned = session
                .memory
                .totals()
                .fold(0usize, |sum, (_, totals)| sum.saturating_add(totals.pinned));
            writeln!(
                page,
                "pinned: {} bytes",
                pinned.saturating_mul(kernel::page::PAGE_SIZE)
            )
        })
    }
}

/// The queues for which anything was set.
struct Queues;

impl Queues {
    fn line(
        node: &Shared,
        device: &Device<Bound>,
        index: QueueIndex,
        (queue, packed): (&Queue, bool),
        page: &mut Page<'_>,
    ) -> Result {
        let at = queue.addresses.unwrap_or_default();
        write!(
            page,
            "{}: size={} desc={:#x} driver={:#x} device={:#x} base={:#x} ready={}",
            index.get(),
            queue.size.unwrap_or(0),
            at.descriptors,
            at.driver,
            at.device,
            queue.base,
            u8::from(device.queue_ready(index)),
        )?;
        // Where the device is, which some can only tell when they are suspended.
        match device.queue_state(index) {
            Ok(state) => write!(page, " index={:#x}", base_of(state, packed))?,
            Err(_) => write!(page, " index=?")?,
        }
        let kick = queue.kick.as_ref();
        write!(
            page,
            " kick={} kicks={} call={} calls={}",
            match kick {
                None => "none",
                Some(kick) if kick.hung_up() => "closed",
                Some(_) => "set",
            },
            kick.map_or(0, |kick| kick.watcher().count()),
            u8::from(node.signals.is_set(index)),
            node.signals.calls(index),
        )?;
        match node.signals.offered_interrupt(index) {
            Some(irq) => writeln!(page, " irq={irq}"),
            None => writeln!(page),
        }
    }
}

#[vtable]
impl Attribute<Arc<Shared>> for Queues {
    const NAME: &'static CStr = c"queues";

    fn show(node: &Arc<Shared>, page: &mut Page<'_>) -> Result {
        show(node, page, |device, session, page| {
            // In this order: the number behind the last queue may be none.
            for (queue, index) in session.queues.iter().zip(0..) {
                let index = QueueIndex::new(index);
                if !queue.is_used() && !node.signals.is_set(index) {
                    continue;
                }
                if page.room() < 2 * LINE {
                    return writeln!(page, "...");
                }
                Self::line(node, device, index, (queue, session.is_packed()), page)?;
            }
            Ok(())
        })
    }
}

/// What is mapped.
struct Maps;

#[vtable]
impl Attribute<Arc<Shared>> for Maps {
    const NAME: &'static CStr = c"maps";

    fn show(node: &Arc<Shared>, page: &mut Page<'_>) -> Result {
        show(node, page, |_, session, page| {
            for (asid, totals) in session.memory.totals() {
                if page.room() < 2 * LINE {
                    return writeln!(page, "...");
                }
                writeln!(
                    page,
                    "asid {}: {} mappings, {} bytes, {} pages pinned",
                    asid.get(),
                    totals.regions,
                    totals.bytes,
                    totals.pinned
                )?;
                let mut full = false;
                session
                    .memory
                    .each_piece(asid, |first, last, uaddr, permissions| {
                        if page.room() < LINE {
                            full = true;
                        }
                        if full {
                            return Ok(());
                        }
                        writeln!(page, "  {first:#x}-{last:#x} {uaddr:#x} {permissions}")
                    })?;
                if full {
                    return writeln!(page, "...");
                }
            }
            Ok(())
        })
    }
}
