// SPDX-License-Identifier: GPL-2.0

//! The device side of virtqueues: `rust/virtqueue`.

pub mod driver;
pub mod hostile;
pub mod ram;

#[cfg(test)]
mod cursor;
#[cfg(test)]
mod model;
#[cfg(test)]
mod packed;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod split;
