// SPDX-License-Identifier: GPL-2.0

//! The device side of virtqueues: `rust/virtqueue`.

pub mod ram;

#[cfg(test)]
mod split;
