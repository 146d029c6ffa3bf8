// SPDX-License-Identifier: GPL-2.0

//! One frame: from a buffer of the sender to buffers of the receiver (virtio 1.3, section 5.1.6).

use crate::{
    counters::Delta,
    features::Negotiated,
    filter::LOOKS_AT,
    header::{
        Header,
        HeaderSize,
        Work, //
    },
    mac::ETHERNET_HEADER_LEN,
    model::Receiver,
};
use guestmem::{
    Bounce,
    GuestQueue,
    Session, //
};
use virtqueue::{
    Chain,
    Cursor,
    Error as QueueError,
    Fault,
    Segment, //
};

/// How much of a buffer the device looks at.
const HEAD: usize = HeaderSize::MAX + LOOKS_AT;
/// A frame is in so many buffers at most.
const MAX_BUFFERS: usize = 64;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was received, or nobody wants it.
    Done,
    /// There are not enough buffers for it now.
    Starved,
}

/// From where to where.
pub(crate) struct Lane<'a> {
    /// What the sender negotiated.
    pub(crate) negotiated: Negotiated,
    /// What its headers are like.
    pub(crate) header: HeaderSize,
    /// Whether the receiver takes a frame in several buffers.
    pub(crate) merges: bool,
    /// What the receiver takes.
    pub(crate) receiver: &'a Receiver,
    /// The segments of the sender's buffer.
    pub(crate) from: &'a mut [Segment],
    /// By way of which to copy.
    pub(crate) bounce: &'a mut Bounce,
    /// Where the receiver's buffers are.
    pub(crate) queue: &'a mut GuestQueue,
    /// Their segments.
    pub(crate) to: &'a mut [Segment],
    /// What the sender's queue counts.
    pub(crate) sent: &'a mut Delta,
    /// What the receiver's queue counts.
    pub(crate) received: &'a mut Delta,
}

