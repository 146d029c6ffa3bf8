// SPDX-License-Identifier: GPL-2.0

//! What the core demands of a request's attributes before it calls a command.
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h)

use kernel::{
    bindings,
    prelude::*,
    str::as_char_ptr_in_const_context, //
};

/// What is demanded of one attribute, `struct nla_policy`.
///
/// To be made in const context: the modifiers panic when they do not suit the type, which is then
/// a compile error.
///
/// | Violation | Error | Text |
/// |---|---|---|
/// | wrong length of a number | `EINVAL` | invalid attribute length |
/// | number out of bounds | `ERANGE` | integer out of range |
/// | length of binary data out of bounds | `ERANGE` | binary attribute size out of range |
/// | empty or too long string | `ERANGE` | Attribute failed policy validation |
/// | missing NUL | `EINVAL` | Attribute failed policy validation |
/// | not in the table | `EINVAL` | Unsupported attribute |
/// | beyond the table | `EINVAL` | Unknown attribute type |
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct PolicyEntry(bindings::nla_policy);

// SAFETY: Nothing changes an entry after it was made, and what its pointers lead to is `Sync`.
unsafe impl Sync for PolicyEntry {}
// SAFETY: As above.
unsafe impl Send for PolicyEntry {}

impl PolicyEntry {
    const fn of_type(nla_type: u32) -> Self {
        let mut entry: bindings::nla_policy = pin_init::zeroed();
        entry.type_ = nla_type as u8;
        Self(entry)
    }

    /// An attribute that requests may not contain ("Unsupported attribute").
    pub const fn unspecified() -> Self {
        Self::of_type(bindings::NLA_UNSPEC)
    }

    /// A `u8`.
    pub const fn u8() -> Self {
        Self::of_type(bindings::NLA_U8)
    }

    /// A `u16`.
    pub const fn u16() -> Self {
        Self::of_type(bindings::NLA_U16)
    }

    /// A `u32`.
    pub const fn u32() -> Self {
        Self::of_type(bindings::NLA_U32)
    }

    /// A `u64`.
    pub const fn u64() -> Self {
        Self::of_type(bindings::NLA_U64)
    }

    /// An attribute without payload.
    pub const fn flag() -> Self {
        Self::of_type(bindings::NLA_FLAG)
    }

    /// At least one byte; a NUL is not demanded.
    pub const fn string() -> Self {
        Self::of_type(bindings::NLA_STRING)
    }

    /// At least one byte, among them a NUL.
    pub const fn nul_string() -> Self {
        Self::of_type(bindings::NLA_NUL_STRING)
    }

    /// Bytes of any length.
    pub const fn binary() -> Self {
        Self::of_type(bindings::NLA_BINARY)
    }

    /// Exactly `len` bytes (`NLA_POLICY_EXACT_LEN()`).
    pub const fn exact_len(len: u16) -> Self {
        Self::binary().range(len, len)
    }

    /// An Ethernet address (`NLA_POLICY_ETH_ADDR`).
    pub const fn eth_addr() -> Self {
        Self::exact_len(bindings::ETH_ALEN as u16)
    }

    /// Attributes within the attribute, which follow `table` (`NLA_POLICY_NESTED()`).
    pub const fn nested(table: &'static [PolicyEntry]) -> Self {
        let mut entry = Self::of_type(bindings::NLA_NESTED);
        entry.0.len = max_attr(table) as u16;
        // CAST: `PolicyEntry` is transparent.
        entry.0.__bindgen_anon_1.nested_policy = table.as_ptr().cast();
        entry
    }

    /// An attribute that is always rejected, as [`Self::unspecified`] but with the text
    /// "Attribute failed policy validation".
    pub const fn reject() -> Self {
        Self::of_type(bindings::NLA_REJECT)
    }

    /// An attribute that is always rejected with a text of its own.
    pub const fn reject_with(text: &'static CStr) -> Self {
        let mut entry = Self::reject();
        entry.0.__bindgen_anon_1.reject_message = as_char_ptr_in_const_context(text);
        entry
    }

    /// Limits the length of a string, not counting its NUL, or of binary data.
    pub const fn max_len(mut self, len: u16) -> Self {
        match self.0.type_ as u32 {
            bindings::NLA_STRING | bindings::NLA_NUL_STRING | bindings::NLA_BINARY => {}
            _ => panic!("max_len is for strings and binary data"),
        }
        if len == 0 {
            panic!("a limit of zero would be none");
        }
        self.0.len = len;
        self
    }

    /// Demands a least value of a number, or a least length of binary data (`NLA_POLICY_MIN()`).
    pub const fn min(self, min: u16) -> Self {
        self.bounds(bindings::nla_policy_validation_NLA_VALIDATE_MIN, min, 0)
    }

