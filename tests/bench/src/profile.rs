// SPDX-License-Identifier: GPL-2.0
//! With tools/profile, outside of the VM.

use std::fs;
use std::path::Path;

use vdpa_test::sys;

/// The addresses of the kernel's symbols, for tools/profile.
pub struct Symbols(String);

impl Symbols {
    pub fn read() -> Self {
        Symbols(sys::read("/proc/kallsyms"))
    }

    /// Says that what is to be looked at has begun.
    pub fn hand_over(&self) {
        fs::write("/out/kallsyms.new", &self.0).expect("a file in /out");
        fs::rename("/out/kallsyms.new", "/out/kallsyms").expect("a name in /out");
    }
}

/// Whether enough was seen.
pub fn is_done() -> bool {
    Path::new("/out/stop").exists()
}
