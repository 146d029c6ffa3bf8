// SPDX-License-Identifier: GPL-2.0

//! What a device may reach while it works.

use crate::{
    area::Ring,
    bounce::Bounce,
    host::{
        LinearMap,
        Piece, //
    },
    space::Runs,
    table::{
        look_up,
        Run, //
    },
};
use core::cell::Cell;
use kernel::{
    mm::MmWithUser,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
    },
};
use kext::{
    mm::MmSwitch,
    rwsem::ReadGuard, //
};
use virtqueue::{
    Access,
    Cursor,
    Fault,
    GuestAddress,
    GuestMemory,
    Segment, //
};

/// What is mapped, and how it stays so.
pub(crate) enum View<'s> {
    /// All of the kernel's memory, for a driver in the kernel, by physical addresses.
    Window,
    /// Physical memory. Nothing is unmapped while the guard is held.
    Physical(ReadGuard<'s, Runs>),
    /// Memory of a process. Whoever unmaps it need not wait: it is accessed as the process would.
    Virtual {
        /// The [`MapId`] of what is mapped now.
        now: &'s Atomic<u64>,
        /// What was mapped when the session began.
        runs: Runs,
        /// The process.
        mm: ARef<MmWithUser>,
        /// To access it.
        switch: &'s MmSwitch,
    },
}

/// Which state of which address space a session sees; no two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapId(u64);

/// The next one. Every module that links the crate has its own, and its own address spaces.
static NEXT_ID: Atomic<u64> = Atomic::new(1);

impl MapId {
    /// One that nobody had before.
    pub(crate) fn new() -> Self {
        Self(NEXT_ID.fetch_add(1, Relaxed))
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn from_raw(id: u64) -> Self {
        Self(id)
    }
}

/// Access to an address space, for some time.
///
/// A device makes one when it begins to work, and drops it when it is done for the moment: changes of
/// the address space wait for that.
pub struct Session<'s> {
    view: View<'s>,
    id: MapId,
    /// Where the kernel has memory.
    linear: LinearMap,
    /// Where something was found the last time.
    hit: Cell<Run>,
}

impl<'s> Session<'s> {
    pub(crate) fn new(view: View<'s>, id: MapId) -> Self {
        let whole = matches!(view, View::Window);
        Self {
            view,
            id,
            linear: LinearMap::new(),
            hit: Cell::new(Run {
                first: 0,
                last: u64::MAX,
                host: 0,
                readable: whole,
                writable: whole,
            }),
        }
    }

    /// Which state of the address space this is.
    #[inline]
    pub(crate) fn id(&self) -> MapId {
        self.id
    }

    /// Whether this is still what is mapped. Memory of a process that is not mapped any more can be
    /// accessed until the session ends: a device is to look before each buffer.
    #[inline]
    pub fn is_current(&self) -> bool {
        match &self.view {
            View::Virtual { now, .. } => now.load(Relaxed) == self.id.get(),
            View::Window | View::Physical(_) => true,
        }
    }

    /// Makes user addresses those that this session needs. To be called before pieces of it are
    /// accessed, if anything of another session was accessed in between.
    #[inline(always)]
    pub(crate) fn activate(&self) -> Result<(), Fault> {
        match &self.view {
            View::Virtual { mm, switch, .. } => switch.activate(mm).map_err(|_| Fault),
            View::Window | View::Physical(_) => Ok(()),
        }
    }

    /// What there is at an address: not more than `len` bytes, and less if it is in several pieces.
    #[inline]
    pub(crate) fn piece(&self, at: u64, len: usize, access: Access) -> Result<Piece, Fault> {
        let hit = self.hit.get();
        let (host, available) = match hit.find(at, access) {
            Some(found) => found,
            None => self.look_up(at, access)?,
        };
        let len = usize::try_from(available).unwrap_or(usize::MAX).min(len);
        match self.view {
            View::Window | View::Physical(_) => {
                // A kernel driver that has the window open passes addresses of memory that it keeps
                // until the device is done with it. Pieces are not kept beyond the session, but in
                // rings, which are resolved again before they are used in another state of the
                // address space. (C's vhost_vdpa gives up memory just before it tells that it is
                // not mapped any more; that cannot be mended here.)
                // SAFETY: What is mapped stays until it is unmapped, which waits for the guard in
                // the view; of the window and of rings see above. Nothing of it is accessed by
                // references.
                unsafe { Piece::physical(self.linear, host, len) }
            }
            View::Virtual { .. } => Piece::user(host, len),
        }
    }

