// SPDX-License-Identifier: GPL-2.0

//! What only the bus itself does with devices and their drivers: making, adding, removing and
//! freeing devices, and calling drivers.
//!
//! The memory of a device belongs to C: it is `kzalloc()`ed with the size that the parent asks for,
//! the parent's own data behind the `struct vdpa_device`, and freed when the last reference goes.

use crate::{
    device::{
        Device,
        DeviceRef, //
    },
    management::ManagementDevice, //
};
use core::{
    alloc::Layout,
    convert::Infallible,
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    alloc::{
        allocator::Kmalloc,
        Allocator,
        NumaNode, //
    },
    device,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    str::as_char_ptr_in_const_context, //
};
use kext::{
    bus::{
        BusType,
        Override,
        UeventEnv, //
    },
    rwsem::RawRwSemaphore, //
};
use vdpa_bindings as bindings;

/// What a parent passes to `__vdpa_alloc_device()`.
pub struct Specification<'a> {
    parent: *mut bindings::device,
    ops: &'static bindings::vdpa_config_ops,
    map: *const bindings::virtio_map_ops,
    groups: u32,
    address_spaces: u32,
    size: usize,
    name: Option<&'a CStr>,
    use_va: bool,
}

impl<'a> Specification<'a> {
    /// Takes over the arguments of `__vdpa_alloc_device()`.
    ///
    /// Fails with `EINVAL` where the operations are missing or do not fit together: `dma_map` and
    /// `dma_unmap` come in a pair, and virtual addresses need translation by the device. Also for
    /// an empty name, and a size below that of a `struct vdpa_device`.
    ///
    /// # Safety
    ///
    /// `parent`, `ops`, `map` and `name` must each be null or valid; `parent`, `ops` and `map` as
    /// long as the device, `name` during `'a`. The table must not change.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn from_raw(
        parent: *mut bindings::device,
        ops: *const bindings::vdpa_config_ops,
        map: *const bindings::virtio_map_ops,
        groups: u32,
        address_spaces: u32,
        size: usize,
        name: *const c_char,
        use_va: bool,
    ) -> Result<Self> {
        // SAFETY: By the safety requirements.
        let ops = unsafe { ops.as_ref() }.ok_or(EINVAL)?;
        if ops.dma_map.is_some() != ops.dma_unmap.is_some() {
            return Err(EINVAL);
        }
        if use_va && ops.dma_map.is_none() && ops.set_map.is_none() {
            return Err(EINVAL);
        }
        if size < size_of::<bindings::vdpa_device>() {
            return Err(EINVAL);
        }
        let name = if name.is_null() {
            None
        } else {
            // SAFETY: By the safety requirements.
            Some(unsafe { CStr::from_char_ptr(name) })
        };
        if name.is_some_and(CStr::is_empty) {
            return Err(EINVAL);
        }
        Ok(Self {
            parent,
            ops,
            map,
            groups,
            address_spaces,
            size,
            name,
            use_va,
        })
    }

    /// Allocates the memory of the device, zeroed. May sleep. Fails with `ENOMEM`.
    pub fn allocate(&self) -> Result<Blank<'_>> {
        let layout = layout(self.size)?;
        let memory = Kmalloc::alloc(layout, GFP_KERNEL | __GFP_ZERO, NumaNode::NO_NODE)?;
        Ok(Blank {
            spec: self,
            memory: memory.cast(),
        })
    }

    /// Where the device's release will run code or read tables of the parent's module.
    pub fn release_needs(&self) -> [usize; 2] {
        [
            ptr::from_ref(self.ops).addr(),
            self.ops.free.map_or(0, |free| free as usize),
        ]
    }
}

fn layout(size: usize) -> Result<Layout> {
    Layout::from_size_align(size, align_of::<bindings::vdpa_device>()).map_err(|_| EINVAL)
}

/// The memory of a device to be.
///
/// # Invariants
///
/// Owns a zeroed allocation of `spec.size` bytes from [`Kmalloc`].
pub struct Blank<'a> {
    spec: &'a Specification<'a>,
    memory: NonNull<bindings::vdpa_device>,
}

