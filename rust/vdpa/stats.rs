// SPDX-License-Identifier: GPL-2.0

//! Statistics of virtqueues, which a parent writes into a netlink message.

use core::ptr::NonNull;
use kernel::prelude::*;
use kext::genetlink::{
    AttrWriter,
    ExtAck, //
};
use vdpa_bindings as bindings;

/// Takes the statistics of a virtqueue as pairs of a name and a number.
pub struct StatsWriter<'a> {
    record: AttrWriter<'a>,
    extack: ExtAck<'a>,
}

impl StatsWriter<'_> {
    /// # Safety
    ///
    /// During the lifetime of the result, `message` must be a linear message with a record in the
    /// making that nobody else uses, and `extack` valid and used by this thread only, or null.
    pub(crate) unsafe fn from_raw(
        message: NonNull<bindings::sk_buff>,
        extack: *mut bindings::netlink_ext_ack,
    ) -> Self {
        // SAFETY: By the safety requirements. The text of an error is copied, so it does not matter
        // whose module it is in.
        unsafe {
            Self {
                record: AttrWriter::from_raw(message),
                extack: ExtAck::from_raw(extack),
            }
        }
    }

    /// Adds a pair. Fails with `EMSGSIZE` when the message is full; then the operation should fail
    /// with that too.
    pub fn put(&mut self, name: &CStr, value: u64) -> Result {
        self.record.put_string(Self::NAME, name)?;
        self.record.put_u64(Self::VALUE, value, Self::PAD)
    }

    /// A text that user space gets with an error of the operation. It is cut off at 79 bytes.
    pub fn set_error_text(&mut self, text: &CStr) {
        self.extack.set_fmt(fmt!("{text}"));
    }

    const NAME: u16 = attribute(bindings::vdpa_attr_VDPA_ATTR_DEV_VENDOR_ATTR_NAME);
    const VALUE: u16 = attribute(bindings::vdpa_attr_VDPA_ATTR_DEV_VENDOR_ATTR_VALUE);
    const PAD: u16 = attribute(bindings::vdpa_attr_VDPA_ATTR_PAD);
}

const fn attribute(number: bindings::vdpa_attr) -> u16 {
    assert!(number <= u16::MAX as u32);
    number as u16
}
