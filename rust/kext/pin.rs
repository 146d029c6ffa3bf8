// SPDX-License-Identifier: GPL-2.0

//! Pages of a process, kept where they are for a device.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use kernel::{
    bindings,
    mm::Mm,
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef, //
};

// Pages that follow each other in physical memory have descriptors that do.
#[cfg(not(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM)))]
compile_error!("runs of pages are found by their descriptors");

/// Pages that follow each other in physical memory.
#[derive(Clone, Copy)]
struct Run {
    first: *mut bindings::page,
    pages: usize,
}

impl Run {
    /// The descriptor of the page after the last one. It is only compared.
    fn end(&self) -> *mut bindings::page {
        self.first.wrapping_add(self.pages)
    }
}

/// How much of the locked memory of a process is ours; given back by `Drop`.
///
/// # Invariants
///
/// `pages` are counted in `pinned_vm` of `mm`.
pub struct Charge {
    mm: ARef<Mm>,
    pages: usize,
}

impl Charge {
    /// To be done before anything is pinned, so that two who do so at once cannot both go over the
    /// limit.
    ///
    /// Fails with `ENOMEM` if the current process may not lock that many more (`RLIMIT_MEMLOCK`).
    pub fn new(mm: &ARef<Mm>, pages: usize) -> Result<Self> {
        // SAFETY: The memory is valid.
        if !unsafe { vdpa_bindings::charge_pinned(mm.as_raw(), pages) } {
            return Err(ENOMEM);
        }
        // INVARIANT: They were just counted.
        Ok(Self {
            mm: mm.clone(),
            pages,
        })
    }

    /// Takes some of the pages out.
    fn split_off(&mut self, pages: usize) -> Self {
        let pages = pages.min(self.pages);
        // INVARIANT: The sum stays.
        self.pages -= pages;
        Self {
            mm: self.mm.clone(),
            pages,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { vdpa_bindings::uncharge_pinned(self.mm.as_raw(), self.pages) };
    }
}

/// Consecutive pages of a process, pinned for a device until this is dropped.
///
/// # Invariants
///
/// All pages of all runs are pinned once, for writing if `writable`.
pub struct PinnedPages {
    runs: KVVec<Run>,
    writable: bool,
    charge: Charge,
}

// SAFETY: Pages can be unpinned by any thread.
unsafe impl Send for PinnedPages {}
// SAFETY: Nothing is changed by a shared reference.
unsafe impl Sync for PinnedPages {}

/// How many pages are looked up at once: as many as a page has pointers.
const BATCH: usize = PAGE_SIZE / size_of::<*mut bindings::page>();

impl PinnedPages {
    /// Pins as many pages of the current process as are in `charge`, from `address` on, which is
    /// rounded down. The lock of the process's address space is not held for longer than a batch of
    /// pages takes.
    ///
    /// Fails with `EPERM` if another process was charged, `ENOMEM` if memory is short, `EFAULT` if
    /// there is no such memory, or `EINVAL`.
    pub fn new(charge: Charge, address: usize, writable: bool) -> Result<Self> {
        if !crate::mm::is_current(&charge.mm) {
            return Err(EPERM);
        }
        let count = charge.pages;
        let mut address = address & !(PAGE_SIZE - 1);
        let bytes = count.checked_mul(PAGE_SIZE).ok_or(EINVAL)?;
        address.checked_add(bytes).ok_or(EINVAL)?;
        // INVARIANT: Nothing is pinned yet.
        let mut pinned = Self {
            runs: KVVec::new(),
            writable,
            charge,
        };
        let mut batch: KVec<*mut bindings::page> = KVec::with_capacity(BATCH, GFP_KERNEL)?;
        let write = if writable { bindings::FOLL_WRITE } else { 0 };
        let mut left = count;
        while left != 0 {
            let wanted = left.min(BATCH);
            // SAFETY: The vector has room for that many pointers.
            let got = unsafe {
                bindings::pin_user_pages_fast(
                    address,
                    c_int::try_from(wanted)?,
                    bindings::FOLL_LONGTERM | write,
                    batch.as_mut_ptr(),
                )
            };
            kernel::error::to_result(got)?;
            let got = usize::try_from(got)?;
            if got == 0 || got > wanted {
                return Err(EFAULT);
            }
            // SAFETY: The function wrote as many.
            let pages = unsafe { core::slice::from_raw_parts(batch.as_ptr(), got) };
            pinned.extend(pages)?;
            left -= got;
            // Checked above for all of them.
            address = address.wrapping_add(got.wrapping_mul(PAGE_SIZE));
        }
        Ok(pinned)
    }

