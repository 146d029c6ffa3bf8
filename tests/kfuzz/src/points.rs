// SPDX-License-Identifier: GPL-2.0
//! The points of a loaded module at which the kernel can record that they were
//! passed: the calls of `__sanitizer_cov_trace_pc` that the compiler put in.

use std::fs;

use object::{Object, ObjectSection, SectionKind};
use vdpa_test::sys;

use crate::functions::{Functions, Target};

const TRACE_PC: &str = "__sanitizer_cov_trace_pc";

/// A point of a module.
pub struct Point {
    /// What the kernel records: where the call returns to.
    pub address: u64,
    /// The number of its function in [`Points::functions`].
    pub function: usize,
}

/// The points of some modules, by address.
///
/// Left out is code that no message can reach: what runs once, when a module is loaded or
/// removed; tests; what nothing in the module refers to, as libraries are linked as a
/// whole; and what tells of a bug.
#[derive(Default)]
pub struct Points {
    pub points: Vec<Point>,
    /// Names of functions, readable.
    pub functions: Vec<String>,
    /// How many points were left out.
    pub left_out: usize,
}

impl Points {
    /// Those of a module that is loaded. Fails with the reason why there are none.
    pub fn of_module(&mut self, module: &str) -> Result<(), String> {
        let file = sys::run(&["modinfo", "-n", module]);
        let path = file.out.trim();
        let data = fs::read(path).map_err(|e| format!("{path}: {e}"))?;
        let base = |section: &str| {
            let file = format!("/sys/module/{module}/sections/{section}");
            let text = fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
            let digits = text.trim().trim_start_matches("0x");
            u64::from_str_radix(digits, 16).map_err(|e| format!("{file}: {e}"))
        };
        let before = self.points.len();
        self.of_object(&data, base)
            .map_err(|e| format!("{path}: {e}"))?;
        if self.points.len() == before {
            return Err(format!("{path} was built without KCOV_INSTRUMENT"));
        }
        Ok(())
    }

    /// Those of an object file whose sections are loaded at `base`.
    pub fn of_object(
        &mut self,
        data: &[u8],
        base: impl Fn(&str) -> Result<u64, String>,
    ) -> Result<(), String> {
        let file = object::File::parse(data).map_err(|e| e.to_string())?;
        let functions = Functions::of(&file);
        let reachable = functions.reachable(&file);
        let first = self.functions.len();
        for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
            let name = section.name().map_err(|e| e.to_string())?;
            let mut calls: Vec<_> = section
                .relocations()
                .map(|(offset, r)| (offset, Target::name(&file, &r).unwrap_or_default()))
                .collect();
            calls.sort_unstable();
            let mut start = None;
            for (n, (offset, called)) in calls.iter().enumerate() {
                if *called != TRACE_PC {
                    continue;
                }
                let function = functions.at(section.index(), *offset);
                let function = function.ok_or(format!("{name}+{offset:#x}: no function"))?;
                let alarms = calls.get(n + 1).is_some_and(|next| is_alarm(next.1));
                if !reachable[function] || alarms {
                    self.left_out += 1;
                    continue;
                }
                let start = match start {
                    Some(known) => known,
                    None => *start.insert(base(name)?),
                };
                self.points.push(Point {
                    // The relocation is that of the call's four bytes of distance.
                    address: start + offset + 4,
                    function: first + function,
                });
            }
        }
        self.functions.extend(functions.into_names());
        self.points.sort_unstable_by_key(|p| p.address);
        Ok(())
    }
}

/// Whether a function tells of a bug: a panic, or what sanitizers call.
fn is_alarm(function: &str) -> bool {
    let prefixes = [
        "__asan_report_",
        "__asan_handle_no_return",
        "__ubsan_handle_",
    ];
    prefixes.iter().any(|p| function.starts_with(p)) || function.contains("9panicking")
}

/// The crate that a function belongs to, or `C`. A method of a foreign trait belongs
/// to the type, generic code to the crate where it is written.
pub fn crate_of(function: &str) -> &str {
    let path = function.trim_start_matches(['<', '&', '[', '(', '*']);
    let path = path.trim_start_matches("mut ").trim_start_matches("dyn ");
    match path.split_once("::") {
        Some((first, _)) if !first.contains(['<', ' ']) => first,
        _ if function.contains("::") => "core",
        _ => "C",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms() {
        assert!(is_alarm("__asan_report_load8_noabort"));
        assert!(is_alarm("_RNvNtCs_4core9panicking5panic"));
        assert!(!is_alarm("__asan_memcpy"));
    }

    #[test]
    fn crates() {
        assert_eq!(crate_of("vdpa_core::netlink::find_device"), "vdpa_core");
        let method = "<vdpa_core::netlink::Traced<_> as kext::Command>::doit";
        assert_eq!(crate_of(method), "vdpa_core");
        assert_eq!(crate_of("<&mut vdpa::Device as Drop>::drop"), "vdpa");
        assert_eq!(crate_of("vdpa_mgmtdev_register"), "C");
        assert_eq!(crate_of("<u8 as core::fmt::Debug>::fmt"), "core");
    }
}
