// SPDX-License-Identifier: GPL-2.0
//! Does the steps of an input and looks at what comes back.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use vdpa_test::genl::GENL_ID_CTRL;
use vdpa_test::nl::{u16_at, u32_at, GENL_HEADER, HEADER, NLM_F_ACK, NLM_F_REQUEST};
use vdpa_test::Errno;

use super::answers::{is_possible, Answers, Command};
use super::draft;
use super::socket::{as_who, Socket};
use super::sound::{self, Says};
use super::{After, Step, Steps, Who};
use crate::session;
use crate::text::hex as hex_of;

/// A list of more datagrams has no end.
const ENDLESS: usize = 1000;

/// An open socket.
struct Slot {
    socket: Socket,
    /// Nothing was left unread and the buffer has its usual size: every answer arrives.
    pristine: bool,
}

/// What all workers need to know.
pub struct Surroundings {
    pub family: u16,
    /// The multicast group, where the family has one.
    pub group: Option<u32>,
    /// A network namespace in which the family is not there.
    pub namespace: File,
}

/// The worker of one thread.
pub struct Worker {
    around: Arc<Surroundings>,
    /// By `Who`; `Lowered` uses root's.
    slots: [Slot; 3],
    seq: u32,
    pending: HashMap<u32, Command>,
    pub answers: Answers,
    findings: Vec<String>,
    buffer: Vec<u8>,
}

fn index(who: Who) -> usize {
    match who {
        Who::Root | Who::Lowered => 0,
        Who::User => 1,
        Who::Foreign => 2,
    }
}

impl Slot {
    fn open(who: Who, around: &Surroundings) -> Self {
        Slot {
            socket: Socket::open(who, &around.namespace),
            pristine: true,
        }
    }
}

/// The sequence number of a datagram that the kernel has to answer: a single whole request
/// for an acknowledgement.
fn owed(data: &[u8], family: u16) -> Option<u32> {
    if data.len() < HEADER + GENL_HEADER || u32_at(data, 0) as usize != data.len() {
        return None;
    }
    let (kind, flags) = (u16_at(data, 4), u16_at(data, 6));
    let asks = flags & NLM_F_REQUEST != 0 && flags & NLM_F_ACK != 0;
    (asks && [family, GENL_ID_CTRL].contains(&kind)).then(|| u32_at(data, 8))
}

impl Worker {
    pub fn new(around: Arc<Surroundings>) -> Self {
        Worker {
            slots: [Who::Root, Who::User, Who::Foreign].map(|who| Slot::open(who, &around)),
            around,
            seq: 0,
            pending: HashMap::new(),
            answers: Answers::default(),
            findings: Vec::new(),
            buffer: vec![0; 256 << 10],
        }
    }

    fn step(&mut self, step: &Step) -> u64 {
        match step {
            Step::Send { who, after, data } => return self.send(*who, *after, data.clone()),
            Step::Open(who) => self.slots[index(*who)] = Slot::open(*who, &self.around),
            Step::Buffer(who, bytes) => {
                let slot = &mut self.slots[index(*who)];
                slot.socket.set_receive_buffer(*bytes);
                slot.pristine = false;
            }
            Step::Join(who) => {
                let slot = &mut self.slots[index(*who)];
                if let Some(group) = self.around.group {
                    slot.socket.join(group);
                }
                // Notifications take room that answers may then lack.
                slot.pristine = false;
            }
        }
        0
    }

    /// Returns how many messages that were.
    fn send(&mut self, who: Who, after: After, mut data: Vec<u8>) -> u64 {
        let messages = draft::split(&data);
        for range in &messages {
            let message = &mut data[range.clone()];
            self.seq += 1;
            if message.len() >= HEADER {
                message[8..12].copy_from_slice(&self.seq.to_ne_bytes());
            }
            let command = Command::of(message, self.around.family);
            self.pending.insert(self.seq, command);
            self.answers.sent(command);
        }
        let slot = &mut self.slots[index(who)];
        if let Err(e) = as_who(who, || slot.socket.send(&data)) {
            self.answers.not_sent(e);
            return messages.len() as u64;
        }
        let due =
            owed(&data, self.around.family).filter(|_| slot.pristine && after == After::Drain);
        slot.pristine &= after == After::Drain;
        let ends = match after {
            After::Drain => self.drain(who),
            After::Leave => Vec::new(),
            After::One => self.receive(who, usize::MAX).unwrap_or_default(),
            After::Short => self.receive(who, 20).unwrap_or_default(),
        };
        if let Some(seq) = due {
            self.answers.owed += 1;
            if !ends.contains(&seq) {
                self.findings
                    .push(format!("no answer to {}", hex_of(&data)));
            }
        }
        messages.len() as u64
    }

    /// Reads all there is. Returns the requests whose answer ended.
    fn drain(&mut self, who: Who) -> Vec<u32> {
        let mut ends = Vec::new();
        for _ in 0..ENDLESS {
            match self.receive(who, usize::MAX) {
                Ok(more) => ends.extend(more),
                Err(Errno::ENOBUFS) => self.answers.overruns += 1,
                Err(Errno::EAGAIN) => return ends,
                Err(e) => {
                    self.findings.push(format!("recv failed: {e:?}"));
                    return ends;
                }
            }
        }
        self.findings.push("a list without end".into());
        self.slots[index(who)] = Slot::open(who, &self.around);
        ends
    }

    /// Reads one datagram, at most `room` bytes of it. Returns the requests whose answer ended.
    fn receive(&mut self, who: Who, room: usize) -> Result<Vec<u32>, Errno> {
        let room = room.min(self.buffer.len());
        let len = self.slots[index(who)]
            .socket
            .receive(&mut self.buffer[..room])?;
        if len > room {
            return Ok(Vec::new());
        }
        let mut ends = Vec::new();
        let answers = sound::read(&self.buffer[..len], self.around.family);
        for answer in answers.unwrap_or_else(|e| {
            let bytes = hex_of(&self.buffer[..len]);
            self.findings.push(format!("the kernel sent {e}: {bytes}"));
            Vec::new()
        }) {
            match answer.says {
                Says::Record => self.answers.record(),
                Says::End(errno) => {
                    let command = self.pending.get(&answer.seq).copied();
                    let command = command.unwrap_or(Command::Other);
                    self.answers.ended(command, errno);
                    if !is_possible(errno) {
                        self.findings
                            .push(format!("errno {errno} in answer to {command:?}"));
                    }
                    ends.push(answer.seq);
                }
            }
        }
        Ok(ends)
    }
}

impl session::Worker for Worker {
    type Input = Steps;

    fn run(&mut self, input: &Steps) -> u64 {
        self.pending.clear();
        let sent = input.steps.iter().map(|s| self.step(s)).sum();
        // Inputs do not depend on the sockets of those before.
        for who in [Who::Root, Who::User, Who::Foreign] {
            if !self.slots[index(who)].pristine {
                self.slots[index(who)] = Slot::open(who, &self.around);
            }
        }
        sent
    }

    fn findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.findings)
    }
}
