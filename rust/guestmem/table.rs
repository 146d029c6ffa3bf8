// SPDX-License-Identifier: GPL-2.0

//! What is mapped in an address space, in a form in which it is found fast.

use virtqueue::Access;

/// A run of addresses that is mapped to a run of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first address as the driver has it.
    pub(crate) first: u64,
    /// The last one.
    pub(crate) last: u64,
    /// What the first one is mapped to.
    pub(crate) host: u64,
    /// Whether the device may read it.
    pub(crate) readable: bool,
    /// Whether the device may write it.
    pub(crate) writable: bool,
}

impl Run {
    /// Where `at` is, and how many bytes from there on are in this run and below 2^64.
    #[inline]
    pub(crate) fn find(&self, at: u64, access: Access) -> Option<(u64, u64)> {
        let allowed = match access {
            Access::Read => self.readable,
            Access::Write => self.writable,
            Access::ReadWrite => self.readable && self.writable,
        };
        if !allowed || at < self.first || at > self.last {
            return None;
        }
        let host = self.host.checked_add(at.checked_sub(self.first)?)?;
        let len = self.last.checked_sub(at)?.saturating_add(1);
        host.checked_add(len.checked_sub(1)?)?;
        Some((host, len))
    }
}

/// The run that `at` is in. `runs` must be sorted by `first`; where runs overlap, only the last
/// one that begins at or below `at` is looked at.
pub(crate) fn look_up(runs: &[Run], at: u64) -> Option<&Run> {
    let after = runs.partition_point(|run| run.first <= at);
    let run = runs.get(after.checked_sub(1)?)?;
    (at <= run.last).then_some(run)
}
