// SPDX-License-Identifier: GPL-2.0

//! An address space of a device.

use crate::{
    mirror::Mirror,
    region::{
        Backing,
        Chain,
        Piece,
        Place,
        Planned,
        Region, //
    },
    source::Regions,
};
use core::mem;
use kernel::{
    device::Bound,
    prelude::*,
    rbtree::RBTree, //
};
use kext::iommu::Domain;
use vdpa::{
    Asid,
    Device,
    Mapping, //
};

/// How a device is told what is mapped.
pub(crate) enum Style {
    /// Of all that is mapped, each time that something changes: `set_map`.
    Whole,
    /// Piece by piece: `dma_map`.
    Pieces,
    /// Not at all, but its IOMMU is.
    Iommu(Domain),
}

impl Style {
    /// Lets the device at a piece of a region.
    fn map(&self, device: &Device<Bound>, asid: Asid, region: &Region, piece: Piece) -> Result {
        let permissions = region.permissions;
        // SAFETY: If the memory stays by our doing, what keeps it is in the region, which is not
        // dropped before the device was told that it is not mapped any more: see `Space`.
        unsafe {
            match self {
                Style::Whole => Ok(()),
                Style::Pieces => device.dma_map(
                    asid,
                    &Mapping::new(
                        piece.iova,
                        piece.size,
                        piece.address,
                        permissions,
                        piece.opaque,
                    ),
                ),
                Style::Iommu(domain) => domain.map(
                    piece.iova,
                    piece.address,
                    piece.size,
                    permissions.can_read(),
                    permissions.can_write(),
                ),
            }
        }
    }

    /// Lets a device that is told piece by piece at a region, or at nothing of it.
    fn map_region(
        &self,
        device: &Device<Bound>,
        asid: Asid,
        region: &Region,
    ) -> Result<(), Untold> {
        if matches!(self, Style::Whole) {
            return Ok(());
        }
        let mut upto = region.first;
        let told = region.each_piece(|piece| {
            upto = piece.iova;
            self.map(device, asid, region, piece)
        });
        told.map_err(
            |error| match self.unmap_region(device, asid, region, Some(upto)) {
                Ok(()) => Untold::Nothing(error),
                Err(_) => Untold::Partly(error),
            },
        )
    }

    fn unmap(&self, device: &Device<Bound>, asid: Asid, iova: u64, size: u64) -> Result {
        match self {
            Style::Whole => Ok(()),
            Style::Pieces => device.dma_unmap(asid, iova, size),
            Style::Iommu(domain) => domain.unmap(iova, size),
        }
    }

    /// Takes a region, or what of it is before `upto`, away from a device that is told piece by piece.
    fn unmap_region(
        &self,
        device: &Device<Bound>,
        asid: Asid,
        region: &Region,
        upto: Option<u64>,
    ) -> Result {
        match self {
            Style::Whole => Ok(()),
            Style::Pieces => region.each_piece(|piece| {
                if upto.is_some_and(|upto| piece.iova >= upto) {
                    return Ok(());
                }
                self.unmap(device, asid, piece.iova, piece.size)
            }),
            Style::Iommu(_) => {
                let size = match upto {
                    Some(upto) => upto.wrapping_sub(region.first).min(region.size()),
                    None => region.size(),
                };
                if size == 0 {
                    return Ok(());
                }
                self.unmap(device, asid, region.first, size)
            }
        }
    }
}

/// Why a device did not take a region.
enum Untold {
    /// It knows nothing of it.
    Nothing(Error),
    /// It has a part, which it does not let go of.
    Partly(Error),
}

/// What is mapped, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Pieces, as user space mapped them.
    pub regions: usize,
    /// Bytes.
    pub bytes: u64,
    /// Pages that are pinned.
    pub pinned: usize,
}

/// An address space.
///
/// Pages are unpinned only when the device was told that they are not mapped any more, and said that it
/// understood. Until then their region is in `limbo`. (Other memory is not there by our doing, and a
/// device that uses files has references of its own.)
///
/// # Invariants
///
/// - The regions do not overlap.
/// - `count` is their number, and `pieces` that of all their pieces.
/// - The mirror, of a device that is told of the whole, has room for as many pieces.
pub(crate) struct Space {
    asid: Asid,
    regions: RBTree<u64, KBox<Region>>,
    mirror: Option<Mirror>,
    limbo: Chain,
    count: usize,
    pieces: usize,
}

impl Space {
    pub(crate) fn new(asid: Asid, style: &Style) -> Result<Self> {
        let mirror = match style {
            Style::Whole => Some(Mirror::new()?),
            Style::Pieces | Style::Iommu(_) => None,
        };
        Ok(Self {
            asid,
            regions: RBTree::new(),
            mirror,
            limbo: Chain::default(),
            count: 0,
            pieces: 0,
        })
    }

    pub(crate) fn asid(&self) -> Asid {
        self.asid
    }

