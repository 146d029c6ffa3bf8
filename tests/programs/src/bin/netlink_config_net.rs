// SPDX-License-Identifier: GPL-2.0
//! DEV_CONFIG_GET of network devices.

use vdpa_test::ktap::case;
use vdpa_test::nl::*;
use vdpa_test::parent::{self, Mgmt, Unmanaged};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    name_missing,
    not_found,
    unmanaged,
    header,
    each_feature,
    all_features,
    no_features,
    values,
    negotiated_features,
    how_it_is_read,
    short_space,
    simulator,
    simulator_with_provisioned_features,
);

const F_MTU: u64 = 1 << 3;
const F_MAC: u64 = 1 << 5;
const F_STATUS: u64 = 1 << 16;
const F_MQ: u64 = 1 << 22;
const F_RSS: u64 = 1 << 60;

/// mac 02:04:06:08:0a:0c, status 0x1122, 0x3344 pairs, MTU 0x5566, and more behind.
const CONFIG: &str = "dev.config=020406080a0c221144336655ffffffffffffffffffffffffffffffffffff";

fn name_missing() {
    let mut v = Vdpa::new();
    let msg = v.msg(CMD_DEV_CONFIG_GET);
    v.ack(&msg).expect(Errno::EINVAL, None);
}

fn not_found() {
    let mut v = Vdpa::new();
    let msg = v.about(CMD_DEV_CONFIG_GET, "nobody");
    v.ack(&msg)
        .expect(Errno::ENODEV, Some("vdpa: device not found"));
}

fn unmanaged() {
    let _u = Unmanaged::new("solo", "");
    let mut v = Vdpa::new();
    let msg = v.about(CMD_DEV_CONFIG_GET, "solo");
    v.ack(&msg)
        .expect(Errno::EINVAL, Some("vdpa: unmanaged vdpa device"));
}

fn header() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let r = v.config("d0");
    assert_eq!((r.cmd, r.version, r.reserved), (CMD_DEV_CONFIG_GET, 1, 0));
    assert_eq!(
        (r.nl.kind, r.nl.flags, r.nl.portid),
        (v.family.id, 0, v.socket.portid())
    );
    assert_eq!(r.need(DEV_NAME).str(), "d0");
    assert_eq!(r.need(DEV_ID).u32(), ID_NET);
    let _d = v.add("m0", "d1");
    assert_eq!(v.dump(CMD_DEV_CONFIG_GET)[1].nl.flags, NLM_F_MULTI);
}

fn kinds_with(features: u64) -> Vec<u16> {
    let _m = Mgmt::new("m0", &format!("dev.features={features:#x} {CONFIG}"));
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let r = v.config("d0");
    assert_eq!(r.need(FEATURES).u64(), features);
    r.kinds()
}

fn each_feature() {
    for bit in 0..64 {
        let extra: &[u16] = match 1 << bit {
            F_MTU => &[MTU],
            F_MAC => &[MAC],
            F_STATUS => &[NET_STATUS],
            F_MQ | F_RSS => &[MAX_VQP],
            _ => &[],
        };
        case(format!("bit {bit}"), || {
            assert_eq!(
                kinds_with(1 << bit),
                [&[DEV_NAME, DEV_ID, FEATURES], extra].concat()
            );
        });
    }
}

fn all_features() {
    let expected = [DEV_NAME, DEV_ID, FEATURES, MTU, MAC, NET_STATUS, MAX_VQP];
    assert_eq!(kinds_with(u64::MAX), expected);
}

fn no_features() {
    assert_eq!(kinds_with(0), [DEV_NAME, DEV_ID, FEATURES]);
}

fn values() {
    let _m = Mgmt::new("m0", &format!("dev.features={:#x} {CONFIG}", u64::MAX));
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let r = v.config("d0");
    assert_eq!(r.need(MTU).u16(), 0x5566);
    assert_eq!(r.need(MAC).data, [2, 4, 6, 8, 10, 12]);
    assert_eq!(r.need(NET_STATUS).u16(), 0x1122);
    assert_eq!(r.need(MAX_VQP).u16(), 0x3344);
}

