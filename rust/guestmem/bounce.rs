// SPDX-License-Identifier: GPL-2.0

//! Memory by way of which a copy goes that cannot be direct: between two places of processes.

use kernel::prelude::*;
use virtqueue::Fault;

/// Of what size copies are made.
const SIZE: usize = 4096;

/// Some memory of the kernel.
pub struct Bounce(KVec<u8>);

impl Bounce {
    /// Fails with `ENOMEM`.
    pub fn new() -> Result<Self> {
        let mut bytes = KVec::with_capacity(SIZE, GFP_KERNEL)?;
        bytes.resize(SIZE, 0, GFP_KERNEL)?;
        Ok(Self(bytes))
    }

    /// At least one byte of it, and `wanted` if it is large enough.
    pub(crate) fn part(&mut self, wanted: usize) -> Result<&mut [u8], Fault> {
        let size = wanted.min(self.0.len());
        self.0
            .get_mut(..size)
            .filter(|part| !part.is_empty())
            .ok_or(Fault)
    }
}
