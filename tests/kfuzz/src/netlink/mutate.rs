// SPDX-License-Identifier: GPL-2.0
//! Makes inputs: what the grammar gives, damaged.

use std::sync::{Arc, Mutex};

use vdpa_test::nl::*;
use vdpa_test::vdpa::ATTR_MAX;

use super::answers::Answers;
use super::draft::{self, Attribute, Draft};
use super::grammar::{odd_name, payload, Grammar};
use super::worker::{Surroundings, Worker};
use super::{Step, Steps};
use crate::random::Random;
use crate::session::Target;

const MOST_STEPS: usize = 16;

/// The family `vdpa` as a target.
pub struct Netlink {
    around: Arc<Surroundings>,
    grammar: Grammar,
    /// Those of the workers that have finished.
    pub answers: Mutex<Answers>,
}

fn attribute(r: &mut Random) -> Attribute {
    let kind = match r.below(8) {
        0 => r.number() as u16,
        1 => *r.pick(&[0, ATTR_MAX - 1, ATTR_MAX, ATTR_MAX + 1, 0x3fff]),
        _ => 1 + r.below(usize::from(ATTR_MAX)) as u16,
    };
    Attribute::new(kind, &payload(r, kind))
}

/// Sizes at which something changes.
const SIZES: [usize; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 256, 4096, 40000];

fn damage_attribute(r: &mut Random, a: &mut Attribute) {
    match r.below(10) {
        0 => a.kind = r.number() as u16,
        1 => a.kind = 1 + r.below(usize::from(ATTR_MAX)) as u16,
        2 => a.kind |= *r.pick(&[0x8000, 0x4000, 0xc000]),
        3 => {
            let claims = [0, 1, 3, 4, 5, a.len.wrapping_sub(1), a.len.wrapping_add(1)];
            a.len = *r.pick(&claims);
        }
        4 => a.len = r.number() as u16,
        5 => {
            let fill = *r.pick(&[0, b'a', 0xff]);
            a.data.resize(*r.pick(&SIZES), fill);
            a.fix();
        }
        6 => {
            a.data.pop();
            a.fix();
        }
        7 => {
            let number = r.number().to_ne_bytes();
            let n = a.data.len().min(8);
            a.data[..n].copy_from_slice(&number[..n]);
        }
        8 => {
            a.data = odd_name(r);
            a.fix();
        }
        _ => {
            if !a.data.is_empty() {
                let at = r.below(a.data.len());
                a.data[at] = *r.pick(&[0, 1, 0x7f, 0x80, 0xff]);
            }
        }
    }
}

fn damage_header(r: &mut Random, d: &mut Draft) {
    match r.below(9) {
        0 => d.cmd = r.below(12) as u8,
        1 => d.cmd = r.number() as u8,
        2 => d.version = r.number() as u8,
        3 => d.reserved = r.number() as u16,
        4 => d.flags ^= 1 << r.below(16),
        5 => d.flags = r.number() as u16,
        6 => d.kind = *r.pick(&[0, 1, NLMSG_ERROR, NLMSG_DONE, 16, 17, d.kind ^ 1, 0xffff]),
        7 => {
            d.excess = *r.pick(&[
                -20,
                -8,
                -5,
                -4,
                -3,
                -1,
                1,
                3,
                4,
                100,
                1 << 20,
                i64::from(i32::MAX),
            ])
        }
        _ => d.port = r.number() as u32,
    }
}

/// Nothing but a flag, `NLM_F_DUMP`, makes a list of a request.
fn damage_draft(r: &mut Random, d: &mut Draft) {
    let count = d.attributes.len();
    match r.weighted(&[8, 3, 2, 2, 2, 4, 1, 1]) {
        0 if count > 0 => {
            let at = r.below(count);
            damage_attribute(r, &mut d.attributes[at]);
        }
        1 if count > 0 => drop(d.attributes.remove(r.below(count))),
        2 if count > 0 => {
            let again = d.attributes[r.below(count)].clone();
            d.attributes.push(again);
        }
        3 if count > 1 => d.attributes.swap(r.below(count), r.below(count)),
        4 => d.attributes.insert(r.below(count + 1), attribute(r)),
        5 => damage_header(r, d),
        6 => d.tail.resize(r.below(9), r.bits() as u8),
        _ => d.flags ^= NLM_F_DUMP,
    }
}

fn damage_message(r: &mut Random, message: &[u8]) -> Vec<u8> {
    let Some(mut d) = Draft::parse(message) else {
        return message.to_vec();
    };
    for _ in 0..1 + r.below(3) {
        damage_draft(r, &mut d);
    }
    d.to_bytes()
}

