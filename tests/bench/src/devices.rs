// SPDX-License-Identifier: GPL-2.0
//! What making, listing and removing devices costs as their number grows.
//!
//! Prints lines `STACK OPERATION NUMBER COST`. The cost is what the monotonic clock says,
//! in nanoseconds: instructions, when QEMU counts them (`tools/vm --icount`).

use vdpa_test::vdpa::*;

use crate::stack::Stack;

const DEVICES: usize = 1000;
const MGMT: &str = "vdpasim_net";

fn now() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` is valid for writes.
    let ret = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_RAW, &mut t) };
    assert_eq!(ret, 0, "clock_gettime");
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn cost<R>(stack: Stack, what: &str, number: usize, f: impl FnOnce() -> R) -> R {
    let start = now();
    let result = f();
    println!("{} {what} {number} {}", stack.name(), now() - start);
    result
}

pub fn measure() {
    for stack in Stack::BOTH {
        stack.load(&["vdpa", "vdpa_sim_net"]);
        measure_stack(stack);
    }
}

fn measure_stack(stack: Stack) {
    let mut v = Vdpa::new();
    for number in 1..=DEVICES {
        let name = format!("d{number}");
        let msg = v.new_msg(MGMT, &name);
        cost(stack, "add", number, || v.ack(&msg)).expect_ok();
        let msg = v.about(CMD_DEV_GET, &name);
        cost(stack, "get", number, || v.request(&msg)).one();
        if [10, 100, 1000].contains(&number) {
            let all = cost(stack, "dump", number, || v.dump(CMD_DEV_GET));
            assert_eq!(all.len(), number);
        }
    }
    for number in (1..=DEVICES).rev() {
        let name = format!("d{number}");
        cost(stack, "del", number, || v.try_del(&name)).expect_ok();
    }
}
