// SPDX-License-Identifier: GPL-2.0
//! Fuzzers that run in a VM, guided by the coverage of our modules.
//!
//! A fuzzer is a [`Target`]: it makes inputs at random, changes those that were
//! good, and has a worker for each thread that gives inputs to the kernel. The
//! rest is here: threads, coverage, the corpus, what is left behind after a
//! crash, and the watch over the kernel's log.

pub mod corpus;
pub mod coverage;
pub mod functions;
pub mod journal;
pub mod kcov;
pub mod netlink;
pub mod options;
pub mod points;
pub mod random;
pub mod report;
pub mod session;
pub mod text;
pub mod vhost;

pub use options::Options;
pub use random::Random;
pub use session::{Input, Session, Target, Worker};
