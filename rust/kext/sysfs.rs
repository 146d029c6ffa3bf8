// SPDX-License-Identifier: GPL-2.0

//! Attributes of devices: files in sysfs that show a value, take one, or both.
//!
//! An [`Attribute`] is a type without data, a tuple of them a [`Group`]. [`Groups`] are what a device
//! is given before it is added; they are tables that the compiler makes, so nothing is registered and
//! nothing can fail, and a generic type can have its own. Only adding the device fails, with `EEXIST`,
//! if two of its files have the same name.
//!
//! A file's mode is 0444 with `show`, 0200 with `store`, 0644 with both.
//!
//! C headers: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h),
//! [`include/linux/device.h`](srctree/include/linux/device.h)
//!
//! # Examples
//!
//! ```ignore
//! /// The limit, in packets: `/sys/devices/.../limit`.
//! struct Limit;
//!
//! #[vtable]
//! impl sysfs::Attribute<MyDevice> for Limit {
//!     const NAME: &'static CStr = c"limit";
//!
//!     fn show(device: &MyDevice, page: &mut sysfs::Page<'_>) -> Result {
//!         writeln!(page, "{}", device.limit.load(Relaxed))
//!     }
//!
//!     fn store(device: &MyDevice, value: &BStr) -> Result {
//!         device.limit.store(u32::from_str(value)?, Relaxed);
//!         Ok(())
//!     }
//! }
//!
//! const GROUPS: sysfs::Groups<MyDevice> = sysfs::Groups::one::<(Limit,)>();
//! ```
//!
//! # Context and locks
//!
//! `show` and `store` run in process context and may sleep. They are called from `device_add()` on,
//! that is before user space hears of the device and before a driver is bound to it, until
//! `device_del()` has removed the files, which it does before it unbinds the driver. Any number of
//! calls may run at the same time, also for the same file, and beside all else that the device does.
//!
//! A call holds a reference to the file that kernfs calls active, and `device_del()` waits for those.
//! So no call runs afterwards, however long user space keeps the file open: it gets `ENODEV`. And so
//! neither function may
//! - delete its own device, or wait for somebody who does;
//! - take a lock that is held around `device_del()`, for example the one that a bus holds while it
//!   adds and removes devices: both would wait for each other. Trying to take it is allowed.
//!
//! A lock that is taken in a call comes after the active reference in the lock order. Lockdep knows
//! the reference as `kn->active`, with a class for each attribute.

use crate::attribute;
use core::{
    marker::PhantomData,
    ptr,
    slice, //
};
use kernel::{
    bindings,
    device::{
        AsBusDevice,
        Device,
        Normal, //
    },
    error::from_result,
    prelude::*,
    str::as_char_ptr_in_const_context, //
};

pub use crate::attribute::{
    Attribute,
    Page, //
};

/// The C attribute of an [`Attribute`].
struct Table<D, A>(PhantomData<(D, A)>);

impl<D: AsBusDevice<Normal> + Sync, A: Attribute<D>> Table<D, A> {
    const MODE: bindings::umode_t = match (A::HAS_SHOW, A::HAS_STORE) {
        (true, false) => 0o444,
        (false, true) => 0o200,
        (true, true) => 0o644,
        (false, false) => panic!("an attribute needs `show` or `store`"),
    };

    // Fields are set one by one: what the header makes a union is a structure on kernels with CFI,
    // and lockdep has fields of its own.
    const ATTRIBUTE: &'static bindings::device_attribute = &{
        let mut raw: bindings::device_attribute = pin_init::zeroed();
        raw.attr.name = as_char_ptr_in_const_context(A::NAME);
        raw.attr.mode = Self::MODE;
        if A::HAS_SHOW {
            raw.__bindgen_anon_1.show_const = Some(Self::show);
        }
        if A::HAS_STORE {
            raw.__bindgen_anon_2.store_const = Some(Self::store);
        }
        raw
    };

    /// The attribute as a group lists it. `attr` is the first field, from which the driver core
    /// gets back to the whole.
    const ENTRY: *const bindings::attribute = ptr::from_ref(Self::ATTRIBUTE).cast();

    /// # Safety
    ///
    /// Called through [`Self::ATTRIBUTE`] by the driver core only, for a device that is in a `D`.
    unsafe extern "C" fn show(
        dev: *mut bindings::device,
        _attribute: *const bindings::device_attribute,
        buffer: *mut c_char,
    ) -> isize {
        // SAFETY: By the safety requirements; the active reference keeps the device added.
        let device = unsafe { D::from_device(Device::from_raw(dev)) };
        // SAFETY: The driver core passes a page that was cleared and that nobody else uses.
        let page = unsafe { &mut *buffer.cast() };
        from_result(|| Ok(isize::try_from(attribute::show::<D, A>(device, page)?)?))
    }

    /// # Safety
    ///
    /// Called through [`Self::ATTRIBUTE`] by the driver core only, for a device that is in a `D`.
    unsafe extern "C" fn store(
        dev: *mut bindings::device,
        _attribute: *const bindings::device_attribute,
        buffer: *const c_char,
        count: usize,
    ) -> isize {
        // SAFETY: By the safety requirements; the active reference keeps the device added.
        let device = unsafe { D::from_device(Device::from_raw(dev)) };
        // SAFETY: The driver core passes that many bytes, which nobody changes meanwhile.
        let value: &[u8] = unsafe { slice::from_raw_parts(buffer.cast(), count) };
        from_result(|| Ok(isize::try_from(attribute::store::<D, A>(device, value)?)?))
    }
}

