// SPDX-License-Identifier: GPL-2.0
//! What was reached of the modules, by all threads together.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::kcov;
use crate::points::{crate_of, Points};
use crate::report::part;

/// Pairs of points that follow each other are told apart by so many bits of a hash.
const EDGE_BITS: u32 = 16;

const NONE: u32 = u32::MAX;

/// Numbers of points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Reached by inputs.
    pub by_inputs: usize,
    /// Reached by them or by what goes on beside them.
    pub reached: usize,
    pub all: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_inputs = part(self.by_inputs, self.all);
        write!(
            f,
            "{by_inputs}, with the rest of the run {}",
            part(self.reached, self.all)
        )
    }
}

/// The points of some modules, and which were reached.
pub struct Coverage {
    points: Points,
    /// The number of the point at an address, from `first` on.
    numbers: Vec<u32>,
    first: u64,
    reached: Vec<AtomicBool>,
    reached_count: AtomicUsize,
    /// Those that were reached by what goes on beside the inputs.
    beside: Vec<AtomicBool>,
    /// Pairs of consecutive points that were seen: an order that is new is worth to be
    /// followed even where every point is known.
    edges: Vec<AtomicBool>,
}

impl Coverage {
    /// Of modules that are loaded. Fails with the reason why it cannot be told.
    pub fn of_modules(modules: &[&str]) -> Result<Self, String> {
        if !kcov::is_there() {
            return Err("this kernel has no KCOV".into());
        }
        let mut points = Points::default();
        for module in modules {
            points.of_module(module)?;
        }
        Ok(Self::new(points))
    }

    fn new(points: Points) -> Self {
        let first = points.points.first().map_or(0, |p| p.address);
        let last = points.points.last().map_or(0, |p| p.address);
        let mut numbers = vec![NONE; (last - first) as usize + 1];
        for (n, point) in points.points.iter().enumerate() {
            numbers[(point.address - first) as usize] = n as u32;
        }
        let flags = |n| (0..n).map(|_| AtomicBool::new(false)).collect();
        Coverage {
            reached: flags(points.points.len()),
            beside: flags(points.points.len()),
            edges: flags(1 << EDGE_BITS),
            reached_count: AtomicUsize::new(0),
            points,
            numbers,
            first,
        }
    }

    fn number(&self, address: u64) -> Option<u32> {
        let at = usize::try_from(address.checked_sub(self.first)?).ok()?;
        self.numbers.get(at).copied().filter(|n| *n != NONE)
    }

    /// Takes in what one input reached; whether any of it is new.
    pub fn add(&self, trace: impl Iterator<Item = u64>) -> bool {
        let mut new = false;
        let mut before = 0;
        for number in trace.filter_map(|address| self.number(address)) {
            let point = &self.reached[number as usize];
            if !point.load(Relaxed) && !point.swap(true, Relaxed) {
                self.reached_count.fetch_add(1, Relaxed);
                new = true;
            }
            let pair = (u64::from(before) << 32) | u64::from(number);
            let hash = pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - EDGE_BITS);
            let edge = &self.edges[hash as usize];
            if !edge.load(Relaxed) {
                new |= !edge.swap(true, Relaxed);
            }
            before = number;
        }
        new
    }

    /// Takes in what was reached beside the inputs.
    pub fn add_beside(&self, trace: impl Iterator<Item = u64>) {
        for number in trace.filter_map(|address| self.number(address)) {
            self.beside[number as usize].store(true, Relaxed);
        }
    }

    /// How many points inputs reached, and how many there are.
    pub fn count(&self) -> (usize, usize) {
        (self.reached_count.load(Relaxed), self.reached.len())
    }

    /// How many points are in code that nothing can reach.
    pub fn left_out(&self) -> usize {
        self.points.left_out
    }

    fn by_function(&self) -> BTreeMap<&str, Count> {
        let mut found: BTreeMap<&str, Count> = BTreeMap::new();
        for (n, point) in self.points.points.iter().enumerate() {
            let name = self.points.functions[point.function].as_str();
            let count = found.entry(name).or_default();
            let by_input = self.reached[n].load(Relaxed);
            count.by_inputs += usize::from(by_input);
            count.reached += usize::from(by_input || self.beside[n].load(Relaxed));
            count.all += 1;
        }
        found
    }

    /// How much of each crate was reached.
    pub fn by_crate(&self) -> BTreeMap<String, Count> {
        let mut found: BTreeMap<String, Count> = BTreeMap::new();
        for (name, count) in self.by_function() {
            let sum = found.entry(crate_of(name).to_string()).or_default();
            sum.by_inputs += count.by_inputs;
            sum.reached += count.reached;
            sum.all += count.all;
        }
        found
    }

    /// For developers: the functions that were never entered, then those that were in part.
    pub fn gaps(&self) -> String {
        let mut text = String::new();
        for (krate, count) in self.by_crate() {
            let _ = writeln!(text, "{krate}: {count}");
        }
        let functions = self.by_function();
        for (title, entered) in [("never entered", false), ("entered, not all of it", true)] {
            let _ = writeln!(text, "\nFunctions {title} (points reached/all):");
            for (name, Count { reached, all, .. }) in &functions {
                if reached < all && (*reached > 0) == entered {
                    let _ = writeln!(text, "{reached:5}/{all:<5} {name}");
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::Point;

    fn three() -> Coverage {
        let point = |address, function| Point { address, function };
        Coverage::new(Points {
            points: vec![point(100, 0), point(105, 0), point(200, 1)],
            functions: vec!["vdpa::a".into(), "kext::b".into()],
            left_out: 0,
        })
    }

    #[test]
    fn new_points_and_new_orders() {
        let c = three();
        assert!(!c.add([1, 99, 101, 500].into_iter()));
        assert!(c.add([100, 105].into_iter()));
        assert!(!c.add([7, 100, 105].into_iter()));
        assert!(c.add([105, 100].into_iter()));
        assert_eq!(c.count(), (2, 3));
    }

    #[test]
    fn gaps() {
        let c = three();
        c.add([105].into_iter());
        let gaps = c.gaps();
        let (never, part) = gaps.split_once("entered, not all").unwrap();
        assert!(never.contains("kext::b") && !never.contains("vdpa::a"));
        assert!(part.contains("    1/2     vdpa::a"), "{gaps}");
        c.add_beside([200].into_iter());
        let kext = c.by_crate()["kext"];
        assert_eq!((kext.by_inputs, kext.reached, kext.all), (0, 1, 1));
        assert!(!c.gaps().contains("kext::b"));
    }
}
