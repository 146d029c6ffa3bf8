// SPDX-License-Identifier: GPL-2.0

//! Functions that C calls by name.

/// Defines functions that a C header declares, and checks at compile time that the signatures are
/// the same.
///
/// As the kernel's `#[export]`, which knows the headers of `kernel::bindings` only. The symbol
/// still has to be exported to modules, by `EXPORT_SYMBOL_GPL()` in a C file that includes the
/// header.
#[macro_export]
macro_rules! c_export {
    (use $bindings:ident; $(
        $(#[$meta:meta])*
        unsafe extern "C" fn $name:ident $args:tt $(-> $ret:ty)? $body:block
    )*) => {$(
        const _: () = {
            // Both branches of an `if` have one type.
            if true {
                $bindings::$name
            } else {
                $name
            };
        };

        $(#[$meta])*
        #[no_mangle]
        unsafe extern "C" fn $name $args $(-> $ret)? $body
    )*};
}
pub use c_export;
