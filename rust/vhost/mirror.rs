// SPDX-License-Identifier: GPL-2.0

//! The contents of an address space in the form in which devices are told of it as a whole.
//!
//! A device looks at it during one call, and at all of it. So nothing is searched and nothing
//! balanced while things are mapped and unmapped: the tree is made for the call, out of regions that
//! are sorted already, in an array that was made large enough before.
//!
//! C header: [`include/linux/vhost_iotlb.h`](srctree/include/linux/vhost_iotlb.h)

use crate::region::{
    Piece,
    Region, //
};
use core::ptr;
use kernel::{
    prelude::*,
    types::Opaque, //
};
use vdpa::{
    Iotlb,
    Permissions, //
};
use vdpa_bindings as bindings;

/// The colours of nodes, as `include/linux/rbtree_augmented.h` has them.
const RED: usize = 0;
const BLACK: usize = 1;

/// A `struct vhost_iotlb` of our own.
pub(crate) struct Mirror {
    head: Pin<KBox<Opaque<bindings::vhost_iotlb>>>,
    /// In the order of the addresses. What points into it is of no meaning but in [`show`](Self::show).
    entries: KVVec<bindings::vhost_iotlb_map>,
}

// SAFETY: It is memory that is only changed through an exclusive reference.
unsafe impl Send for Mirror {}
// SAFETY: As above.
unsafe impl Sync for Mirror {}

impl Mirror {
    /// One that has no room.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            head: KBox::pin(Opaque::zeroed(), GFP_KERNEL)?,
            entries: KVVec::new(),
        })
    }

    /// The most pieces for which the kernel gives memory in one piece.
    const MOST: usize = c_int::MAX as usize / size_of::<bindings::vhost_iotlb_map>();

    /// Makes room for that many pieces, if there is none. Fails with `ENOSPC` if there cannot be that
    /// much, or `ENOMEM`; then there is as much room as before.
    pub(crate) fn reserve(&mut self, pieces: usize) -> Result {
        let room = self.entries.capacity();
        if pieces <= room {
            return Ok(());
        }
        if pieces > Self::MOST {
            return Err(ENOSPC);
        }
        // What was there is made anew: copying it would be in vain.
        let room = pieces.max(room.saturating_mul(2)).min(Self::MOST);
        self.entries = KVVec::with_capacity(room, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    /// What a device is to be shown: these regions, which are sorted and do not overlap.
    ///
    /// Fails with `ENOMEM` if there is no room for all their pieces.
    pub(crate) fn show<'r>(&mut self, regions: impl Iterator<Item = &'r Region>) -> Result<&Iotlb> {
        self.entries.clear();
        for region in regions {
            region.each_piece(|piece| self.add(piece, region.permissions))?;
        }
        self.link()?;
        // SAFETY: It was just made, and does not change while it is borrowed. Its entries are those of
        // regions, which stay until the device was told of others.
        Ok(unsafe { Iotlb::from_raw(self.head.get()) })
    }

    fn add(&mut self, piece: Piece, permissions: Permissions) -> Result {
        let entry = bindings::vhost_iotlb_map {
            rb: bindings::rb_node {
                __rb_parent_color: 0,
                rb_right: ptr::null_mut(),
                rb_left: ptr::null_mut(),
            },
            link: bindings::list_head {
                next: ptr::null_mut(),
                prev: ptr::null_mut(),
            },
            start: piece.iova,
            // A piece is not empty, and ends before addresses do.
            last: piece.iova.wrapping_add(piece.size).wrapping_sub(1),
            size: piece.size,
            addr: piece.address,
            perm: permissions.bits(),
            flags_padding: 0,
            __subtree_last: 0,
            opaque: piece.opaque,
        };
        self.entries.push_within_capacity(entry).map_err(|_| ENOMEM)
    }

    /// Makes a list and a tree of the entries.
    fn link(&mut self) -> Result {
        let count = self.entries.len();
        let first = self.entries.as_mut_ptr();
        let head = self.head.get();
        // SAFETY: The head is valid, and ours alone; so are as many entries.
        unsafe {
            let list = &raw mut (*head).list;
            let mut last = list;
            for index in 0..count {
                let link = &raw mut (*first.add(index)).link;
                (*link).prev = last;
                (*last).next = link;
                last = link;
            }
            (*last).next = list;
            (*list).prev = last;
            // As many levels are full. What is below them is red, so that every way down passes
            // through the same number of black nodes.
            let full = count.saturating_add(1).ilog2();
            let (root, leftmost) = match count {
                0 => (ptr::null_mut(), ptr::null_mut()),
                _ => (
                    tree(first, count, ptr::null_mut(), full),
                    &raw mut (*first).rb,
                ),
            };
            (*head).root = bindings::rb_root_cached {
                rb_root: bindings::rb_root { rb_node: root },
                rb_leftmost: leftmost,
            };
            (*head).limit = u32::MAX;
            (*head).nmaps = u32::try_from(count)?;
            (*head).flags = 0;
        }
        Ok(())
    }
}

/// Makes a tree of entries that are sorted, with the middle one at its root, `black` levels of which
/// are black; it hangs below `parent`. It is as deep as `count` has bits.
///
/// # Safety
///
/// There must be `count` entries from `first` on, at least one, for the caller alone.
unsafe fn tree(
    first: *mut bindings::vhost_iotlb_map,
    count: usize,
    parent: *mut bindings::rb_node,
    black: u32,
) -> *mut bindings::rb_node {
    let colour = if black == 0 { RED } else { BLACK };
    // Nodes are aligned, which leaves room for the colour.
    let above = parent.expose_provenance() | colour;
    let none = ptr::null_mut();
    // SAFETY: By the safety requirements.
    let hang = |entry: *mut bindings::vhost_iotlb_map, left, right, last| unsafe {
        (*entry).rb = bindings::rb_node {
            __rb_parent_color: above,
            rb_right: right,
            rb_left: left,
        };
        (*entry).__subtree_last = last;
        &raw mut (*entry).rb
    };
    // Half of all are like this.
    if count <= 1 {
        // SAFETY: By the safety requirements.
        return hang(first, none, none, unsafe { (*first).last });
    }
    let middle = count / 2;
    let below = black.saturating_sub(1);
    let rest = count - middle - 1;
    // SAFETY: By the safety requirements; both halves are parts, and the middle is in neither. Of two
    // entries, the second half has none.
    unsafe {
        let root = first.add(middle);
        let node = &raw mut (*root).rb;
        let left = tree(first, middle, node, below);
        let right = match rest {
            0 => none,
            _ => tree(root.add(1), rest, node, below),
        };
        hang(root, left, right, (*root.add(rest)).last)
    }
}
