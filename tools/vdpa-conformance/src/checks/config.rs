// SPDX-License-Identifier: GPL-2.0
//! The configuration space.

use std::os::fd::AsRawFd;

use vdpa_test::ktap::{self, case};
use vdpa_test::vhost::{ioctl, EventFd, Node};
use vdpa_test::Errno;
use virtio_bindings::{virtio_blk as blk, virtio_net as net};

use crate::check::checks;
use crate::device::{Device, BLOCK, NET};
use crate::process::Edge;

checks! {
    config_read: "linux/vhost.h, VHOST_VDPA_GET_CONFIG", "all of the space can be read at once";
    config_parts: "virtio 1.3, 2.5", "a part that is read is what stands there in the whole";
    config_read_beyond: "linux/vhost.h, VHOST_VDPA_GET_CONFIG",
        "what is not within the size, and nothing at all, is EINVAL";
    config_write_beyond: "linux/vhost.h, VHOST_VDPA_SET_CONFIG",
        "what is not within the size, and nothing at all, is EINVAL";
    config_out_of_reach: "ioctl(2)", "bytes that cannot be read or written are EFAULT";
    config_of_a_network_device: "virtio 1.3, 5.1.4.1",
        "an MTU is at least 68, pairs of queues are 1 to 0x8000, only two bits of the status exist";
    config_of_a_disk: "virtio 1.3, 5.2.4",
        "the size of a block is a power of two, and there are as many queues as it says";
    queues_of_the_class: "virtio 1.3, 5.1.2, 5.2.2", "the device has the queues that its class has";
    config_call: "linux/vhost.h, VHOST_VDPA_SET_CONFIG_CALL",
        "an eventfd is taken, replaced, and taken back by -1, also when the device runs";
}

fn config_read(d: &Device) {
    let node = d.open();
    if d.config_size == 0 {
        ktap::skip("the space is empty");
    }
    let bytes = node.config(0, d.config_size);
    assert_eq!(bytes.map(|b| b.len()), Ok(d.config_size as usize));
    assert_eq!(node.config_size(), Ok(d.config_size));
}

fn config_parts(d: &Device) {
    let node = d.open();
    if d.config_size == 0 {
        ktap::skip("the space is empty");
    }
    let whole = node.config(0, d.config_size).expect("all of it");
    for width in [1, 2, 4, 8] {
        for at in (0..=d.config_size.saturating_sub(width)).step_by(width as usize) {
            let part = node.config(at, width.min(d.config_size));
            let expected = whole.iter().skip(at as usize).take(width as usize);
            assert_eq!(part, Ok(expected.copied().collect()), "from {at} on");
        }
    }
}

/// A request whose bytes are out of reach: should it be taken, it is EFAULT.
fn config_of(node: &Node, number: u64, offset: u32, len: u32) -> Errno {
    let edge = Edge::new();
    let header = edge.put(&[offset.to_ne_bytes(), len.to_ne_bytes()].concat());
    // SAFETY: The header is there, and after it nothing that could be read or written.
    let ret = unsafe { libc::ioctl(node.as_raw_fd(), number, header) };
    if ret < 0 {
        Errno::last()
    } else {
        Errno::OK
    }
}

/// Offsets and lengths that are not in a space of this size.
fn beyond(size: u32) -> [(u32, u32); 8] {
    [
        (0, 0),
        (size, 0),
        (size, 1),
        (0, size + 1),
        (size.saturating_sub(1), 2),
        (u32::MAX, 1),
        // The sum is 4 in 32 bits.
        (8, u32::MAX - 3),
        (0, u32::MAX),
    ]
}

fn refused_beyond(d: &Device, number: u64) {
    let node = d.open();
    for (offset, len) in beyond(d.config_size) {
        case(format!("{len} bytes from {offset} on"), || {
            assert_eq!(config_of(&node, number, offset, len), Errno::EINVAL);
        });
    }
}

