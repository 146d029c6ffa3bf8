// SPDX-License-Identifier: GPL-2.0
//! The command line of a fuzzer.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const USAGE: &str = "\
[--seed N|random] [--messages N | --calls N | --seconds N] [--threads N]
  [--guided yes|no] [--churn yes|no] [--journal yes|no] [--out FOLDER]
  [--replay FILE]... [--repeat N]

  --seed      what all choices follow from (1)
  --messages  how many, all threads together (the default: 3000)
  --calls     the same for a fuzzer that makes calls (the default: 40000,
              on the debug kernel 12000)
  --seconds   how long, instead
  --threads   how many send (4)
  --guided    go on from inputs that reached new code; yes with --seconds, else
              no: then what each thread sends follows from the seed alone
  --churn     one more thread makes devices come and go, or disturbs them (yes)
  --journal   keep the last inputs of each thread in FOLDER/ring-N (yes)
  --out       for the journal and the report of coverage (/out, if it is there)
  --replay    send what a file holds, a thread for each file
  --repeat    how often each input of those files is sent (1)";

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Messages(u64),
    Time(Duration),
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub seed: u64,
    pub limit: Limit,
    pub threads: usize,
    pub guided: bool,
    pub churn: bool,
    pub journal: bool,
    pub out: Option<PathBuf>,
    pub replay: Vec<PathBuf>,
    pub repeat: usize,
    /// Where the streams of random numbers begin: a run of several parts has others in each.
    pub stream: u64,
}

impl Default for Options {
    fn default() -> Self {
        let out = PathBuf::from("/out");
        Options {
            seed: 1,
            limit: Limit::Messages(3000),
            threads: 4,
            guided: false,
            churn: true,
            journal: true,
            out: out.is_dir().then_some(out),
            replay: Vec::new(),
            repeat: 1,
            stream: 0,
        }
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name} {value}: not a number"))
}

fn yes(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("{name} {value}: yes or no")),
    }
}

fn random_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // Short, as people copy it.
    now.map_or(1, |t| t.as_micros() as u64 % 1_000_000_000)
}

impl Options {
    /// Fails with a message for the user.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        Options::default().with(args)
    }

    /// With what the command line asks for. Fails with a message for the user.
    pub fn with(self, args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = self;
        let mut guided = None;
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let value = args.next().ok_or(format!("{name}: a value is missing"))?;
            match name.as_str() {
                "--seed" if value == "random" => options.seed = random_seed(),
                "--seed" => options.seed = number(&name, &value)?,
                "--messages" | "--calls" => options.limit = Limit::Messages(number(&name, &value)?),
                "--seconds" => {
                    let time = Duration::from_secs(number(&name, &value)?);
                    options.limit = Limit::Time(time);
                    guided = guided.or(Some(true));
                }
                "--threads" => options.threads = number(&name, &value)?,
                "--guided" => guided = Some(yes(&name, &value)?),
                "--churn" => options.churn = yes(&name, &value)?,
                "--journal" => options.journal = yes(&name, &value)?,
                "--out" => options.out = Some(value.into()),
                "--replay" => options.replay.push(value.into()),
                "--repeat" => options.repeat = number(&name, &value)?,
                _ => return Err(format!("unknown option {name}")),
            }
        }
        options.guided = guided.unwrap_or(false);
        if !options.replay.is_empty() {
            options.threads = options.replay.len();
            options.journal = false;
        }
        if options.threads == 0 {
            return Err("--threads 0: at least one".into());
        }
        Ok(options)
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
        assert_eq!(parse("").unwrap(), Options::default());
        let o = parse("--seed 7 --seconds 5 --threads 2").unwrap();
        assert_eq!((o.seed, o.threads, o.guided), (7, 2, true));
        assert_eq!(o.limit, Limit::Time(Duration::from_secs(5)));
        assert!(!parse("--guided no --seconds 5").unwrap().guided);
        assert_eq!(parse("--replay a --replay b").unwrap().threads, 2);
    }

    #[test]
    fn errors() {
        for line in [
            "--seed",
            "--seed x",
            "--what 1",
            "--churn maybe",
            "--threads 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
