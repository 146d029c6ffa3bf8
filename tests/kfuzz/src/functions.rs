// SPDX-License-Identifier: GPL-2.0
//! The functions of an object file, and which of them anything refers to.

use std::collections::HashMap;

use object::{
    File, Object, ObjectSection, ObjectSymbol, Relocation, RelocationKind, RelocationTarget,
    SectionIndex, SectionKind, SymbolKind,
};

/// What a relocation refers to.
pub struct Target;

impl Target {
    /// The name of its symbol.
    pub fn name<'a>(file: &File<'a>, relocation: &Relocation) -> Option<&'a str> {
        match relocation.target() {
            RelocationTarget::Symbol(index) => file.symbol_by_index(index).ok()?.name().ok(),
            _ => None,
        }
    }

    /// Where it is.
    fn place(
        file: &File<'_>,
        relocation: &Relocation,
        in_code: bool,
    ) -> Option<(SectionIndex, u64)> {
        let RelocationTarget::Symbol(index) = relocation.target() else {
            return None;
        };
        let symbol = file.symbol_by_index(index).ok()?;
        // In code, a distance counts from the end of its four bytes.
        let behind = match relocation.kind() {
            RelocationKind::Relative | RelocationKind::PltRelative if in_code => 4,
            _ => 0,
        };
        let offset = symbol.address() as i64 + relocation.addend() + behind;
        Some((symbol.section_index()?, u64::try_from(offset).ok()?))
    }
}

/// Functions by number.
pub struct Functions {
    names: Vec<String>,
    /// Those of each section: where they begin, and their numbers.
    starts: HashMap<SectionIndex, Vec<(u64, usize)>>,
}

/// Code that runs once, when the module is loaded or removed.
fn runs_once(section: &str) -> bool {
    section.starts_with(".init") || section.starts_with(".exit")
}

/// Sections through which the kernel finds functions. (Others list the places of all
/// functions, for the unwinder and the tracer.)
fn is_table(section: &str) -> bool {
    [".data", ".rodata", "__ksymtab"]
        .iter()
        .any(|t| section.starts_with(t))
}

fn is_test(function: &str) -> bool {
    function.contains("::tests::") || function.contains("kunit")
}

impl Functions {
    pub fn of(file: &File<'_>) -> Self {
        let mut names = Vec::new();
        let mut starts: HashMap<_, Vec<_>> = HashMap::new();
        for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text) {
            if let (Some(section), Ok(name)) = (symbol.section_index(), symbol.name()) {
                let number = names.len();
                names.push(format!("{:#}", rustc_demangle::demangle(name)));
                let of_section = starts.entry(section).or_default();
                of_section.push((symbol.address(), number));
            }
        }
        starts.values_mut().for_each(|s| s.sort_unstable());
        Functions { names, starts }
    }

    /// The function that the place is in.
    pub fn at(&self, section: SectionIndex, offset: u64) -> Option<usize> {
        self.find(section, offset).map(|f| f.1)
    }

    fn find(&self, section: SectionIndex, offset: u64) -> Option<(u64, usize)> {
        let starts = self.starts.get(&section)?;
        let after = starts.partition_point(|(start, _)| *start <= offset);
        Some(starts[after.checked_sub(1)?])
    }

    /// For each function whether the kernel can get to it while the module is loaded.
    pub fn reachable(&self, file: &File<'_>) -> Vec<bool> {
        let mut refers = vec![Vec::new(); self.names.len()];
        let mut next = Vec::new();
        for section in file.sections() {
            let name = section.name().unwrap_or_default();
            let is_text = section.kind() == SectionKind::Text && !runs_once(name);
            for (offset, relocation) in section.relocations() {
                let Some((to_section, to)) = Target::place(file, &relocation, is_text) else {
                    continue;
                };
                let Some((start, function)) = self.find(to_section, to) else {
                    continue;
                };
                if is_text {
                    if let Some(from) = self.at(section.index(), offset) {
                        refers[from].push(function);
                    }
                } else if is_table(name) && start == to {
                    next.push(function);
                }
            }
        }
        let mut reachable = vec![false; self.names.len()];
        while let Some(function) = next.pop() {
            if !reachable[function] && !is_test(&self.names[function]) {
                reachable[function] = true;
                next.append(&mut refers[function]);
            }
        }
        reachable
    }

    pub fn into_names(self) -> Vec<String> {
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_place() {
        let section = SectionIndex(1);
        let functions = Functions {
            names: vec!["a".into(), "b".into()],
            starts: [(section, vec![(0x10, 0), (0x40, 1)])].into(),
        };
        assert_eq!(functions.at(section, 0x8), None);
        assert_eq!(functions.at(section, 0x10), Some(0));
        assert_eq!(functions.at(section, 0x3f), Some(0));
        assert_eq!(functions.at(section, 0x99), Some(1));
        assert_eq!(functions.at(SectionIndex(2), 0x10), None);
    }

    /// This program itself has functions of ours.
    #[test]
    fn of_a_program() {
        let data = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let file = File::parse(&*data).unwrap();
        let functions = Functions::of(&file);
        assert_eq!(functions.names.len(), functions.reachable(&file).len());
    }

    #[test]
    fn kinds() {
        assert!(is_test("vdpa_core::name::tests::good"));
        assert!(runs_once(".init.text") && !runs_once(".text"));
        assert!(is_table(".rodata.cst8") && !is_table("__patchable_function_entries"));
    }
}
