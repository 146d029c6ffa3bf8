// SPDX-License-Identifier: GPL-2.0

//! Devices as their parents have them: the C device with the parent's data behind it.
//!
//! A device is made by `__vdpa_alloc_device()`, which counts references to it and frees it, here and
//! in the C build of `vdpa.ko`. What Rust keeps is initialised afterwards and dropped by the `free`
//! operation.

use crate::{
    device::Device,
    interrupts::Interrupts,
    memory::MapOps,
    ops::DeviceOps,
    ops_table::OpsTable,
    registration::{
        Ticket,
        Tracker, //
    },
};
use core::{
    mem::{
        offset_of,
        ManuallyDrop, //
    },
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    device,
    error::from_err_ptr,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        Arc, //
    },
    types::Opaque, //
};
use kext::sysfs::Groups;
use vdpa_bindings as bindings;

/// Which device does DMA for a vDPA device, as far as kernel drivers are concerned.
#[derive(Clone, Copy, Default)]
pub enum DmaDevice<'a> {
    /// None: kernel drivers cannot use the device.
    #[default]
    None,
    /// The vDPA device itself, for a device made of software.
    Itself,
    /// Another one, for example the PCI function of the parent.
    Other(StaysBound<'a>),
}

/// A device that stays bound to its driver for longer than a reference to it can say.
#[derive(Clone, Copy)]
pub struct StaysBound<'a>(&'a device::Device);

impl<'a> StaysBound<'a> {
    /// # Safety
    ///
    /// The device must stay bound to its driver as long as the vDPA device that is made with this is
    /// registered: the driver of `dev` must drop the registration of the vDPA device, or of the
    /// management device that it comes from, before it is unbound, and not forget it.
    pub unsafe fn new(dev: &'a device::Device<device::Bound>) -> Self {
        Self(dev)
    }
}

/// By which operations a device is told what is mapped, if it implements several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapStyle {
    /// By all that it implements.
    #[default]
    AsImplemented,
    /// By `set_map` only.
    Whole,
    /// By `dma_map` and `dma_unmap` only.
    Pieces,
}

/// What a device with the operations of `T` is like.
pub struct DeviceParams<'a, T: DeviceOps> {
    /// The number of virtqueues, at least 1.
    pub queues: u16,
    /// The number of groups of virtqueues, at least 1.
    pub groups: u32,
    /// The number of address spaces, at least 1.
    pub address_spaces: u32,
    /// Whether the device takes virtual addresses of its owner's memory. Needs `set_map` or
    /// `dma_map`.
    pub use_va: bool,
    /// Where the device appears in sysfs.
    pub parent: Option<&'a device::Device>,
    /// Which device does DMA.
    pub dma_device: DmaDevice<'a>,
    /// How kernel drivers map memory, if not by DMA operations.
    pub map_ops: Option<&'static MapOps>,
    /// By which operations it is told what is mapped.
    pub map_style: MapStyle,
    /// The attributes of the device in sysfs, which are there when user space hears of it.
    ///
    /// Reading and writing them may happen from before the device is registered until it is off the
    /// bus, with no lock of the bus held. Taking a device off the bus waits for that, so an attribute
    /// must not do so, nor take a lock that is held meanwhile: see [`kext::sysfs`].
    pub attribute_groups: Option<Groups<ParentDevice<T>>>,
}

impl<T: DeviceOps> Clone for DeviceParams<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: DeviceOps> Copy for DeviceParams<'_, T> {}

impl<T: DeviceOps> Default for DeviceParams<'_, T> {
    /// One queue, one group, one address space, and nothing else.
    fn default() -> Self {
        Self {
            queues: 1,
            groups: 1,
            address_spaces: 1,
            use_va: false,
            parent: None,
            dma_device: DmaDevice::None,
            map_ops: None,
            map_style: MapStyle::AsImplemented,
            attribute_groups: None,
        }
    }
}

/// What the initialiser of a device's data gets to know of the device.
pub struct Setup<'a> {
    interrupts: &'a Interrupts,
    device: &'a Device,
}

impl Setup<'_> {
    /// A handle to the interrupts of the device, to keep.
    pub fn interrupts(&self) -> Interrupts {
        self.interrupts.clone()
    }

    /// The device's name.
    pub fn name(&self) -> &CStr {
        self.device.name()
    }
}

