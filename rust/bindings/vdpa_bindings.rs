// SPDX-License-Identifier: GPL-2.0

//! Bindings to the vDPA, virtio and vhost headers.
//!
//! What the kernel crate binds already is re-exported from it, so that `bindings::device` of this
//! crate *is* `kernel::bindings::device`.

#![allow(
    clippy::all,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
#![allow(
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks
)]

mod raw {
    use kernel::ffi;
    use pin_init::{MaybeZeroable, Zeroable};

    // Items of this module take precedence over the glob imports.
    pub use super::helpers::*;
    pub use kernel::bindings::*;

    // SAFETY: `__BindgenBitfieldUnit<Storage>` is a newtype around `Storage`.
    unsafe impl<Storage> Zeroable for __BindgenBitfieldUnit<Storage> where Storage: Zeroable {}

    include!(concat!(
        env!("RVDPA_OBJ"),
        "/rust/bindings/vdpa_bindings_generated.rs"
    ));
}

mod helpers {
    use super::raw::*;
    use kernel::ffi;

    include!(concat!(
        env!("RVDPA_OBJ"),
        "/rust/bindings/vdpa_bindings_helpers_generated.rs"
    ));
}

mod layout;

pub use raw::*;
