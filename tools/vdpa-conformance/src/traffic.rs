// SPDX-License-Identifier: GPL-2.0
//! Something for the device to do, over and over, on one queue: a network device
//! sends a frame, a disk reads its first sector.

use vdpa_test::ktap;
use vdpa_test::vhost::net::{self, frame};
use vdpa_test::vhost::{feature, status, Area, Buffer, Node, Options, Perm, Queue, Ring, PAGE};
use virtio_bindings::virtio_blk as blk;

use crate::device::{Device, BLOCK, NET};

/// So many requests are possible: a network device that loops back needs a buffer
/// for each.
pub const MOST: u16 = 64;

/// The largest header of a packet.
const HEADER: usize = 12;
const SECTOR: usize = 512;

/// A device that can be given requests.
#[derive(Debug)]
pub struct Traffic {
    pub node: Node,
    /// The queue of the requests.
    pub queue: Queue,
    chain: Vec<Buffer>,
    /// The last byte of the chain, if the device says there whether it worked.
    status: Option<Area>,
    /// For what comes back.
    receive: Option<Queue>,
}

impl Traffic {
    /// Sets up a device with its basic features and these, all but the last step.
    /// The queue begins at `base`.
    #[track_caller]
    pub fn prepare(d: &Device, more: u64, base: u32) -> Self {
        Self::prepare_in(d, more, base, 0)
    }

    /// The same with queues and memory in an address space.
    #[track_caller]
    pub fn prepare_in(d: &Device, more: u64, base: u32, asid: u32) -> Self {
        let own = match d.id {
            NET => feature::NET_MAC,
            BLOCK => 0,
            id => ktap::skip(format!("what a device {id} does is not known here")),
        };
        let features = d.basic_features() | (more | own) & d.features;
        let node = d.negotiated(features);
        let mut space = d.area(128 * PAGE);
        for index in d.driver_queues().filter(|_| asid != 0) {
            let group = node.vring_group(index).expect("VHOST_VDPA_GET_VRING_GROUP");
            assert_eq!(node.set_group_asid(group, asid), Ok(()), "group {group}");
        }
        assert_eq!(node.map(asid, &space, Perm::Rw), Ok(()), "map");
        let options = |base| Options {
            base: Some(base),
            ..Options::of(features, d.queue_size.min(MOST))
        };
        let start = if features & feature::RING_PACKED != 0 {
            0x8000_8000
        } else {
            0
        };
        let receive = (d.id == NET).then(|| {
            let ring = Ring::new(&mut space, options(start));
            let mut queue = Queue::attach(&node, net::RX, ring);
            for _ in 0..queue.ring.size() {
                let buffer = space.take(2048, 64).writable();
                queue.ring.add(&[buffer]).expect("room in the ring");
            }
            queue
        });
        let index = if d.id == NET { net::TX } else { 0 };
        let ring = Ring::new(&mut space, options(start | base));
        let queue = Queue::attach(&node, index, ring);
        let (chain, status) = match d.id {
            NET => (vec![packet(&node, features, &mut space)], None),
            _ => request(&mut space),
        };
        Traffic {
            node,
            queue,
            chain,
            status,
            receive,
        }
    }

    /// As [`Self::prepare`], and lets it run.
    #[track_caller]
    pub fn start(d: &Device, more: u64) -> Self {
        let traffic = Self::prepare(d, more, 0);
        traffic.run();
        traffic
    }

    #[track_caller]
    pub fn run(&self) {
        assert_eq!(self.node.set_status(status::RUNNING), Ok(()), "DRIVER_OK");
        // Notifications begin now.
        self.receive.iter().for_each(|q| q.kick.signal());
    }

    /// Makes a request available, without a notification.
    #[track_caller]
    pub fn add(&mut self) {
        if let Some(status) = &self.status {
            status.write(0, &[0xff]);
        }
        self.queue.ring.add(&self.chain).expect("room in the ring");
    }

    /// Waits for a request, and looks at what the device says of it.
    #[track_caller]
    pub fn finish(&mut self) {
        self.queue.wait();
        if let Some(status) = &self.status {
            assert_eq!(status.read(0, 1), [blk::VIRTIO_BLK_S_OK as u8], "status");
        }
    }

    /// Has the device do so many requests, one after the other.
    #[track_caller]
    pub fn pass(&mut self, count: u16) {
        for _ in 0..count {
            self.add();
            self.queue.notify();
            self.finish();
        }
    }

    /// Whether the device does nothing: waits a little for it, and takes nothing that
    /// it did.
    pub fn is_idle(&mut self) -> bool {
        std::thread::sleep(std::time::Duration::from_millis(50));
        self.queue.ring.take().is_none()
    }

    /// Whether the device leaves a request alone when `notify` is called: one that is still
    /// at work may find some without being notified, but not each time.
    pub fn ignores(&mut self, notify: impl Fn()) -> bool {
        (0..5).any(|_| {
            self.add();
            notify();
            self.is_idle()
        })
    }
}

/// A frame to the device itself.
fn packet(node: &Node, features: u64, space: &mut Area) -> Buffer {
    let address = if features & feature::NET_MAC != 0 {
        let mac = node.config(0, 6).expect("address");
        mac.try_into().expect("six bytes")
    } else {
        // Nobody's.
        [2, 0, 0, 0, 0, 2]
    };
    let frame = frame(address, 0, 100);
    let area = space.take(HEADER + frame.len(), 64);
    area.write(HEADER, &frame);
    area.readable()
}

/// The reading of the first sector, and its status.
fn request(space: &mut Area) -> (Vec<Buffer>, Option<Area>) {
    let (header, data, status) = (space.take(16, 8), space.take(SECTOR, 512), space.take(1, 1));
    header.write(0, &[blk::VIRTIO_BLK_T_IN.to_le_bytes(), [0; 4]].concat());
    header.write(8, &[0; 8]);
    let chain = vec![header.readable(), data.writable(), status.writable()];
    (chain, Some(status))
}
