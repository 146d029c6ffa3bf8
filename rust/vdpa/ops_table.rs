// SPDX-License-Identifier: GPL-2.0

//! From the C table of operations to [`DeviceOps`].
//!
//! Each function turns the C arguments into their types, calls the method, and turns its result
//! into a C one. Callbacks of the bus driver go to [`Interrupts`](crate::Interrupts) instead.

mod memory;

use crate::{
    ops::DeviceOps,
    parent::{
        MapStyle,
        ParentDevice, //
    },
    queue::{
        NotificationData,
        QueueAddresses,
        QueueIndex,
        QueueState, //
    },
    stats::StatsWriter,
    types::{
        Features,
        ResetFlags,
        Status, //
    },
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};
use kernel::{
    cpumask::Cpumask,
    error::from_result,
    prelude::*, //
};
use vdpa_bindings as bindings;

/// The C table of a [`DeviceOps`].
///
/// # Safety
///
/// All functions: to be called through [`VTABLE`](Self::VTABLE) only, by the rules of C for that
/// operation, with a device that is a [`ParentDevice<T>`] and initialised.
pub(crate) struct OpsTable<T: DeviceOps>(PhantomData<T>);

fn errno(result: Result) -> c_int {
    from_result(|| result.map(|()| 0))
}

#[expect(clippy::missing_safety_doc)] // They have the one of the type.
impl<T: DeviceOps> OpsTable<T> {
    /// The operations of the type; those that it does not implement are null.
    pub(crate) const VTABLE: bindings::vdpa_config_ops = bindings::vdpa_config_ops {
        set_vq_address: Some(Self::set_vq_address),
        set_vq_num: Some(Self::set_vq_num),
        kick_vq: Some(Self::kick_vq),
        kick_vq_with_data: if T::HAS_KICK_VQ_WITH_DATA {
            Some(Self::kick_vq_with_data)
        } else {
            None
        },
        set_vq_cb: Some(Self::set_vq_cb),
        set_vq_ready: Some(Self::set_vq_ready),
        get_vq_ready: Some(Self::get_vq_ready),
        set_vq_state: Some(Self::set_vq_state),
        get_vq_state: Some(Self::get_vq_state),
        get_vendor_vq_stats: if T::HAS_GET_VENDOR_VQ_STATS {
            Some(Self::get_vendor_vq_stats)
        } else {
            None
        },
        get_vq_notification: if T::HAS_GET_VQ_NOTIFICATION {
            Some(Self::get_vq_notification)
        } else {
            None
        },
        get_vq_irq: if T::HAS_GET_VQ_IRQ {
            Some(Self::get_vq_irq)
        } else {
            None
        },
        get_vq_size: if T::HAS_GET_VQ_SIZE {
            Some(Self::get_vq_size)
        } else {
            None
        },
        get_vq_align: Some(Self::get_vq_align),
        get_vq_group: if T::HAS_GET_VQ_GROUP {
            Some(Self::get_vq_group)
        } else {
            None
        },
        get_vq_desc_group: if T::HAS_GET_VQ_DESC_GROUP {
            Some(Self::get_vq_desc_group)
        } else {
            None
        },
        get_device_features: Some(Self::get_device_features),
        get_backend_features: if T::HAS_GET_BACKEND_FEATURES {
            Some(Self::get_backend_features)
        } else {
            None
        },
        set_driver_features: Some(Self::set_driver_features),
        get_driver_features: Some(Self::get_driver_features),
        set_config_cb: Some(Self::set_config_cb),
        get_vq_num_max: Some(Self::get_vq_num_max),
        get_vq_num_min: if T::HAS_GET_VQ_NUM_MIN {
            Some(Self::get_vq_num_min)
        } else {
            None
        },
        get_device_id: Some(Self::get_device_id),
        get_vendor_id: Some(Self::get_vendor_id),
        get_status: Some(Self::get_status),
        set_status: Some(Self::set_status),
        reset: Some(Self::reset),
        compat_reset: if T::HAS_COMPAT_RESET {
            Some(Self::compat_reset)
        } else {
            None
        },
        suspend: if T::HAS_SUSPEND {
            Some(Self::suspend)
        } else {
            None
        },
        resume: if T::HAS_RESUME {
            Some(Self::resume)
        } else {
            None
        },
        get_config_size: Some(Self::get_config_size),
        get_config: Some(Self::get_config),
        set_config: Some(Self::set_config),
        get_generation: if T::HAS_GET_GENERATION {
            Some(Self::get_generation)
        } else {
            None
        },
        get_iova_range: if T::HAS_GET_IOVA_RANGE {
            Some(Self::get_iova_range)
        } else {
            None
        },
        set_vq_affinity: if T::HAS_SET_VQ_AFFINITY {
            Some(Self::set_vq_affinity)
        } else {
            None
        },
        get_vq_affinity: if T::HAS_GET_VQ_AFFINITY {
            Some(Self::get_vq_affinity)
        } else {
            None
        },
        set_map: if T::HAS_SET_MAP {
            Some(Self::set_map)
        } else {
            None
        },
        dma_map: if T::HAS_DMA_MAP {
            Some(Self::dma_map)
        } else {
            None
        },
        dma_unmap: if T::HAS_DMA_UNMAP {
            Some(Self::dma_unmap)
        } else {
            None
        },
        reset_map: if T::HAS_RESET_MAP {
            Some(Self::reset_map)
        } else {
            None
        },
        set_group_asid: if T::HAS_SET_GROUP_ASID {
            Some(Self::set_group_asid)
        } else {
            None
        },
        get_vq_map: if T::HAS_GET_VQ_MAP {
            Some(Self::get_vq_map)
        } else {
            None
        },
        bind_mm: if T::HAS_BIND_MM {
            Some(Self::bind_mm)
        } else {
            None
        },
        unbind_mm: if T::HAS_UNBIND_MM {
            Some(Self::unbind_mm)
        } else {
            None
        },
        free: Some(Self::free),
    };

