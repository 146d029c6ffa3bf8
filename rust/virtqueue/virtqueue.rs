// SPDX-License-Identifier: GPL-2.0

//! The device side of a virtqueue (virtio 1.3, sections 2.6 to 2.8), split and packed.
//!
//! A [`Queue`] takes the buffers that a driver makes available and gives them back as used. Memory
//! is behind a trait, [`GuestMemory`]: what holds a ring is resolved once ([`Area`]), what is in a
//! buffer is reached through the memory. There are no kernel types here, so that the same source is
//! tested and fuzzed on the host (`tests/host`), and no unsafe code.
//!
//! # Trust
//!
//! The driver is not trusted. It may write to its rings at any time, so everything is loaded once,
//! then checked, then used. Whatever is in them, an operation ends after a number of steps that
//! the queue's size and the caller's slice of segments bound, and nothing is reached but the rings,
//! indirect tables, and what the memory lets through. What is malformed is an [`Error`], after which
//! [`Queue::next`] fails until the queue is made anew.
//!
//! # Use
//!
//! ```ignore
//! queue.disable_kicks()?;
//! loop {
//!     while let Some(chain) = queue.next(memory, &mut segments)? {
//!         let written = serve(memory, &chain, &segments)?;
//!         queue.complete(chain, written)?;
//!     }
//!     queue.publish()?;
//!     if queue.needs_interrupt()? {
//!         interrupt();
//!     }
//!     if !queue.enable_kicks()? {
//!         break;
//!     }
//!     queue.disable_kicks()?;
//! }
//! ```

#![forbid(unsafe_code)]

mod chain;
mod cursor;
mod error;
mod indirect;
mod memory;
mod packed;
mod queue;
mod split;

pub use self::{
    chain::{
        Chain,
        Segment, //
    },
    cursor::Cursor,
    error::Error,
    memory::{
        Access,
        Area,
        Fault,
        GuestAddress,
        GuestMemory, //
    },
    queue::{
        Config,
        Format,
        Position,
        Queue,
        State, //
    },
};
