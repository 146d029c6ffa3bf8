// SPDX-License-Identifier: GPL-2.0

//! Directories and small text files in debugfs.
//!
//! The `kernel` crate has files in debugfs, too, but theirs do not keep the module loaded while they
//! are open: who closes one after the module was unloaded has the kernel look for operations in
//! memory that was freed. Here they have an owner, the module that implements the [`Attribute`].
//!
//! As is the custom with debugfs, nothing tells whether a file could be made: without debugfs, or if
//! there is one of that name already, it is just not there.
//!
//! A file's mode is 0400 with `show`, 0200 with `store`, 0600 with both. Who writes more than a page
//! at once gets `EINVAL`.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)
//!
//! # Examples
//!
//! ```ignore
//! /// The limit, in packets: `/sys/kernel/debug/my_driver/NAME/limit`.
//! struct Limit;
//!
//! #[vtable]
//! impl Attribute<Arc<MyDevice>> for Limit {
//!     const NAME: &'static CStr = c"limit";
//!
//!     fn show(device: &Arc<MyDevice>, page: &mut Page<'_>) -> Result {
//!         writeln!(page, "{}", device.limit.load(Relaxed))
//!     }
//! }
//!
//! let all = debugfs::Dir::new(c"my_driver")?;
//! let files = debugfs::Files::new::<(Limit,)>(&all, device.name(), device)?;
//! ```
//!
//! # Context and locks
//!
//! `show` and `store` run in process context and may sleep; any number of calls at the same time,
//! also for the same file. Dropping the [`Files`] waits for those that run, and who has a file open
//! still gets `EIO` from then on. So neither function may drop its own [`Files`], or take a lock that
//! is held while they are dropped. debugfs does not tell lockdep about that wait.

use crate::attribute::{
    self,
    Attribute, //
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    bindings,
    error::from_result,
    module::this_module,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

#[cfg(not(CONFIG_DEBUG_FS))]
use absent as raw;
#[cfg(CONFIG_DEBUG_FS)]
use bindings as raw;

/// A directory in debugfs's root, for directories with files.
///
/// It is removed when neither this nor [`Files`] in it exist any more.
pub struct Dir(Arc<Entry>);

impl Dir {
    /// Makes a directory. Fails with `ENOMEM` only: see the [module](self).
    pub fn new(name: &CStr) -> Result<Self> {
        Ok(Self(Arc::new(Entry::dir(name, None), GFP_KERNEL)?))
    }
}

/// A directory with files about a `T`.
///
/// Dropping it removes them, and waits for those who use one; then it drops the `T`.
pub struct Files<T> {
    // Dropped first: the files point to the data.
    _dir: Entry,
    _data: KBox<T>,
}

impl<T: Send + Sync + 'static> Files<T> {
    /// Makes a directory in `parent` with the files of `L`, a tuple of up to eight attributes.
    ///
    /// Fails with `ENOMEM` only: see the [module](self). The files can be used before this returns.
    pub fn new<L: List<T>>(parent: &Dir, name: &CStr, data: T) -> Result<Self> {
        let data = KBox::new(data, GFP_KERNEL)?;
        let dir = Entry::dir(name, Some(parent.0.clone()));
        for file in L::FILES {
            // SAFETY: `data` stays where it is and is dropped after `dir`, which removes the file;
            // until then it is only shared. The operations are for files about a `T`.
            unsafe { dir.add(file.name, file.mode, &*data, file.operations) };
        }
        Ok(Self {
            _dir: dir,
            _data: data,
        })
    }
}

/// A directory, removed with all in it when dropped.
///
/// # Invariants
///
/// `dentry` is null, an error, or of a directory that nobody else removes: neither does a directory
/// above, as this refers to it.
struct Entry {
    dentry: *mut bindings::dentry,
    // Dropped after this was removed.
    _parent: Option<Arc<Entry>>,
}

// SAFETY: The functions of debugfs may be called from any thread.
unsafe impl Send for Entry {}
// SAFETY: As above; they lock what they change.
unsafe impl Sync for Entry {}

impl Entry {
    fn dir(name: &CStr, parent: Option<Arc<Self>>) -> Self {
        let above = parent
            .as_ref()
            .map_or(ptr::null_mut(), |parent| parent.dentry);
        // SAFETY: The name is a C string, which is copied; the parent is there by its invariant, or
        // an error, which becomes the result.
        let dentry = unsafe { raw::debugfs_create_dir(name.as_char_ptr(), above) };
        // INVARIANT: It was made for this.
        Self {
            dentry,
            _parent: parent,
        }
    }

    /// Adds a file.
    ///
    /// # Safety
    ///
    /// `data` must be valid to be shared until this was dropped, and be what `operations` expect.
    unsafe fn add<T>(
        &self,
        name: &CStr,
        mode: bindings::umode_t,
        data: &T,
        operations: &'static bindings::file_operations,
    ) {
        // SAFETY: The directory is there by the type invariant, or an error, which becomes the
        // result; the name is copied. By the safety requirements, the operations may get the data:
        // debugfs calls none but `release` once the file was removed, which waits for running calls.
        // The result is removed with the directory.
        unsafe {
            raw::debugfs_create_file_full(
                name.as_char_ptr(),
                mode,
                self.dentry,
                // CAST: C lacks a `const`.
                ptr::from_ref(data).cast_mut().cast(),
                ptr::null(),
                operations,
            )
        };
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; null and errors are ignored.
        unsafe { raw::debugfs_remove(self.dentry) };
    }
}

