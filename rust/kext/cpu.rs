// SPDX-License-Identifier: GPL-2.0

//! CPUs.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use kernel::cpumask::Cpumask;

/// The number of the first CPU of a mask; no CPU's number if it is empty.
pub fn first(mask: &Cpumask) -> u32 {
    // SAFETY: The mask is valid.
    unsafe { vdpa_bindings::cpumask_first(mask.as_raw()) }
}
