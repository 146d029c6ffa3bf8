// SPDX-License-Identifier: GPL-2.0

//! The address spaces of a device, and the messages that change them.

use crate::{
    source::{
        to_pages,
        Regions,
        Request, //
    },
    space::{
        Space,
        Style,
        Totals, //
    },
};
use core::mem;
use kernel::{
    device::Bound,
    mm::Mm,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use kext::{
    iommu::Domain,
    pin::Lookup, //
};
use vdpa::{
    Asid,
    Device,
    IovaRange,
    Loan,
    Permissions, //
};

/// What to map: `size` bytes, at `iova` for the device and at `uaddr` for the owner.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// The first I/O virtual address.
    pub iova: u64,
    /// In bytes.
    pub size: u64,
    /// The address in the owner's memory.
    pub uaddr: u64,
    /// What the device may do.
    pub permissions: Permissions,
}

/// Memory that is going to be mapped. Between plan and [`Memory::commit`] nothing is locked, as it may
/// take the owner any time to provide it.
pub struct Plan {
    asid: Asid,
    request: Request,
    kind: Kind,
    /// Whether there is something that counts as locked, but could be unpinned.
    can_unpin: bool,
    /// Whether it was more than the owner may lock, when there was.
    over_limit: bool,
}

/// By what kind of addresses the device goes.
enum Kind {
    Pages(Lookup),
    Owner,
    Files { room: usize },
}

/// The memory of a [`Plan`], ready to be mapped.
pub struct Prepared(Regions);

impl Plan {
    /// Finds the memory, and pins it if needed. The owner has to be the current process.
    ///
    /// Fails with `ENOMEM` if memory is short or may not be locked, `EFAULT` or `EINVAL` if there is no
    /// such memory, `EOPNOTSUPP` if the device cannot use memory of that kind, `ENOSPC` if it is in more
    /// pieces than can be mapped, `EPERM` if another process calls, or `EINTR` if this one is killed.
    pub fn prepare(&mut self, owner: &ARef<Mm>) -> Result<Prepared> {
        let regions = match &mut self.kind {
            Kind::Pages(lookup) => {
                // Not the last word, if there is something to unpin.
                let can_unpin = mem::take(&mut self.can_unpin);
                let charge = self.request.charge(owner, !can_unpin);
                self.over_limit = can_unpin && charge.is_err();
                self.request.pin(charge?, lookup)?
            }
            Kind::Owner => self.request.share(owner)?,
            Kind::Files { room } => self.request.files(owner, *room)?,
        };
        Ok(Prepared(regions))
    }

    /// Whether it failed for want of memory that the owner may lock, and may not after
    /// [`Memory::unpin_early`].
    pub fn can_retry(&self) -> bool {
        self.over_limit
    }
}

/// What a device has of its owner's memory.
///
/// If it is dropped while the device is lent, the device is told that nothing is mapped any more.
/// Pages that a device does not let go of stay pinned for ever.
pub struct Memory {
    loan: Arc<Loan>,
    range: IovaRange,
    /// How many pieces can be mapped in an address space.
    limit: usize,
    /// The address space in which changes are collected.
    batch: Option<Asid>,
    /// For pages that are pinned, once there were some.
    lookup: Option<Lookup>,
    // Dropped before what is mapped: it detaches the device.
    style: Style,
    spaces: KVec<KBox<Space>>,
}

impl Memory {
    /// Makes ready to map memory, up to `limit` pieces in each address space. A device behind the
    /// platform's IOMMU is attached to an address space of its own.
    ///
    /// Fails with `ENODEV` if `device` is not the one that is lent, `ENOTSUPP` if its accesses are not
    /// coherent, or the IOMMU's error.
    pub fn new(device: &Device<Bound>, loan: &Arc<Loan>, limit: usize) -> Result<Self> {
        if !loan.is_of(device) {
            return Err(ENODEV);
        }
        let style = if device.has_dma_map() {
            Style::Pieces
        } else if device.has_set_map() {
            Style::Whole
        } else {
            Style::Iommu(Domain::attach(device.dma_device().ok_or(ENODEV)?)?)
        };
        let aperture = match &style {
            Style::Iommu(domain) => domain.aperture(),
            Style::Whole | Style::Pieces => None,
        };
        let range = device.iova_range().unwrap_or_else(|| {
            let (first, last) = aperture.unwrap_or((0, u64::MAX));
            IovaRange { first, last }
        });
        Ok(Self {
            loan: loan.clone(),
            range,
            limit,
            spaces: KVec::new(),
            batch: None,
            lookup: None,
            style,
        })
    }

