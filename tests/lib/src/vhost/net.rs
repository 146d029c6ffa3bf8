// SPDX-License-Identifier: GPL-2.0
//! A network device as a VMM and its guest use it.

use std::collections::HashMap;
use std::sync::Arc;

use virtio_bindings::virtio_net as c;

use crate::vhost::ring::{Buffer, Options, Ring, Used};
use crate::vhost::{backend, feature, status, Area, Memory, Node, Perm, Queue};

/// Memory for the control queue and its commands.
const CONTROL_SIZE: usize = 32 << 10;

pub const RX: u32 = 0;
pub const TX: u32 = 1;

/// Classes, commands and answers of the control queue.
pub mod control {
    use super::c;

    pub const MAC: u8 = c::VIRTIO_NET_CTRL_MAC as u8;
    pub const MAC_TABLE_SET: u8 = c::VIRTIO_NET_CTRL_MAC_TABLE_SET as u8;
    pub const MAC_ADDR_SET: u8 = c::VIRTIO_NET_CTRL_MAC_ADDR_SET as u8;
    pub const MQ: u8 = c::VIRTIO_NET_CTRL_MQ as u8;
    pub const MQ_VQ_PAIRS_SET: u8 = c::VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET as u8;
    pub const OK: u8 = c::VIRTIO_NET_OK as u8;
    pub const ERR: u8 = c::VIRTIO_NET_ERR as u8;
}

/// Offsets in the configuration space: `struct virtio_net_config`.
pub mod config {
    pub const MAC: u32 = 0;
    pub const STATUS: u32 = 6;
    pub const MAX_PAIRS: u32 = 8;
    pub const MTU: u32 = 10;
    pub const SIZE: u32 = 24;
}

/// How a device is to be used.
#[derive(Clone, Debug)]
pub struct Setup {
    pub device: String,
    /// Features to negotiate, as far as the device offers them.
    pub features: u64,
    pub backend: u64,
    /// Descriptors in each queue.
    pub size: u16,
    /// Pairs of queues.
    pub pairs: u16,
    /// See [`Options::indirect`].
    pub indirect: u16,
    /// Into how many buffers each packet to send is cut.
    pub pieces: usize,
    /// How many buffers for packets each receive queue gets, and their size.
    pub rx_buffers: u16,
    pub rx_size: usize,
    /// Where the device finds the memory.
    pub iova: u64,
    pub memory: Arc<Memory>,
    /// The address space of the control queue. It has memory of its own, unless it
    /// is that of packets, 0.
    pub control_asid: u32,
    /// Where the queues begin: see [`Ring::base`].
    pub base: Option<u32>,
}

impl Setup {
    pub fn new(device: &str) -> Self {
        Self::on(device, Memory::memfd(2 << 20))
    }

    pub fn on(device: &str, memory: Arc<Memory>) -> Self {
        Setup {
            device: device.to_string(),
            features: feature::VERSION_1
                | feature::ACCESS_PLATFORM
                | feature::NET_MAC
                | feature::NET_MTU
                | feature::NET_STATUS
                | feature::NET_CTRL_VQ
                | feature::NET_CTRL_MAC_ADDR,
            backend: backend::USUAL,
            size: 256,
            pairs: 1,
            indirect: 0,
            pieces: 1,
            rx_buffers: 64,
            rx_size: 4096,
            // Neither where the memory is in this process nor where it is in the machine.
            iova: 0x42_0000_0000,
            memory,
            control_asid: 0,
            base: None,
        }
    }
}

/// A pair of queues and the buffers in them, by the ids of their chains.
#[derive(Debug)]
pub struct Pair {
    pub rx: Queue,
    pub tx: Queue,
    posted: HashMap<u16, Area>,
    /// Nothing for what a test sent in its own memory.
    sent: HashMap<u16, Option<Area>>,
    spare: Vec<Area>,
}

