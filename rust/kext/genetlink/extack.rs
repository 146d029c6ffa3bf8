// SPDX-License-Identifier: GPL-2.0

//! Extended acknowledgements: the text and the hints that accompany an error.
//!
//! C header: [`include/linux/netlink.h`](srctree/include/linux/netlink.h)

use core::{
    marker::PhantomData,
    ptr, //
};

use kernel::{
    bindings,
    fmt,
    prelude::*, //
};

use super::Attr;

/// The size of the buffer for a formatted text, with its NUL.
const MAX_FMT_LEN: usize = bindings::NETLINK_MAX_FMTMSG_LEN as usize;

/// What user space is told besides an error number, `struct netlink_ext_ack`.
///
/// C passes a null pointer where nobody listens; then everything here does nothing. A text may
/// also accompany success, as a warning. The last of several texts counts.
///
/// Modules use [`extack_msg!`] and [`extack_fmt!`], which put the module's name in front.
///
/// [`extack_msg!`]: crate::extack_msg
/// [`extack_fmt!`]: crate::extack_fmt
///
/// # Invariants
///
/// The pointer is null, or valid for reads and writes for `'a`, from this thread.
#[derive(Clone, Copy)]
pub struct ExtAck<'a> {
    ptr: *mut bindings::netlink_ext_ack,
    _extack: PhantomData<&'a bindings::netlink_ext_ack>,
}

impl<'a> ExtAck<'a> {
    /// Takes over an extended acknowledgement of C.
    ///
    /// # Safety
    ///
    /// `ptr` must be null, or valid for reads and writes for `'a`. Until C has evaluated the
    /// structure, the module of the caller must not be unloaded; C guarantees that for what it
    /// passes to a callback.
    #[inline]
    pub const unsafe fn from_raw(ptr: *mut bindings::netlink_ext_ack) -> Self {
        // INVARIANT: By the safety requirements. As the type is neither `Send` nor `Sync`, it
        // stays in this thread.
        Self {
            ptr,
            _extack: PhantomData,
        }
    }

    /// Returns one that ignores everything.
    #[inline]
    pub const fn none() -> Self {
        // INVARIANT: The pointer is null.
        Self {
            ptr: ptr::null_mut(),
            _extack: PhantomData,
        }
    }

    /// Returns the pointer to pass to a C callback. It may be null, and is valid for `'a`.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::netlink_ext_ack {
        self.ptr
    }

    /// Sets a text, as it is (`NL_SET_ERR_MSG()`).
    pub fn set_msg(&self, text: &'static CStr) {
        // SAFETY: The text is a C string, read during the call.
        unsafe { bindings::do_trace_netlink_extack(text.as_char_ptr()) };
        if !self.ptr.is_null() {
            // SAFETY: The pointer is valid by the type invariants. The text is static, and C reads
            // it before the module that it may belong to can be unloaded (see `from_raw()`).
            unsafe { (*self.ptr)._msg = text.as_char_ptr() };
        }
    }

    /// Sets a formatted text (`NL_SET_ERR_MSG_FMT()`).
    ///
    /// It is cut to 79 bytes, and the whole is logged then, at a limited rate.
    pub fn set_fmt(&self, args: fmt::Arguments<'_>) {
        if self.ptr.is_null() {
            return;
        }
        // SAFETY: The pointer is valid by the type invariants.
        let text = unsafe { &raw mut (*self.ptr)._msg_buf }.cast::<c_char>();
        // SAFETY: The buffer is valid for writes of its length, which is passed. `%pA` takes a
        // pointer to `fmt::Arguments`, valid during the call. The result ends with a NUL.
        let len = unsafe {
            bindings::snprintf(
                text,
                MAX_FMT_LEN,
                c"%pA".as_char_ptr(),
                ptr::from_ref(&args).cast::<c_void>(),
            )
        };
        if usize::try_from(len).map_or(true, |len| len >= MAX_FMT_LEN) {
            warn_truncated(args);
        }
        // SAFETY: `text` is a C string in the structure, which is valid by the type invariants.
        unsafe {
            bindings::do_trace_netlink_extack(text);
            (*self.ptr)._msg = text;
        }
    }

    /// Points at the attribute that is to blame (`NL_SET_BAD_ATTR()`).
    #[inline]
    pub fn set_bad_attr(&self, attr: Attr<'a>) {
        if !self.ptr.is_null() {
            // SAFETY: The pointer is valid by the type invariants. C only computes the offset of
            // the attribute in the message, after it checked that it is inside.
            unsafe {
                (*self.ptr).bad_attr = attr.as_raw();
                (*self.ptr).policy = ptr::null();
            }
        }
    }

    /// Names a missing attribute of the top level (`NL_SET_ERR_ATTR_MISS()`).
    #[inline]
    pub fn set_missing_attr(&self, attr: u16) {
        if !self.ptr.is_null() {
            // SAFETY: The pointer is valid by the type invariants.
            unsafe {
                (*self.ptr).miss_nest = ptr::null();
                (*self.ptr).miss_type = attr;
            }
        }
    }
}

