// SPDX-License-Identifier: GPL-2.0
//! Packets through a network device, in every form of a virtqueue that it offers.
//!
//! Frames go to the device's own address. Whether they come back is up to the
//! device; that it sends them is not.

use std::time::Instant;

use vdpa_test::vhost::net::{frame, Net, Setup};
use vdpa_test::vhost::{backend, feature, Memory, Perm};
use vdpa_test::{ktap, sys};

use crate::check::checks;
use crate::device::{Device, NET};
use crate::traffic::MOST;

checks! {
    net_split: "virtio 1.3, 2.7, 5.1.6",
        "packets pass by split virtqueues, unchanged and in order, also around the end of the ring";
    net_one_after_the_other: "virtio 1.3, 2.7.6, 2.7.8", "each packet passes when it is sent";
    net_of_all_lengths: "virtio 1.3, 5.1.6.2, 5.1.6.4", "packets of all lengths pass unchanged";
    net_in_pieces: "virtio 1.3, 2.7.4", "a packet can be in several descriptors, wherever it is cut";
    net_indirect: "virtio 1.3, 2.7.5.3", "descriptors can be in a table of their own";
    net_event_idx: "virtio 1.3, 2.7.7, 2.7.10", "notifications come when the indexes say";
    net_in_order: "virtio 1.3, 2.7.9", "with VIRTIO_F_IN_ORDER, buffers are used in order";
    net_packed: "virtio 1.3, 2.8", "packets pass by packed virtqueues";
    net_packed_indirect: "virtio 1.3, 2.8.7", "tables of descriptors work in packed virtqueues";
    net_packed_event_idx: "virtio 1.3, 2.8.10", "notifications come when the event structures say";
    net_merged_buffers: "virtio 1.3, 5.1.6.4", "a packet can fill several buffers";
    net_smallest_queue: "virtio 1.3, 2.7; linux/vhost.h, VHOST_SET_VRING_NUM",
        "queues smaller than the largest work";
    net_largest_queue: "linux/vhost.h, VHOST_VDPA_GET_VRING_NUM", "queues of the largest size work";
    net_maps_in_a_batch: "linux/vhost_types.h, VHOST_IOTLB_BATCH_END",
        "what was mapped in a batch is there for the device";
    net_maps_in_pieces: "linux/vhost_types.h, VHOST_IOTLB_UPDATE",
        "memory that was mapped page by page is there for the device";
    net_control_queue: "virtio 1.3, 5.1.6.5", "a command of no class is answered with VIRTIO_NET_ERR";
    net_persistent_maps: "linux/vhost_types.h, VHOST_BACKEND_F_IOTLB_PERSIST",
        "after a reset the device still reaches its memory";
}

fn setup(d: &Device) -> Setup {
    let default = Setup::on(&d.path, Memory::memfd(4 << 20));
    Setup {
        features: default.features & !(feature::NET_CTRL_VQ | feature::NET_CTRL_MAC_ADDR),
        backend: default.backend & d.backend,
        size: d.queue_size.min(MOST),
        rx_buffers: d.queue_size.min(MOST) / 2,
        rx_size: 2048,
        iova: d.iova(),
        ..default
    }
}

/// Where frames go: to the device itself.
fn own_address(net: &Net) -> [u8; 6] {
    if net.features & feature::NET_MAC != 0 {
        net.mac()
    } else {
        [0xff; 6]
    }
}

/// A network device that loops back, in use.
fn looping(d: &Device, setup: &Setup) -> Net {
    let mut net = Net::prepare_on(d.owned(), setup);
    net.run();
    if !d.loops_back.get_or_init(|| first_frame(&mut net)) {
        ktap::skip("the device does not send frames to its own address back");
    }
    net
}

/// Sends a frame; whether it comes back.
fn first_frame(net: &mut Net) -> bool {
    let start = Instant::now();
    net.send(&frame(own_address(net), 0, 60));
    let mut back = None;
    while back.is_none() && start.elapsed() < sys::patience() {
        std::thread::sleep(std::time::Duration::from_millis(1));
        net.reclaim(0);
        back = net.receive_now(0);
    }
    assert!(net.is_idle(0), "a frame was not sent in a long time");
    back.is_some()
}

fn pass(net: &mut Net, count: usize) {
    let address = own_address(net);
    for n in 0..count {
        net.loop_back(&frame(address, n, 60 + (n * 37) % 1200));
    }
}

/// A device with these features, which it has to offer.
fn with(d: &Device, features: u64, name: &str, change: impl FnOnce(&mut Setup)) -> Net {
    d.need_class(NET, "network");
    d.need(features, name);
    let mut setup = setup(d);
    setup.features |= features;
    change(&mut setup);
    looping(d, &setup)
}

fn plain(d: &Device, change: impl FnOnce(&mut Setup)) -> Net {
    with(d, 0, "", change)
}

fn net_split(d: &Device) {
    let mut net = plain(d, |_| {});
    let address = own_address(&net);
    // As many at once as there are buffers, several times around the ring.
    let many = usize::from(MOST) / 4;
    for round in 0..16 {
        let frames: Vec<_> = (0..many).map(|n| frame(address, round + n, 200)).collect();
        for frame in &frames {
            assert!(net.enqueue(0, frame), "room in the ring");
        }
        net.pairs[0].tx.notify();
        for (n, frame) in frames.iter().enumerate() {
            assert!(net.receive() == *frame, "round {round}, frame {n}");
        }
    }
}

