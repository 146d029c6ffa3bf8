// SPDX-License-Identifier: GPL-2.0

//! Values that user space sees as text, one in a file.
//!
//! What an [`Attribute`] says of a value is the same wherever the file is; [`sysfs`](crate::sysfs)
//! and [`debugfs`](crate::debugfs) make the files, and tell context and locks.

use core::mem;
use kernel::{
    error::VTABLE_DEFAULT_ERROR,
    fmt,
    page::PAGE_SIZE,
    prelude::*,
    str::BStr, //
};

/// A file about a `T`, that shows a value, takes one, or both.
///
/// The file's mode follows from what is implemented. A type with neither does not compile.
#[vtable]
pub trait Attribute<T>: 'static {
    /// The file's name.
    const NAME: &'static CStr;

    /// Writes the value to `page`, by custom as one line. Optional.
    ///
    /// Is asked once each time the file is read from the start. Who reads gets the error; `EFBIG`
    /// if the text was longer than a page takes, whatever this returns.
    fn show(data: &T, page: &mut Page<'_>) -> Result {
        let _ = (data, page);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Takes a value that was written to the file. Optional.
    ///
    /// It comes from user space, without the newline at its end if there was one, and may be empty
    /// then. It has all that one `write()` brought, which is never more than a page: what is longer
    /// comes in pieces of that size in sysfs, a call for each, and is refused in debugfs. Who writes
    /// gets the error.
    fn store(data: &T, value: &BStr) -> Result {
        let _ = (data, value);
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The text that a reader of an attribute gets: at most a page less one byte, as sysfs has it.
pub struct Page<'a> {
    free: &'a mut [u8],
    overflow: bool,
}

impl<'a> Page<'a> {
    const CAPACITY: usize = PAGE_SIZE - 1;

    fn new(buffer: &'a mut [u8; PAGE_SIZE]) -> Self {
        Self {
            free: buffer.get_mut(..Self::CAPACITY).unwrap_or_default(),
            overflow: false,
        }
    }

    /// How many bytes were written. Fails with `EFBIG` if some did not fit.
    fn len(&self) -> Result<usize> {
        match self.overflow {
            true => Err(EFBIG),
            false => Ok(Self::CAPACITY.saturating_sub(self.free.len())),
        }
    }

    /// How many bytes fit.
    pub fn room(&self) -> usize {
        self.free.len()
    }

    /// What `write!` and `writeln!` call. Fails with `EFBIG` if the text does not fit any more.
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> Result {
        let written = fmt::Write::write_fmt(self, text);
        self.len()?;
        Ok(written?)
    }
}

impl fmt::Write for Page<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match mem::take(&mut self.free).split_at_mut_checked(text.len()) {
            Some((place, rest)) => {
                place.copy_from_slice(text.as_bytes());
                self.free = rest;
                Ok(())
            }
            None => {
                self.overflow = true;
                Err(fmt::Error)
            }
        }
    }
}

/// Has the value written to `buffer`; how many bytes there are.
pub(crate) fn show<T, A: Attribute<T>>(data: &T, buffer: &mut [u8; PAGE_SIZE]) -> Result<usize> {
    let mut page = Page::new(buffer);
    let shown = A::show(data, &mut page);
    let len = page.len()?;
    shown?;
    Ok(len)
}

/// Passes on what was written; how many bytes were taken, which is all.
pub(crate) fn store<T, A: Attribute<T>>(data: &T, written: &[u8]) -> Result<usize> {
    let value = written.strip_suffix(b"\n").unwrap_or(written);
    A::store(data, BStr::from_bytes(value))?;
    Ok(written.len())
}

/// Gives a macro the tuples that users may list attributes in: up to eight.
macro_rules! for_all_tuples {
    ($implement:ident) => {
        $implement!(
            A0,
            A0 A1,
            A0 A1 A2,
            A0 A1 A2 A3,
            A0 A1 A2 A3 A4,
            A0 A1 A2 A3 A4 A5,
            A0 A1 A2 A3 A4 A5 A6,
            A0 A1 A2 A3 A4 A5 A6 A7,
        );
    };
}
pub(crate) use for_all_tuples;
