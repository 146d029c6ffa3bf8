// SPDX-License-Identifier: GPL-2.0
//! What making, listing and removing devices costs as their number grows.
//!
//! Prints lines `STACK OPERATION NUMBER COST`.

use vdpa_test::vdpa::*;

use crate::clock::cost_of;
use crate::stack::Stack;

const DEVICES: usize = 1000;
const MGMT: &str = "vdpasim_net";

fn cost<R>(stack: Stack, what: &str, number: usize, f: impl FnOnce() -> R) -> R {
    let (result, cost) = cost_of(f);
    println!("{} {what} {number} {cost}", stack.name());
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
