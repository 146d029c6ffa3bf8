// SPDX-License-Identifier: GPL-2.0

//! An address space of a device.

use crate::{
    mirror::Mirror,
    region::{
        Chain,
        Piece,
        Region, //
    },
    source::Regions,
};
use kernel::{
    device::Bound,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
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
        // SAFETY: What keeps the memory there is in the region, which is not dropped before the
        // device was told that it is not mapped any more: see `Space`.
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

    fn unmap(&self, device: &Device<Bound>, asid: Asid, iova: u64, size: u64) -> Result {
        match self {
            Style::Whole => Ok(()),
            Style::Pieces => device.dma_unmap(asid, iova, size),
            Style::Iommu(domain) => domain.unmap(iova, size),
        }
    }

    /// Takes a region, as far as `upto`, away from a device that is told piece by piece.
    fn unmap_region(
        &self,
        device: &Device<Bound>,
        asid: Asid,
        region: &Region,
        upto: u64,
    ) -> Result {
        match self {
            Style::Whole => Ok(()),
            Style::Pieces => region.each_piece(|piece| {
                if piece.iova >= upto {
                    return Ok(());
                }
                self.unmap(device, asid, piece.iova, piece.size)
            }),
            Style::Iommu(_) => {
                let size = upto.wrapping_sub(region.first).min(region.size());
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
/// A region is dropped only when the device was told that it is not mapped any more, and said that it
/// understood. Until then it is in `limbo`.
///
/// # Invariants
///
/// The regions do not overlap. The mirror, of a device that is told of the whole, has their pieces.
pub(crate) struct Space {
    asid: Asid,
    regions: RBTree<u64, KBox<Region>>,
    mirror: Option<Mirror>,
    limbo: Chain,
    count: usize,
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
        if let Some(mirror) = &self.mirror {
            // SAFETY: What it names is in regions, which are not dropped before the device was told
            // of another state; see the type's documentation.
            unsafe { device.set_map(self.asid, mirror.iotlb()) }?;
            self.limbo = Chain::default();
        }
        Ok(())
    }

    /// Adds regions, which must not overlap others. `later` says that the device will be told of the
    /// whole at some other time.
    ///
    /// Fails with `ENOMEM`, or with the device's error; then none of them is mapped.
    pub(crate) fn insert(
        &mut self,
        style: &Style,
        device: &Device<Bound>,
        regions: Regions,
        later: bool,
    ) -> Result {
        let mut nodes = KVec::with_capacity(regions.len(), GFP_KERNEL)?;
        for _ in &regions {
            nodes.push(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?, GFP_KERNEL)?;
        }
        // How many regions the device may know of.
        let mut told = 0;
        let mut result = Ok(());
        for region in &regions {
            match self.tell(style, device, region) {
                Ok(()) => told += 1,
                Err(Untold::Nothing(error)) => result = Err(error),
                Err(Untold::Partly(error)) => {
                    told += 1;
                    result = Err(error);
                }
            }
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() && !later {
            result = self.publish(device);
        }
        if let Err(error) = result {
            self.take_back(style, device, regions, told, later);
            return Err(error);
        }
        self.count = self.count.saturating_add(regions.len());
        for (node, region) in nodes.into_iter().zip(regions) {
            self.regions.insert(node.into_node(region.first, region));
        }
        Ok(())
    }

    /// Lets the device at a region, or at nothing of it; if it is told of the whole, notes it.
    fn tell(
        &mut self,
        style: &Style,
        device: &Device<Bound>,
        region: &Region,
    ) -> Result<(), Untold> {
        if let Some(mirror) = &mut self.mirror {
            return mirror.add(region).map_err(Untold::Nothing);
        }
        let mut upto = region.first;
        let told = region.each_piece(|piece| {
            upto = piece.iova;
            style.map(device, self.asid, region, piece)
        });
        told.map_err(
            |error| match style.unmap_region(device, self.asid, region, upto) {
                Ok(()) => Untold::Nothing(error),
                Err(_) => Untold::Partly(error),
            },
        )
    }

    /// Undoes an `insert` that failed, when the device knows of the first `told` regions.
    fn take_back(
        &mut self,
        style: &Style,
        device: &Device<Bound>,
        regions: Regions,
        told: usize,
        later: bool,
    ) {
        let mut removed = Chain::default();
        for (index, region) in regions.into_iter().enumerate() {
            if let Some(mirror) = &mut self.mirror {
                if index < told {
                    mirror.remove(&region);
                }
                removed.push(region);
                continue;
            }
            if index < told
                && style
                    .unmap_region(device, self.asid, &region, u64::MAX)
                    .is_err()
            {
                self.limbo.push(region);
            }
        }
        if self.mirror.is_some() && told != 0 && !later {
            // It may have taken some of it.
            self.limbo.append(removed);
            let _ = self.publish(device);
        }
    }

    /// Removes what is mapped at these addresses. `later` is as for [`insert`](Self::insert).
    ///
    /// Fails with `ENOMEM` or `ENOSPC` if a region had to be split and could not be; then nothing
    /// changes. Or with the device's error; then nothing is mapped there, but what was is kept until
    /// the device lets go of it.
    pub(crate) fn remove(
        &mut self,
        style: &Style,
        device: &Device<Bound>,
        (first, last): (u64, u64),
        later: bool,
    ) -> Result {
        self.split(style, device, first)?;
        if let Some(next) = last.checked_add(1) {
            self.split(style, device, next)?;
        }
        let mut result = Ok(());
        let mut removed = Chain::default();
        while let Some(key) = self.overlap(first, last) {
            let Some(region) = self.regions.remove(&key) else {
                break;
            };
            self.count = self.count.saturating_sub(1);
            if let Some(mirror) = &mut self.mirror {
                mirror.remove(&region);
                self.limbo.push(region);
                continue;
            }
            match style.unmap_region(device, self.asid, &region, u64::MAX) {
                Ok(()) => removed.push(region),
                Err(error) => {
                    self.limbo.push(region);
                    result = Err(error);
                }
            }
        }
        drop(removed);
        if !later {
            self.publish(device)?;
        }
        result
    }

    /// Sees to it that no region reaches over `at`.
    fn split(&mut self, style: &Style, device: &Device<Bound>, at: u64) -> Result {
        let Some(key) = self.overlap(at, at) else {
            return Ok(());
        };
        if key == at {
            return Ok(());
        }
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        if let Some(mirror) = &mut self.mirror {
            mirror.split(at)?;
        }
        let left = self.regions.get_mut(&key).ok_or(EINVAL)?;
        let across = left.piece_at(at).filter(|piece| piece.iova != at);
        let right = left.split_off(at)?;
        let mut retold = Ok(());
        if let (None, Some(piece)) = (&self.mirror, across) {
            // An IOMMU may have mapped it by pages that are larger.
            let before = at.wrapping_sub(piece.iova);
            let head = Piece {
                size: before,
                ..piece
            };
            let tail = Piece {
                iova: at,
                size: piece.size.wrapping_sub(before),
                address: piece.address.wrapping_add(before),
                opaque: right.piece_at(at).map_or(piece.opaque, |p| p.opaque),
            };
            retold = style
                .unmap(device, self.asid, piece.iova, piece.size)
                .and_then(|()| style.map(device, self.asid, left, head))
                .and_then(|()| style.map(device, self.asid, &right, tail));
        }
        self.regions.insert(node.into_node(at, right));
        self.count = self.count.saturating_add(1);
        if retold.is_err() {
            // What the device has of both is not known.
            for key in [key, at] {
                if let Some(region) = self.regions.remove(&key) {
                    self.count = self.count.saturating_sub(1);
                    let _ = style.unmap_region(device, self.asid, &region, u64::MAX);
                    self.limbo.push(region);
                }
            }
        }
        retold
    }

    /// Removes everything, of a device that was reset, and lets the device forget what it may still
    /// have.
    pub(crate) fn clear(&mut self, style: &Style, device: &Device<Bound>) -> Result {
        let removed = self.remove(style, device, (0, u64::MAX), false);
        let forgotten = if device.has_reset_map() {
            device.reset_map(self.asid)
        } else {
            removed
        };
        if forgotten.is_ok() {
            self.limbo = Chain::default();
        }
        forgotten
    }
}
