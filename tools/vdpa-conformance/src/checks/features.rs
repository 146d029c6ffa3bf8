// SPDX-License-Identifier: GPL-2.0
//! Features of the device and of the backend.

use vdpa_test::ktap::{self, case};
use vdpa_test::vhost::{backend, feature, status};
use vdpa_test::Errno;
use virtio_bindings::{virtio_blk as blk, virtio_net as net};

use crate::check::checks;
use crate::device::{Device, BLOCK, NET};

checks! {
    version_1: "virtio 1.3, 6.2", "a device offers VIRTIO_F_VERSION_1";
    feature_dependencies: "virtio 1.3, 2.2.2, 5.1.3.1",
        "a feature is offered only with those that it requires";
    features_accepted: "virtio 1.3, 2.2.2, 3.1.1",
        "a device accepts features that it offers, and FEATURES_OK stays set";
    features_offered_always: "virtio 1.3, 2.2",
        "what is offered does not depend on what was negotiated";
    features_are_final: "linux/vhost.h, VHOST_SET_FEATURES; virtio 1.3, 3.1.1",
        "with FEATURES_OK set, they cannot be changed: EBUSY";
    features_after_a_reset: "virtio 1.3, 2.2, 2.4", "after a reset they are negotiated anew";
    backend_features_offered: "linux/vhost_types.h, VHOST_BACKEND_F_IOTLB_MSG_V2, _BATCH, _ASID",
        "vhost-vdpa offers these for every device";
    backend_features_taken: "linux/vhost.h, VHOST_SET_BACKEND_FEATURES",
        "all that is offered can be acknowledged, together and one by one";
    backend_features_refused: "linux/vhost.h, VHOST_SET_BACKEND_FEATURES",
        "what is not offered cannot be acknowledged: EOPNOTSUPP";
    descriptors_need_spaces: "linux/vhost_types.h, VHOST_BACKEND_F_DESC_ASID",
        "it needs VHOST_BACKEND_F_IOTLB_ASID: EINVAL without";
}

/// A feature of a network device, and those of which it requires one.
const NET_REQUIRES: [(u32, &[u32]); 15] = [
    (
        net::VIRTIO_NET_F_GUEST_TSO4,
        &[net::VIRTIO_NET_F_GUEST_CSUM],
    ),
    (
        net::VIRTIO_NET_F_GUEST_TSO6,
        &[net::VIRTIO_NET_F_GUEST_CSUM],
    ),
    (
        net::VIRTIO_NET_F_GUEST_ECN,
        &[net::VIRTIO_NET_F_GUEST_TSO4, net::VIRTIO_NET_F_GUEST_TSO6],
    ),
    (net::VIRTIO_NET_F_GUEST_UFO, &[net::VIRTIO_NET_F_GUEST_CSUM]),
    (net::VIRTIO_NET_F_HOST_TSO4, &[net::VIRTIO_NET_F_CSUM]),
    (net::VIRTIO_NET_F_HOST_TSO6, &[net::VIRTIO_NET_F_CSUM]),
    (
        net::VIRTIO_NET_F_HOST_ECN,
        &[net::VIRTIO_NET_F_HOST_TSO4, net::VIRTIO_NET_F_HOST_TSO6],
    ),
    (net::VIRTIO_NET_F_HOST_UFO, &[net::VIRTIO_NET_F_CSUM]),
    (net::VIRTIO_NET_F_CTRL_RX, &[net::VIRTIO_NET_F_CTRL_VQ]),
    (net::VIRTIO_NET_F_CTRL_VLAN, &[net::VIRTIO_NET_F_CTRL_VQ]),
    (
        net::VIRTIO_NET_F_GUEST_ANNOUNCE,
        &[net::VIRTIO_NET_F_CTRL_VQ],
    ),
    (net::VIRTIO_NET_F_MQ, &[net::VIRTIO_NET_F_CTRL_VQ]),
    (
        net::VIRTIO_NET_F_CTRL_MAC_ADDR,
        &[net::VIRTIO_NET_F_CTRL_VQ],
    ),
    (net::VIRTIO_NET_F_RSS, &[net::VIRTIO_NET_F_CTRL_VQ]),
    (
        net::VIRTIO_NET_F_RSC_EXT,
        &[net::VIRTIO_NET_F_HOST_TSO4, net::VIRTIO_NET_F_HOST_TSO6],
    ),
];

