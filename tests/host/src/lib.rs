// SPDX-License-Identifier: GPL-2.0

//! The kernel-free files of the modules, and what has to hold of them.
//!
//! The functions named `check_*` take any input and panic if something does not hold. Property
//! tests and fuzz targets call the same ones.

pub mod config_space;
pub mod genetlink;
pub mod netlink;
pub mod sim_net;
pub mod virtqueue;

#[cfg(test)]
mod types;

/// How the property tests run: the number of cases is `PROPTEST_CASES`, the seed
/// `PROPTEST_RNG_SEED`. What fails becomes a unit test; nothing is written beside the sources.
#[cfg(test)]
fn cases() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        failure_persistence: None,
        ..Default::default()
    }
}
