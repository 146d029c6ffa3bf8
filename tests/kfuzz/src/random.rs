// SPDX-License-Identifier: GPL-2.0
//! Random choices that a seed determines.

/// One stream of choices. Each thread has its own, so that what a thread
/// chooses does not depend on when it runs.
pub struct Random(fastrand::Rng);

/// Numbers at whose neighbours code often goes wrong.
const LIMITS: [u64; 18] = [
    0,
    1,
    2,
    3,
    67,
    68,
    0x7f,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    u64::MAX,
];

impl Random {
    /// The stream of that number among those of a seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        // Streams of adjacent numbers must not begin alike.
        let mut mixer = fastrand::Rng::with_seed(seed ^ stream.rotate_left(32));
        mixer.u64(..);
        Random(fastrand::Rng::with_seed(mixer.u64(..)))
    }

    /// A number below `n`, which must not be zero.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.usize(..n)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of them, of which there must be any.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// The number of one of the weights, each as often as it weighs.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (i, w) in weights.iter().enumerate() {
            if at < *w {
                return i;
            }
            at -= w;
        }
        unreachable!("below the sum of the weights")
    }

    /// Any 64 bits, each value as likely as another.
    pub fn bits(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number that is likely to be at a limit of something.
    pub fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => self.bits(),
            1 => 1 << self.below(64),
            2 => self.below(64) as u64,
            3 => self.pick(&LIMITS).wrapping_add(1),
            4 => self.pick(&LIMITS).wrapping_sub(1),
            _ => *self.pick(&LIMITS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let take = |seed, stream| {
            let mut r = Random::new(seed, stream);
            (0..4).map(|_| r.bits()).collect::<Vec<_>>()
        };
        assert_eq!(take(1, 0), take(1, 0));
        assert_ne!(take(1, 0), take(1, 1));
        assert_ne!(take(1, 0), take(2, 0));
        assert_ne!(take(1, 2), take(2, 1));
    }

    #[test]
    fn weights() {
        let mut r = Random::new(1, 0);
        let mut seen = [0; 3];
        (0..1000).for_each(|_| seen[r.weighted(&[8, 0, 2])] += 1);
        assert_eq!(seen[1], 0);
        assert!(seen[0] > 700 && seen[2] > 100, "{seen:?}");
    }
}
