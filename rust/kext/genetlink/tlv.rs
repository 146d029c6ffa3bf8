// SPDX-License-Identifier: GPL-2.0

//! The bytes of an attribute: its length and its type, then the payload.
//!
//! What they say comes from user space. Nothing here needs the kernel, so that the same file is
//! tested and fuzzed on the host (`tests/host`).

/// The length of an attribute's header, `NLA_HDRLEN`.
pub(super) const HEADER_LEN: usize = 4;

/// The longest payload of an attribute: its length field counts the header too.
pub(super) const MAX_PAYLOAD: usize = u16::MAX as usize - HEADER_LEN;

/// The flags that share a field with the type, `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
pub(super) const TYPE_FLAGS: u16 = 0xc000;

/// Returns how many bytes an attribute has with this header, at least those of the header itself:
/// a length of less is taken for no payload.
#[inline]
pub(super) const fn total_len(header: [u8; HEADER_LEN]) -> usize {
    let [low, high, ..] = header;
    let len = u16::from_ne_bytes([low, high]) as usize;
    if len < HEADER_LEN {
        HEADER_LEN
    } else {
        len
    }
}

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tlv<'a>(&'a [u8]);

impl<'a> Tlv<'a> {
    /// Returns the attribute at the start of `bytes`, or `None` if they end before it does.
    #[inline]
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk()?;
        bytes.get(..total_len(*header)).map(Self)
    }

    /// Returns all of it, from the header on.
    #[inline]
    pub(super) const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Returns the type, without the flags that share its field (`nla_type()`).
    #[inline]
    pub(super) fn attr_type(&self) -> u16 {
        match *self.0 {
            [_, _, low, high, ..] => u16::from_ne_bytes([low, high]) & !TYPE_FLAGS,
            _ => 0,
        }
    }

    /// Returns the payload.
    #[inline]
    pub(super) fn payload(&self) -> &'a [u8] {
        self.0.get(HEADER_LEN..).unwrap_or_default()
    }

    /// Returns a payload of exactly `N` bytes.
    #[inline]
    pub(super) fn as_array<const N: usize>(&self) -> Option<[u8; N]> {
        self.payload().try_into().ok()
    }

    /// Returns the bytes before the first NUL, all of them if there is none.
    #[inline]
    pub(super) fn as_c_string_bytes(&self) -> &'a [u8] {
        let bytes = self.payload();
        bytes.split(|&b| b == 0).next().unwrap_or(bytes)
    }
}
