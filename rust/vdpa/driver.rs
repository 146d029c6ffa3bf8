// SPDX-License-Identifier: GPL-2.0

//! Drivers of the vDPA bus.
//!
//! The bus has no ID tables: a device's `driver_override` names its driver, and a device without one
//! is offered to every driver, in the order of their registration. A driver that is meant for some
//! devices only has to refuse the others in [`Driver::probe`], with `ENODEV`.
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h)

use crate::device::Device;
use core::mem::offset_of;
use kernel::{
    device,
    devres,
    driver,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};
use kext::{
    bus,
    unload::wait_for_running_code, //
};
use vdpa_bindings as bindings;

/// A driver of vDPA devices.
///
/// # Examples
///
/// ```ignore
/// struct MyDriver;
///
/// impl vdpa::Driver for MyDriver {
///     type Data<'bound> = ();
///
///     fn probe<'bound>(
///         dev: &'bound vdpa::Device<Core<'_>>,
///     ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
///         dev_info!(dev, "virtio device type {}\n", dev.device_id().get());
///         dev.reset()
///     }
/// }
///
/// vdpa::module_vdpa_driver! {
///     type: MyDriver,
///     name: "my_driver",
///     license: "GPL",
/// }
/// ```
pub trait Driver {
    /// What the driver keeps of a device while it is bound to it. It may borrow the device.
    type Data<'bound>: Send + 'bound;

    /// A device was found. Runs in process context with the device's lock held.
    ///
    /// The parent has no callbacks of anyone then. All else may be as an earlier driver left it: a
    /// driver that takes the device resets it first.
    fn probe<'bound>(
        dev: &'bound Device<device::Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound;

    /// The device goes, or is to be bound to another driver. Runs in process context with the
    /// device's lock held; the data is dropped afterwards.
    ///
    /// The parent still has what the driver gave it: queue addresses, mapped memory. A driver that
    /// gave it anything resets the device here or when it drops its data. Callbacks are taken away
    /// when the data was dropped.
    fn unbind<'bound>(dev: &'bound Device<device::Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let _ = (dev, this);
    }

    /// The machine goes down, or another kernel takes it over. Runs in process context with the
    /// device's lock held; the bus resets the device afterwards. Whoever lets others at the device
    /// stops them here.
    fn shutdown<'bound>(dev: &'bound Device<device::Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let _ = (dev, this);
    }
}

impl Device<device::Core<'_>> {
    /// Whether the device's `driver_override` names the driver that is bound to it, or is trying to
    /// be: a user wants this driver for this device. Takes a spinlock.
    pub fn is_driver_override(&self) -> bool {
        let dev: &device::Device = self.as_ref();
        // SAFETY: In the context `Core` the device's lock is held, so its driver does not change,
        // and a driver is valid as long as it is a device's.
        unsafe {
            let driver = (*self.as_raw()).dev.driver;
            !driver.is_null() && bus::driver_override(dev, driver) == bus::Override::Matches
        }
    }
}

/// Takes all callbacks away from the parent of the device that a driver is leaving.
///
/// As a resource of the device, it is dropped after the data of the driver, also if the driver
/// failed to probe the device.
struct NoCallbacks(ARef<Device>);

impl Drop for NoCallbacks {
    fn drop(&mut self) {
        // SAFETY: A device has a driver until all its resources are released.
        unsafe { self.0.as_bound() }.clear_callbacks();
    }
}

/// Makes a C driver of a [`Driver`].
///
/// While `T` has a device, and only then, the parent can have callbacks of `T`, even if a
/// [`CallbackGuard`](crate::CallbackGuard) is forgotten. And it has none of the driver that had the
/// device before: C drivers leave some, with pointers to what they freed.
pub struct Adapter<T: Driver>(T);

// SAFETY: `struct vdpa_driver` is a C type that embeds a `struct device_driver` at this offset, and
// `probe_callback` stores a `T::Data`.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = bindings::vdpa_driver;
    type DriverData<'bound> = T::Data<'bound>;
    const DEVICE_DRIVER_OFFSET: usize = offset_of!(bindings::vdpa_driver, driver);
}

// SAFETY: `unregister` undoes a successful `register`.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        drv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        let raw = drv.get();
        // SAFETY: Nobody else uses the driver before it is registered.
        unsafe {
            (*raw).driver.name = name.as_char_ptr();
            (*raw).probe = Some(Self::probe_callback);
            (*raw).remove = Some(Self::remove_callback);
            (*raw).driver.shutdown = Some(Self::shutdown_callback);
        }
        // SAFETY: The driver is complete, and by the safety requirements it stays in place until
        // `unregister`.
        to_result(unsafe { bindings::__vdpa_register_driver(raw, module.as_ptr()) })
    }

    unsafe fn unregister(drv: &Opaque<Self::DriverType>) {
        // SAFETY: By the safety requirements the driver is registered.
        unsafe { bindings::vdpa_unregister_driver(drv.get()) };
        // No parent has a callback any more. If a guard was forgotten, a call may still be running.
        wait_for_running_code();
    }
}

impl<T: Driver> Adapter<T> {
    extern "C" fn probe_callback(vdev: *mut bindings::vdpa_device) -> c_int {
        // SAFETY: The bus calls this with a valid device, from its probe.
        let dev = unsafe { Device::<device::CoreInternal<'_>>::from_raw(vdev) };

        from_result(|| {
            dev.clear_callbacks();
            devres::register(dev.as_ref(), NoCallbacks(dev.into()), GFP_KERNEL)?;
            // `kernel::driver::Registration` takes the data back after the unbind.
            dev.as_ref().set_drvdata(T::probe(dev))?;
            Ok(0)
        })
    }

    extern "C" fn remove_callback(vdev: *mut bindings::vdpa_device) {
        // SAFETY: The bus calls this with a valid device, from its remove.
        let dev = unsafe { Device::<device::CoreInternal<'_>>::from_raw(vdev) };
        // SAFETY: `probe_callback` succeeded, so it stored a `T::Data`.
        let data = unsafe { dev.as_ref().drvdata_borrow::<T::Data<'_>>() };

        T::unbind(dev, data);
    }

    /// # Safety
    ///
    /// Called by the bus only, for the device that the driver is bound to, with its lock held.
    unsafe extern "C" fn shutdown_callback(dev: *mut kernel::bindings::device) {
        // SAFETY: By the safety requirements it is the device of a `struct vdpa_device`.
        let dev = unsafe { Device::<device::CoreInternal<'_>>::from_device_raw(dev) };
        // SAFETY: `probe_callback` succeeded, so it stored a `T::Data`.
        let data = unsafe { dev.as_ref().drvdata_borrow::<T::Data<'_>>() };

        T::shutdown(dev, data);
    }
}

/// Declares a module with one driver of the vDPA bus; see [`Driver`] for an example.
#[macro_export]
macro_rules! module_vdpa_driver {
    ($($f:tt)*) => {
        ::kernel::module_driver!(<T>, $crate::driver::Adapter<T>, { $($f)* });
    };
}
