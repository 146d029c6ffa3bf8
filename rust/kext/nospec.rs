// SPDX-License-Identifier: GPL-2.0

//! Indices from user space, safe from speculation.
//!
//! A branch that checks an index can be predicted wrongly, and what then is loaded leaves traces in
//! the caches.
//!
//! C header: [`include/linux/nospec.h`](srctree/include/linux/nospec.h)

/// `index` if it is below `size`, also where the CPU only speculates that it is: then it is 0.
#[inline]
pub fn checked_index(index: usize, size: usize) -> Option<usize> {
    if index < size {
        // SAFETY: No requirements.
        Some(unsafe { vdpa_bindings::index_nospec(index, size) })
    } else {
        None
    }
}