    /// The number of regions.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether nothing is left that the device may still use.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.limbo.is_empty()
    }

    /// Whether the device has to be told before what was unmapped is unpinned.
    pub(crate) fn has_limbo(&self) -> bool {
        !self.limbo.is_empty()
    }

    /// Keeps a region that was unmapped, if that is needed, until the device lets go of it.
    fn keep(&mut self, region: KBox<Region>) {
        if region.pinned() != 0 {
            self.limbo.push(region);
        }
    }

    /// Gives up what the device does not let go of: its pages stay pinned for ever. Says whether there
    /// were any.
    pub(crate) fn abandon(mut self: KBox<Self>) -> bool {
        while let Some(region) = self.overlap(0, u64::MAX).and_then(|key| self.take(key)) {
            self.keep(region);
        }
        let limbo = mem::take(&mut self.limbo);
        let any = !limbo.is_empty();
        mem::forget(limbo);
        any
    }

    pub(crate) fn totals(&self) -> Totals {
        self.regions
            .values()
            .fold(Totals::default(), |sum, region| Totals {
                regions: sum.regions.saturating_add(1),
                bytes: sum.bytes.saturating_add(region.size()),
                pinned: sum.pinned.saturating_add(region.pinned()),
            })
    }

    /// Calls `f` for each region, in order: first and last address, owner's address, `VHOST_MAP_*`.
    pub(crate) fn each(&self, mut f: impl FnMut(u64, u64, u64, u32) -> Result) -> Result {
        self.regions.values().try_for_each(|region| {
            f(
                region.first,
                region.last,
                region.uaddr,
                region.permissions.bits(),
            )
        })
    }

    /// Reads a number that the device may read.
    pub(crate) fn read_word(&self, iova: u64) -> Option<u16> {
        let region = self.regions.get(&self.overlap(iova, iova)?)?;
        let Backing::Pages(pages) = &region.backing else {
            return None;
        };
        if !region.permissions.can_read() {
            return None;
        }
        let offset = usize::try_from(iova.checked_sub(region.first)?).ok()?;
        pages.read_word(offset).map(u16::from_le)
    }

    /// The key of the first region that overlaps these addresses.
    pub(crate) fn overlap(&self, first: u64, last: u64) -> Option<u64> {
        let cursor = self.regions.cursor_lower_bound(&first);
        let (before, at) = match &cursor {
            Some(cursor) => (cursor.peek_prev(), Some(cursor.current())),
            None => (None, None),
        };
        let tail = match &cursor {
            Some(_) => None,
            None => self.regions.cursor_back(),
        };
        let before = before.or(tail.as_ref().map(|cursor| cursor.current()));
        if let Some((key, region)) = before {
            if region.last >= first {
                return Some(*key);
            }
        }
        at.filter(|(key, _)| **key <= last).map(|(key, _)| *key)
    }

    /// Tells a device of the whole, and drops what waited for that. Fails with the device's error.
    pub(crate) fn publish(&mut self, device: &Device<Bound>) -> Result {
        if let Some(mirror) = &mut self.mirror {
            let iotlb = mirror.show(self.regions.values().map(|region| &**region))?;
            // SAFETY: What it names is in regions, which are not dropped before the device was told
            // of another state; see the type's documentation.
            unsafe { device.set_map(self.asid, iotlb) }?;
            self.limbo = Chain::default();
        }
        Ok(())
    }

    /// Sees to it that the mirror has room for that many pieces more.
    fn reserve(&mut self, more: usize) -> Result {
        match &mut self.mirror {
            Some(mirror) => mirror.reserve(self.pieces.saturating_add(more)),
            None => Ok(()),
        }
    }

    fn put(&mut self, place: Place, region: KBox<Region>) {
        self.count = self.count.saturating_add(1);
        self.pieces = self.pieces.saturating_add(region.pieces());
        self.regions.insert(place.into_node(region.first, region));
    }

    fn take(&mut self, key: u64) -> Option<KBox<Region>> {
        let region = self.regions.remove(&key)?;
        self.count = self.count.saturating_sub(1);
        self.pieces = self.pieces.saturating_sub(region.pieces());
        Some(region)
    }

    /// Adds regions, which must not overlap others, and have nothing between them. `later` says that
    /// the device will be told of the whole at some other time.
    ///
    /// Fails with `ENOMEM`, or with the device's error; then none of them is mapped.
    pub(crate) fn insert(
        &mut self,
        style: &Style,
        device: &Device<Bound>,
        regions: Regions,
        later: bool,
    ) -> Result {
        let (Some(first), Some(last)) = (regions.first(), regions.last()) else {
            return Ok(());
        };
        let (first, last) = (first.region.first, last.region.last);
        let pieces = regions.iter().map(|planned| planned.region.pieces());
        self.reserve(pieces.fold(0, usize::saturating_add))?;
        for planned in self.tell(style, device, regions)? {
            self.put(planned.place, planned.region);
        }
        if later {
            return Ok(());
        }
        self.publish(device).inspect_err(|_| {
            // It may have taken some of it.
            while let Some(region) = self.overlap(first, last).and_then(|key| self.take(key)) {
                self.keep(region);
            }
            let _ = self.publish(device);
        })
    }

    /// Lets a device that is told piece by piece at regions, or at none of them.
    fn tell(&mut self, style: &Style, device: &Device<Bound>, regions: Regions) -> Result<Regions> {
        for (index, planned) in regions.iter().enumerate() {
            let Err(untold) = style.map_region(device, self.asid, &planned.region) else {
                continue;
            };
            // How many regions the device may know of.
            let (told, error) = match untold {
                Untold::Nothing(error) => (index, error),
                Untold::Partly(error) => (index.saturating_add(1), error),
            };
            for Planned { region, .. } in regions.into_iter().take(told) {
                let untold = style.unmap_region(device, self.asid, &region, None);
                if untold.is_err() {
                    self.keep(region);
                }
            }
            return Err(error);
        }
        Ok(regions)
    }

    /// Removes what is mapped at these addresses. `later` is as for [`insert`](Self::insert), unless
    /// more than `limit` regions wait for that.
    ///
    /// Fails with `ENOSPC` if a region had to be split and there are `limit` already, or `ENOMEM`; then
    /// nothing changes. Or with the device's error; then nothing is mapped there, but what was is kept
    /// until the device lets go of it. A device that is told piece by piece loses a piece for a
    /// moment in order to have a part of it; if it does not take that back, the whole regions go.
    pub(crate) fn remove(
        &mut self,
        style: &Style,
        device: &Device<Bound>,
        (first, last): (u64, u64),
        limit: usize,
        later: bool,
    ) -> Result {
        let next = last.checked_add(1);
        // Only a hole in one region makes more of them than there were.
        let (before, behind) = (self.across(first), next.and_then(|next| self.across(next)));
        if before.is_some() && before == behind && self.count >= limit {
            return Err(ENOSPC);
        }
        self.split(style, device, first)?;
        if let Some(next) = next {
            self.split(style, device, next)?;
        }
        let mut result = Ok(());
        let mut removed = Chain::default();
        let mut done = false;
        while !done {
            let Some(region) = self.overlap(first, last).and_then(|key| self.take(key)) else {
                break;
            };
            // Nothing is behind it.
            done = region.last == last;
            if self.mirror.is_some() {
                self.keep(region);
                continue;
            }
            match style.unmap_region(device, self.asid, &region, None) {
                Ok(()) => removed.push(region),
                Err(error) => {
                    self.keep(region);
                    result = Err(error);
                }
            }
        }
        drop(removed);
        if !later || self.limbo.len() > limit {
            self.publish(device).inspect_err(|_| {
                // It may have forgotten what is mapped elsewhere.
                let _ = self.publish(device);
            })?;
        }
        result
    }

    /// The key of the region that begins before `at` and reaches over it.
    fn across(&self, at: u64) -> Option<u64> {
        self.overlap(at, at).filter(|key| *key != at)
    }

    /// Sees to it that no region reaches over `at`.
    fn split(&mut self, style: &Style, device: &Device<Bound>, at: u64) -> Result {
        let Some(key) = self.across(at) else {
            return Ok(());
        };
        let place = Place::new(GFP_KERNEL_ACCOUNT)?;
        self.reserve(1)?;
        let left = self.regions.get_mut(&key).ok_or(EINVAL)?;
        let before = left.pieces();
        let across = left.piece_at(at).filter(|piece| piece.iova != at);
        let right = left.split_off(at)?;
        self.pieces = self.pieces.saturating_sub(before);
        self.pieces = self.pieces.saturating_add(left.pieces());
        let mut retold = Ok(());
        if let (None, Some(piece)) = (&self.mirror, across) {
            // An IOMMU may have mapped it by pages that are larger.
            let size = at.wrapping_sub(piece.iova);
            let head = Piece { size, ..piece };
            let tail = Piece {
                iova: at,
                size: piece.size.wrapping_sub(size),
                address: piece.address.wrapping_add(size),
                opaque: right.piece_at(at).map_or(piece.opaque, |p| p.opaque),
            };
            retold = style
                .unmap(device, self.asid, piece.iova, piece.size)
                .and_then(|()| style.map(device, self.asid, left, head))
                .and_then(|()| style.map(device, self.asid, &right, tail));
        }
        self.put(place, right);
        if retold.is_err() {
            // What the device has of both is not known.
            for key in [key, at] {
                if let Some(region) = self.take(key) {
                    let _ = style.unmap_region(device, self.asid, &region, None);
                    self.keep(region);
                }
            }
        }
        retold
    }

    /// Removes everything, of a device that was reset, and lets the device forget what it may still
    /// have.
    pub(crate) fn clear(&mut self, style: &Style, device: &Device<Bound>) -> Result {
        let removed = self.remove(style, device, (0, u64::MAX), usize::MAX, false);
        if device.has_reset_map() {
            device.reset_map(self.asid)?;
            self.limbo = Chain::default();
            return Ok(());
        }
        if self.mirror.is_some() {
            return removed;
        }
        // What it did not let go of before.
        let mut result = Ok(());
        let mut limbo = mem::take(&mut self.limbo);
        while let Some(region) = limbo.pop() {
            if let Err(error) = style.unmap_region(device, self.asid, &region, None) {
                self.keep(region);
                result = Err(error);
            }
        }
        result
    }
}
