// SPDX-License-Identifier: GPL-2.0

//! Address spaces of devices behind the platform's IOMMU.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    device,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// An address space to which a device is attached. Dropping it detaches the device.
///
/// # Invariants
///
/// Owns a paging domain, to which `device` is attached.
pub struct Domain {
    domain: NonNull<bindings::iommu_domain>,
    device: ARef<device::Device>,
}

// SAFETY: A domain may be used by any thread.
unsafe impl Send for Domain {}
// SAFETY: The functions lock what they change.
unsafe impl Sync for Domain {}

impl Domain {
    /// Makes an empty address space for `device`, and attaches it. May sleep.
    ///
    /// Fails with `ENOTSUPP` if the device's accesses are not coherent with the caches, or with the
    /// IOMMU's error: `ENODEV` if it has none.
    pub fn attach(device: &device::Device) -> Result<Self> {
        let raw = crate::device::as_raw(device);
        // SAFETY: The device is valid.
        let coherent = unsafe {
            bindings::device_iommu_capable(raw, bindings::iommu_cap_IOMMU_CAP_CACHE_COHERENCY)
        };
        if !coherent {
            return Err(ENOTSUPP);
        }
        // SAFETY: The device is valid.
        let domain = from_err_ptr(unsafe { bindings::iommu_paging_domain_alloc_flags(raw, 0) })?;
        let domain = NonNull::new(domain).ok_or(ENOMEM)?;
        // SAFETY: Both are valid.
        let attached = to_result(unsafe { bindings::iommu_attach_device(domain.as_ptr(), raw) });
        if let Err(error) = attached {
            // SAFETY: Nobody else knows the domain.
            unsafe { bindings::iommu_domain_free(domain.as_ptr()) };
            return Err(error);
        }
        // INVARIANT: The device is attached.
        Ok(Self {
            domain,
            device: device.into(),
        })
    }

    /// The first and the last address, if there are others that the device cannot use.
    pub fn aperture(&self) -> Option<(u64, u64)> {
        // SAFETY: By the type invariants; it does not change.
        let geometry = unsafe { (*self.domain.as_ptr()).geometry };
        geometry
            .force_aperture
            .then_some((geometry.aperture_start, geometry.aperture_end))
    }

    /// Lets the device at physical memory. May sleep.
    ///
    /// Fails with the IOMMU's error, and then nothing of it is mapped.
    ///
    /// # Safety
    ///
    /// The memory must be one that the device may use, and stay so until it was unmapped or this was
    /// dropped.
    pub unsafe fn map(
        &self,
        iova: u64,
        address: u64,
        size: u64,
        readable: bool,
        writable: bool,
    ) -> Result {
        let mut prot = bindings::IOMMU_CACHE;
        if readable {
            prot |= bindings::IOMMU_READ;
        }
        if writable {
            prot |= bindings::IOMMU_WRITE;
        }
        // SAFETY: By the type invariants, and the safety requirements.
        to_result(unsafe {
            bindings::iommu_map(
                self.domain.as_ptr(),
                usize::try_from(iova)?,
                address,
                usize::try_from(size)?,
                c_int::try_from(prot)?,
                bindings::GFP_KERNEL_ACCOUNT,
            )
        })
    }

    /// Takes away what was mapped at these addresses. May sleep.
    ///
    /// Fails with `EIO` if not all of it was.
    pub fn unmap(&self, iova: u64, size: u64) -> Result {
        let size = usize::try_from(size)?;
        // SAFETY: By the type invariants; to unmap is always allowed.
        let done =
            unsafe { bindings::iommu_unmap(self.domain.as_ptr(), usize::try_from(iova)?, size) };
        if done < size {
            return Err(EIO);
        }
        Ok(())
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; nobody uses the domain afterwards.
        unsafe {
            bindings::iommu_detach_device(
                self.domain.as_ptr(),
                crate::device::as_raw(&self.device),
            );
            bindings::iommu_domain_free(self.domain.as_ptr());
        }
    }
}
