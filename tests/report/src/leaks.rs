// SPDX-License-Identifier: GPL-2.0
//! Reads what kmemleak found and tells during which test it was allocated.

use std::collections::HashSet;

use vdpa_test::ktap::MARK;

use crate::log::Report;

/// CONFIG_HZ of the kernels that we test on (tools/debug/base.config).
const HZ: f64 = 250.0;

const OBJECT: &str = "unreferenced object ";
const CLOCK: &str = "rvdpa-clock: jiffies: ";

/// The time of a line of the kernel's log, in seconds.
fn time(line: &str) -> Option<f64> {
    let (time, _) = line.split_once('[')?.1.split_once(']')?;
    time.trim().parse().ok()
}

/// Which test ran when.
struct Timeline<'a> {
    /// When a test began, and its name as reports have it.
    tests: Vec<(f64, &'a str)>,
    /// A moment, in jiffies and in seconds.
    clock: Option<(f64, f64)>,
}

impl<'a> Timeline<'a> {
    fn new(log: &'a str) -> Self {
        let mut timeline = Timeline {
            tests: Vec::new(),
            clock: None,
        };
        for line in log.lines() {
            let Some(time) = time(line) else { continue };
            if let Some((_, test)) = line.split_once(MARK) {
                timeline.tests.push((time, test.trim()));
            } else if let Some((_, jiffies)) = line.split_once(CLOCK) {
                timeline.clock = jiffies.trim().parse().ok().map(|j| (j, time));
            }
        }
        timeline
    }

    fn test_at(&self, jiffies: f64) -> String {
        let Some((now_jiffies, now)) = self.clock else {
            return "an unknown test".into();
        };
        let time = now - (now_jiffies - jiffies) / HZ;
        let before = self.tests.iter().take_while(|(start, _)| *start <= time);
        before
            .last()
            .map_or("boot".into(), |(_, test)| test.replacen(": ", ".", 1))
    }
}

fn jiffies(block: &[&str]) -> Option<f64> {
    let line = block.iter().find_map(|l| l.split_once(", jiffies "))?;
    line.1.split_whitespace().next()?.parse().ok()
}

/// The leaks in what was read from kmemleak, perhaps several times, each told once.
pub fn read(kmemleak: &str, log: &str) -> Vec<Report> {
    let timeline = Timeline::new(log);
    let lines: Vec<_> = kmemleak.lines().collect();
    let starts: Vec<_> = (0..lines.len())
        .filter(|&n| lines[n].starts_with(OBJECT))
        .collect();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(lines.len());
        let block = &lines[start..end];
        let jiffies = jiffies(block);
        if seen.insert((block[0], jiffies.map(|j| j as u64))) {
            found.push(Report {
                test: jiffies.map_or("an unknown test".into(), |j| timeline.test_at(j)),
                lines: block.iter().map(|l| l.to_string()).collect(),
                announced: false,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[    2.000000] rvdpa-test: a: first
[    4.000000] rvdpa-test: a: second
[    6.000000] rvdpa-test: a: end
[   12.000000] rvdpa-clock: jiffies: 4294895296
";
    const LEAK: &str = "\
unreferenced object 0xffff888104d2c000 (size 64):
  comm \"insmod\", pid 104, jiffies 4294893546 (age 7.000s)
  backtrace (crc 0):
    kmalloc+0x1/0x2
";

    #[test]
    fn during_which_test() {
        let found = read(LEAK, LOG);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].test, "a.second");
        assert_eq!(found[0].lines.len(), 4);
        let early = LEAK.replace("4294893546", "4294892400");
        assert_eq!(read(&early, LOG)[0].test, "boot");
    }

    #[test]
    fn told_once() {
        let other = LEAK.replace("4d2c000", "4d2c040");
        assert_eq!(read(&format!("{LEAK}{LEAK}{other}"), LOG).len(), 2);
        assert!(read("", LOG).is_empty());
    }
}