    #[cold]
    fn look_up(&self, at: u64, access: Access) -> Result<(u64, u64), Fault> {
        let runs = match &self.view {
            View::Window => return Err(Fault),
            View::Physical(runs) => runs.as_slice(),
            View::Virtual { runs, .. } => runs.as_slice(),
        };
        let run = *look_up(runs, at).ok_or(Fault)?;
        let found = run.find(at, access).ok_or(Fault)?;
        self.hit.set(run);
        Ok(found)
    }

    /// Runs `f` on the pieces of `len` bytes at an address.
    #[inline]
    fn pieces(
        &self,
        at: GuestAddress,
        len: usize,
        access: Access,
        mut f: impl FnMut(&Piece, core::ops::Range<usize>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut done: usize = 0;
        while done < len {
            let at = u64::try_from(done)
                .ok()
                .and_then(|done| at.get().checked_add(done))
                .ok_or(Fault)?;
            let piece = self.piece(at, len.wrapping_sub(done), access)?;
            let end = done.checked_add(piece.len()).ok_or(Fault)?;
            if end == done {
                return Err(Fault);
            }
            f(&piece, done..end)?;
            done = end;
        }
        Ok(())
    }

    /// A segment that is in one piece of memory, to read from it; nothing if it is in several.
    #[inline]
    pub fn source(&self, segment: Segment) -> Option<Source<'_>> {
        let len = usize::try_from(segment.len).ok()?;
        let piece = self.piece(segment.at.get(), len, Access::Read).ok()?;
        (piece.len() == len).then_some(Source {
            piece,
            session: self,
        })
    }

