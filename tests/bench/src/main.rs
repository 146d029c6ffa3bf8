// SPDX-License-Identifier: GPL-2.0
//! What tools/bench and tools/profile run in a VM. Results are lines of words, which
//! tools/bench-report.py reads.

mod clock;
mod devices;
mod maps;
mod nic;
mod nodes;
mod packets;
mod pktgen;
mod profile;
mod stack;

use std::process::ExitCode;

const USAGE: &str = "vdpa-bench devices | packets | pairs | maps | nodes
vdpa-bench traffic FEATURES SIZE PAIRS
vdpa-bench mapping KIND WAY MIB
vdpa-bench opening

  devices   making, listing and removing devices, on C's stack and on ours
  packets   packets looped back, on C's stack and on ours
  pairs     packets on one pair of queues and on four, on two CPUs
  maps      memory mapped and unmapped, on C's stack and on ours
  nodes     nodes of vhost_vdpa opened, set up, kicked and closed, on both
  traffic   packets until there is a file /out/stop; FEATURES `default` or a number
  mapping   memory mapped and unmapped until then; KIND 4k, thp, scattered or file,
            WAY one, batch or at_once
  opening   a node opened, set up and closed until then";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["devices"] => devices::measure(),
        ["packets"] => packets::measure(),
        ["pairs"] => packets::compare_pairs(),
        ["maps"] => maps::measure(),
        ["nodes"] => nodes::measure(),
        ["mapping", kind, way, mib] => maps::repeat(kind, way, mib),
        ["opening"] => nodes::repeat(),
        ["traffic", features, size, pairs] => packets::traffic(features, size, pairs),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
