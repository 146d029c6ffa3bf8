// SPDX-License-Identifier: GPL-2.0

//! The kernel's log.
//!
//! C header: [`include/linux/printk.h`](srctree/include/linux/printk.h)

/// Whether a message may be printed that others can cause: only so many in a time, of all callers
/// in the kernel. Any context.
pub fn may_print() -> bool {
    // SAFETY: No requirements.
    unsafe { vdpa_bindings::printk_ratelimit() }
}
