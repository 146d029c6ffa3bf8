// SPDX-License-Identifier: GPL-2.0
//! DEV_ATTR_SET: changing the MAC address.

use vdpa_test::ktap::case;
use vdpa_test::nl::*;
use vdpa_test::parent::{self, Mgmt, Unmanaged};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    name_missing,
    not_found,
    unmanaged,
    nothing_to_set,
    invalid_mac,
    operation_missing,
    order_of_checks,
    sets_the_mac,
    errors_of_the_parent,
    class_of_the_management_device_decides,
    not_a_network_device,
    other_attributes_alone,
    other_attributes_besides,
    simulator,
);

const MAC_BYTES: [u8; 6] = [2, 0, 0, 0, 0, 9];
const INVALID: &str = "vdpa: Invalid MAC address";

fn set(v: &Vdpa, device: &str, mac: [u8; 6]) -> Msg {
    v.about(CMD_DEV_ATTR_SET, device).attr(MAC, &mac)
}

fn name_missing() {
    let mut v = Vdpa::new();
    let msg = v.msg(CMD_DEV_ATTR_SET).attr(MAC, &MAC_BYTES);
    v.ack(&msg).expect(Errno::EINVAL, None);
}

fn not_found() {
    let mut v = Vdpa::new();
    let msg = set(&v, "nobody", [0; 6]);
    v.ack(&msg)
        .expect(Errno::ENODEV, Some("vdpa: device not found"));
}

fn unmanaged() {
    let _u = Unmanaged::new("solo", "");
    let mut v = Vdpa::new();
    let msg = set(&v, "solo", MAC_BYTES);
    v.ack(&msg)
        .expect(Errno::EINVAL, Some("vdpa: unmanaged vdpa device"));
}

fn nothing_to_set() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let msg = v.about(CMD_DEV_ATTR_SET, "d0");
    v.ack(&msg).expect_errno(Errno::EOPNOTSUPP);
    assert_eq!(parent::calls("dev_set_attr"), Vec::<String>::new());
}

fn invalid_mac() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    for mac in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [3, 0, 0, 0, 0, 0]] {
        case(format!("{mac:02x?}"), || {
            let msg = set(&v, "d0", mac);
            v.ack(&msg).expect(Errno::EOPNOTSUPP, Some(INVALID));
        });
    }
    assert_eq!(parent::calls("dev_set_attr"), Vec::<String>::new());
}

fn operation_missing() {
    let _m = Mgmt::new("m0", "set_attr=0");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let msg = set(&v, "d0", MAC_BYTES);
    let text = "vdpa: Operation not supported by the device.";
    v.ack(&msg).expect(Errno::EOPNOTSUPP, Some(text));
}

fn order_of_checks() {
    let mut v = Vdpa::new();
    let _m = Mgmt::new("m0", "set_attr=0");
    let _d = v.add("m0", "d0");
    let msg = set(&v, "d0", [0; 6]);
    v.ack(&msg).expect(Errno::EOPNOTSUPP, Some(INVALID));
}

fn sets_the_mac() {
    // Whether it can be given when a device is made does not matter.
    let _m = Mgmt::new("m0", "attrs=0 dev.features=0x300000020");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::clear_log();
    let msg = set(&v, "d0", MAC_BYTES);
    v.ack(&msg).expect_ok();
    let expected = "dev_set_attr d0 cf=w mask=0x400 mac=02:00:00:00:00:09 features=0x0 mtu=0 vqp=0";
    assert_eq!(parent::log(), [expected]);
    assert_eq!(v.config("d0").need(MAC).data, MAC_BYTES);
}

fn errors_of_the_parent() {
    let m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    for errno in [Errno::EBUSY, Errno::EIO, Errno::EXDEV] {
        case(format!("{errno:?}"), || {
            m.set(&format!("dev.set_attr_error={}", errno.0));
            let _d = v.add("m0", "d0");
            let msg = set(&v, "d0", MAC_BYTES);
            v.ack(&msg).expect(errno, None);
        });
    }
}

fn class_of_the_management_device_decides() {
    // A block device of a parent that makes both.
    let _m = Mgmt::new("m0", "classes=2,1 dev.id=2");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let msg = set(&v, "d0", MAC_BYTES);
    v.ack(&msg).expect_ok();
}

fn not_a_network_device() {
    let _m = Mgmt::new("m0", "classes=2 dev.id=2");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    for (what, msg) in [
        ("MAC", set(&v, "d0", MAC_BYTES)),
        ("nothing", v.about(CMD_DEV_ATTR_SET, "d0")),
    ] {
        case(what, || {
            let text = "vdpa: d0 device not supported";
            v.ack(&msg).expect(Errno::EOPNOTSUPP, Some(text));
        });
    }
    assert_eq!(parent::calls("dev_set_attr"), Vec::<String>::new());
}

fn not_supported(v: &mut Vdpa, msg: &Msg, mask: u64) {
    let text = format!("vdpa: Some provided attributes are not supported: {mask:#x}");
    v.ack(msg).expect(Errno::EOPNOTSUPP, Some(&text));
    assert_eq!(parent::calls("dev_set_attr"), Vec::<String>::new());
}

fn other_attributes_alone() {
    let _m = Mgmt::new("m0", "attrs=0x103400");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let base = v.about(CMD_DEV_ATTR_SET, "d0");
    let table = [
        (base.clone().attr(MTU, &1500u16.to_ne_bytes()), 1 << 13),
        (base.clone().attr(MAX_VQP, &1u16.to_ne_bytes()), 1 << 12),
        (base.clone().attr(FEATURES, &0u64.to_ne_bytes()), 1 << 20),
    ];
    for (msg, mask) in table {
        case(format!("{mask:#x}"), || not_supported(&mut v, &msg, mask));
    }
}

fn other_attributes_besides() {
    let _m = Mgmt::new("m0", "attrs=0x103400");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let base = set(&v, "d0", MAC_BYTES);
    let mtu = base.clone().attr(MTU, &1500u16.to_ne_bytes());
    case("MTU", || not_supported(&mut v, &mtu, 1 << 13));
    let all = mtu
        .attr(MAX_VQP, &1u16.to_ne_bytes())
        .attr(FEATURES, &0u64.to_ne_bytes());
    case("all", || not_supported(&mut v, &all, 0x10_3000));
}

fn simulator() {
    sys::modprobe("vdpa_sim_net");
    sys::modprobe("vdpa_sim_blk");
    let mut v = Vdpa::new();
    let _d = v.add("vdpasim_net", "s");
    assert_eq!(v.config("s").need(MAC).data, [0; 6]);
    let msg = set(&v, "s", MAC_BYTES);
    v.ack(&msg).expect_ok();
    assert_eq!(v.config("s").need(MAC).data, MAC_BYTES);
}
