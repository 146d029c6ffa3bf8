// SPDX-License-Identifier: GPL-2.0
//! Reads KTAP as the test programs print it and counts.
//!
//! A test with cases counts as its cases; a test that failed as
//! `tests/differences` says counts as one that passed.

use vdpa_test::differences::{Difference, Kind};
use vdpa_test::ktap::ResultLine;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Of those that passed: failures that are listed as differences.
    pub expected: usize,
}

#[derive(Debug, Default)]
pub struct Results {
    pub counts: Counts,
    /// What failed, for people.
    pub failures: Vec<String>,
    /// Tests that met their entry in `tests/differences`.
    pub differences_seen: Vec<String>,
}

const BEGIN: &str = "# program: ";
const END: &str = "# program ended: ";

#[derive(Default)]
struct Program {
    name: String,
    plan: Option<usize>,
    seen: usize,
    failed: usize,
    cases_passed: usize,
    cases_failed: Vec<String>,
}

impl Results {
    fn fail(&mut self, what: String) {
        self.counts.failed += 1;
        self.failures.push(what);
    }

    fn test(&mut self, p: &mut Program, line: &ResultLine<'_>) {
        let full = format!("{}.{}", p.name, line.name);
        let cases_failed = std::mem::take(&mut p.cases_failed);
        let cases_passed = std::mem::take(&mut p.cases_passed);
        p.seen += 1;
        if let Some(reason) = line.directive.strip_prefix("SKIP") {
            self.counts.skipped += 1;
            // Also what needs a module that we are still writing.
            if reason.starts_with(" with C's ") || reason.starts_with(" we have no ") {
                self.differences_seen.push(full);
            }
        } else if line.directive.starts_with("XFAIL") {
            self.counts.passed += 1;
            self.counts.expected += 1;
            self.differences_seen.push(full);
        } else if line.ok {
            self.counts.passed += cases_passed.max(1);
        } else {
            p.failed += 1;
            self.counts.passed += cases_passed;
            if cases_failed.is_empty() {
                self.fail(full);
            } else {
                cases_failed
                    .into_iter()
                    .for_each(|c| self.fail(format!("{full}: {c}")));
            }
        }
    }

    fn end(&mut self, p: Program, status: Option<&str>) {
        match p.plan {
            None => self.fail(format!("{}: printed no plan", p.name)),
            Some(plan) => {
                for _ in p.seen..plan {
                    self.fail(format!("{}: a test without a result", p.name));
                }
            }
        }
        match status {
            Some("0") => {}
            Some(_) if p.failed > 0 => {}
            Some(status) => self.fail(format!("{}: ended with status {status}", p.name)),
            None => self.fail(format!("{}: did not end", p.name)),
        }
    }

    /// Everything that the VM printed, for the programs that should have run.
    pub fn read(text: &str, programs: &[String]) -> Results {
        let mut r = Results::default();
        let mut current: Option<Program> = None;
        let mut ran = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix(BEGIN) {
                if let Some(p) = current.take() {
                    r.end(p, None);
                }
                ran.push(name.to_string());
                current = Some(Program {
                    name: name.to_string(),
                    ..Program::default()
                });
            } else if let Some(rest) = line.strip_prefix(END) {
                if let Some(p) = current.take() {
                    r.end(p, rest.rsplit(' ').next());
                }
            } else if let Some(p) = &mut current {
                if let Some(case) = line.strip_prefix("    ").and_then(ResultLine::parse) {
                    match case.ok {
                        true => p.cases_passed += 1,
                        false => p.cases_failed.push(case.name.to_string()),
                    }
                } else if let Some(test) = ResultLine::parse(line) {
                    r.test(p, &test);
                } else if let Some(n) = line.strip_prefix("1..") {
                    p.plan = n.trim().parse().ok();
                }
            }
        }
        if let Some(p) = current.take() {
            r.end(p, None);
        }
        for name in programs.iter().filter(|n| !ran.contains(n)) {
            r.fail(format!("{name}: did not run"));
        }
        r
    }

    /// Entries of `tests/differences` that nothing met: they are out of date.
    pub fn check_differences(&mut self, differences: &[Difference]) {
        for d in differences
            .iter()
            .filter(|d| !matches!(d.kind, Kind::Report(_)))
        {
            if !self.differences_seen.contains(&d.test) {
                self.fail(format!(
                    "tests/differences: {} did not meet its entry",
                    d.test
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: usize, failed: usize, skipped: usize, expected: usize) -> Counts {
        Counts {
            passed,
            failed,
            skipped,
            expected,
        }
    }

    const GOOD: &str = "\
# program: a
KTAP version 1
1..4
ok 1 x
    KTAP version 1
    ok 1 case
    ok 2 case two
    1..2
ok 2 y
ok 3 z # SKIP with C's vdpa: reason
    not ok 1 case
ok 4 w # XFAIL reason
# program ended: a 0
";

    #[test]
    fn counting() {
        let r = Results::read(GOOD, &["a".into()]);
        assert_eq!(r.counts, counts(4, 0, 1, 1));
        assert_eq!(r.differences_seen, ["a.z", "a.w"]);
    }

    #[test]
    fn failures() {
        let text = GOOD
            .replace("ok 2 y", "not ok 2 y")
            .replace("a 0\n", "a 1\n");
        let r = Results::read(&text, &["a".into()]);
        assert_eq!(r.failures, ["a.y"]);
        let text = text.replace("    ok 2 case two", "    not ok 2 case two");
        assert_eq!(Results::read(&text, &[]).failures, ["a.y: case two"]);
    }

    #[test]
    fn incomplete() {
        let cut = GOOD.lines().take(5).collect::<Vec<_>>().join("\n");
        let r = Results::read(&cut, &["a".into(), "b".into()]);
        // Three tests without a result, no end, and b did not run.
        assert_eq!(r.counts, counts(1, 5, 0, 0));
        assert_eq!(Results::read("", &["a".into()]).counts.failed, 1);
        assert_eq!(
            Results::read(&GOOD.replace("a 0\n", "a 101\n"), &[])
                .counts
                .failed,
            1
        );
    }
}