fn net_one_after_the_other(d: &Device) {
    let mut net = plain(d, |_| {});
    pass(&mut net, 3 * usize::from(MOST));
}

fn net_of_all_lengths(d: &Device) {
    let mut net = plain(d, |_| {});
    let address = own_address(&net);
    for len in (14..64).chain([500, 1000, 1499, 1500, 1513, 1514]) {
        net.loop_back(&frame(address, len, len));
    }
}

fn net_in_pieces(d: &Device) {
    for pieces in [2, 3, 7] {
        let mut net = plain(d, |s| s.pieces = pieces);
        pass(&mut net, usize::from(MOST));
    }
}

fn net_indirect(d: &Device) {
    let mut net = with(d, feature::INDIRECT_DESC, "VIRTIO_F_INDIRECT_DESC", |s| {
        s.indirect = 8;
        s.pieces = 3;
    });
    pass(&mut net, 2 * usize::from(MOST));
}

fn net_event_idx(d: &Device) {
    let mut net = with(d, feature::EVENT_IDX, "VIRTIO_F_EVENT_IDX", |_| {});
    pass(&mut net, 3 * usize::from(MOST));
}

fn net_in_order(d: &Device) {
    let mut net = with(d, feature::IN_ORDER, "VIRTIO_F_IN_ORDER", |_| {});
    pass(&mut net, 3 * usize::from(MOST));
}

fn net_packed(d: &Device) {
    let mut net = with(d, feature::RING_PACKED, "VIRTIO_F_RING_PACKED", |_| {});
    pass(&mut net, 3 * usize::from(MOST));
}

fn net_packed_indirect(d: &Device) {
    let features = feature::RING_PACKED | feature::INDIRECT_DESC;
    let mut net = with(d, features, "both features", |s| {
        s.indirect = 8;
        s.pieces = 3;
    });
    pass(&mut net, 2 * usize::from(MOST));
}

fn net_packed_event_idx(d: &Device) {
    let features = feature::RING_PACKED | feature::EVENT_IDX;
    let mut net = with(d, features, "both features", |_| {});
    pass(&mut net, 3 * usize::from(MOST));
}

fn net_merged_buffers(d: &Device) {
    let mut net = with(d, feature::NET_MRG_RXBUF, "VIRTIO_NET_F_MRG_RXBUF", |s| {
        s.rx_size = 256;
    });
    pass(&mut net, usize::from(MOST));
}

fn net_smallest_queue(d: &Device) {
    // How small it may be is not told.
    for size in [4, 8, 32] {
        let mut net = plain(d, |s| {
            s.size = size.min(s.size);
            s.rx_buffers = s.size / 2;
        });
        pass(&mut net, 100);
    }
}

fn net_largest_queue(d: &Device) {
    let mut net = plain(d, |s| {
        s.size = d.queue_size;
        s.rx_buffers = d.queue_size.min(512);
    });
    pass(&mut net, 2 * usize::from(MOST));
}

/// A device whose memory is mapped by the test.
fn mapped(d: &Device, all: &Setup, more: u64, map: impl FnOnce(&vdpa_test::vhost::Node)) -> Net {
    let node = d.negotiated(all.features & d.features | more);
    map(&node);
    let mut net = Net::queues(node, all, all.features & d.features | more);
    net.run();
    net
}

fn net_maps_in_a_batch(d: &Device) {
    maps_in_pieces(d, true);
}

fn net_maps_in_pieces(d: &Device) {
    maps_in_pieces(d, false);
}

fn maps_in_pieces(d: &Device, in_a_batch: bool) {
    let size = 64 * 4096;
    // Whether it loops back.
    drop(plain(d, |_| {}));
    let setup = Setup {
        memory: Memory::memfd(size),
        rx_buffers: 16,
        ..setup(d)
    };
    let all = vdpa_test::vhost::Area::whole(&setup.memory, setup.iova);
    let mut net = mapped(d, &setup, d.basic_features(), |node| {
        let map = || {
            for at in (0..size).step_by(4096) {
                node.map(0, &all.part(at, 4096), Perm::Rw)?;
            }
            Ok(())
        };
        let result = if in_a_batch {
            node.batch(0, map)
        } else {
            map()
        };
        assert_eq!(result, Ok(()), "map");
    });
    pass(&mut net, 50);
}

fn net_control_queue(d: &Device) {
    let mut net = with(d, feature::NET_CTRL_VQ, "VIRTIO_NET_F_CTRL_VQ", |_| {});
    for class in [0x7f, 0x80, 0xff] {
        let answer = net.command(class, 0, &[0; 4]);
        assert_eq!(answer, Some(1), "class {class:#x}");
    }
    pass(&mut net, 3);
}

fn net_persistent_maps(d: &Device) {
    d.need_backend(backend::IOTLB_PERSIST, "VHOST_BACKEND_F_IOTLB_PERSIST");
    let mut net = plain(d, |s| s.backend |= backend::IOTLB_PERSIST);
    pass(&mut net, 3);
    let setup = setup(d);
    let node = net.node.try_clone().expect("the node");
    assert_eq!(node.reset(), Ok(()));
    // Rings and buffers are where they were; the driver begins anew with them.
    let memory = net.space.memory().clone();
    drop(net);
    let setup = Setup { memory, ..setup };
    let backend = setup.backend | backend::IOTLB_PERSIST;
    let features = vdpa_test::vhost::net::negotiate(&node, setup.features, backend);
    let mut net = Net::queues(node, &setup, features);
    net.run();
    pass(&mut net, 3);
}
