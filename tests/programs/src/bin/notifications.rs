// SPDX-License-Identifier: GPL-2.0
//! The multicast group "monitor": devices that come, go and change.

use std::time::Duration;

use vdpa_test::genl::Reply;
use vdpa_test::ktap::case;
use vdpa_test::nl::*;
use vdpa_test::parent::{self, Mgmt, Unmanaged};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, user, Errno};

ktap_main!(
    new_device,
    deleted_device,
    deleted_device_of_a_bus,
    changed_device,
    nothing_without_a_change,
    unmanaged_devices_are_not_told,
    devices_of_a_management_device_that_goes,
    devices_of_a_module_that_goes,
    order,
    simulator,
    slow_listener,
    requester_listens_too,
    ordinary_users_may_listen,
);

struct Listener {
    socket: Socket,
    family: u16,
}

impl Listener {
    fn new(v: &Vdpa) -> Self {
        let socket = Socket::new();
        socket.join(v.family.group("monitor").expect("group monitor"));
        socket.set_timeout(Duration::from_millis(200));
        Listener {
            socket,
            family: v.family.id,
        }
    }

    /// All that was told by now.
    fn heard(&self) -> Vec<Reply> {
        let mut all = Vec::new();
        while let Ok(messages) = self.socket.receive(65536) {
            for m in messages {
                assert_eq!(
                    (m.kind, m.seq, m.portid),
                    (self.family, 0, 0),
                    "kind, seq, portid"
                );
                let r = Reply::parse(m);
                assert_eq!((r.version, r.reserved), (1, 0));
                all.push(r);
            }
        }
        all
    }

    fn one(&self) -> Reply {
        let mut all = self.heard();
        assert_eq!(all.len(), 1, "number of notifications: {all:?}");
        all.pop().unwrap()
    }

    fn summary(&self) -> Vec<(u8, String)> {
        self.heard()
            .iter()
            .map(|r| (r.cmd, r.need(DEV_NAME).str()))
            .collect()
    }
}

fn new_device() {
    let (_m, _f) = (
        Mgmt::new("m0", "dev.vendor=77"),
        Mgmt::new("f0", "bus=faux dev.id=26"),
    );
    let mut v = Vdpa::new();
    let l = Listener::new(&v);
    for (mgmt, name) in [("m0", "d0"), ("faux/f0", "d1")] {
        case(mgmt, || {
            let d = v.add(mgmt, name);
            let told = l.one();
            assert_eq!(told.cmd, CMD_DEV_NEW);
            assert_eq!(told.attrs, v.get(name).attrs, "as the reply to DEV_GET");
            drop(d);
            l.heard();
        });
    }
}

fn deleted_device() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let l = Listener::new(&v);
    v.del("d0");
    let r = l.one();
    assert_eq!(r.cmd, CMD_DEV_DEL);
    assert_eq!(r.kinds(), [MGMT_NAME, DEV_NAME, DEV_ID]);
    assert_eq!(
        (r.need(MGMT_NAME).str(), r.need(DEV_NAME).str()),
        ("m0".into(), "d0".into())
    );
    assert_eq!(r.need(DEV_ID).u32(), ID_NET);
}

fn deleted_device_of_a_bus() {
    let _m = Mgmt::new("m0", "bus=platform dev.id=2");
    let mut v = Vdpa::new();
    let _d = v.add("platform/m0", "d0");
    let l = Listener::new(&v);
    v.del("d0");
    let r = l.one();
    assert_eq!(r.kinds(), [BUS_NAME, MGMT_NAME, DEV_NAME, DEV_ID]);
    assert_eq!(r.need(BUS_NAME).str(), "platform");
    assert_eq!(r.need(DEV_ID).u32(), ID_BLOCK);
}

fn changed_device() {
    let _m = Mgmt::new("m0", "dev.features=0x300000020");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let l = Listener::new(&v);
    let msg = v
        .about(CMD_DEV_ATTR_SET, "d0")
        .attr(MAC, &[2, 0, 0, 0, 0, 7]);
    v.ack(&msg).expect_ok();
    let r = l.one();
    assert_eq!(r.cmd, CMD_DEV_CONFIG_GET);
    assert_eq!(
        r.attrs,
        v.config("d0").attrs,
        "as the reply to DEV_CONFIG_GET"
    );
    assert_eq!(r.need(MAC).data, [2, 0, 0, 0, 0, 7]);
}

