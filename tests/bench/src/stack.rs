// SPDX-License-Identifier: GPL-2.0
//! The C stack and ours, one after the other in the same VM.

use std::fs;

use vdpa_test::sys;

/// Below it, a folder for each stack, as modprobe's --dirname wants it; tools/bench
/// puts them there.
const STACKS: &str = "/usr/lib/rvdpa/stacks";

/// Modules that there are in both languages.
const PARTS: [&str; 3] = ["vdpa", "vdpa_sim_net", "vhost_vdpa"];

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

    /// Replaces whatever is loaded by the modules of this stack. Parameters follow the name
    /// of a module, after blanks.
    pub fn load(self, modules: &[&str]) {
        sys::unload_all();
        for module in modules {
            let folder = format!("{STACKS}/{}", self.name());
            let mut command = vec!["modprobe", "-d", &folder];
            command.extend(module.split(' '));
            sys::run(&command).expect_ok();
        }
        for module in modules.iter().filter_map(|m| m.split(' ').next()) {
            let right = !PARTS.contains(&module) || self.has(module);
            assert!(right, "{module} is not {}'s", self.name());
        }
    }

    /// Whether a module that is loaded belongs to this stack. Rust's symbols have names that
    /// no C compiler makes.
    fn has(self, module: &str) -> bool {
        let symbols = fs::read_to_string("/proc/kallsyms").expect("kallsyms");
        let module = format!("[{module}]");
        let ours = symbols
            .lines()
            .any(|line| line.contains(" _R") && line.ends_with(&module));
        ours == (self == Stack::Rust)
    }
}
