// SPDX-License-Identifier: GPL-2.0
//! Setting up queues: size, place, where to begin.

use vdpa_test::ktap::{self, case};
use vdpa_test::vhost::ioctl::{self, VringAddr};
use vdpa_test::vhost::{status, Node, RingAddress, PAGE};
use vdpa_test::Errno;

use crate::check::checks;
use crate::device::Device;

checks! {
    vring_num_max: "virtio 1.3, 2.7; linux/vhost.h, VHOST_VDPA_GET_VRING_NUM",
        "the largest queue is a power of two up to 32768";
    vring_num: "linux/vhost.h, VHOST_SET_VRING_NUM", "each queue takes the largest size";
    vring_num_refused: "virtio 1.3, 2.7; linux/vhost.h, VHOST_SET_VRING_NUM",
        "0, no power of two, and more than the largest size are EINVAL";
    vring_size: "linux/vhost.h, VHOST_VDPA_GET_VRING_SIZE",
        "the size of a queue is not 0 and not beyond the largest; a device may not tell: EOPNOTSUPP";
    vring_base: "linux/vhost.h, VHOST_SET_VRING_BASE, VHOST_GET_VRING_BASE",
        "where a queue is to begin is where it is, until it runs";
    vring_base_refused: "linux/vhost.h, VHOST_SET_VRING_BASE",
        "an index of a split queue has 16 bits: more is EINVAL";
    vring_base_after_a_reset: "virtio 1.3, 2.4; linux/vhost.h, VHOST_GET_VRING_BASE",
        "a reset takes queues back to the beginning";
    vring_addr: "linux/vhost.h, VHOST_SET_VRING_ADDR", "each queue takes addresses";
    vring_addr_flags: "linux/vhost.h, struct vhost_vring_addr", "unknown flags are EOPNOTSUPP";
    vring_addr_alignment: "virtio 1.3, 2.7; linux/vhost.h, VHOST_SET_VRING_ADDR",
        "an available ring is aligned to 2, a used ring and a log to 4: else EINVAL";
    vring_while_running: "linux/vhost.h, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE",
        "a queue that runs stays where it is: EINVAL, unless the device is suspended";
    vring_enable: "linux/vhost.h, VHOST_VDPA_SET_VRING_ENABLE",
        "each queue can be enabled and disabled before the device runs";
}

/// A driver that may set up queues.
fn at_queues(d: &Device) -> Node {
    d.negotiated(0)
}

fn vring_num_max(d: &Device) {
    let max = d.open().vring_num().expect("VHOST_VDPA_GET_VRING_NUM");
    assert!(max.is_power_of_two() && max <= 32768, "{max}");
}

fn vring_num(d: &Device) {
    let node = at_queues(d);
    for index in d.all_queues() {
        let set = node.set_vring_num(index, u32::from(d.queue_size));
        assert_eq!(set, Ok(()), "queue {index}");
    }
}

fn vring_num_refused(d: &Device) {
    let node = at_queues(d);
    let max = u32::from(d.queue_size);
    for num in [0, 3, max - 1, max + 1, 2 * max, 0xffff, 0x1_0000, u32::MAX] {
        if num == 1 || num == 2 {
            continue;
        }
        case(format!("{num}"), || {
            for index in d.all_queues() {
                let set = node.set_vring_num(index, num);
                assert_eq!(set, Err(Errno::EINVAL), "queue {index}");
            }
        });
    }
}

fn vring_size(d: &Device) {
    let node = at_queues(d);
    for index in d.all_queues() {
        match node.vring_size(index) {
            Err(Errno::EOPNOTSUPP) => ktap::skip("the device does not tell"),
            Ok(size) => assert!((1..=u32::from(d.queue_size)).contains(&size), "{size}"),
            other => panic!("queue {index}: {other:?}"),
        }
    }
}

/// Skips what needs a device that can begin anywhere.
fn set_base(node: &Node, index: u32, base: u32) {
    match node.set_vring_base(index, base) {
        Err(Errno::EOPNOTSUPP) => ktap::skip("queues of the device begin at 0 only"),
        set => assert_eq!(set, Ok(()), "queue {index} at {base}"),
    }
}

