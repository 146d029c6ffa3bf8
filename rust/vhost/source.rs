// SPDX-License-Identifier: GPL-2.0

//! From what user space asks to be mapped to regions, by the kind of addresses that a device uses.

use crate::region::{
    Backing,
    MapFile,
    Planned,
    Region, //
};
use kernel::{
    current,
    mm::{
        virt,
        Mm, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef, //
};
use kext::{
    log::may_print,
    mm::FileRef,
    pin::{
        Charge,
        Lookup,
        PinnedPages, //
    },
};
use vdpa::Permissions;

/// The regions to be mapped for one message.
pub(crate) type Regions = KVec<Planned>;

/// What is to be mapped: `first..=last` in the device's address space, `uaddr` in the owner's.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) uaddr: u64,
    pub(crate) permissions: Permissions,
}

// CAST: The size of a page has far less than 64 bits.
const PAGE_MASK: u64 = PAGE_SIZE as u64 - 1;

/// The whole pages around these addresses.
pub(crate) const fn to_pages(first: u64, last: u64) -> (u64, u64) {
    (first & !PAGE_MASK, last | PAGE_MASK)
}

impl Request {
    /// Fails with `EINVAL` unless it is one of whole pages: the device would see other memory than
    /// was asked for.
    pub(crate) fn check_pages(&self) -> Result {
        let end = self.last.wrapping_add(1);
        if (self.first | end | self.uaddr) & PAGE_MASK != 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    fn region(&self, backing: Backing) -> Result<Regions> {
        let mut regions = KVec::with_capacity(1, GFP_KERNEL)?;
        let region = Region::new(
            (self.first, self.last),
            self.uaddr,
            self.permissions,
            backing,
        )?;
        regions.push(Planned::new(region)?, GFP_KERNEL)?;
        Ok(regions)
    }

    /// For physical addresses: counts the pages as locked. The request has to be one of whole pages.
    /// `is_final` says that it is not tried again if the owner may not lock so many.
    pub(crate) fn charge(&self, owner: &ARef<Mm>, is_final: bool) -> Result<Charge> {
        let bytes = self.last.wrapping_sub(self.first).checked_add(1);
        let bytes = usize::try_from(bytes.ok_or(EINVAL)?)?;
        let count = bytes / PAGE_SIZE;
        Charge::new(owner, count).inspect_err(|_| {
            if is_final && may_print() {
                pr_warn!("{count} pages are more than the process may lock: RLIMIT_MEMLOCK\n");
            }
        })
    }

    /// Pins the pages that were counted.
    pub(crate) fn pin(&self, charge: Charge, lookup: &mut Lookup) -> Result<Regions> {
        let address = usize::try_from(self.uaddr)?;
        let pages = PinnedPages::new(charge, address, self.permissions.can_write(), lookup)?;
        self.region(Backing::Pages(pages))
    }

    /// For a device that goes by its owner's address space: any memory that is there, and that the
    /// owner may access in the same way. Else fails with `EFAULT`, as pinning it would.
    pub(crate) fn share(&self, owner: &ARef<Mm>) -> Result<Regions> {
        let mut needed = 0;
        if self.permissions.can_read() {
            needed |= virt::flags::READ;
        }
        if self.permissions.can_write() {
            needed |= virt::flags::WRITE;
        }
        self.each_area(owner, |area, _, _| {
            if area.flags() & needed != needed {
                return Err(EFAULT);
            }
            Ok(())
        })?;
        self.region(Backing::Owner)
    }

    /// For a device that maps files itself.
    ///
    /// Fails with `EOPNOTSUPP` if some of the memory is not that of a file that is shared, or `ENOSPC` if
    /// it is in more than `room` areas.
    pub(crate) fn files(&self, owner: &ARef<Mm>, room: usize) -> Result<Regions> {
        let mut regions = KVec::new();
        self.each_area(owner, |area, offset, size| {
            let uaddr = self.uaddr.wrapping_add(offset);
            let first = self.first.wrapping_add(offset);
            let last = first.wrapping_add(size.wrapping_sub(1));
            let special = virt::flags::IO | virt::flags::PFNMAP;
            if area.flags() & virt::flags::SHARED == 0 || area.flags() & special != 0 {
                return Err(EOPNOTSUPP);
            }
            if regions.len() >= room {
                return Err(ENOSPC);
            }
            let (file, start) = FileRef::of_area(area).ok_or(EOPNOTSUPP)?;
            let within = uaddr.wrapping_sub(u64::try_from(area.start())?);
            let file = MapFile::new(file, start.wrapping_add(within))?;
            let region = Region::new((first, last), uaddr, self.permissions, Backing::File(file))?;
            Ok(regions.push(Planned::new(region)?, GFP_KERNEL)?)
        })?;
        Ok(regions)
    }

    /// Calls `f` for each area of the owner's memory: with the offset in the request where it begins,
    /// and how much of the request is in it.
    ///
    /// Fails with `EPERM` if the owner is not the current process, or `EINVAL` if there is a hole.
    fn each_area(
        &self,
        owner: &ARef<Mm>,
        mut f: impl FnMut(&virt::VmaRef, u64, u64) -> Result,
    ) -> Result {
        let current = current!();
        let mm = current
            .mm()
            .filter(|mm| mm.as_raw() == owner.as_raw())
            .ok_or(EPERM)?;
        let areas = mm.mmap_read_lock();
        let end = self.last.wrapping_sub(self.first).checked_add(1);
        let end = end.ok_or(EINVAL)?;
        let mut offset = 0;
        while offset < end {
            let at = self.uaddr.checked_add(offset).ok_or(EINVAL)?;
            let area = areas.vma_lookup(usize::try_from(at)?).ok_or(EINVAL)?;
            let size = u64::try_from(area.end())?
                .checked_sub(at)
                .filter(|size| *size != 0)
                .ok_or(EINVAL)?
                .min(end.wrapping_sub(offset));
            f(area, offset, size)?;
            offset = offset.checked_add(size).ok_or(EINVAL)?;
        }
        Ok(())
    }
}
