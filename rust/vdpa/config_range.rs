// SPDX-License-Identifier: GPL-2.0

//! Which part of a configuration space is asked for.
//!
//! Nothing here needs the kernel, so that the same file is tested and fuzzed on the host
//! (`tests/host`).

/// Returns `len` as parents take it, if a configuration space of `size` bytes has as many from
/// `offset` on.
///
/// Parents need not check: some read and write device memory at whatever offset they get.
pub(crate) fn checked_len(offset: u32, len: usize, size: usize) -> Option<u32> {
    let len = u32::try_from(len).ok()?;
    let end = usize::try_from(offset.checked_add(len)?).ok()?;
    (end <= size).then_some(len)
}
