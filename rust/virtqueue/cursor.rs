// SPDX-License-Identifier: GPL-2.0

//! Reading and writing what is in a buffer.

use crate::{
    chain::Segment,
    memory::{
        Fault,
        GuestAddress,
        GuestMemory, //
    },
};

/// A place in the bytes of segments: the readable ones of a buffer, or the writable ones.
///
/// An operation that fails leaves it where the segment or piece at fault begins.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    /// What is left of the segment that was begun.
    current: Segment,
    /// The segments after it.
    rest: &'a [Segment],
}

impl<'a> Cursor<'a> {
    /// At the start of these segments.
    #[inline]
    pub const fn new(segments: &'a [Segment]) -> Self {
        Self {
            current: Segment {
                at: GuestAddress::new(0),
                len: 0,
            },
            rest: segments,
        }
    }

    /// How many bytes there are from here on.
    #[inline]
    pub fn remaining(&self) -> u64 {
        self.rest.iter().fold(self.current.len.into(), |sum, s| {
            u64::saturating_add(sum, s.len.into())
        })
    }

    /// Whether this is the end.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.current.len == 0 && self.rest.iter().all(|segment| segment.len == 0)
    }

    /// Goes over the next bytes that lie together, at most `max`, and returns them. At the end, and
    /// for a `max` of 0, that is nothing.
    #[inline]
    pub fn next_piece(&mut self, max: u32) -> Option<Segment> {
        let piece = self.peek(max)?;
        self.advance(piece.len);
        Some(piece)
    }

    /// Copies the next bytes to `to`, as many as there are and fit. Returns how many.
    #[inline]
    pub fn read<M: GuestMemory>(&mut self, memory: &mut M, to: &mut [u8]) -> Result<usize, Fault> {
        let mut done = 0;
        while let Some(left) = to.get_mut(done..) {
            let Some(piece) = self.peek(clamp(left.len())) else {
                break;
            };
            let Some(part) = usize::try_from(piece.len)
                .ok()
                .and_then(|len| left.get_mut(..len))
            else {
                break;
            };
            memory.read(piece.at, part)?;
            done += part.len();
            self.advance(piece.len);
        }
        Ok(done)
    }

    /// Copies `from` to the next bytes, as much as there is and fits. Returns how many bytes.
    #[inline]
    pub fn write<M: GuestMemory>(&mut self, memory: &mut M, from: &[u8]) -> Result<usize, Fault> {
        let mut left = from;
        while let Some(piece) = self.peek(clamp(left.len())) {
            let Some((part, after)) = usize::try_from(piece.len)
                .ok()
                .and_then(|len| left.split_at_checked(len))
            else {
                break;
            };
            memory.write(piece.at, part)?;
            left = after;
            self.advance(piece.len);
        }
        Ok(from.len().saturating_sub(left.len()))
    }

    /// Goes over `n` bytes, or all if there are less. Returns how many.
    #[inline]
    pub fn skip(&mut self, n: u64) -> u64 {
        let mut left = n;
        while let Some(piece) = self.next_piece(u32::try_from(left).unwrap_or(u32::MAX)) {
            left = left.saturating_sub(piece.len.into());
        }
        n.saturating_sub(left)
    }

    /// The next bytes that lie together, at most `max`.
    #[inline]
    fn peek(&mut self, max: u32) -> Option<Segment> {
        if max == 0 {
            return None;
        }
        while self.current.len == 0 {
            let (first, rest) = self.rest.split_first()?;
            self.current = *first;
            self.rest = rest;
        }
        Some(Segment {
            at: self.current.at,
            len: self.current.len.min(max),
        })
    }

    /// Goes over `len` bytes of the current segment.
    #[inline]
    fn advance(&mut self, len: u32) {
        self.current.len = self.current.len.saturating_sub(len);
        // Beyond the last address there is nothing left to go on with.
        self.current.at = GuestAddress::new(self.current.at.get().wrapping_add(len.into()));
    }
}

/// How much of a slice a piece can have.
#[inline]
fn clamp(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
