// SPDX-License-Identifier: GPL-2.0
//! The kernel's packet generator (Documentation/networking/pktgen.rst).

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use vdpa_test::sys;

use crate::nic;

const FOLDER: &str = "/proc/net/pktgen";

/// What one thread of the generator sends.
pub struct Flow<'a> {
    pub interface: &'a str,
    /// The size of a frame without its checksum, in bytes.
    pub size: u32,
    /// The queues to send on, one after the other.
    pub queues: RangeInclusive<u16>,
    /// How many; 0 is until told to stop.
    pub count: u64,
}

fn write(file: &str, command: &str) {
    sys::write(format!("{FOLDER}/{file}"), command);
}

/// Gives each thread of the generator, of which every CPU has one, a flow.
pub fn set_up(flows: &[Flow]) {
    write("pgctrl", "reset");
    for (number, flow) in flows.iter().enumerate() {
        let device = format!("{}@{number}", flow.interface);
        write(
            &format!("kpktgend_{number}"),
            &format!("add_device {device}"),
        );
        for command in [
            format!("count {}", flow.count),
            format!("pkt_size {}", flow.size),
            format!("dst_mac {}", nic::ADDRESS),
            format!("queue_map_min {}", flow.queues.start()),
            format!("queue_map_max {}", flow.queues.end()),
            "delay 0".to_string(),
        ] {
            write(&device, &command);
        }
    }
}

/// Sends what was set up, which has an end. Returns the time that the flow of the first
/// thread took, in microseconds.
pub fn run(interface: &str) -> u64 {
    write("pgctrl", "start");
    let result = sys::read(format!("{FOLDER}/{interface}@0"));
    // "Result: OK: 90321(c89321+d1000) usec, 10000 (60byte,0frags)"
    let time = result
        .split_once("Result: OK: ")
        .and_then(|(_, rest)| rest.split_once('('))
        .and_then(|(time, _)| time.parse().ok());
    time.unwrap_or_else(|| panic!("no result of the packet generator: {result}"))
}

/// Sends what was set up while `meanwhile` runs; returns how long that was.
pub fn run_while(meanwhile: impl FnOnce()) -> Duration {
    thread::scope(|scope| {
        // The write ends when the generator does.
        let generator = scope.spawn(|| write("pgctrl", "start"));
        let start = Instant::now();
        meanwhile();
        let time = start.elapsed();
        write("pgctrl", "stop");
        generator.join().expect("the packet generator");
        time
    })
}
