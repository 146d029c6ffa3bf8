// SPDX-License-Identifier: GPL-2.0
//! DEV_GET of one device.

use vdpa_test::parent::{self, Mgmt, Unmanaged};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, Errno};

ktap_main!(
    name_missing,
    not_found,
    unmanaged,
    unmanaged_text,
    contents,
    contents_with_bus,
    least_queue_size_without_the_operation,
    operations_used,
    simulators,
);

fn name_missing() {
    let mut v = Vdpa::new();
    let msg = v.msg(CMD_DEV_GET);
    v.ack(&msg).expect(Errno::EINVAL, None);
}

fn not_found() {
    let mut v = Vdpa::new();
    let msg = v.about(CMD_DEV_GET, "nobody");
    v.ack(&msg)
        .expect(Errno::ENODEV, Some("vdpa: device not found"));
}

fn unmanaged() {
    let _u = Unmanaged::new("solo", "");
    let mut v = Vdpa::new();
    let msg = v.about(CMD_DEV_GET, "solo");
    v.ack(&msg).expect_errno(Errno::EINVAL);
}

fn unmanaged_text() {
    let _u = Unmanaged::new("solo", "");
    let mut v = Vdpa::new();
    let msg = v.about(CMD_DEV_GET, "solo");
    v.ack(&msg)
        .expect(Errno::EINVAL, Some("vdpa: unmanaged vdpa device"));
}

const ODD_DEVICE: &str = "dev.id=26 dev.vendor=0xdeadbeef dev.nvqs=0x87654321 dev.num_max=0xfffe \
                          dev.num_min=0x0102";

const KINDS: [u16; 7] = [
    MGMT_NAME,
    DEV_NAME,
    DEV_ID,
    VENDOR_ID,
    MAX_VQS,
    MAX_VQ_SIZE,
    MIN_VQ_SIZE,
];

fn contents() {
    let _m = Mgmt::new("m0", ODD_DEVICE);
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let r = v.get("d0");
    assert_eq!((r.cmd, r.version, r.reserved), (CMD_DEV_NEW, 1, 0));
    assert_eq!(
        (r.nl.kind, r.nl.flags, r.nl.portid),
        (v.family.id, 0, v.socket.portid())
    );
    assert_eq!(r.kinds(), KINDS);
    assert_eq!(r.need(MGMT_NAME).str(), "m0");
    assert_eq!(r.need(DEV_NAME).str(), "d0");
    assert_eq!(r.need(DEV_ID).u32(), 26);
    assert_eq!(r.need(VENDOR_ID).u32(), 0xdead_beef);
    assert_eq!(r.need(MAX_VQS).u32(), 0x8765_4321);
    assert_eq!(r.need(MAX_VQ_SIZE).u16(), 0xfffe);
    assert_eq!(r.need(MIN_VQ_SIZE).u16(), 0x0102);
}

fn contents_with_bus() {
    let _m = Mgmt::new("m0", "bus=faux");
    let mut v = Vdpa::new();
    let _d = v.add("faux/m0", "d0");
    let r = v.get("d0");
    assert_eq!(r.kinds(), [&[BUS_NAME], KINDS.as_slice()].concat());
    assert_eq!(r.need(BUS_NAME).str(), "faux");
}

fn least_queue_size_without_the_operation() {
    let _m = Mgmt::new("m0", "dev.num_min=9 dev.without=get_vq_num_min");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    assert_eq!(v.get("d0").need(MIN_VQ_SIZE).u16(), 1);
}

fn operations_used() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::clear_log();
    v.get("d0");
    let mut ops = parent::ops_of("d0");
    ops.sort();
    assert_eq!(
        ops,
        [
            "get_device_id",
            "get_vendor_id",
            "get_vq_num_max",
            "get_vq_num_min"
        ]
    );
    for line in parent::log() {
        assert!(line.contains(" cf=-"), "no cf_lock is held: {line}");
    }
}

fn simulators() {
    use vdpa_test::sys;
    sys::modprobe("vdpa_sim_net");
    sys::modprobe("vdpa_sim_blk");
    let mut v = Vdpa::new();
    for (mgmt, id, vqs) in [("vdpasim_net", ID_NET, 3), ("vdpasim_blk", ID_BLOCK, 1)] {
        let _d = v.add(mgmt, "sim0");
        let r = v.get("sim0");
        assert_eq!(r.kinds(), KINDS);
        assert_eq!(r.need(DEV_ID).u32(), id);
        assert_eq!(r.need(VENDOR_ID).u32(), 0);
        assert_eq!(r.need(MAX_VQS).u32(), vqs);
        assert_eq!(r.need(MAX_VQ_SIZE).u16(), 256);
        assert_eq!(r.need(MIN_VQ_SIZE).u16(), 1);
    }
    // The lookup is exact.
    let msg = v.msg(CMD_DEV_GET).attr(DEV_NAME, b"sim0\0");
    v.ack(&msg).expect_errno(Errno::ENODEV);
}
