// SPDX-License-Identifier: GPL-2.0

//! The checksum of the Internet's protocols (RFC 1071): the complement of a sum of 16-bit numbers in
//! which a carry comes back at the other end.
//!
//! The sum is the same whichever order the bytes of all numbers are taken in, and wider numbers may
//! be added as well, so it is computed from eight bytes at a time as they are in memory.
//!
//! Nothing here needs the kernel: `tests/host` has the same file.

use super::header::PartialChecksum;

/// A sum in progress.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub(crate) const ZERO: Self = Self(0);

    /// Adds bytes. What comes after an odd number of them would not be added at its place: only the
    /// last bytes of a packet may be so.
    #[inline]
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let mut rest = bytes;
        while let Some((word, tail)) = rest.split_first_chunk() {
            sum = carrying_add(sum, u64::from_ne_bytes(*word));
            rest = tail;
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(carrying_add(sum, u64::from_ne_bytes(last)))
    }

    /// Adds a number that is big-endian in the packet.
    pub(crate) fn add_number(self, number: u16) -> Self {
        let bytes = number.to_be_bytes();
        Self(carrying_add(self.0, u64::from(u16::from_ne_bytes(bytes))))
    }

    /// The checksum as it is in a packet: what brings the sum to zero. Zero itself means in UDP
    /// that there is none; its other form, with all bits set, is as good everywhere.
    #[inline]
    pub(crate) fn checksum(self) -> [u8; 2] {
        let [a, b, c, d, e, f, g, h] = self.0.to_ne_bytes();
        let words = [[a, b], [c, d], [e, f], [g, h]];
        // No overflow: four 16-bit numbers, then two that are together below 2^17.
        let sum: u32 = words
            .map(|word| u32::from(u16::from_ne_bytes(word)))
            .iter()
            .sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let checksum = !sum & 0xffff;
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        u16::try_from(checksum).unwrap_or(u16::MAX).to_ne_bytes()
    }
}

/// Adds with a carry that comes back at the other end.
#[inline]
const fn carrying_add(a: u64, b: u64) -> u64 {
    match a.overflowing_add(b) {
        (sum, false) => sum,
        (sum, true) => sum.wrapping_add(1),
    }
}

/// A checksum whose field is not in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotInFrame;

/// Completes the checksum of a frame whose sender has left that to do (virtio 1.3,
/// section 5.1.6.2).
pub(crate) fn complete(frame: &mut [u8], checksum: PartialChecksum) -> Result<(), NotInFrame> {
    let summed = frame.get(checksum.start()..).ok_or(NotInFrame)?;
    let value = Sum::ZERO.add(summed).checksum();
    let field = frame.get_mut(checksum.field()..).ok_or(NotInFrame)?;
    *field.first_chunk_mut().ok_or(NotInFrame)? = value;
    Ok(())
}