/// The attributes of a [`Group`].
///
/// # Invariants
///
/// `table` points to attributes of devices that are in a `D`, and ends with null.
pub struct Attributes<D> {
    table: &'static [*const bindings::attribute],
    _device: PhantomData<fn(&D)>,
}

/// Attributes that appear together.
///
/// A tuple of up to eight attributes is the group of these in the device's own folder. To have them
/// in a folder below it:
///
/// ```ignore
/// struct Limits;
///
/// impl sysfs::Group<MyDevice> for Limits {
///     const NAME: Option<&'static CStr> = Some(c"limits");
///     const ATTRIBUTES: sysfs::Attributes<MyDevice> =
///         <(Packets, Bytes) as sysfs::Group<MyDevice>>::ATTRIBUTES;
/// }
/// ```
pub trait Group<D>: 'static {
    /// The name of the folder; without one, the device's own.
    const NAME: Option<&'static CStr> = None;

    /// The files.
    const ATTRIBUTES: Attributes<D>;
}

/// The C group of a [`Group`].
struct GroupTable<D, G>(PhantomData<(D, G)>);

impl<D, G: Group<D>> GroupTable<D, G> {
    const GROUP: &'static bindings::attribute_group = &{
        let mut raw: bindings::attribute_group = pin_init::zeroed();
        if let Some(name) = G::NAME {
            raw.name = as_char_ptr_in_const_context(name);
        }
        raw.__bindgen_anon_2.attrs_const = G::ATTRIBUTES.table.as_ptr();
        raw
    };
}

/// The groups of a type of devices, to be set in a device before it is added.
///
/// # Invariants
///
/// `table` points to groups with attributes of devices that are in a `D`, and ends with null.
pub struct Groups<D> {
    table: &'static [*const bindings::attribute_group],
    _device: PhantomData<fn(&D)>,
}

impl<D> Clone for Groups<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Groups<D> {}

// SAFETY: The tables never change.
unsafe impl<D> Send for Groups<D> {}
// SAFETY: As above.
unsafe impl<D> Sync for Groups<D> {}

impl<D> Groups<D> {
    /// A single group: `Groups::one::<(Limit, Rate)>()`.
    pub const fn one<G: Group<D>>() -> Self {
        <(G,) as GroupList<D>>::GROUPS
    }

    /// Several groups, given as a tuple: `Groups::all::<(Limits, (Rate,))>()`.
    pub const fn all<L: GroupList<D>>() -> Self {
        L::GROUPS
    }

    /// For the `groups` field of a `struct device`.
    ///
    /// The device must be in a `D`, as [`AsBusDevice`] has it, that may be shared from before the
    /// device is added until it was deleted; nothing else makes this field safe to set.
    pub const fn as_raw(self) -> *mut *const bindings::attribute_group {
        // CAST: C lacks a `const`: the driver core only reads the table.
        self.table.as_ptr().cast_mut()
    }
}

/// A tuple of up to four [`Group`]s.
pub trait GroupList<D>: 'static {
    /// The groups.
    const GROUPS: Groups<D>;
}

macro_rules! tuples_of_attributes {
    ($($($A:ident)+,)*) => {$(
        impl<D, $($A),+> Group<D> for ($($A,)+)
        where
            D: AsBusDevice<Normal> + Sync,
            $($A: Attribute<D>),+
        {
            // INVARIANT: The entries are those of `Table<D, _>`.
            const ATTRIBUTES: Attributes<D> = Attributes {
                table: &[$(Table::<D, $A>::ENTRY,)+ ptr::null()],
                _device: PhantomData,
            };
        }
    )*};
}
attribute::for_all_tuples!(tuples_of_attributes);

