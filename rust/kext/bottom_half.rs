// SPDX-License-Identifier: GPL-2.0

//! Bottom halves: soft interrupts on the current CPU.
//!
//! C header: [`include/linux/bottom_half.h`](srctree/include/linux/bottom_half.h)

use kernel::types::NotThreadSafe;

/// Bottom halves are disabled as long as this is there.
///
/// # Invariants
///
/// `disabled` says whether they were enabled before and are disabled by this. The value stays with
/// the task that made it, in its stack frame.
pub struct BottomHalves {
    disabled: bool,
    _not_send: NotThreadSafe,
}

impl BottomHalves {
    /// Any context. Where they cannot run anyway, this does nothing.
    #[inline]
    pub fn disable() -> Self {
        // INVARIANT: As the function says.
        Self {
            // SAFETY: No requirements.
            disabled: unsafe { vdpa_bindings::local_bh_try_disable() },
            _not_send: NotThreadSafe,
        }
    }

    /// As [`disable`](Self::disable), but not in a hard interrupt, nor with interrupts disabled:
    /// where what takes long is not welcome.
    #[inline]
    pub fn disable_outside_interrupts() -> Option<Self> {
        // SAFETY: No requirements.
        if unsafe { vdpa_bindings::in_atomic_hardirq() } {
            None
        } else {
            Some(Self::disable())
        }
    }
}

impl Drop for BottomHalves {
    #[inline]
    fn drop(&mut self) {
        if self.disabled {
            // SAFETY: By the type invariants they were disabled here, with interrupts enabled.
            unsafe { vdpa_bindings::local_bh_enable() };
        }
    }
}
