// SPDX-License-Identifier: GPL-2.0

//! What `cf_lock` of a device guards: its configuration space, its status, the negotiation of
//! features.

use crate::{
    config_range::checked_len,
    device::{
        call,
        Device, //
    },
    types::{
        Features,
        ResetFlags,
        Status, //
    },
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    device::Bound,
    error::to_result,
    prelude::*, //
};
use kext::genetlink::{
    AttrWriter,
    ExtAck, //
};
use vdpa_bindings as bindings;

/// A configuration space that a virtio device type defines.
///
/// # Safety
///
/// Every bit pattern must be a value of the type, and it must be `repr(C)`.
pub unsafe trait ConfigLayout: Zeroable {}

// SAFETY: Integers and arrays of integers only (virtio 1.3, section 5.1.4).
unsafe impl ConfigLayout for bindings::virtio_net_config {}
// SAFETY: Integers and arrays of integers only (virtio 1.3, section 5.2.4).
unsafe impl ConfigLayout for bindings::virtio_blk_config {}

/// Memory that a caller wants filled; it may be uninitialised, so it is never read.
///
/// # Invariants
///
/// `ptr` is valid for writes of `len` bytes during `'a`.
pub struct OutBuffer<'a> {
    ptr: *mut c_void,
    len: u32,
    _lifetime: PhantomData<&'a mut [u8]>,
}

impl OutBuffer<'_> {
    /// # Safety
    ///
    /// `ptr` must be valid for writes of `len` bytes as long as the result is used, and what is read
    /// into it must be within the device's configuration space, or the parent must stand it.
    pub unsafe fn from_raw(ptr: *mut c_void, len: u32) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            ptr,
            len,
            _lifetime: PhantomData,
        }
    }
}

/// Memory that a caller wants written to the device.
///
/// # Invariants
///
/// `ptr` is valid for reads of `len` bytes during `'a`.
pub struct InBuffer<'a> {
    ptr: *const c_void,
    len: u32,
    _lifetime: PhantomData<&'a [u8]>,
}

impl InBuffer<'_> {
    /// # Safety
    ///
    /// `ptr` must be valid for reads of `len` bytes as long as the result is used, and what is written
    /// from it must be within the device's configuration space, or the parent must stand it.
    pub unsafe fn from_raw(ptr: *const c_void, len: u32) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            ptr,
            len,
            _lifetime: PhantomData,
        }
    }
}

/// A device whose `cf_lock` is held, at least for reading.
pub struct LockedConfig<'a> {
    device: &'a Device<Bound>,
}

impl LockedConfig<'_> {
    /// The device.
    pub fn device(&self) -> &Device<Bound> {
        self.device
    }

    /// Reads the configuration space from its start. What is beyond its end is 0. (C reads the whole
    /// structure, whatever the size of the space.)
    pub fn read<T: ConfigLayout>(&self) -> T {
        let mut config: T = pin_init::zeroed();
        let len = self.device.config_size().min(size_of::<T>());
        let Ok(len) = u32::try_from(len) else {
            return config;
        };
        // SAFETY: `config` is valid for writes of its size, and any value that is written is valid.
        let buffer = unsafe { OutBuffer::from_raw(ptr::from_mut(&mut config).cast(), len) };
        self.read_raw(0, buffer);
        config
    }

    /// Has the parent append what it counts for a virtqueue. Fails with the parent's error, or
    /// `EOPNOTSUPP`.
    pub fn vendor_stats(
        &self,
        index: u16,
        record: &mut AttrWriter<'_>,
        extack: ExtAck<'_>,
    ) -> Result {
        let op = self.device.ops().get_vendor_vq_stats.ok_or(EOPNOTSUPP)?;
        // SAFETY: The device is valid; the record and the place for the error's text are valid for
        // the call, and used by nobody else meanwhile.
        to_result(unsafe {
            op(
                self.device.as_raw(),
                index,
                record.as_raw(),
                extack.as_raw(),
            )
        })
    }

    fn read_raw(&self, offset: u32, buf: OutBuffer<'_>) {
        if let Some(get_config) = self.device.ops().get_config {
            // SAFETY: The device is valid; by its invariant the buffer takes `len` bytes.
            unsafe { get_config(self.device.as_raw(), offset, buf.ptr, buf.len) };
        }
    }
}

