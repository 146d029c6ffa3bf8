// SPDX-License-Identifier: GPL-2.0

//! The name of a device that a user makes, as C takes it.

use super::{
    refuse::refuse,
    rules, //
};
use kernel::prelude::*;
use kext::genetlink::ExtAck;

/// A name that was found good.
pub(super) struct Name(KVec<u8>);

impl Name {
    /// Checks and copies a name; it must not contain a NUL.
    ///
    /// Fails with `EINVAL` for one that cannot be used, `ENAMETOOLONG`, or `ENOMEM`.
    pub(super) fn new(bytes: &[u8], extack: ExtAck<'_>) -> Result<Self> {
        rules::check_name(bytes).map_err(|why| refuse(why, extack))?;
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
