// SPDX-License-Identifier: GPL-2.0
//! What it costs to open a node of vhost_vdpa, to set its device up, to kick a queue and to
//! close the node.

use std::thread;
use std::time::Duration;

use vdpa_test::sys;
use vdpa_test::vhost::{backend, feature, status, Area, EventFd, Memory, Node, Perm};
use vdpa_test::vhost::{Options, Ring};
use vdpa_test::Errno;

use crate::clock::cost_of;
use crate::maps::device;
use crate::profile::{self, Symbols};
use crate::stack::Stack;

const ROUNDS: usize = 11;
const KICKS: u64 = 1000;
const IOVA: u64 = 0x42_0000_0000;
/// Those to receive, to send, and for commands.
const QUEUES: usize = 3;
const FEATURES: u64 = feature::VERSION_1
    | feature::ACCESS_PLATFORM
    | feature::NET_MAC
    | feature::NET_MTU
    | feature::NET_STATUS
    | feature::NET_CTRL_VQ
    | feature::NET_CTRL_MAC_ADDR;

/// What a device is given.
struct User {
    memory: Area,
    queues: Vec<(Ring, EventFd, EventFd)>,
    config: EventFd,
}

impl User {
    fn new() -> Self {
        let memory = Area::whole(&Memory::memfd(1 << 20), IOVA);
        memory.fill(0);
        let mut space = memory.clone();
        let ring = |_| {
            let ring = Ring::new(&mut space, Options::of(FEATURES, 256));
            (ring, EventFd::new(), EventFd::new())
        };
        User {
            queues: (0..QUEUES).map(ring).collect(),
            config: EventFd::new(),
            memory,
        }
    }

    /// As a VMM does it.
    fn set_up(&self, node: &Node) -> Result<(), Errno> {
        node.set_owner()?;
        let offered = node.backend_features()?;
        node.set_backend_features(offered & backend::USUAL)?;
        node.set_status(status::ACKNOWLEDGE | status::DRIVER)?;
        node.set_features(node.features()? & FEATURES)?;
        node.set_status(status::NEGOTIATED)?;
        node.map(0, &self.memory, Perm::Rw)?;
        for (index, (ring, kick, call)) in (0..).zip(&self.queues) {
            node.set_vring_num(index, ring.size().into())?;
            node.set_vring_base(index, ring.base())?;
            node.set_vring_addr(index, ring.address())?;
            node.set_vring_kick(index, Some(kick))?;
            node.set_vring_call(index, Some(call))?;
            node.set_vring_enable(index, true)?;
        }
        node.set_config_call(Some(&self.config))?;
        node.set_status(status::RUNNING)
    }
}

/// Prints lines `STACK OPERATION INSTRUCTIONS`. A kick is what is more if the eventfd that is
/// written is that of a queue, which is not enabled: the parent's callback has nothing to do.
pub fn measure() {
    for stack in Stack::BOTH {
        stack.load(&["vdpa", "vdpa_sim_net", "vhost_vdpa"]);
        let _device = device();
        let path = Node::path("n0");
        let user = User::new();
        for _ in 0..ROUNDS {
            let (node, open) = cost_of(|| Node::try_open(&path));
            let node = node.expect("open");
            let (result, set_up) = cost_of(|| user.set_up(&node));
            result.expect("set-up");
            let ((), close) = cost_of(|| drop(node));
            let kick = cost_of_kick(&path);
            for (operation, cost) in [
                ("open", open),
                ("set_up", set_up),
                ("close", close),
                ("kick", kick),
            ] {
                println!("{} {operation} {cost}", stack.name());
            }
        }
    }
}

/// Opens a node, sets its device up and closes it, again and again, for tools/profile. The stack
/// is what modprobe finds.
pub fn repeat() {
    for module in ["vdpa", "vdpa_sim_net", "vhost_vdpa"] {
        sys::modprobe(module);
    }
    let _device = device();
    let path = Node::path("n0");
    let user = User::new();
    Symbols::read().hand_over();
    while !profile::is_done() {
        let node = Node::try_open(&path).expect("open");
        user.set_up(&node).expect("set-up");
        drop(node);
        thread::sleep(Duration::from_millis(10));
    }
}

fn cost_of_kick(path: &str) -> u64 {
    let kick = EventFd::new();
    let signals = || (0..KICKS).for_each(|_| kick.signal());
    let ((), alone) = cost_of(signals);
    let node = Node::try_open(path).expect("open");
    node.set_owner().expect("owner");
    node.set_vring_kick(0, Some(&kick)).expect("kick");
    let ((), watched) = cost_of(signals);
    (watched - alone) / KICKS
}
