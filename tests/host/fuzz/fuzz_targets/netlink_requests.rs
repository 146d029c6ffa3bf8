// SPDX-License-Identifier: GPL-2.0

//! What is granted and what is refused to who makes a device.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdpa_host::netlink::requests::{self, Manager, Wish};

type Input<'a> = (
    (Option<u64>, Option<[u8; 6]>, Option<u16>, Option<u16>),
    (u64, [u32; 3]),
    (u32, [u8; 6]),
    &'a [u8],
);

fuzz_target!(|input: Input<'_>| {
    let ((features, mac, mtu, pairs), (attributes, types), (index, address), name) = input;
    let wish = Wish {
        features,
        mac,
        mtu,
        pairs,
    };
    requests::check_wish(wish);
    requests::check_manager(wish, Manager { attributes, types });
    requests::check_queue_index(index);
    requests::check_address(address);
    requests::check_name(name);
});
