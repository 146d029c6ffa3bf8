// SPDX-License-Identifier: GPL-2.0
//! What a packet costs that the packet generator sends through virtio_net, virtio_vdpa
//! and a simulated device, which sends it back.

use std::thread;
use std::time::Duration;

use vdpa_test::sys;

use crate::nic::{self, Simulated, Veth};
use crate::pktgen::{self, Flow};
use crate::profile::{self, Symbols};
use crate::stack::Stack;

const MODULES: [&str; 3] = ["vdpa", "vdpa_sim_net", "virtio_vdpa"];

/// Frames of 64 and of 1500 bytes with their checksum, which the generator leaves out.
const SIZES: [u32; 2] = [60, 1496];

const PACKETS: u64 = 20_000;
/// Before them, to fill caches and rings.
const WARM_UP: u64 = 2_000;
const ROUNDS: usize = 3;

/// What C's simulator offers: VERSION_1, ACCESS_PLATFORM, ANY_LAYOUT, and of the network
/// device MTU, MAC, STATUS, CTRL_VQ and CTRL_MAC_ADDR.
const AS_C: u64 = 0x3_0883_0028;
/// INDIRECT_DESC and EVENT_IDX besides.
const SPLIT: u64 = AS_C | (1 << 28) | (1 << 29);

/// A device to measure: the stack, the name of its line, what it offers, pairs of queues.
const DEVICES: [(Stack, &str, Option<u64>, u16); 7] = [
    (Stack::C, "c", None, 1),
    (Stack::Rust, "as_c", Some(AS_C), 1),
    (Stack::Rust, "as_c", Some(AS_C), 4),
    (Stack::Rust, "default", None, 1),
    (Stack::Rust, "default", None, 4),
    (Stack::Rust, "split", Some(SPLIT), 1),
    (Stack::Rust, "split", Some(SPLIT), 4),
];

/// Prints lines `DEVICE FEATURES PAIRS SIZE PACKETS INSTRUCTIONS BACK`: what the packets
/// cost all together, when QEMU counts instructions, and how many came back.
pub fn measure() {
    load_tools();
    for _ in 0..ROUNDS {
        for size in SIZES {
            let _veth = Veth::new();
            measure_one("veth", 0, Veth::NAME, Veth::PEER, 1, size);
        }
        for stack in Stack::BOTH {
            stack.load(&MODULES);
            for (_, device, features, pairs) in DEVICES.iter().filter(|d| d.0 == stack) {
                for size in SIZES {
                    let nic = Simulated::new(*features, *pairs);
                    measure_one(device, nic.features, &nic.name, &nic.name, *pairs, size);
                }
            }
        }
    }
}

fn measure_one(device: &str, features: u64, from: &str, to: &str, pairs: u16, size: u32) {
    let send = |count| {
        let before = nic::received(to);
        pktgen::set_up(&[Flow {
            interface: from,
            size,
            queues: 0..=pairs - 1,
            count,
        }]);
        let time = pktgen::run(from);
        // The last ones may be under way.
        thread::sleep(Duration::from_millis(100));
        (time * 1000, nic::received(to) - before)
    };
    send(WARM_UP);
    let (instructions, back) = send(PACKETS);
    println!("{device} {features:#x} {pairs} {size} {PACKETS} {instructions} {back}");
}

/// Prints lines `pairs PAIRS PACKETS MILLISECONDS`: packets of two threads of the generator
/// that came back, by the clock on the wall.
pub fn compare_pairs() {
    const ROUNDS: usize = 7;
    const MOST: u16 = 4;
    load_tools();
    Stack::Rust.load(&MODULES);
    let nic = Simulated::new(None, MOST);
    for _ in 0..ROUNDS {
        for pairs in [1, MOST] {
            nic.use_pairs(pairs);
            let half = pairs.div_ceil(2);
            // On one pair both threads have the same queue.
            let flows = [0, pairs - half].map(|first| Flow {
                interface: &nic.name,
                size: SIZES[0],
                queues: first..=first + half - 1,
                count: 0,
            });
            pktgen::set_up(&flows);
            let before = nic::received(&nic.name);
            let mut packets = 0;
            let time = pktgen::run_while(|| {
                thread::sleep(Duration::from_secs(6));
                packets = nic::received(&nic.name) - before;
            });
            println!("pairs {pairs} {packets} {}", time.as_millis());
        }
    }
}

/// Sends packets, for tools/profile. The stack is what modprobe finds.
pub fn traffic(features: &str, size: &str, pairs: &str) {
    load_tools();
    MODULES.into_iter().for_each(sys::modprobe);
    let features = match features {
        "default" => None,
        number => Some(parse(number)),
    };
    let pairs = u16::try_from(parse(pairs)).expect("a number of pairs");
    let nic = Simulated::new(features, pairs);
    pktgen::set_up(&[Flow {
        interface: &nic.name,
        size: u32::try_from(parse(size)).expect("a size"),
        queues: 0..=pairs - 1,
        count: 0,
    }]);
    let symbols = Symbols::read();
    pktgen::run_while(|| {
        thread::sleep(Duration::from_millis(100));
        symbols.hand_over();
        while !profile::is_done() {
            thread::sleep(Duration::from_millis(100));
        }
    });
}

/// What is not part of a stack.
fn load_tools() {
    ["virtio_net", "veth", "pktgen"]
        .into_iter()
        .for_each(sys::modprobe);
}

fn parse(number: &str) -> u64 {
    let parsed = match number.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => number.parse(),
    };
    parsed.unwrap_or_else(|e| panic!("{number}: {e}"))
}
