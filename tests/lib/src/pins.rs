// SPDX-License-Identifier: GPL-2.0
//! Memory that is kept where it is for devices: of this process, and of all.

use crate::sys;

fn of_process(field: &str) -> u64 {
    let status = sys::read("/proc/self/status");
    let line = status.lines().find_map(|l| l.strip_prefix(field));
    let number = line.map(|l| l.trim().trim_end_matches(" kB"));
    let number = number.unwrap_or_else(|| panic!("a line {field}"));
    number.parse().expect("a number")
}

/// Kilobytes that are pinned on account of this process.
pub fn pinned() -> u64 {
    of_process("VmPin:")
}

/// Kilobytes that are locked on account of this process.
pub fn locked() -> u64 {
    of_process("VmLck:")
}

/// How many pages are pinned on this machine, each as often as it was: those that
/// were pinned until now and not released.
pub fn on_machine() -> i64 {
    // Each processor counts on its own until it is asked to tell.
    sys::read("/proc/sys/vm/stat_refresh");
    let counters = sys::read("/proc/vmstat");
    let counter = |name: &str| {
        let line = counters.lines().find_map(|l| l.strip_prefix(name));
        let number = line.unwrap_or_else(|| panic!("a line {name}")).trim();
        number.parse::<i64>().expect("a number")
    };
    counter("nr_foll_pin_acquired ") - counter("nr_foll_pin_released ")
}
