// SPDX-License-Identifier: GPL-2.0
//! Makes inputs: what well-meaning programs do, damaged.

use std::sync::{Arc, Mutex};

use super::grammar;
use super::message::{self, SIZE};
use super::scene;
use super::tally::Tally;
use super::worker::Worker;
use super::world::{Kind, World};
use super::{Call, Step, Steps};
use crate::random::Random;
use crate::session::Target;

const MOST_STEPS: usize = 64;

/// Calls of a child.
const MOST_CALLS: usize = 12;

/// The nodes as a target.
pub struct Vhost {
    kind: Kind,
    world: Arc<World>,
    /// Those of the workers that have finished.
    pub tally: Mutex<Tally>,
}

/// Numbers at the places of fields: of messages, and of arguments, which begin alike.
fn damage_bytes(r: &mut Random, data: &mut Vec<u8>) {
    if data.is_empty() {
        data.push(0);
        return;
    }
    match r.below(10) {
        0 => data.truncate(r.below(data.len() + 1)),
        1 => data.resize((data.len() + r.below(80)).min(4096), 0),
        2 => {
            let at = r.below(data.len());
            data[at] ^= 1 << r.below(8);
        }
        3 => {
            let at = r.below(data.len());
            data[at] = *r.pick(&[0, 1, 0x7f, 0x80, 0xff]);
        }
        _ => {
            let width = *r.pick(&[1, 4, 8, 8]);
            let at = r.below(data.len().div_ceil(width)) * width;
            let number = match r.below(3) {
                0 => r.number(),
                1 => message::iova(r),
                _ => message::size(r, 0),
            };
            let end = (at + width).min(data.len());
            data[at..end].copy_from_slice(&number.to_ne_bytes()[..end - at]);
        }
    }
}

fn damage_messages(r: &mut Random, data: &mut Vec<u8>) {
    let count = data.len() / SIZE;
    if count == 0 || r.one_in(4) {
        damage_bytes(r, data);
        return;
    }
    let at = r.below(count) * SIZE;
    match r.below(6) {
        0 => drop(data.drain(at..at + SIZE)),
        1 => {
            let again = data[at..at + SIZE].to_vec();
            data.extend(again);
        }
        2 => data[at..at + SIZE].copy_from_slice(&message::message(r).to_bytes()),
        // The kind.
        3 => data[at + 33] = *r.pick(&[2, 3, 5, 6, 1, 0]),
        _ => {
            let mut one = data[at..at + 40].to_vec();
            damage_bytes(r, &mut one);
            one.resize(40, 0);
            data[at..at + 40].copy_from_slice(&one);
        }
    }
    data.truncate(16 * SIZE);
}

fn damage_call(r: &mut Random, call: &mut Call) {
    if r.one_in(8) {
        *call = grammar::call(r);
        return;
    }
    match call {
        Call::Ioctl {
            number,
            place,
            data,
        } => match r.below(8) {
            0 => *place = grammar::place(r),
            1 => *number ^= 1 << r.below(32),
            _ => damage_bytes(r, data),
        },
        Call::Write { place, piece, data } => match r.below(8) {
            0 => *place = grammar::place(r),
            1 => *piece = *r.pick(&[0, 1, 39, 40, 72, 73]),
            _ => damage_messages(r, data),
        },
        Call::Read { place, len } => {
            *place = grammar::place(r);
            *len = r.below(64) as u16;
        }
        Call::Poll => *call = grammar::call(r),
        Call::Map { page, len, .. } => {
            *page = r.number();
            *len = *r.pick(&[0, 4096, 8192]);
        }
    }
}

fn damage_steps(r: &mut Random, steps: &mut Vec<Step>, other: &[Step]) {
    let count = steps.len();
    let device = grammar::device(r);
    match r.weighted(&[10, 3, 3, 2, 3, 2, 1]) {
        0 if count > 0 => {
            let at = r.below(count);
            match &mut steps[at] {
                Step::Call(_, call) => damage_call(r, call),
                Step::Child { calls, .. } if !calls.is_empty() => {
                    let at = r.below(calls.len());
                    damage_call(r, &mut calls[at]);
                }
                step => *step = grammar::step(r, device),
            }
        }
        1 => steps.insert(r.below(count + 1), grammar::step(r, device)),
        2 if count > 1 => drop(steps.remove(r.below(count))),
        3 if count > 0 => {
            let again = steps[r.below(count)].clone();
            steps.insert(r.below(count + 1), again);
        }
        4 if !other.is_empty() => {
            steps.truncate(r.below(count + 1));
            steps.extend_from_slice(&other[r.below(other.len())..]);
        }
        5 if count > 1 => steps.swap(r.below(count), r.below(count)),
        // Calls go to a child.
        _ => {
            let at = r.below(count + 1);
            let mut calls = Vec::new();
            while calls.len() < MOST_CALLS && matches!(steps.get(at), Some(Step::Call(..))) {
                if let Step::Call(_, call) = steps.remove(at) {
                    calls.push(call);
                }
            }
            let own = r.one_in(2);
            steps.insert(at, Step::Child { device, own, calls });
        }
    }
}

impl Vhost {
    pub fn new(kind: Kind, world: Arc<World>) -> Self {
        Vhost {
            kind,
            world,
            tally: Mutex::default(),
        }
    }

    fn steps(&self, mut steps: Vec<Step>) -> Steps {
        steps.truncate(MOST_STEPS);
        let mut steps = Steps {
            kind: self.kind,
            steps,
        };
        steps.fit();
        steps
    }
}

impl Target for Vhost {
    const UNIT: &'static str = "calls";

    type Input = Steps;
    type Worker = Worker;

    /// A third of the inputs are whole, so that there is something to be damaged.
    fn generate(&self, r: &mut Random) -> Steps {
        let device = grammar::device(r);
        let mut steps = match r.weighted(&[6, 8, 2, 1, 3]) {
            0 => scene::running(r, device),
            1 => scene::messages(r, device),
            2 => scene::orphan(r, device),
            3 => scene::tour(device),
            _ => vec![Step::Open(device)],
        };
        if !r.one_in(3) {
            for _ in 0..1 + r.below(4) {
                damage_steps(r, &mut steps, &[]);
            }
            for _ in 0..r.below(12) {
                steps.push(grammar::step(r, device));
            }
        }
        self.steps(steps)
    }

    fn mutate(&self, r: &mut Random, base: &Steps, other: &Steps) -> Steps {
        let mut steps = base.steps.clone();
        for _ in 0..1 + r.below(4) {
            damage_steps(r, &mut steps, &other.steps);
        }
        self.steps(steps)
    }

    fn adapt(&self, input: Steps) -> Steps {
        input
    }

    fn worker(&self) -> Worker {
        Worker::new(self.world.clone())
    }

    fn finish(&self, worker: Worker) {
        self.tally.lock().unwrap().add(&worker.tally);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Input;

    #[test]
    fn inputs_repeat() {
        let target = Vhost::new(Kind::ALL[0], Arc::new(World::nowhere()));
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
