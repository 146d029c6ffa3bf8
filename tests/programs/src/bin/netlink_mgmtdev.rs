// SPDX-License-Identifier: GPL-2.0
//! MGMTDEV_GET: looking up and listing management devices.

use vdpa_test::ktap::case;
use vdpa_test::nl::*;
use vdpa_test::parent::Mgmt;
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    name_missing,
    not_found,
    contents,
    contents_with_bus,
    classes,
    one_name_on_several_buses,
    too_long_for_a_reply,
    dump_nothing,
    dump_in_order,
    dump_ignores_attributes,
    dump_of_three_hundred,
);

const NOT_FOUND: &str = "vdpa: Fail to find the specified mgmt device";

fn get_msg(v: &Vdpa, bus: Option<&str>, name: &str) -> Msg {
    let msg = v.msg(CMD_MGMTDEV_GET).attr_str(MGMT_NAME, name);
    match bus {
        Some(bus) => msg.attr_str(BUS_NAME, bus),
        None => msg,
    }
}

fn name_missing() {
    let _m = Mgmt::new("m0", "bus=faux");
    let mut v = Vdpa::new();
    let msg = v.msg(CMD_MGMTDEV_GET);
    v.ack(&msg).expect(Errno::EINVAL, Some(NOT_FOUND));
    let msg = v.msg(CMD_MGMTDEV_GET).attr_str(BUS_NAME, "faux");
    v.ack(&msg).expect(Errno::EINVAL, Some(NOT_FOUND));
}

fn not_found() {
    let (_a, _b) = (Mgmt::new("m0", ""), Mgmt::new("m1", "bus=faux"));
    let mut v = Vdpa::new();
    let table = [
        (None, "nobody"),
        (None, "m"),
        (None, "m00"),
        (None, "M0"),
        (None, "m1"),
        (Some("faux"), "m0"),
        (Some("fau"), "m1"),
        (Some("platform"), "m1"),
        (Some(""), "m0"),
        (Some(""), "m1"),
    ];
    for (bus, name) in table {
        case(format!("{}/{name}", bus.unwrap_or("no bus")), || {
            let msg = get_msg(&v, bus, name);
            v.ack(&msg).expect(Errno::ENODEV, Some(NOT_FOUND));
        });
    }
}

fn contents() {
    let features = 0x8000_0001_f0f0_1234u64;
    let _m = Mgmt::new("m0", &format!("features={features:#x} max_vqs=0xfffffffe"));
    let mut v = Vdpa::new();
    let msg = get_msg(&v, None, "m0");
    let r = v.request(&msg).one();
    assert_eq!((r.cmd, r.version, r.reserved), (CMD_MGMTDEV_NEW, 1, 0));
    assert_eq!((r.nl.kind, r.nl.flags), (v.family.id, 0));
    assert_eq!(r.nl.portid, v.socket.portid());
    assert_eq!(
        r.kinds(),
        [MGMT_NAME, CLASSES, MGMT_MAX_VQS, SUPPORTED_FEATURES]
    );
    assert_eq!(r.need(MGMT_NAME).str(), "m0");
    assert_eq!(r.need(CLASSES).u64(), 1 << 1);
    assert_eq!(r.need(MGMT_MAX_VQS).u32(), 0xffff_fffe);
    assert_eq!(r.need(SUPPORTED_FEATURES).u64(), features);
}

fn contents_with_bus() {
    for bus in ["faux", "platform"] {
        let _m = Mgmt::new("m0", &format!("bus={bus}"));
        let mut v = Vdpa::new();
        let msg = get_msg(&v, Some(bus), "m0");
        let r = v.request(&msg).one();
        let kinds = [
            BUS_NAME,
            MGMT_NAME,
            CLASSES,
            MGMT_MAX_VQS,
            SUPPORTED_FEATURES,
        ];
        assert_eq!(r.kinds(), kinds);
        assert_eq!(r.need(BUS_NAME).str(), bus);
        assert_eq!(r.need(MGMT_NAME).str(), "m0");
    }
}

