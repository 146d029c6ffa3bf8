// SPDX-License-Identifier: GPL-2.0

//! The operations about memory.

use super::{
    errno,
    OpsTable, //
};
use crate::{
    memory::{
        Asid,
        GroupId,
        Iotlb,
        Mapping,
        Permissions, //
    },
    ops::DeviceOps,
    queue::QueueIndex,
};
use kernel::{
    mm::Mm,
    prelude::*, //
};
use vdpa_bindings as bindings;

#[expect(clippy::missing_safety_doc)] // They have the one of the type.
impl<T: DeviceOps> OpsTable<T> {
    pub(super) unsafe extern "C" fn set_map(
        vdev: *mut bindings::vdpa_device,
        asid: c_uint,
        iotlb: *mut bindings::vhost_iotlb,
    ) -> c_int {
        // SAFETY: The caller passes a valid IOTLB and keeps it from changing during the call, and
        // pins what is in it until that is unmapped. (C's vhost_vdpa unpins just before that.)
        let iotlb = unsafe { Iotlb::from_raw(iotlb) };
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.set_map(Asid::new(asid), iotlb))
    }

    pub(super) unsafe extern "C" fn dma_map(
        vdev: *mut bindings::vdpa_device,
        asid: c_uint,
        iova: u64,
        size: u64,
        pa: u64,
        perm: u32,
        opaque: *mut c_void,
    ) -> c_int {
        let permissions = Permissions::from_bits(perm);
        // SAFETY: The caller pins the memory, and keeps what belongs to it, until it is unmapped.
        let mapping = unsafe { Mapping::new(iova, size, pa, permissions, opaque) };
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.dma_map(Asid::new(asid), &mapping))
    }

    pub(super) unsafe extern "C" fn dma_unmap(
        vdev: *mut bindings::vdpa_device,
        asid: c_uint,
        iova: u64,
        size: u64,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.dma_unmap(Asid::new(asid), iova, size))
    }

    pub(super) unsafe extern "C" fn reset_map(
        vdev: *mut bindings::vdpa_device,
        asid: c_uint,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.reset_map(Asid::new(asid)))
    }

    pub(super) unsafe extern "C" fn set_group_asid(
        vdev: *mut bindings::vdpa_device,
        group: c_uint,
        asid: c_uint,
    ) -> c_int {
        let (group, asid) = (GroupId::new(group), Asid::new(asid));
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.set_group_asid(group, asid))
    }

    pub(super) unsafe extern "C" fn get_vq_map(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
    ) -> bindings::virtio_map {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }
            .get_vq_map(QueueIndex::new(idx))
            .as_raw()
    }

    pub(super) unsafe extern "C" fn bind_mm(
        vdev: *mut bindings::vdpa_device,
        mm: *mut bindings::mm_struct,
    ) -> c_int {
        // SAFETY: The caller passes a valid `struct mm_struct` with a reference held.
        let mm = unsafe { Mm::from_raw(mm) };
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.bind_mm(mm))
    }

    pub(super) unsafe extern "C" fn unbind_mm(vdev: *mut bindings::vdpa_device) {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.unbind_mm();
    }
}
