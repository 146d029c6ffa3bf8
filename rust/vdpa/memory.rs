// SPDX-License-Identifier: GPL-2.0

//! How a device reaches memory: groups of virtqueues, address spaces, and what is mapped in them.
//!
//! The virtqueues of a device are divided into groups, and each group sees one of the device's
//! address spaces. A device with an address translation of its own gets the contents of an address
//! space either as a whole (`set_map`) or entry by entry (`dma_map`); a device with neither is
//! behind the platform's IOMMU.
//!
//! A bus driver calls the operations of [`Device<Bound>`](Device) here in process context, and one
//! at a time. The numbers that it passes are checked, as many parents do not: for a queue, group or
//! address space that the device does not have, operations that return a result fail with `EINVAL`,
//! and those that ask for something find nothing.

use crate::{
    device::{
        call,
        Device, //
    },
    queue::QueueIndex,
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    error::to_result,
    mm::Mm,
    prelude::*,
    types::Opaque, //
};
use kext::nospec::checked_index;
use vdpa_bindings as bindings;

/// The number of a group of virtqueues.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupId(u32);

impl GroupId {
    /// The group with this number.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The number of an address space of a device.
///
/// A parent has to check it: C drivers do not.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asid(u32);

impl Asid {
    /// The address space with this number.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The I/O virtual addresses that a device can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IovaRange {
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// What a device may do with mapped memory, `VHOST_MAP_*`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    /// Only read it.
    pub const READ: Self = Self(bindings::VHOST_MAP_RO);
    /// Only write it.
    pub const WRITE: Self = Self(bindings::VHOST_MAP_WO);
    /// Both.
    pub const READ_WRITE: Self = Self(bindings::VHOST_MAP_RW);

    /// The permissions with these bits.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether the device may read.
    pub const fn can_read(self) -> bool {
        self.0 & Self::READ.0 != 0
    }

    /// Whether the device may write.
    pub const fn can_write(self) -> bool {
        self.0 & Self::WRITE.0 != 0
    }
}

/// A piece of an address space, as it is mapped on its own.
///
/// # Invariants
///
/// It names memory that the device may use, which stays until it is unmapped, and so does what
/// `opaque` points to.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    iova: u64,
    size: u64,
    address: u64,
    permissions: Permissions,
    opaque: *mut c_void,
}

impl Mapping {
    /// A piece of `size` bytes from `iova` on.
    ///
    /// # Safety
    ///
    /// `address` must be that of memory that the device may use, pinned until it is unmapped. What
    /// `opaque` points to must stay as long as the call in which a device is told; a parent that uses
    /// it longer, such as VDUSE, takes references.
    pub const unsafe fn new(
        iova: u64,
        size: u64,
        address: u64,
        permissions: Permissions,
        opaque: *mut c_void,
    ) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            iova,
            size,
            address,
            permissions,
            opaque,
        }
    }

    /// The first I/O virtual address.
    pub const fn iova(&self) -> u64 {
        self.iova
    }

    /// The size in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What it is mapped to: a physical address, or a virtual one of the owner's memory if the
    /// device [uses those](Device::uses_va).
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// What the device may do.
    pub const fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// With virtual addresses, the `struct vdpa_map_file` of the memory.
    pub const fn opaque(&self) -> *mut c_void {
        self.opaque
    }
}

/// The contents of an address space, `struct vhost_iotlb` in C, to look at.
///
/// # Invariants
///
/// Represents an initialised `struct vhost_iotlb` that does not change. What it names is memory that
/// the device may use, which stays until it is unmapped.
#[repr(transparent)]
pub struct Iotlb(Opaque<bindings::vhost_iotlb>);

