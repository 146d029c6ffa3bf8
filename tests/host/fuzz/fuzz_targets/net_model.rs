// SPDX-License-Identifier: GPL-2.0

//! What drivers of the simulated network device do: commands, configuration, frames to be checked
//! and cut.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| vdpa_host::sim_net::check_input(bytes));
