// SPDX-License-Identifier: GPL-2.0
//! What the in-VM test programs share.
//!
//! A test is a function that panics when it fails. What it makes (modules,
//! devices, files) is held by guards, so a failed test cleans up, too, and the
//! programs can run one after the other in one VM.

pub mod card;
pub mod conformance;
pub mod differences;
pub mod errno;
pub mod faults;
pub mod genl;
pub mod guest;
pub mod kmsg;
pub mod ktap;
pub mod kunit;
pub mod mount;
pub mod nl;
pub mod parent;
pub mod pins;
pub mod qemu;
pub mod sim;
pub mod sys;
pub mod trouble;
pub mod user;
pub mod user_disk;
pub mod user_nic;
pub mod vdpa;
pub mod vduse;
pub mod vhost;
pub mod vp;
pub mod wire;
pub mod withheld;

pub use errno::Errno;