impl Iotlb {
    /// # Safety
    ///
    /// `ptr` must be initialised, stay valid and not change during `'a`. What it names must be memory
    /// that the device may use, pinned until it is unmapped or replaced.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::vhost_iotlb) -> &'a Self {
        // SAFETY: By the safety requirements; the type is a transparent wrapper.
        unsafe { &*ptr.cast() }
    }

    /// The number of entries.
    pub fn len(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { (*self.0.get()).nmaps }
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries, in the order of their addresses.
    pub fn sorted(&self) -> Sorted<'_> {
        Sorted {
            // INVARIANT: The first entry of the tree, or null.
            // SAFETY: By the type invariants the tree is initialised.
            next: unsafe { bindings::rb_first(&raw const (*self.0.get()).root.rb_root) },
            _iotlb: PhantomData,
        }
    }

    /// The entries, in the order in which they were mapped. They do not overlap.
    ///
    /// This walks the list that C keeps beside its tree, so no symbol of `vhost_iotlb.ko` is
    /// needed.
    pub fn entries(&self) -> Entries<'_> {
        // SAFETY: By the type invariants; the pointer is not read through yet.
        let head = unsafe { &raw const (*self.0.get()).list };
        Entries {
            head,
            // SAFETY: By the type invariants the list is initialised.
            next: unsafe { (*head).next },
            _iotlb: PhantomData,
        }
    }
}

/// An iterator over the entries of an [`Iotlb`], by address.
///
/// # Invariants
///
/// `next` is null or the `rb` of an entry of an [`Iotlb`] that is borrowed for `'a`.
pub struct Sorted<'a> {
    next: *mut bindings::rb_node,
    _iotlb: PhantomData<&'a Iotlb>,
}

impl<'a> Iterator for Sorted<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let node = self.next;
        if node.is_null() {
            return None;
        }
        // INVARIANT: The successor of an entry is an entry or null.
        // SAFETY: By the type invariants.
        self.next = unsafe { bindings::rb_next(node) };
        // SAFETY: By the type invariants `node` is in an entry, which does not change.
        Some(Entry(unsafe {
            &*kernel::container_of!(node, bindings::vhost_iotlb_map, rb)
        }))
    }
}

/// An iterator over the entries of an [`Iotlb`].
///
/// # Invariants
///
/// `head` is the list of an [`Iotlb`] that is borrowed for `'a`, and `next` is `head` or the `link`
/// of one of its entries.
pub struct Entries<'a> {
    head: *const bindings::list_head,
    next: *const bindings::list_head,
    _iotlb: PhantomData<&'a Iotlb>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if ptr::eq(self.next, self.head) {
            return None;
        }
        let link = self.next;
        // INVARIANT: The successor of an entry is an entry or the head.
        // SAFETY: By the type invariants.
        self.next = unsafe { (*link).next };
        // SAFETY: By the type invariants `link` is in an entry, which does not change.
        Some(Entry(unsafe {
            &*kernel::container_of!(link, bindings::vhost_iotlb_map, link)
        }))
    }
}

/// An entry of an [`Iotlb`].
#[derive(Clone, Copy)]
pub struct Entry<'a>(&'a bindings::vhost_iotlb_map);

impl Entry<'_> {
    /// The first I/O virtual address.
    pub fn first(self) -> u64 {
        self.0.start
    }

    /// The last I/O virtual address.
    pub fn last(self) -> u64 {
        self.0.last
    }

    /// The address to which the first one is mapped, see [`Mapping::address`].
    pub fn address(self) -> u64 {
        self.0.addr
    }

    /// What the device may do.
    pub fn permissions(self) -> Permissions {
        Permissions(self.0.perm)
    }

    /// See [`Mapping::opaque`](Mapping::opaque()).
    pub fn opaque(self) -> *mut c_void {
        self.0.opaque
    }
}

/// How a kernel driver maps memory for a virtqueue, `union virtio_map` in C.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct VirtioMap<'a>(bindings::virtio_map, PhantomData<&'a device::Device>);

impl<'a> VirtioMap<'a> {
    /// None.
    pub const NONE: Self = Self(
        bindings::virtio_map {
            dma_dev: ptr::null_mut(),
        },
        PhantomData,
    );

