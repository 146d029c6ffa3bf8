// SPDX-License-Identifier: GPL-2.0
//! Groups of queues, and the address spaces that they use.

use vdpa_test::ktap::{self, case};
use vdpa_test::vhost::{backend, status};
use vdpa_test::Errno;

use crate::check::checks;
use crate::device::Device;
use crate::traffic::Traffic;

checks! {
    groups_and_spaces: "linux/vhost.h, VHOST_VDPA_GET_GROUP_NUM, VHOST_VDPA_GET_AS_NUM",
        "there is at least one group and one address space";
    vring_group: "linux/vhost.h, VHOST_VDPA_GET_VRING_GROUP",
        "the group of a queue is one that the device has";
    descriptor_group: "linux/vhost.h, VHOST_VDPA_GET_VRING_DESC_GROUP",
        "a group that the device has, if VHOST_BACKEND_F_DESC_ASID is offered, else EOPNOTSUPP";
    group_asid: "linux/vhost.h, VHOST_VDPA_SET_GROUP_ASID",
        "each group takes each address space";
    group_asid_refused: "linux/vhost.h, VHOST_VDPA_SET_GROUP_ASID",
        "a group or an address space that is not there is refused";
    group_asid_while_running: "linux/vhost.h, VHOST_VDPA_SET_GROUP_ASID",
        "a device that runs is EBUSY";
    rings_in_another_space: "linux/vhost_types.h, VHOST_BACKEND_F_IOTLB_ASID",
        "a group finds what is in its address space";
}

fn groups_and_spaces(d: &Device) {
    let node = d.open();
    let groups = node.group_num().expect("VHOST_VDPA_GET_GROUP_NUM");
    assert!(groups >= 1, "{groups} groups");
    let spaces = node.as_num().expect("VHOST_VDPA_GET_AS_NUM");
    assert!(spaces >= 1, "{spaces} address spaces");
}

fn vring_group(d: &Device) {
    let node = d.owned();
    for index in d.all_queues() {
        match node.vring_group(index) {
            Err(Errno::EOPNOTSUPP) => ktap::skip("the device has no groups"),
            Ok(group) => assert!(group < d.groups, "queue {index}: {group}"),
            other => panic!("queue {index}: {other:?}"),
        }
    }
}

fn descriptor_group(d: &Device) {
    let node = d.owned();
    for index in d.all_queues() {
        let group = node.vring_desc_group(index);
        if d.backend & backend::DESC_ASID == 0 {
            assert_eq!(group, Err(Errno::EOPNOTSUPP), "queue {index}");
        } else {
            assert!(
                group.is_ok_and(|g| g < d.groups),
                "queue {index}: {group:?}"
            );
        }
    }
}

fn group_asid(d: &Device) {
    let node = d.owned();
    // Further ones would be taken for queues that are not there.
    for group in 0..d.groups.min(d.queues) {
        for asid in 0..d.spaces.min(16) {
            match node.set_group_asid(group, asid) {
                Err(Errno::EOPNOTSUPP) => ktap::skip("the device has no groups"),
                set => assert_eq!(set, Ok(()), "group {group}, space {asid}"),
            }
        }
    }
}

fn group_asid_refused(d: &Device) {
    let node = d.owned();
    let bad = [
        (0, d.spaces),
        (0, u32::MAX),
        (d.groups, 0),
        (d.queues.max(d.groups), 0),
        (u32::MAX, 0),
    ];
    for (group, asid) in bad {
        case(format!("group {group}, space {asid}"), || {
            let error = node.set_group_asid(group, asid).err();
            // The kernel may look whether it could be a queue first.
            let outside = group >= d.queues && error == Some(Errno::ENOBUFS);
            assert!(outside || error == Some(Errno::EINVAL), "{error:?}");
        });
    }
}

fn group_asid_while_running(d: &Device) {
    let (node, _queues) = d.running();
    assert_eq!(node.set_group_asid(0, 0), Err(Errno::EBUSY));
    assert_eq!(node.status(), Ok(status::RUNNING));
}

fn rings_in_another_space(d: &Device) {
    d.need_backend(backend::IOTLB_ASID, "VHOST_BACKEND_F_IOTLB_ASID");
    if d.spaces < 2 {
        ktap::skip("one address space");
    }
    let mut traffic = Traffic::prepare_in(d, 0, 0, 1);
    traffic.run();
    traffic.pass(3);
    assert_eq!(traffic.node.status(), Ok(status::RUNNING));
    drop(traffic);
    // That goes with the device, too.
    Traffic::start(d, 0).pass(1);
}
