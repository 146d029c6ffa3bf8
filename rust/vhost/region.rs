// SPDX-License-Identifier: GPL-2.0

//! A piece of the owner's memory that is mapped, and what keeps it there.

use core::ptr;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    rbtree::RBTreeNodeReservation, //
};
use kext::{
    mm::FileRef,
    pin::PinnedPages, //
};
use vdpa::Permissions;
use vdpa_bindings as bindings;

/// What keeps mapped memory in its place.
pub(crate) enum Backing {
    /// Pinned pages, in order. The device is told physical addresses.
    Pages(PinnedPages),
    /// Nothing: the device goes by the owner's address space, like the owner itself.
    Owner,
    /// The file that is mapped there.
    File(KBox<MapFile>),
}

/// A file, as devices get it with virtual addresses: `struct vdpa_map_file`.
#[repr(C)]
pub(crate) struct MapFile {
    // The device gets a pointer to this field.
    raw: bindings::vdpa_map_file,
    file: FileRef,
}

// SAFETY: The pointer in it is that of the file, which any thread may use.
unsafe impl Send for MapFile {}
// SAFETY: As above.
unsafe impl Sync for MapFile {}

impl MapFile {
    pub(crate) fn new(file: FileRef, offset: u64) -> Result<KBox<Self>> {
        let raw = bindings::vdpa_map_file {
            file: file.as_raw(),
            offset,
        };
        Ok(KBox::new(Self { raw, file }, GFP_KERNEL_ACCOUNT)?)
    }

    /// What the device gets.
    fn opaque(&self) -> *mut c_void {
        (&raw const self.raw).cast_mut().cast()
    }
}

/// A part of a region that the device is told of.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) iova: u64,
    /// In bytes, not 0.
    pub(crate) size: u64,
    /// Physical, or in the owner's address space.
    pub(crate) address: u64,
    /// `struct vdpa_map_file`, or null.
    pub(crate) opaque: *mut c_void,
}

/// Mapped memory.
pub(crate) struct Region {
    /// The first I/O virtual address.
    pub(crate) first: u64,
    /// The last one.
    pub(crate) last: u64,
    /// Where it is for the owner.
    pub(crate) uaddr: u64,
    /// What the device may do.
    pub(crate) permissions: Permissions,
    pub(crate) backing: Backing,
    /// The next one in a [`Chain`].
    next: Option<KBox<Region>>,
}

impl Region {
    pub(crate) fn new(
        (first, last): (u64, u64),
        uaddr: u64,
        permissions: Permissions,
        backing: Backing,
    ) -> Result<KBox<Self>> {
        let region = Self {
            first,
            last,
            uaddr,
            permissions,
            backing,
            next: None,
        };
        Ok(KBox::new(region, GFP_KERNEL_ACCOUNT)?)
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.last.wrapping_sub(self.first).saturating_add(1)
    }

    /// The pages that are pinned for it.
    pub(crate) fn pinned(&self) -> usize {
        match &self.backing {
            Backing::Pages(pages) => pages.count(),
            Backing::Owner | Backing::File(_) => 0,
        }
    }

    /// In how many parts the device is told of it.
    pub(crate) fn pieces(&self) -> usize {
        match &self.backing {
            Backing::Pages(pages) => pages.run_count(),
            Backing::Owner | Backing::File(_) => 1,
        }
    }

    /// All of it as one part.
    fn whole(&self, opaque: *mut c_void) -> Piece {
        Piece {
            iova: self.first,
            size: self.size(),
            address: self.uaddr,
            opaque,
        }
    }

    /// Calls `f` for each part, up to the first error.
    pub(crate) fn each_piece(&self, mut f: impl FnMut(Piece) -> Result) -> Result {
        match &self.backing {
            Backing::Pages(pages) => {
                let mut iova = self.first;
                for (address, size) in pages.runs() {
                    f(Piece {
                        iova,
                        size,
                        address,
                        opaque: ptr::null_mut(),
                    })?;
                    // Wraps only behind the last one.
                    iova = iova.wrapping_add(size);
                }
                Ok(())
            }
            Backing::Owner => f(self.whole(ptr::null_mut())),
            Backing::File(file) => f(self.whole(file.opaque())),
        }
    }

    /// The part in which an address is.
    pub(crate) fn piece_at(&self, at: u64) -> Option<Piece> {
        let offset = at.checked_sub(self.first).filter(|_| at <= self.last)?;
        Some(match &self.backing {
            Backing::Pages(pages) => {
                let page = usize::try_from(offset).ok()? / PAGE_SIZE;
                let (before, address, size) = pages.run_of(page)?;
                let before = u64::try_from(before.checked_mul(PAGE_SIZE)?).ok()?;
                Piece {
                    iova: self.first.checked_add(before)?,
                    size,
                    address,
                    opaque: ptr::null_mut(),
                }
            }
            Backing::Owner => self.whole(ptr::null_mut()),
            Backing::File(file) => self.whole(file.opaque()),
        })
    }

    /// Takes out what is at `at` and behind it. Of pinned pages it has to be at a page's beginning.
    ///
    /// Fails with `EINVAL` if either part were empty, or `ENOMEM`; then nothing changes.
    pub(crate) fn split_off(&mut self, at: u64) -> Result<KBox<Self>> {
        if at <= self.first || at > self.last {
            return Err(EINVAL);
        }
        let left = at.wrapping_sub(self.first);
        let place = KBox::<Self>::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let backing = match &mut self.backing {
            Backing::Pages(pages) => {
                let index = usize::try_from(left)? / PAGE_SIZE;
                Backing::Pages(pages.split_off(index)?)
            }
            Backing::Owner => Backing::Owner,
            Backing::File(file) => {
                let offset = file.raw.offset.wrapping_add(left);
                Backing::File(MapFile::new(file.file.clone(), offset)?)
            }
        };
        let right = KBox::write(
            place,
            Self {
                first: at,
                last: self.last,
                uaddr: self.uaddr.wrapping_add(left),
                permissions: self.permissions,
                backing,
                next: None,
            },
        );
        // `at` is above 0.
        self.last = at.wrapping_sub(1);
        Ok(right)
    }
}

/// Where a region is put among those that are mapped.
pub(crate) type Place = RBTreeNodeReservation<u64, KBox<Region>>;

/// A region that is to be mapped, and its place.
pub(crate) struct Planned {
    pub(crate) region: KBox<Region>,
    pub(crate) place: Place,
}

impl Planned {
    pub(crate) fn new(region: KBox<Region>) -> Result<Self> {
        Ok(Self {
            region,
            place: Place::new(GFP_KERNEL_ACCOUNT)?,
        })
    }
}

/// Regions that are not mapped any more. Adding one never fails, and dropping many takes no stack.
#[derive(Default)]
pub(crate) struct Chain {
    first: Option<KBox<Region>>,
    len: usize,
}

impl Chain {
    pub(crate) fn push(&mut self, mut region: KBox<Region>) {
        region.next = self.first.take();
        self.first = Some(region);
        self.len = self.len.saturating_add(1);
    }

    pub(crate) fn pop(&mut self) -> Option<KBox<Region>> {
        let mut region = self.first.take()?;
        self.first = region.next.take();
        self.len = self.len.saturating_sub(1);
        Some(region)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        while let Some(region) = self.pop() {
            drop(region);
        }
    }
}
