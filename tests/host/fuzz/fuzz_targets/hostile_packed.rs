// SPDX-License-Identifier: GPL-2.0

//! The device side of a packed virtqueue, whatever its driver does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdpa_host::virtqueue::hostile::{check, Format};

fuzz_target!(|input: &[u8]| check(Format::Packed, input));
