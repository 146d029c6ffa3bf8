// SPDX-License-Identifier: GPL-2.0
//! What a thread was doing when the kernel died: its last inputs, in a file on a
//! file system that survives.
//!
//! A file of fixed slots, written round and round. One write an input, before the
//! kernel gets it; on the folder that a VM exports it reaches the host at once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::session::Input;

/// The longest text of an input.
pub const SLOT: usize = 16 << 10;

const SLOTS: u64 = 16;

/// The journal of a thread.
pub struct Journal {
    file: File,
    count: u64,
}

/// The file of a thread's journal in a folder.
pub fn file_of(folder: &Path, thread: usize) -> PathBuf {
    folder.join(format!("ring-{thread}"))
}

impl Journal {
    /// Begins a new one.
    pub fn create(folder: &Path, thread: usize) -> io::Result<Self> {
        let file = File::create(file_of(folder, thread))?;
        Ok(Journal { file, count: 0 })
    }

    /// Writes down what is done next. The rest of an overlong text is lost.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        let record = format!("sequence {}\n{text}end\n", self.count);
        let bytes = &record.as_bytes()[..record.len().min(SLOT)];
        self.file
            .write_all_at(bytes, self.count % SLOTS * SLOT as u64)?;
        self.count += 1;
        Ok(())
    }
}

/// The inputs in a file, the oldest first: a journal, or one input as text.
pub fn read<I: Input>(text: &str) -> Result<Vec<I>, String> {
    // A slot may have the end of an older, longer record behind its record.
    let records = text.split('\0').flat_map(|s| s.split("sequence ").skip(1));
    let mut found = Vec::new();
    for record in records {
        let Some((record, _)) = record.split_once("end\n") else {
            continue;
        };
        let (number, body) = record
            .split_once('\n')
            .ok_or("a sequence without a number")?;
        let number: u64 = number
            .parse()
            .map_err(|_| format!("sequence {number}: no number"))?;
        found.push((number, I::from_text(body)?));
    }
    if found.is_empty() {
        found.push((0, I::from_text(text)?));
    }
    found.sort_by_key(|f| f.0);
    Ok(found.into_iter().map(|f| f.1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Text(String);

    impl Input for Text {
        fn to_text(&self) -> String {
            self.0.clone()
        }

        fn from_text(text: &str) -> Result<Self, String> {
            Ok(Text(text.into()))
        }
    }

    #[test]
    fn goes_round() {
        let folder = std::env::temp_dir().join(format!("journal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut j = Journal::create(&folder, 3).unwrap();
        for n in 0..20 {
            j.write(&format!("step {n} {}\n", "x".repeat(40 - n)))
                .unwrap();
        }
        let text = std::fs::read_to_string(file_of(&folder, 3)).unwrap();
        let found = read::<Text>(&text).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.len(), 16);
        assert!(found[0].0.starts_with("step 4 "));
        assert_eq!(found[15].0, format!("step 19 {}\n", "x".repeat(21)));
    }

    #[test]
    fn single_input() {
        assert_eq!(read::<Text>("open\n").unwrap(), [Text("open\n".into())]);
    }
}