impl Blank<'_> {
    /// Makes it a device of the bus `B`, with one reference, and a name made of `index` if the
    /// parent gave none. Fails with `ENOMEM`.
    pub fn initialise<B: Bus>(self, bus: &'static BusType, index: u32) -> Result<DeviceRef> {
        let vdev = self.memory.as_ptr();
        // SAFETY: By the type invariant nobody else knows the memory.
        unsafe {
            (*vdev).dev.bus = bus.as_raw();
            (*vdev).dev.parent = self.spec.parent;
            (*vdev).dev.release = Some(Callbacks::<B>::release);
            (*vdev).index = index;
            (*vdev).config = self.spec.ops;
            (*vdev).map = self.spec.map;
            (*vdev).use_va = self.spec.use_va;
            (*vdev).ngroups = self.spec.groups;
            (*vdev).nas = self.spec.address_spaces;
            let Ok(()) = pin_init::raw_try_init::<_, Infallible>(
                (&raw mut (*vdev).cf_lock).cast(),
                RawRwSemaphore::new(c"vdpa_device.cf_lock", kernel::static_lock_class!()),
            );
        }
        // SAFETY: The device is zeroed but for the fields above, and the strings are
        // NUL-terminated. On failure there is no name that had to be freed.
        to_result(unsafe {
            match self.spec.name {
                Some(name) => bindings::dev_set_name(
                    &raw mut (*vdev).dev,
                    c"%s".as_char_ptr(),
                    name.as_char_ptr(),
                ),
                None => {
                    bindings::dev_set_name(&raw mut (*vdev).dev, c"vdpa%u".as_char_ptr(), index)
                }
            }
        })?;
        // SAFETY: As above; from here on the reference count governs the memory.
        unsafe { bindings::device_initialize(&raw mut (*vdev).dev) };
        // INVARIANT: All that the invariants of `Device` ask for has just been set.
        let device = ManuallyDrop::new(self).memory.cast::<Device>();
        // SAFETY: `device_initialize()` gave one reference.
        Ok(unsafe { DeviceRef::from_raw(device) })
    }
}

impl Drop for Blank<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. Kmalloc does not look at the layout.
        unsafe { Kmalloc::free(self.memory.cast(), Layout::new::<bindings::vdpa_device>()) };
    }
}

/// What the parent says of the management device that it comes from; null for none.
fn manager_field(device: &Device) -> *mut bindings::vdpa_mgmt_dev {
    // SAFETY: The device is valid; its parent sets the field before it gets on the bus.
    unsafe { (*device.as_raw()).mdev }
}

/// # Safety
///
/// The management device that the parent named, if any, must be valid during `'a`.
unsafe fn manager_of<'a>(device: &Device) -> Option<&'a ManagementDevice> {
    let mdev = NonNull::new(manager_field(device))?;
    // SAFETY: By the safety requirements.
    unsafe { ManagementDevice::from_raw(mdev.as_ptr()) }.ok()
}

/// A device that its parent wants on the bus.
///
/// # Invariants
///
/// The device is initialised and was never added.
pub struct Unregistered<'a>(&'a Device);

impl<'a> Unregistered<'a> {
    /// # Safety
    ///
    /// `vdev` must be a device that `__vdpa_alloc_device()` made and that was never registered; the
    /// caller's reference must last during `'a`, and so must the management device in it.
    pub unsafe fn from_raw(vdev: *mut bindings::vdpa_device) -> Self {
        // INVARIANT: By the safety requirements.
        // SAFETY: By the safety requirements.
        Self(unsafe { Device::from_raw(vdev) })
    }

    /// The device.
    pub fn device(&self) -> &'a Device<device::Bound> {
        // SAFETY: Its parent is putting it on the bus.
        unsafe { self.0.as_bound() }
    }

    /// Whether the parent named the management device that it comes from.
    pub fn is_managed(&self) -> bool {
        !manager_field(self.0).is_null()
    }

    /// The management device that it comes from, if its parent named one that can be used.
    pub fn manager(&self) -> Option<&'a ManagementDevice> {
        // SAFETY: By the safety requirements of `from_raw`.
        unsafe { manager_of(self.0) }
    }

    /// The index that it got when it was made.
    pub fn index(&self) -> u32 {
        // SAFETY: The device is valid; its index does not change.
        unsafe { (*self.0.as_raw()).index }
    }

    /// Says how many virtqueues it has.
    pub fn set_queue_count(&self, count: u32) {
        // SAFETY: The device is valid, and nobody but its parent uses it yet.
        unsafe { (*self.0.as_raw()).nvqs = count };
    }

    /// Adds it to the bus, which may probe a driver. Fails with the error of `device_add()`.
    pub fn add(self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::device_add(&raw mut (*self.0.as_raw()).dev) })
    }
}