/// What the device keeps on behalf of the parent.
struct Keep {
    _parent: Option<ARef<device::Device>>,
    _dma_device: Option<ARef<device::Device>>,
    interrupts: Interrupts,
    // The last one: it reports that this device is gone.
    _ticket: Ticket,
}

/// A device, as its parent has it. Derefs to the parent's data.
///
/// # Invariants
///
/// - It was made by `Unregistered::new`, and a reference is held.
/// - `vdev` fulfils the invariants of [`Device`], and its operations are those of `OpsTable<T>`.
/// - `data` is initialised and pinned.
#[repr(C)]
pub struct ParentDevice<T: DeviceOps> {
    // `kfree()` gets a pointer to this field, so it has to be the first one.
    vdev: Opaque<bindings::vdpa_device>,
    keep: ManuallyDrop<Keep>,
    /// Whether `data` is initialised. It is not in an object to which there are only pointers.
    initialised: bool,
    data: ManuallyDrop<T>,
}

// SAFETY: The C device can be used from any thread, and so can `T`.
unsafe impl<T: DeviceOps> Send for ParentDevice<T> {}
// SAFETY: As above.
unsafe impl<T: DeviceOps> Sync for ParentDevice<T> {}

impl<T: DeviceOps> ParentDevice<T> {
    /// # Safety
    ///
    /// `vdev` must be the first field of a `ParentDevice<T>` that fulfils its invariants during
    /// `'a`.
    pub(crate) unsafe fn from_raw<'a>(vdev: *mut bindings::vdpa_device) -> &'a Self {
        // SAFETY: By the safety requirements; the structure is `repr(C)`.
        unsafe { &*vdev.cast() }
    }

