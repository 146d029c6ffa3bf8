// SPDX-License-Identifier: GPL-2.0

//! Character devices: a major number with many minors, and a node for each device.
//!
//! Nodes are devices of a subsystem of their own, so that rules of udev can name it. It is a bus
//! without drivers, not a class: with a class, the driver core would put a folder between a device
//! and its parent in sysfs, where users look for the device right in its parent's folder.
//!
//! C headers: [`include/linux/cdev.h`](srctree/include/linux/cdev.h),
//! [`include/linux/fs.h`](srctree/include/linux/fs.h)

mod file;

pub use self::file::{
    DeviceFault,
    DevicePage,
    FaultHandled,
    Mappings,
    NewMapping,
    OpenFile, //
};

use crate::{
    bus,
    ida::Ida,
    unload::wait_for_running_code, //
};
use core::{
    marker::PhantomPinned,
    mem::offset_of,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device,
    error::to_result,
    fs::File,
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        poll::PollTable,
        Arc,
        ArcBorrow,
        CondVar,
        Mutex, //
    },
    types::Opaque, //
};

/// What can be done with the node of a device.
///
/// All functions run in process context. Several can run at the same time, also for one open file.
#[vtable]
pub trait CharDevice: Sized + Send + Sync + 'static {
    /// An open file.
    type File: Send + Sync + 'static;

    /// Somebody opens the node.
    fn open(&self, file: &OpenFile<'_>) -> Result<Arc<Self::File>>;

    /// The last descriptor and mapping of the file are gone.
    fn release(file: Arc<Self::File>);

    /// `ioctl()`; 32-bit callers have their pointers extended.
    fn ioctl(file: ArcBorrow<'_, Self::File>, cmd: u32, arg: usize) -> Result<isize>;

    /// `read()`. `nonblocking` says that it must not wait.
    fn read_iter(
        file: ArcBorrow<'_, Self::File>,
        to: &mut IovIterDest<'_>,
        nonblocking: bool,
    ) -> Result<usize>;

    /// `write()`.
    fn write_iter(file: ArcBorrow<'_, Self::File>, from: &mut IovIterSource<'_>) -> Result<usize>;

    /// `poll()`: `POLL*` of what can be done now.
    fn poll(file: ArcBorrow<'_, Self::File>, this: &File, table: PollTable<'_>) -> u32;

    /// `mmap()`. Runs with the lock of the caller's address space held.
    fn mmap(file: ArcBorrow<'_, Self::File>, area: &NewMapping<'_>) -> Result;

    /// A page that was mapped is accessed. Runs with the address space locked.
    fn fault(file: ArcBorrow<'_, Self::File>, fault: DeviceFault<'_>) -> FaultHandled;
}

/// A major number with some minors, and the subsystem of the nodes.
///
/// Dropping it waits until no node is left.
#[pin_data(PinnedDrop)]
pub struct Region {
    first: bindings::dev_t,
    minors: u32,
    name: &'static CStr,
    subsystem: &'static bus::BusType,
    #[pin]
    ida: Ida,
    nodes: Arc<Nodes>,
    // Dropped last.
    registration: Option<bus::Registration>,
}

/// Counts nodes until they are freed.
#[pin_data]
struct Nodes {
    /// How many there are, and whether there was one.
    #[pin]
    count: Mutex<(usize, bool)>,
    #[pin]
    gone: CondVar,
}

impl Region {
    /// Takes a free major number, which `/proc/devices` shows under the name of `subsystem`.
    pub fn new(subsystem: &'static bus::BusType, minors: u32) -> Result<impl PinInit<Self, Error>> {
        let registration = bus::Registration::new(subsystem)?;
        let name = subsystem.name();
        let nodes = Arc::pin_init(
            pin_init!(Nodes {
                count <- new_mutex!((0, false)),
                gone <- new_condvar!(),
            }),
            GFP_KERNEL,
        )?;
        Ok(try_pin_init!(Self {
            ida <- Ida::new(),
            minors,
            name,
            subsystem,
            nodes,
            registration: Some(registration),
            first: {
                let mut first = 0;
                // SAFETY: The name is static.
                to_result(unsafe {
                    bindings::alloc_chrdev_region(&mut first, 0, *minors, name.as_char_ptr())
                })?;
                first
            },
        }? Error))
    }
}

#[pinned_drop]
impl PinnedDrop for Region {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `new` took them.
        unsafe { bindings::unregister_chrdev_region(self.first, self.minors) };
        let mut count = self.nodes.count.lock();
        while count.0 != 0 {
            self.nodes.gone.wait(&mut count);
        }
        let used = count.1;
        drop(count);
        if used {
            // The last instructions of a node's release.
            wait_for_running_code();
        }
    }
}

/// A minor number that is in use, of a region that is there.
struct Minor {
    region: ARef<RegionRef>,
    number: u32,
}

/// A region, as nodes refer to it: they are counted, and the region waits for them.
#[repr(transparent)]
struct RegionRef(Region);

// SAFETY: The region stays until the count is zero.
unsafe impl kernel::sync::aref::AlwaysRefCounted for RegionRef {
    fn inc_ref(&self) {
        let mut count = self.0.nodes.count.lock();
        count.0 = count.0.saturating_add(1);
        count.1 = true;
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: By the safety requirements the caller has a reference, so the region is there.
        let nodes = unsafe { obj.as_ref() }.0.nodes.clone();
        let mut count = nodes.count.lock();
        count.0 = count.0.saturating_sub(1);
        // The region may be gone as soon as the lock is released.
        nodes.gone.notify_all();
    }
}

