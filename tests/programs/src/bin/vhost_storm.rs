// SPDX-License-Identifier: GPL-2.0
//! Everything at once: eight threads use nodes while devices are deleted and made anew.
//!
//! `RVDPA_STORM_SECONDS` says how long all tests together take; without it each takes a
//! number of rounds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use vdpa_test::ktap::note;
use vdpa_test::sim::{Sim, MAC as OWN};
use vdpa_test::vdpa::{Vdpa, MAC};
use vdpa_test::vhost::net::{frame, Net, Setup};
use vdpa_test::vhost::{
    backend, feature, status, Area, EventFd, Memory, Message, Node, Perm, RingAddress, PAGE,
};
use vdpa_test::{ktap_main, pins, sys, Errno};

ktap_main!(
    virtual_addresses,
    virtual_addresses_in_pieces,
    pages,
    pages_in_pieces,
);

const DEVICES: [&str; 3] = ["n0", "n1", "n2"];

/// Where devices find memory.
const WINDOW: u64 = 0x10_0000;
/// How much of it is that of rings and buffers, and not of those who map and unmap.
const RINGS: u64 = 0x10_0000;

/// Descriptors of a ring.
const SIZE: u16 = 16;

/// What may be said to those who use a device at the wrong time.
const ALLOWED: [Errno; 9] = [
    Errno::ENODEV,
    Errno::EBUSY,
    Errno::EINVAL,
    Errno::EPERM,
    Errno::EEXIST,
    Errno::ENOENT,
    Errno::ENXIO,
    Errno::ENOSPC,
    Errno::EOPNOTSUPP,
];

/// A result as it may be here.
#[track_caller]
fn allow<T>(result: Result<T, Errno>) -> Option<T> {
    result
        .inspect_err(|e| assert!(ALLOWED.contains(e), "{e:?}"))
        .ok()
}

