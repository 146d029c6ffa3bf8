// SPDX-License-Identifier: GPL-2.0
//! What users without CAP_NET_ADMIN may do: look, and nothing else.

use vdpa_test::ktap::case;
use vdpa_test::nl::*;
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, parent, user, Errno};

ktap_main!(
    ordinary_user,
    root_without_the_capability,
    root_of_a_user_namespace,
    socket_of_root_used_by_a_user,
    refused_before_attributes_are_read,
    with_the_capability,
);

const CHANGING: [u8; 4] = [
    CMD_DEV_NEW,
    CMD_DEV_DEL,
    CMD_DEV_VSTATS_GET,
    CMD_DEV_ATTR_SET,
];

fn complete(v: &Vdpa, cmd: u8) -> Msg {
    v.about(cmd, "d0")
        .attr_str(MGMT_NAME, "m0")
        .attr(QUEUE_INDEX, &0u32.to_ne_bytes())
        .attr(MAC, &[2, 0, 0, 0, 0, 1])
}

fn check_refused(v: &mut Vdpa) {
    for cmd in CHANGING {
        case(format!("command {cmd}: refused"), || {
            let msg = complete(v, cmd);
            v.ack(&msg).expect(Errno::EPERM, None);
        });
    }
}

fn check_may_look(v: &mut Vdpa) {
    case("may look at management devices", || {
        let msg = v.msg(CMD_MGMTDEV_GET).attr_str(MGMT_NAME, "m0");
        assert_eq!(v.request(&msg).one().need(MGMT_NAME).str(), "m0");
        let all = v.dump(CMD_MGMTDEV_GET);
        assert!(all.iter().any(|m| m.need(MGMT_NAME).str() == "m0"));
    });
    case("may look at devices", || {
        assert_eq!(v.get("d0").need(DEV_NAME).str(), "d0");
        assert_eq!(v.names(CMD_DEV_GET), ["d0"]);
    });
    case("may look at configurations", || {
        assert_eq!(v.config("d0").need(DEV_NAME).str(), "d0");
        assert_eq!(v.names(CMD_DEV_CONFIG_GET), ["d0"]);
    });
}

/// A device, and `body` as somebody else with a socket opened as such.
fn as_other(become_other: fn()) {
    let _m = parent::Mgmt::new("m0", "attrs=0x103400");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::clear_log();
    user::in_child(|| {
        become_other();
        v.socket = Socket::new();
        check_refused(&mut v);
        check_may_look(&mut v);
    });
    for op in ["dev_add", "dev_del", "dev_set_attr", "get_vendor_vq_stats"] {
        assert_eq!(parent::calls(op), Vec::<String>::new(), "calls of {op}");
    }
}

fn ordinary_user() {
    as_other(user::become_nobody);
}

fn root_without_the_capability() {
    as_other(user::drop_net_admin);
}

fn root_of_a_user_namespace() {
    as_other(user::enter_user_namespace);
}

fn socket_of_root_used_by_a_user() {
    let _m = parent::Mgmt::new("m0", "attrs=0x103400");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    user::in_child(|| {
        user::become_nobody();
        check_refused(&mut v);
    });
}

fn refused_before_attributes_are_read() {
    let mut v = Vdpa::new();
    user::in_child(|| {
        user::become_nobody();
        v.socket = Socket::new();
        for cmd in CHANGING {
            case(format!("command {cmd}"), || {
                let msg = v.msg(cmd).attr(1000, &[]).raw(&[1]);
                v.ack(&msg).expect(Errno::EPERM, None);
            });
        }
        case("a new command's header is looked at first", || {
            let msg = v.msg(CMD_DEV_ATTR_SET).set_reserved(1);
            v.ack(&msg)
                .expect(Errno::EINVAL, Some("genlmsghdr.reserved field is not 0"));
        });
    });
}

fn with_the_capability() {
    let _m = parent::Mgmt::new("m0", "attrs=0x103400");
    let mut v = Vdpa::new();
    let msg = complete(&v, CMD_DEV_NEW);
    let _d = v.add_by(&msg, "d0");
    let msg = complete(&v, CMD_DEV_ATTR_SET);
    v.ack(&msg).expect_ok();
    v.del("d0");
}