    /// The addresses that the device can reach.
    pub fn range(&self) -> IovaRange {
        self.range
    }

    /// Where a space is among the others. Fails with `EINVAL` if there is none, or if changes of
    /// another one are being collected.
    fn find(&self, asid: Asid) -> Result<usize> {
        if self.batch.is_some_and(|batch| batch != asid) {
            return Err(EINVAL);
        }
        self.spaces
            .iter()
            .position(|space| space.asid() == asid)
            .ok_or(EINVAL)
    }

    /// As [`find`](Self::find), and makes the space if there is none. Fails with `EINVAL` if the device
    /// has none of that number, or `ENOMEM`.
    fn find_or_make(&mut self, device: &Device<Bound>, asid: Asid) -> Result<usize> {
        if !self.loan.is_of(device) {
            return Err(ENODEV);
        }
        if asid.get() >= device.address_space_count() || self.limit == 0 {
            return Err(EINVAL);
        }
        if self.spaces.iter().all(|space| space.asid() != asid) {
            let space = KBox::new(Space::new(asid, &self.style)?, GFP_KERNEL)?;
            self.spaces.push(space, GFP_KERNEL)?;
        }
        self.find(asid)
    }

    /// Begins to map memory: checks what can be checked before it is known where the memory is.
    ///
    /// Fails with `EINVAL` if the device cannot reach the addresses, or what is asked for makes no
    /// sense, `EEXIST` if something is mapped there already, `ENOSPC` if the limit is reached, or
    /// `ENOMEM`.
    pub fn plan(&mut self, device: &Device<Bound>, asid: Asid, update: &Update) -> Result<Plan> {
        let index = self.find_or_make(device, asid)?;
        let last = update
            .size
            .checked_sub(1)
            .and_then(|size| update.iova.checked_add(size))
            .ok_or(EINVAL)?;
        if update.iova < self.range.first || last > self.range.last {
            return Err(EINVAL);
        }
        let request = Request {
            first: update.iova,
            last,
            uaddr: update.uaddr,
            permissions: update.permissions,
        };
        let by_pages = !device.uses_va();
        if by_pages {
            request.check_pages()?;
        }
        let space = self.spaces.get_mut(index).ok_or(EINVAL)?;
        if space.overlap(request.first, request.last).is_some() {
            return Err(EEXIST);
        }
        let room = self.limit.saturating_sub(space.count());
        if room == 0 {
            return Err(ENOSPC);
        }
        let kind = if by_pages {
            let lookup = match self.lookup.take() {
                Some(lookup) => lookup,
                None => Lookup::new()?,
            };
            Kind::Pages(lookup)
        } else if device.has_bind_mm() {
            Kind::Owner
        } else {
            Kind::Files { room }
        };
        Ok(Plan {
            asid,
            request,
            kind,
            can_unpin: space.has_limbo(),
            over_limit: false,
        })
    }

    /// Maps what was prepared.
    ///
    /// Fails with `EINVAL` if there is no such address space any more, `EEXIST` if something was mapped
    /// there meanwhile, `ENOSPC` if the limit is reached, `ENOMEM`, or with the device's error.
    pub fn commit(&mut self, device: &Device<Bound>, plan: Plan, prepared: Prepared) -> Result {
        let Prepared(regions) = prepared;
        if let Kind::Pages(lookup) = plan.kind {
            self.lookup = Some(lookup);
        }
        let index = self.find_or_make(device, plan.asid)?;
        let space = self.spaces.get_mut(index).ok_or(EINVAL)?;
        if let (Some(first), Some(last)) = (regions.first(), regions.last()) {
            if space
                .overlap(first.region.first, last.region.last)
                .is_some()
            {
                return Err(EEXIST);
            }
        }
        if space.count().saturating_add(regions.len()) > self.limit {
            return Err(ENOSPC);
        }
        space.insert(&self.style, device, regions, self.batch.is_some())
    }

