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
    /// How many pages are in the runs before it.
    before: u32,
    pages: u32,
}

impl Run {
    fn len(&self) -> usize {
        // CAST: `usize` has 32 bits at least.
        self.pages as usize
    }

    /// The descriptor of the page after the last one. It is only compared.
    fn end(&self) -> *mut bindings::page {
        self.first.wrapping_add(self.len())
    }

    /// Physical address and size in bytes.
    ///
    /// # Safety
    ///
    /// The pages must be valid.
    unsafe fn range(&self) -> (u64, u64) {
        // SAFETY: By the safety requirements.
        let address = unsafe { vdpa_bindings::page_to_phys_offset(self.first, 0) };
        // CAST: The size of a page has far less than 64 bits.
        (
            address,
            u64::from(self.pages).saturating_mul(PAGE_SIZE as u64),
        )
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

/// Room to look pages up. Who pins often keeps it: the kernel clears what it allocates.
pub struct Lookup(KVec<*mut bindings::page>);

// SAFETY: What it holds is of no meaning between calls.
unsafe impl Send for Lookup {}
// SAFETY: As above; nothing is done with a shared reference.
unsafe impl Sync for Lookup {}

impl Lookup {
    /// Fails with `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self(KVec::with_capacity(BATCH, GFP_KERNEL)?))
    }

    /// Pins pages of the current process from `address` on: at least one, at most `count`.
    ///
    /// Fails with `ENOMEM`, `EFAULT` or `EINVAL`, as C.
    fn pin(
        &mut self,
        address: usize,
        count: usize,
        writable: bool,
    ) -> Result<&[*mut bindings::page]> {
        let write = if writable { bindings::FOLL_WRITE } else { 0 };
        let count = count.min(self.0.capacity());
        // SAFETY: There is room for that many pointers.
        let pinned = unsafe {
            bindings::pin_user_pages_fast(
                address,
                c_int::try_from(count)?,
                bindings::FOLL_LONGTERM | write,
                self.0.as_mut_ptr(),
            )
        };
        kernel::error::to_result(pinned)?;
        let pinned = usize::try_from(pinned)?;
        if pinned == 0 || pinned > count {
            return Err(EFAULT);
        }
        // SAFETY: The function wrote as many.
        Ok(unsafe { core::slice::from_raw_parts(self.0.as_ptr(), pinned) })
    }
}

/// How many of the first pages, of which there is one, follow each other in physical memory.
fn run_length(pages: &[*mut bindings::page]) -> usize {
    const STEP: usize = 8;
    let [first, second, ..] = pages else {
        return pages.len();
    };
    // Where memory is in pieces, most end here.
    if *second != first.wrapping_add(1) {
        return 1;
    }
    let differs = |from: usize, pages: &[*mut bindings::page]| {
        let expected = first.wrapping_add(from);
        pages.iter().enumerate().fold(0, |bits, (n, page)| {
            bits | (page.addr() ^ expected.wrapping_add(n).addr())
        }) != 0
    };
    // Where it is not, one decision for several pages.
    let steps = pages
        .chunks_exact(STEP)
        .enumerate()
        .take_while(|(n, some)| !differs(n.wrapping_mul(STEP), some))
        .count();
    let sure = steps.wrapping_mul(STEP);
    let rest = pages.get(sure..).unwrap_or(&[]).iter().zip(sure..);
    rest.take_while(|(page, n)| **page == first.wrapping_add(*n))
        .count()
        .wrapping_add(sure)
}

impl PinnedPages {
    /// Pins as many pages of the current process as are in `charge`, from `address` on, which is
    /// rounded down. The lock of the process's address space is not held for longer than a batch of
    /// pages takes.
    ///
    /// Fails with `EPERM` if another process was charged, `ENOMEM` if memory is short, `EFAULT` if
    /// there is no such memory, `EINVAL` (also for 2^32 pages or more), or `EINTR` if the process is
    /// being killed.
    pub fn new(
        charge: Charge,
        address: usize,
        writable: bool,
        lookup: &mut Lookup,
    ) -> Result<Self> {
        if !crate::mm::is_current(&charge.mm) {
            return Err(EPERM);
        }
        let mut left = charge.pages;
        u32::try_from(left)?;
        let mut address = address & !(PAGE_SIZE - 1);
        let bytes = left.checked_mul(PAGE_SIZE).ok_or(EINVAL)?;
        address.checked_add(bytes).ok_or(EINVAL)?;
        // INVARIANT: Nothing is pinned yet.
        let mut pinned = Self {
            runs: KVVec::new(),
            writable,
            charge,
        };
        while left != 0 {
            // SAFETY: This may sleep.
            if unsafe { vdpa_bindings::rest_unless_killed() } {
                return Err(EINTR);
            }
            let pages = lookup.pin(address, left, writable)?;
            pinned.extend(pages, left)?;
            left = left.saturating_sub(pages.len());
            // Checked above for all of them.
            address = address.wrapping_add(pages.len().wrapping_mul(PAGE_SIZE));
        }
        Ok(pinned)
    }

