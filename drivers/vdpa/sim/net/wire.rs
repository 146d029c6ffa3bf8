// SPDX-License-Identifier: GPL-2.0

//! Numbers as wide as they are in a structure. Of a constant in a C header, bindgen only knows that
//! it fits into 32 bits.
//!
//! Nothing here needs the kernel: `tests/host` has the same file.

/// A constant that is a byte.
pub(crate) const fn byte(constant: u32) -> u8 {
    let [byte, 0, 0, 0] = constant.to_le_bytes() else {
        panic!("not a byte");
    };
    byte
}

/// A constant of 16 bits.
pub(crate) const fn half(constant: u32) -> u16 {
    let [low, high, 0, 0] = constant.to_le_bytes() else {
        panic!("more than 16 bits");
    };
    u16::from_le_bytes([low, high])
}
