// SPDX-License-Identifier: GPL-2.0

//! The operations on open files of character devices.

use super::{
    CharDevice,
    Node, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::from_result,
    fs::File,
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    module::this_module,
    prelude::*,
    sync::{
        poll::PollTable,
        Arc,
        ArcBorrow, //
    },
};

/// A file that is being opened.
pub struct OpenFile<'a> {
    file: NonNull<bindings::file>,
    _lifetime: PhantomData<&'a bindings::file>,
}

impl OpenFile<'_> {
    /// What is mapped of the node, by whomever.
    pub fn mappings(&self) -> Mappings {
        // SAFETY: The file is valid while it is being opened, and has an inode and a path.
        unsafe {
            let (mapping, path) = (
                (*self.file.as_ptr()).f_mapping,
                vdpa_bindings::path_of_file(self.file.as_ptr()),
            );
            bindings::path_get(path);
            // INVARIANT: We just took a reference; the entry in the directory keeps the inode, which
            // has the mapping.
            Mappings {
                path: *path,
                mapping,
            }
        }
    }
}

/// The pages that processes have mapped of a node.
///
/// # Invariants
///
/// Owns a reference to a path, and so to the file system, which must not be unmounted while `mapping`
/// is used: that of the inode which the path leads to.
pub struct Mappings {
    path: bindings::path,
    mapping: *mut bindings::address_space,
}

// SAFETY: Paths and mappings may be used from any thread.
unsafe impl Send for Mappings {}
// SAFETY: As above.
unsafe impl Sync for Mappings {}

impl Mappings {
    /// Takes all pages away from the processes that have them. Who accesses one again gets to
    /// [`CharDevice::fault`].
    pub fn unmap_all(&self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::unmap_mapping_range(self.mapping, 0, 0, 1) };
    }
}

impl Clone for Mappings {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariants.
        unsafe { bindings::path_get(&self.path) };
        // INVARIANT: We just took a reference.
        Self {
            path: self.path,
            mapping: self.mapping,
        }
    }
}

impl Drop for Mappings {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; this was the last use.
        unsafe { bindings::path_put(&self.path) };
    }
}

/// A page of a device's registers, which user space may have.
#[derive(Clone, Copy, Debug)]
pub struct DevicePage(u64);

impl DevicePage {
    /// The page at a physical address.
    ///
    /// # Safety
    ///
    /// It must be registers of a device, or nobody's memory, which anyone may write until
    /// [`Mappings::unmap_all`] was called and no fault hands it out any more.
    pub const unsafe fn new(address: u64) -> Self {
        Self(address)
    }
}

/// An area of a process that is being mapped.
pub struct NewMapping<'a> {
    vma: NonNull<bindings::vm_area_struct>,
    operations: &'static bindings::vm_operations_struct,
    _lifetime: PhantomData<&'a bindings::vm_area_struct>,
}

impl NewMapping<'_> {
    /// The size in bytes.
    pub fn size(&self) -> usize {
        // SAFETY: The area is valid, and nobody else's during the call.
        unsafe { vdpa_bindings::vma_size(self.vma.as_ptr()) }
    }

    /// At which page of the file it begins.
    pub fn first_page(&self) -> usize {
        // SAFETY: As above.
        unsafe { (*self.vma.as_ptr()).vm_pgoff }
    }

    fn has(&self, flag: usize) -> bool {
        // SAFETY: As above.
        unsafe { vdpa_bindings::vma_flags(self.vma.as_ptr()) & flag != 0 }
    }

    /// Whether it is shared with others.
    pub fn is_shared(&self) -> bool {
        self.has(bindings::VM_SHARED)
    }

    /// Whether it is to be read.
    pub fn is_readable(&self) -> bool {
        self.has(bindings::VM_READ)
    }

    /// Makes it an area of device registers that can only be written. Its pages come from
    /// [`CharDevice::fault`].
    pub fn set_device(&self) {
        // SAFETY: As above.
        unsafe {
            vdpa_bindings::vma_set_device(self.vma.as_ptr());
            (*self.vma.as_ptr()).vm_ops = self.operations;
        }
    }
}

/// An access to a page of a mapped area that is not there.
pub struct DeviceFault<'a> {
    fault: NonNull<bindings::vm_fault>,
    _lifetime: PhantomData<&'a bindings::vm_fault>,
}

/// What came of an access.
pub struct FaultHandled(bindings::vm_fault_t);

impl DeviceFault<'_> {
    /// At which page of the file the area begins.
    pub fn first_page(&self) -> usize {
        // SAFETY: The fault is valid during the call, and has an area.
        unsafe { (*vdpa_bindings::vmf_vma(self.fault.as_ptr())).vm_pgoff }
    }

    /// Lets the process have this page.
    pub fn insert(self, page: DevicePage) -> FaultHandled {
        // SAFETY: As above; the area was made one of device registers, as only such areas have the
        // operations that lead here. By the promise made for `page`, the process may have it.
        FaultHandled(unsafe { vdpa_bindings::vmf_insert_address(self.fault.as_ptr(), page.0) })
    }

    /// There is none: the process gets `SIGBUS`.
    pub fn refuse(self) -> FaultHandled {
        FaultHandled(bindings::vm_fault_reason_VM_FAULT_SIGBUS)
    }
}