/// Logs a text that did not fit.
fn warn_truncated(args: fmt::Arguments<'_>) {
    // SAFETY: No requirements.
    if unsafe { bindings::net_ratelimit() } == 0 {
        return;
    }
    #[cfg(CONFIG_PRINTK)]
    // SAFETY: The format is a C string, in which `%pA` takes a pointer to `fmt::Arguments`, valid
    // during the call.
    unsafe {
        bindings::_printk(
            c"\x014truncated extack: %pA\n".as_char_ptr(),
            ptr::from_ref(&args).cast::<c_void>(),
        );
    }
    #[cfg(not(CONFIG_PRINTK))]
    let _ = args;
}

/// Puts a module's name in front of a text, for [`extack_msg!`](crate::extack_msg).
///
/// To be used in const context: panics if `N` is not the length of the result.
#[doc(hidden)]
pub const fn module_text<const N: usize>(module: &CStr, text: &str) -> [u8; N] {
    let (module, text) = (module.to_bytes(), text.as_bytes());
    let mut out = [0; N];
    if N != module.len() + 2 + text.len() + 1 {
        panic!("wrong length");
    }
    let mut i = 0;
    while i < module.len() {
        out[i] = module[i];
        i += 1;
    }
    out[i] = b':';
    out[i + 1] = b' ';
    let start = i + 2;
    i = 0;
    while i < text.len() {
        out[start + i] = text[i];
        i += 1;
    }
    out
}

/// Sets a constant text in an [`ExtAck`], after the module's name (`NL_SET_ERR_MSG_MOD()`).
///
/// To be used in a crate with a `module!`. The text is put together at compile time.
///
/// # Examples
///
/// ```ignore
/// extack_msg!(req.extack(), "device not found");
/// ```
///
/// [`ExtAck`]: crate::genetlink::ExtAck
#[macro_export]
#[expect(clippy::crate_in_macro_def)]
macro_rules! extack_msg {
    ($extack:expr, $text:expr $(,)?) => {{
        const NAME: &::core::ffi::CStr = <crate::LocalModule as ::kernel::ModuleMetadata>::NAME;
        const LEN: usize = NAME.to_bytes().len() + 2 + $text.len() + 1;
        const BYTES: &[u8; LEN] = &$crate::genetlink::module_text::<LEN>(NAME, $text);
        const TEXT: &::core::ffi::CStr = match ::core::ffi::CStr::from_bytes_with_nul(BYTES) {
            Ok(text) => text,
            Err(_) => panic!("a NUL in the text"),
        };
        $crate::genetlink::ExtAck::set_msg(&$extack, TEXT)
    }};
}

/// Sets a formatted text in an [`ExtAck`], after the module's name (`NL_SET_ERR_MSG_FMT_MOD()`).
///
/// To be used in a crate with a `module!`. 79 bytes fit, with the name.
///
/// # Examples
///
/// ```ignore
/// extack_fmt!(req.extack(), "unsupported features 0x{features:x}");
/// ```
///
/// [`ExtAck`]: crate::genetlink::ExtAck
#[macro_export]
#[expect(clippy::crate_in_macro_def)]
macro_rules! extack_fmt {
    ($extack:expr, $($arg:tt)+) => {
        $crate::genetlink::ExtAck::set_fmt(
            &$extack,
            ::kernel::prelude::fmt!(
                "{}: {}",
                <crate::LocalModule as ::kernel::ModuleMetadata>::NAME,
                ::kernel::prelude::fmt!($($arg)+)
            ),
        )
    };
}

#[kunit_tests(rust_genetlink_extack)]
mod tests {
    use super::*;

    fn text(raw: &bindings::netlink_ext_ack) -> &[u8] {
        // SAFETY: The tests set a text before.
        unsafe { CStr::from_char_ptr(raw._msg) }.to_bytes()
    }

    #[test]
    fn null_is_ignored() {
        let extack = ExtAck::none();
        extack.set_msg(c"nobody listens");
        extack.set_fmt(fmt!("{}", 1));
        extack.set_missing_attr(1);
        assert!(extack.as_raw().is_null());
    }

    #[test]
    fn formatted_texts_are_cut_as_in_c() {
        let mut raw = bindings::netlink_ext_ack::default();
        // SAFETY: `raw` outlives the use.
        let extack = unsafe { ExtAck::from_raw(&mut raw) };
        extack.set_fmt(fmt!("bits 0x{:x}", 0x2au64));
        assert_eq!(text(&raw), b"bits 0x2a");
        // 79 bytes fit.
        extack.set_fmt(fmt!("{:>79}", "x"));
        assert_eq!(text(&raw).len(), 79);
        assert_eq!(text(&raw).last(), Some(&b'x'));
        extack.set_fmt(fmt!("{:>80}", "x"));
        assert_eq!(text(&raw).len(), 79);
        assert_eq!(text(&raw).last(), Some(&b' '));
    }

    #[test]
    fn the_module_name_comes_first() {
        const TEXT: [u8; 10] = module_text(c"mod", "text");
        assert_eq!(&TEXT, b"mod: text\0");
    }
}
