// SPDX-License-Identifier: GPL-2.0
//! Intended differences between the stacks: what `tests/differences` lists.
//!
//! Lines hold where the module that was named last, as `[MODULE]`, is the C one. A
//! line is `PROGRAM.TEST KIND REASON`. KIND is `xfail` (the test must fail there),
//! `skip` (it would harm the kernel) or `report=TEXT` (a kernel report whose first
//! line contains TEXT may come during the test; `_` stands for a space).

use std::fs;

use crate::sys;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Xfail,
    Skip,
    Report(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose C version differs.
    pub module: String,
    pub test: String,
    pub kind: Kind,
    pub reason: String,
}

pub fn parse(text: &str) -> Result<Vec<Difference>, String> {
    let mut module = None;
    let mut differences = Vec::new();
    for (n, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            module = Some(name);
            continue;
        }
        let difference = module.and_then(|module| parse_line(module, line));
        differences.push(difference.ok_or(format!("line {}: cannot understand: {line}", n + 1))?);
    }
    Ok(differences)
}

fn parse_line(module: &str, line: &str) -> Option<Difference> {
    let (test, rest) = line.split_once(char::is_whitespace)?;
    let (kind, reason) = rest.trim_start().split_once(char::is_whitespace)?;
    let kind = match kind {
        "xfail" => Kind::Xfail,
        "skip" => Kind::Skip,
        _ => Kind::Report(kind.strip_prefix("report=")?.replace('_', " ")),
    };
    test.contains('.').then(|| Difference {
        module: module.to_string(),
        test: test.to_string(),
        kind,
        reason: reason.trim().to_string(),
    })
}

/// Those that hold for the stack under test.
pub fn in_force() -> Vec<Difference> {
    let file = std::env::var("RVDPA_DIFFERENCES").unwrap_or("/usr/lib/rvdpa/differences".into());
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut differences = parse(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
    differences.retain(|d| !sys::is_ours(&d.module));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let d = parse("# note\n[m]\na.b xfail because it is so\n[n]\nc.d  report=cut_here  text\n")
            .unwrap();
        assert_eq!(d.len(), 2);
        assert_eq!((d[0].module.as_str(), d[1].module.as_str()), ("m", "n"));
        assert_eq!(d[0].kind, Kind::Xfail);
        assert_eq!(d[0].reason, "because it is so");
        assert_eq!(d[1].kind, Kind::Report("cut here".into()));
    }

    #[test]
    fn errors() {
        assert!(parse("[m]\na.b xfail reason").is_ok());
        assert!(parse("a.b xfail reason").is_err());
        assert!(parse("[m]\na.b").is_err());
        assert!(parse("[m]\na.b maybe reason").is_err());
        assert!(parse("[m]\nab xfail reason").is_err());
    }
}
