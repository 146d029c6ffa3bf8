// SPDX-License-Identifier: GPL-2.0

//! One frame: from a buffer of the sender to buffers of the receiver (virtio 1.3, section 5.1.6).

use crate::{
    checksum,
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
    net::{
        Dropped,
        MAX_FRAME, //
    },
    segment::Segments,
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
pub(crate) const MAX_BUFFERS: usize = 64;

/// A buffer of the receiver, and how many bytes it has room for.
pub(crate) type Taken = (Chain, u32);

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
    /// A place for several of them.
    pub(crate) taken: &'a mut [Option<Taken>],
    /// How many segments of the frame were received already.
    pub(crate) resume: &'a mut usize,
    /// Where to work on a frame.
    pub(crate) scratch: &'a mut [u8],
    /// Which frames are lost on purpose.
    pub(crate) dropped: &'a Dropped,
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
        if !(ETHERNET_HEADER_LEN..=MAX_FRAME).contains(&len) {
            return Ok(self.refuse());
        }
        let Ok(header) = Header::parse(header, len, self.negotiated) else {
            return Ok(self.refuse());
        };
        if !self.receiver.accepts(frame, len, &header) || self.dropped.next() {
            self.count_sent(len);
            self.received.drops = self.received.drops.saturating_add(1);
            return Ok(Verdict::Done);
        }
        let work = header.work_for(self.receiver.offloads);
        let Work::None(header) = work else {
            return self.work(session, other, chain.readable(), len, work);
        };
        let put = put(
            &mut Buffers {
                queue: self.queue,
                segments: self.to,
                taken: self.taken,
                header_len: self.receiver.header.bytes(),
                merges: self.merges,
            },
            header,
            len,
            &mut From {
                session,
                other,
                frame: Frame::Sent {
                    segments,
                    skip: header_len,
                    bounce: self.bounce,
                },
            },
        )?;
        Ok(match put {
            Put::Starved => Verdict::Starved,
            Put::Unreadable => self.refuse(),
            put => {
                self.count_sent(len);
                self.count_received(put, len);
                Verdict::Done
            }
        })
    }

    /// Takes a frame to a receiver that does not take it as it is.
    #[cold]
    fn work<'s>(
        &mut self,
        session: &mut Session<'s>,
        mut other: Option<&mut Session<'s>>,
        readable: usize,
        len: usize,
        work: Work,
    ) -> Result<Verdict, QueueError> {
        let Some(bytes) = self.scratch.get_mut(..len) else {
            return Ok(self.refuse());
        };
        let segments = self.from.get(..readable).unwrap_or_default();
        let mut cursor = Cursor::new(segments);
        cursor.skip(u64::try_from(self.header.bytes()).unwrap_or(0));
        if !cursor.read(session, bytes).is_ok_and(|read| read == len) {
            return Ok(self.refuse());
        }
        let header = self.receiver.offloads.done();
        let mut buffers = Buffers {
            queue: self.queue,
            segments: self.to,
            taken: self.taken,
            header_len: self.receiver.header.bytes(),
            merges: self.merges,
        };
        match work {
            Work::None(_) => {}
            Work::Checksum(checksum) => {
                if checksum::complete(bytes, checksum).is_err() {
                    return Ok(self.refuse());
                }
                let mut from = From {
                    session,
                    other,
                    frame: Frame::Made([bytes, &[]]),
                };
                let put = put(&mut buffers, header, len, &mut from)?;
                if let Put::Starved = put {
                    return Ok(Verdict::Starved);
                }
                self.count_received(put, len);
            }
            Work::Segment(large) => {
                let Ok(segments) = Segments::new(bytes, large) else {
                    return Ok(self.refuse());
                };
                // Some were received before there was no buffer for the next.
                for segment in segments.after(*self.resume) {
                    if !self.receiver.fits(segment.len(), &header) {
                        self.received.drops = self.received.drops.saturating_add(1);
                        break;
                    }
                    let mut from = From {
                        session,
                        other: other.as_deref_mut(),
                        frame: Frame::Made([segment.headers(), segment.payload()]),
                    };
                    let put = put(&mut buffers, header, segment.len(), &mut from)?;
                    if let Put::Starved = put {
                        return Ok(Verdict::Starved);
                    }
                    *self.resume = self.resume.saturating_add(1);
                    count_received(self.received, put, segment.len());
                }
                *self.resume = 0;
            }
        }
        self.count_sent(len);
        Ok(Verdict::Done)
    }

    fn count_received(&mut self, put: Put, len: usize) {
        count_received(self.received, put, len);
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
}