    /// Only [`MapStyle::Whole`].
    const WHOLE: bindings::vdpa_config_ops = bindings::vdpa_config_ops {
        dma_map: None,
        dma_unmap: None,
        ..Self::VTABLE
    };

    /// Only [`MapStyle::Pieces`].
    const PIECES: bindings::vdpa_config_ops = bindings::vdpa_config_ops {
        set_map: None,
        ..Self::VTABLE
    };

    /// The table at an address that does not change.
    pub(crate) fn table(style: MapStyle) -> &'static bindings::vdpa_config_ops {
        // The bus refuses a table with one and not the other.
        const { assert!(T::HAS_DMA_MAP == T::HAS_DMA_UNMAP) };
        match style {
            MapStyle::AsImplemented => &Self::VTABLE,
            MapStyle::Whole => &Self::WHOLE,
            MapStyle::Pieces => &Self::PIECES,
        }
    }

    unsafe fn device<'a>(vdev: *mut bindings::vdpa_device) -> &'a ParentDevice<T> {
        // SAFETY: By the safety requirements.
        unsafe { ParentDevice::from_raw(vdev) }
    }

    unsafe fn data<'a>(vdev: *mut bindings::vdpa_device) -> &'a T {
        // SAFETY: By the safety requirements.
        unsafe { Self::device(vdev) }
    }

    /// Called when the last reference is gone; the device need not be initialised.
    unsafe extern "C" fn free(vdev: *mut bindings::vdpa_device) {
        // SAFETY: By the safety requirements, and nobody uses the device any more.
        unsafe { ParentDevice::<T>::release(vdev) };
    }

    unsafe extern "C" fn set_vq_address(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        desc_area: u64,
        driver_area: u64,
        device_area: u64,
    ) -> c_int {
        let at = QueueAddresses {
            descriptors: desc_area,
            driver: driver_area,
            device: device_area,
        };
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.set_vq_address(QueueIndex::new(idx), at))
    }

    unsafe extern "C" fn set_vq_num(vdev: *mut bindings::vdpa_device, idx: u16, num: u32) {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.set_vq_num(QueueIndex::new(idx), num);
    }

    unsafe extern "C" fn kick_vq(vdev: *mut bindings::vdpa_device, idx: u16) {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.kick_vq(QueueIndex::new(idx));
    }

    unsafe extern "C" fn kick_vq_with_data(vdev: *mut bindings::vdpa_device, data: u32) {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.kick_vq_with_data(NotificationData::from_bits(data));
    }

    unsafe extern "C" fn set_vq_cb(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        cb: *mut bindings::vdpa_callback,
    ) {
        // SAFETY: By the safety requirements; the caller passes a valid callback.
        let (dev, cb) = unsafe { (Self::device(vdev), &*cb) };
        let queue = QueueIndex::new(idx);
        // SAFETY: The bus driver keeps the callback valid until it replaces it or resets the device,
        // or the device is unregistered, but for times when the queue is not ready; all of these are
        // passed on to `interrupts()`.
        unsafe { dev.interrupts().set_queue(queue, cb) };
        dev.set_vq_cb(queue, cb.callback.is_some());
    }

    unsafe extern "C" fn set_vq_ready(vdev: *mut bindings::vdpa_device, idx: u16, ready: bool) {
        // SAFETY: By the safety requirements.
        let dev = unsafe { Self::device(vdev) };
        let queue = QueueIndex::new(idx);
        // The device may interrupt as soon as the queue is ready, and not any more afterwards.
        if ready {
            dev.interrupts().set_ready(queue, true);
        }
        dev.set_vq_ready(queue, ready);
        if !ready {
            dev.interrupts().set_ready(queue, false);
        }
    }

    unsafe extern "C" fn get_vq_ready(vdev: *mut bindings::vdpa_device, idx: u16) -> bool {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_vq_ready(QueueIndex::new(idx))
    }

    unsafe extern "C" fn set_vq_state(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        state: *const bindings::vdpa_vq_state,
    ) -> c_int {
        // SAFETY: The caller passes a valid state.
        let state = QueueState::from_raw(unsafe { *state });
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.set_vq_state(QueueIndex::new(idx), state))
    }

    unsafe extern "C" fn get_vq_state(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        state: *mut bindings::vdpa_vq_state,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let result = unsafe { Self::data(vdev) }.get_vq_state(QueueIndex::new(idx));
        // SAFETY: The caller passes a place for a state.
        errno(result.map(|got| unsafe { state.write(got.into_raw()) }))
    }

    unsafe extern "C" fn get_vendor_vq_stats(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        msg: *mut bindings::sk_buff,
        extack: *mut bindings::netlink_ext_ack,
    ) -> c_int {
        let Some(msg) = NonNull::new(msg) else {
            return EINVAL.to_errno();
        };
        // SAFETY: The caller passes a message with a record to which attributes can be added, and a
        // valid or no place for an error; both are its own.
        let mut stats = unsafe { StatsWriter::from_raw(msg, extack) };
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.get_vendor_vq_stats(QueueIndex::new(idx), &mut stats))
    }

    unsafe extern "C" fn get_vq_notification(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
    ) -> bindings::vdpa_notification_area {
        // SAFETY: By the safety requirements.
        let area = unsafe { Self::data(vdev) }.get_vq_notification(QueueIndex::new(idx));
        area.map_or_else(Default::default, |area| bindings::vdpa_notification_area {
            addr: area.address(),
            size: area.size(),
        })
    }

    unsafe extern "C" fn get_vq_irq(vdev: *mut bindings::vdpa_device, idx: u16) -> c_int {
        // SAFETY: By the safety requirements.
        let irq = unsafe { Self::data(vdev) }.get_vq_irq(QueueIndex::new(idx));
        from_result(|| Ok(c_int::try_from(irq?)?))
    }

    unsafe extern "C" fn get_vq_size(vdev: *mut bindings::vdpa_device, idx: u16) -> u16 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_vq_size(QueueIndex::new(idx))
    }

    unsafe extern "C" fn get_vq_align(vdev: *mut bindings::vdpa_device) -> u32 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_vq_align()
    }

    unsafe extern "C" fn get_vq_group(vdev: *mut bindings::vdpa_device, idx: u16) -> u32 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }
            .get_vq_group(QueueIndex::new(idx))
            .get()
    }

    unsafe extern "C" fn get_vq_desc_group(vdev: *mut bindings::vdpa_device, idx: u16) -> u32 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }
            .get_vq_desc_group(QueueIndex::new(idx))
            .get()
    }

    unsafe extern "C" fn get_device_features(vdev: *mut bindings::vdpa_device) -> u64 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_device_features().bits()
    }

    unsafe extern "C" fn get_backend_features(vdev: *const bindings::vdpa_device) -> u64 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev.cast_mut()) }.get_backend_features()
    }

    unsafe extern "C" fn set_driver_features(
        vdev: *mut bindings::vdpa_device,
        features: u64,
    ) -> c_int {
        let features = Features::from_bits(features);
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.set_driver_features(features))
    }

    unsafe extern "C" fn get_driver_features(vdev: *mut bindings::vdpa_device) -> u64 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_driver_features().bits()
    }

    unsafe extern "C" fn set_config_cb(
        vdev: *mut bindings::vdpa_device,
        cb: *mut bindings::vdpa_callback,
    ) {
        // SAFETY: By the safety requirements; the caller passes a valid callback.
        let (dev, cb) = unsafe { (Self::device(vdev), &*cb) };
        // SAFETY: As in `set_vq_cb`; there are no such times for this one.
        unsafe { dev.interrupts().set_config(cb) };
        dev.set_config_cb(cb.callback.is_some());
    }

    unsafe extern "C" fn get_vq_num_max(vdev: *mut bindings::vdpa_device) -> u16 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_vq_num_max()
    }

    unsafe extern "C" fn get_vq_num_min(vdev: *mut bindings::vdpa_device) -> u16 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_vq_num_min()
    }

    unsafe extern "C" fn get_device_id(vdev: *mut bindings::vdpa_device) -> u32 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_device_id().get()
    }

    unsafe extern "C" fn get_vendor_id(vdev: *mut bindings::vdpa_device) -> u32 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_vendor_id()
    }

    unsafe extern "C" fn get_status(vdev: *mut bindings::vdpa_device) -> u8 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_status().bits()
    }

    unsafe extern "C" fn set_status(vdev: *mut bindings::vdpa_device, status: u8) {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.set_status(Status::from_bits(status));
    }

    unsafe extern "C" fn reset(vdev: *mut bindings::vdpa_device) -> c_int {
        // SAFETY: By the safety requirements.
        let dev = unsafe { Self::device(vdev) };
        let result = dev.reset();
        dev.interrupts().reset();
        errno(result)
    }

    unsafe extern "C" fn compat_reset(vdev: *mut bindings::vdpa_device, flags: u32) -> c_int {
        // SAFETY: By the safety requirements.
        let dev = unsafe { Self::device(vdev) };
        let result = dev.compat_reset(ResetFlags::from_bits(flags));
        dev.interrupts().reset();
        errno(result)
    }

    unsafe extern "C" fn suspend(vdev: *mut bindings::vdpa_device) -> c_int {
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.suspend())
    }

    unsafe extern "C" fn resume(vdev: *mut bindings::vdpa_device) -> c_int {
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.resume())
    }

    unsafe extern "C" fn get_config_size(vdev: *mut bindings::vdpa_device) -> usize {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_config_size()
    }

    unsafe extern "C" fn get_config(
        vdev: *mut bindings::vdpa_device,
        offset: c_uint,
        buf: *mut c_void,
        len: c_uint,
    ) {
        let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) else {
            return;
        };
        if len == 0 {
            return;
        }
        // SAFETY: The caller passes a buffer of `len` bytes, which may be uninitialised: writing it
        // first makes it a valid slice.
        let buf = unsafe {
            ptr::write_bytes(buf.cast::<u8>(), 0, len);
            slice::from_raw_parts_mut(buf.cast::<u8>(), len)
        };
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_config(offset, buf);
    }

    unsafe extern "C" fn set_config(
        vdev: *mut bindings::vdpa_device,
        offset: c_uint,
        buf: *const c_void,
        len: c_uint,
    ) {
        let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) else {
            return;
        };
        if len == 0 {
            return;
        }
        // SAFETY: The caller passes a buffer of `len` bytes.
        let buf = unsafe { slice::from_raw_parts(buf.cast::<u8>(), len) };
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.set_config(offset, buf);
    }

    unsafe extern "C" fn get_generation(vdev: *mut bindings::vdpa_device) -> u32 {
        // SAFETY: By the safety requirements.
        unsafe { Self::data(vdev) }.get_generation()
    }

    unsafe extern "C" fn get_iova_range(
        vdev: *mut bindings::vdpa_device,
    ) -> bindings::vdpa_iova_range {
        // SAFETY: By the safety requirements.
        let range = unsafe { Self::data(vdev) }.get_iova_range();
        bindings::vdpa_iova_range {
            first: range.first,
            last: range.last,
        }
    }

    unsafe extern "C" fn set_vq_affinity(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        cpu_mask: *const bindings::cpumask,
    ) -> c_int {
        let cpus = NonNull::new(cpu_mask.cast_mut())
            // SAFETY: The caller passes a valid mask or none.
            .map(|mask| unsafe { Cpumask::from_raw(mask.as_ptr()) });
        // SAFETY: By the safety requirements.
        errno(unsafe { Self::data(vdev) }.set_vq_affinity(QueueIndex::new(idx), cpus))
    }

    unsafe extern "C" fn get_vq_affinity(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
    ) -> *const bindings::cpumask {
        // SAFETY: By the safety requirements.
        let cpus = unsafe { Self::data(vdev) }.get_vq_affinity(QueueIndex::new(idx));
        cpus.map_or(ptr::null(), |cpus| cpus.as_raw().cast_const())
    }
}
