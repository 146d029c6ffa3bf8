// SPDX-License-Identifier: GPL-2.0

//! Management devices, as their drivers implement them: what makes and removes vDPA devices when a
//! user asks for it with `vdpa dev add` and `vdpa dev del`.
//!
//! # Locks
//!
//! All operations run in process context with the bus's device lock held, so only one runs at a
//! time, and no device comes or goes meanwhile. A driver may be bound to the new device before
//! [`MadeDevice::register`] returns.

use crate::{
    management::DeviceConfig,
    ops::DeviceOps,
    parent::{
        DeviceParams,
        ParentDevice,
        Setup,
        Unregistered, //
    },
    registration::Waiter,
    types::{
        Attributes,
        DeviceId,
        Features, //
    },
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    device,
    error::{
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};
use vdpa_bindings as bindings;

/// Makes and removes devices: `struct vdpa_mgmtdev_ops` in C.
#[vtable]
pub trait ManagementOps: Sized + Send + Sync + 'static {
    /// The devices.
    type Device: DeviceOps;

    /// Makes a device. What `config` asks for was checked against the registered attributes only.
    fn dev_add<'a>(
        &self,
        request: NewDevice<'a, Self>,
        config: &DeviceConfig,
    ) -> Result<ManagedDevice<'a, Self::Device>>;

    /// Removes a device: dropping it does that.
    fn dev_del(&self, device: ManagedDevice<'_, Self::Device>) {
        drop(device);
    }

    /// Changes attributes of a device. Optional. Runs with `cf_lock` of the device held for writing.
    fn dev_set_attr(&self, device: &ParentDevice<Self::Device>, config: &DeviceConfig) -> Result {
        let _ = (device, config);
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// What a management device can make.
pub struct ManagementParams<'a> {
    /// The virtio device types.
    pub classes: &'a [DeviceId],
    /// The features that a device can offer.
    pub features: Features,
    /// The attributes that are taken for a new device.
    pub attributes: Attributes,
    /// The largest number of virtqueues of a device.
    pub max_queues: u32,
}

/// A request for a new device.
pub struct NewDevice<'a, M: ManagementOps> {
    inner: &'a Inner<M>,
    name: &'a CStr,
}

impl<'a, M: ManagementOps> NewDevice<'a, M> {
    /// The name for the device.
    pub fn name(&self) -> &'a CStr {
        self.name
    }

    /// Makes the device and puts it on the bus.
    ///
    /// `init` makes the initialiser of the device's data. Fails with its error, `EEXIST` if there is
    /// a device of that name, `EINVAL` for parameters that make no sense, or `ENOMEM`.
    pub fn create<I, E>(
        self,
        params: &DeviceParams<'_, M::Device>,
        init: impl FnOnce(&Setup<'_>) -> I,
    ) -> Result<ManagedDevice<'a, M::Device>>
    where
        I: PinInit<M::Device, E>,
        Error: From<E>,
    {
        self.make(params, init)?.register()
    }

    /// Makes the device, for a driver that has to do something with it before others can.
    ///
    /// Fails as [`create`](Self::create), but for the name, which is of interest only to the bus.
    pub fn make<I, E>(
        self,
        params: &DeviceParams<'_, M::Device>,
        init: impl FnOnce(&Setup<'_>) -> I,
    ) -> Result<MadeDevice<'a, M::Device>>
    where
        I: PinInit<M::Device, E>,
        Error: From<E>,
    {
        let tracker = self.inner.waiter.tracker();
        let device = Unregistered::<M::Device>::new(Some(self.name), params, tracker, init)?;
        // SAFETY: Nobody else knows the device. The management device stays until the tracker says
        // that all its devices are gone.
        unsafe { (*device.as_raw()).mdev = self.inner.raw.get() };
        // INVARIANT: The device is complete and not registered. A `NewDevice` is only there in
        // `dev_add`.
        Ok(MadeDevice {
            device,
            queues: u32::from(params.queues),
            _lock: PhantomData,
        })
    }
}

/// A device that was made and is not on the bus yet.
///
/// # Invariants
///
/// `device` is complete and not registered; the bus's lock is held during `'a`.
pub struct MadeDevice<'a, T: DeviceOps> {
    device: Unregistered<T>,
    queues: u32,
    _lock: PhantomData<&'a ()>,
}

