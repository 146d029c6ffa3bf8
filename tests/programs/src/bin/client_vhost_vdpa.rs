// SPDX-License-Identifier: GPL-2.0
//! The stock vhost_vdpa on our bus: a first look at its node.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::vdpa::*;
use vdpa_test::{errno, ktap_main, sys, Errno};

ktap_main!(
    node_and_sysfs,
    one_opener,
    properties,
    config_space,
    status_and_reset,
    without_optional_operations
);

const GET_FEATURES: u64 = 0x8008_af00;
const GET_DEVICE_ID: u64 = 0x8004_af70;
const GET_STATUS: u64 = 0x8001_af71;
const SET_STATUS: u64 = 0x4001_af72;
const GET_CONFIG: u64 = 0x8008_af73;
const GET_VRING_NUM: u64 = 0x8002_af76;
const GET_IOVA_RANGE: u64 = 0x8010_af78;
const GET_CONFIG_SIZE: u64 = 0x8004_af79;
const GET_AS_NUM: u64 = 0x8004_af7a;
const GET_VQS_COUNT: u64 = 0x8004_af80;
const GET_GROUP_NUM: u64 = 0x8004_af81;

fn ioctl<const N: usize>(node: &File, request: u64, arg: [u8; N]) -> Result<[u8; N], Errno> {
    // Larger than any argument, so that nothing is overwritten.
    let mut buf = [0u8; 256];
    buf[..N].copy_from_slice(&arg);
    // SAFETY: The buffer is larger than what any of these requests reads or writes.
    let ret = unsafe { libc::ioctl(node.as_raw_fd(), request, buf.as_mut_ptr()) };
    if ret < 0 {
        return Err(Errno::last());
    }
    Ok(buf[..N].try_into().unwrap())
}

fn get_u32(node: &File, request: u64) -> u32 {
    u32::from_ne_bytes(ioctl(node, request, [0; 4]).unwrap())
}

fn node_of(device: &str) -> String {
    let path = sys::device_path(device);
    let nodes: Vec<_> = sys::list(path.to_str().unwrap())
        .into_iter()
        .filter(|n| n.starts_with("vhost-vdpa-"))
        .collect();
    assert_eq!(nodes.len(), 1, "folders vhost-vdpa-N: {nodes:?}");
    format!("/dev/{}", nodes[0])
}

fn open(path: &str) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn with_sim(body: impl FnOnce(&str)) {
    sys::modprobe("vdpa_sim_net");
    sys::modprobe("vhost_vdpa");
    let mut v = Vdpa::new();
    let _d = v.add("vdpasim_net", "n0");
    assert_eq!(sys::driver_of("n0").as_deref(), Some("vhost_vdpa"));
    body(&node_of("n0"));
}

fn node_and_sysfs() {
    with_sim(|node| {
        sys::wait_for("the node", || std::fs::exists(node).unwrap());
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
        let first = open(node).unwrap();
        assert_eq!(errno::of(&open(node)), Errno::EBUSY);
        drop(first);
        drop(open(node).unwrap());
    });
}

fn properties() {
    with_sim(|path| {
        let node = open(path).unwrap();
        assert_eq!(get_u32(&node, GET_DEVICE_ID), ID_NET);
        assert_eq!(get_u32(&node, GET_CONFIG_SIZE), 24);
        assert_eq!(get_u32(&node, GET_VQS_COUNT), 3);
        assert_eq!(get_u32(&node, GET_GROUP_NUM), 2);
        assert_eq!(get_u32(&node, GET_AS_NUM), 2);
        assert_eq!(
            ioctl(&node, GET_VRING_NUM, [0; 2]),
            Ok(256u16.to_ne_bytes())
        );
        let range = ioctl(&node, GET_IOVA_RANGE, [0; 16]).unwrap();
        assert_eq!(
            range,
            [0u64.to_ne_bytes(), u64::MAX.to_ne_bytes()].concat()[..]
        );
        let features = u64::from_ne_bytes(ioctl(&node, GET_FEATURES, [0; 8]).unwrap());
        assert_eq!(features & BASE_FEATURES, BASE_FEATURES);
    });
}

fn config_space() {
    let _m = Mgmt::new("m0", "dev.config=000102030405060708090a0b0c0d0e0f");
    sys::modprobe("vhost_vdpa");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let node = open(&node_of("d0")).unwrap();
    parent::forget();
    // struct vhost_vdpa_config: offset, length, bytes.
    let mut arg = [0u8; 16];
    arg[0] = 4;
    arg[4] = 8;
    let read = ioctl(&node, GET_CONFIG, arg).unwrap();
    assert_eq!(read[8..], [4, 5, 6, 7, 8, 9, 10, 11]);
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
    let path = node_of("d0");
    parent::forget();
    let node = open(&path).unwrap();
    assert!(!parent::calls("reset").is_empty(), "opening resets");
    for status in [1u8, 3] {
        ioctl(&node, SET_STATUS, [status]).unwrap();
        assert_eq!(ioctl(&node, GET_STATUS, [0]), Ok([status]));
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
            let node = open(&node_of("d0")).unwrap();
            assert_eq!(get_u32(&node, GET_DEVICE_ID), ID_NET);
            drop(node);
            drop(d);
        });
    }
    sys::rmmod_ok("vhost_vdpa");
}