    /// The device of which `dev` is the [`DmaDevice::Itself`].
    ///
    /// # Safety
    ///
    /// `dev` must be that of a `ParentDevice<T>` which is on the bus during `'a`.
    pub unsafe fn from_dma_device<'a>(dev: *mut bindings::device) -> &'a Self {
        // SAFETY: By the safety requirements; `dev` is the first field of the C device.
        unsafe { Self::from_raw(dev.cast()) }
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::vdpa_device {
        self.vdev.get()
    }

    /// The device as others see it.
    pub fn device(&self) -> &Device<device::Bound> {
        // SAFETY: By the type invariants; its parent is there, since this is it.
        unsafe { Device::from_raw(self.as_raw()) }
    }

    /// The interrupts of the device.
    pub fn interrupts(&self) -> &Interrupts {
        &self.keep.interrupts
    }

    /// Drops what [`Unregistered::new`] initialised.
    ///
    /// # Safety
    ///
    /// `vdev` must come from `__vdpa_alloc_device()` called in [`Unregistered::new`] for this type,
    /// and nobody may use it afterwards but to free the memory.
    pub(crate) unsafe fn release(vdev: *mut bindings::vdpa_device) {
        let this = vdev.cast::<Self>();
        // SAFETY: By the safety requirements; `new` initialises `keep` right after the allocation,
        // which is zeroed, and sets `initialised` when `data` is. Both are dropped once, in place.
        unsafe {
            (*this).keep.interrupts.reset();
            if (*this).initialised {
                ManuallyDrop::drop(&mut (*this).data);
            }
            ManuallyDrop::drop(&mut (*this).keep);
        }
    }
}

impl<T: DeviceOps> Deref for ParentDevice<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: DeviceOps> AsRef<device::Device> for ParentDevice<T> {
    fn as_ref(&self) -> &device::Device {
        self.device().as_ref()
    }
}

// SAFETY: The C device is in the structure, and the embedded device in that.
unsafe impl<T: DeviceOps> device::AsBusDevice<device::Normal> for ParentDevice<T> {
    const OFFSET: usize = offset_of!(Self, vdev) + offset_of!(bindings::vdpa_device, dev);
}

// SAFETY: The embedded `struct device` counts the references.
unsafe impl<T: DeviceOps> AlwaysRefCounted for ParentDevice<T> {
    fn inc_ref(&self) {
        self.device().inc_ref();
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: By the safety requirements; the device is the first field.
        unsafe { Device::dec_ref(obj.cast()) };
    }
}

/// A device that was made and is not registered.
///
/// # Invariants
///
/// Owns a reference to the device, which nobody else knows.
pub(crate) struct Unregistered<T: DeviceOps>(NonNull<ParentDevice<T>>);

impl<T: DeviceOps> Unregistered<T> {
    /// Makes a device; the bus chooses its name if there is none. `tracker` waits for its end.
    pub(crate) fn new<I, E>(
        name: Option<&CStr>,
        params: &DeviceParams<'_, T>,
        tracker: &Arc<Tracker>,
        init: impl FnOnce(&Setup<'_>) -> I,
    ) -> Result<Self>
    where
        I: PinInit<T, E>,
        Error: From<E>,
    {
        if params.queues == 0 || params.groups == 0 || params.address_spaces == 0 {
            return Err(EINVAL);
        }
        let keep = Keep {
            _parent: params.parent.map(ARef::from),
            _dma_device: match params.dma_device {
                DmaDevice::Other(StaysBound(dev)) => Some(ARef::from(dev)),
                DmaDevice::None | DmaDevice::Itself => None,
            },
            interrupts: Interrupts::new(params.queues)?,
            _ticket: Tracker::ticket(tracker),
        };
        // SAFETY: The table is that of `T`, the size that of the whole object. Kmalloc aligns to the
        // largest power of two that divides the size, so at least as the type wants.
        let vdev = from_err_ptr(unsafe {
            bindings::__vdpa_alloc_device(
                params.parent.map_or(ptr::null_mut(), kext::device::as_raw),
                OpsTable::<T>::table(params.map_style),
                params.map_ops.map_or(ptr::null(), MapOps::as_raw),
                params.groups,
                params.address_spaces,
                size_of::<ParentDevice<T>>(),
                name.map_or(ptr::null(), CStr::as_char_ptr),
                params.use_va,
            )
        })?;
        let raw = vdev.cast::<ParentDevice<T>>();
        // SAFETY: The memory is large enough, and nobody else knows it.
        unsafe { (&raw mut (*raw).keep).write(ManuallyDrop::new(keep)) };
        // INVARIANT: The function gave us a reference, and we just filled in what `release` drops.
        let this = Self(NonNull::new(raw).ok_or(ENOMEM)?);

        // SAFETY: The device is valid, and nobody else knows it.
        unsafe {
            match params.dma_device {
                DmaDevice::None => {}
                DmaDevice::Itself => (*vdev).vmap.dma_dev = &raw mut (*vdev).dev,
                DmaDevice::Other(StaysBound(dev)) => {
                    (*vdev).vmap.dma_dev = kext::device::as_raw(dev);
                }
            }
            // The attributes are for a `ParentDevice<T>`, which this is, complete before anybody
            // registers it; and what unregisters it waits for those who use them.
            if let Some(groups) = params.attribute_groups {
                (*vdev).dev.groups = groups.as_raw();
            }
        }
        let init = init(&Setup {
            // SAFETY: Initialised above, and valid while `this` is there.
            interrupts: unsafe { &(*raw).keep.interrupts },
            // SAFETY: The device is valid while `this` is there.
            device: unsafe { Device::from_raw(vdev) },
        });
        // SAFETY: The place is uninitialised and does not move until `release` drops it. On failure
        // it counts as uninitialised.
        unsafe { pin_init::raw_try_init((&raw mut (*raw).data).cast::<T>(), init) }?;
        // SAFETY: Nobody else knows the object.
        unsafe { (&raw mut (*raw).initialised).write(true) };
        Ok(this)
    }

    /// The C device.
    pub(crate) fn as_raw(&self) -> *mut bindings::vdpa_device {
        self.0.as_ptr().cast()
    }

    /// Gives the reference to the caller.
    pub(crate) fn into_raw(self) -> NonNull<ParentDevice<T>> {
        ManuallyDrop::new(self).0
    }
}

impl<T: DeviceOps> Drop for Unregistered<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; this is the last use of the reference.
        unsafe { Device::dec_ref(self.0.cast()) };
    }
}
