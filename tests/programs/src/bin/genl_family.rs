// SPDX-License-Identifier: GPL-2.0
//! What the controller tells about the family, and requests to it that are
//! wrong before any attribute is looked at.

use vdpa_test::genl::*;
use vdpa_test::ktap::case;
use vdpa_test::nl::*;
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, parent, sys, user, Errno};

ktap_main!(
    properties,
    found_by_number,
    operations,
    policies,
    multicast_group,
    unknown_commands,
    dump_of_commands_without_one,
    reserved_field,
    flags_of_old_and_new_commands,
    version_is_ignored,
    short_messages,
    without_ack_flag,
    several_requests_in_one_datagram,
    other_network_namespace,
    loads_by_itself,
);

const ADMIN_PERM: u32 = 1;
const CAP_DO: u32 = 2;
const CAP_DUMP: u32 = 4;
const CAP_HASPOL: u32 = 8;

fn properties() {
    let f = Vdpa::new().family;
    assert_eq!(
        (f.name.as_str(), f.version, f.header_size, f.max_attr),
        ("vdpa", 1, 0, 37)
    );
}

fn found_by_number() {
    let f = Vdpa::new().family;
    let msg = Msg::genl(
        GENL_ID_CTRL,
        NLM_F_REQUEST | NLM_F_ACK,
        CTRL_CMD_GETFAMILY,
        2,
    )
    .attr(CTRL_ATTR_FAMILY_ID, &f.id.to_ne_bytes());
    assert_eq!(Family::parse(&Socket::new().request(&msg).one()), f);
}

fn operations() {
    let both = CAP_DO | CAP_DUMP | CAP_HASPOL;
    let admin = ADMIN_PERM | CAP_DO | CAP_HASPOL;
    let expected = [
        (2, both),
        (3, admin),
        (4, admin),
        (5, both),
        (6, both),
        (7, admin),
        (8, admin),
    ];
    assert_eq!(Vdpa::new().family.ops, expected, "(command, flags)");
}

const TYPE_U16: u32 = 3;
const TYPE_U32: u32 = 4;
const TYPE_U64: u32 = 5;
const TYPE_BINARY: u32 = 10;
const TYPE_STRING: u32 = 11;
const TYPE_NUL_STRING: u32 = 12;

const POLICY_TYPE: u16 = 1;
const POLICY_MIN: u16 = 4;
const POLICY_MAX: u16 = 5;
const POLICY_MIN_LENGTH: u16 = 6;
const POLICY_MAX_LENGTH: u16 = 7;

fn policies() {
    let f = Vdpa::new().family;
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_DUMP;
    let msg = Msg::genl(GENL_ID_CTRL, flags, CTRL_CMD_GETPOLICY, 2)
        .attr(CTRL_ATTR_FAMILY_ID, &f.id.to_ne_bytes());
    let mut found = std::collections::BTreeMap::new();
    for reply in Socket::new().request(&msg).all() {
        for policy in reply
            .get(CTRL_ATTR_POLICY)
            .map(Attr::nested)
            .unwrap_or_default()
        {
            for attr in policy.nested() {
                found.insert(attr.kind, attr.nested());
            }
        }
    }
    let kinds: Vec<_> = found.keys().copied().collect();
    assert_eq!(
        kinds,
        [1, 2, 4, 10, 12, 13, 17, 20],
        "attributes with a policy"
    );
    let get = |attr: u16, what| found[&attr].iter().find(|a| a.kind == what);
    let types = [
        (1, TYPE_NUL_STRING),
        (2, TYPE_STRING),
        (4, TYPE_STRING),
        (10, TYPE_BINARY),
        (12, TYPE_U16),
        (13, TYPE_U16),
        (17, TYPE_U32),
        (20, TYPE_U64),
    ];
    for (attr, kind) in types {
        case(format!("type of attribute {attr}"), || {
            assert_eq!(get(attr, POLICY_TYPE).map(Attr::u32), Some(kind));
        });
    }
    case("length of the MAC address", || {
        assert_eq!(get(10, POLICY_MIN_LENGTH).map(Attr::u32), Some(6));
        assert_eq!(get(10, POLICY_MAX_LENGTH).map(Attr::u32), Some(6));
    });
    case("range of the MTU", || {
        assert_eq!(get(13, POLICY_MIN).map(Attr::u64), Some(68));
        assert_eq!(get(13, POLICY_MAX).map(Attr::u64), Some(0xffff));
    });
}

fn multicast_group() {
    let names: Vec<_> = Vdpa::new().family.groups.into_iter().map(|g| g.0).collect();
    assert_eq!(names, ["monitor"]);
}

fn unknown_commands() {
    let mut v = Vdpa::new();
    for cmd in [0, CMD_MGMTDEV_NEW, 9, 10, 100, 255] {
        case(format!("command {cmd}"), || {
            let msg = v.msg(cmd);
            v.ack(&msg).expect(Errno::EOPNOTSUPP, None);
            let msg = v.dump_msg(cmd);
            v.ack(&msg).expect(Errno::EOPNOTSUPP, None);
        });
    }
}

fn dump_of_commands_without_one() {
    let mut v = Vdpa::new();
    for cmd in [
        CMD_DEV_NEW,
        CMD_DEV_DEL,
        CMD_DEV_VSTATS_GET,
        CMD_DEV_ATTR_SET,
    ] {
        case(format!("command {cmd}"), || {
            let msg = v.dump_msg(cmd).attr_str(DEV_NAME, "x");
            v.ack(&msg).expect(Errno::EOPNOTSUPP, None);
        });
    }
}

