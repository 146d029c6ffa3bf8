// SPDX-License-Identifier: GPL-2.0
//! Devices that are suspended and resumed while packets pass, as in a migration: each
//! queue says exactly how far it has come, and no packet is lost or comes twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use vdpa_test::sim::{Sim, MAC};
use vdpa_test::vhost::net::{control, frame, Net, Setup, RX, TX};
use vdpa_test::vhost::{feature, Node};
use vdpa_test::{ktap_main, sys};

ktap_main!(
    split,
    split_with_few_entries,
    split_near_the_end_of_its_indexes,
    split_with_events,
    packed,
    packed_with_few_entries,
    packed_with_long_chains,
    packed_in_order,
);

/// Packet `n` of a test.
fn numbered(n: u64) -> Vec<u8> {
    let mut packet = frame(MAC, n as usize, 80 + (n * 37 % 1000) as usize);
    let at = packet.len() - 8;
    packet[at..].copy_from_slice(&n.to_le_bytes());
    packet
}

/// How many chains a queue is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    rx: u64,
    tx: u64,
}

/// A device that sends packets to itself, in order.
struct Traffic {
    net: Net,
    /// How many may be under way: there is a buffer for each.
    most: u64,
    sent: u64,
    received: Arc<AtomicU64>,
}

impl Traffic {
    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Takes what has come.
    fn receive(&mut self) {
        while let Some(packet) = self.net.receive_now(0) {
            let n = self.received();
            assert!(packet == numbered(n), "packet {n} is next");
            self.received.store(n + 1, Ordering::Relaxed);
        }
    }

    /// Receives, and sends as many again.
    fn pass(&mut self) {
        self.receive();
        while self.sent - self.received() < self.most {
            if !self.net.enqueue(0, &numbered(self.sent)) {
                break;
            }
            self.sent += 1;
        }
        self.net.pairs[0].tx.notify();
    }

    /// What a device that does nothing at the moment has done.
    fn done(&mut self) -> Done {
        self.receive();
        self.net.reclaim(0);
        Done {
            rx: self.received(),
            tx: self.sent - self.net.in_flight(0) as u64,
        }
    }

    /// Passes packets until nobody asks any more how far it has come.
    fn serve(mut self, asked: &Receiver<()>, answer: &Sender<Done>) -> Self {
        loop {
            self.pass();
            match asked.try_recv() {
                Ok(()) => {
                    let done = self.done();
                    // Who asked may have gone.
                    let _ = answer.send(done);
                }
                Err(TryRecvError::Empty) => {
                    self.net.pairs[0].rx.call.wait(1);
                }
                Err(TryRecvError::Disconnected) => return self,
            }
        }
    }
}

/// Where a queue is that has used so many descriptors: as VHOST_GET_VRING_BASE says it.
fn base(setup: &Setup, size: u16, descriptors: u64) -> u32 {
    let first = setup.base.unwrap_or(0);
    if setup.features & feature::RING_PACKED == 0 {
        return (u64::from(first) + descriptors) as u32 & 0xffff;
    }
    // The wrap counter is 1 at first.
    let size = u64::from(size);
    let wrap = u32::from(descriptors / size % 2 == 0);
    let place = (descriptors % size) as u32 | (wrap << 15);
    place | (place << 16)
}

/// The same for a queue of chains that take so many descriptors each: of split rings,
/// the chains count.
fn base_of_chains(setup: &Setup, size: u16, chains: u64, each: usize) -> u32 {
    let packed = setup.features & feature::RING_PACKED != 0;
    let each = if packed { each as u64 } else { 1 };
    base(setup, size, chains * each)
}

/// Setting an address of the test's own, by the control queue.
const COMMANDS: u64 = 3;

fn suspends(setup: &Setup) {
    let sim = Sim::net();
    sim.need(setup.features & feature::RING_PACKED, "packed rings");
    let mut net = Net::start(setup);
    assert_eq!(net.features & setup.features, setup.features, "features");
    for _ in 0..COMMANDS {
        let answer = net.command(control::MAC, control::MAC_ADDR_SET, &MAC);
        assert_eq!(answer, Some(control::OK));
    }
    let control = net.control_index();
    let node = net.node.try_clone().expect("the node");
    let received = Arc::new(AtomicU64::new(0));
    let traffic = Traffic {
        net,
        most: u64::from(setup.rx_buffers),
        sent: 0,
        received: received.clone(),
    };
    let mut traffic = thread::scope(|s| {
        let (ask, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let serving = s.spawn(move || traffic.serve(&asked, &answer));
        for round in 0..sys::rounds(100, 20) {
            let before = received.load(Ordering::Relaxed);
            sys::wait_for("packets to pass", || {
                received.load(Ordering::Relaxed) > before + 5 || serving.is_finished()
            });
            // At a moment that is another one each time.
            thread::sleep(Duration::from_micros(round as u64 * 53 % 1000));
            node.suspend().expect("suspend");
            let bases = bases(&node);
            thread::sleep(Duration::from_millis(5));
            assert_eq!(self::bases(&node), bases, "nothing goes on");
            ask.send(()).expect("the driver");
            let done: Done = answers.recv().expect("the driver");
            let expected = [
                base(setup, setup.size, done.rx),
                base_of_chains(setup, setup.size, done.tx, setup.pieces),
            ];
            assert_eq!(bases, expected, "round {round}: {done:?}");
            // A command and a place for its answer.
            let size = setup.size.min(256);
            let expected = base_of_chains(setup, size, COMMANDS, 2);
            assert_eq!(node.vring_base(control), Ok(expected), "control queue");
            node.resume().expect("resume");
        }
        drop(ask);
        serving.join().expect("the driver")
    });
    sys::wait_for("the last packets", || {
        traffic.receive();
        traffic.received() == traffic.sent
    });
    traffic.receive();
    assert_eq!(traffic.received(), traffic.sent, "each of them once");
}

fn bases(node: &Node) -> [u32; 2] {
    [RX, TX].map(|queue| node.vring_base(queue).expect("base"))
}

fn setup() -> Setup {
    Setup {
        rx_size: 2048,
        ..Setup::new("n0")
    }
}

fn packed_setup() -> Setup {
    let mut setup = setup();
    setup.features |= feature::RING_PACKED;
    setup
}

/// Indexes come around often.
fn few(setup: Setup) -> Setup {
    Setup {
        size: 8,
        rx_buffers: 8,
        ..setup
    }
}

fn split() {
    suspends(&setup());
}

fn split_with_few_entries() {
    suspends(&few(setup()));
}

fn split_near_the_end_of_its_indexes() {
    suspends(&Setup {
        base: Some(0xffc0),
        ..setup()
    });
}

fn split_with_events() {
    let mut setup = setup();
    setup.features |= feature::EVENT_IDX;
    Sim::net().need(feature::EVENT_IDX, "event indexes");
    suspends(&setup);
}

fn packed() {
    suspends(&packed_setup());
}

fn packed_with_few_entries() {
    suspends(&few(packed_setup()));
}

fn packed_with_long_chains() {
    suspends(&Setup {
        pieces: 3,
        ..packed_setup()
    });
}

fn packed_in_order() {
    let mut setup = packed_setup();
    setup.features |= feature::IN_ORDER | feature::EVENT_IDX;
    suspends(&setup);
}
