// SPDX-License-Identifier: GPL-2.0

//! A virtqueue in the memory of its driver.

use crate::{
    area::Ring,
    session::{
        MapId,
        Session, //
    },
};
use virtqueue::{
    Chain,
    Config,
    Error,
    Queue,
    Segment,
    State, //
};

/// A virtqueue. Everything that is done with it needs a [`Session`] of the address space in which it
/// is, in which its rings are resolved again if that has changed.
///
/// # Invariants
///
/// The rings of `queue` are what `map` was when they were resolved; they are not accessed in a
/// session of another state.
pub struct GuestQueue {
    queue: Queue<Ring>,
    map: MapId,
}

macro_rules! forward {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $result:ty;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self, session: &mut Session<'_> $(, $arg: $ty)*) -> Result<$result, Error> {
            self.enter(session)?;
            self.queue.$name($($arg),*)
        }
    )*};
}

impl GuestQueue {
    /// Resolves the rings and goes on at `state`. Fails if they cannot be.
    pub fn new(config: &Config, state: State, session: &mut Session<'_>) -> Result<Self, Error> {
        session.activate().map_err(|_| Error::Fault)?;
        // INVARIANT: The rings are resolved in this session.
        Ok(Self {
            queue: Queue::new(config, state, session)?,
            map: session.id(),
        })
    }

    #[inline(always)]
    fn enter(&mut self, session: &mut Session<'_>) -> Result<(), Error> {
        session.activate().map_err(|_| Error::Fault)?;
        if self.map == session.id() {
            Ok(())
        } else {
            self.remap(session)
        }
    }

    #[cold]
    fn remap(&mut self, session: &mut Session<'_>) -> Result<(), Error> {
        // It may be mapped again soon: no reason to give up the queue.
        self.queue.remap(session).map_err(|_| Error::NotMapped)?;
        // INVARIANT: The rings were just resolved in this session.
        self.map = session.id();
        Ok(())
    }

    /// Takes the next available buffer; nothing if there is none.
    #[inline]
    pub fn next(
        &mut self,
        session: &mut Session<'_>,
        segments: &mut [Segment],
    ) -> Result<Option<Chain>, Error> {
        self.enter(session)?;
        self.queue.next(session, segments)
    }

    /// Gives back the buffer that was taken last.
    #[inline]
    pub fn put_back(&mut self, chain: Chain) {
        self.queue.put_back(chain);
    }

    forward! {
        /// Marks a buffer as used.
        complete(chain: Chain, written: u32) -> ();
        /// Shows the driver what was used.
        publish() -> ();
        /// Whether the driver wants an interrupt for it.
        needs_interrupt() -> bool;
        /// Asks the driver not to kick.
        disable_kicks() -> ();
        /// Asks the driver to kick, and says whether there are buffers already.
        enable_kicks() -> bool;
        /// Whether there are buffers.
        has_available() -> bool;
    }

    /// Where to go on.
    pub fn state(&self) -> State {
        self.queue.state()
    }
}
