// SPDX-License-Identifier: GPL-2.0

//! `struct virtio_map_ops` of a device that a driver in the kernel reaches by its [`Window`].
//!
//! C header: [`include/linux/virtio_config.h`](srctree/include/linux/virtio_config.h)

use crate::window::Window;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    bindings::{
        self,
        dma_addr_t,
        dma_data_direction,
        gfp_t,
        page, //
    },
    prelude::*, //
};
use vdpa::{
    DeviceOps,
    MapOps,
    ParentDevice, //
};
use vdpa_bindings::{
    virtio_map,
    virtio_map_ops, //
};

/// A device with a window.
pub trait HasWindow: DeviceOps {
    /// The window.
    fn window(&self) -> &Window;
}

/// The operations for devices of a type. They have to be made with
/// [`DmaDevice::Itself`](vdpa::DmaDevice::Itself).
///
/// # Safety
///
/// All functions: to be called by the rules of C for the operation only, by a driver that is bound to
/// a device which was made with these operations.
pub struct KernelMap<T: HasWindow>(PhantomData<T>);

#[expect(clippy::missing_safety_doc)] // They have the one of the type.
impl<T: HasWindow> KernelMap<T> {
    const RAW: virtio_map_ops = virtio_map_ops {
        map_page: Some(Self::map_page),
        unmap_page: Some(Self::unmap_page),
        sync_single_for_cpu: Some(Self::sync_single),
        sync_single_for_device: Some(Self::sync_single),
        alloc: Some(Self::alloc),
        free: Some(Self::free),
        need_sync: Some(Self::need_sync),
        mapping_error: Some(Self::mapping_error),
        max_mapping_size: Some(Self::max_mapping_size),
    };

    /// The table.
    pub const OPS: MapOps = {
        // SAFETY: All operations do what C asks of them for devices of the type, which have
        // themselves as DMA device.
        unsafe { MapOps::new(Self::RAW) }
    };

    unsafe fn window<'a>(map: virtio_map) -> &'a Window {
        // SAFETY: By the safety requirements; only the device's own pointer was given out.
        T::window(unsafe { ParentDevice::<T>::from_dma_device(map.dma_dev) })
    }

    unsafe extern "C" fn map_page(
        _map: virtio_map,
        page: *mut page,
        offset: c_ulong,
        _size: usize,
        _dir: dma_data_direction,
        _attrs: c_ulong,
    ) -> dma_addr_t {
        // SAFETY: The caller passes a valid page.
        unsafe { vdpa_bindings::page_to_phys_offset(page, offset) }
    }

    unsafe extern "C" fn unmap_page(
        _map: virtio_map,
        _handle: dma_addr_t,
        _size: usize,
        _dir: dma_data_direction,
        _attrs: c_ulong,
    ) {
    }

    unsafe extern "C" fn sync_single(
        _map: virtio_map,
        _handle: dma_addr_t,
        _size: usize,
        _dir: dma_data_direction,
    ) {
    }

    unsafe extern "C" fn alloc(
        map: virtio_map,
        size: usize,
        handle: *mut dma_addr_t,
        gfp: gfp_t,
    ) -> *mut c_void {
        // SAFETY: No requirements.
        let memory =
            unsafe { bindings::alloc_pages_exact_noprof(size, gfp | bindings::__GFP_ZERO) };
        if memory.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: The memory is the kernel's own, and mapped; the caller passes a place for the
        // address. The device is valid by the safety requirements.
        unsafe {
            handle.write(vdpa_bindings::virt_to_phys(memory));
            Self::window(map).add_ring();
        }
        memory
    }

    unsafe extern "C" fn free(
        map: virtio_map,
        size: usize,
        memory: *mut c_void,
        _handle: dma_addr_t,
        _attrs: c_ulong,
    ) {
        // SAFETY: By the safety requirements. The caller passes what `alloc` returned, and has
        // stopped the queue.
        unsafe {
            Self::window(map).remove_ring();
            bindings::free_pages_exact(memory, size);
        }
    }

    unsafe extern "C" fn need_sync(_map: virtio_map, _handle: dma_addr_t) -> bool {
        false
    }

    unsafe extern "C" fn mapping_error(_map: virtio_map, _handle: dma_addr_t) -> c_int {
        0
    }

    unsafe extern "C" fn max_mapping_size(_map: virtio_map) -> usize {
        usize::MAX
    }
}
