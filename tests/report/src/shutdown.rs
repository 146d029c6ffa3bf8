// SPDX-License-Identifier: GPL-2.0
//! The results of the test program that reboots its VM: it cannot tell them
//! itself, so they are read from the console's log and told in its name.

use vdpa_test::differences::{Difference, Kind};

pub const PROGRAM: &str = "shutdown";

/// The KTAP that the program would have printed.
pub fn results(console: &str, differences: &[Difference]) -> String {
    let reboot = console
        .split_once("rvdpa-test: shutdown: reboots")
        .map_or("", |p| p.1);
    let resets = |device: &str| {
        let lines = reboot.lines().filter(|l| l.contains("recorder: "));
        lines
            .filter(|l| l.contains(&format!("reset {device} cf=")))
            .count()
    };
    let tests = [
        ("reboots", reboot.contains("reboot: Restarting system")),
        (
            "bound_devices_are_reset",
            resets("bound0") == 1 && resets("bound1") == 1,
        ),
        (
            "others_are_left_alone",
            !reboot.is_empty() && resets("unbound") == 0,
        ),
    ];
    let mut text = format!("1..{}\n", tests.len());
    for (n, (name, ok)) in tests.iter().enumerate() {
        let full = format!("{PROGRAM}.{name}");
        let xfail = differences
            .iter()
            .find(|d| d.test == full && d.kind == Kind::Xfail);
        let line = match (ok, xfail) {
            (false, Some(d)) => format!("ok {} {name} # XFAIL {}\n", n + 1, d.reason),
            (true, None) => format!("ok {} {name}\n", n + 1),
            _ => format!("not ok {} {name}\n", n + 1),
        };
        text += &line;
    }
    text + &format!("# program ended: {PROGRAM} 0\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "rvdpa-test: shutdown: reboots\nrecorder: reset bound0 cf=w valid=0\n\
                       recorder: reset bound1 cf=w valid=0\nreboot: Restarting system\n";

    #[test]
    fn good() {
        assert!(!results(LOG, &[]).contains("not ok"));
    }

    #[test]
    fn bad() {
        assert_eq!(results("", &[]).matches("not ok").count(), 3);
        let one = LOG.replace("reset bound1", "reset unbound");
        assert_eq!(results(&one, &[]).matches("not ok").count(), 2);
    }
}
