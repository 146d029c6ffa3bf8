// SPDX-License-Identifier: GPL-2.0
//! Kicks with `VIRTIO_F_NOTIFICATION_DATA`: the device is told how far the driver is.

use vdpa_test::parent::{self, Mgmt};
use vdpa_test::sim::{self, Sim, MAC};
use vdpa_test::vdpa::{Device, Vdpa};
use vdpa_test::vhost::net::{frame, Net, Setup};
use vdpa_test::vhost::{
    backend, feature, status, Area, EventFd, Memory, Node, Perm, RingAddress, PAGE,
};
use vdpa_test::{ktap, ktap_main, sys};

ktap_main!(
    split_queue,
    packed_queue,
    long_packed_queue,
    reset,
    queue_that_goes_on,
    ring_that_is_not_there,
    several_queues,
    not_negotiated,
    device_that_takes_no_data,
    traffic,
);

const BASE: u64 = 0x10_0000;
const SIZE: u16 = 8;

const FEATURES: u64 = feature::VERSION_1
    | feature::ACCESS_PLATFORM
    | feature::NOTIFICATION_DATA
    | feature::RING_PACKED;

/// A device that writes down how it is kicked, in use.
struct User {
    node: Node,
    /// A page for each of three queues.
    memory: Area,
    kicks: Vec<EventFd>,
    _device: Device,
    _mgmt: Mgmt,
}

impl User {
    fn new(features: u64, shape: &str) -> Self {
        let mgmt = Mgmt::new("m0", format!("dev.features={FEATURES:#x} {shape}").trim());
        sim::for_vhost();
        let device = Vdpa::new().add("m0", "d0");
        let node = Node::open("d0");
        node.set_owner().unwrap();
        node.set_backend_features(backend::IOTLB_MSG_V2).unwrap();
        node.set_status(status::ACKNOWLEDGE | status::DRIVER)
            .unwrap();
        node.set_features(features).unwrap();
        node.set_status(status::NEGOTIATED).unwrap();
        let memory = Area::whole(&Memory::private(3 * PAGE), BASE);
        let mut user = User {
            node,
            memory,
            kicks: Vec::new(),
            _device: device,
            _mgmt: mgmt,
        };
        for queue in 0..3 {
            user.add_queue(queue);
        }
        user.map();
        user.node.set_status(status::RUNNING).unwrap();
        parent::forget();
        user
    }

    fn add_queue(&mut self, queue: u32) {
        let at = BASE + u64::from(queue) * PAGE as u64;
        let address = RingAddress {
            desc: at,
            driver: at + 0x400,
            device: at + 0x800,
        };
        let kick = EventFd::new();
        self.node.set_vring_num(queue, SIZE.into()).unwrap();
        self.node.set_vring_addr(queue, address).unwrap();
        self.node.set_vring_kick(queue, Some(&kick)).unwrap();
        self.node.set_vring_enable(queue, true).unwrap();
        self.kicks.push(kick);
    }

    fn map(&self) {
        self.node.map(0, &self.memory, Perm::Rw).unwrap();
    }

    /// What the driver of a split queue made available so far.
    fn set_avail_index(&self, queue: usize, index: u16) {
        self.memory.store(queue * PAGE + 0x402, index);
    }

    /// Makes a descriptor of a packed queue available.
    fn set_flags(&self, queue: usize, descriptor: u16, wrap: bool) {
        let flags: u16 = if wrap { 1 << 7 } else { 1 << 15 };
        let at = queue * PAGE + usize::from(descriptor) * 16 + 14;
        self.memory.store(at, flags);
    }

    /// Kicks a queue, and compares what the device was told.
    #[track_caller]
    fn kick(&self, queue: usize, position: u16) {
        self.kicks[queue].signal();
        sys::wait_for("a kick", || !kicks().is_empty());
        let data = (u32::from(position) << 16) | queue as u32;
        assert_eq!(kicks(), [format!("kick_vq_with_data d0 cf=- {data:#x}")]);
        parent::forget();
    }

    /// The same without data.
    #[track_caller]
    fn kick_plainly(&self, queue: usize) {
        self.kicks[queue].signal();
        sys::wait_for("a kick", || !kicks().is_empty());
        assert_eq!(kicks(), [format!("kick_vq d0 cf=- {queue}")]);
        parent::forget();
    }
}

/// How the device was kicked.
fn kicks() -> Vec<String> {
    let log = parent::log().into_iter();
    log.filter(|l| l.starts_with("kick_vq")).collect()
}

const SPLIT: u64 = FEATURES & !feature::RING_PACKED;

fn split_queue() {
    let user = User::new(SPLIT, "");
    for index in [0, 1, 1, 5, 0x7fff, 0x8000, 0xffff, 0, 2] {
        user.set_avail_index(1, index);
        user.kick(1, index);
    }
}

const WRAP: u16 = 1 << 15;

