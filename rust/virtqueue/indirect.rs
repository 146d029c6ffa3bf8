// SPDX-License-Identifier: GPL-2.0

//! Indirect tables (virtio 1.3, sections 2.7.5.3 and 2.8.7).

use crate::{
    chain::{
        Collector,
        Tail,
        DESCRIPTOR_SIZE,
        INDIRECT,
        NEXT, //
    },
    error::Error,
    memory::{
        GuestAddress,
        GuestMemory, //
    },
};

/// The longest table. A chain must not be longer than its queue, but drivers are known to disregard
/// that; this is the longest queue.
const MAX_ENTRIES: u16 = 1 << 15;

/// How many descriptors are read at a time: few enough for the stack, and enough to make up for
/// what finding the memory costs.
const CHUNK_ENTRIES: u16 = 8;

/// Collects the chain in the indirect table of a split queue, from its first descriptor on.
#[inline(never)]
pub(crate) fn collect_list<M: GuestMemory>(
    memory: &mut M,
    at: u64,
    len: u32,
    collector: &mut Collector<'_>,
) -> Result<(), Error> {
    let mut table = Table::new(at, len)?;
    let mut index = 0;
    for _ in 0..table.entries {
        let (at, tail) = table.get(memory, index)?;
        let (flags, next) = (tail.first, tail.second);
        if flags & INDIRECT != 0 {
            return Err(Error::NestedIndirect);
        }
        collector.push(at, tail.len, flags)?;
        if flags & NEXT == 0 {
            return Ok(());
        }
        index = next;
    }
    Err(Error::Loop)
}

/// Collects all descriptors of the indirect table of a packed queue, whose only flag is that the
/// device writes: others are to be ignored.
#[inline(never)]
pub(crate) fn collect_all<M: GuestMemory>(
    memory: &mut M,
    at: u64,
    len: u32,
    collector: &mut Collector<'_>,
) -> Result<(), Error> {
    let mut table = Table::new(at, len)?;
    if collector.room() < usize::from(table.entries) {
        return Err(Error::TooLong);
    }
    for index in 0..table.entries {
        let (at, tail) = table.get(memory, index)?;
        collector.push(at, tail.len, tail.second)?;
    }
    Ok(())
}

/// An indirect table, of which a part was read.
struct Table {
    at: GuestAddress,
    entries: u16,
    chunk: [[u8; 16]; CHUNK_ENTRIES as usize],
    /// The first descriptor in the chunk, and how many are there.
    first: u16,
    count: u16,
}

impl Table {
    #[inline]
    fn new(at: u64, len: u32) -> Result<Self, Error> {
        let at = GuestAddress::new(at);
        let last = len.checked_sub(1).ok_or(Error::BadIndirectSize)?;
        let entries = u16::try_from(len / u32::from(DESCRIPTOR_SIZE))
            .ok()
            .filter(|entries| *entries <= MAX_ENTRIES && len % u32::from(DESCRIPTOR_SIZE) == 0)
            .ok_or(Error::BadIndirectSize)?;
        at.checked_add(last.into()).ok_or(Error::AddressWrap)?;
        Ok(Self {
            at,
            entries,
            chunk: [[0; 16]; CHUNK_ENTRIES as usize],
            first: 0,
            count: 0,
        })
    }

    /// The address and the rest of a descriptor, if it is in the table.
    ///
    /// What is read of it twice may differ, but each time it is checked.
    #[inline]
    fn get<M: GuestMemory>(&mut self, memory: &mut M, index: u16) -> Result<(u64, Tail), Error> {
        // An index before the chunk is far behind it.
        if index.wrapping_sub(self.first) >= self.count {
            self.read(memory, index)?;
        }
        let (address, tail) = self
            .chunk
            .get(usize::from(index.wrapping_sub(self.first)))
            .and_then(|descriptor| descriptor.split_first_chunk::<8>())
            .ok_or(Error::NextOutOfRange)?;
        let tail = tail.first_chunk::<8>().ok_or(Error::NextOutOfRange)?;
        Ok((
            u64::from_le_bytes(*address),
            Tail::new(u64::from_le_bytes(*tail)),
        ))
    }

    /// Reads the descriptors from `index` on.
    #[inline]
    fn read<M: GuestMemory>(&mut self, memory: &mut M, index: u16) -> Result<(), Error> {
        let count = match self.entries.checked_sub(index) {
            None | Some(0) => return Err(Error::NextOutOfRange),
            Some(left) => left.min(CHUNK_ENTRIES),
        };
        let offset = u64::from(index) * u64::from(DESCRIPTOR_SIZE);
        let from = self.at.checked_add(offset).ok_or(Error::AddressWrap)?;
        let chunk = self
            .chunk
            .get_mut(..usize::from(count))
            .ok_or(Error::NextOutOfRange)?;
        memory.read(from, chunk.as_flattened_mut())?;
        self.first = index;
        self.count = count;
        Ok(())
    }
}
