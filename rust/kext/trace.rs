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
/// As `kernel::tracepoint::declare_trace!`, which knows the kernel's own tracepoints only. While the
/// tracepoint is off a call costs a patched-out jump and its arguments.
///
/// A tracepoint must take each `const char *` as a string that is only valid during the call.
#[macro_export]
macro_rules! tracepoints {
    (use $bindings:ident; $(
        $(#[$meta:meta])*
        $pub:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?);
    )*) => {$(
        $(#[$meta])*
        #[inline(always)]
        $pub fn $name($($arg: $ty),*) {
            ::kernel::macros::paste! {
                // SAFETY: The key of a tracepoint may always be queried.
                let enabled = unsafe {
                    ::kernel::jump_label::static_branch_unlikely!(
                        $bindings::[< __tracepoint_ $name >],
                        ::kernel::bindings::tracepoint,
                        key
                    )
                };
                if enabled {
                    // SAFETY: The arguments are valid during the call, which only reads them.
                    unsafe {
                        $bindings::[< rust_do_trace_ $name >](
                            $($crate::trace::Argument::raw($arg)),*
                        )
                    };
                }
            }
        }
    )*};
}
pub use tracepoints;