/// A request about a device that is not there, so that getting that far shows.
fn about_nobody(v: &Vdpa, cmd: u8) -> Msg {
    let msg = v
        .about(cmd, "nobody")
        .attr(QUEUE_INDEX, &0u32.to_ne_bytes());
    msg.attr_str(MGMT_NAME, "nobody")
}

fn reserved_field() {
    let mut v = Vdpa::new();
    for cmd in [2, 3, 4, 5, 6, 7] {
        case(format!("command {cmd}: ignored"), || {
            let msg = about_nobody(&v, cmd).set_reserved(0x1234);
            v.ack(&msg).expect_errno(Errno::ENODEV);
        });
    }
    for cmd in [8, 9, 255] {
        case(format!("command {cmd}: must be 0"), || {
            let msg = about_nobody(&v, cmd).set_reserved(1);
            v.ack(&msg)
                .expect(Errno::EINVAL, Some("genlmsghdr.reserved field is not 0"));
        });
    }
}

fn flags_of_old_and_new_commands() {
    let mut v = Vdpa::new();
    for flag in [0x20, 0x40, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x8000] {
        case(format!("flag {flag:#x}"), || {
            let msg = about_nobody(&v, CMD_DEV_DEL);
            let msg = msg.clone().set_flags(msg.flags() | flag);
            v.ack(&msg)
                .expect(Errno::ENODEV, Some("vdpa: device not found"));
            let msg = about_nobody(&v, CMD_DEV_ATTR_SET);
            let msg = msg.clone().set_flags(msg.flags() | flag);
            let text = "ambiguous or reserved bits set in nlmsg_flags";
            v.ack(&msg).expect(Errno::EINVAL, Some(text));
        });
    }
    case("NLM_F_ECHO is known", || {
        let msg = about_nobody(&v, CMD_DEV_ATTR_SET);
        let msg = msg.clone().set_flags(msg.flags() | NLM_F_ECHO);
        v.ack(&msg)
            .expect(Errno::ENODEV, Some("vdpa: device not found"));
    });
}

fn version_is_ignored() {
    let mut v = Vdpa::new();
    for version in [0, 2, 255] {
        let msg = Msg::genl(v.family.id, NLM_F_REQUEST | NLM_F_ACK, CMD_DEV_GET, version)
            .attr_str(DEV_NAME, "nobody");
        v.ack(&msg)
            .expect(Errno::ENODEV, Some("vdpa: device not found"));
    }
}

fn short_messages() {
    let mut v = Vdpa::new();
    for n in 0..4 {
        for flags in [
            NLM_F_REQUEST | NLM_F_ACK,
            NLM_F_REQUEST | NLM_F_ACK | NLM_F_DUMP,
        ] {
            case(
                format!("{n} of 4 bytes of generic netlink header, flags {flags:#x}"),
                || {
                    let header = [CMD_DEV_GET, 1, 0, 0];
                    let msg = Msg::new(v.family.id, flags).raw(&header[..n]);
                    v.ack(&msg).expect(Errno::EINVAL, None);
                },
            );
        }
    }
}

fn without_ack_flag() {
    let mut v = Vdpa::new();
    case("failure is told", || {
        let msg = v.about(CMD_DEV_DEL, "nobody").set_flags(NLM_F_REQUEST);
        v.ack(&msg)
            .expect(Errno::ENODEV, Some("vdpa: device not found"));
    });
    case("success is silent", || {
        let _m = parent::Mgmt::new("m0", "");
        let msg = v.new_msg("m0", "quiet").set_flags(NLM_F_REQUEST);
        v.socket.send(&msg);
        assert!(
            sys::device_path("quiet").exists(),
            "the device is there when send returns"
        );
        let msg = v.about(CMD_DEV_DEL, "quiet");
        v.ack(&msg).expect_ok();
    });
}

fn several_requests_in_one_datagram() {
    let _m = parent::Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let mut all = Vec::new();
    for (seq, msg) in [
        v.new_msg("m0", "a"),
        v.new_msg("m0", "b"),
        v.about(CMD_DEV_DEL, "a"),
    ]
    .iter()
    .enumerate()
    {
        let mut msg = msg.clone();
        msg.set_seq(seq as u32 + 1);
        all.extend_from_slice(&msg.bytes);
    }
    v.socket.send_raw(&all);
    for seq in 1..=3 {
        v.socket.collect(seq, BIG).ack.expect_ok();
    }
    assert_eq!(sys::devices(), ["b"]);
    v.del("b");
}

fn other_network_namespace() {
    let mut v = Vdpa::new();
    user::in_child(|| {
        user::enter_net_namespace();
        v.socket = Socket::new();
        for cmd in [2, 3, 4, 5, 6, 7, 8, 9] {
            case(format!("command {cmd}"), || {
                let msg = about_nobody(&v, cmd);
                v.ack(&msg).expect(Errno::ENOENT, None);
            });
        }
        for cmd in [2, 5, 6] {
            case(format!("dump of command {cmd}"), || {
                let msg = v.dump_msg(cmd);
                v.ack(&msg).expect(Errno::ENOENT, None);
            });
        }
        case("the controller does not know it", || {
            assert_eq!(Family::find("vdpa"), Err(Errno::ENOENT));
        });
    });
}

fn loads_by_itself() {
    sys::unload_all();
    assert!(!sys::is_loaded("vdpa"), "vdpa could not be unloaded");
    let family = Family::find("vdpa");
    assert_eq!(family.map(|f| f.name), Ok("vdpa".to_string()));
    assert!(sys::is_loaded("vdpa"));
}