    /// Unpins what was unmapped in a batch, if there is any, for which the device is told what has been
    /// collected so far. Says whether there was.
    ///
    /// Fails with `EINVAL` if there is no such address space, or with the device's error.
    pub fn unpin_early(&mut self, device: &Device<Bound>, asid: Asid) -> Result<bool> {
        let index = self.find_or_make(device, asid)?;
        let space = self.spaces.get_mut(index).ok_or(EINVAL)?;
        let waits = space.has_limbo();
        if waits {
            space.publish(device)?;
        }
        Ok(waits)
    }

    /// Unmaps `size` bytes from `iova` on, whatever of it is mapped.
    ///
    /// Fails with `EINVAL` if there is no such address space, or the range is empty or too long;
    /// `ENOSPC` or `ENOMEM` if a piece could not be split; or with the device's error.
    pub fn invalidate(
        &mut self,
        device: &Device<Bound>,
        asid: Asid,
        iova: u64,
        size: u64,
    ) -> Result {
        if !self.loan.is_of(device) {
            return Err(ENODEV);
        }
        let index = self.find(asid)?;
        let last = size
            .checked_sub(1)
            .and_then(|size| iova.checked_add(size))
            .ok_or(EINVAL)?;
        let range = if device.uses_va() {
            (iova, last)
        } else {
            to_pages(iova, last)
        };
        let space = self.spaces.get_mut(index).ok_or(EINVAL)?;
        space.remove(&self.style, device, range, self.limit, self.batch.is_some())
    }

    /// Collects changes of an address space from now on, if the device is told of the whole.
    ///
    /// Fails as [`plan`](Self::plan) if there is no such address space.
    pub fn begin_batch(&mut self, device: &Device<Bound>, asid: Asid) -> Result {
        self.find_or_make(device, asid)?;
        self.batch = Some(asid);
        Ok(())
    }

    /// Tells the device of what was collected.
    ///
    /// Fails with `EINVAL` if there is no such address space, or with the device's error.
    pub fn end_batch(&mut self, device: &Device<Bound>, asid: Asid) -> Result {
        if !self.loan.is_of(device) {
            return Err(ENODEV);
        }
        let index = self.find(asid)?;
        if self.batch.take().is_none() {
            return Ok(());
        }
        let space = self.spaces.get_mut(index).ok_or(EINVAL)?;
        space.publish(device)
    }

    /// Unmaps everything, of a device that was reset.
    pub fn clear(&mut self, device: &Device<Bound>) {
        if !self.loan.is_of(device) {
            return;
        }
        self.batch = None;
        for space in &mut self.spaces {
            if space.clear(&self.style, device).is_err() {
                dev_warn!(
                    device,
                    "address space {} does not clear\n",
                    space.asid().get()
                );
            }
        }
        self.spaces.retain(|space| !space.is_empty());
    }

    /// The address spaces in use, with what is mapped in them.
    pub fn totals(&self) -> impl Iterator<Item = (Asid, Totals)> + '_ {
        self.spaces
            .iter()
            .map(|space| (space.asid(), space.totals()))
    }

    /// Reads a number of 16 bits, in little endian, where the device would read it. Nothing unless that
    /// is in pages that are pinned, at an even address.
    pub fn read_word(&self, asid: Asid, iova: u64) -> Option<u16> {
        let space = self.spaces.iter().find(|space| space.asid() == asid)?;
        space.read_word(iova)
    }

    /// Calls `f` for each mapped piece of an address space, in order: first and last address, owner's
    /// address, `VHOST_MAP_*`.
    pub fn each_piece(&self, asid: Asid, f: impl FnMut(u64, u64, u64, u32) -> Result) -> Result {
        match self.spaces.iter().find(|space| space.asid() == asid) {
            Some(space) => space.each(f),
            None => Ok(()),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let loan = self.loan.clone();
        if let Some(device) = loan.get() {
            self.clear(&device);
        }
        // Without a domain, which takes everything away from the device.
        if matches!(self.style, Style::Iommu(_)) {
            return;
        }
        for space in mem::take(&mut self.spaces) {
            if space.abandon() {
                pr_warn!("{}: memory stays pinned\n", self.loan.name());
            }
        }
    }
}