impl Device<Bound> {
    /// Runs `f` with `cf_lock` held for reading.
    pub fn with_config<R>(&self, f: impl FnOnce(LockedConfig<'_>) -> R) -> R {
        let _held = self.config_lock().read();
        f(LockedConfig { device: self })
    }

    /// Runs `f` with `cf_lock` held. If features were not negotiated yet, none is accepted first,
    /// as a legacy driver would have it (virtio 1.3, section 7.4).
    ///
    /// That changes the device, so the lock is then held for writing. (C does it with the lock held
    /// for reading, where two readers can call `set_driver_features` at once.)
    pub fn with_legacy_config<R>(&self, f: impl FnOnce(LockedConfig<'_>) -> R) -> R {
        {
            let _held = self.config_lock().read();
            if self.features_valid() {
                return f(LockedConfig { device: self });
            }
        }
        let _held = self.config_lock().write();
        if !self.features_valid() {
            // A device that refuses says so again when a driver negotiates features.
            let _ = self.set_driver_features_unlocked(Features::NONE);
        }
        f(LockedConfig { device: self })
    }

    /// Reads configuration space from `offset` on. Takes `cf_lock`.
    ///
    /// Before features are negotiated this counts as the access of a legacy driver, see
    /// [`with_legacy_config`](Self::with_legacy_config). Fails with `EINVAL` if the space ends before
    /// the buffer does.
    pub fn read_config(&self, offset: u32, buf: &mut [u8]) -> Result {
        let len = self.check_range(offset, buf.len())?;
        // SAFETY: The slice is as long, and the range is one of the device.
        let buf = unsafe { OutBuffer::from_raw(buf.as_mut_ptr().cast(), len) };
        self.get_config(offset, buf);
        Ok(())
    }

    /// Writes configuration space from `offset` on. Takes `cf_lock`. Fails with `EINVAL` if the space
    /// ends before the buffer does.
    pub fn write_config(&self, offset: u32, buf: &[u8]) -> Result {
        let len = self.check_range(offset, buf.len())?;
        // SAFETY: The slice is as long, and the range is one of the device.
        let buf = unsafe { InBuffer::from_raw(buf.as_ptr().cast(), len) };
        self.set_config(offset, buf);
        Ok(())
    }

    fn check_range(&self, offset: u32, len: usize) -> Result<u32> {
        checked_len(offset, len, self.config_size()).ok_or(EINVAL)
    }

    /// As [`read_config`](Self::read_config), for a caller who has checked the range:
    /// `vdpa_get_config()`.
    pub fn get_config(&self, offset: u32, buf: OutBuffer<'_>) {
        self.with_legacy_config(|config| config.read_raw(offset, buf));
    }

    /// As [`write_config`](Self::write_config), for a caller who has checked the range:
    /// `vdpa_set_config()`.
    pub fn set_config(&self, offset: u32, buf: InBuffer<'_>) {
        let _held = self.config_lock().write();
        // The parent reads at most `len` bytes, which are valid by the invariant of the buffer.
        call!(self, set_config(offset, buf.ptr, buf.len), ());
    }

    /// Sets the status; not for [`Status::RESET`], see [`reset`](Self::reset). Takes `cf_lock`.
    pub fn set_status(&self, status: Status) {
        let _held = self.config_lock().write();
        call!(self, set_status(status.bits()), ());
    }

    /// Resets the device. Takes `cf_lock`. Fails with the parent's error.
    pub fn reset(&self) -> Result {
        self.reset_with(ResetFlags::NONE)
    }

    /// As [`reset`](Self::reset), with `flags`; a parent that knows no flags ignores them.
    pub fn reset_with(&self, flags: ResetFlags) -> Result {
        let _held = self.config_lock().write();
        self.set_features_valid(false);
        if flags != ResetFlags::NONE && self.ops().compat_reset.is_some() {
            to_result(call!(self, compat_reset(flags.bits()), 0))
        } else {
            to_result(call!(self, reset(), 0))
        }
    }

    /// Sets the features that the driver accepts. Takes `cf_lock`. Fails with the parent's error.
    pub fn set_driver_features(&self, features: Features) -> Result {
        let _held = self.config_lock().write();
        self.set_driver_features_unlocked(features)
    }

    /// As [`set_driver_features`](Self::set_driver_features), with `cf_lock` held for writing.
    fn set_driver_features_unlocked(&self, features: Features) -> Result {
        self.set_features_valid(true);
        to_result(call!(self, set_driver_features(features.bits()), 0))
    }

    /// Whether features were set since the last reset; `cf_lock` must be held.
    fn features_valid(&self) -> bool {
        // SAFETY: By the type invariants; the lock keeps writers away.
        unsafe { (&raw const (*self.as_raw()).features_valid).read() }
    }

    fn set_features_valid(&self, valid: bool) {
        // SAFETY: By the type invariants; the callers hold `cf_lock` for writing.
        unsafe { (&raw mut (*self.as_raw()).features_valid).write(valid) };
    }
}
