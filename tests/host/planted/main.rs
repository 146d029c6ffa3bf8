// SPDX-License-Identifier: GPL-2.0

//! Does what is undefined, on request: `tools/host-tests` checks that each of its tools tells.

use std::hint::black_box;
use std::mem::MaybeUninit;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("nothing") => (),
        Some("out-of-bounds") => out_of_bounds(),
        Some("uninitialised") => uninitialised(),
        _ => panic!("planted nothing|out-of-bounds|uninitialised"),
    }
}

/// Reads the byte after an allocation.
fn out_of_bounds() {
    let bytes: Box<[u8]> = black_box(vec![1; 16]).into_boxed_slice();
    // SAFETY: None. This is the error.
    let byte = unsafe { bytes.as_ptr().add(bytes.len()).read_volatile() };
    println!("{}", byte.count_ones());
}

/// Decides by memory that nobody wrote.
fn uninitialised() {
    let number = black_box(Box::new(MaybeUninit::<u64>::uninit()));
    // SAFETY: None. This is the error.
    if unsafe { number.as_ptr().read_volatile() } > 1 << 40 {
        println!("great");
    }
}
