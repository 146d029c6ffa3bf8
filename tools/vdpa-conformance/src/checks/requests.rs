// SPDX-License-Identifier: GPL-2.0
//! The node, and what is refused of any request: who may ask, pointers, indexes.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use vdpa_test::ktap::{self, case};
use vdpa_test::vhost::ioctl::{self, Request, VringState};
use vdpa_test::vhost::Node;
use vdpa_test::{sys, user, Errno};

use crate::check::checks;
use crate::device::Device;

checks! {
    node_major: "Documentation/admin-guide/devices, /proc/devices",
        "the node is a character device whose major is named vhost-vdpa";
    one_opener: "open(2), vhost-vdpa", "a second open is EBUSY, and the first goes on";
    owner_twice: "linux/vhost.h, VHOST_SET_OWNER", "a device that has an owner is EBUSY";
    owner_is_needed: "linux/vhost.h, VHOST_SET_OWNER",
        "until there is an owner, what is about queues is EPERM, before the argument is read";
    owner_is_a_process: "linux/vhost.h, VHOST_SET_OWNER",
        "another process with the same open file is not the owner: EPERM";
    bad_pointers: "ioctl(2)", "an argument that cannot be reached is EFAULT";
    queue_indexes: "linux/vhost.h, struct vhost_vring_state",
        "a queue that the device does not have is ENOBUFS";
    unknown_requests: "ioctl(2)", "a request that does not exist is ENOTTY";
    no_dirty_log: "linux/vhost.h, VHOST_SET_LOG_BASE, VHOST_SET_LOG_FD",
        "they are ENOTTY where VHOST_F_LOG_ALL is not offered";
    memory_table: "linux/vhost.h, VHOST_SET_MEM_TABLE",
        "padding that is not zero is EOPNOTSUPP, too many regions are E2BIG";
    fork_from_owner: "linux/vhost.h, VHOST_SET_FORK_FROM_OWNER",
        "0 and 1 are taken and told, others are EINVAL; with an owner it is EBUSY";
    busyloop_timeout: "linux/vhost.h, VHOST_SET_VRING_BUSYLOOP_TIMEOUT",
        "the number is kept with the queue";
}

/// Requests that begin with the number of a queue.
const OF_QUEUES: [(&str, u64); 12] = [
    ("SET_VRING_NUM", ioctl::SET_VRING_NUM.number()),
    ("SET_VRING_ADDR", ioctl::SET_VRING_ADDR.number()),
    ("SET_VRING_BASE", ioctl::SET_VRING_BASE.number()),
    ("GET_VRING_BASE", ioctl::GET_VRING_BASE.number()),
    ("SET_VRING_KICK", ioctl::SET_VRING_KICK.number()),
    ("SET_VRING_CALL", ioctl::SET_VRING_CALL.number()),
    ("SET_VRING_ERR", ioctl::SET_VRING_ERR.number()),
    (
        "SET_VRING_BUSYLOOP_TIMEOUT",
        ioctl::SET_VRING_BUSYLOOP_TIMEOUT.number(),
    ),
    ("SET_VRING_ENABLE", ioctl::SET_VRING_ENABLE.number()),
    ("GET_VRING_GROUP", ioctl::GET_VRING_GROUP.number()),
    ("GET_VRING_DESC_GROUP", ioctl::GET_VRING_DESC_GROUP.number()),
    ("GET_VRING_SIZE", ioctl::GET_VRING_SIZE.number()),
];

/// The others that have an argument.
const OF_THE_DEVICE: [(&str, u64); 18] = [
    ("GET_FEATURES", ioctl::GET_FEATURES.number()),
    ("SET_FEATURES", ioctl::SET_FEATURES.number()),
    ("GET_BACKEND_FEATURES", ioctl::GET_BACKEND_FEATURES.number()),
    ("SET_BACKEND_FEATURES", ioctl::SET_BACKEND_FEATURES.number()),
    ("GET_DEVICE_ID", ioctl::GET_DEVICE_ID.number()),
    ("GET_STATUS", ioctl::GET_STATUS.number()),
    ("SET_STATUS", ioctl::SET_STATUS.number()),
    ("GET_CONFIG", ioctl::GET_CONFIG.number()),
    ("SET_CONFIG", ioctl::SET_CONFIG.number()),
    ("GET_CONFIG_SIZE", ioctl::GET_CONFIG_SIZE.number()),
    ("GET_VRING_NUM", ioctl::GET_VRING_NUM.number()),
    ("GET_VQS_COUNT", ioctl::GET_VQS_COUNT.number()),
    ("GET_GROUP_NUM", ioctl::GET_GROUP_NUM.number()),
    ("GET_AS_NUM", ioctl::GET_AS_NUM.number()),
    ("SET_CONFIG_CALL", ioctl::SET_CONFIG_CALL.number()),
    ("GET_IOVA_RANGE", ioctl::GET_IOVA_RANGE.number()),
    ("SET_MEM_TABLE", ioctl::SET_MEM_TABLE.number()),
    ("SET_GROUP_ASID", ioctl::SET_GROUP_ASID.number()),
];

fn node_major(d: &Device) {
    let metadata = std::fs::metadata(&d.path).expect("the node");
    assert!(metadata.file_type().is_char_device(), "a character device");
    let devices = sys::read("/proc/devices");
    let number = devices.lines().find_map(|l| l.strip_suffix(" vhost-vdpa"));
    let number = number.expect("vhost-vdpa in /proc/devices");
    let major = libc::major(metadata.rdev());
    assert_eq!(number.trim().parse(), Ok(major), "major of the node");
}

fn one_opener(d: &Device) {
    let node = d.open();
    assert_eq!(Node::try_open(&d.path).err(), Some(Errno::EBUSY));
    assert_eq!(node.device_id(), Ok(d.id), "of the first one");
    drop(node);
    drop(d.open());
}

