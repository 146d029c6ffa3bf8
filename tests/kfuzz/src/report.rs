// SPDX-License-Identifier: GPL-2.0
//! What the fuzzers print: KTAP, version 1.

use std::io::Write;
use std::path::Path;

use vdpa_test::ktap::note;

use crate::coverage::Coverage;

/// A part of a whole, for people.
pub fn part(n: usize, all: usize) -> String {
    let percent = (n * 100).checked_div(all).unwrap_or(0);
    format!("{n} of {all} ({percent} %)")
}

/// The results of a program.
pub struct Results {
    planned: usize,
    number: usize,
    failed: bool,
}

impl Results {
    /// So many results will follow.
    pub fn plan(planned: usize) -> Self {
        println!("KTAP version 1\n1..{planned}");
        Results {
            planned,
            number: 0,
            failed: false,
        }
    }

    /// The result of a test; what was wrong is shown.
    pub fn result(&mut self, name: &str, problems: &[String]) {
        problems.iter().for_each(note);
        self.line(name, problems.is_empty(), "");
    }

    /// A test that cannot run here.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.line(name, true, &format!(" # SKIP {reason}"));
    }

    fn line(&mut self, name: &str, ok: bool, suffix: &str) {
        self.number += 1;
        self.failed |= !ok;
        let word = if ok { "ok" } else { "not ok" };
        println!("{word} {} {name}{suffix}", self.number);
        let _ = std::io::stdout().flush();
    }

    /// Whether all that was planned came and none failed.
    pub fn all_ok(&self) -> bool {
        !self.failed && self.number == self.planned
    }
}

/// Who reached what of a module: numbers for all, details in a file of a folder. The
/// problem, if inputs reached less than so many percent.
pub fn report_coverage(
    module: &str,
    coverage: &Coverage,
    out: Option<&Path>,
    least: usize,
) -> Vec<String> {
    let (reached, all) = coverage.count();
    note(format!(
        "coverage of {module} by inputs: {} points",
        part(reached, all)
    ));
    note(format!(
        "(without {} for loading, in tests, in library code that is not used, before panics)",
        coverage.left_out()
    ));
    for (krate, count) in coverage.by_crate() {
        note(format!("  {krate}: {count}"));
    }
    if let Some(out) = out {
        let file = out.join(format!("coverage-{module}.txt"));
        if std::fs::write(&file, coverage.gaps()).is_ok() {
            note(format!("what was not reached: {}", file.display()));
        }
    }
    let low = reached * 100 < all * least;
    low.then(|| format!("less than {least} %: the fuzzer is broken"))
        .into_iter()
        .collect()
}