impl Lane<'_> {
    /// Takes a frame to the receiver. An error is one of the receiver's queue.
    #[inline]
    pub(crate) fn deliver<'s>(
        &mut self,
        session: &mut Session<'s>,
        other: Option<&mut Session<'s>>,
        chain: Chain,
    ) -> Result<Verdict, QueueError> {
        let header_len = self.header.bytes();
        let segments = self.from.get(..chain.readable()).unwrap_or_default();
        let mut head = [0; HEAD];
        let Some((total, read)) = read_head(session, segments, &mut head) else {
            return Ok(self.refuse());
        };
        let head = head.get(..read).unwrap_or_default();
        let Some((header, frame)) = head.split_at_checked(header_len) else {
            return Ok(self.refuse());
        };
        let Some(len) = usize::try_from(total)
            .ok()
            .and_then(|total| total.checked_sub(header_len))
        else {
            return Ok(self.refuse());
        };
        if len < ETHERNET_HEADER_LEN {
            return Ok(self.refuse());
        }
        let Ok(header) = Header::parse(header, len, self.negotiated) else {
            return Ok(self.refuse());
        };
        if !self.receiver.link_is_up || !self.receiver.filter.accepts(frame) {
            self.count_sent(len);
            self.received.drops = self.received.drops.saturating_add(1);
            return Ok(Verdict::Done);
        }
        let header = match header.work_for(self.receiver.offloads) {
            Work::None(header) => header,
            Work::Checksum(_) | Work::Segment(_) => {
                self.count_sent(len);
                self.received.drops = self.received.drops.saturating_add(1);
                return Ok(Verdict::Done);
            }
        };
        let verdict = Self::put(
            self.queue,
            self.to,
            self.receiver.header.bytes(),
            self.merges,
            header,
            len,
            &mut From {
                session,
                other,
                segments,
                skip: header_len,
                bounce: self.bounce,
            },
        )?;
        match verdict {
            Put::Done => {
                self.count_sent(len);
                self.received.packets = self.received.packets.saturating_add(1);
                let bytes = u64::try_from(len).unwrap_or(0);
                self.received.bytes = self.received.bytes.saturating_add(bytes);
            }
            Put::Starved => return Ok(Verdict::Starved),
            Put::TooLong => {
                self.count_sent(len);
                self.received.errors = self.received.errors.saturating_add(1);
            }
            Put::Lost => return Ok(self.refuse()),
        }
        Ok(Verdict::Done)
    }

    fn count_sent(&mut self, len: usize) {
        self.sent.packets = self.sent.packets.saturating_add(1);
        self.sent.bytes = self
            .sent
            .bytes
            .saturating_add(u64::try_from(len).unwrap_or(0));
    }

    /// The sender's buffer holds no frame.
    #[cold]
    fn refuse(&mut self) -> Verdict {
        self.sent.errors = self.sent.errors.saturating_add(1);
        Verdict::Done
    }

    /// Puts a frame into as many buffers as it needs.
    #[inline]
    fn put(
        queue: &mut GuestQueue,
        to: &mut [Segment],
        header_len: usize,
        merges: bool,
        header: Header,
        len: usize,
        source: &mut From<'_, '_>,
    ) -> Result<Put, QueueError> {
        let Some(wanted) = u32::try_from(len.saturating_add(header_len)).ok() else {
            return Ok(Put::TooLong);
        };
        // Most frames need one buffer.
        let Some(first) = queue.next(source.receiver_session(), to)? else {
            return Ok(Put::Starved);
        };
        let room = room_of(first, to)?;
        if room < wanted {
            if merges {
                return Self::put_merged(queue, to, (first, room), header_len, header, len, source);
            }
            queue.put_back(first);
            return Ok(Put::TooLong);
        }
        let segments = to.get(..first.writable()).unwrap_or_default();
        let copied = source.copy(segments, header, header_len, 1, len);
        let written = if copied.is_ok() { wanted } else { 0 };
        queue.complete(source.receiver_session(), first, written)?;
        Ok(copied.map_or(Put::Lost, |()| Put::Done))
    }

    /// As `put`, for a frame that needs more than the buffer that was taken for it.
    fn put_merged(
        queue: &mut GuestQueue,
        to: &mut [Segment],
        first: (Chain, u32),
        header_len: usize,
        header: Header,
        len: usize,
        source: &mut From<'_, '_>,
    ) -> Result<Put, QueueError> {
        let Some(wanted) = u32::try_from(len.saturating_add(header_len)).ok() else {
            queue.put_back(first.0);
            return Ok(Put::TooLong);
        };
        let mut chains = [None; MAX_BUFFERS];
        let mut count: usize = 0;
        let mut room: u32 = 0;
        let mut used: usize = 0;
        let mut next = Some(first);
        let enough = loop {
            let Some((chain, size)) = next.take() else {
                break Ok(Put::Starved);
            };
            let Some(slot) = chains.get_mut(count) else {
                queue.put_back(chain);
                break Ok(Put::TooLong);
            };
            *slot = Some((chain, size));
            count = count.saturating_add(1);
            used = used.saturating_add(chain.writable());
            room = room.saturating_add(size);
            if room >= wanted {
                break Ok(Put::Done);
            }
            let free = to.get_mut(used..).unwrap_or_default();
            match queue.next(source.receiver_session(), free) {
                Ok(Some(chain)) => match room_of(chain, free) {
                    Ok(size) => next = Some((chain, size)),
                    Err(error) => {
                        queue.put_back(chain);
                        break Err(error);
                    }
                },
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        let taken = chains.get(..count).unwrap_or_default();
        if !matches!(enough, Ok(Put::Done)) {
            for (chain, _) in taken.iter().rev().flatten() {
                queue.put_back(*chain);
            }
            return enough;
        }
        let segments = to.get(..used).unwrap_or_default();
        let copied = source.copy(segments, header, header_len, count, len);
        let mut left = if copied.is_ok() { wanted } else { 0 };
        for (chain, size) in taken.iter().flatten() {
            let written = left.min(*size);
            left = left.saturating_sub(written);
            queue.complete(source.receiver_session(), *chain, written)?;
        }
        Ok(copied.map_or(Put::Lost, |()| Put::Done))
    }
}

/// Reads the header and the start of a frame. Returns how long the buffer is, and how much was read.
#[inline]
fn read_head(
    session: &mut Session<'_>,
    segments: &[Segment],
    head: &mut [u8; HEAD],
) -> Option<(u64, usize)> {
    if let [all] = segments {
        if usize::try_from(all.len).is_ok_and(|len| len >= HEAD) {
            if let Some(source) = session.source(*all) {
                source.read(head).ok()?;
                return Some((all.len.into(), HEAD));
            }
        }
    }
    let mut cursor = Cursor::new(segments);
    let total = cursor.remaining();
    let read = cursor.read(session, head).ok()?;
    Some((total, read))
}

/// How many bytes a receiver's buffer has room for. It must not be one that the device reads.
#[inline]
fn room_of(chain: Chain, segments: &[Segment]) -> Result<u32, QueueError> {
    if chain.readable() != 0 {
        return Err(QueueError::ReadableAfterWritable);
    }
    let segments = segments.get(..chain.writable()).unwrap_or_default();
    Ok(u32::try_from(Cursor::new(segments).remaining()).unwrap_or(u32::MAX))
}

/// What became of a frame in the receiver's queue.
enum Put {
    /// It is there.
    Done,
    /// There are not enough buffers now.
    Starved,
    /// There never will be.
    TooLong,
    /// It could not be copied.
    Lost,
}

/// A frame where it comes from.
struct From<'a, 's> {
    session: &'a mut Session<'s>,
    other: Option<&'a mut Session<'s>>,
    /// The sender's buffer.
    segments: &'a [Segment],
    /// How long the header in it is.
    skip: usize,
    bounce: &'a mut Bounce,
}

impl<'s> From<'_, 's> {
    /// In which session the receiver's queue is.
    #[inline]
    fn receiver_session(&mut self) -> &mut Session<'s> {
        match &mut self.other {
            Some(other) => other,
            None => self.session,
        }
    }

    fn copy(
        &mut self,
        segments: &[Segment],
        header: Header,
        header_len: usize,
        buffers: usize,
        len: usize,
    ) -> Result<(), Fault> {
        let buffers = u16::try_from(buffers).map_err(|_| Fault)?;
        let header = header.to_bytes(buffers);
        let header = header.get(..header_len).ok_or(Fault)?;
        if let ([from], [to, ..]) = (self.segments, segments) {
            let receiver: &Session<'_> = match &self.other {
                Some(other) => other,
                None => self.session,
            };
            if let (Some(from), Some(to)) = (self.session.source(*from), receiver.target(*to)) {
                if to.write(header, &from, self.skip).is_ok() {
                    return Ok(());
                }
            }
        }
        let mut from = Cursor::new(self.segments);
        from.skip(u64::try_from(self.skip).map_err(|_| Fault)?);
        let mut to = Cursor::new(segments);
        to.write(self.receiver_session(), header)?;
        let len = u32::try_from(len).map_err(|_| Fault)?;
        let done = self.session.copy(
            &mut from,
            self.other.as_deref_mut(),
            &mut to,
            len,
            self.bounce,
        )?;
        if done == len {
            Ok(())
        } else {
            Err(Fault)
        }
    }
}
