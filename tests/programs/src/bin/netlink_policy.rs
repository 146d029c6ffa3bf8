// SPDX-License-Identifier: GPL-2.0
//! Malformed attributes: every command and every dump refuses them alike, and
//! says which attribute it was.

use vdpa_test::genl::Ack;
use vdpa_test::ktap::case;
use vdpa_test::nl::*;
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, parent, Errno};

ktap_main!(
    wrong_lengths,
    wrong_values,
    attributes_without_policy,
    unknown_types,
    nested_flag,
    byte_order_flag_is_ignored,
    trailing_bytes,
    truncated_attributes,
    duplicates_last_one_wins,
    checked_before_anything_else,
    oversized_names_are_unknown,
);

const INVALID: &str = "Attribute failed policy validation";
const LENGTH: &str = "invalid attribute length";
const BINARY: &str = "binary attribute size out of range";
const RANGE: &str = "integer out of range";

/// Requests of every kind, complete but for what a test adds.
fn requests(v: &Vdpa) -> Vec<(String, Msg)> {
    let complete = |msg: Msg| {
        msg.attr_str(MGMT_NAME, "nobody")
            .attr_str(DEV_NAME, "nobody")
            .attr(QUEUE_INDEX, &0u32.to_ne_bytes())
    };
    let mut all: Vec<_> = (2..=8)
        .map(|cmd| (format!("command {cmd}"), complete(v.msg(cmd))))
        .collect();
    for cmd in [2, 5, 6] {
        all.push((format!("dump of command {cmd}"), complete(v.dump_msg(cmd))));
    }
    all
}

/// Sends every request with the addition; all answers must be the same.
fn each(what: &str, errno: Errno, text: &str, policy: bool, add: impl Fn(Msg) -> Msg) {
    let mut v = Vdpa::new();
    for (name, msg) in requests(&v) {
        case(format!("{what}: {name}"), || {
            let expected = Ack {
                errno,
                text: Some(text.into()),
                offset: Some(msg.bytes.len() as u32),
                missing: None,
                has_policy: policy,
            };
            assert_eq!(v.ack(&add(msg)), expected);
        });
    }
}

fn wrong_lengths() {
    let table: [(u16, &[usize], Errno, &str); 8] = [
        (BUS_NAME, &[0], Errno::EINVAL, INVALID),
        (MGMT_NAME, &[0], Errno::ERANGE, INVALID),
        (DEV_NAME, &[0], Errno::ERANGE, INVALID),
        (MAC, &[0, 5, 7, 100], Errno::ERANGE, BINARY),
        (MAX_VQP, &[0, 1, 3, 4], Errno::EINVAL, LENGTH),
        (MTU, &[0, 1, 4], Errno::EINVAL, LENGTH),
        (QUEUE_INDEX, &[0, 2, 5, 8], Errno::EINVAL, LENGTH),
        (FEATURES, &[0, 4, 7, 9], Errno::EINVAL, LENGTH),
    ];
    for (kind, lengths, errno, text) in table {
        for len in lengths {
            let what = format!("attribute {kind} of {len} bytes");
            each(&what, errno, text, true, |m| m.attr(kind, &vec![1; *len]));
        }
    }
}

fn wrong_values() {
    each("bus name without NUL", Errno::EINVAL, INVALID, true, |m| {
        m.attr(BUS_NAME, b"pci")
    });
    for mtu in [0u16, 67] {
        let what = format!("MTU {mtu}");
        each(&what, Errno::ERANGE, RANGE, true, |m| {
            m.attr(MTU, &mtu.to_ne_bytes())
        });
    }
}

fn attributes_without_policy() {
    let with = [
        BUS_NAME,
        MGMT_NAME,
        DEV_NAME,
        MAC,
        MAX_VQP,
        MTU,
        QUEUE_INDEX,
        FEATURES,
    ];
    for kind in (1..=ATTR_MAX).filter(|k| !with.contains(k)) {
        let what = format!("attribute {kind}");
        each(&what, Errno::EINVAL, "Unsupported attribute", false, |m| {
            m.attr(kind, &[0; 8])
        });
    }
}

fn unknown_types() {
    for kind in [0, 38, 39, 1000, 0x3fff] {
        let what = format!("type {kind}");
        each(&what, Errno::EINVAL, "Unknown attribute type", false, |m| {
            m.attr(kind, &[0; 4])
        });
    }
}

fn nested_flag() {
    let table: [(u16, &[u8]); 8] = [
        (BUS_NAME, b"x\0"),
        (MGMT_NAME, b"x\0"),
        (DEV_NAME, b"x\0"),
        (MAC, &[2; 6]),
        (MAX_VQP, &[1; 2]),
        (MTU, &[9; 2]),
        (QUEUE_INDEX, &[0; 4]),
        (FEATURES, &[0; 8]),
    ];
    for (kind, data) in table {
        let what = format!("attribute {kind}");
        each(
            &what,
            Errno::EINVAL,
            "NLA_F_NESTED not expected",
            true,
            |m| m.attr(kind | NLA_F_NESTED, data),
        );
    }
}