fn classes() {
    let table = [
        ("1", 1 << 1),
        ("2", 1 << 2),
        ("1,2", (1 << 1) | (1 << 2)),
        ("2,1,26", (1 << 1) | (1 << 2) | (1 << 26)),
        ("63,1", (1 << 63) | (1 << 1)),
        ("64", 0),
        ("70,1000,2", 1 << 2),
        ("1,1", 1 << 1),
        ("", 0),
        // The table ends at the first 0.
        ("1,0,2", 1 << 1),
    ];
    for (ids, bitmap) in table {
        case(format!("ids {ids}"), || {
            let _m = Mgmt::new("m0", &format!("classes={ids}"));
            let mut v = Vdpa::new();
            let msg = get_msg(&v, None, "m0");
            assert_eq!(v.request(&msg).one().need(CLASSES).u64(), bitmap);
        });
    }
}

fn one_name_on_several_buses() {
    let _a = Mgmt::new("a@same", "classes=2");
    let _b = Mgmt::new("b@same", "classes=3 bus=faux");
    let _c = Mgmt::new("c@same", "classes=4 bus=platform");
    let mut v = Vdpa::new();
    for (bus, id) in [(None, 2), (Some("faux"), 3), (Some("platform"), 4)] {
        let msg = get_msg(&v, bus, "same");
        assert_eq!(
            v.request(&msg).one().need(CLASSES).u64(),
            1 << id,
            "{bus:?}"
        );
    }
}

fn too_long_for_a_reply() {
    let name = "n".repeat(3900);
    let _m = Mgmt::new(&name, "");
    let mut v = Vdpa::new();
    let msg = get_msg(&v, None, &name);
    v.ack(&msg).expect(Errno::EMSGSIZE, None);
}

fn dump_nothing() {
    sys::unload_all();
    assert!(Vdpa::new().dump(CMD_MGMTDEV_GET).is_empty());
}

fn dump_in_order() {
    let _m = [
        Mgmt::new("z", ""),
        Mgmt::new("a", "bus=faux"),
        Mgmt::new("m", "bus=platform classes=2"),
    ];
    let mut v = Vdpa::new();
    let replies = v.dump(CMD_MGMTDEV_GET);
    let names: Vec<_> = replies.iter().map(|r| r.need(MGMT_NAME).str()).collect();
    assert_eq!(names, ["z", "a", "m"], "in order of registration");
    for r in &replies {
        assert_eq!((r.cmd, r.nl.flags), (CMD_MGMTDEV_NEW, NLM_F_MULTI));
        assert_eq!(r.nl.portid, v.socket.portid());
    }
    assert_eq!(replies[0].get(BUS_NAME), None);
    assert_eq!(replies[1].need(BUS_NAME).str(), "faux");
}

fn dump_ignores_attributes() {
    let _m = [Mgmt::new("a", ""), Mgmt::new("b", "")];
    let mut v = Vdpa::new();
    let msg = v
        .dump_msg(CMD_MGMTDEV_GET)
        .attr_str(MGMT_NAME, "b")
        .attr_str(BUS_NAME, "pci");
    assert_eq!(v.request(&msg).all().len(), 2);
}

fn dump_of_three_hundred() {
    let names: Vec<_> = (0..300)
        .map(|n| format!("mgmt-device-number-{n:03}"))
        .collect();
    let _m: Vec<_> = names.iter().map(|n| Mgmt::new(n, "")).collect();
    let mut v = Vdpa::new();
    let msg = v.dump_msg(CMD_MGMTDEV_GET);
    let answer = v.socket.request_sized(&msg, 4096);
    assert!(answer.datagrams > 3, "only {} datagrams", answer.datagrams);
    let found: Vec<_> = answer
        .all()
        .iter()
        .map(|r| r.need(MGMT_NAME).str())
        .collect();
    assert_eq!(found, names);
}