macro_rules! tuples_of_groups {
    ($($($G:ident)+,)*) => {$(
        impl<D, $($G: Group<D>),+> GroupList<D> for ($($G,)+) {
            // INVARIANT: The entries are those of `GroupTable<D, _>`.
            const GROUPS: Groups<D> = Groups {
                table: &[$(ptr::from_ref(GroupTable::<D, $G>::GROUP),)+ ptr::null()],
                _device: PhantomData,
            };
        }
    )*};
}
tuples_of_groups!(
    G0,
    G0 G1,
    G0 G1 G2,
    G0 G1 G2 G3,
);

#[kunit_tests(rust_sysfs)]
mod tests {
    use super::*;
    use core::mem::offset_of;
    use kernel::{
        page::PAGE_SIZE,
        str::{
            parse_int::ParseInt,
            BStr, //
        },
        sync::atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        types::Opaque, //
    };

    /// The library is not a module by itself.
    struct NoModule;

    impl kernel::ModuleMetadata for NoModule {
        const NAME: &'static CStr = c"rvdpa_kunit";
        // SAFETY: Nothing uses it.
        const THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(ptr::null_mut()) };
    }

    /// A structure with a device in it, which is never registered.
    #[repr(C)]
    struct Thing {
        value: Atomic<u32>,
        dev: Opaque<bindings::device>,
    }

    impl Thing {
        fn new(value: u32) -> Result<KBox<Self>> {
            let init = pin_init::init!(Self {
                value: Atomic::new(value),
                dev <- Opaque::zeroed(),
            });
            KBox::init(init, GFP_KERNEL)
        }
    }

    // SAFETY: The device is only pointed to.
    unsafe impl Sync for Thing {}

    impl AsRef<Device> for Thing {
        fn as_ref(&self) -> &Device {
            // SAFETY: It is as valid as this, and nobody counts references to it.
            unsafe { Device::from_raw(self.dev.get()) }
        }
    }

    // SAFETY: The structure has the device at this offset.
    unsafe impl AsBusDevice<Normal> for Thing {
        const OFFSET: usize = offset_of!(Self, dev);
    }

    /// Can be read and written.
    struct Value;

    #[vtable]
    impl Attribute<Thing> for Value {
        type OwnerModule = NoModule;
        const NAME: &'static CStr = c"value";

        fn show(thing: &Thing, page: &mut Page<'_>) -> Result {
            writeln!(page, "{}", thing.value.load(Relaxed))
        }

        fn store(thing: &Thing, value: &BStr) -> Result {
            thing.value.store(u32::from_str(value)?, Relaxed);
            Ok(())
        }
    }

    /// As many bytes as the value says, in two parts; never mind whether they fit.
    struct Zeros;

    #[vtable]
    impl Attribute<Thing> for Zeros {
        type OwnerModule = NoModule;
        const NAME: &'static CStr = c"zeros";

        fn show(thing: &Thing, page: &mut Page<'_>) -> Result {
            let len = usize::try_from(thing.value.load(Relaxed))?;
            let _ = write!(page, "{:01$}", 0, len.saturating_sub(10));
            let _ = write!(page, "{:01$}", 0, 10);
            Ok(())
        }
    }

    /// Cannot be read.
    struct Length;

    #[vtable]
    impl Attribute<Thing> for Length {
        type OwnerModule = NoModule;
        const NAME: &'static CStr = c"length";

        fn store(thing: &Thing, value: &BStr) -> Result {
            thing.value.store(u32::try_from(value.len())?, Relaxed);
            Ok(())
        }
    }

    struct Folder;

    impl Group<Thing> for Folder {
        const NAME: Option<&'static CStr> = Some(c"folder");
        const ATTRIBUTES: Attributes<Thing> = <(Length,) as Group<Thing>>::ATTRIBUTES;
    }

    const GROUPS: Groups<Thing> = Groups::all::<((Value, Zeros), Folder)>();

    fn show<A: Attribute<Thing>>(thing: &Thing) -> Result<(isize, KVec<u8>)> {
        let mut page = KVec::from_elem(0u8, PAGE_SIZE, GFP_KERNEL)?;
        let attribute = Table::<Thing, A>::ATTRIBUTE;
        // SAFETY: It is set for every attribute, null if there is no function.
        let show = unsafe { attribute.__bindgen_anon_1.show_const }.ok_or(ENOENT)?;
        // SAFETY: The device is in a `Thing`, and there is a page.
        let len = unsafe { show(thing.dev.get(), attribute, page.as_mut_ptr().cast()) };
        page.truncate(usize::try_from(len).unwrap_or(0));
        Ok((len, page))
    }

    fn store<A: Attribute<Thing>>(thing: &Thing, text: &[u8]) -> Result<isize> {
        let attribute = Table::<Thing, A>::ATTRIBUTE;
        // SAFETY: It is set for every attribute, null if there is no function.
        let store = unsafe { attribute.__bindgen_anon_2.store_const }.ok_or(ENOENT)?;
        // SAFETY: The device is in a `Thing`, and there are as many bytes.
        Ok(unsafe { store(thing.dev.get(), attribute, text.as_ptr().cast(), text.len()) })
    }

    fn errno(e: Error) -> isize {
        from_result(|| Err(e))
    }

    /// # Safety
    ///
    /// `name` must be null or a C string that lives on.
    unsafe fn name(name: *const c_char) -> Option<&'static CStr> {
        // SAFETY: By the safety requirements.
        (!name.is_null()).then(|| unsafe { CStr::from_char_ptr(name) })
    }

    /// # Safety
    ///
    /// `at` must point into a table that ends with null, not beyond its end.
    unsafe fn entries<T>(at: *const *const T) -> usize {
        let mut n = 0;
        // SAFETY: By the safety requirements.
        while !unsafe { *at.add(n) }.is_null() {
            n += 1;
        }
        n
    }

    #[test]
    fn tables_are_what_c_expects() {
        let groups = GROUPS.as_raw();
        // SAFETY: The tables end with null, and have as many entries as is compared first; their
        // names are C strings.
        unsafe {
            assert_eq!(entries(groups.cast_const()), 2);
            let (own, folder) = (&**groups, &**groups.add(1));
            assert_eq!(name(own.name), None);
            assert_eq!(name(folder.name), Some(c"folder"));

            let files = own.__bindgen_anon_2.attrs_const;
            assert_eq!(entries(files), 2);
            let (value, zeros) = (&**files, &**files.add(1));
            assert_eq!(name(value.name), Some(c"value"));
            assert_eq!(name(zeros.name), Some(c"zeros"));
            assert_eq!((value.mode, zeros.mode), (0o644, 0o444));

            let files = folder.__bindgen_anon_2.attrs_const;
            assert_eq!(entries(files), 1);
            let length = &**files;
            assert_eq!(name(length.name), Some(c"length"));
            assert_eq!(length.mode, 0o200);
        }
    }

    #[test]
    fn values_go_to_the_device_and_back() -> Result {
        let thing = Thing::new(7)?;
        let (len, text) = show::<Value>(&thing)?;
        assert_eq!((len, text.as_slice()), (2, b"7\n".as_slice()));
        for (text, value) in [(b"8\n".as_slice(), 8), (b"9", 9), (b"0x10\n", 16)] {
            let taken = store::<Value>(&thing, text)?;
            assert_eq!(usize::try_from(taken)?, text.len());
            assert_eq!(thing.value.load(Relaxed), value);
        }
        for text in [b"".as_slice(), b"\n", b"1\n\n", b"1\0", b"4294967296"] {
            assert_eq!(store::<Value>(&thing, text)?, errno(EINVAL));
        }
        assert_eq!(thing.value.load(Relaxed), 16);
        Ok(())
    }

    #[test]
    fn one_newline_at_the_end_is_left_out() -> Result {
        let thing = Thing::new(7)?;
        for (text, len) in [(b"\n".as_slice(), 0), (b"\n\n", 1), (b"\na", 2), (b"", 0)] {
            let taken = store::<Length>(&thing, text)?;
            assert_eq!(usize::try_from(taken)?, text.len());
            assert_eq!(thing.value.load(Relaxed), len);
        }
        Ok(())
    }

    #[test]
    fn what_is_missing_is_null() -> Result {
        let thing = Thing::new(7)?;
        assert_eq!(store::<Zeros>(&thing, b"1").err(), Some(ENOENT));
        assert_eq!(show::<Length>(&thing).err(), Some(ENOENT));
        Ok(())
    }

    #[test]
    fn a_page_takes_one_byte_less() -> Result {
        let fits = u32::try_from(PAGE_SIZE - 1)?;
        let (len, text) = show::<Zeros>(&*Thing::new(fits)?)?;
        assert_eq!(usize::try_from(len)?, PAGE_SIZE - 1);
        assert!(text.iter().all(|&byte| byte == b'0'));
        // Too long for both parts, then for the first one.
        for too_long in [fits + 1, fits + 100] {
            let (len, _) = show::<Zeros>(&*Thing::new(too_long)?)?;
            assert_eq!(len, errno(EFBIG));
        }
        Ok(())
    }
}