fn count_received(received: &mut Delta, put: Put, len: usize) {
    match put {
        Put::Done => {
            received.packets = received.packets.saturating_add(1);
            let bytes = u64::try_from(len).unwrap_or(0);
            received.bytes = received.bytes.saturating_add(bytes);
        }
        Put::TooLong | Put::Unwritable => received.errors = received.errors.saturating_add(1),
        Put::Starved | Put::Unreadable => {}
    }
}

/// Where the receiver's buffers are, and how it takes frames.
struct Buffers<'a> {
    queue: &'a mut GuestQueue,
    segments: &'a mut [Segment],
    taken: &'a mut [Option<Taken>],
    header_len: usize,
    merges: bool,
}

/// Puts a frame into as many buffers as it needs.
#[inline]
fn put(
    to: &mut Buffers<'_>,
    header: Header,
    len: usize,
    from: &mut From<'_, '_>,
) -> Result<Put, QueueError> {
    let Some(wanted) = u32::try_from(len.saturating_add(to.header_len)).ok() else {
        return Ok(Put::TooLong);
    };
    // Most frames need one buffer.
    let Some(first) = next(to.queue, from.receiver_session(), to.segments)? else {
        return Ok(Put::Starved);
    };
    let room = room_of(first, to.segments)?;
    if room < wanted {
        if to.merges {
            return put_merged(to, (first, room), header, wanted, from);
        }
        to.queue.put_back(first);
        return Ok(Put::TooLong);
    }
    let segments = to.segments.get(..first.writable()).unwrap_or_default();
    let copied = from.copy(segments, header, to.header_len, 1, wanted);
    let written = if copied.is_ok() { wanted } else { 0 };
    to.queue.complete(from.receiver_session(), first, written)?;
    Ok(match copied {
        Ok(()) => Put::Done,
        Err(Fault) => from.whose_fault(),
    })
}

/// As [`put`], for a frame that needs more than the buffer that was taken for it.
fn put_merged(
    to: &mut Buffers<'_>,
    first: Taken,
    header: Header,
    wanted: u32,
    from: &mut From<'_, '_>,
) -> Result<Put, QueueError> {
    let mut count: usize = 0;
    let mut room: u32 = 0;
    let mut used: usize = 0;
    let mut taken = Some(first);
    let enough = loop {
        let Some((chain, size)) = taken.take() else {
            break Ok(Put::Starved);
        };
        let Some(slot) = to.taken.get_mut(count) else {
            to.queue.put_back(chain);
            break Ok(Put::TooLong);
        };
        *slot = Some((chain, size));
        count = count.saturating_add(1);
        used = used.saturating_add(chain.writable());
        room = room.saturating_add(size);
        if room >= wanted {
            break Ok(Put::Done);
        }
        let free = to.segments.get_mut(used..).unwrap_or_default();
        match next(to.queue, from.receiver_session(), free) {
            Ok(Some(chain)) => match room_of(chain, free) {
                Ok(size) => taken = Some((chain, size)),
                Err(error) => {
                    to.queue.put_back(chain);
                    break Err(error);
                }
            },
            Ok(None) => {}
            Err(error) => break Err(error),
        }
    };
    let taken = to.taken.get(..count).unwrap_or_default();
    if !matches!(enough, Ok(Put::Done)) {
        for (chain, _) in taken.iter().rev().flatten() {
            to.queue.put_back(*chain);
        }
        return enough;
    }
    let segments = to.segments.get(..used).unwrap_or_default();
    let copied = from.copy(segments, header, to.header_len, count, wanted);
    let mut left = if copied.is_ok() { wanted } else { 0 };
    for (chain, size) in taken.iter().flatten() {
        let written = left.min(*size);
        left = left.saturating_sub(written);
        to.queue
            .complete(from.receiver_session(), *chain, written)?;
    }
    Ok(match copied {
        Ok(()) => Put::Done,
        Err(Fault) => from.whose_fault(),
    })
}