fn version_1(d: &Device) {
    let offered = d.open().features().expect("VHOST_GET_FEATURES");
    assert_ne!(offered & feature::VERSION_1, 0, "{offered:#x}");
}

fn feature_dependencies(d: &Device) {
    let offered = d.open().features().expect("VHOST_GET_FEATURES");
    let has = |bit: &u32| offered & (1 << bit) != 0;
    match d.id {
        NET => {
            for (bit, one_of) in NET_REQUIRES.iter().filter(|r| has(&r.0)) {
                assert!(one_of.iter().any(has), "{bit} without any of {one_of:?}");
            }
        }
        // Of the legacy interface only (5.2.3.1 and 5.2.3.2).
        BLOCK => assert!(!has(&blk::VIRTIO_BLK_F_BARRIER), "VIRTIO_BLK_F_BARRIER"),
        id => ktap::skip(format!("none are known of device {id}")),
    }
}

fn features_accepted(d: &Device) {
    let node = d.owned();
    for more in [0, feature::EVENT_IDX, feature::INDIRECT_DESC] {
        let features = d.basic_features() | (more & d.features);
        case(format!("{features:#x}"), || {
            assert_eq!(node.reset(), Ok(()));
            let before = status::ACKNOWLEDGE | status::DRIVER;
            assert_eq!(node.set_status(before), Ok(()));
            assert_eq!(node.set_features(features), Ok(()));
            assert_eq!(node.set_status(status::NEGOTIATED), Ok(()));
            assert_eq!(node.status(), Ok(status::NEGOTIATED));
        });
    }
}

fn features_offered_always(d: &Device) {
    let node = d.negotiated(0);
    assert_eq!(node.features(), Ok(d.features), "when negotiated");
    let _queues = d.run(&node);
    assert_eq!(node.features(), Ok(d.features), "when it runs");
    assert_eq!(node.reset(), Ok(()));
    assert_eq!(node.features(), Ok(d.features), "after a reset");
}

fn features_are_final(d: &Device) {
    let node = d.negotiated(0);
    for features in [d.basic_features(), 0] {
        assert_eq!(node.set_features(features), Err(Errno::EBUSY));
    }
    assert_eq!(node.ioctl_nowhere(0x4008_af00), Err(Errno::EBUSY));
    let _queues = d.run(&node);
    let again = node.set_features(d.basic_features());
    assert_eq!(again, Err(Errno::EBUSY), "when it runs");
}

fn features_after_a_reset(d: &Device) {
    let node = d.negotiated(feature::EVENT_IDX & d.features);
    for _ in 0..3 {
        assert_eq!(node.reset(), Ok(()));
        assert_eq!(node.set_features(d.basic_features()), Ok(()));
        assert_eq!(node.set_status(status::NEGOTIATED), Ok(()));
        assert_eq!(node.status(), Ok(status::NEGOTIATED));
    }
}

fn backend_features_offered(d: &Device) {
    let always = backend::IOTLB_MSG_V2 | backend::IOTLB_BATCH | backend::IOTLB_ASID;
    let offered = d.open().backend_features();
    assert_eq!(offered.map(|b| b & always), Ok(always));
}

/// With what it needs.
fn alone(bit: u64) -> u64 {
    if bit == backend::DESC_ASID {
        bit | backend::IOTLB_ASID
    } else {
        bit
    }
}

fn backend_features_taken(d: &Device) {
    let node = d.open();
    let offered = node.backend_features().expect("VHOST_GET_BACKEND_FEATURES");
    assert_eq!(node.set_backend_features(offered), Ok(()), "all");
    assert_eq!(node.set_backend_features(0), Ok(()), "none");
    for bit in (0..64).map(|n| 1 << n).filter(|b| offered & b != 0) {
        let set = node.set_backend_features(alone(bit));
        assert_eq!(set, Ok(()), "{bit:#x}");
    }
    assert_eq!(node.backend_features(), Ok(offered), "as offered before");
}

fn backend_features_refused(d: &Device) {
    let node = d.open();
    let offered = node.backend_features().expect("VHOST_GET_BACKEND_FEATURES");
    for bit in (0..64).map(|n| 1 << n).filter(|b| offered & b == 0) {
        let set = node.set_backend_features(alone(bit));
        assert_eq!(set, Err(Errno::EOPNOTSUPP), "{bit:#x}");
    }
}

fn descriptors_need_spaces(d: &Device) {
    let set = d.open().set_backend_features(backend::DESC_ASID);
    assert_eq!(set, Err(Errno::EINVAL));
}