#[derive(Default)]
struct Counts {
    ioctls: AtomicU64,
    messages: AtomicU64,
    kicks: AtomicU64,
    runs: AtomicU64,
    reads: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// What the threads share.
struct Storm {
    over: AtomicBool,
    nodes: [Mutex<Option<Arc<Node>>>; DEVICES.len()],
    /// Of each device and its queues: kicks and calls.
    eventfds: Vec<EventFd>,
    /// Memory for rings and buffers.
    memory: Arc<Memory>,
    counts: Counts,
}

impl Storm {
    fn new() -> Self {
        Storm {
            over: AtomicBool::new(false),
            nodes: Default::default(),
            eventfds: (0..4 * DEVICES.len()).map(|_| EventFd::new()).collect(),
            memory: Memory::memfd(RINGS as usize),
            counts: Counts::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    fn node(&self, device: usize) -> Option<Arc<Node>> {
        self.nodes[device].lock().unwrap().clone()
    }

    /// The eventfd with which a queue is kicked (0) or calls (1).
    fn eventfd(&self, device: usize, queue: u32, which: usize) -> &EventFd {
        &self.eventfds[4 * device + 2 * queue as usize + which]
    }

    /// Where a ring of a device is in the memory.
    fn ring_at(device: usize, queue: u32) -> usize {
        (2 * device + queue as usize) * 4 * PAGE
    }

    /// Fills a ring with buffers: the first queue's are written, the second's read.
    fn fill(&self, device: usize, queue: u32) {
        let area = Area::whole(&self.memory, WINDOW);
        let at = Self::ring_at(device, queue);
        let (mut descriptors, mut available) = (Vec::new(), Vec::new());
        for n in [0, SIZE] {
            available.extend(n.to_ne_bytes());
        }
        for n in 0..SIZE {
            let (flags, len) = if queue == 0 {
                (2u16, 2048u32)
            } else {
                (0, 200)
            };
            let buffer = WINDOW + RINGS / 2 + 2048 * u64::from(n);
            descriptors.extend(buffer.to_ne_bytes());
            descriptors.extend(len.to_ne_bytes());
            descriptors.extend(flags.to_ne_bytes());
            descriptors.extend([0; 2]);
            available.extend(n.to_ne_bytes());
        }
        area.write(at, &descriptors);
        area.write(at + PAGE, &available);
    }

    /// Sets a device up until it runs.
    fn run(&self, device: usize, node: &Node) -> Result<(), Errno> {
        node.set_status(0)?;
        let features = feature::VERSION_1 | feature::ACCESS_PLATFORM;
        match node.set_owner() {
            Err(Errno::EBUSY) => {}
            result => result?,
        }
        node.set_backend_features(backend::USUAL)?;
        node.set_status(status::ACKNOWLEDGE | status::DRIVER)?;
        node.set_features(features)?;
        node.set_status(status::NEGOTIATED)?;
        match node.map(0, &Area::whole(&self.memory, WINDOW), Perm::Rw) {
            Err(Errno::EEXIST) => {}
            result => result?,
        }
        for queue in 0..2 {
            self.fill(device, queue);
            let at = WINDOW + Self::ring_at(device, queue) as u64;
            let page = PAGE as u64;
            let address = RingAddress {
                desc: at,
                driver: at + page,
                device: at + 2 * page,
            };
            node.set_vring_num(queue, SIZE.into())?;
            node.set_vring_addr(queue, address)?;
            node.set_vring_base(queue, 0)?;
            node.set_vring_kick(queue, Some(self.eventfd(device, queue, 0)))?;
            node.set_vring_call(queue, Some(self.eventfd(device, queue, 1)))?;
            node.set_vring_enable(queue, true)?;
        }
        node.set_status(status::RUNNING)
    }

    /// Opens nodes, lets devices run, and closes nodes again.
    fn owner(&self, mut dice: Dice) {
        while !self.is_over() {
            let device = dice.below(DEVICES.len());
            let Some(path) = node_path(DEVICES[device]) else {
                continue;
            };
            if let Some(node) = allow(Node::try_open(&path)) {
                *self.nodes[device].lock().unwrap() = Some(Arc::new(node));
            }
            if let Some(node) = self.node(device) {
                let ran = allow(self.run(device, &node)).is_some();
                add(&self.counts.runs, u64::from(ran));
            }
            if dice.below(4) == 0 {
                let node = self.nodes[device].lock().unwrap().take();
                drop(node);
            }
        }
    }

    /// Asks and sets what there is.
    fn ioctls(&self, mut dice: Dice) {
        while !self.is_over() {
            let device = dice.below(DEVICES.len());
            let Some(node) = self.node(device) else {
                thread::yield_now();
                continue;
            };
            let queue = dice.below(2) as u32;
            allow(match dice.below(16) {
                0 => node.features().map(|_| ()),
                1 => node.status().map(|_| ()),
                2 => node.config(0, 8).map(|_| ()),
                3 => node.vring_base(queue).map(|_| ()),
                4 => node.vring_group(queue).map(|_| ()),
                5 => node.iova_range().map(|_| ()),
                6 => node.set_vring_enable(queue, dice.below(2) == 0),
                7 => node.set_vring_base(queue, 0),
                8 => node.suspend(),
                9 => node.resume(),
                10 => node.set_config_call(Some(&self.eventfds[device])),
                11 => node.set_config_call(None),
                12 => node.set_vring_err(queue, Some(&self.eventfds[0])),
                13 => node.set_group_asid(queue, dice.below(2) as u32),
                14 if dice.below(8) == 0 => node.reset(),
                _ => {
                    node.poll(0);
                    Ok(())
                }
            });
            add(&self.counts.ioctls, 1);
        }
    }

    /// Maps and unmaps memory.
    fn messages(&self, mut dice: Dice) {
        let memory = Memory::private(64 * PAGE);
        let base = WINDOW + RINGS;
        while !self.is_over() {
            let Some(node) = self.node(dice.below(DEVICES.len())) else {
                thread::yield_now();
                continue;
            };
            let (at, pages) = (dice.below(56), 1 + dice.below(8));
            let area = Area::whole(&memory, base).part(at * PAGE, pages * PAGE);
            let iova = base + (dice.below(56) * PAGE) as u64;
            let update = Message::Update {
                iova: area.iova(),
                size: area.len() as u64,
                uaddr: area.uaddr(),
                perm: *dice.pick(&[Perm::Rw, Perm::Ro, Perm::Wo]),
            };
            let size = (pages * PAGE) as u64;
            let invalidate = Message::Invalidate { iova, size };
            let asid = *dice.pick(&[0, 0, 0, 1]);
            let messages = match dice.below(8) {
                0..=2 => vec![update],
                3 | 4 => vec![invalidate],
                5 => vec![Message::BatchBegin, update, invalidate, Message::BatchEnd],
                6 => vec![update, invalidate, update],
                _ => vec![Message::Invalidate {
                    iova: base,
                    size: RINGS,
                }],
            };
            add(&self.counts.messages, messages.len() as u64);
            allow(node.write_all(asid, &messages));
        }
    }

    /// Kicks queues, by eventfds that come and go.
    fn kicks(&self, mut dice: Dice) {
        while !self.is_over() {
            let (device, queue) = (dice.below(DEVICES.len()), dice.below(2) as u32);
            let kick = self.eventfd(device, queue, 0);
            for _ in 0..20 {
                kick.signal();
                kick.count();
            }
            self.eventfd(device, queue, 1).count();
            add(&self.counts.kicks, 20);
            let Some(node) = self.node(device) else {
                continue;
            };
            allow(match dice.below(8) {
                0 => node.set_vring_kick(queue, None),
                1 => {
                    // Nobody has it when this is over.
                    let other = EventFd::new();
                    other.signal();
                    let set = node.set_vring_kick(queue, Some(&other));
                    set.and_then(|()| node.set_vring_call(queue, Some(&other)))
                }
                2 => node.set_vring_call(queue, None),
                3 => node.set_vring_call(queue, Some(self.eventfd(device, queue, 1))),
                _ => node.set_vring_kick(queue, Some(kick)),
            });
        }
    }

    /// Waits for what devices report, until one is gone.
    fn reader(&self, mut dice: Dice) {
        while !self.is_over() {
            let Some(node) = self.node(dice.below(DEVICES.len())) else {
                thread::yield_now();
                continue;
            };
            while allow(node.read_events()).is_some() {
                add(&self.counts.reads, 1);
            }
        }
    }
}

/// The node of a device that may be gone before anybody looks.
fn node_path(device: &str) -> Option<String> {
    let folder = sys::device_path(device);
    let names = sys::list(folder.to_str().expect("a path"));
    let node = names.into_iter().find(|n| n.starts_with("vhost-vdpa-"))?;
    Some(format!("/dev/{node}"))
}

/// Random numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn make(v: &mut Vdpa, device: &str) {
    let msg = v.new_msg("vdpasim_net", device).attr(MAC, &OWN);
    v.ack(&msg).expect_ok();
}

/// How long a test goes on.
enum Length {
    Rounds(usize),
    Until(Instant),
}

impl Length {
    fn of_test() -> Self {
        const TESTS: u32 = 4;
        match std::env::var("RVDPA_STORM_SECONDS") {
            Ok(seconds) => {
                let seconds = Duration::from_secs(seconds.parse().expect("a number"));
                Length::Until(Instant::now() + seconds / TESTS)
            }
            Err(_) => Length::Rounds(sys::rounds(40, 20)),
        }
    }