fn vring_base(d: &Device) {
    let node = at_queues(d);
    for index in d.all_queues() {
        for base in [0, 1, 0x7fff, 0x8000, 0xffff, index] {
            set_base(&node, index, base);
            assert_eq!(node.vring_base(index), Ok(base), "queue {index}");
        }
    }
    // Not that of another queue.
    for index in d.all_queues() {
        assert_eq!(node.vring_base(index), Ok(index), "queue {index}");
    }
}

fn vring_base_refused(d: &Device) {
    let node = at_queues(d);
    for base in [0x1_0000, u32::MAX] {
        assert_eq!(node.set_vring_base(0, base), Err(Errno::EINVAL));
    }
    assert_eq!(node.vring_base(0), Ok(0), "as it was");
}

fn vring_base_after_a_reset(d: &Device) {
    let node = at_queues(d);
    for index in d.all_queues() {
        set_base(&node, index, 7);
    }
    assert_eq!(node.reset(), Ok(()));
    for index in d.all_queues() {
        assert_eq!(node.vring_base(index), Ok(0), "queue {index}");
    }
}

/// Where the parts of a queue of the largest size could be.
fn place(d: &Device) -> RingAddress {
    let size = u64::from(d.queue_size);
    let page = PAGE as u64;
    let desc = d.iova();
    let driver = desc + (16 * size).next_multiple_of(page);
    RingAddress {
        desc,
        driver,
        device: driver + (2 * size + 6).next_multiple_of(page),
    }
}

fn vring_addr(d: &Device) {
    let node = at_queues(d);
    for index in d.all_queues() {
        let num = node.set_vring_num(index, u32::from(d.queue_size));
        assert_eq!(num, Ok(()), "queue {index}");
        let set = node.set_vring_addr(index, place(d));
        assert_eq!(set, Ok(()), "queue {index}");
    }
}

fn address(d: &Device) -> VringAddr {
    let place = place(d);
    VringAddr {
        index: 0,
        flags: 0,
        desc: place.desc,
        used: place.device,
        avail: place.driver,
        log: 0,
    }
}

fn vring_addr_flags(d: &Device) {
    let node = at_queues(d);
    for flags in [2, 4, 1 << 31, u32::MAX] {
        let set = VringAddr {
            flags,
            ..address(d)
        };
        let set = node.ioctl(ioctl::SET_VRING_ADDR, set);
        assert_eq!(set.err(), Some(Errno::EOPNOTSUPP), "{flags:#x}");
    }
}

fn vring_addr_alignment(d: &Device) {
    let node = at_queues(d);
    let good = address(d);
    let bad = [
        (
            "available ring + 1",
            VringAddr {
                avail: good.avail + 1,
                ..good
            },
        ),
        (
            "used ring + 1",
            VringAddr {
                used: good.used + 1,
                ..good
            },
        ),
        (
            "used ring + 2",
            VringAddr {
                used: good.used + 2,
                ..good
            },
        ),
        (
            "log + 2",
            VringAddr {
                log: good.log + 2,
                ..good
            },
        ),
    ];
    for (what, address) in bad {
        case(what, || {
            let set = node.ioctl(ioctl::SET_VRING_ADDR, address);
            assert_eq!(set.err(), Some(Errno::EINVAL));
        });
    }
}

fn vring_while_running(d: &Device) {
    let (node, queues) = d.running();
    for queue in &queues {
        let index = queue.index;
        let set = node.set_vring_addr(index, queue.ring.address());
        assert_eq!(set, Err(Errno::EINVAL), "address of queue {index}");
        let set = node.set_vring_base(index, 5);
        assert_eq!(set, Err(Errno::EINVAL), "base of queue {index}");
        assert_eq!(node.vring_base(index), Ok(0), "queue {index} as it was");
    }
    assert_eq!(node.status(), Ok(status::RUNNING));
}

fn vring_enable(d: &Device) {
    let node = at_queues(d);
    for index in d.all_queues() {
        for enable in [false, true, true, false] {
            let set = node.set_vring_enable(index, enable);
            assert_eq!(set, Ok(()), "queue {index}: {enable}");
        }
    }
}