/// The file operations of a `T`.
pub(super) const fn table<T: CharDevice>() -> &'static bindings::file_operations {
    &Table::<T>::FILE
}

struct Table<T>(PhantomData<T>);

impl<T: CharDevice> Table<T> {
    const FILE: bindings::file_operations = bindings::file_operations {
        owner: this_module::<T::OwnerModule>().as_ptr(),
        open: Some(Self::open),
        release: Some(Self::release),
        unlocked_ioctl: Some(Self::ioctl),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: bindings::compat_ptr_ioctl,
        read_iter: if T::HAS_READ_ITER {
            Some(Self::read_iter)
        } else {
            None
        },
        write_iter: Some(Self::write_iter),
        poll: if T::HAS_POLL { Some(Self::poll) } else { None },
        mmap: Some(Self::mmap),
        ..pin_init::zeroed()
    };

    const AREA: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(Self::fault),
        ..pin_init::zeroed()
    };

    /// The open file.
    ///
    /// # Safety
    ///
    /// `file` must have been opened by `open` of this table, and stay open during `'a`.
    unsafe fn of<'a>(file: *mut bindings::file) -> ArcBorrow<'a, T::File> {
        // SAFETY: By the safety requirements; `open` stored the pointer of an `Arc`.
        unsafe { ArcBorrow::from_raw((*file).private_data.cast::<T::File>()) }
    }

    /// # Safety
    ///
    /// Called by the file system only, for a node with this table that is being opened.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            let node = unsafe { Node::<T>::of_inode(inode) };
            let opened = node.open(&OpenFile {
                file: NonNull::new(file).ok_or(ENODEV)?,
                _lifetime: PhantomData,
            })?;
            // SAFETY: `open` may store something there.
            unsafe { (*file).private_data = Arc::into_raw(opened).cast_mut().cast() };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the file system only, for an open file with this table which nobody uses any more.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the safety requirements; `open` stored the pointer of an `Arc`.
        T::release(unsafe { Arc::from_raw((*file).private_data.cast::<T::File>()) });
        0
    }

    /// # Safety
    ///
    /// Called by the file system only, for an open file with this table.
    unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
        // SAFETY: By the safety requirements.
        from_result(|| T::ioctl(unsafe { Self::of(file) }, cmd, arg))
    }

    /// # Safety
    ///
    /// Called by the file system only, for an open file with this table and a valid place to read to.
    unsafe extern "C" fn read_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the safety requirements.
        let (file, to) = unsafe { ((*kiocb).ki_filp, IovIterDest::from_raw(iter)) };
        // SAFETY: As above.
        let nonblocking = unsafe { vdpa_bindings::kiocb_nonblocking(kiocb) };
        // SAFETY: As above.
        length(T::read_iter(unsafe { Self::of(file) }, to, nonblocking))
    }

    /// # Safety
    ///
    /// As for `read_iter`, to write from.
    unsafe extern "C" fn write_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the safety requirements.
        let (file, from) = unsafe { ((*kiocb).ki_filp, IovIterSource::from_raw(iter)) };
        // SAFETY: As above.
        length(T::write_iter(unsafe { Self::of(file) }, from))
    }

    /// # Safety
    ///
    /// Called by the file system only, for an open file with this table.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: By the safety requirements.
        let (this, table) = unsafe { (File::from_raw_file(file), PollTable::from_raw(table)) };
        // SAFETY: As above.
        T::poll(unsafe { Self::of(file) }, this, table)
    }

    /// # Safety
    ///
    /// Called by the file system only, for an open file with this table and an area that is being set
    /// up.
    unsafe extern "C" fn mmap(
        file: *mut bindings::file,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        from_result(|| {
            let area = NewMapping {
                vma: NonNull::new(vma).ok_or(EINVAL)?,
                operations: &Self::AREA,
                _lifetime: PhantomData,
            };
            // SAFETY: By the safety requirements.
            T::mmap(unsafe { Self::of(file) }, &area)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the memory management only, for an area that `mmap` set up.
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the safety requirements; an area keeps its file open.
        let file = unsafe { (*vdpa_bindings::vmf_vma(vmf)).vm_file };
        let Some(fault) = NonNull::new(vmf) else {
            return bindings::vm_fault_reason_VM_FAULT_SIGBUS;
        };
        let fault = DeviceFault {
            fault,
            _lifetime: PhantomData,
        };
        // SAFETY: As above.
        T::fault(unsafe { Self::of(file) }, fault).0
    }
}

/// A length or an error, as C wants it.
fn length(result: Result<usize>) -> isize {
    match result {
        Ok(len) => isize::try_from(len).unwrap_or(isize::MAX),
        Err(error) => isize::try_from(error.to_errno()).unwrap_or(isize::MIN),
    }
}