/// A device in use. Packets are Ethernet frames; headers are added and removed.
#[derive(Debug)]
pub struct Net {
    pub node: Node,
    pub features: u64,
    pub pairs: Vec<Pair>,
    pub control: Option<Queue>,
    /// What is left of the memory.
    pub space: Area,
    /// What is left of that of the control queue.
    pub control_space: Area,
    setup: Setup,
}

impl Net {
    /// Opens the device and sets it up, all but the last step.
    #[track_caller]
    pub fn prepare(setup: &Setup) -> Self {
        let node = Node::open(&setup.device);
        node.set_owner().expect("owner");
        Self::prepare_on(node, setup)
    }

    /// The same on a node that is open and has an owner.
    #[track_caller]
    pub fn prepare_on(node: Node, setup: &Setup) -> Self {
        let features = negotiate(&node, setup.features, setup.backend);
        let whole = Area::whole(&setup.memory, setup.iova);
        node.map(0, &whole, Perm::Rw).expect("map");
        Self::queues(node, setup, features)
    }

    /// Sets up the queues of a device whose features are negotiated and that has
    /// its memory.
    #[track_caller]
    pub fn queues(node: Node, setup: &Setup, features: u64) -> Self {
        let mut space = Area::whole(&setup.memory, setup.iova);
        let mut net = Net {
            pairs: Vec::new(),
            control: None,
            features,
            space: space.clone(),
            control_space: space.part(0, 0),
            setup: setup.clone(),
            node,
        };
        let options = Options {
            indirect: setup.indirect,
            base: setup.base,
            ..Options::of(features, setup.size)
        };
        for n in 0..u32::from(setup.pairs) {
            let ring = Ring::new(&mut space, options);
            let rx = Queue::attach(&net.node, 2 * n + RX, ring);
            let ring = Ring::new(&mut space, options);
            let tx = Queue::attach(&net.node, 2 * n + TX, ring);
            net.pairs.push(Pair {
                rx,
                tx,
                posted: HashMap::new(),
                sent: HashMap::new(),
                spare: Vec::new(),
            });
        }
        if features & feature::NET_CTRL_VQ != 0 {
            let index = net.control_index();
            let mut own = space.take(CONTROL_SIZE, 4096);
            if setup.control_asid != 0 {
                let group = net.node.vring_group(index).expect("group");
                let asid = setup.control_asid;
                net.node.set_group_asid(group, asid).expect("asid");
                // Where nothing is in the address space of packets.
                own = Area::whole(&Memory::memfd(CONTROL_SIZE), setup.iova / 2);
                net.node.map(asid, &own, Perm::Rw).expect("map");
            }
            // Some devices have a shorter one than the others.
            let most = net.node.vring_size(index).unwrap_or(256).clamp(1, 256);
            let options = Options {
                size: setup.size.min(most as u16),
                indirect: 0,
                ..options
            };
            let ring = Ring::new(&mut own, options);
            net.control = Some(Queue::attach(&net.node, index, ring));
            net.control_space = own;
        }
        net.space = space;
        net
    }

    /// Prepares it, lets it run and gives it buffers for packets.
    #[track_caller]
    pub fn start(setup: &Setup) -> Self {
        let mut net = Self::prepare(setup);
        net.run();
        net
    }

    #[track_caller]
    pub fn run(&mut self) {
        self.node.set_status(status::RUNNING).expect("status");
        for n in 0..self.pairs.len() {
            for _ in 0..self.setup.rx_buffers {
                let area = self.space.take(self.setup.rx_size, 64);
                self.post(n, area);
            }
            self.pairs[n].rx.notify();
        }
    }

    /// The number of the control queue.
    pub fn control_index(&self) -> u32 {
        if self.features & feature::NET_MQ == 0 {
            return 2;
        }
        let pairs = self.node.config(config::MAX_PAIRS, 2).expect("config");
        2 * u32::from(u16::from_le_bytes([pairs[0], pairs[1]]))
    }