/// The receiver's next buffer. If there is none, its driver is asked to kick when there is: here,
/// where all others are taken, since with an event index that says after which buffer.
#[inline]
fn next(
    queue: &mut GuestQueue,
    session: &mut Session<'_>,
    segments: &mut [Segment],
) -> Result<Option<Chain>, QueueError> {
    match queue.next(session, segments)? {
        Some(chain) => Ok(Some(chain)),
        None if queue.enable_kicks(session)? => queue.next(session, segments),
        None => Ok(None),
    }
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

/// What became of a frame in the receiver's queue.
enum Put {
    /// It is there.
    Done,
    /// There are not enough buffers now.
    Starved,
    /// There never will be.
    TooLong,
    /// It is not in memory that the sender's device may read.
    Unreadable,
    /// The buffer is not in memory that the receiver's device may write.
    Unwritable,
}

/// A frame where it comes from.
enum Frame<'a> {
    /// A buffer of the sender.
    Sent {
        segments: &'a [Segment],
        /// How long the header in it is.
        skip: usize,
        bounce: &'a mut Bounce,
    },
    /// What the device made of such a buffer.
    Made([&'a [u8]; 2]),
}

/// A frame, and the sessions between which it is to be copied.
struct From<'a, 's> {
    session: &'a mut Session<'s>,
    other: Option<&'a mut Session<'s>>,
    frame: Frame<'a>,
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

    /// Copies the header and the frame, `wanted` bytes in all.
    #[inline]
    fn copy(
        &mut self,
        to: &[Segment],
        header: Header,
        header_len: usize,
        buffers: usize,
        wanted: u32,
    ) -> Result<(), Fault> {
        let buffers = u16::try_from(buffers).map_err(|_| Fault)?;
        let header = header.to_bytes(buffers);
        let header = header.get(..header_len).ok_or(Fault)?;
        let (segments, skip, bounce) = match &mut self.frame {
            Frame::Sent {
                segments,
                skip,
                bounce,
            } => (*segments, *skip, bounce),
            Frame::Made(parts) => {
                let parts = *parts;
                let mut to = Cursor::new(to);
                let session = self.receiver_session();
                let mut written = to.write(session, header)?;
                for part in parts {
                    written = written.saturating_add(to.write(session, part)?);
                }
                return check(u32::try_from(written).is_ok_and(|written| written == wanted));
            }
        };
        if let ([from], [to, ..]) = (segments, to) {
            let receiver: &Session<'_> = match &self.other {
                Some(other) => other,
                None => self.session,
            };
            if let (Some(from), Some(to)) = (self.session.source(*from), receiver.target(*to)) {
                if to.write(header, &from, skip).is_ok() {
                    return Ok(());
                }
            }
        }
        let mut from = Cursor::new(segments);
        from.skip(u64::try_from(skip).map_err(|_| Fault)?);
        let mut to = Cursor::new(to);
        let session = match &mut self.other {
            Some(other) => &mut **other,
            None => &mut *self.session,
        };
        let written = u32::try_from(to.write(session, header)?).map_err(|_| Fault)?;
        let len = wanted.saturating_sub(written);
        let other = self.other.as_deref_mut();
        let done = self.session.copy(&mut from, other, &mut to, len, bounce)?;
        check(done == len)
    }

    /// Why a frame could not be copied.
    #[cold]
    fn whose_fault(&mut self) -> Put {
        let Frame::Sent { segments, .. } = self.frame else {
            return Put::Unwritable;
        };
        let mut from = Cursor::new(segments);
        let mut bytes = [0; 256];
        loop {
            match from.read(self.session, &mut bytes) {
                Ok(0) => return Put::Unwritable,
                Ok(_) => {}
                Err(Fault) => return Put::Unreadable,
            }
        }
    }
}

fn check(complete: bool) -> Result<(), Fault> {
    if complete {
        Ok(())
    } else {
        Err(Fault)
    }
}
