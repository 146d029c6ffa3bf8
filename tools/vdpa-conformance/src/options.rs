// SPDX-License-Identifier: GPL-2.0
//! The command line.

use std::time::Duration;

use crate::checks;

pub const USAGE: &str = "\
Tests a vhost-vdpa device and says which rule of which specification it breaks.

  vdpa-conformance [OPTION]... /dev/vhost-vdpa-N
  vdpa-conformance --list | --help

  --list         what is tested: name, tab, rule
  --only NAME    only this test; can be given again
  --patience MS  how long to wait for the device, in milliseconds (10000)
  --help         this

Nothing else may have the device open; it is reset. Nothing is written to a disk. A
network device sends frames to itself, of the type 0x88b5 for local experiments.
The output is KTAP. The status is 0 if nothing failed, 1 if something did, 2 if
the device cannot be tested.";

#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    Help,
    List,
    Test { node: String, only: Vec<String> },
}

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub action: Action,
    pub patience: Duration,
}

impl Options {
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut words = words.into_iter();
        let mut node = None;
        let mut only = Vec::new();
        let mut patience = Duration::from_secs(10);
        let mut value_of = None;
        let mut other = None;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--help" => other = Some(Action::Help),
                "--list" => other = Some(Action::List),
                "--only" => only.push(value()?),
                "--patience" => value_of = Some(value()?),
                _ if word.starts_with('-') => return Err(format!("{word}: no such option")),
                _ if node.is_some() => return Err(format!("{word}: one device at a time")),
                _ => node = Some(word),
            }
        }
        if let Some(value) = value_of {
            let ms = value.parse();
            patience = Duration::from_millis(ms.map_err(|_| format!("{value}: not a number"))?);
        }
        for name in &only {
            if !checks::all().any(|c| c.name == name) {
                return Err(format!("{name}: no such test; --list names them"));
            }
        }
        let action = match (other, node) {
            (Some(action), _) => action,
            (None, Some(node)) => Action::Test { node, only },
            (None, None) => return Err("which device?".into()),
        };
        Ok(Options { action, patience })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn lines() {
        let options = parse("--only one_opener /dev/vhost-vdpa-3 --patience 20").unwrap();
        let only = vec!["one_opener".to_string()];
        let node = "/dev/vhost-vdpa-3".to_string();
        assert_eq!(options.action, Action::Test { node, only });
        assert_eq!(options.patience, Duration::from_millis(20));
        assert_eq!(parse("--list").unwrap().action, Action::List);
        assert_eq!(parse("x --help").unwrap().action, Action::Help);
    }

    #[test]
    fn errors() {
        for line in [
            "",
            "a b",
            "--only",
            "--only nothing a",
            "-x a",
            "--patience x a",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = checks::all().map(|c| c.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