    /// Takes pages over that were pinned, of `left` that are to come. Unpins those for which there is
    /// no memory.
    fn extend(&mut self, mut pages: &[*mut bindings::page], left: usize) -> Result {
        let mut left = left;
        while let [first, ..] = pages {
            let count = run_length(pages);
            match self.runs.last_mut() {
                Some(last) if last.end() == *first => {
                    // CAST: All pages have numbers of 32 bits.
                    last.pages = last.pages.saturating_add(count as u32);
                }
                _ => {
                    // CAST: As above.
                    let run = Run {
                        first: *first,
                        before: self.charge.pages.saturating_sub(left) as u32,
                        pages: count as u32,
                    };
                    let added = self
                        .make_room(left)
                        .and_then(|()| self.runs.push_within_capacity(run).map_err(|_| ENOMEM));
                    if let Err(error) = added {
                        for page in pages {
                            // SAFETY: It was pinned, and no run has it.
                            unsafe { unpin(*page, 1, false) };
                        }
                        return Err(error);
                    }
                }
            }
            left = left.saturating_sub(count);
            pages = pages.get(count..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// Makes room for a run: if there is none, for as many as it takes if the `left` pages are in
    /// pieces like those before, so that few are copied, but not for very many more.
    fn make_room(&mut self, left: usize) -> Result {
        let runs = self.runs.len();
        if runs < self.runs.capacity() {
            return Ok(());
        }
        let done = self.charge.pages.saturating_sub(left).max(1);
        let expected = left.saturating_mul(runs) / done;
        let more = expected.clamp(4, runs.saturating_mul(16).saturating_add(4));
        Ok(self.runs.reserve(more, GFP_KERNEL_ACCOUNT)?)
    }

    /// The number of pages.
    pub fn count(&self) -> usize {
        self.charge.pages
    }

    /// The number of runs.
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// The runs: physical address and size in bytes.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        // SAFETY: The pages are valid, as they are pinned.
        self.runs.iter().map(|run| unsafe { run.range() })
    }

    /// The place among the runs of that in which a page is.
    fn position(&self, page: usize) -> Option<usize> {
        let page = u32::try_from(page).ok()?;
        let at = self.runs.partition_point(|run| run.before <= page);
        let at = at.checked_sub(1)?;
        let run = self.runs.get(at)?;
        (page - run.before < run.pages).then_some(at)
    }

    /// The run in which a page is: how many pages are before it, physical address and size in bytes.
    pub fn run_of(&self, page: usize) -> Option<(usize, u64, u64)> {
        let run = self.runs.get(self.position(page)?)?;
        // SAFETY: The pages are valid, as they are pinned.
        let (address, size) = unsafe { run.range() };
        // CAST: `usize` has 32 bits at least.
        Some((run.before as usize, address, size))
    }

    /// Reads a number of 16 bits, `offset` bytes from the beginning on. Others may be writing it.
    ///
    /// Nothing if that is not in the pages, or not at an even place.
    pub fn read_word(&self, offset: usize) -> Option<u16> {
        if offset % size_of::<u16>() != 0 {
            return None;
        }
        let (before, address, _) = self.run_of(offset / PAGE_SIZE)?;
        let within = offset.checked_sub(before.checked_mul(PAGE_SIZE)?)?;
        let address = address.checked_add(u64::try_from(within).ok()?)?;
        // SAFETY: It is in a page that is pinned, which the kernel has mapped for itself, as those it
        // has not cannot be pinned. At an even place, it is in one page.
        let at = unsafe { vdpa_bindings::phys_to_virt(address) };
        // SAFETY: As above; any two bytes are a number.
        Some(unsafe { at.cast::<u16>().read_volatile() })
    }

    /// Takes all pages from `index` on out, as an object of their own.
    ///
    /// Fails with `EINVAL` if either part had no page, or `ENOMEM`; then nothing changes.
    pub fn split_off(&mut self, index: usize) -> Result<Self> {
        if index == 0 || index >= self.count() {
            return Err(EINVAL);
        }
        let at = self.position(index).ok_or(EINVAL)?;
        let rest = self.runs.get(at..).ok_or(EINVAL)?;
        let mut runs = KVVec::with_capacity(rest.len(), GFP_KERNEL_ACCOUNT)?;
        let index_here = u32::try_from(index)?;
        for run in rest {
            // Of the first run, this may keep a part.
            let kept = index_here.saturating_sub(run.before);
            // CAST: `usize` has 32 bits at least.
            let run = Run {
                first: run.first.wrapping_add(kept as usize),
                before: run.before.saturating_add(kept).saturating_sub(index_here),
                pages: run.pages.saturating_sub(kept),
            };
            runs.push(run, GFP_KERNEL_ACCOUNT)?;
        }
        let kept = match self.runs.get_mut(at) {
            Some(run) => {
                run.pages = index_here.saturating_sub(run.before);
                run.pages
            }
            None => 0,
        };
        self.runs
            .truncate(if kept == 0 { at } else { at.saturating_add(1) });
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
        for runs in self.runs.chunks(BATCH) {
            for run in runs {
                // SAFETY: By the type invariants; the device has no access any more.
                unsafe { unpin(run.first, run.len(), self.writable) };
            }
            // SAFETY: To unpin may sleep, too.
            unsafe { vdpa_bindings::rest_unless_killed() };
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