fn byte_order_flag_is_ignored() {
    let mut v = Vdpa::new();
    let msg = v.msg(CMD_DEV_GET).attr(DEV_NAME | 0x4000, b"nobody\0");
    v.ack(&msg)
        .expect(Errno::ENODEV, Some("vdpa: device not found"));
}

fn leftover(what: &str, bytes: &[u8]) {
    let mut v = Vdpa::new();
    for (name, msg) in requests(&v) {
        case(format!("{what}: {name}"), || {
            let text = "bytes leftover after parsing attributes";
            v.ack(&msg.raw(bytes)).expect(Errno::EINVAL, Some(text));
        });
    }
}

fn trailing_bytes() {
    for n in 1..4 {
        leftover(&format!("{n} bytes"), &vec![4; n]);
    }
}

fn truncated_attributes() {
    let header = |len: u16, kind: u16| [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    leftover("length below a header", &header(3, DEV_NAME));
    leftover("length 0", &header(0, DEV_NAME));
    leftover("one byte too long", &header(5, DEV_NAME));
    leftover(
        "far too long",
        &[header(0xffff, DEV_NAME), vec![b'x'; 8]].concat(),
    );
}

fn duplicates_last_one_wins() {
    let _m = parent::Mgmt::new("m0", "attrs=0x2400");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "real");
    let twice = |v: &Vdpa, a: &str, b: &str| {
        v.msg(CMD_DEV_GET)
            .attr_str(DEV_NAME, a)
            .attr_str(DEV_NAME, b)
    };
    case("names", || {
        let msg = twice(&v, "nobody", "real");
        assert_eq!(v.request(&msg).one().need(DEV_NAME).str(), "real");
        let msg = twice(&v, "real", "nobody");
        v.ack(&msg)
            .expect(Errno::ENODEV, Some("vdpa: device not found"));
    });
    case("a bad one before a good one is refused", || {
        let msg = v
            .msg(CMD_DEV_GET)
            .attr(DEV_NAME, b"")
            .attr_str(DEV_NAME, "real");
        v.ack(&msg).expect(Errno::ERANGE, Some(INVALID));
    });
    case("values", || {
        let mac = |b: u8| [2, 0, 0, 0, 0, b];
        let msg = v.new_msg("m0", "two").attr(MAC, &mac(1)).attr(MAC, &mac(2));
        let _d = v.add_by(&msg, "two");
        let call = parent::calls("dev_add").pop().unwrap();
        assert!(call.contains("mac=02:00:00:00:00:02"), "{call}");
    });
}

fn checked_before_anything_else() {
    let mut v = Vdpa::new();
    // Everything required is missing, and yet the malformed one is told.
    for cmd in 2..=8 {
        case(format!("command {cmd}"), || {
            let msg = v.msg(cmd).attr(MTU, &[0]);
            v.ack(&msg).expect(Errno::EINVAL, Some(LENGTH));
        });
    }
    case("nothing was made", || {
        let _m = parent::Mgmt::new("m0", "attrs=0x2000");
        let msg = v.new_msg("m0", "none").attr(MTU, &10u16.to_ne_bytes());
        v.ack(&msg).expect(Errno::ERANGE, Some(RANGE));
        assert_eq!(parent::calls("dev_add"), Vec::<String>::new());
    });
}

fn oversized_names_are_unknown() {
    let _m = parent::Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    for len in [256, 4096, 32768, 65000] {
        let long = "d".repeat(len);
        for cmd in [
            CMD_DEV_DEL,
            CMD_DEV_GET,
            CMD_DEV_CONFIG_GET,
            CMD_DEV_ATTR_SET,
        ] {
            case(format!("{len} bytes, command {cmd}"), || {
                let msg = v.about(cmd, &long);
                v.ack(&msg)
                    .expect(Errno::ENODEV, Some("vdpa: device not found"));
            });
        }
        case(format!("{len} bytes, management device"), || {
            let msg = v.msg(CMD_MGMTDEV_GET).attr_str(MGMT_NAME, &long);
            let text = "vdpa: Fail to find the specified mgmt device";
            v.ack(&msg).expect(Errno::ENODEV, Some(text));
        });
        case(format!("{len} bytes, bus"), || {
            let msg = v
                .msg(CMD_MGMTDEV_GET)
                .attr_str(BUS_NAME, &long)
                .attr_str(MGMT_NAME, "m0");
            v.ack(&msg).expect_errno(Errno::ENODEV);
        });
    }
}