    fn goes_on(&self, rounds: usize) -> bool {
        match self {
            Length::Rounds(n) => rounds < *n,
            Length::Until(end) => Instant::now() < *end,
        }
    }
}

/// Deletes devices and makes them anew; how often.
fn revoke(storm: &Storm, v: &mut Vdpa) -> usize {
    let length = Length::of_test();
    let mut rounds = 0;
    while length.goes_on(rounds) {
        let device = rounds % DEVICES.len();
        let node = storm.node(device);
        v.del(DEVICES[device]);
        if let Some(node) = node {
            assert_eq!(node.status(), Err(Errno::ENODEV), "a device that is gone");
        }
        make(v, DEVICES[device]);
        // The others need time to use it.
        thread::sleep(Duration::from_millis(20));
        rounds += 1;
    }
    rounds
}

fn storm(parameters: &[(&str, &str)]) {
    let mut sim = Sim::net_with(parameters);
    DEVICES[1..].iter().for_each(|d| make(&mut sim.v, d));
    let before = pins::on_machine();
    let storm = Storm::new();
    let start = Instant::now();
    let rounds = thread::scope(|scope| {
        let storm = &storm;
        let dice = |n: u64| Dice(0x9e37_79b9_7f4a_7c15 ^ (n << 32));
        let threads = [
            scope.spawn(move || storm.owner(dice(1))),
            scope.spawn(move || storm.owner(dice(2))),
            scope.spawn(move || storm.ioctls(dice(3))),
            scope.spawn(move || storm.messages(dice(4))),
            scope.spawn(move || storm.messages(dice(5))),
            scope.spawn(move || storm.kicks(dice(6))),
            scope.spawn(move || storm.kicks(dice(7))),
            scope.spawn(move || storm.reader(dice(8))),
        ];
        let v = &mut sim.v;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| revoke(storm, v)));
        // Whoever waits is woken by that, whatever happened.
        storm.over.store(true, Relaxed);
        DEVICES.iter().for_each(|d| drop(v.try_del(d)));
        for thread in threads {
            thread.join().expect("a thread of the storm");
        }
        result.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    });
    let Counts {
        ioctls,
        messages,
        kicks,
        runs,
        reads,
    } = &storm.counts;
    let [ioctls, messages, kicks, runs, reads] =
        [ioctls, messages, kicks, runs, reads].map(|c| c.load(Relaxed));
    let seconds = start.elapsed().as_secs_f64();
    note(format!(
        "{rounds} deletions in {seconds:.1} s: {ioctls} ioctls, {messages} messages, {kicks} kicks, \
         {runs} times running, {reads} reads"
    ));
    assert!(runs > 0, "no device ever ran");
    assert!(ioctls > 0 && messages > 0 && kicks > 0, "a thread was idle");

    // Nodes of devices that are gone keep nothing.
    assert_eq!(pins::pinned(), 0, "kilobytes that are pinned");
    drop(storm);
    assert_eq!(pins::on_machine(), before, "pages that are pinned");
    assert_eq!((pins::pinned(), pins::locked()), (0, 0), "kilobytes");
    for device in DEVICES {
        make(&mut sim.v, device);
        let mut net = Net::start(&Setup::new(device));
        net.loop_back(&frame(OWN, 0, 200));
        drop(net);
        sim.v.del(device);
    }
}

fn virtual_addresses() {
    storm(&[]);
}

fn virtual_addresses_in_pieces() {
    storm(&[("batch_mapping", "0")]);
}

fn pages() {
    storm(&[("use_va", "N")]);
}

fn pages_in_pieces() {
    storm(&[("batch_mapping", "0"), ("use_va", "N")]);
}
