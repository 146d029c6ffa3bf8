// SPDX-License-Identifier: GPL-2.0
//! Runs the KUnit suites of a module and reads their results.
//!
//! They run when the module is loaded, and tell in the kernel's log. VMs boot
//! with a filter that lets none run, since tests load modules all the time.

use std::path::Path;

use crate::kmsg::Kmsg;
use crate::ktap::{self, ResultLine};
use crate::sys;

const FILTER: &str = "/sys/module/kunit/parameters/filter_glob";

/// Whether the kernel has KUnit.
pub fn available() -> bool {
    Path::new(FILTER).exists()
}

/// The result of one suite's test.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub suite: String,
    pub test: String,
    pub ok: bool,
}

/// What suites told, from lines of the log. Fails if a plan was not kept.
pub fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Outcome>, String> {
    let mut found = Vec::new();
    let (mut suite, mut planned, mut tests_planned, mut tests) = (String::new(), 0, 0, 0);
    let (mut suites, mut started) = (0, false);
    for line in lines {
        if line.starts_with("KTAP version") {
            started = true;
        }
        if !started {
            continue;
        }
        let inner = line.strip_prefix("    ");
        if let Some(n) = line.strip_prefix("1..") {
            planned += n.trim().parse::<usize>().map_err(|e| e.to_string())?;
        } else if let Some(name) = inner.and_then(|l| l.strip_prefix("# Subtest: ")) {
            (suite, tests_planned, tests) = (name.trim().to_string(), 0, 0);
        } else if let Some(n) = inner.and_then(|l| l.strip_prefix("1..")) {
            tests_planned = n.trim().parse().map_err(|_| format!("plan: {line}"))?;
        } else if let Some(result) = inner.and_then(ResultLine::parse) {
            tests += 1;
            found.push(Outcome {
                suite: suite.clone(),
                test: result.name.to_string(),
                ok: result.ok,
            });
        } else if let Some(ResultLine { name, .. }) = ResultLine::parse(line) {
            suites += 1;
            if name != suite || tests != tests_planned {
                return Err(format!("{name}: {tests} results of {tests_planned}"));
            }
        }
    }
    match suites == planned {
        true => Ok(found),
        false => Err(format!("{suites} of {planned} suites ended")),
    }
}

/// Calls `load` with the suites switched on and makes each result a case of the
/// running test. Tells how many there were.
pub fn run(load: impl FnOnce()) -> usize {
    if !available() {
        ktap::skip("the kernel has no KUnit");
    }
    let mut log = Kmsg::from_now();
    sys::write(FILTER, "*");
    load();
    sys::write(FILTER, "none.none");
    let lines = log.lines();
    let outcomes = parse(lines.iter().map(String::as_str)).unwrap_or_else(|e| {
        lines.iter().for_each(ktap::note);
        panic!("KUnit: {e}")
    });
    for o in &outcomes {
        ktap::case_result(format!("{}.{}", o.suite, o.test), o.ok);
    }
    if outcomes.iter().any(|o| !o.ok) {
        lines.iter().for_each(ktap::note);
    }
    outcomes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
vdpa: loading out-of-tree module
KTAP version 1
1..2
    KTAP version 1
    # Subtest: one
    # module: vdpa
    1..2
    ok 1 first
    # second: ASSERTION FAILED at x.rs:1
    not ok 2 second
# one: pass:1 fail:1 skip:0 total:2
not ok 1 one
    KTAP version 1
    # Subtest: two
    1..1
    ok 1 third
ok 2 two
";

    #[test]
    fn results() {
        let found = parse(LOG.lines()).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|o| (o.suite.as_str(), o.test.as_str(), o.ok))
            .collect();
        let expected = [
            ("one", "first", true),
            ("one", "second", false),
            ("two", "third", true),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn cut_short() {
        let lines: Vec<_> = LOG.lines().collect();
        assert!(parse(lines[..lines.len() - 1].iter().copied()).is_err());
        assert!(parse(LOG.replace("    ok 1 first\n", "").lines()).is_err());
        assert_eq!(parse("".lines()), Ok(vec![]));
    }
}