    /// A segment that is in one piece of memory, to write to it; nothing if it is in several.
    #[inline]
    pub fn target(&self, segment: Segment) -> Option<Target<'_>> {
        let len = usize::try_from(segment.len).ok()?;
        let piece = self.piece(segment.at.get(), len, Access::Write).ok()?;
        (piece.len() == len).then_some(Target {
            piece,
            session: self,
        })
    }

    /// Copies up to `len` bytes of the readable segments of one buffer to the writable segments of
    /// another one, which is in `peer`'s memory, or in that of this session. Says how many bytes
    /// that were: less than `len` if one of the buffers ends.
    #[inline]
    pub fn copy(
        &mut self,
        from: &mut Cursor<'_>,
        mut peer: Option<&mut Session<'_>>,
        to: &mut Cursor<'_>,
        len: u32,
        bounce: &mut Bounce,
    ) -> Result<u32, Fault> {
        let room = u32::try_from(to.remaining()).unwrap_or(u32::MAX);
        let len = len.min(room);
        let mut done: u32 = 0;
        while done < len {
            let Some(source) = from.next_piece(len.wrapping_sub(done)) else {
                break;
            };
            let mut copied: u32 = 0;
            while copied < source.len {
                let target = to
                    .next_piece(source.len.wrapping_sub(copied))
                    .ok_or(Fault)?;
                let at = source.at.checked_add(copied.into()).ok_or(Fault)?;
                let peer = peer.as_deref_mut();
                self.copy_piece(at, peer, target.at, target.len, bounce)?;
                copied = copied.checked_add(target.len).ok_or(Fault)?;
            }
            done = done.checked_add(source.len).ok_or(Fault)?;
        }
        Ok(done)
    }

    /// Copies what is contiguous on both sides as their drivers see it.
    #[inline]
    fn copy_piece(
        &mut self,
        from: GuestAddress,
        mut peer: Option<&mut Session<'_>>,
        to: GuestAddress,
        len: u32,
        bounce: &mut Bounce,
    ) -> Result<(), Fault> {
        let two_processes = match &peer {
            None => {
                self.activate()?;
                false
            }
            Some(peer) => {
                self.activate()?;
                // Does nothing if only one of them needs it, or both the same.
                peer.activate()?;
                self.is_in_another_process(peer)
            }
        };
        let len = usize::try_from(len).map_err(|_| Fault)?;
        let mut done: usize = 0;
        while done < len {
            let offset = u64::try_from(done).map_err(|_| Fault)?;
            let at = |base: GuestAddress| base.get().checked_add(offset).ok_or(Fault);
            let left = len.wrapping_sub(done);
            let source = self.piece(at(from)?, left, Access::Read)?;
            let target = match &mut peer {
                Some(peer) => peer.piece(at(to)?, source.len(), Access::Write)?,
                None => self.piece(at(to)?, source.len(), Access::Write)?,
            };
            let size = match &peer {
                Some(peer) if two_processes => {
                    let part = bounce.part(target.len())?;
                    self.activate()?;
                    source.read(part)?;
                    peer.activate()?;
                    target.write(part)?;
                    part.len()
                }
                _ => {
                    source.copy_to(&target, target.len(), bounce)?;
                    target.len()
                }
            };
            if size == 0 {
                return Err(Fault);
            }
            done = done.checked_add(size).ok_or(Fault)?;
        }
        Ok(())
    }

    /// Whether both sessions are in memory of processes, and not of the same one.
    fn is_in_another_process(&self, other: &Session<'_>) -> bool {
        match (&self.view, &other.view) {
            (View::Virtual { mm: a, .. }, View::Virtual { mm: b, .. }) => {
                !core::ptr::eq(&raw const **a, &raw const **b)
            }
            _ => false,
        }
    }
}

/// What the device may read, in one piece.
pub struct Source<'a> {
    piece: Piece,
    session: &'a Session<'a>,
}

impl Source<'_> {
    /// Copies its beginning.
    #[inline]
    pub fn read(&self, to: &mut [u8]) -> Result<(), Fault> {
        self.session.activate()?;
        self.piece.read(to)
    }
}

/// What the device may write, in one piece.
pub struct Target<'a> {
    piece: Piece,
    session: &'a Session<'a>,
}

impl Target<'_> {
    /// Writes `start`, and behind it what is in `from` behind as many bytes as given, to its end.
    /// Fails if that does not fit, or if it takes more than one copy: then nothing was done but
    /// that the start may have been written.
    #[inline]
    pub fn write(&self, start: &[u8], from: &Source<'_>, skip: usize) -> Result<(), Fault> {
        if self.session.is_in_another_process(from.session) {
            return Err(Fault);
        }
        // Does nothing for those in the kernel.
        from.session.activate()?;
        self.session.activate()?;
        let source = from.piece.after(skip)?;
        let target = self.piece.after(start.len())?;
        self.piece.write(start)?;
        source.copy_directly_to(&target, source.len())
    }
}

impl GuestMemory for Session<'_> {
    type Area = Ring;

    fn area(&mut self, at: GuestAddress, len: usize, access: Access) -> Result<Ring, Fault> {
        Ring::resolve(at.get(), len, |at, len| self.piece(at, len, access))
    }

    #[inline]
    fn read(&mut self, from: GuestAddress, to: &mut [u8]) -> Result<(), Fault> {
        self.activate()?;
        self.pieces(from, to.len(), Access::Read, |piece, range| {
            piece.read(to.get_mut(range).ok_or(Fault)?)
        })
    }

    #[inline]
    fn write(&mut self, to: GuestAddress, from: &[u8]) -> Result<(), Fault> {
        self.activate()?;
        self.pieces(to, from.len(), Access::Write, |piece, range| {
            piece.write(from.get(range).ok_or(Fault)?)
        })
    }
}