    /// Demands a greatest value of a number, or a greatest length of binary data
    /// (`NLA_POLICY_MAX()`).
    pub const fn max(self, max: u16) -> Self {
        self.bounds(bindings::nla_policy_validation_NLA_VALIDATE_MAX, 0, max)
    }

    /// Demands a number, or a length of binary data, from `min` to `max` (`NLA_POLICY_RANGE()`).
    pub const fn range(self, min: u16, max: u16) -> Self {
        if min > max {
            panic!("an empty range");
        }
        self.bounds(bindings::nla_policy_validation_NLA_VALIDATE_RANGE, min, max)
    }

    const fn bounds(mut self, validation: u32, min: u16, max: u16) -> Self {
        match self.0.type_ as u32 {
            bindings::NLA_U8
            | bindings::NLA_U16
            | bindings::NLA_U32
            | bindings::NLA_U64
            | bindings::NLA_BINARY => {}
            _ => panic!("bounds are for numbers and binary data"),
        }
        // C keeps them in signed fields.
        if min > i16::MAX as u16 || max > i16::MAX as u16 {
            panic!("a bound greater than 32767");
        }
        self.0.validation_type = validation as u8;
        self.0.__bindgen_anon_1.__bindgen_anon_1 =
            bindings::nla_policy__bindgen_ty_1__bindgen_ty_1 {
                min: min as i16,
                max: max as i16,
            };
        self
    }
}

/// Returns the greatest attribute type that a table describes.
pub(super) const fn max_attr(table: &[PolicyEntry]) -> u32 {
    if table.is_empty() || table.len() > u16::MAX as usize {
        panic!("the table has no entries, or more than there can be attributes");
    }
    table.len() as u32 - 1
}

/// A table of what is demanded of attributes; those of type `N` and above are unknown.
///
/// To be made in const context, and kept in a `static`. The entry of type 0 exists, but no
/// attribute has that type.
#[repr(transparent)]
pub struct Policy<const N: usize>([PolicyEntry; N]);

impl<const N: usize> Policy<N> {
    /// A table that supports no attribute.
    #[expect(
        clippy::new_without_default,
        reason = "a table is made in const context"
    )]
    pub const fn new() -> Self {
        Self([PolicyEntry::unspecified(); N])
    }

    /// Sets the entry of attribute type `attr`.
    ///
    /// Panics, in const context, if there is no such entry or if it was set before.
    pub const fn attr(mut self, attr: u16, entry: PolicyEntry) -> Self {
        let attr = attr as usize;
        if attr == 0 || attr >= N {
            panic!("no such attribute type in this table");
        }
        if self.0[attr].0.type_ as u32 != bindings::NLA_UNSPEC {
            panic!("the attribute type has an entry already");
        }
        self.0[attr] = entry;
        self
    }

    /// Returns the entries, by attribute type.
    pub const fn entries(&self) -> &[PolicyEntry] {
        &self.0
    }
}

#[kunit_tests(rust_genetlink_policy)]
mod tests {
    use super::*;

    fn min_max(entry: &PolicyEntry) -> (i16, i16) {
        // SAFETY: The entry was made by `bounds()`, or is zeroed.
        let bounds = unsafe { entry.0.__bindgen_anon_1.__bindgen_anon_1 };
        (bounds.min, bounds.max)
    }

    #[test]
    fn entries_are_those_of_the_c_macros() {
        let mac = PolicyEntry::eth_addr();
        assert_eq!(mac.0.type_, 11); // NLA_BINARY
        assert_eq!(mac.0.validation_type, 1); // NLA_VALIDATE_RANGE
        assert_eq!(mac.0.len, 0);
        assert_eq!(min_max(&mac), (6, 6));

        let mtu = PolicyEntry::u16().min(68);
        assert_eq!(mtu.0.type_, 2); // NLA_U16
        assert_eq!(mtu.0.validation_type, 3); // NLA_VALIDATE_MIN
        assert_eq!(min_max(&mtu), (68, 0));

        let name = PolicyEntry::nul_string().max_len(15);
        assert_eq!(name.0.type_, 10); // NLA_NUL_STRING
        assert_eq!(name.0.validation_type, 0);
        assert_eq!(name.0.len, 15);
    }

    #[test]
    fn a_table_has_unsupported_entries_between() {
        static TABLE: Policy<4> = Policy::new().attr(2, PolicyEntry::u64());
        assert_eq!(max_attr(TABLE.entries()), 3);
        assert_eq!(TABLE.entries()[1].0.type_, 0);
        assert_eq!(TABLE.entries()[2].0.type_, 4); // NLA_U64
        assert_eq!(TABLE.entries()[3].0.type_, 0);
    }
}
