// SPDX-License-Identifier: GPL-2.0
//! Names of devices.

use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt, Unmanaged};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    up_to_255_bytes,
    beyond_255_bytes,
    empty,
    empty_has_a_text,
    dots,
    slash,
    odd_bytes,
    end_at_the_first_nul,
    without_nul,
    without_nul_elsewhere,
    management_device_without_nul,
    exact,
    default_name,
    default_name_taken,
);

fn up_to_255_bytes() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    for len in [1, 2, 31, 64, 254, 255] {
        case(format!("{len} bytes"), || {
            let name = "n".repeat(len);
            let _d = v.add("m0", &name);
            assert_eq!(sys::devices(), [name.as_str()]);
            assert_eq!(v.get(&name).need(DEV_NAME).str(), name);
            assert_eq!(v.names(CMD_DEV_GET), [name.as_str()]);
            assert_eq!(v.names(CMD_DEV_CONFIG_GET), [name.as_str()]);
            v.del(&name);
        });
    }
}

fn beyond_255_bytes() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    for len in [256, 300, 3000, 4000, 60000] {
        for nul in [true, false] {
            case(format!("{len} bytes, NUL: {nul}"), || {
                let mut name = "n".repeat(len);
                if nul {
                    name.push('\0');
                }
                let msg = v.msg(CMD_DEV_NEW).attr_str(MGMT_NAME, "m0");
                let ack = v.ack(&msg.attr(DEV_NAME, name.as_bytes()));
                assert_eq!(ack.errno, Errno::ENAMETOOLONG);
                assert!(ack.text.is_some(), "a text says why");
            });
        }
    }
    assert_eq!(parent::calls("dev_add"), Vec::<String>::new());
}

fn new_empty() -> vdpa_test::genl::Ack {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let msg = v.new_msg("m0", "");
    let ack = v.ack(&msg);
    assert_eq!(sys::devices(), Vec::<String>::new());
    parent::assert_live(0);
    ack
}

fn empty() {
    new_empty().expect_errno(Errno::EINVAL);
}

fn empty_has_a_text() {
    assert!(new_empty().text.is_some());
    assert_eq!(parent::calls("dev_add"), Vec::<String>::new());
}

fn dots() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    for name in [".", ".."] {
        case(format!("'{name}'"), || {
            let msg = v.new_msg("m0", name);
            let ack = v.ack(&msg);
            assert_eq!(ack.errno, Errno::EINVAL);
            assert!(ack.text.is_some(), "a text says why");
        });
    }
    case("'...' and '.a' are names", || {
        for name in ["...", ".a"] {
            let _d = v.add("m0", name);
            assert_eq!(sys::devices(), [name]);
        }
    });
}

fn slash() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let msg = v.new_msg("m0", "a/b/");
    let d = v.add_by(&msg, "a!b!");
    assert_eq!(sys::devices(), ["a!b!"]);
    assert_eq!(v.get("a!b!").need(DEV_NAME).str(), "a!b!");
    let msg = v.about(CMD_DEV_GET, "a/b/");
    v.ack(&msg)
        .expect(Errno::ENODEV, Some("vdpa: device not found"));
    for twin in ["a/b/", "a!b!", "a!b/"] {
        let msg = v.new_msg("m0", twin);
        v.ack(&msg).expect(Errno::EEXIST, None);
    }
    v.try_del("a/b/").expect_errno(Errno::ENODEV);
    v.del("a!b!");
    drop(d);
    let msg = v.new_msg("m0", "/");
    let _d = v.add_by(&msg, "!");
    assert_eq!(sys::devices(), ["!"]);
}

fn odd_bytes() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    for name in [
        "%s%n%d%p",
        "two words",
        "line\nbreak",
        "\u{fc}\u{1f980}",
        "\x01\x7f",
        "-",
        "'\"\\$`",
    ] {
        case(format!("{name:?}"), || {
            let _d = v.add("m0", name);
            assert_eq!(sys::devices(), [name]);
            assert_eq!(v.get(name).need(DEV_NAME).str(), name);
            assert_eq!(v.names(CMD_DEV_GET), [name]);
        });
    }
    case("no UTF-8", || {
        let msg = v
            .msg(CMD_DEV_NEW)
            .attr_str(MGMT_NAME, "m0")
            .attr(DEV_NAME, b"\xff\xfe\0");
        v.ack(&msg).expect_ok();
        let msg = v.msg(CMD_DEV_GET).attr(DEV_NAME, b"\xff\xfe\0");
        assert_eq!(v.request(&msg).one().need(DEV_NAME).data, b"\xff\xfe\0");
        let msg = v.msg(CMD_DEV_DEL).attr(DEV_NAME, b"\xff\xfe\0");
        v.ack(&msg).expect_ok();
    });
}

