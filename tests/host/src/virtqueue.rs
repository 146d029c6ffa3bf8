// SPDX-License-Identifier: GPL-2.0

//! The device side of virtqueues: `rust/virtqueue`.

pub mod driver;
pub mod hostile;
pub mod ram;

#[cfg(test)]
mod cursor;
// Miri has no sockets.
#[cfg(all(test, not(miri)))]
mod libblkio;
#[cfg(test)]
mod model;
#[cfg(test)]
mod packed;
#[cfg(test)]
mod pair;
// Where hardware allows accesses of several sizes at a time, Miri does not.
#[cfg(all(test, not(miri)))]
mod shared;
#[cfg(test)]
mod split;
#[cfg(all(test, not(miri)))]
mod threads;