fn damage_bytes(r: &mut Random, data: &mut Vec<u8>) {
    match r.below(4) {
        0 => data.truncate(r.below(data.len() + 1)),
        1 => data.resize(data.len() + r.below(20), r.bits() as u8),
        _ => {
            for _ in 0..1 + r.below(4) {
                if !data.is_empty() {
                    let at = r.below(data.len());
                    data[at] ^= 1 << r.below(8);
                }
            }
        }
    }
}

impl Netlink {
    pub fn new(around: Arc<Surroundings>) -> Self {
        Netlink {
            grammar: Grammar {
                family: around.family,
            },
            around,
            answers: Mutex::default(),
        }
    }

    fn damage_datagram(&self, r: &mut Random, data: &mut Vec<u8>) {
        match r.weighted(&[8, 1, 2]) {
            0 => {
                let messages = draft::split(data);
                if !messages.is_empty() {
                    let range = r.pick(&messages).clone();
                    let message = damage_message(r, &data[range.clone()]);
                    data.splice(range, message);
                }
            }
            1 => {
                for _ in 0..1 + r.below(3) {
                    data.resize(data.len().next_multiple_of(4), 0);
                    data.extend(self.grammar.request(r, b"f0").bytes);
                }
            }
            _ => damage_bytes(r, data),
        }
    }

    fn damage_steps(&self, r: &mut Random, steps: &mut Vec<Step>, other: &[Step]) {
        let count = steps.len();
        match r.weighted(&[8, 2, 1, 1, 2, 1]) {
            0 if count > 0 => match &mut steps[r.below(count)] {
                Step::Send { data, .. } => self.damage_datagram(r, data),
                step => *step = self.grammar.other_step(r),
            },
            1 => {
                let at = r.below(count + 1);
                let message = self.grammar.request(r, b"f1").bytes;
                steps.insert(at, self.grammar.send(r, message));
            }
            2 if count > 1 => drop(steps.remove(r.below(count))),
            3 if count > 0 => {
                let again = steps[r.below(count)].clone();
                steps.insert(r.below(count + 1), again);
            }
            4 if !other.is_empty() => {
                steps.truncate(r.below(count + 1));
                steps.extend_from_slice(&other[r.below(other.len())..]);
            }
            _ => steps.insert(r.below(count + 1), self.grammar.other_step(r)),
        }
    }

    fn steps(&self, mut steps: Vec<Step>) -> Steps {
        steps.truncate(MOST_STEPS);
        let mut steps = Steps {
            family: self.grammar.family,
            steps,
        };
        steps.fit();
        steps
    }
}

impl Target for Netlink {
    const UNIT: &'static str = "messages";

    type Input = Steps;
    type Worker = Worker;

    /// Half of the inputs are whole, so that there is something to be damaged.
    fn generate(&self, r: &mut Random) -> Steps {
        let requests = self.grammar.requests(r);
        let mut steps: Vec<_> = requests
            .into_iter()
            .map(|m| self.grammar.send(r, m.bytes))
            .collect();
        if r.one_in(6) {
            steps.insert(0, self.grammar.other_step(r));
        }
        if r.one_in(2) {
            for _ in 0..1 + r.below(3) {
                self.damage_steps(r, &mut steps, &[]);
            }
        }
        self.steps(steps)
    }

    fn mutate(&self, r: &mut Random, base: &Steps, other: &Steps) -> Steps {
        let mut steps = base.steps.clone();
        for _ in 0..1 + r.below(4) {
            self.damage_steps(r, &mut steps, &other.steps);
        }
        self.steps(steps)
    }

    fn adapt(&self, input: Steps) -> Steps {
        input.for_family(self.grammar.family)
    }

    fn worker(&self) -> Worker {
        Worker::new(self.around.clone())
    }

    fn finish(&self, worker: Worker) {
        self.answers.lock().unwrap().add(&worker.answers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Input;

    fn netlink() -> Netlink {
        let namespace = std::fs::File::open("/proc/self/ns/net").unwrap();
        Netlink::new(Arc::new(Surroundings {
            family: 29,
            group: None,
            namespace,
        }))
    }

    #[test]
    fn inputs_repeat() {
        let target = netlink();
        let make = || {
            let mut r = Random::new(3, 1);
            let mut inputs = vec![target.generate(&mut r)];
            for n in 0..2000 {
                let more = target.mutate(&mut r, &inputs[n], &inputs[n / 2]);
                inputs.push(if n % 5 == 0 {
                    target.generate(&mut r)
                } else {
                    more
                });
            }
            inputs
        };
        let inputs = make();
        assert!(inputs == make(), "the same seed, other inputs");
        for i in inputs {
            let text = i.to_text();
            assert!(text.len() < crate::journal::SLOT);
            assert_eq!(Steps::from_text(&text).unwrap(), i);
        }
    }
}