/// An entry of a [`List`].
pub struct File<T> {
    name: &'static CStr,
    mode: bindings::umode_t,
    /// For files whose data is a `T`.
    operations: &'static bindings::file_operations,
    _data: PhantomData<fn(&T)>,
}

/// A tuple of attributes.
pub trait List<T: 'static>: 'static {
    /// The files.
    const FILES: &'static [File<T>];
}

/// The C operations of an [`Attribute`].
struct Table<T, A>(PhantomData<(T, A)>);

impl<T: Send + Sync + 'static, A: Attribute<T>> Table<T, A> {
    const FILE: File<T> = File {
        name: A::NAME,
        mode: match (A::HAS_SHOW, A::HAS_STORE) {
            (true, false) => 0o400,
            (false, true) => 0o200,
            (true, true) => 0o600,
            (false, false) => panic!("an attribute needs `show` or `store`"),
        },
        operations: Self::OPERATIONS,
        _data: PhantomData,
    };

    const OPERATIONS: &'static bindings::file_operations = &{
        let mut raw: bindings::file_operations = pin_init::zeroed();
        raw.owner = this_module::<A::OwnerModule>().as_ptr();
        if A::HAS_SHOW {
            raw.open = Some(Self::open);
            raw.read = Some(bindings::seq_read);
            raw.llseek = Some(bindings::seq_lseek);
            raw.release = Some(bindings::single_release);
        } else {
            raw.llseek = Some(bindings::noop_llseek);
        }
        if A::HAS_STORE {
            raw.write = Some(Self::write);
        }
        raw
    };

    /// # Safety
    ///
    /// Called through [`Self::OPERATIONS`] by debugfs only, for a file whose data is a `T`.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: debugfs passes what belongs to the file that is being opened. The data is only
        // passed on, to `show`, which fits; `release` undoes it.
        unsafe { bindings::single_open(file, Some(Self::show), (*inode).i_private) }
    }

    /// # Safety
    ///
    /// Called by `seq_read` and `seq_lseek` only, for a file that [`Self::open`] opened.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: By the safety requirements; debugfs does not remove the file during the call, so
        // the data is still there.
        let data = unsafe { &*(*seq).private.cast::<T>() };
        from_result(|| {
            let mut buffer = KBox::init(pin_init::init_zeroed::<[u8; PAGE_SIZE]>(), GFP_KERNEL)?;
            let len = attribute::show::<T, A>(data, &mut buffer)?;
            // If it does not fit, `seq_file` knows, and asks again with more room.
            // SAFETY: The `seq_file` is valid during the call, and the buffer has as many bytes.
            unsafe { bindings::seq_write(seq, buffer.as_ptr().cast(), len) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called through [`Self::OPERATIONS`] by debugfs only, for a file whose data is a `T`.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        buffer: *const c_char,
        count: usize,
        _offset: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: By the safety requirements; debugfs does not remove the file during the call, so
        // the data is still there.
        let data = unsafe { &*(*(*file).f_inode).i_private.cast::<T>() };
        from_result(|| {
            if count > PAGE_SIZE {
                return Err(EINVAL);
            }
            let mut written = KVec::new();
            // CAST: It is not written to.
            let from = UserPtr::from_ptr(buffer.cast_mut().cast());
            UserSlice::new(from, count).read_all(&mut written, GFP_KERNEL)?;
            Ok(isize::try_from(attribute::store::<T, A>(data, &written)?)?)
        })
    }
}

macro_rules! tuples_of_attributes {
    ($($($A:ident)+,)*) => {$(
        impl<T, $($A),+> List<T> for ($($A,)+)
        where
            T: Send + Sync + 'static,
            $($A: Attribute<T>),+
        {
            const FILES: &'static [File<T>] = &[$(Table::<T, $A>::FILE),+];
        }
    )*};
}
attribute::for_all_tuples!(tuples_of_attributes);

/// The functions of a kernel without debugfs, where the header has them inline.
#[cfg(not(CONFIG_DEBUG_FS))]
mod absent {
    use super::*;

    pub(super) unsafe fn debugfs_create_dir(
        _name: *const c_char,
        _parent: *mut bindings::dentry,
    ) -> *mut bindings::dentry {
        ptr::null_mut()
    }

    pub(super) unsafe fn debugfs_create_file_full(
        _name: *const c_char,
        _mode: bindings::umode_t,
        _parent: *mut bindings::dentry,
        _data: *mut c_void,
        _aux: *const c_void,
        _operations: *const bindings::file_operations,
    ) -> *mut bindings::dentry {
        ptr::null_mut()
    }

    pub(super) unsafe fn debugfs_remove(_dentry: *mut bindings::dentry) {}
}
