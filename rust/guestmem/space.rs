// SPDX-License-Identifier: GPL-2.0

//! Address spaces of a device that translates addresses itself.
//!
//! # Locks
//!
//! The semaphore of an address space is held for reading as long as a [`Session`](crate::Session) is
//! there that accesses physical memory: a change, which needs it for writing, waits for that, and
//! afterwards nothing is accessed that is not mapped any more. Such a session never waits for
//! anything but the semaphores of other address spaces, for which it only tries.
//!
//! A session that accesses memory of a process may sleep and take the `mmap` lock of that process,
//! while a bus driver may hold that lock during a change. So it takes a copy of what is mapped when
//! it begins, and holds nothing.

use crate::{
    session::{
        MapId,
        Session,
        View, //
    },
    table::Run,
};
use kernel::{
    mm::MmWithUser,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
};
use kext::{
    mm::MmSwitch,
    rwsem::{
        new_rwsem,
        RwSemaphore, //
    },
};
use vdpa::{
    Iotlb,
    Mapping,
    Permissions, //
};

/// What is mapped, in the order of the addresses, and without overlaps.
pub(crate) type Runs = Arc<KVec<Run>>;

/// An address space.
#[pin_data]
pub struct AddressSpace {
    #[pin]
    runs: RwSemaphore<Runs>,
    /// The [`MapId`] of what is mapped; changes with the semaphore held for writing.
    id: Atomic<u64>,
    /// How many runs there may be.
    limit: usize,
}