fn nothing_without_a_change() {
    let m = Mgmt::new("m0", "dev.set_attr_error=5");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let l = Listener::new(&v);
    case("refused change", || {
        let msg = v
            .about(CMD_DEV_ATTR_SET, "d0")
            .attr(MAC, &[2, 0, 0, 0, 0, 7]);
        v.ack(&msg).expect_errno(Errno::EIO);
        assert!(l.heard().is_empty());
    });
    case("duplicate", || {
        let msg = v.new_msg("m0", "d0");
        v.ack(&msg).expect_errno(Errno::EEXIST);
        assert!(l.heard().is_empty());
    });
    case("failures of the parent", || {
        for error in ["add_error", "late_error"] {
            m.set(&format!("dev.{error}=5"));
            let msg = v.new_msg("m0", "d1");
            v.ack(&msg).expect_errno(Errno::EIO);
            m.set(&format!("dev.{error}=0"));
        }
        assert!(l.heard().is_empty());
    });
    case("unknown device", || {
        v.try_del("nobody").expect_errno(Errno::ENODEV);
        assert!(l.heard().is_empty());
    });
    case("looking and binding", || {
        v.get("d0");
        v.config("d0");
        parent::load_driver();
        sys::rmmod_ok("vdpa_test_driver");
        assert!(l.heard().is_empty());
    });
}

fn unmanaged_devices_are_not_told() {
    parent::load();
    let l = Listener::new(&Vdpa::new());
    drop(Unmanaged::new("solo", ""));
    assert!(l.heard().is_empty());
}

fn devices_of_a_management_device_that_goes() {
    let m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = [v.add("m0", "a"), v.add("m0", "b")];
    let l = Listener::new(&v);
    drop(m);
    assert_eq!(
        l.summary(),
        [(CMD_DEV_DEL, "a".into()), (CMD_DEV_DEL, "b".into())]
    );
}

fn devices_of_a_module_that_goes() {
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    let _d = [v.add("vdpasim_net", "a"), v.add("vdpasim_net", "b")];
    let l = Listener::new(&v);
    sys::rmmod_ok("vdpa_sim_net");
    assert_eq!(
        l.summary(),
        [(CMD_DEV_DEL, "a".into()), (CMD_DEV_DEL, "b".into())]
    );
}

fn order() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let l = Listener::new(&v);
    let mut expected = Vec::new();
    for n in 0..5 {
        let name = format!("d{n}");
        let d = v.add("m0", &name);
        drop(d);
        expected.extend([(CMD_DEV_NEW, name.clone()), (CMD_DEV_DEL, name)]);
    }
    assert_eq!(l.summary(), expected);
}

fn simulator() {
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    let l = Listener::new(&v);
    let msg = v.new_msg("vdpasim_net", "s").attr(MAC, &[2, 0, 0, 0, 0, 1]);
    let _d = v.add_by(&msg, "s");
    let msg = v
        .about(CMD_DEV_ATTR_SET, "s")
        .attr(MAC, &[2, 0, 0, 0, 0, 2]);
    v.ack(&msg).expect_ok();
    v.del("s");
    let expected = [CMD_DEV_NEW, CMD_DEV_CONFIG_GET, CMD_DEV_DEL].map(|c| (c, "s".to_string()));
    assert_eq!(l.summary(), expected);
}

fn slow_listener() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let l = Listener::new(&v);
    l.socket.set_receive_buffer(0);
    for _ in 0..50 {
        drop(v.add("m0", "d0"));
    }
    assert_eq!(
        l.socket.receive(65536).err(),
        Some(Errno::ENOBUFS),
        "it is told that it lost some"
    );
    let other = Listener::new(&v);
    let _d = v.add("m0", "d1");
    assert_eq!(other.summary(), [(CMD_DEV_NEW, "d1".into())]);
}

fn requester_listens_too() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    v.socket
        .join(v.family.group("monitor").expect("group monitor"));
    let msg = v.new_msg("m0", "d0");
    v.socket.send(&msg);
    v.socket.set_timeout(Duration::from_millis(200));
    let mut kinds = Vec::new();
    while let Ok(messages) = v.socket.receive(65536) {
        kinds.extend(messages.iter().map(|m| m.kind));
    }
    kinds.sort();
    assert_eq!(kinds, [NLMSG_ERROR, v.family.id]);
    Vdpa::new().del("d0");
}

fn ordinary_users_may_listen() {
    // What they can look up they may be told.
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    v.family.group("monitor").expect("group monitor");
    let listener = user::fork(|| {
        user::become_nobody();
        let l = Listener::new(&v);
        l.socket.set_timeout(sys::PATIENCE);
        let told = Reply::parse(l.socket.receive(65536).unwrap().remove(0));
        assert_eq!(told.need(DEV_NAME).str(), "d0");
    });
    // It may take a while until it listens.
    while !listener.has_ended() {
        drop(v.add("m0", "d0"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(listener.wait(), 0);
}
