// SPDX-License-Identifier: GPL-2.0
//! A missing attribute is named in the extended acknowledgement.

use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, parent, Errno};

ktap_main!(
    management_device_to_get,
    device_to_make,
    management_device_to_make_by,
    device_to_delete,
    device_to_get,
    device_to_configure,
    device_for_statistics,
    queue_for_statistics,
    device_to_change,
);

#[track_caller]
fn check(cmd: u8, given: &[u16], missing: u16) {
    let _m = parent::Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let mut msg = v.msg(cmd);
    for kind in given {
        msg = if *kind == QUEUE_INDEX {
            msg.attr(*kind, &0u32.to_ne_bytes())
        } else {
            msg.attr_str(*kind, "m0")
        };
    }
    let ack = v.ack(&msg);
    assert_eq!(
        (ack.errno, ack.missing),
        (Errno::EINVAL, Some(u32::from(missing)))
    );
}

fn management_device_to_get() {
    check(CMD_MGMTDEV_GET, &[], MGMT_NAME);
}

fn device_to_make() {
    check(CMD_DEV_NEW, &[MGMT_NAME], DEV_NAME);
}

fn management_device_to_make_by() {
    check(CMD_DEV_NEW, &[DEV_NAME], MGMT_NAME);
}

fn device_to_delete() {
    check(CMD_DEV_DEL, &[], DEV_NAME);
}

fn device_to_get() {
    check(CMD_DEV_GET, &[], DEV_NAME);
}

fn device_to_configure() {
    check(CMD_DEV_CONFIG_GET, &[], DEV_NAME);
}

fn device_for_statistics() {
    check(CMD_DEV_VSTATS_GET, &[QUEUE_INDEX], DEV_NAME);
}

fn queue_for_statistics() {
    check(CMD_DEV_VSTATS_GET, &[DEV_NAME], QUEUE_INDEX);
}

fn device_to_change() {
    check(CMD_DEV_ATTR_SET, &[], DEV_NAME);
}