/// A device that its parent takes off the bus.
///
/// # Invariants
///
/// The device is on the bus, and this owns the reference of its parent.
pub struct Registered<'a>(ManuallyDrop<DeviceRef>, PhantomData<&'a ManagementDevice>);

impl<'a> Registered<'a> {
    /// # Safety
    ///
    /// `vdev` must be a registered device; the caller gives up its reference. The management device
    /// in it must be valid during `'a`.
    pub unsafe fn from_raw(vdev: *mut bindings::vdpa_device) -> Self {
        // INVARIANT: By the safety requirements.
        // SAFETY: By the safety requirements; a valid pointer is not null.
        let device = unsafe { DeviceRef::from_raw(NonNull::new_unchecked(vdev.cast())) };
        Self(ManuallyDrop::new(device), PhantomData)
    }

    /// The device.
    pub fn device(&self) -> &Device<device::Bound> {
        // SAFETY: Its parent is taking it off the bus.
        unsafe { self.0.as_bound() }
    }

    /// Whether it came from a management device.
    pub fn is_managed(&self) -> bool {
        !manager_field(&self.0).is_null()
    }

    /// The management device that it comes from, if its parent named one that can be used.
    pub fn manager(&self) -> Option<&'a ManagementDevice> {
        // SAFETY: By the safety requirements of `from_raw`.
        unsafe { manager_of(&self.0) }
    }

    /// Unbinds its driver, takes it off the bus and gives back the reference.
    pub fn remove(self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::device_unregister(&raw mut (*self.0.as_raw()).dev) };
    }
}

/// The driver that is bound, or about to be bound, to a device.
///
/// # Invariants
///
/// Represents a `struct vdpa_driver` that is valid as long as it is bound.
pub struct BoundDriver<'a> {
    device: &'a Device,
    driver: NonNull<bindings::vdpa_driver>,
}

impl<'a> BoundDriver<'a> {
    /// The driver of `device`, if it has one.
    pub fn of(device: &'a Device<device::CoreInternal<'_>>) -> Option<Self> {
        // SAFETY: The device is valid; its lock is held in this context, so the driver stays.
        let driver = NonNull::new(unsafe { (*device.as_raw()).dev.driver })?;
        // SAFETY: Drivers of this bus are part of a `struct vdpa_driver`: only
        // `__vdpa_register_driver()` knows the bus type.
        let driver =
            unsafe { kernel::container_of!(driver.as_ptr(), bindings::vdpa_driver, driver) };
        // INVARIANT: As just said.
        Some(Self {
            device,
            driver: NonNull::new(driver)?,
        })
    }

    /// The driver's name.
    pub fn name(&self) -> &CStr {
        // SAFETY: By the type invariant; a driver has a name.
        unsafe { CStr::from_char_ptr(self.driver.as_ref().driver.name) }
    }

    /// Calls its `probe`, if it has one. Fails with its error.
    pub fn probe(&self) -> Result {
        // SAFETY: By the type invariant; the device is about to be bound to this driver.
        unsafe {
            match self.driver.as_ref().probe {
                Some(probe) => to_result(probe(self.device.as_raw())),
                None => Ok(()),
            }
        }
    }

    /// Calls its `remove`, if it has one.
    pub fn remove(&self) {
        // SAFETY: By the type invariant; the device is bound to this driver.
        unsafe {
            if let Some(remove) = self.driver.as_ref().remove {
                remove(self.device.as_raw());
            }
        }
    }

    /// Calls its `shutdown`, if it has one.
    pub fn shutdown(&self) {
        // SAFETY: By the type invariant; the device is bound to this driver.
        unsafe {
            if let Some(shutdown) = self.driver.as_ref().driver.shutdown {
                shutdown(&raw mut (*self.device.as_raw()).dev);
            }
        }
    }
}