fn end_at_the_first_nul() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let msg = v
        .msg(CMD_DEV_NEW)
        .attr(MGMT_NAME, b"m0\0rest")
        .attr(DEV_NAME, b"ab\0cd\0");
    let _d = v.add_by(&msg, "ab");
    assert_eq!(sys::devices(), ["ab"]);
    let msg = v.msg(CMD_DEV_GET).attr(DEV_NAME, b"ab\0\0\0\0\0\0\0");
    assert_eq!(v.request(&msg).one().need(DEV_NAME).data, b"ab\0");
}

/// Names without NUL whose attribute needs no padding: behind the last byte
/// stands the header of the next attribute.
fn without_nul() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let msg = v
        .msg(CMD_DEV_NEW)
        .attr(DEV_NAME, b"four")
        .attr_str(MGMT_NAME, "m0");
    v.ack(&msg).expect_ok();
    assert_eq!(sys::devices(), ["four"]);
    v.del("four");
}

fn without_nul_elsewhere() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "four");
    let index = 0u32.to_ne_bytes();
    case("DEV_GET", || {
        let msg = v
            .msg(CMD_DEV_GET)
            .attr(DEV_NAME, b"four")
            .attr(QUEUE_INDEX, &index);
        assert_eq!(v.request(&msg).one().need(DEV_NAME).str(), "four");
    });
    case("DEV_CONFIG_GET", || {
        let msg = v
            .msg(CMD_DEV_CONFIG_GET)
            .attr(DEV_NAME, b"four")
            .attr(QUEUE_INDEX, &index);
        assert_eq!(v.request(&msg).one().need(DEV_NAME).str(), "four");
    });
    case("DEV_VSTATS_GET", || {
        let msg = v
            .msg(CMD_DEV_VSTATS_GET)
            .attr(DEV_NAME, b"four")
            .attr(QUEUE_INDEX, &index);
        v.ack(&msg).expect_errno(Errno::EAGAIN);
    });
    case("DEV_ATTR_SET", || {
        let msg = v
            .msg(CMD_DEV_ATTR_SET)
            .attr(DEV_NAME, b"four")
            .attr(MAC, &[2, 0, 0, 0, 0, 1]);
        v.ack(&msg).expect_ok();
    });
    case("DEV_DEL", || {
        let msg = v
            .msg(CMD_DEV_DEL)
            .attr(DEV_NAME, b"four")
            .attr(QUEUE_INDEX, &index);
        v.ack(&msg).expect_ok();
    });
}

fn management_device_without_nul() {
    let _m = Mgmt::new("mgmt", "");
    let mut v = Vdpa::new();
    let msg = v
        .msg(CMD_MGMTDEV_GET)
        .attr(MGMT_NAME, b"mgmt")
        .attr(QUEUE_INDEX, &[1; 4]);
    assert_eq!(v.request(&msg).one().need(MGMT_NAME).str(), "mgmt");
    let msg = v
        .msg(CMD_DEV_NEW)
        .attr(MGMT_NAME, b"mgmt")
        .attr_str(DEV_NAME, "d0");
    let _d = v.add_by(&msg, "d0");
}

fn exact() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = ["a", "aa", "A", "a b"].map(|n| v.add("m0", n));
    for n in ["a", "aa", "A", "a b"] {
        assert_eq!(v.get(n).need(DEV_NAME).str(), n);
    }
    v.del("a");
    assert_eq!(sys::devices(), ["A", "a b", "aa"]);
}

fn default_name() {
    sys::unload_all();
    let _u = [Unmanaged::new("-", ""), Unmanaged::new("-", "")];
    assert_eq!(sys::devices(), ["vdpa0", "vdpa1"]);
    parent::control("dev-del vdpa0");
    assert_eq!(sys::devices(), ["vdpa1"]);
    parent::assert_live(1);
    parent::control("dev-add -");
    assert_eq!(
        sys::devices(),
        ["vdpa0", "vdpa1"],
        "the number is used again"
    );
    parent::control("dev-del vdpa0");
    parent::control("dev-del vdpa1");
}

fn default_name_taken() {
    sys::unload_all();
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    // This one has number 0, so the next has number 1.
    let _d = v.add("m0", "vdpa1");
    assert_eq!(parent::try_control("dev-add -"), Errno::EEXIST);
    assert_eq!(sys::devices(), ["vdpa1"]);
}