    /// The size of the header before each packet.
    pub fn header(&self) -> usize {
        let long = feature::VERSION_1 | feature::NET_MRG_RXBUF;
        if self.features & long != 0 {
            size_of::<c::virtio_net_hdr_v1>()
        } else {
            size_of::<c::virtio_net_hdr>()
        }
    }

    /// Gives the device a buffer for packets, without a notification.
    #[track_caller]
    pub fn post(&mut self, pair: usize, area: Area) {
        let pair = &mut self.pairs[pair];
        let id = pair.rx.ring.add(&[area.writable()]).expect("room");
        pair.posted.insert(id, area);
    }

    /// Whether the device is done with all that it was given to send.
    pub fn is_idle(&self, pair: usize) -> bool {
        self.in_flight(pair) == 0
    }

    /// How many chains the device has to send and was not found to be done with.
    pub fn in_flight(&self, pair: usize) -> usize {
        self.pairs[pair].sent.len()
    }

    /// Takes back what the device has sent.
    pub fn reclaim(&mut self, pair: usize) {
        let pair = &mut self.pairs[pair];
        while let Some(used) = pair.tx.ring.take() {
            let sent = pair.sent.remove(&used.id);
            pair.spare.extend(sent.expect("a packet that was sent"));
        }
    }

    /// Writes a packet and its header to the beginning of an area; where they are.
    #[track_caller]
    pub fn write_packet(&self, area: &Area, frame: &[u8]) -> Area {
        let header = self.header();
        area.write(0, &vec![0; header]);
        area.write(header, frame);
        area.part(0, header + frame.len())
    }

    /// Makes a packet available on a queue, without a notification; whether there
    /// was room.
    #[track_caller]
    pub fn enqueue(&mut self, pair: usize, frame: &[u8]) -> bool {
        self.reclaim(pair);
        let room = (self.header() + frame.len()).max(self.setup.rx_size);
        let spare = self.pairs[pair].spare.pop();
        let area = spare.filter(|a| a.len() >= room);
        let area = area.unwrap_or_else(|| self.space.take(room, 64));
        let chain = cut(&self.write_packet(&area, frame), self.setup.pieces);
        let pair = &mut self.pairs[pair];
        match pair.tx.ring.add(&chain) {
            Some(id) => pair.sent.insert(id, Some(area)),
            None => {
                pair.spare.push(area);
                return false;
            }
        };
        true
    }

    /// Sends a packet by the first pair of queues.
    #[track_caller]
    pub fn send(&mut self, frame: &[u8]) {
        assert!(self.enqueue(0, frame), "room in the ring");
        self.pairs[0].tx.notify();
    }

    /// Gives the device a chain to send, a header and a packet or whatever it is, and
    /// waits until it is done with it.
    #[track_caller]
    pub fn send_chain(&mut self, chain: &[Buffer]) {
        let pair = &mut self.pairs[0];
        let id = pair.tx.give(chain);
        pair.sent.insert(id, None);
        while self.pairs[0].sent.contains_key(&id) {
            let used = self.pairs[0].tx.wait();
            let sent = self.pairs[0].sent.remove(&used.id);
            self.pairs[0]
                .spare
                .extend(sent.expect("a packet that was sent"));
        }
    }

    /// The next packet that comes in by the first pair of queues.
    #[track_caller]
    pub fn receive(&mut self) -> Vec<u8> {
        self.receive_by(0)
    }

    /// The next packet that comes in by a pair of queues; its buffers are posted
    /// again.
    #[track_caller]
    pub fn receive_by(&mut self, pair: usize) -> Vec<u8> {
        let used = self.pairs[pair].rx.wait();
        self.packet(pair, used)
    }

    /// The next packet, if it is there already.
    pub fn receive_now(&mut self, pair: usize) -> Option<Vec<u8>> {
        let used = self.pairs[pair].rx.ring.take()?;
        Some(self.packet(pair, used))
    }

