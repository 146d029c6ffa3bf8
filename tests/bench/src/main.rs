// SPDX-License-Identifier: GPL-2.0
//! What tools/bench and tools/profile run in a VM. Results are lines of words, which
//! tools/bench-report.py reads.

mod devices;
mod nic;
mod packets;
mod pktgen;
mod stack;

use std::process::ExitCode;

const USAGE: &str = "vdpa-bench devices | packets | pairs | traffic FEATURES SIZE PAIRS

  devices   making, listing and removing devices, on C's stack and on ours
  packets   packets looped back, on C's stack and on ours
  pairs     packets on one pair of queues and on four, on two CPUs
  traffic   packets, until there is a file /out/stop; FEATURES `default` or a number";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["devices"] => devices::measure(),
        ["packets"] => packets::measure(),
        ["pairs"] => packets::compare_pairs(),
        ["traffic", features, size, pairs] => packets::traffic(features, size, pairs),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
