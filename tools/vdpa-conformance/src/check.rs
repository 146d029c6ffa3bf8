// SPDX-License-Identifier: GPL-2.0
//! What a check is, and how checks run.

use std::fmt;
use std::io::Write;

use vdpa_test::ktap::{self, Outcome};

use crate::device::Device;

/// What a device has to keep to.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// A specification and a place in it.
    pub source: &'static str,
    /// What it says, in short.
    pub text: &'static str,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.text)
    }
}

/// A test of one rule.
#[derive(Clone, Copy)]
pub struct Check {
    pub name: &'static str,
    pub rule: Rule,
    /// Panics if the rule is broken, or skips (see [`ktap::skip`]).
    pub run: fn(&Device),
}

/// The checks of a file: `checks! { function: "source", "rule"; ... }`.
macro_rules! checks {
    ($($name:ident: $source:expr, $text:expr;)*) => {
        pub const CHECKS: &[$crate::check::Check] = &[$($crate::check::Check {
            name: stringify!($name),
            rule: $crate::check::Rule { source: $source, text: $text },
            run: $name,
        }),*];
    };
}
pub(crate) use checks;

/// Runs checks and prints what comes of each; whether any failed.
pub fn run(device: &Device, checks: &[&Check]) -> bool {
    let mut failed = false;
    println!("1..{}", checks.len());
    for (i, check) in checks.iter().enumerate() {
        let outcome = ktap::attempt(|| (check.run)(device));
        let directive = match &outcome {
            Outcome::Skipped(reason) => format!(" # SKIP {reason}"),
            Outcome::Passed => String::new(),
            Outcome::Failed => {
                failed = true;
                ktap::note(format!("breaks {}", check.rule));
                String::new()
            }
        };
        let word = ktap::word(outcome != Outcome::Failed);
        println!("{word} {} {}{directive}", i + 1, check.name);
        // The output is of use even if the kernel does not survive the next one.
        let _ = std::io::stdout().flush();
    }
    failed
}