impl AddressSpace {
    /// One in which nothing is mapped, and never more than `limit` runs.
    pub fn new(limit: usize) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            runs <- new_rwsem!(Arc::new(KVec::new(), GFP_KERNEL)?, c"vdpa_address_space"),
            id: Atomic::new(MapId::new().get()),
            limit,
        })
    }

    fn id(&self) -> MapId {
        MapId::from_raw(self.id.load(Relaxed))
    }

    /// Physical memory, until the session ends. Waits for changes.
    pub(crate) fn physical(&self) -> Session<'_> {
        let runs = self.runs.read();
        Session::new(View::Physical(runs), self.id())
    }

    /// Physical memory; nothing while the address space is being changed.
    pub(crate) fn try_physical(&self) -> Option<Session<'_>> {
        let runs = self.runs.try_read()?;
        Some(Session::new(View::Physical(runs), self.id()))
    }

    /// Memory of a process.
    pub(crate) fn user<'s>(&self, mm: ARef<MmWithUser>, switch: &'s MmSwitch) -> Session<'s> {
        let runs = self.runs.read();
        let id = self.id();
        let view = View::Virtual {
            runs: (*runs).clone(),
            mm,
            switch,
        };
        drop(runs);
        Session::new(view, id)
    }

    /// Forgets what is resolved, for a reason outside of the address space.
    pub(crate) fn touch(&self) {
        let _guard = self.runs.write();
        self.changed();
    }

    fn changed(&self) {
        self.id.store(MapId::new().get(), Relaxed);
    }

    /// Replaces what is mapped; nothing is accessed any more then that was there before.
    ///
    /// Fails with `ENOSPC` above the limit, `EINVAL` for what overlaps, or `ENOMEM`; then nothing is
    /// mapped.
    pub fn set_map(&self, iotlb: &Iotlb) -> Result {
        let runs = self.collect(iotlb);
        let (runs, result) = match runs {
            Ok(runs) => (Arc::new(runs, GFP_KERNEL), Ok(())),
            Err(e) => (Arc::new(KVec::new(), GFP_KERNEL), Err(e)),
        };
        let old = self.replace(runs?);
        drop(old);
        result
    }

    fn collect(&self, iotlb: &Iotlb) -> Result<KVec<Run>> {
        let count = usize::try_from(iotlb.len())?;
        if count > self.limit {
            return Err(ENOSPC);
        }
        let mut runs = KVec::with_capacity(count, GFP_KERNEL)?;
        for entry in iotlb.sorted() {
            runs.push(
                run(
                    entry.first(),
                    entry.last(),
                    entry.address(),
                    entry.permissions(),
                ),
                GFP_KERNEL,
            )?;
        }
        let overlap = |pair: &[Run]| match pair {
            [a, b] => a.last >= b.first,
            _ => false,
        };
        if runs.windows(2).any(overlap) {
            return Err(EINVAL);
        }
        Ok(runs)
    }

    fn replace(&self, runs: Runs) -> Runs {
        let mut guard = self.runs.write();
        self.changed();
        core::mem::replace(&mut *guard, runs)
    }

    /// Unmaps everything.
    pub fn clear(&self) -> Result {
        if self.runs.read().is_empty() {
            return Ok(());
        }
        drop(self.replace(Arc::new(KVec::new(), GFP_KERNEL)?));
        Ok(())
    }

    /// Maps one more run. This copies what is mapped already: parents that get a whole address space
    /// at once do better.
    ///
    /// Fails with `EINVAL` for an empty run or one beyond the end, `EEXIST` if something is mapped
    /// there, `ENOSPC` above the limit, or `ENOMEM`.
    pub fn map(&self, mapping: &Mapping) -> Result {
        let last = mapping
            .size()
            .checked_sub(1)
            .and_then(|size| mapping.iova().checked_add(size))
            .ok_or(EINVAL)?;
        let new = run(
            mapping.iova(),
            last,
            mapping.address(),
            mapping.permissions(),
        );
        let mut guard = self.runs.write();
        if guard.len() >= self.limit {
            return Err(ENOSPC);
        }
        let at = guard.partition_point(|run| run.first <= new.first);
        let before = at.checked_sub(1).and_then(|before| guard.get(before));
        if before.is_some_and(|run| run.last >= new.first)
            || guard.get(at).is_some_and(|run| run.first <= new.last)
        {
            return Err(EEXIST);
        }
        let mut runs = KVec::with_capacity(guard.len().saturating_add(1), GFP_KERNEL)?;
        runs.extend_from_slice(guard.get(..at).unwrap_or_default(), GFP_KERNEL)?;
        runs.push(new, GFP_KERNEL)?;
        runs.extend_from_slice(guard.get(at..).unwrap_or_default(), GFP_KERNEL)?;
        *guard = Arc::new(runs, GFP_KERNEL)?;
        self.changed();
        Ok(())
    }

    /// Unmaps `size` bytes: runs of which that is a part stay with their rest.
    ///
    /// Fails with `ENOMEM`, and then everything stays.
    pub fn unmap(&self, iova: u64, size: u64) -> Result {
        let Some(size) = size.checked_sub(1) else {
            return Ok(());
        };
        let end = iova.saturating_add(size);
        let mut guard = self.runs.write();
        let mut runs = KVec::with_capacity(guard.len().saturating_add(1), GFP_KERNEL)?;
        for run in guard.iter() {
            if run.last < iova || run.first > end {
                runs.push(*run, GFP_KERNEL)?;
                continue;
            }
            if run.first < iova {
                runs.push(
                    Run {
                        last: iova.saturating_sub(1),
                        ..*run
                    },
                    GFP_KERNEL,
                )?;
            }
            if run.last > end {
                let first = end.saturating_add(1);
                runs.push(
                    Run {
                        first,
                        host: run.host.wrapping_add(first.wrapping_sub(run.first)),
                        ..*run
                    },
                    GFP_KERNEL,
                )?;
            }
        }
        *guard = Arc::new(runs, GFP_KERNEL)?;
        self.changed();
        Ok(())
    }
}

fn run(first: u64, last: u64, host: u64, permissions: Permissions) -> Run {
    Run {
        first,
        last,
        host,
        readable: permissions.can_read(),
        writable: permissions.can_write(),
    }
}
