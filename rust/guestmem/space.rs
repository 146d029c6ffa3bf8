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
//! it begins, and holds nothing. A device that looks whether the copy [is
//! current](crate::Session::is_current) before each buffer finishes the one that it was at when
//! something was unmapped, and no other.

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
        RwSemaphore,
        WriteGuard, //
    },
};
use vdpa::{
    Entry,
    Iotlb,
    Mapping,
    Permissions, //
};

/// What is mapped, in the order of the addresses, and without overlaps. Nothing takes no memory, so
/// that unmapping cannot fail for want of it.
pub(crate) struct Runs(Option<Arc<KVVec<Run>>>);

impl Runs {
    const NONE: Self = Self(None);

    fn new(runs: KVVec<Run>) -> Result<Self> {
        if runs.is_empty() {
            Ok(Self::NONE)
        } else {
            Ok(Self(Some(Arc::new(runs, GFP_KERNEL)?)))
        }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[Run] {
        self.0.as_ref().map_or(&[], |runs| runs.as_slice())
    }
}

impl Clone for Runs {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// An address space.
#[pin_data]
pub struct AddressSpace {
    #[pin]
    runs: RwSemaphore<Runs>,
    /// The [`MapId`] of what is mapped; changes with the semaphore held for writing.
    id: Atomic<u64>,
    /// How many ranges there may be in a whole map, or how many runs that are mapped one by one.
    limit: usize,
}

impl AddressSpace {
    /// One in which nothing is mapped. There may be `limit` runs that are mapped one by one; in a
    /// [whole map](Self::set_map), as many ranges without a gap. How many runs of physical memory
    /// these are is not for who maps to choose, and the bus driver has paid for them.
    pub fn new(limit: usize) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            runs <- new_rwsem!(Runs::NONE, c"vdpa_address_space"),
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
    pub(crate) fn user<'s>(&'s self, mm: ARef<MmWithUser>, switch: &'s MmSwitch) -> Session<'s> {
        let runs = self.runs.read();
        let id = self.id();
        let view = View::Virtual {
            now: &self.id,
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

    /// Replaces what is mapped; nothing is accessed any more then that is not in `iotlb`.
    ///
    /// Fails with `ENOSPC` above the limit, `EINVAL` for what overlaps, or `ENOMEM`; then what was
    /// mapped before in the same way stays, as far as there is memory to find that out: a device that
    /// is running needs it, and the bus driver may take a moment to tell of the old state again.
    pub fn set_map(&self, iotlb: &Iotlb) -> Result {
        let new = self.collect(iotlb).and_then(Runs::new);
        let guard = self.runs.write();
        let (runs, result) = match new {
            Ok(runs) => (runs, Ok(())),
            Err(error) => (
                unchanged(guard.as_slice(), iotlb).unwrap_or(Runs::NONE),
                Err(error),
            ),
        };
        self.replace(guard, runs);
        result
    }

    fn collect(&self, iotlb: &Iotlb) -> Result<KVVec<Run>> {
        let mut runs = KVVec::with_capacity(usize::try_from(iotlb.len())?, GFP_KERNEL)?;
        // Often they were mapped in the order of their addresses: to follow the list is faster.
        let ranges = match fill(&mut runs, iotlb.entries())? {
            Some(ranges) => ranges,
            None => fill(&mut runs, iotlb.sorted())?.ok_or(EINVAL)?,
        };
        if ranges > self.limit {
            return Err(ENOSPC);
        }
        Ok(runs)
    }

    /// What was mapped is freed with nothing locked.
    fn replace(&self, mut guard: WriteGuard<'_, Runs>, runs: Runs) {
        self.changed();
        let old = core::mem::replace(&mut *guard, runs);
        drop(guard);
        drop(old);
    }

    /// Unmaps everything.
    pub fn clear(&self) {
        if !self.runs.read().as_slice().is_empty() {
            self.replace(self.runs.write(), Runs::NONE);
        }
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
        let old = guard.as_slice();
        if old.len() >= self.limit {
            return Err(ENOSPC);
        }
        let at = old.partition_point(|run| run.first <= new.first);
        let (before, after) = old.split_at_checked(at).ok_or(EINVAL)?;
        if before.last().is_some_and(|run| run.last >= new.first)
            || after.first().is_some_and(|run| run.first <= new.last)
        {
            return Err(EEXIST);
        }
        let mut runs = KVVec::with_capacity(old.len().saturating_add(1), GFP_KERNEL)?;
        runs.extend_from_slice(before, GFP_KERNEL)?;
        runs.push(new, GFP_KERNEL)?;
        runs.extend_from_slice(after, GFP_KERNEL)?;
        *guard = Runs::new(runs)?;
        self.changed();
        Ok(())
    }

    /// Unmaps `size` bytes: runs of which that is a part stay with their rest.
    ///
    /// Fails with `ENOMEM`, and then everything is unmapped: who asks for this does so because the
    /// memory goes.
    pub fn unmap(&self, iova: u64, size: u64) -> Result {
        let Some(size) = size.checked_sub(1) else {
            return Ok(());
        };
        let end = iova.saturating_add(size);
        let mut guard = self.runs.write();
        let (runs, result) = match without(guard.as_slice(), iova, end).and_then(Runs::new) {
            Ok(runs) => (runs, Ok(())),
            Err(error) => (Runs::NONE, Err(error)),
        };
        *guard = runs;
        self.changed();
        result
    }
}

/// The runs that are entries of `iotlb`, too.
fn unchanged(runs: &[Run], iotlb: &Iotlb) -> Result<Runs> {
    let mut kept = KVVec::with_capacity(runs.len(), GFP_KERNEL)?;
    for entry in iotlb.sorted() {
        let run = run_of(&entry);
        let at = runs.partition_point(|old| old.first < run.first);
        if runs.get(at) == Some(&run) && kept.last() != Some(&run) {
            kept.push(run, GFP_KERNEL)?;
        }
    }
    Runs::new(kept)
}

/// Replaces the runs by these, for which there is room. Returns how many ranges without a gap they
/// are, or nothing if they are not in order or overlap.
fn fill<'a>(
    runs: &mut KVVec<Run>,
    entries: impl Iterator<Item = Entry<'a>>,
) -> Result<Option<usize>> {
    runs.clear();
    let mut ranges: usize = 0;
    let mut last = None;
    for entry in entries {
        let run = run_of(&entry);
        if last.is_some_and(|last| last >= run.first) {
            return Ok(None);
        }
        if last.and_then(|last: u64| last.checked_add(1)) != Some(run.first) {
            ranges = ranges.saturating_add(1);
        }
        last = Some(run.last);
        runs.push_within_capacity(run).map_err(|_| EINVAL)?;
    }
    Ok(Some(ranges))
}

/// What is left of runs without the addresses from `first` to `last`.
fn without(runs: &[Run], first: u64, last: u64) -> Result<KVVec<Run>> {
    let mut left = KVVec::with_capacity(runs.len().saturating_add(1), GFP_KERNEL)?;
    for run in runs {
        if run.last < first || run.first > last {
            left.push(*run, GFP_KERNEL)?;
            continue;
        }
        if run.first < first {
            left.push(
                Run {
                    last: first.saturating_sub(1),
                    ..*run
                },
                GFP_KERNEL,
            )?;
        }
        if run.last > last {
            let first = last.saturating_add(1);
            left.push(
                Run {
                    first,
                    host: run.host.wrapping_add(first.wrapping_sub(run.first)),
                    ..*run
                },
                GFP_KERNEL,
            )?;
        }
    }
    Ok(left)
}

fn run_of(entry: &Entry<'_>) -> Run {
    run(
        entry.first(),
        entry.last(),
        entry.address(),
        entry.permissions(),
    )
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
