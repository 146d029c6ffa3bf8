// SPDX-License-Identifier: GPL-2.0

//! Statistics of virtqueues, which a parent writes into a netlink message.

use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*, //
};
use vdpa_bindings as bindings;

/// Takes the statistics of a virtqueue as pairs of a name and a number.
///
/// # Invariants
///
/// `message` is a message to which attributes may be added during `'a`; `extack` is valid during
/// `'a`, or null.
pub struct StatsWriter<'a> {
    message: *mut bindings::sk_buff,
    extack: *mut bindings::netlink_ext_ack,
    _message: PhantomData<&'a mut bindings::sk_buff>,
}

impl StatsWriter<'_> {
    /// # Safety
    ///
    /// The arguments must fulfil the type invariants.
    pub(crate) unsafe fn from_raw(
        message: *mut bindings::sk_buff,
        extack: *mut bindings::netlink_ext_ack,
    ) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            message,
            extack,
            _message: PhantomData,
        }
    }

    /// Adds a pair. Fails with `EMSGSIZE` when the message is full; then the operation should fail
    /// with that too.
    pub fn put(&mut self, name: &CStr, value: u64) -> Result {
        let name = name.to_bytes_with_nul();
        let len = c_int::try_from(name.len()).map_err(|_| EMSGSIZE)?;
        let value = value.to_ne_bytes();
        let value_len = c_int::try_from(value.len())?;
        // SAFETY: By the type invariants; the bytes are copied.
        to_result(unsafe {
            bindings::nla_put(self.message, Self::NAME, len, name.as_ptr().cast())
        })?;
        // SAFETY: As above.
        to_result(unsafe {
            bindings::nla_put_64bit(
                self.message,
                Self::VALUE,
                value_len,
                value.as_ptr().cast(),
                Self::PAD,
            )
        })
    }

    /// A text that user space gets with an error of the operation. It is cut off at 79 bytes.
    pub fn set_error_text(&mut self, text: &CStr) {
        if self.extack.is_null() {
            return;
        }
        // SAFETY: By the type invariants. The text is copied, as the module might be gone before it
        // is sent.
        unsafe {
            let buf = &raw mut (*self.extack)._msg_buf;
            bindings::sized_strscpy(buf.cast(), text.as_char_ptr(), size_of_val(&*buf));
            (*self.extack)._msg = buf.cast_const().cast();
        }
    }

    const NAME: c_int = attribute(bindings::vdpa_attr_VDPA_ATTR_DEV_VENDOR_ATTR_NAME);
    const VALUE: c_int = attribute(bindings::vdpa_attr_VDPA_ATTR_DEV_VENDOR_ATTR_VALUE);
    const PAD: c_int = attribute(bindings::vdpa_attr_VDPA_ATTR_PAD);
}

const fn attribute(number: bindings::vdpa_attr) -> c_int {
    c_int::from_ne_bytes(number.to_ne_bytes())
}