impl<'a, T: DeviceOps> MadeDevice<'a, T> {
    /// Puts it on the bus. Fails with `EEXIST` if there is a device of that name, or `ENOMEM`.
    pub fn register(self) -> Result<ManagedDevice<'a, T>> {
        // SAFETY: By the type invariants.
        to_result(unsafe { bindings::_vdpa_register_device(self.device.as_raw(), self.queues) })?;
        // INVARIANT: It is registered now, with the lock held.
        Ok(ManagedDevice {
            device: self.device.into_raw(),
            _lock: PhantomData,
        })
    }
}

impl<T: DeviceOps> Deref for MadeDevice<'_, T> {
    type Target = ParentDevice<T>;

    fn deref(&self) -> &ParentDevice<T> {
        // SAFETY: By the type invariants.
        unsafe { ParentDevice::from_raw(self.device.as_raw()) }
    }
}

/// A device on the bus that was made on a user's request. Dropping it takes it off the bus.
///
/// # Invariants
///
/// `device` is registered and was made by a [`NewDevice`]; the bus's lock is held during `'a`.
pub struct ManagedDevice<'a, T: DeviceOps> {
    device: NonNull<ParentDevice<T>>,
    _lock: PhantomData<&'a ()>,
}

impl<T: DeviceOps> ManagedDevice<'_, T> {
    /// Takes the device off the bus, and keeps a reference to it.
    pub fn unregister(self) -> ARef<ParentDevice<T>> {
        ARef::from(&*self)
    }
}

impl<T: DeviceOps> Deref for ManagedDevice<'_, T> {
    type Target = ParentDevice<T>;

    fn deref(&self) -> &ParentDevice<T> {
        // SAFETY: By the type invariants.
        unsafe { self.device.as_ref() }
    }
}

impl<T: DeviceOps> Drop for ManagedDevice<'_, T> {
    fn drop(&mut self) {
        let interrupts = self.interrupts().clone();
        // SAFETY: By the type invariants; this gives up the reference that the registration has.
        unsafe { bindings::_vdpa_unregister_device(self.as_raw()) };
        interrupts.reset();
    }
}

/// # Invariants
///
/// From its registration on, `raw` is complete and does not change, and `ids` is its table.
#[repr(C)]
#[pin_data]
struct Inner<M: ManagementOps> {
    // The operations get a pointer to this field.
    #[pin]
    raw: Opaque<bindings::vdpa_mgmt_dev>,
    // Dropped first, which waits until no device points to `raw` or runs code of the module.
    waiter: Waiter,
    ids: KVec<bindings::virtio_device_id>,
    // Keeps the device that `raw` points to.
    device: ARef<device::Device>,
    #[pin]
    ops: M,
}

/// The registration of a management device.
///
/// Dropping it removes all its devices, and waits until nobody has a reference to one of them any
/// more. It must not be dropped in an operation of a device or management device, or while the same
/// task holds such a reference.
pub struct ManagementRegistration<M: ManagementOps>(Pin<KBox<Inner<M>>>);

// SAFETY: The management device can be used and unregistered from any thread.
unsafe impl<M: ManagementOps> Send for ManagementRegistration<M> {}
// SAFETY: Nothing can be done with a shared registration but to look at `M`, which is `Sync`.
unsafe impl<M: ManagementOps> Sync for ManagementRegistration<M> {}

impl<M: ManagementOps> ManagementRegistration<M> {
    const OPS: bindings::vdpa_mgmtdev_ops = bindings::vdpa_mgmtdev_ops {
        dev_add: Some(Self::dev_add),
        dev_del: Some(Self::dev_del),
        dev_set_attr: if M::HAS_DEV_SET_ATTR {
            Some(Self::dev_set_attr)
        } else {
            None
        },
    };

    /// Registers a management device that shows under the name, and with the bus, of `device`. Users
    /// can ask for devices from then on.
    ///
    /// Fails with `ENOMEM`, or the error of `ops`.
    pub fn new<E>(
        device: &device::Device,
        params: &ManagementParams<'_>,
        ops: impl PinInit<M, E>,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        let mut ids = KVec::with_capacity(params.classes.len().saturating_add(1), GFP_KERNEL)?;
        for class in params.classes {
            ids.push(
                bindings::virtio_device_id {
                    device: class.get(),
                    vendor: bindings::VIRTIO_DEV_ANY_ID,
                },
                GFP_KERNEL,
            )?;
        }
        // The end of the table.
        ids.push(Default::default(), GFP_KERNEL)?;

        let inner = KBox::pin_init::<Error>(
            try_pin_init!(Inner {
                raw: Opaque::zeroed(),
                waiter: Waiter::new::<M::Device>()?,
                ids,
                device: ARef::from(device),
                ops <- ops,
            }),
            GFP_KERNEL,
        )?;
        let raw = inner.raw.get();
        // INVARIANT: Nothing is changed after this.
        // SAFETY: The structure is zeroed, and nobody else knows it.
        unsafe {
            (*raw).device = kext::device::as_raw(&*inner.device);
            (*raw).ops = &Self::OPS;
            (*raw).id_table = inner.ids.as_ptr().cast_mut();
            (*raw).config_attr_mask = params.attributes.bits();
            (*raw).supported_features = params.features.bits();
            (*raw).max_supported_vqs = params.max_queues;
        }
        // SAFETY: The structure is complete. It is pinned, and stays until `drop` unregisters it.
        to_result(unsafe { bindings::vdpa_mgmtdev_register(raw) })?;
        Ok(Self(inner))
    }

