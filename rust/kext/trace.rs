// SPDX-License-Identifier: GPL-2.0

//! Tracepoints of a module.

use kernel::prelude::*;

/// An argument of a tracepoint.
pub trait Argument {
    /// What C takes it as.
    type Raw;

    /// The argument for C, valid during the call.
    fn raw(self) -> Self::Raw;
}

impl Argument for &CStr {
    type Raw = *const c_char;

    fn raw(self) -> Self::Raw {
        self.as_char_ptr()
    }
}

macro_rules! plain_arguments {
    ($($ty:ty)*) => {$(
        impl Argument for $ty {
            type Raw = $ty;

            fn raw(self) -> Self::Raw {
                self
            }
        }
    )*};
}
plain_arguments!(bool u8 u16 u32 u64 i32 i64);

/// Declares functions for tracepoints that the bindings crate `$bindings` knows.
///
/// As `kernel::tracepoint::declare_trace!`, which knows the kernel's own tracepoints only; and the
/// question whether one is on (`NAME_enabled()`, a patched-out jump while it is off) is separate from
/// the call, so that making the arguments costs nothing then.
///
/// A tracepoint must take each `const char *` as a string that is only valid during the call.
#[macro_export]
macro_rules! tracepoints {
    (use $bindings:ident; $(
        $(#[$meta:meta])*
        $pub:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?);
    )*) => {$(::kernel::macros::paste! {
        /// Whether somebody listens, so that the arguments are worth making.
        #[inline(always)]
        $pub fn [< $name _enabled >]() -> bool {
            // SAFETY: The key of a tracepoint may always be queried.
            unsafe {
                ::kernel::jump_label::static_branch_unlikely!(
                    $bindings::[< __tracepoint_ $name >],
                    ::kernel::bindings::tracepoint,
                    key
                )
            }
        }

        $(#[$meta])*
        #[inline]
        $pub fn $name($($arg: $ty),*) {
            // SAFETY: The arguments are valid during the call, which only reads them.
            unsafe {
                $bindings::[< rust_do_trace_ $name >]($($crate::trace::Argument::raw($arg)),*)
            };
        }
    })*};
}
pub use tracepoints;