fn negotiated_features() {
    let _m = Mgmt::new("m0", "dev.driver_features=0x8877665544332211");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    for status in [0, 1, 3, 7, 0x47, 0x87] {
        case(format!("status {status:#x}: not told"), || {
            parent::control(&format!("dev-set d0 status={status}"));
            assert_eq!(v.config("d0").get(NEGOTIATED), None);
        });
    }
    for status in [8, 0xb, 0xf, 0x8f] {
        case(format!("status {status:#x}: told"), || {
            parent::control(&format!("dev-set d0 status={status}"));
            let r = v.config("d0");
            assert_eq!(r.kinds(), [DEV_NAME, DEV_ID, NEGOTIATED, FEATURES]);
            assert_eq!(r.need(NEGOTIATED).u64(), 0x8877_6655_4433_2211);
        });
    }
    case("the device's features decide what is told", || {
        parent::control("dev-set d0 driver_features=0xffffffffffffffff features=0");
        assert_eq!(
            v.config("d0").kinds(),
            [DEV_NAME, DEV_ID, NEGOTIATED, FEATURES]
        );
    });
}

fn how_it_is_read() {
    let _m = Mgmt::new("m0", "dev.status=8");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::clear_log();
    v.config("d0");
    let mut ops = parent::ops_of("d0");
    // Whether the size is asked for as well is nobody's business.
    ops.retain(|o| o != "get_config_size");
    ops.sort();
    // Whether the size is looked at is told by the test of short spaces.
    ops.retain(|op| op != "get_config_size");
    let expected = [
        "get_config",
        "get_device_features",
        "get_device_id",
        "get_driver_features",
        "get_status",
    ];
    assert_eq!(ops, expected, "features are never set by looking");
    assert_eq!(parent::calls("get_config"), ["get_config d0 cf=r 0 24"]);
    for line in parent::log() {
        assert!(
            line.contains(" cf=r"),
            "cf_lock is held for reading: {line}"
        );
    }
}

/// Nothing is read beyond the end of a space that is shorter than the structure.
fn short_space() {
    let all = F_MAC | F_STATUS | F_MQ | F_MTU;
    let m = Mgmt::new(
        "m0",
        &format!("{CONFIG} dev.features={all} dev.config_size=8"),
    );
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::clear_log();
    let r = v.config("d0");
    assert_eq!(parent::calls("get_config"), ["get_config d0 cf=r 0 8"]);
    assert_eq!(r.need(MAC).data, [2, 4, 6, 8, 10, 12]);
    assert_eq!(r.need(NET_STATUS).u16(), 0x1122);
    assert_eq!((r.need(MAX_VQP).u16(), r.need(MTU).u16()), (0, 0));
    drop(m);
}

fn simulator() {
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    let mac = [0, 0xe8, 0xca, 0x33, 0xba, 5];
    let msg = v
        .new_msg("vdpasim_net", "s")
        .attr(MAC, &mac)
        .attr(MTU, &9000u16.to_ne_bytes());
    let _d = v.add_by(&msg, "s");
    let r = v.config("s");
    assert_eq!(r.need(MAC).data, mac);
    assert_eq!(r.need(MTU).u16(), 9000);
    assert_eq!(r.need(NET_STATUS).u16(), 1, "link up");
    assert_eq!(r.get(MAX_VQP), None);
    // ANY_LAYOUT, VERSION_1, ACCESS_PLATFORM, MAC, STATUS, MTU, CTRL_VQ, CTRL_MAC_ADDR
    assert_eq!(r.need(FEATURES).u64() & 0x3_0883_0028, 0x3_0883_0028);
}

fn simulator_with_provisioned_features() {
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    let with = |v: &Vdpa, f: u64| {
        v.new_msg("vdpasim_net", "s")
            .attr(FEATURES, &f.to_ne_bytes())
    };
    for features in [BASE_FEATURES, BASE_FEATURES | F_MAC, F_MTU] {
        let msg = with(&v, features);
        let _d = v.add_by(&msg, "s");
        assert_eq!(v.config("s").need(FEATURES).u64(), features);
    }
    let msg = with(&v, BASE_FEATURES | (1 << 63));
    v.ack(&msg).expect_errno(Errno::EINVAL);
}
