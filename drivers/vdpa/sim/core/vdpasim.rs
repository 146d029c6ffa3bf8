// SPDX-License-Identifier: GPL-2.0

//! What all simulated devices have in common.
//!
//! A [`Simulator`] is a vDPA device made of software: status, features, virtqueues, address spaces.
//! What makes it a network card or a disk is its [`Model`], which gets to run when there is something
//! in a queue, and then moves data between buffers.
//!
//! # Where a device runs
//!
//! In threads, as memory of a process may have to be read from a disk first, and changes of a mapping
//! are waited for. With a driver in the kernel, whose memory can be reached from anywhere, now and
//! then in the context of a kick: see [`Place`].
//!
//! # Locks
//!
//! In this order:
//!
//! - `Simulator::control`, for what changes the state of the device as a whole;
//! - the [`Claim`](kext::claim::Claim)s of virtqueues: of a queue that sends, then of the queue that
//!   receives from it, for which a running device only tries;
//! - the semaphores in [`guestmem`].
//!
//! Interrupts are raised when no semaphore is held, and of a queue that receives not even its claim,
//! since a driver may answer with a kick. One that is processed in that kick finds the claim of the
//! queue that sends taken, and leaves what there is to do to who has it.

mod active;
mod faults;
mod model;
mod ops;
mod parameters;
mod simulator;
mod virt_queue;

pub use self::{
    faults::Faults,
    model::{
        Model,
        Place, //
    },
    parameters::Parameters,
    simulator::{
        Executors,
        Simulator, //
    },
    virt_queue::{
        Inner,
        Open,
        QueueData,
        VirtQueue, //
    },
};

/// What messages of the kernel log begin with, where no device is named.
const __LOG_PREFIX: &[u8] = b"vdpa_sim\0";
