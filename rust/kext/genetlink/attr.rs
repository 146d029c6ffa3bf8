// SPDX-License-Identifier: GPL-2.0

//! Attributes of a received message.
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h)

use core::{
    ptr::NonNull,
    slice, //
};

use kernel::{
    bindings,
    prelude::*, //
};

use super::tlv::{
    self,
    Tlv,
    HEADER_LEN,
    TYPE_FLAGS, //
};

const _: () = {
    assert!(HEADER_LEN == size_of::<bindings::nlattr>());
    assert!(TYPE_FLAGS as u32 == bindings::NLA_F_NESTED | bindings::NLA_F_NET_BYTEORDER);
};

/// An attribute of a received message, `struct nlattr`.
///
/// Its contents come from user space. The policy decides what is known of them, so every access
/// checks the length again: a wrong policy makes an error here, never a read past the attribute.
#[derive(Clone, Copy)]
pub struct Attr<'a>(Tlv<'a>);

impl<'a> Attr<'a> {
    /// Takes over an attribute of C, which may be unaligned; `None` for a null pointer.
    ///
    /// # Safety
    ///
    /// If not null, `nla` must be valid for reads of its header and of `nla_len` bytes for `'a`,
    /// and nobody may write to them for that long.
    #[inline]
    pub unsafe fn from_raw(nla: *const bindings::nlattr) -> Option<Self> {
        let nla = NonNull::new(nla.cast_mut())?.cast::<u8>();
        // SAFETY: The header is readable by the safety requirements.
        let header = unsafe { nla.cast().read() };
        // SAFETY: The length is `nla_len`, or that of the header if it is greater. So many bytes
        // are readable, and nobody writes to them for `'a`, by the safety requirements.
        let bytes = unsafe { slice::from_raw_parts(nla.as_ptr(), tlv::total_len(header)) };
        Tlv::first(bytes).map(Self)
    }

    /// Returns the C attribute. It is valid for `'a` and must not be written to.
    #[inline]
    pub fn as_raw(&self) -> *const bindings::nlattr {
        self.0.as_bytes().as_ptr().cast()
    }

    /// Returns the attribute's type, without the flags that share its field (`nla_type()`).
    #[inline]
    pub fn attr_type(&self) -> u16 {
        self.0.attr_type()
    }

    /// Returns the payload.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.payload()
    }

    /// Returns a payload of exactly `N` bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the payload has another length.
    #[inline]
    pub fn as_array<const N: usize>(&self) -> Result<[u8; N]> {
        self.0.as_array().ok_or(EINVAL)
    }

    /// Returns the value of a `u8` attribute, or `EINVAL` if it is not one byte long.
    #[inline]
    pub fn as_u8(&self) -> Result<u8> {
        self.as_array().map(u8::from_ne_bytes)
    }

    /// Returns the value of a `u16` attribute, or `EINVAL` if it is not two bytes long.
    #[inline]
    pub fn as_u16(&self) -> Result<u16> {
        self.as_array().map(u16::from_ne_bytes)
    }

    /// Returns the value of a `u32` attribute, or `EINVAL` if it is not four bytes long.
    #[inline]
    pub fn as_u32(&self) -> Result<u32> {
        self.as_array().map(u32::from_ne_bytes)
    }

    /// Returns the value of a `u64` attribute, or `EINVAL` if it is not eight bytes long.
    ///
    /// The value may be unaligned in the message; that does not matter here.
    #[inline]
    pub fn as_u64(&self) -> Result<u64> {
        self.as_array().map(u64::from_ne_bytes)
    }

    /// Returns the bytes before the first NUL, all of them if there is none.
    ///
    /// This is how to read an attribute that is a string to user space. A policy of
    /// [`PolicyEntry::string`] does not demand a NUL, so code that takes the payload for a C
    /// string reads past the attribute.
    ///
    /// [`PolicyEntry::string`]: super::PolicyEntry::string
    #[inline]
    pub fn as_c_string_bytes(&self) -> &'a [u8] {
        self.0.as_c_string_bytes()
    }
}

#[kunit_tests(rust_genetlink_attr)]
mod tests {
    use super::*;

    #[repr(C, align(4))]
    struct Buffer([u8; 12]);

    fn buffer(payload: &[u8], nla_type: u16) -> Buffer {
        let mut bytes = [0xa5; 12];
        let len = HEADER_LEN + payload.len();
        bytes[..2].copy_from_slice(&(len as u16).to_ne_bytes());
        bytes[2..4].copy_from_slice(&nla_type.to_ne_bytes());
        bytes[4..len].copy_from_slice(payload);
        Buffer(bytes)
    }

    fn attr(buffer: &Buffer) -> Attr<'_> {
        // SAFETY: The length in the header is within the buffer, which is borrowed for as long.
        unsafe { Attr::from_raw(buffer.0.as_ptr().cast()) }.unwrap()
    }

    #[test]
    fn numbers_need_their_length() {
        let b = buffer(&0x1234_5678u32.to_ne_bytes(), 7);
        assert_eq!(attr(&b).as_u32(), Ok(0x1234_5678));
        assert_eq!(attr(&b).as_u8(), Err(EINVAL));
        assert_eq!(attr(&b).as_u16(), Err(EINVAL));
        assert_eq!(attr(&b).as_u64(), Err(EINVAL));
        assert_eq!(attr(&b).as_array::<6>(), Err(EINVAL));
        let b = buffer(&0x0102_0304_0506_0708u64.to_ne_bytes(), 7);
        assert_eq!(attr(&b).as_u64(), Ok(0x0102_0304_0506_0708));
    }

    #[test]
    fn the_type_has_no_flags() {
        let b = buffer(&[1], 9 | bindings::NLA_F_NESTED as u16);
        assert_eq!(attr(&b).attr_type(), 9);
        assert_eq!(attr(&b).as_u8(), Ok(1));
    }

    #[test]
    fn strings_end_at_nul_or_with_the_attribute() {
        assert_eq!(attr(&buffer(b"abc", 1)).as_c_string_bytes(), b"abc");
        assert_eq!(attr(&buffer(b"ab\0c", 1)).as_c_string_bytes(), b"ab");
        assert_eq!(attr(&buffer(b"\0", 1)).as_c_string_bytes(), b"");
        assert_eq!(attr(&buffer(b"", 1)).as_c_string_bytes(), b"");
    }

    #[test]
    fn a_short_header_is_an_empty_payload() {
        let mut b = buffer(b"abc", 1);
        b.0[..2].copy_from_slice(&2u16.to_ne_bytes());
        assert_eq!(attr(&b).as_bytes().len(), 0);
    }
}
