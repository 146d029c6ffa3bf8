// SPDX-License-Identifier: GPL-2.0
//! The fuzzer of the nodes of vhost-vdpa: what its inputs are.
//!
//! Memory, eventfds and nodes have the same addresses and numbers in every run, so
//! that arguments are plain bytes which mean the same in a replay.

pub mod arena;
pub mod churn;
pub mod grammar;
pub mod issue;
pub mod message;
pub mod mutate;
pub mod scene;
pub mod tally;
pub mod worker;
pub mod world;

use std::fmt::Write;

use crate::journal::SLOT;
use crate::session::Input;
use crate::text::{hex, unhex, value, word};

pub use mutate::Vhost;
pub use world::Kind;

/// Where the bytes of an argument are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of them are there.
    Whole,
    /// The last byte is not there.
    Cut,
    /// Only the first half is there.
    Half,
    /// Nobody can write there.
    Fixed,
    /// At address zero, where nothing is.
    Null,
    /// Where user space ends and the kernel begins.
    Kernel,
}

const PLACES: [(&str, Place); 6] = [
    ("whole", Place::Whole),
    ("cut", Place::Cut),
    ("half", Place::Half),
    ("fixed", Place::Fixed),
    ("null", Place::Null),
    ("kernel", Place::Kernel),
];

/// A call on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Ioctl {
        number: u32,
        place: Place,
        data: Vec<u8>,
    },
    /// Messages, in one write; gathered from pieces of so many bytes, if not zero.
    Write {
        place: Place,
        piece: u16,
        data: Vec<u8>,
    },
    /// Asks for so many bytes.
    Read {
        place: Place,
        len: u16,
    },
    Poll,
    /// A mapping of so many bytes from a page on, with `PROT_*` and `MAP_*`.
    Map {
        page: u64,
        len: u32,
        protection: u8,
        flags: u8,
    },
}

/// What is done to pages of the loose part of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// They go.
    Unmap,
    /// Others come in their place.
    Renew,
    /// They can only be read.
    Protect,
    /// They can be written again.
    Permit,
    /// What is in them is lost.
    Discard,
}

const CHANGES: [(&str, Change); 5] = [
    ("unmap", Change::Unmap),
    ("renew", Change::Renew),
    ("protect", Change::Protect),
    ("permit", Change::Permit),
    ("discard", Change::Discard),
];

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Opens the node of a device for all threads, unless it is open.
    Open(u8),
    /// Closes it, as soon as no thread uses it any more.
    Close(u8),
    /// A call on its node, which is opened if it is not.
    Call(u8, Call),
    /// Calls in a process of its own, which ends without closing anything. It opens
    /// the node itself (`own`) or uses that of the threads.
    Child {
        device: u8,
        own: bool,
        calls: Vec<Call>,
    },
    /// From a page on, so many pages.
    Memory { change: Change, page: u8, pages: u8 },
    /// Writes to the memory in which rings are.
    Poke { at: u32, data: Vec<u8> },
    /// Signals an eventfd.
    Signal(u8),
    /// Puts another eventfd under the number of one, which may be its last descriptor.
    Exchange(u8),
}

/// Steps that are done one after the other by one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    /// What the devices are like.
    pub kind: Kind,
    pub steps: Vec<Step>,
}

/// Takes words of a line, with errors for the user.
struct Words<'a>(&'a str, std::str::Split<'a, char>);

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        Words(line, line.split(' '))
    }

    fn next(&mut self) -> Option<&'a str> {
        self.1.next()
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        let word = self.next().and_then(|w| w.parse().ok());
        word.ok_or_else(|| format!("{}: a number is missing", self.0))
    }

    fn place(&mut self) -> Result<Place, String> {
        value(&PLACES, self.next())
    }

    fn bytes(&mut self) -> Result<Vec<u8>, String> {
        unhex(self.next().unwrap_or_default())
    }
}

impl Call {
    fn to_text(&self) -> String {
        match self {
            Call::Ioctl {
                number,
                place,
                data,
            } => format!("ioctl {number:x} {} {}", word(&PLACES, place), hex(data)),
            Call::Write { place, piece, data } => {
                format!("write {} {piece} {}", word(&PLACES, place), hex(data))
            }
            Call::Read { place, len } => format!("read {} {len}", word(&PLACES, place)),
            Call::Poll => "poll".into(),
            Call::Map {
                page,
                len,
                protection,
                flags,
            } => format!("mmap {page} {len} {protection} {flags}"),
        }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mut words = Words::of(text);
        Ok(match words.next() {
            Some("ioctl") => Call::Ioctl {
                number: {
                    let digits = words.next().unwrap_or_default();
                    u32::from_str_radix(digits, 16).map_err(|_| format!("{text}: no number"))?
                },
                place: words.place()?,
                data: words.bytes()?,
            },
            Some("write") => Call::Write {
                place: words.place()?,
                piece: words.number()?,
                data: words.bytes()?,
            },
            Some("read") => Call::Read {
                place: words.place()?,
                len: words.number()?,
            },
            Some("poll") => Call::Poll,
            Some("mmap") => Call::Map {
                page: words.number()?,
                len: words.number()?,
                protection: words.number()?,
                flags: words.number()?,
            },
            _ => return Err(format!("{text}: unknown call")),
        })
    }
}

