// SPDX-License-Identifier: GPL-2.0
//! The fuzzer of the generic netlink family `vdpa`: what its inputs are.

pub mod answers;
pub mod churn;
pub mod draft;
pub mod grammar;
pub mod mutate;
pub mod socket;
pub mod sound;
pub mod worker;
pub mod world;

use crate::journal::SLOT;
use crate::session::Input;
use crate::text::{hex, unhex, value, word};

pub use mutate::Netlink;

/// Whose socket, and who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Root.
    Root,
    /// An ordinary user who opened it.
    User,
    /// An ordinary user who uses root's.
    Lowered,
    /// Root in another network namespace.
    Foreign,
}

/// What is done about answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// All are read.
    Drain,
    /// None is read now: a list stays unfinished.
    Leave,
    /// One datagram is read.
    One,
    /// One datagram is read into a buffer that is too small.
    Short,
}

/// One thing that is done to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// One datagram.
    Send {
        who: Who,
        after: After,
        data: Vec<u8>,
    },
    /// Closes the socket and opens another.
    Open(Who),
    /// Sets the size of the receive buffer.
    Buffer(Who, u32),
    /// Becomes a member of the multicast group.
    Join(Who),
}

/// Steps that are done one after the other by one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The number of the family in messages. It depends on what else is loaded, so that a
    /// replay may have to exchange it.
    pub family: u16,
    pub steps: Vec<Step>,
}

const WHO: [(&str, Who); 4] = [
    ("root", Who::Root),
    ("user", Who::User),
    ("lowered", Who::Lowered),
    ("foreign", Who::Foreign),
];

const AFTER: [(&str, After); 4] = [
    ("drain", After::Drain),
    ("leave", After::Leave),
    ("one", After::One),
    ("short", After::Short),
];

impl Step {
    fn to_line(&self) -> String {
        match self {
            Step::Send { who, after, data } => {
                let (who, after) = (word(&WHO, who), word(&AFTER, after));
                format!("send {who} {after} {}\n", hex(data))
            }
            Step::Open(who) => format!("open {}\n", word(&WHO, who)),
            Step::Buffer(who, size) => format!("buffer {} {size}\n", word(&WHO, who)),
            Step::Join(who) => format!("join {}\n", word(&WHO, who)),
        }
    }

    fn from_line(line: &str) -> Result<Self, String> {
        let mut words = line.split(' ');
        Ok(match words.next() {
            Some("send") => Step::Send {
                who: value(&WHO, words.next())?,
                after: value(&AFTER, words.next())?,
                data: unhex(words.next().unwrap_or_default())?,
            },
            Some("open") => Step::Open(value(&WHO, words.next())?),
            Some("join") => Step::Join(value(&WHO, words.next())?),
            Some("buffer") => {
                let who = value(&WHO, words.next())?;
                let size = words.next().and_then(|w| w.parse().ok());
                Step::Buffer(who, size.ok_or(format!("{line}: no size"))?)
            }
            _ => return Err(format!("{line}: unknown step")),
        })
    }
}

impl Steps {
    /// Leaves steps out until the rest can be written down.
    pub fn fit(&mut self) {
        let room = SLOT - 64;
        let mut used = 0;
        self.steps.retain(|s| {
            let len = s.to_line().len();
            let fits = used + len < room;
            used += if fits { len } else { 0 };
            fits
        });
    }

    /// With the number of the family that it has here.
    pub fn for_family(mut self, family: u16) -> Self {
        for step in &mut self.steps {
            if let Step::Send { data, .. } = step {
                for message in draft::split(&data.clone()) {
                    if let Some(kind) = data.get_mut(message.start + 4..message.start + 6) {
                        if *kind == self.family.to_ne_bytes() {
                            kind.copy_from_slice(&family.to_ne_bytes());
                        }
                    }
                }
            }
        }
        self.family = family;
        self
    }
}

impl Input for Steps {
    fn to_text(&self) -> String {
        let lines: String = self.steps.iter().map(Step::to_line).collect();
        format!("family {}\n{lines}", self.family)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mut steps = Steps {
            family: 0,
            steps: Vec::new(),
        };
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.strip_prefix("family ") {
                Some(number) => {
                    steps.family = number.parse().map_err(|_| format!("{line}: no number"))?;
                }
                None => steps.steps.push(Step::from_line(line)?),
            }
        }
        Ok(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Steps {
        let data = [&[20, 0, 0, 0, 29, 0][..], &[7; 40]].concat();
        let (who, after) = (Who::Lowered, After::Short);
        Steps {
            family: 29,
            steps: vec![
                Step::Open(Who::User),
                Step::Buffer(Who::Root, 2304),
                Step::Join(Who::Foreign),
                Step::Send { who, after, data },
            ],
        }
    }

    #[test]
    fn text_and_back() {
        let text = steps().to_text();
        assert!(
            text.contains("send lowered short 140000001d00(07*40)\n"),
            "{text}"
        );
        assert_eq!(Steps::from_text(&text).unwrap(), steps());
        for bad in [
            "send root",
            "send root drain 1",
            "open",
            "what",
            "send root drain (1",
        ] {
            assert!(Steps::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_family() {
        let moved = steps().for_family(31);
        let Step::Send { data, .. } = &moved.steps[3] else {
            panic!("not the datagram");
        };
        assert_eq!(data[4], 31);
        assert_eq!(data[6..], [7; 40]);
    }

    #[test]
    fn overlong() {
        let mut s = steps();
        let noise = (0..5000).map(|n| n as u8).collect::<Vec<_>>();
        let (who, after) = (Who::Root, After::Drain);
        s.steps.insert(
            0,
            Step::Send {
                who,
                after,
                data: noise.repeat(2),
            },
        );
        s.fit();
        assert_eq!(s.steps, steps().steps);
    }
}