fn config_read_beyond(d: &Device) {
    refused_beyond(d, ioctl::GET_CONFIG.number());
}

fn config_write_beyond(d: &Device) {
    refused_beyond(d, ioctl::SET_CONFIG.number());
}

fn config_out_of_reach(d: &Device) {
    let node = d.open();
    if d.config_size == 0 {
        ktap::skip("the space is empty");
    }
    let get = config_of(&node, ioctl::GET_CONFIG.number(), 0, d.config_size);
    assert_eq!(get, Errno::EFAULT, "read");
    let set = config_of(&node, ioctl::SET_CONFIG.number(), 0, 1);
    assert_eq!(set, Errno::EFAULT, "written");
}

/// A number of up to eight bytes.
fn number(node: &Node, at: u32, len: u32) -> u64 {
    let bytes = node.config(at, len).expect("VHOST_VDPA_GET_CONFIG");
    let shifted = bytes.iter().rev();
    shifted.fold(0, |n, b| (n << 8) | u64::from(*b))
}

fn config_of_a_network_device(d: &Device) {
    d.need_class(NET, "network");
    let node = d.negotiated(d.features & (1 << net::VIRTIO_NET_F_STATUS));
    let has = |bit: u32| d.features & (1 << bit) != 0;
    if has(net::VIRTIO_NET_F_STATUS) {
        assert_eq!(number(&node, 6, 2) & !3, 0, "status");
    }
    if has(net::VIRTIO_NET_F_MQ) {
        let pairs = number(&node, 8, 2);
        assert!((1..=0x8000).contains(&pairs), "{pairs} pairs of queues");
    }
    if has(net::VIRTIO_NET_F_MTU) {
        let mtu = number(&node, 10, 2);
        assert!(mtu >= 68, "an MTU of {mtu}");
    }
    if has(net::VIRTIO_NET_F_MAC) {
        assert_eq!(number(&node, 0, 1) & 1, 0, "an address of a group");
    }
}

fn config_of_a_disk(d: &Device) {
    d.need_class(BLOCK, "block");
    let node = d.negotiated(0);
    let has = |bit: u32| d.features & (1 << bit) != 0;
    if has(blk::VIRTIO_BLK_F_BLK_SIZE) {
        let size = number(&node, 20, 4);
        assert!(size >= 512 && size.is_power_of_two(), "blocks of {size}");
    }
    if has(blk::VIRTIO_BLK_F_MQ) {
        let queues = number(&node, 34, 2);
        let there = 1..=u64::from(d.queues);
        assert!(there.contains(&queues), "{queues} queues");
    }
}

fn queues_of_the_class(d: &Device) {
    let node = d.open();
    let queues = node.vqs_count().expect("VHOST_VDPA_GET_VQS_COUNT");
    let has = |bit: u32| d.features & (1 << bit) != 0;
    let needed = match d.id {
        NET => {
            let mq = has(net::VIRTIO_NET_F_MQ);
            let pairs = if mq { number(&node, 8, 2) } else { 1 };
            2 * pairs + u64::from(has(net::VIRTIO_NET_F_CTRL_VQ))
        }
        _ => 1,
    };
    assert!(u64::from(queues) >= needed, "{queues} queues of {needed}");
}

fn config_call(d: &Device) {
    let (node, _queues) = d.running();
    let (first, second) = (EventFd::new(), EventFd::new());
    for call in [Some(&first), Some(&second), None, None, Some(&first)] {
        assert_eq!(node.set_config_call(call), Ok(()));
    }
    let closed = node.ioctl(ioctl::SET_CONFIG_CALL, i32::MAX);
    assert_eq!(closed.err(), Some(Errno::EBADF), "no file");
    let other = std::fs::File::open("/dev/null").expect("/dev/null");
    let other = node.ioctl(ioctl::SET_CONFIG_CALL, other.as_raw_fd());
    assert_eq!(other.err(), Some(Errno::EINVAL), "not an eventfd");
}
