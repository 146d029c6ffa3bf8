// SPDX-License-Identifier: GPL-2.0
//! DEV_DEL.

use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt, Unmanaged};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    name_missing,
    not_found,
    unmanaged,
    deletes,
    other_attributes_do_not_matter
);

fn name_missing() {
    let mut v = Vdpa::new();
    let msg = v.msg(CMD_DEV_DEL).attr_str(MGMT_NAME, "m0");
    v.ack(&msg).expect(Errno::EINVAL, None);
}

fn not_found() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    for name in ["nobody", "d", "d00", "D0", "d0 "] {
        case(name, || {
            v.try_del(name)
                .expect(Errno::ENODEV, Some("vdpa: device not found"));
        });
    }
}

fn unmanaged() {
    let u = Unmanaged::new("solo", "");
    let text = "vdpa: Only user created device can be deleted by user";
    Vdpa::new()
        .try_del("solo")
        .expect(Errno::EINVAL, Some(text));
    assert_eq!(sys::devices(), ["solo"]);
    drop(u);
}

fn deletes() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::clear_log();
    v.del("d0");
    assert_eq!(sys::devices(), Vec::<String>::new());
    parent::assert_live(0);
    let mut ops = parent::ops_of("d0");
    // Who tells of the removal may look at the device.
    ops.retain(|o| !o.starts_with("get_"));
    assert_eq!(ops, ["dev_del", "dev_deleted", "free"]);
    v.try_del("d0")
        .expect(Errno::ENODEV, Some("vdpa: device not found"));
    let _d = v.add("m0", "d0");
}

fn other_attributes_do_not_matter() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let msg = v
        .about(CMD_DEV_DEL, "d0")
        .attr_str(BUS_NAME, "pci")
        .attr_str(MGMT_NAME, "nobody")
        .attr(MAX_VQP, &0u16.to_ne_bytes());
    v.ack(&msg).expect_ok();
}
