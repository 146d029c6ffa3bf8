// SPDX-License-Identifier: GPL-2.0
//! The C stack and ours, one after the other in the same VM.

use std::fs;

use vdpa_test::sys;

/// Below it, a folder for each stack, as modprobe's --dirname wants it; tools/bench
/// puts them there.
const STACKS: &str = "/usr/lib/rvdpa/stacks";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    C,
    Rust,
}

impl Stack {
    pub const BOTH: [Stack; 2] = [Stack::C, Stack::Rust];

    pub fn name(self) -> &'static str {
        match self {
            Stack::C => "c",
            Stack::Rust => "rust",
        }
    }

    /// Replaces whatever is loaded by the modules of this stack.
    pub fn load(self, modules: &[&str]) {
        sys::unload_all();
        for module in modules {
            let folder = format!("{STACKS}/{}", self.name());
            sys::run(&["modprobe", "-d", &folder, module]).expect_ok();
        }
        assert!(self.is_loaded(), "the {} stack is not loaded", self.name());
    }

    /// Rust's symbols have names that no C compiler makes.
    fn is_loaded(self) -> bool {
        let symbols = fs::read_to_string("/proc/kallsyms").expect("kallsyms");
        let ours = symbols
            .lines()
            .any(|line| line.contains(" _R") && line.ends_with("[vdpa_sim_net]"));
        ours == (self == Stack::Rust)
    }
}
