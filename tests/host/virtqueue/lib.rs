// SPDX-License-Identifier: GPL-2.0

//! The files of `rust/virtqueue`, under the names that they have there.

#![no_std]
#![forbid(unsafe_code)]

#[path = "../../../rust/virtqueue/chain.rs"]
mod chain;
#[path = "../../../rust/virtqueue/cursor.rs"]
mod cursor;
#[path = "../../../rust/virtqueue/error.rs"]
mod error;
#[path = "../../../rust/virtqueue/indirect.rs"]
mod indirect;
#[path = "../../../rust/virtqueue/memory.rs"]
mod memory;
#[path = "../../../rust/virtqueue/packed.rs"]
mod packed;
#[path = "../../../rust/virtqueue/queue.rs"]
mod queue;
#[path = "../../../rust/virtqueue/split.rs"]
mod split;

pub use self::{
    chain::{Chain, Segment},
    cursor::Cursor,
    error::Error,
    memory::{Access, Area, Fault, GuestAddress, GuestMemory},
    queue::{Config, Format, Position, Queue, State},
};