    /// By the DMA operations of `dev`, which must have a DMA mask.
    pub fn dma_device(dev: &'a device::Device) -> Self {
        Self(
            bindings::virtio_map {
                dma_dev: kext::device::as_raw(dev),
            },
            PhantomData,
        )
    }

    /// The C union.
    pub fn as_raw(self) -> bindings::virtio_map {
        self.0
    }
}

/// Operations by which kernel drivers map memory for a device with its own idea of that, `struct
/// virtio_map_ops` in C.
#[repr(transparent)]
pub struct MapOps(bindings::virtio_map_ops);

impl MapOps {
    /// Wraps the C table.
    ///
    /// # Safety
    ///
    /// All operations but `max_mapping_size` must be there, and each must do what C asks of it for
    /// every [`VirtioMap`] of the devices that get this table.
    pub const unsafe fn new(ops: bindings::virtio_map_ops) -> Self {
        Self(ops)
    }

    pub(crate) fn as_raw(&self) -> *const bindings::virtio_map_ops {
        &self.0
    }
}

// SAFETY: The table is only read.
unsafe impl Sync for MapOps {}

impl Device {
    /// Whether the device gets an address space as a whole.
    pub fn has_set_map(&self) -> bool {
        self.ops().set_map.is_some()
    }

    /// Whether the device gets an address space piece by piece.
    pub fn has_dma_map(&self) -> bool {
        self.ops().dma_map.is_some()
    }

    /// Whether the device is behind the platform's IOMMU.
    pub fn uses_platform_iommu(&self) -> bool {
        !self.has_set_map() && !self.has_dma_map()
    }

    /// The device that does DMA for a device behind the platform's IOMMU.
    pub fn dma_device(&self) -> Option<&device::Device> {
        // SAFETY: By the type invariants. What maps memory for kernel drivers does not change once the
        // device is on the bus, and without operations for that it is a device, or null.
        unsafe {
            let raw = self.as_raw();
            let dma_dev = (*raw).vmap.dma_dev;
            ((*raw).map.is_null() && !dma_dev.is_null()).then(|| device::Device::from_raw(dma_dev))
        }
    }

    /// Whether the device can be bound to its owner's memory.
    pub fn has_bind_mm(&self) -> bool {
        self.ops().bind_mm.is_some()
    }

    /// Whether the contents of an address space can be reset apart from the device.
    pub fn has_reset_map(&self) -> bool {
        self.ops().reset_map.is_some()
    }
}

/// A number that a parent may use as an index. Fails with `EINVAL` unless it is below `count`.
fn checked(number: u32, count: u32) -> Result<u32> {
    let index = checked_index(usize::try_from(number)?, usize::try_from(count)?);
    Ok(u32::try_from(index.ok_or(EINVAL)?)?)
}

impl Device<Bound> {
    /// The number of a group, for the parent. Fails with `EINVAL` if the device has no such group.
    fn check_group(&self, group: GroupId) -> Result<u32> {
        checked(group.get(), self.group_count())
    }

    /// The number of an address space, for the parent. Fails with `EINVAL` if the device has no such
    /// address space.
    fn check_asid(&self, asid: Asid) -> Result<u32> {
        checked(asid.get(), self.address_space_count())
    }

    /// The group of a queue; nothing if the parent has no groups. What a parent says is not checked.
    pub fn queue_group(&self, queue: QueueIndex) -> Option<GroupId> {
        let index = self.check_queue(queue).ok()?;
        call!(self, get_vq_group(index) => Some, None).map(GroupId)
    }

    /// The group of a queue's descriptor table; nothing if it has none of its own.
    pub fn queue_descriptor_group(&self, queue: QueueIndex) -> Option<GroupId> {
        let index = self.check_queue(queue).ok()?;
        call!(self, get_vq_desc_group(index) => Some, None).map(GroupId)
    }