    /// Takes pages over that were pinned. Unpins those for which there is no memory.
    fn extend(&mut self, mut pages: &[*mut bindings::page]) -> Result {
        while let [first, rest @ ..] = pages {
            let run = first.wrapping_add(1);
            let more = rest
                .iter()
                .enumerate()
                .take_while(|(n, page)| **page == run.wrapping_add(*n))
                .count();
            let count = more.saturating_add(1);
            match self.runs.last_mut() {
                Some(last) if last.end() == *first => {
                    last.pages = last.pages.saturating_add(count);
                }
                _ => {
                    let run = Run {
                        first: *first,
                        pages: count,
                    };
                    if let Err(error) = self.runs.push(run, GFP_KERNEL_ACCOUNT) {
                        for page in pages {
                            // SAFETY: It was pinned, and no run has it.
                            unsafe { unpin(*page, 1, false) };
                        }
                        return Err(error.into());
                    }
                }
            }
            pages = rest.get(more..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// The number of pages.
    pub fn count(&self) -> usize {
        self.charge.pages
    }

    /// The runs: physical address and size in bytes.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|run| {
            // SAFETY: The pages are valid, as they are pinned.
            let address = unsafe { vdpa_bindings::page_to_phys_offset(run.first, 0) };
            // CAST: `usize` has 64 bits at most.
            (address, (run.pages as u64).saturating_mul(PAGE_SIZE as u64))
        })
    }

    /// Takes all pages from `index` on out, as an object of their own.
    ///
    /// Fails with `EINVAL` if either part had no page, or `ENOMEM`; then nothing changes.
    pub fn split_off(&mut self, index: usize) -> Result<Self> {
        if index == 0 || index >= self.count() {
            return Err(EINVAL);
        }
        let (mut at, mut before) = (0, 0usize);
        while let Some(run) = self.runs.get(at) {
            let end = before.saturating_add(run.pages);
            if end > index {
                break;
            }
            before = end;
            at = at.saturating_add(1);
        }
        let rest = self.runs.get(at..).ok_or(EINVAL)?;
        let mut runs = KVVec::with_capacity(rest.len(), GFP_KERNEL_ACCOUNT)?;
        for run in rest {
            runs.push(*run, GFP_KERNEL_ACCOUNT)?;
        }
        // Of the first run, this may keep a part.
        let keep = index.saturating_sub(before);
        if let Some(first) = runs.first_mut() {
            first.first = first.first.wrapping_add(keep);
            first.pages = first.pages.saturating_sub(keep);
        }
        if let Some(run) = self.runs.get_mut(at) {
            run.pages = keep;
        }
        self.runs
            .truncate(if keep == 0 { at } else { at.saturating_add(1) });
        let pages = self.count().saturating_sub(index);
        // INVARIANT: Each page is in one of both.
        Ok(Self {
            runs,
            writable: self.writable,
            charge: self.charge.split_off(pages),
        })
    }
}

impl Drop for PinnedPages {
    fn drop(&mut self) {
        for run in &self.runs {
            // SAFETY: By the type invariants; the device has no access any more.
            unsafe { unpin(run.first, run.pages, self.writable) };
        }
    }
}

/// # Safety
///
/// The pages must be pinned, and not be used afterwards.
unsafe fn unpin(first: *mut bindings::page, pages: usize, dirty: bool) {
    // SAFETY: By the safety requirements.
    unsafe { bindings::unpin_user_page_range_dirty_lock(first, pages, dirty) };
}
