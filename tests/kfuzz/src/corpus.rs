// SPDX-License-Identifier: GPL-2.0
//! The inputs that reached something new.

use std::sync::{Arc, Mutex};

use crate::random::Random;

/// Beyond that, a new one takes the place of an old one.
const CAPACITY: usize = 4096;

/// Shared by all threads.
pub struct Corpus<I> {
    inputs: Mutex<Vec<Arc<I>>>,
}

impl<I> Default for Corpus<I> {
    fn default() -> Self {
        Corpus {
            inputs: Mutex::new(Vec::new()),
        }
    }
}

impl<I> Corpus<I> {
    /// Takes in an input that was good.
    pub fn add(&self, input: I, random: &mut Random) {
        let mut inputs = self.inputs.lock().unwrap();
        let input = Arc::new(input);
        if inputs.len() < CAPACITY {
            inputs.push(input);
        } else {
            inputs[random.below(CAPACITY)] = input;
        }
    }

    /// One of them, the latest more often than others: they lead to new places.
    pub fn pick(&self, random: &mut Random) -> Option<Arc<I>> {
        let inputs = self.inputs.lock().unwrap();
        let count = inputs.len();
        let from = if random.one_in(3) {
            count - count.min(16)
        } else {
            0
        };
        (count > 0).then(|| inputs[from + random.below(count - from)].clone())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inputs.lock().unwrap().len()
    }

    /// Whether nothing was good yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