    /// A packet whose first buffer was used.
    fn packet(&mut self, pair: usize, used: Used) -> Vec<u8> {
        let header = self.header();
        let mut bytes = self.contents(pair, used);
        if self.features & feature::NET_MRG_RXBUF != 0 {
            let count = u16::from_le_bytes([bytes[10], bytes[11]]);
            for _ in 1..count {
                let used = self.pairs[pair].rx.wait();
                bytes.extend(self.contents(pair, used));
            }
        }
        bytes.split_off(header)
    }

    /// Where a buffer is that the device used.
    #[track_caller]
    pub fn received(&mut self, pair: usize, used: Used) -> Area {
        let area = self.pairs[pair].posted.remove(&used.id);
        area.expect("a buffer that was posted")
    }

    /// What the device wrote to a buffer, which is posted again.
    fn contents(&mut self, pair: usize, used: Used) -> Vec<u8> {
        let area = self.received(pair, used);
        let len = used.len.map_or(area.len(), |len| len as usize);
        let bytes = area.read(0, len);
        self.post(pair, area);
        self.pairs[pair].rx.notify();
        bytes
    }

    /// Sends a packet and compares what comes back.
    #[track_caller]
    pub fn loop_back(&mut self, frame: &[u8]) {
        self.send(frame);
        let got = self.receive();
        assert_eq!(got.len(), frame.len(), "length of a packet");
        assert!(
            got == frame,
            "contents of a packet of {} bytes",
            frame.len()
        );
    }

    /// Gives the control queue a command; the answer, unless the device wrote none.
    #[track_caller]
    pub fn command(&mut self, class: u8, command: u8, data: &[u8]) -> Option<u8> {
        let out = [&[class, command], data].concat();
        self.raw_command(&out)
    }

    /// The same with the bytes as they are.
    #[track_caller]
    pub fn raw_command(&mut self, out: &[u8]) -> Option<u8> {
        const UNTOUCHED: u8 = 0x5a;
        let mut space = self.control_space.clone();
        let (request, answer) = (space.take(out.len(), 8), space.take(1, 1));
        request.write(0, out);
        answer.write(0, &[UNTOUCHED]);
        let control = self.control.as_mut().expect("a control queue");
        control.give(&[request.readable(), answer.writable()]);
        control.wait();
        Some(answer.read(0, 1)[0]).filter(|a| *a != UNTOUCHED)
    }

    /// The address in the configuration space.
    pub fn mac(&self) -> [u8; 6] {
        let mac = self.node.config(config::MAC, 6).expect("config");
        mac.try_into().unwrap()
    }
}

/// Negotiates features; which ones.
#[track_caller]
pub fn negotiate(node: &Node, wanted: u64, backend: u64) -> u64 {
    node.set_backend_features(backend)
        .expect("backend features");
    node.set_status(status::ACKNOWLEDGE | status::DRIVER)
        .expect("status");
    let features = wanted & node.features().expect("features");
    node.set_features(features).expect("features");
    node.set_status(status::NEGOTIATED).expect("status");
    assert_eq!(node.status(), Ok(status::NEGOTIATED), "FEATURES_OK");
    features
}

/// Buffers of about the same size for the device to read.
fn cut(area: &Area, pieces: usize) -> Vec<Buffer> {
    let each = area.len().div_ceil(pieces);
    let starts = (0..area.len()).step_by(each);
    starts
        .map(|at| area.part(at, each.min(area.len() - at)).readable())
        .collect()
}

/// A frame of a type for local experiments, with contents that depend on `n`.
pub fn frame(destination: [u8; 6], n: usize, len: usize) -> Vec<u8> {
    let source = [2, 0, 0, 0, 0, 1];
    let mut frame = [&destination[..], &source, &[0x88, 0xb5]].concat();
    frame.extend((frame.len()..len).map(|i| (i * 7 + n) as u8));
    frame
}