/// What a bus of vDPA devices does.
pub trait Bus: 'static {
    /// Whether the driver may have the device, by what the user set as `driver_override`. Called
    /// with the device lock held or not; must not sleep on anything that probing takes.
    fn matches(device: &Device, user: Override) -> bool;

    /// Prepares the device and has its driver probe it. The device lock is held.
    fn probe(device: &Device<device::CoreInternal<'_>>) -> Result;

    /// The driver leaves the device. The device lock is held.
    fn remove(device: &Device<device::CoreInternal<'_>>);

    /// The machine goes down. The device lock is held.
    fn shutdown(device: &Device<device::CoreInternal<'_>>);

    /// Adds to the environment of a uevent about the device, which is on the bus.
    fn uevent(device: &Device<device::Bound>, env: &mut UeventEnv) -> Result;

    /// The memory of a device that had this index was freed. Process context.
    fn freed(index: u32);
}

/// The `struct bus_type` of a [`Bus`].
pub const fn bus_type<B: Bus>(name: &'static CStr) -> BusType {
    let bus = bindings::bus_type {
        name: as_char_ptr_in_const_context(name),
        driver_override: true,
        match_: Some(Callbacks::<B>::matches),
        uevent: Some(Callbacks::<B>::uevent),
        probe: Some(Callbacks::<B>::probe),
        remove: Some(Callbacks::<B>::remove),
        shutdown: Some(Callbacks::<B>::shutdown),
        ..pin_init::zeroed()
    };
    // SAFETY: The name is static, and each callback is what its field is for.
    unsafe { BusType::new(bus) }
}

struct Callbacks<B>(PhantomData<B>);

impl<B: Bus> Callbacks<B> {
    /// # Safety
    ///
    /// Called by the driver core only, with a device of the bus and a driver.
    unsafe extern "C" fn matches(
        dev: *mut bindings::device,
        drv: *const bindings::device_driver,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let (device, user) = unsafe {
            let device = Device::<device::Normal>::from_device_raw(dev);
            (device, kext::bus::driver_override(device.as_ref(), drv))
        };
        c_int::from(B::matches(device, user))
    }

    /// # Safety
    ///
    /// Called by the driver core only, with a device of the bus.
    unsafe extern "C" fn uevent(
        dev: *const bindings::device,
        env: *mut bindings::kobj_uevent_env,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let (device, env) = unsafe {
            (
                // Its parent is there as long as it is on the bus.
                Device::<device::Bound>::from_device_raw(dev.cast_mut()),
                UeventEnv::from_raw(env),
            )
        };
        from_result(|| B::uevent(device, env).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the driver core only, with a device of the bus whose driver is set.
    unsafe extern "C" fn probe(dev: *mut bindings::device) -> c_int {
        // SAFETY: By the safety requirements.
        let device = unsafe { Device::from_device_raw(dev) };
        from_result(|| B::probe(device).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the driver core only, with a device of the bus whose driver is set.
    unsafe extern "C" fn remove(dev: *mut bindings::device) {
        // SAFETY: By the safety requirements.
        B::remove(unsafe { Device::from_device_raw(dev) });
    }

    /// # Safety
    ///
    /// Called by the driver core only, with a device of the bus and its lock held.
    unsafe extern "C" fn shutdown(dev: *mut bindings::device) {
        // SAFETY: By the safety requirements.
        B::shutdown(unsafe { Device::from_device_raw(dev) });
    }

    /// Frees what the parent keeps in a device, then the memory.
    ///
    /// # Safety
    ///
    /// Called by the driver core only, when the last reference to a device that
    /// [`Blank::initialise`] made is gone.
    unsafe extern "C" fn release(dev: *mut bindings::device) {
        // SAFETY: By the safety requirements.
        let vdev = unsafe { kernel::container_of!(dev, bindings::vdpa_device, dev) };
        // SAFETY: Nobody else uses the device any more; the parent's table is still there, see the
        // `unload` module of the bus.
        let index = unsafe {
            if let Some(free) = (*(*vdev).config).free {
                free(vdev);
            }
            (*vdev).index
        };
        if let Some(memory) = NonNull::new(vdev) {
            // SAFETY: `Kmalloc` allocated it; it does not look at the layout.
            unsafe { Kmalloc::free(memory.cast(), Layout::new::<bindings::vdpa_device>()) };
        }
        B::freed(index);
    }
}

/// Lets the device address all of memory, by its own mask. Fails with the error of the DMA layer.
pub fn set_dma_mask(device: &Device<device::CoreInternal<'_>>) -> Result {
    let dev = kext::device::as_raw(device.as_ref());
    // SAFETY: The device is valid, and no driver is bound that could use the mask meanwhile.
    unsafe {
        (*dev).dma_mask = &raw mut (*dev).coherent_dma_mask;
        to_result(bindings::dma_set_mask(dev, u64::MAX))?;
        to_result(bindings::dma_set_coherent_mask(dev, u64::MAX))
    }
}
