// SPDX-License-Identifier: GPL-2.0
//! The stock vhost_vdpa on our bus: a first look at its node.

use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::vdpa::*;
use vdpa_test::vhost::Node;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    node_and_sysfs,
    one_opener,
    properties,
    config_space,
    status_and_reset,
    without_optional_operations
);

fn with_sim(body: impl FnOnce(&str)) {
    sys::modprobe("vdpa_sim_net");
    sys::modprobe("vhost_vdpa");
    let mut v = Vdpa::new();
    let _d = v.add("vdpasim_net", "n0");
    assert_eq!(sys::driver_of("n0").as_deref(), Some("vhost_vdpa"));
    body(&Node::path("n0"));
}

fn node_and_sysfs() {
    with_sim(|node| {
        let devices = sys::read("/proc/devices");
        let major = devices
            .lines()
            .find_map(|l| l.strip_suffix(" vhost-vdpa"))
            .unwrap()
            .trim();
        let name = node.rsplit('/').next().unwrap();
        let dev = sys::read(sys::device_path("n0").join(name).join("dev"));
        assert!(
            dev.starts_with(&format!("{major}:")),
            "{dev} is of major {major}"
        );
    });
    assert!(
        !sys::list("/dev")
            .iter()
            .any(|n| n.starts_with("vhost-vdpa-")),
        "the node goes"
    );
}

fn one_opener() {
    with_sim(|node| {
        let first = Node::try_open(node).unwrap();
        assert_eq!(Node::try_open(node).unwrap_err(), Errno::EBUSY);
        drop(first);
        drop(Node::try_open(node).unwrap());
    });
}

fn properties() {
    with_sim(|path| {
        let node = Node::try_open(path).unwrap();
        assert_eq!(node.device_id(), Ok(ID_NET));
        assert_eq!(node.config_size(), Ok(24));
        assert_eq!(node.vqs_count(), Ok(3));
        assert_eq!(node.group_num(), Ok(2));
        assert_eq!(node.as_num(), Ok(2));
        assert_eq!(node.vring_num(), Ok(256));
        assert_eq!(node.iova_range(), Ok((0, u64::MAX)));
        let features = node.features().unwrap();
        assert_eq!(features & BASE_FEATURES, BASE_FEATURES);
    });
}

fn config_space() {
    let _m = Mgmt::new("m0", "dev.config=000102030405060708090a0b0c0d0e0f");
    sys::modprobe("vhost_vdpa");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let node = Node::open("d0");
    parent::forget();
    assert_eq!(node.config(4, 8).unwrap(), [4, 5, 6, 7, 8, 9, 10, 11]);
    let ops = parent::ops_of("d0");
    let wanted: Vec<_> = ops
        .iter()
        .filter(|o| ["set_driver_features", "get_config"].contains(&o.as_str()))
        .collect();
    assert_eq!(
        wanted,
        ["set_driver_features", "get_config"],
        "as before negotiation"
    );
    drop(node);
}

fn status_and_reset() {
    let _m = Mgmt::new("m0", "");
    sys::modprobe("vhost_vdpa");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let path = Node::path("d0");
    parent::forget();
    let node = Node::try_open(&path).unwrap();
    assert!(!parent::calls("reset").is_empty(), "opening resets");
    for status in [1u8, 3] {
        node.set_status(status).unwrap();
        assert_eq!(node.status(), Ok(status));
    }
    assert_eq!(
        parent::calls("set_status"),
        ["set_status d0 cf=w 0x1", "set_status d0 cf=w 0x3"]
    );
    let resets = || parent::calls("reset").len() + parent::calls("compat_reset").len();
    let before = resets();
    drop(node);
    assert!(resets() > before, "closing resets");
    assert_eq!(v.get("d0").need(DEV_NAME).str(), "d0");
}

fn without_optional_operations() {
    let all = "get_vendor_vq_stats,get_vq_size,get_vq_group,get_vq_num_min,compat_reset,suspend,\
               resume,get_generation,get_iova_range,reset_map,free";
    for without in ["free", "compat_reset", "get_vq_num_min", all] {
        case(format!("without {without}"), || {
            let _m = Mgmt::new("m0", &format!("dev.without={without}"));
            sys::modprobe("vhost_vdpa");
            let mut v = Vdpa::new();
            let d = v.add("m0", "d0");
            assert_eq!(v.get("d0").need(DEV_NAME).str(), "d0");
            v.config("d0");
            let node = Node::open("d0");
            assert_eq!(node.device_id(), Ok(ID_NET));
            drop(node);
            drop(d);
        });
    }
    sys::rmmod_ok("vhost_vdpa");
}
