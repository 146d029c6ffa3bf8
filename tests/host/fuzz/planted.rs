// SPDX-License-Identifier: GPL-2.0

//! Reads past an allocation when the input begins with `vdpa`: nobody guesses that who does not
//! see which bytes brought the program further.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::hint::black_box;

fuzz_target!(|data: &[u8]| {
    if let [a, b, c, d, ..] = *data {
        if a == b'v' && black_box(b) == b'd' && black_box(c) == b'p' && black_box(d) == b'a' {
            let bytes = black_box(vec![0u8; 16].into_boxed_slice());
            // SAFETY: None. This is the error.
            black_box(unsafe { bytes.as_ptr().add(bytes.len()).read_volatile() });
        }
    }
});
