// SPDX-License-Identifier: GPL-2.0
//! Finds reports of trouble in a kernel log and the tests during which they came.

use vdpa_test::differences::{Difference, Kind};
use vdpa_test::kmsg::ANNOUNCED;
use vdpa_test::ktap::MARK;
use vdpa_test::trouble::is_trouble;

const LONGEST_REPORT: usize = 150;

#[derive(Debug)]
pub struct Report {
    /// `PROGRAM.TEST`, or `boot` before the first test.
    pub test: String,
    pub lines: Vec<String>,
    /// Whether the test had said that it would come.
    pub announced: bool,
}

impl Report {
    /// The reason for which it is none of ours, if `known` (tests/known-reports) has one.
    pub fn known<'a>(&self, known: &'a str) -> Option<&'a str> {
        let lines = known.lines().filter(|l| !l.starts_with('#'));
        lines
            .filter_map(|l| l.split_once(": "))
            .find(|(words, _)| {
                let mut words = words.split_whitespace();
                words.all(|w| self.lines.iter().any(|l| l.contains(w)))
            })
            .map(|(_, reason)| reason)
    }

    pub fn allowed(&self, differences: &[Difference]) -> bool {
        differences.iter().any(|d| match &d.kind {
            Kind::Report(text) => {
                d.test == self.test && self.lines.iter().any(|l| l.contains(text.as_str()))
            }
            _ => false,
        })
    }
}

impl Report {
    /// Whether the line is the last of the report, which it is part of by now.
    fn ends_with(&self, line: &str) -> bool {
        // What an IOMMU refused is told in a line.
        if line.contains("[fault reason") {
            return true;
        }
        let has = |text: &str| self.lines.iter().any(|l| l.contains(text));
        if has("KASAN") {
            // More follows the stack: who allocated and who freed.
            line.contains("==========")
        } else if has("[ cut here ]") {
            // Nor is the end of a stack the end of a warning.
            line.contains("---[ end trace")
        } else {
            line.contains("---[ end trace") || line.contains("</TASK>")
        }
    }
}

/// All reports in a log. One that has begun takes the lines up to its end.
pub fn scan(log: &str) -> Vec<Report> {
    let mut found: Vec<Report> = Vec::new();
    let mut test = "boot".to_string();
    let mut announced: Vec<&str> = Vec::new();
    let mut open = false;
    for line in log.lines() {
        if let Some((_, mark)) = line.split_once(MARK) {
            test = mark.trim().replacen(": ", ".", 1);
            announced.clear();
            open = false;
            continue;
        }
        if let Some((_, text)) = line.split_once(ANNOUNCED) {
            announced.push(text.trim());
            continue;
        }
        if open {
            let report = found.last_mut().expect("an open report");
            report.lines.push(line.to_string());
            open = !report.ends_with(line) && report.lines.len() < LONGEST_REPORT;
        } else if is_trouble(line) {
            let report = Report {
                test: test.clone(),
                lines: vec![line.to_string()],
                announced: announced.iter().any(|text| line.contains(text)),
            };
            // What is announced is a line.
            open = !report.announced && !report.ends_with(line);
            found.push(report);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[    1.0] Linux version 7.3.4
[    2.0] rvdpa-test: names: empty
[    2.1] ------------[ cut here ]------------
[    2.1] kobject: attempted to be registered with empty name!
[    2.1] WARNING: CPU: 0 PID: 1 at lib/kobject.c:219
[    2.1] Call Trace:
[    2.1]  </TASK>
[    2.1] more
[    2.1] ---[ end trace 0000 ]---
[    3.0] rvdpa-test: dump: all
[    3.1] vdpa: fine
[    3.2] BUG: KASAN: use-after-free
";

    #[test]
    fn attributes_reports_to_tests() {
        let found = scan(LOG);
        let tests: Vec<_> = found.iter().map(|r| r.test.as_str()).collect();
        assert_eq!(tests, ["names.empty", "dump.all"]);
        assert_eq!(found[0].lines.len(), 7);
    }

    #[test]
    fn only_the_named_test_may_warn() {
        let allow = |test: &str| Difference {
            module: "m".into(),
            test: test.into(),
            kind: Kind::Report("empty name".into()),
            reason: String::new(),
        };
        let found = scan(LOG);
        assert!(found[0].allowed(&[allow("names.empty")]));
        assert!(!found[0].allowed(&[allow("names.other")]));
        assert!(!found[1].allowed(&[allow("dump.all")]));
    }

    #[test]
    fn a_report_of_kasan_is_one() {
        let log = "rvdpa-test: a: b\n==================================\n\
                   BUG: KASAN: slab-use-after-free in f+0x1/0x2\nCall Trace:\n </TASK>\n\
                   Freed by task 1:\n==================================\nBUG: another\n";
        let found = scan(log);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].lines.len(), 5);
    }

    #[test]
    fn known_reports_have_all_the_words() {
        let report = &scan("WARNING: free active a_timer\n in_this_function\n")[0];
        let known = "# a comment: no\n\nWARNING elsewhere: no\nWARNING in_this_function: yes\n";
        assert_eq!(report.known(known), Some("yes"));
        assert_eq!(report.known("a_timer elsewhere: no"), None);
        assert_eq!(report.known(""), None);
    }

    #[test]
    fn what_a_test_announced() {
        let fault = "DMAR: [DMA Read NO_PASID] Request device [0000:00:10.0] fault addr 0x1000 \
                     [fault reason 0x06] PTE Read access is not set\n";
        let log = format!(
            "{fault}rvdpa-test: a: b\nrvdpa-expect: [fault reason\n{fault}BUG: one\n </TASK>\n\
             {fault}rvdpa-test: a: c\n{fault}"
        );
        let told: Vec<_> = scan(&log)
            .into_iter()
            .map(|r| (r.test, r.announced))
            .collect();
        let [b, c] = ["a.b", "a.c"].map(str::to_string);
        let wanted = [
            ("boot".to_string(), false),
            (b.clone(), true),
            (b.clone(), false),
            (b, true),
            (c, false),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn quiet_log() {
        assert!(
            scan("[    1.0] netlink: 'x': attribute type 12 has an invalid length.\n").is_empty()
        );
    }

    #[test]
    fn two_reports_in_one_test() {
        let log = "rvdpa-test: a: b\nBUG: one\n </TASK>\nBUG: two\n";
        assert_eq!(scan(log).len(), 2);
    }
}