    /// # Safety
    ///
    /// `mdev` must be the first field of an [`Inner<M>`] that is valid during `'a`.
    unsafe fn inner<'a>(mdev: *mut bindings::vdpa_mgmt_dev) -> &'a Inner<M> {
        // SAFETY: By the safety requirements; the structure is `repr(C)`.
        unsafe { &*mdev.cast() }
    }

    /// # Safety
    ///
    /// Called through [`Self::OPS`] by the bus only, with its lock held.
    unsafe extern "C" fn dev_add(
        mdev: *mut bindings::vdpa_mgmt_dev,
        name: *const c_char,
        config: *const bindings::vdpa_dev_set_config,
    ) -> c_int {
        // SAFETY: The bus passes the management device that was registered, a C string, and a
        // configuration.
        let (inner, name, config) = unsafe {
            (
                Self::inner(mdev),
                CStr::from_char_ptr(name),
                DeviceConfig::from_raw(config),
            )
        };
        let result = inner.ops.dev_add(NewDevice { inner, name }, &config);
        from_result(|| {
            // The device stays; `dev_del` gets it back.
            core::mem::forget(result?);
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called through [`Self::OPS`] by the bus only, with its lock held.
    unsafe extern "C" fn dev_del(
        mdev: *mut bindings::vdpa_mgmt_dev,
        vdev: *mut bindings::vdpa_device,
    ) {
        // SAFETY: The bus passes the management device that was registered.
        let inner = unsafe { Self::inner(mdev) };
        let Some(device) = NonNull::new(vdev.cast::<ParentDevice<M::Device>>()) else {
            return;
        };
        // INVARIANT: The bus passes a registered device of this management device, and all of those
        // come from `register`, whose result `dev_add` forgot. The bus's lock is held.
        inner.ops.dev_del(ManagedDevice {
            device,
            _lock: PhantomData,
        });
    }

    /// # Safety
    ///
    /// Called through [`Self::OPS`] by the bus only, with its lock held.
    unsafe extern "C" fn dev_set_attr(
        mdev: *mut bindings::vdpa_mgmt_dev,
        vdev: *mut bindings::vdpa_device,
        config: *const bindings::vdpa_dev_set_config,
    ) -> c_int {
        // SAFETY: The bus passes the management device that was registered, a registered device of
        // it, which comes from a `NewDevice`, and a configuration.
        let (inner, device, config) = unsafe {
            (
                Self::inner(mdev),
                ParentDevice::from_raw(vdev),
                DeviceConfig::from_raw(config),
            )
        };
        from_result(|| inner.ops.dev_set_attr(device, &config).map(|()| 0))
    }
}

impl<M: ManagementOps> Deref for ManagementRegistration<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0.ops
    }
}

impl<M: ManagementOps> Drop for ManagementRegistration<M> {
    fn drop(&mut self) {
        // SAFETY: `new` registered it.
        unsafe { bindings::vdpa_mgmtdev_unregister(self.0.raw.get()) };
        // Then `waiter` is dropped, and the memory freed when all fields are. Devices that are still
        // there point to it, but nobody follows that once they are off the bus.
    }
}

#[kunit_tests(rvdpa_manager)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_the_bits_of_a_configuration() {
        let config = DeviceConfig {
            features: Some(Features::NONE),
            mac: Some([0; 6]),
            mtu: Some(0),
            max_queue_pairs: Some(0),
        };
        let all = Attributes::FEATURES
            .union(Attributes::MAC)
            .union(Attributes::MTU)
            .union(Attributes::MAX_QUEUE_PAIRS);
        assert_eq!(config.mask(), all.bits());
        assert_eq!(DeviceConfig::default().mask(), Attributes::NONE.bits());
    }
}
