// SPDX-License-Identifier: GPL-2.0
//! How often the kernel said what to which call.

use std::collections::BTreeMap;

use vdpa_test::vhost::ioctl::*;
use vdpa_test::Errno;

use super::issue::Outcome;
use super::Call;

/// What the argument of an ioctl is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    None,
    Status,
    Byte,
    Half,
    Word,
    Fd,
    Features,
    Long,
    Range,
    State,
    File,
    Addresses,
    Config,
    Table,
}

/// Names, numbers and arguments of all ioctls.
pub const IOCTLS: [(&str, u64, Argument); 39] = [
    ("get_features", GET_FEATURES.number(), Argument::Features),
    ("set_features", SET_FEATURES.number(), Argument::Features),
    ("set_owner", SET_OWNER.number(), Argument::None),
    ("set_mem_table", SET_MEM_TABLE.number(), Argument::Table),
    ("set_log_base", SET_LOG_BASE.number(), Argument::Long),
    ("set_log_fd", SET_LOG_FD.number(), Argument::Fd),
    ("set_vring_num", SET_VRING_NUM.number(), Argument::State),
    (
        "set_vring_addr",
        SET_VRING_ADDR.number(),
        Argument::Addresses,
    ),
    ("set_vring_base", SET_VRING_BASE.number(), Argument::State),
    ("get_vring_base", GET_VRING_BASE.number(), Argument::State),
    ("set_vring_kick", SET_VRING_KICK.number(), Argument::File),
    ("set_vring_call", SET_VRING_CALL.number(), Argument::File),
    ("set_vring_err", SET_VRING_ERR.number(), Argument::File),
    (
        "set_busyloop",
        SET_VRING_BUSYLOOP_TIMEOUT.number(),
        Argument::State,
    ),
    (
        "get_busyloop",
        GET_VRING_BUSYLOOP_TIMEOUT.number(),
        Argument::State,
    ),
    (
        "set_backend_features",
        SET_BACKEND_FEATURES.number(),
        Argument::Features,
    ),
    (
        "get_backend_features",
        GET_BACKEND_FEATURES.number(),
        Argument::Features,
    ),
    ("get_device_id", GET_DEVICE_ID.number(), Argument::Word),
    ("get_status", GET_STATUS.number(), Argument::Status),
    ("set_status", SET_STATUS.number(), Argument::Status),
    ("get_config", GET_CONFIG.number(), Argument::Config),
    ("set_config", SET_CONFIG.number(), Argument::Config),
    (
        "set_vring_enable",
        SET_VRING_ENABLE.number(),
        Argument::State,
    ),
    ("get_vring_num", GET_VRING_NUM.number(), Argument::Half),
    ("set_config_call", SET_CONFIG_CALL.number(), Argument::Fd),
    ("get_iova_range", GET_IOVA_RANGE.number(), Argument::Range),
    ("get_config_size", GET_CONFIG_SIZE.number(), Argument::Word),
    ("get_as_num", GET_AS_NUM.number(), Argument::Word),
    ("get_vring_group", GET_VRING_GROUP.number(), Argument::State),
    ("set_group_asid", SET_GROUP_ASID.number(), Argument::State),
    ("suspend", SUSPEND.number(), Argument::None),
    ("resume", RESUME.number(), Argument::None),
    (
        "get_vring_desc_group",
        GET_VRING_DESC_GROUP.number(),
        Argument::State,
    ),
    ("get_vqs_count", GET_VQS_COUNT.number(), Argument::Word),
    ("get_group_num", GET_GROUP_NUM.number(), Argument::Word),
    ("get_vring_size", GET_VRING_SIZE.number(), Argument::State),
    (
        "set_fork_from_owner",
        SET_FORK_FROM_OWNER.number(),
        Argument::Byte,
    ),
    (
        "get_fork_from_owner",
        GET_FORK_FROM_OWNER.number(),
        Argument::Byte,
    ),
    // There is no such ioctl.
    ("unknown", 0xaf83, Argument::Long),
];

/// What no device here can do.
const NEVER: [&str; 6] = [
    "set_log_base",
    "set_log_fd",
    "get_vring_desc_group",
    "unknown",
    "other",
    "mmap",
];

/// The name of a call.
pub fn name_of(call: &Call) -> &'static str {
    match call {
        Call::Ioctl { number, .. } => {
            let entry = IOCTLS.iter().find(|i| i.1 == u64::from(*number));
            entry.map_or("other", |e| e.0)
        }
        Call::Write { .. } => "write",
        Call::Read { .. } => "read",
        Call::Poll => "poll",
        Call::Map { .. } => "mmap",
    }
}

/// The first number of those that no user may ever see: `ERESTARTSYS` and others.
const INTERNAL: i32 = 512;
/// C's answer to a mapping of a device without doorbells, and so part of the interface.
const ENOTSUPP: i32 = 524;

/// The size of a message.
const MESSAGE: usize = 72;
/// The size of a record that is read.
const RECORD: usize = 8;