impl Minor {
    fn new(region: Pin<&Region>) -> Result<Self> {
        // CAST: `RegionRef` is a transparent wrapper.
        // SAFETY: It is valid, and stays while there is a reference.
        let region = ARef::from(unsafe { &*core::ptr::from_ref(region.get_ref()).cast() });
        let region: ARef<RegionRef> = region;
        let number = region.0.ida.alloc()?;
        let minor = Self { region, number };
        if number >= minor.region.0.minors {
            return Err(ENOSPC);
        }
        Ok(minor)
    }
}

impl Drop for Minor {
    fn drop(&mut self) {
        self.region.0.ida.free(self.number);
    }
}

/// The device of a node, with what the driver keeps of it.
///
/// # Invariants
///
/// `dev` is initialised, and its release frees this.
#[repr(C)]
#[pin_data]
struct Inner<T> {
    #[pin]
    dev: Opaque<bindings::device>,
    #[pin]
    cdev: Opaque<bindings::cdev>,
    #[pin]
    data: T,
    minor: Minor,
    #[pin]
    _pin: PhantomPinned,
}

/// A node. Dropping it removes it: nobody can open it any more, but open files stay.
///
/// # Invariants
///
/// Owns a reference to the device of an `Inner<T>`, which is registered.
pub struct Node<T: CharDevice>(NonNull<Inner<T>>);

// SAFETY: A device may be used from any thread, and so may `T`.
unsafe impl<T: CharDevice> Send for Node<T> {}
// SAFETY: As above.
unsafe impl<T: CharDevice> Sync for Node<T> {}

impl<T: CharDevice> Node<T> {
    /// Makes a node, named after the region's subsystem and the smallest free minor number. It can be
    /// opened before this returns. May sleep.
    ///
    /// Fails with `ENOMEM`, `ENOSPC` if all minors are in use, or an error of the driver core.
    pub fn new(
        region: Pin<&Region>,
        parent: &device::Device,
        data: impl PinInit<T, Error>,
    ) -> Result<Self> {
        let minor = Minor::new(region)?;
        let number = minor.number;
        let name = region.name;
        // Minors are the lowest bits of a device's number, and the region begins at its own.
        let devt = region.first.checked_add(number).ok_or(ENOSPC)?;
        let inner = KBox::pin_init(
            try_pin_init!(Inner {
                dev: Opaque::zeroed(),
                cdev: Opaque::zeroed(),
                data <- data,
                minor,
                _pin: PhantomPinned,
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: It stays in place until `release_device` drops it.
        let inner = KBox::into_raw(unsafe { Pin::into_inner_unchecked(inner) });
        // SAFETY: Nobody else knows the object yet. From `device_initialize()` on, the last reference
        // to the device frees it.
        let dev = unsafe { (*inner).dev.get() };
        // SAFETY: As above. The parent stays as long as the device, which has a reference.
        let added = unsafe {
            bindings::device_initialize(dev);
            (*dev).release = Some(Self::release_device);
            (*dev).parent = crate::device::as_raw(parent);
            (*dev).bus = region.subsystem.as_raw();
            (*dev).devt = devt;
            to_result(bindings::dev_set_name(
                dev,
                c"%s-%u".as_char_ptr(),
                name.as_char_ptr(),
                number,
            ))
            .and_then(|()| {
                let cdev = (*inner).cdev.get();
                bindings::cdev_init(cdev, file::table::<T>());
                (*cdev).owner = kernel::module::this_module::<T::OwnerModule>().as_ptr();
                to_result(bindings::cdev_device_add(cdev, dev))
            })
        };
        if let Err(error) = added {
            // SAFETY: The reference is ours.
            unsafe { bindings::put_device(dev) };
            return Err(error);
        }
        // INVARIANT: It is registered.
        NonNull::new(inner).map(Self).ok_or(ENOMEM)
    }

    /// What the driver keeps of the node.
    pub fn data(&self) -> &T {
        // SAFETY: By the type invariants.
        unsafe { &(*self.0.as_ptr()).data }
    }

    /// The device.
    pub fn device(&self) -> &device::Device {
        // SAFETY: By the type invariants.
        unsafe { device::Device::from_raw((*self.0.as_ptr()).dev.get()) }
    }

    /// # Safety
    ///
    /// Called by the driver core only, for the device of an `Inner<T>` to which the last reference is
    /// gone.
    unsafe extern "C" fn release_device(dev: *mut bindings::device) {
        // SAFETY: By the safety requirements; the device is the first field.
        drop(unsafe { Pin::new_unchecked(KBox::from_raw(dev.cast::<Inner<T>>())) });
    }

    /// What the driver keeps of the node that an inode is of.
    ///
    /// # Safety
    ///
    /// `inode` must be that of a node of this type, which is being opened.
    unsafe fn of_inode<'a>(inode: *mut bindings::inode) -> &'a T {
        // SAFETY: By the safety requirements; the cdev is in an `Inner<T>`, to which whoever opens it
        // has a reference.
        unsafe {
            let cdev = vdpa_bindings::inode_cdev(inode);
            let inner = cdev.byte_sub(offset_of!(Inner<T>, cdev)).cast::<Inner<T>>();
            &(*inner).data
        }
    }
}

impl<T: CharDevice> Drop for Node<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; this was the last use of the reference.
        unsafe {
            let inner = self.0.as_ptr();
            bindings::cdev_device_del((*inner).cdev.get(), (*inner).dev.get());
            bindings::put_device((*inner).dev.get());
        }
    }
}
