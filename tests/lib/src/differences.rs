// SPDX-License-Identifier: GPL-2.0
//! Intended differences between the stacks: what `tests/differences` lists.
//!
//! A line is `PROGRAM.TEST KIND REASON`. KIND is `xfail` (the test must fail on
//! the C stack), `skip` (it would harm the kernel there) or `report=TEXT` (a
//! kernel report whose first line contains TEXT may come during the test; `_`
//! stands for a space). Lines hold for the C stack only.

use std::fs;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Xfail,
    Skip,
    Report(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub test: String,
    pub kind: Kind,
    pub reason: String,
}

pub fn parse(text: &str) -> Result<Vec<Difference>, String> {
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, l)| !l.is_empty() && !l.starts_with('#'))
        .map(|(n, l)| parse_line(l).ok_or(format!("line {}: cannot understand: {l}", n + 1)))
        .collect()
}

fn parse_line(line: &str) -> Option<Difference> {
    let (test, rest) = line.split_once(char::is_whitespace)?;
    let (kind, reason) = rest.trim_start().split_once(char::is_whitespace)?;
    let kind = match kind {
        "xfail" => Kind::Xfail,
        "skip" => Kind::Skip,
        _ => Kind::Report(kind.strip_prefix("report=")?.replace('_', " ")),
    };
    test.contains('.').then(|| Difference {
        test: test.to_string(),
        kind,
        reason: reason.trim().to_string(),
    })
}

/// Those that hold for the stack under test, which the runner names in the environment.
pub fn in_force() -> Vec<Difference> {
    if std::env::var("RVDPA_STACK").as_deref() != Ok("c") {
        return Vec::new();
    }
    let file = std::env::var("RVDPA_DIFFERENCES").unwrap_or("/usr/lib/rvdpa/differences".into());
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
    parse(&text).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let d =
            parse("# note\n\na.b xfail because it is so\nc.d  report=cut_here  text\n").unwrap();
        assert_eq!(d.len(), 2);
        assert_eq!(d[0].kind, Kind::Xfail);
        assert_eq!(d[0].reason, "because it is so");
        assert_eq!(d[1].kind, Kind::Report("cut here".into()));
    }

    #[test]
    fn errors() {
        assert!(parse("a.b").is_err());
        assert!(parse("a.b maybe reason").is_err());
        assert!(parse("ab xfail reason").is_err());
    }
}