/// What is wrong with an answer, whatever the call was.
pub fn fault(call: &Call, outcome: &Outcome) -> Option<String> {
    if outcome.overrun {
        return Some("the kernel wrote behind the argument".into());
    }
    match outcome.result {
        Err(Errno(ENOTSUPP)) if matches!(call, Call::Map { .. }) => None,
        Err(Errno(n)) => (n >= INTERNAL || n <= 0).then(|| format!("the error {n}")),
        Ok(n) => {
            let most = match call {
                Call::Write { data, .. } => data.len().next_multiple_of(MESSAGE),
                Call::Read { len, .. } => usize::from(*len),
                Call::Poll => 1,
                Call::Ioctl { .. } | Call::Map { .. } => 0,
            };
            let whole = match call {
                Call::Read { .. } => n % RECORD == 0,
                // A sole message may be shorter. (C says that it was whole.)
                Call::Write { data, .. } => n % MESSAGE == 0 || n == data.len().min(MESSAGE),
                _ => true,
            };
            (n > most || !whole).then(|| format!("the answer {n}"))
        }
    }
}

/// Counts of calls and answers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    ended: BTreeMap<(&'static str, i32), u64>,
    /// Bytes of messages that were taken.
    written: u64,
    /// What came of opening nodes.
    pub opened: BTreeMap<i32, u64>,
    pub children: u64,
    /// Signals of eventfds, and eventfds that were exchanged.
    pub kicks: u64,
    /// Calls on nodes that were not open.
    pub missed: u64,
}

impl Tally {
    pub fn ended(&mut self, call: &Call, outcome: &Outcome) {
        let errno = outcome.result.map_or_else(|e| e.0, |_| 0);
        *self.ended.entry((name_of(call), errno)).or_default() += 1;
        if let (Call::Write { .. }, Ok(n)) = (call, outcome.result) {
            self.written += n as u64;
        }
    }

    /// Takes in those of another thread.
    pub fn add(&mut self, other: &Tally) {
        for (end, n) in &other.ended {
            *self.ended.entry(*end).or_default() += n;
        }
        self.written += other.written;
        for (errno, n) in &other.opened {
            *self.opened.entry(*errno).or_default() += n;
        }
        self.children += other.children;
        self.kicks += other.kicks;
        self.missed += other.missed;
    }

    /// Calls that never succeeded, although they could have.
    pub fn never_succeeded(&self) -> Vec<&'static str> {
        let names = IOCTLS.iter().map(|i| i.0).chain(["write", "poll"]);
        names
            .filter(|n| !NEVER.contains(n) && !self.ended.contains_key(&(*n, 0)))
            .collect()
    }

    /// In a few numbers.
    pub fn summary(&self) -> String {
        let of = |choose: &dyn Fn(&str) -> bool| -> u64 {
            let ended = self.ended.iter().filter(|e| choose(e.0 .0));
            ended.map(|e| e.1).sum()
        };
        let opened = self.opened.iter();
        let opened: Vec<_> = opened
            .map(|(errno, n)| format!("{:?} {n}", Errno(*errno)))
            .collect();
        let ioctls = of(&|n| !["write", "read", "poll", "mmap"].contains(&n));
        format!(
            "{ioctls} ioctls, {} writes that took {} messages, {} reads, {} polls, {} mmaps, \
             {} signals, {} child processes; {} calls had \
             no node; opening nodes: {}",
            of(&|n| n == "write"),
            self.written / MESSAGE as u64,
            of(&|n| n == "read"),
            of(&|n| n == "poll"),
            of(&|n| n == "mmap"),
            self.kicks,
            self.children,
            self.missed,
            opened.join(" ")
        )
    }

    /// All answers, a line for each kind of call.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for ((name, errno), n) in &self.ended {
            if *name != last {
                let line = if last.is_empty() { "" } else { "\n" };
                text += &format!("{line}{name}:");
                last = name;
            }
            text += &format!(" {:?} {n}", Errno(*errno));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vhost::Place;

    fn outcome(result: Result<usize, Errno>) -> Outcome {
        Outcome {
            result,
            overrun: false,
        }
    }

    #[test]
    fn faults() {
        let (place, len) = (Place::Whole, 20);
        let read = Call::Read { place, len };
        assert_eq!(fault(&read, &outcome(Ok(16))), None);
        assert_eq!(fault(&read, &outcome(Err(Errno::EINVAL))), None);
        assert!(fault(&read, &outcome(Ok(24))).is_some());
        assert!(fault(&read, &outcome(Ok(12))).is_some());
        assert!(fault(&read, &outcome(Err(Errno(512)))).is_some());
        assert!(fault(&Call::Poll, &outcome(Err(Errno(524)))).is_some());
        let (piece, data) = (0, vec![0; 40]);
        let write = Call::Write { place, piece, data };
        assert_eq!(fault(&write, &outcome(Ok(72))), None);
        assert!(fault(&write, &outcome(Ok(144))).is_some());
        assert_eq!(fault(&write, &outcome(Ok(40))), None);
        assert!(fault(&write, &outcome(Ok(39))).is_some());
        let overrun = Outcome {
            overrun: true,
            ..outcome(Ok(0))
        };
        assert!(fault(&Call::Poll, &overrun).is_some());
    }

    #[test]
    fn numbers_differ() {
        for (n, ioctl) in IOCTLS.iter().enumerate() {
            assert!(IOCTLS[..n].iter().all(|i| i.1 != ioctl.1), "{}", ioctl.0);
        }
    }
}