fn owner_twice(d: &Device) {
    let node = d.owned();
    assert_eq!(node.set_owner(), Err(Errno::EBUSY));
}

fn owner_is_needed(d: &Device) {
    let node = d.open();
    for (name, number) in OF_QUEUES {
        case(name, || {
            assert_eq!(node.ioctl_nowhere(number), Err(Errno::EPERM));
        });
    }
    case("SET_GROUP_ASID", || {
        assert_eq!(node.set_group_asid(0, 0), Err(Errno::EPERM));
    });
    case("a queue that is not there", || {
        assert_eq!(node.set_vring_num(u32::MAX, 0), Err(Errno::EPERM));
    });
    case("a request that does not exist", || {
        let unknown = Request::<VringState>::set(0xfe);
        let result = node.ioctl(unknown, VringState::default());
        assert_eq!(result.err(), Some(Errno::EPERM));
    });
}

fn owner_is_a_process(d: &Device) {
    let node = d.owned();
    user::in_child(|| {
        let size = u32::from(d.queue_size);
        assert_eq!(node.set_vring_num(0, size), Err(Errno::EPERM), "the child");
        assert_eq!(node.set_owner(), Err(Errno::EBUSY), "the child");
        assert_eq!(node.device_id(), Ok(d.id), "what needs no owner");
    });
    let size = u32::from(d.queue_size);
    assert_eq!(node.set_vring_num(0, size), Ok(()), "the owner");
}

fn bad_pointers(d: &Device) {
    let node = d.owned();
    for (name, number) in OF_THE_DEVICE.iter().chain(&OF_QUEUES) {
        case(name, || {
            assert_eq!(node.ioctl_nowhere(*number), Err(Errno::EFAULT));
        });
    }
}

fn queue_indexes(d: &Device) {
    let node = d.owned();
    for index in [d.queues, u32::MAX] {
        let state = VringState { index, num: 1 };
        for (name, number) in OF_QUEUES {
            // Its argument is larger.
            if number == ioctl::SET_VRING_ADDR.number() {
                continue;
            }
            case(format!("{name} of queue {index}"), || {
                let (set, change) = (Request::set(number & 0xff), Request::change(number & 0xff));
                let both_ways = number == change.number();
                let result = node.ioctl(if both_ways { change } else { set }, state);
                assert_eq!(result.err(), Some(Errno::ENOBUFS));
            });
        }
        case(format!("SET_VRING_ADDR of queue {index}"), || {
            let address = ioctl::VringAddr {
                index,
                ..ioctl::VringAddr::default()
            };
            let result = node.ioctl(ioctl::SET_VRING_ADDR, address);
            assert_eq!(result.err(), Some(Errno::ENOBUFS));
        });
    }
}

fn unknown_requests(d: &Device) {
    let node = d.owned();
    let state = VringState::default();
    for nr in [0x6f, 0x8f, 0xfe] {
        for (word, request) in [
            ("set", Request::<VringState>::set(nr)),
            ("get", Request::get(nr)),
            ("change", Request::change(nr)),
        ] {
            case(format!("{word} {nr:#x}"), || {
                assert_eq!(node.ioctl(request, state).err(), Some(Errno::ENOTTY));
            });
        }
    }
}

fn no_dirty_log(d: &Device) {
    const LOG_ALL: u64 = 1 << 26;
    if d.features & LOG_ALL != 0 {
        ktap::skip("the device offers VHOST_F_LOG_ALL");
    }
    let node = d.owned();
    let base = node.ioctl(ioctl::SET_LOG_BASE, 0);
    assert_eq!(base.err(), Some(Errno::ENOTTY), "VHOST_SET_LOG_BASE");
    let fd = node.ioctl(ioctl::SET_LOG_FD, -1);
    assert_eq!(fd.err(), Some(Errno::ENOTTY), "VHOST_SET_LOG_FD");
}

fn memory_table(d: &Device) {
    let node = d.owned();
    let set = |regions, padding| {
        let table = ioctl::MemoryTable { regions, padding };
        node.ioctl(ioctl::SET_MEM_TABLE, table).err()
    };
    assert_eq!(set(0, 1), Some(Errno::EOPNOTSUPP), "padding");
    assert_eq!(set(u32::MAX, 0), Some(Errno(libc::E2BIG)), "regions");
    assert_eq!(set(0, 0), None, "no regions");
}

fn fork_from_owner(d: &Device) {
    let node = d.open();
    let get = || node.ioctl(ioctl::GET_FORK_FROM_OWNER, 0);
    let set = |value| node.ioctl(ioctl::SET_FORK_FROM_OWNER, value).err();
    if get() == Err(Errno::ENOTTY) {
        ktap::skip("the kernel was built without it");
    }
    for value in [0, 1] {
        assert_eq!(set(value), None, "{value}");
        assert_eq!(get(), Ok(value));
    }
    assert_eq!(set(2), Some(Errno::EINVAL), "2");
    assert_eq!(get(), Ok(1), "as it was");
    assert_eq!(node.set_owner(), Ok(()));
    assert_eq!(set(1), Some(Errno::EBUSY), "with an owner");
}

fn busyloop_timeout(d: &Device) {
    let node = d.owned();
    for index in d.all_queues() {
        let set = VringState { index, num: 50 };
        let result = node.ioctl(ioctl::SET_VRING_BUSYLOOP_TIMEOUT, set);
        assert_eq!(result.err(), None, "queue {index}");
        let got = node.ioctl(
            ioctl::GET_VRING_BUSYLOOP_TIMEOUT,
            VringState { index, num: 0 },
        );
        assert_eq!(got.map(|s| s.num), Ok(50), "queue {index}");
    }
}