fn packed_queue() {
    let user = User::new(FEATURES, "");
    user.kick(1, WRAP);
    for n in 0..3 {
        user.set_flags(1, n, true);
    }
    user.kick(1, WRAP | 3);
    user.kick(1, WRAP | 3);
    // The device is done with one, and says so.
    user.memory.store(PAGE + 14, (1u16 << 15) | (1 << 7));
    user.kick(1, WRAP | 3);
    for n in 3..SIZE {
        user.set_flags(1, n, true);
    }
    user.kick(1, 0);
    for n in 0..2 {
        user.set_flags(1, n, false);
    }
    user.kick(1, 2);
    for n in 2..SIZE {
        user.set_flags(1, n, false);
    }
    user.kick(1, WRAP);
}

/// The position is looked for in parts, and the last one tells all of it.
fn long_packed_queue() {
    const LONG: u16 = 1024;
    let user = User::new(FEATURES, "dev.num_max=1024");
    user.node.reset().unwrap();
    user.node.set_features(FEATURES).unwrap();
    let ring = Area::whole(&Memory::private(usize::from(LONG) * 16), 16 * BASE);
    user.node.map(0, &ring, Perm::Rw).unwrap();
    let address = RingAddress {
        desc: ring.iova(),
        driver: BASE,
        device: BASE,
    };
    user.node.set_vring_num(1, LONG.into()).unwrap();
    user.node.set_vring_addr(1, address).unwrap();
    for (made_available, position) in [(700, WRAP | 700), (1024, 0)] {
        for n in 0..made_available {
            ring.store(n * 16 + 14, 1u16 << 7);
        }
        parent::forget();
        user.kicks[1].signal();
        let last = format!(
            "kick_vq_with_data d0 cf=- {:#x}",
            (u32::from(position) << 16) | 1
        );
        sys::wait_for("the last position", || kicks().last() == Some(&last));
    }
}

/// What was negotiated before a reset does not count any more.
fn reset() {
    let user = User::new(SPLIT, "");
    user.set_avail_index(1, 3);
    user.kick(1, 3);
    user.node.reset().unwrap();
    parent::forget();
    user.kick_plainly(1);
    user.node.set_features(SPLIT).unwrap();
    parent::forget();
    user.kick(1, 3);
}

/// Where a queue begins is said with its state.
fn queue_that_goes_on() {
    let user = User::new(FEATURES, "");
    user.node.reset().unwrap();
    user.node.set_features(FEATURES).unwrap();
    // Wrap counter 0, the sixth descriptor, for the driver and for the device.
    user.node.set_vring_base(1, 0x0005_0005).unwrap();
    for n in 0..SIZE {
        user.set_flags(1, n, n >= 5);
    }
    user.kick(1, 5);
    user.set_flags(1, 5, false);
    user.kick(1, 6);
}

/// What the driver said last, it may say again.
fn ring_that_is_not_there() {
    let user = User::new(SPLIT, "");
    user.set_avail_index(1, 7);
    user.kick(1, 7);
    user.node.unmap(0, BASE, 3 * PAGE as u64).unwrap();
    user.set_avail_index(1, 9);
    user.kick(1, 7);
    // Only what the device may read is read for it.
    user.node.map(0, &user.memory, Perm::Wo).unwrap();
    user.kick(1, 7);
    user.node.unmap(0, BASE, 3 * PAGE as u64).unwrap();
    user.map();
    user.kick(1, 9);
}

fn several_queues() {
    let user = User::new(SPLIT, "");
    for n in 0..3u16 {
        user.set_avail_index(n.into(), 10 + n);
    }
    for n in 0..3u16 {
        user.kick(n.into(), 10 + n);
    }
}

fn not_negotiated() {
    let user = User::new(SPLIT & !feature::NOTIFICATION_DATA, "");
    user.kick_plainly(1);
    user.node.reset().unwrap();
    user.node.set_features(SPLIT).unwrap();
    // Nor for the next user, who does not know of what the one before negotiated.
    let User {
        node,
        memory,
        kicks,
        _device,
        _mgmt,
    } = user;
    drop(node);
    let node = Node::open("d0");
    node.set_owner().unwrap();
    node.set_vring_kick(1, Some(&kicks[1])).unwrap();
    let user = User {
        node,
        memory,
        kicks,
        _device,
        _mgmt,
    };
    parent::forget();
    user.kick_plainly(1);
}

fn device_that_takes_no_data() {
    let user = User::new(SPLIT, "dev.without=kick_vq_with_data");
    user.set_avail_index(1, 3);
    user.kick_plainly(1);
}

/// A device that needs no data is none the worse for it.
fn traffic() {
    let sim = Sim::net();
    sim.need(feature::NOTIFICATION_DATA, "notification data");
    for packed in [0, feature::RING_PACKED] {
        let setup = Setup {
            features: Setup::new(&sim.name).features | feature::NOTIFICATION_DATA | packed,
            ..Setup::new(&sim.name)
        };
        let mut net = Net::start(&setup);
        if net.features & packed != packed {
            ktap::skip("the device has no packed rings");
        }
        for n in 0..600 {
            net.loop_back(&frame(MAC, n, 64 + n));
        }
    }
}
