// SPDX-License-Identifier: GPL-2.0
//! How often the kernel said what to which command.

use std::collections::BTreeMap;

use vdpa_test::genl::GENL_ID_CTRL;
use vdpa_test::nl::{u16_at, GENL_HEADER, HEADER};
use vdpa_test::Errno;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// A command of the family, by its number.
    Vdpa(u8),
    /// One of the controller of all families.
    Controller,
    /// What is none of them.
    Other,
}

/// The commands that users can send, with their names.
pub const COMMANDS: [(Command, &str); 8] = [
    (Command::Vdpa(2), "mgmtdev_get"),
    (Command::Vdpa(3), "dev_new"),
    (Command::Vdpa(4), "dev_del"),
    (Command::Vdpa(5), "dev_get"),
    (Command::Vdpa(6), "dev_config_get"),
    (Command::Vdpa(7), "dev_vstats_get"),
    (Command::Vdpa(8), "dev_attr_set"),
    (Command::Controller, "controller"),
];

impl Command {
    /// That of a message.
    pub fn of(message: &[u8], family: u16) -> Self {
        if message.len() < HEADER + GENL_HEADER {
            return Command::Other;
        }
        let (kind, cmd) = (u16_at(message, 4), message[HEADER]);
        match kind {
            GENL_ID_CTRL => Command::Controller,
            _ if kind == family && (2..=8).contains(&cmd) => Command::Vdpa(cmd),
            _ => Command::Other,
        }
    }

    fn name(self) -> &'static str {
        let entry = COMMANDS.iter().find(|c| c.0 == self);
        entry.map_or("other", |c| c.1)
    }
}

/// What the kernel may answer. The kernel has more errnos, some of which no user may
/// ever see; `EIO` comes from management devices of ours.
const POSSIBLE: [Errno; 16] = [
    Errno::OK,
    Errno::EPERM,
    Errno::ENOENT,
    Errno::EIO,
    Errno::EAGAIN,
    Errno::ENOMEM,
    Errno::EBUSY,
    Errno::EEXIST,
    Errno::ENODEV,
    Errno::EINVAL,
    Errno::ENOSPC,
    Errno::ERANGE,
    Errno::ENAMETOOLONG,
    Errno::EMSGSIZE,
    Errno::EOPNOTSUPP,
    Errno::ENOBUFS,
];

/// Whether it is one that the kernel may answer.
pub fn is_possible(errno: i32) -> bool {
    POSSIBLE.contains(&Errno(errno))
}

/// Counts of requests and answers.
#[derive(Default)]
pub struct Answers {
    sent: BTreeMap<Command, u64>,
    ended: BTreeMap<(Command, i32), u64>,
    records: u64,
    not_sent: BTreeMap<i32, u64>,
    /// Datagrams that were lost as nobody read them in time.
    pub overruns: u64,
    /// Whether anything was sent that the kernel had to answer, and how often.
    pub owed: u64,
}

impl Answers {
    pub fn sent(&mut self, command: Command) {
        *self.sent.entry(command).or_default() += 1;
    }

    pub fn not_sent(&mut self, errno: Errno) {
        *self.not_sent.entry(errno.0).or_default() += 1;
    }

    pub fn ended(&mut self, command: Command, errno: i32) {
        *self.ended.entry((command, errno)).or_default() += 1;
    }

    pub fn record(&mut self) {
        self.records += 1;
    }

    /// Takes in those of another thread.
    pub fn add(&mut self, other: &Answers) {
        for (command, n) in &other.sent {
            *self.sent.entry(*command).or_default() += n;
        }
        for (end, n) in &other.ended {
            *self.ended.entry(*end).or_default() += n;
        }
        for (errno, n) in &other.not_sent {
            *self.not_sent.entry(*errno).or_default() += n;
        }
        self.records += other.records;
        self.overruns += other.overruns;
        self.owed += other.owed;
    }

    /// Commands that never succeeded.
    pub fn never_succeeded(&self) -> Vec<&'static str> {
        let failed = |c: &&(Command, &str)| !self.ended.contains_key(&(c.0, 0));
        COMMANDS.iter().filter(failed).map(|c| c.1).collect()
    }

    /// A line for each command: how often it was sent and what came back, the most frequent
    /// answer first.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (command, sent) in &self.sent {
            let of_command = self.ended.iter().filter(|e| e.0 .0 == *command);
            let mut ends: Vec<_> = of_command.map(|((_, e), n)| (*n, *e)).collect();
            ends.sort_unstable_by(|a, b| b.cmp(a));
            let ends: Vec<_> = ends
                .iter()
                .map(|(n, e)| format!("{:?} {n}", Errno(*e)))
                .collect();
            text += &format!("{:15} {sent:8}: {}\n", command.name(), ends.join(", "));
        }
        let refused: Vec<_> = self
            .not_sent
            .iter()
            .map(|(e, n)| format!("{:?} {n}", Errno(*e)))
            .collect();
        text += &format!(
            "{} records; {} requests whose answer was checked; {} overruns; send refused: {}\n",
            self.records,
            self.owed,
            self.overruns,
            if refused.is_empty() {
                "never".into()
            } else {
                refused.join(", ")
            }
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up() {
        let (mut a, mut b) = (Answers::default(), Answers::default());
        a.sent(Command::Vdpa(3));
        a.ended(Command::Vdpa(3), 0);
        b.sent(Command::Vdpa(3));
        b.ended(Command::Vdpa(3), 22);
        a.add(&b);
        assert!(
            a.table()
                .contains("dev_new                2: EINVAL 1, success 1"),
            "{}",
            a.table()
        );
        assert_eq!(a.never_succeeded().len(), COMMANDS.len() - 1);
    }

    #[test]
    fn impossible() {
        assert!(is_possible(22));
        assert!(!is_possible(524) && !is_possible(libc::EFAULT));
    }
}
