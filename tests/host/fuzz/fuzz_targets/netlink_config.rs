// SPDX-License-Identifier: GPL-2.0

//! What is reported of a configuration space, whatever is in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdpa_host::netlink::config::{self, Kind};

fuzz_target!(|input: (bool, u64, u8, &[u8])| {
    let (block, features, room, space) = input;
    let kind = if block { Kind::Block } else { Kind::Net };
    config::check_report(kind, features, space);
    config::check_no_room(kind, features, space, room.into());
});