impl Step {
    fn to_line(&self) -> String {
        match self {
            Step::Open(device) => format!("open {device}\n"),
            Step::Close(device) => format!("close {device}\n"),
            Step::Call(device, call) => format!("call {device} {}\n", call.to_text()),
            Step::Child { device, own, calls } => {
                let who = if *own { "own" } else { "shared" };
                let mut line = format!("child {device} {who}");
                for call in calls {
                    let _ = write!(line, ";{}", call.to_text());
                }
                line + "\n"
            }
            Step::Memory {
                change,
                page,
                pages,
            } => format!("memory {} {page} {pages}\n", word(&CHANGES, change)),
            Step::Poke { at, data } => format!("poke {at} {}\n", hex(data)),
            Step::Signal(eventfd) => format!("signal {eventfd}\n"),
            Step::Exchange(eventfd) => format!("exchange {eventfd}\n"),
        }
    }

    fn from_line(line: &str) -> Result<Self, String> {
        let (first, calls) = line.split_once(';').unwrap_or((line, ""));
        let mut words = Words::of(first);
        Ok(match words.next() {
            Some("open") => Step::Open(words.number()?),
            Some("close") => Step::Close(words.number()?),
            Some("call") => {
                let device = words.number()?;
                let rest = line.splitn(3, ' ').nth(2).unwrap_or_default();
                Step::Call(device, Call::from_text(rest)?)
            }
            Some("child") => Step::Child {
                device: words.number()?,
                own: value(&[("own", true), ("shared", false)], words.next())?,
                calls: calls
                    .split(';')
                    .filter(|c| !c.is_empty())
                    .map(Call::from_text)
                    .collect::<Result<_, _>>()?,
            },
            Some("memory") => Step::Memory {
                change: value(&CHANGES, words.next())?,
                page: words.number()?,
                pages: words.number()?,
            },
            Some("poke") => Step::Poke {
                at: words.number()?,
                data: words.bytes()?,
            },
            Some("signal") => Step::Signal(words.number()?),
            Some("exchange") => Step::Exchange(words.number()?),
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
}

impl Input for Steps {
    fn to_text(&self) -> String {
        let lines: String = self.steps.iter().map(Step::to_line).collect();
        format!("devices {}\n{lines}", self.kind.name())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mut kind = None;
        let mut steps = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.strip_prefix("devices ") {
                Some(name) => kind = Some(Kind::from_name(name)?),
                None => steps.push(Step::from_line(line)?),
            }
        }
        Ok(Steps {
            kind: kind.ok_or("no line 'devices'")?,
            steps,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let ioctl = Call::Ioctl {
            number: 0xc008_af12,
            place: Place::Cut,
            data: vec![0; 8],
        };
        let write = Call::Write {
            place: Place::Whole,
            piece: 7,
            data: vec![2; 72],
        };
        let map = Call::Map {
            page: u64::MAX,
            len: 4096,
            protection: 2,
            flags: 1,
        };
        let len = 8;
        let place = Place::Null;
        let calls = vec![ioctl.clone(), write, Call::Read { place, len }, Call::Poll];
        let steps = Steps {
            kind: Kind::ALL[2],
            steps: vec![
                Step::Open(1),
                Step::Call(0, ioctl),
                Step::Call(3, map),
                Step::Child {
                    device: 2,
                    own: true,
                    calls,
                },
                Step::Child {
                    device: 2,
                    own: false,
                    calls: Vec::new(),
                },
                Step::Memory {
                    change: Change::Renew,
                    page: 3,
                    pages: 9,
                },
                Step::Poke {
                    at: 4096,
                    data: vec![1, 2],
                },
                Step::Signal(1),
                Step::Exchange(7),
                Step::Close(0),
            ],
        };
        let text = steps.to_text();
        assert!(
            text.contains("child 2 own;ioctl c008af12 cut 0000000000000000;write whole 7 (02*72);"),
            "{text}"
        );
        assert_eq!(Steps::from_text(&text).unwrap(), steps);
        for bad in [
            "open",
            "call 0 what",
            "call 0 ioctl x",
            "child 0",
            "poke 1 0",
        ] {
            let text = format!("devices {}\n{bad}", Kind::ALL[0].name());
            assert!(Steps::from_text(&text).is_err(), "{bad}");
        }
        assert!(Steps::from_text("open 0\n").is_err());
    }
}
