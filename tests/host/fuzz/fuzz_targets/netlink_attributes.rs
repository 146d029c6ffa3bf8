// SPDX-License-Identifier: GPL-2.0

//! The attributes of a message, whatever its bytes are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdpa_host::genetlink;

fuzz_target!(|message: &[u8]| genetlink::check_message(message));