    /// The addresses that the device can reach; nothing if the parent does not tell.
    pub fn iova_range(&self) -> Option<IovaRange> {
        let raw = call!(self, get_iova_range() => Some, None)?;
        Some(IovaRange {
            first: raw.first,
            last: raw.last,
        })
    }

    /// Lets a group see an address space. Not at the same time as a change of the status.
    ///
    /// Fails with `EOPNOTSUPP` if the parent has no groups, or with its error.
    pub fn set_group_address_space(&self, group: GroupId, asid: Asid) -> Result {
        let (group, asid) = (self.check_group(group)?, self.check_asid(asid)?);
        to_result(call!(
            self,
            set_group_asid(group, asid),
            EOPNOTSUPP.to_errno()
        ))
    }

    /// Replaces the contents of an address space. The parent keeps no reference to `iotlb`.
    ///
    /// Fails with `EOPNOTSUPP` if the parent cannot, or with its error.
    ///
    /// # Safety
    ///
    /// The memory that `iotlb` names must stay until this device was told that it is not mapped any
    /// more.
    pub unsafe fn set_map(&self, asid: Asid, iotlb: &Iotlb) -> Result {
        let asid = self.check_asid(asid)?;
        to_result(call!(
            self,
            set_map(asid, iotlb.0.get()),
            EOPNOTSUPP.to_errno()
        ))
    }

    /// Adds a piece to an address space.
    ///
    /// Fails with `EOPNOTSUPP` if the parent cannot, or with its error.
    ///
    /// # Safety
    ///
    /// The memory that `mapping` names must stay until this device was told that it is not mapped any
    /// more.
    pub unsafe fn dma_map(&self, asid: Asid, mapping: &Mapping) -> Result {
        let asid = self.check_asid(asid)?;
        to_result(call!(
            self,
            dma_map(
                asid,
                mapping.iova,
                mapping.size,
                mapping.address,
                mapping.permissions.bits(),
                mapping.opaque
            ),
            EOPNOTSUPP.to_errno()
        ))
    }

    /// Removes `size` bytes from `iova` on from an address space.
    ///
    /// Fails with `EOPNOTSUPP` if the parent cannot, or with its error.
    pub fn dma_unmap(&self, asid: Asid, iova: u64, size: u64) -> Result {
        let asid = self.check_asid(asid)?;
        to_result(call!(
            self,
            dma_unmap(asid, iova, size),
            EOPNOTSUPP.to_errno()
        ))
    }

    /// Gives an address space its initial contents back.
    ///
    /// Fails with `EOPNOTSUPP` if the parent cannot, or with its error.
    pub fn reset_map(&self, asid: Asid) -> Result {
        let asid = self.check_asid(asid)?;
        to_result(call!(self, reset_map(asid), EOPNOTSUPP.to_errno()))
    }

    /// How a kernel driver maps memory for a queue; [`VirtioMap::NONE`] if there is no such queue.
    pub fn queue_map(&self, queue: QueueIndex) -> VirtioMap<'_> {
        let Ok(index) = self.check_queue(queue) else {
            return VirtioMap::NONE;
        };
        // SAFETY: The device is valid; `vmap` does not change once it is on the bus.
        let vmap = unsafe { (*self.as_raw()).vmap };
        VirtioMap(call!(self, get_vq_map(index), vmap), PhantomData)
    }

    /// Lets the device reach the memory of `mm` by its virtual addresses.
    ///
    /// Fails with `EOPNOTSUPP` if the parent cannot, or with its error.
    pub fn bind_mm(&self, mm: &Mm) -> Result {
        to_result(call!(self, bind_mm(mm.as_raw()), EOPNOTSUPP.to_errno()))
    }

    /// Undoes [`bind_mm`](Self::bind_mm).
    pub fn unbind_mm(&self) {
        call!(self, unbind_mm(), ())
    }
}
