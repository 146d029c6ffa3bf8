// SPDX-License-Identifier: GPL-2.0

//! What may be the name of a device that a user makes.
//!
//! It becomes the name of a folder in sysfs, where `/` turns into `!`. C checks nothing but that it
//! is unique: an empty name is a warning with a stack trace, and one of thousands of bytes makes a
//! device that no reply has room for.

use kernel::prelude::*;
use kext::{
    extack_msg,
    genetlink::ExtAck, //
};

/// The longest name, in bytes: what a folder can have (`NAME_MAX`).
const MAX_LEN: usize = 255;

/// A name that was found good.
pub(super) struct Name(KVec<u8>);

impl Name {
    /// Checks and copies a name; it must not contain a NUL.
    ///
    /// Fails with `EINVAL` for one that cannot be used, `ENAMETOOLONG`, or `ENOMEM`.
    pub(super) fn new(bytes: &[u8], extack: ExtAck<'_>) -> Result<Self> {
        match bytes {
            b"" => {
                extack_msg!(extack, "device name is empty");
                return Err(EINVAL);
            }
            b"." | b".." => {
                extack_msg!(extack, "device name must not be '.' or '..'");
                return Err(EINVAL);
            }
            _ if bytes.len() > MAX_LEN => {
                extack_msg!(extack, "device name is longer than 255 bytes");
                return Err(ENAMETOOLONG);
            }
            _ => (),
        }
        let mut name = KVec::with_capacity(bytes.len().saturating_add(1), GFP_KERNEL)?;
        name.extend_from_slice(bytes, GFP_KERNEL)?;
        name.push(0, GFP_KERNEL)?;
        Ok(Self(name))
    }

    /// The name as C takes it. Fails with `EINVAL` if it contained a NUL.
    pub(super) fn as_c_str(&self) -> Result<&CStr> {
        CStr::from_bytes_with_nul(&self.0).map_err(|_| EINVAL)
    }
}
