// SPDX-License-Identifier: GPL-2.0

//! The memory of processes: kernel threads that work in it, and whose it is.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use core::{
    cell::RefCell,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    current,
    mm::{
        virt::VmaRef,
        Mm,
        MmWithUser, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef,
    types::NotThreadSafe, //
};

/// The process whose memory a kernel thread sees as user memory, if any.
///
/// # Invariants
///
/// - The value stays in the kernel thread in which it was made.
/// - If `active` holds a memory, the thread uses it, and this value made it do so.
pub struct MmSwitch {
    active: RefCell<Option<ARef<MmWithUser>>>,
    _not_send: NotThreadSafe,
}

impl MmSwitch {
    /// For the current thread. Fails with `EINVAL` if that is not a kernel thread, or one that uses
    /// the memory of a process already.
    pub fn new() -> Result<Self> {
        if !is_idle_kthread() {
            return Err(EINVAL);
        }
        // INVARIANT: Nothing is active. The value cannot leave the thread.
        Ok(Self {
            active: RefCell::new(None),
            _not_send: NotThreadSafe,
        })
    }

    /// From now on, user addresses are those of `mm`. Does nothing if they are already.
    ///
    /// Fails with `EBUSY` if somebody else made the thread use another memory.
    #[inline]
    pub fn activate(&self, mm: &ARef<MmWithUser>) -> Result {
        let Ok(mut active) = self.active.try_borrow_mut() else {
            return Err(EBUSY);
        };
        if active
            .as_ref()
            .is_some_and(|old| core::ptr::eq(&raw const **old, &raw const **mm))
        {
            return Ok(());
        }
        if let Some(old) = active.take() {
            // SAFETY: By the type invariants the thread uses it.
            unsafe { bindings::kthread_unuse_mm(old.as_raw()) };
        }
        // There may be a second value for this thread.
        if !is_idle_kthread() {
            return Err(EBUSY);
        }
        // INVARIANT: The thread uses it from now on.
        // SAFETY: This is a kernel thread, which uses no memory now; the reference keeps the memory
        // as long as it is used.
        unsafe { bindings::kthread_use_mm(mm.as_raw()) };
        *active = Some(mm.clone());
        Ok(())
    }
}

/// Whether this is a kernel thread that uses no memory.
fn is_idle_kthread() -> bool {
    // SAFETY: No requirements.
    unsafe { vdpa_bindings::is_idle_kthread() }
}

impl Drop for MmSwitch {
    fn drop(&mut self) {
        if let Some(old) = self.active.get_mut().take() {
            // SAFETY: By the type invariants the thread uses it.
            unsafe { bindings::kthread_unuse_mm(old.as_raw()) };
        }
    }
}

/// Whether `mm` is the memory of the current process.
pub fn is_current(mm: &Mm) -> bool {
    current!()
        .mm()
        .is_some_and(|current| current.as_raw() == mm.as_raw())
}

/// A reference to an open file.
///
/// # Invariants
///
/// Owns a reference to a valid file.
pub struct FileRef(NonNull<bindings::file>);

// SAFETY: Files may be used, and closed, by any thread.
unsafe impl Send for FileRef {}
// SAFETY: As above.
unsafe impl Sync for FileRef {}

impl FileRef {
    /// The file that is mapped in an area, and the offset in it where the area begins.
    pub fn of_area(area: &VmaRef) -> Option<(Self, u64)> {
        // SAFETY: The area is valid, and locked against changes while it is borrowed.
        let (file, page) = unsafe { ((*area.as_ptr()).vm_file, (*area.as_ptr()).vm_pgoff) };
        let file = NonNull::new(file)?;
        // SAFETY: An area keeps its file.
        unsafe { bindings::get_file(file.as_ptr()) };
        // CAST: A number of pages has 64 bits at most.
        let offset = (page as u64).wrapping_mul(PAGE_SIZE as u64);
        // INVARIANT: We just took a reference.
        Some((Self(file), offset))
    }

    /// The C structure.
    pub fn as_raw(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }
}

impl Clone for FileRef {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariants.
        unsafe { bindings::get_file(self.0.as_ptr()) };
        // INVARIANT: We just took a reference.
        Self(self.0)
    }
}

impl Drop for FileRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; this was the last use.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}
