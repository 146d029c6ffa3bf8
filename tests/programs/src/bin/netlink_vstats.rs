// SPDX-License-Identifier: GPL-2.0
//! DEV_VSTATS_GET: statistics of a queue.

use vdpa_test::ktap::case;
use vdpa_test::nl::*;
use vdpa_test::parent::{self, Mgmt, Unmanaged};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    attributes_missing,
    not_found,
    unmanaged,
    not_a_network_device,
    index_out_of_range,
    operation_missing,
    before_negotiation,
    order_of_checks,
    contents,
    pairs_follow_driver_features,
    features_not_set_yet,
    errors_of_the_parent,
    simulator,
);

const NEGOTIATED_STATUS: &str = "dev.status=8";

fn ask(v: &Vdpa, device: &str, index: u32) -> Msg {
    v.about(CMD_DEV_VSTATS_GET, device)
        .attr(QUEUE_INDEX, &index.to_ne_bytes())
}

fn attributes_missing() {
    let mut v = Vdpa::new();
    case("name", || {
        let msg = v
            .msg(CMD_DEV_VSTATS_GET)
            .attr(QUEUE_INDEX, &0u32.to_ne_bytes());
        v.ack(&msg).expect(Errno::EINVAL, None);
    });
    case("index", || {
        let msg = v.about(CMD_DEV_VSTATS_GET, "nobody");
        v.ack(&msg).expect(Errno::EINVAL, None);
    });
    case("both", || {
        let msg = v.msg(CMD_DEV_VSTATS_GET);
        v.ack(&msg).expect(Errno::EINVAL, None);
    });
}

fn not_found() {
    let mut v = Vdpa::new();
    let msg = ask(&v, "nobody", 0x9000);
    v.ack(&msg)
        .expect(Errno::ENODEV, Some("vdpa: device not found"));
}

fn unmanaged() {
    let _u = Unmanaged::new("solo", "");
    let mut v = Vdpa::new();
    let msg = ask(&v, "solo", 0);
    v.ack(&msg)
        .expect(Errno::EINVAL, Some("vdpa: unmanaged vdpa device"));
}

fn not_a_network_device() {
    for id in [ID_BLOCK, ID_FS] {
        let _m = Mgmt::new("m0", &format!("dev.id={id} {NEGOTIATED_STATUS}"));
        let mut v = Vdpa::new();
        let _d = v.add("m0", "d0");
        let msg = ask(&v, "d0", 0);
        v.ack(&msg).expect(Errno::EOPNOTSUPP, None);
    }
}

fn index_out_of_range() {
    let _m = Mgmt::new("m0", NEGOTIATED_STATUS);
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    for index in [0x8001, 0xffff, 0x1_0000, 0x1_0001, u32::MAX] {
        case(format!("{index:#x}"), || {
            let msg = ask(&v, "d0", index);
            let text = "vdpa: queue index exceeds max value";
            v.ack(&msg).expect(Errno::ERANGE, Some(text));
        });
    }
    case("0x8000 is the last one", || {
        let msg = ask(&v, "d0", 0x8000);
        v.request(&msg).one();
        assert_eq!(parent::calls("get_vendor_vq_stats").len(), 1);
        assert!(parent::calls("get_vendor_vq_stats")[0].ends_with(" 32768"));
    });
}

fn operation_missing() {
    let _m = Mgmt::new("m0", "dev.without=get_vendor_vq_stats");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let msg = ask(&v, "d0", 0);
    v.ack(&msg).expect(Errno::EOPNOTSUPP, None);
}

fn before_negotiation() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    for status in [0, 1, 3, 7, 0x80] {
        case(format!("status {status:#x}"), || {
            parent::control(&format!("dev-set d0 status={status}"));
            let msg = ask(&v, "d0", 0);
            let text = "vdpa: feature negotiation not complete";
            v.ack(&msg).expect(Errno::EAGAIN, Some(text));
        });
    }
    assert_eq!(parent::calls("set_driver_features"), Vec::<String>::new());
}

fn order_of_checks() {
    let mut v = Vdpa::new();
    case("class before range", || {
        let _m = Mgmt::new("m0", "dev.id=2");
        let _d = v.add("m0", "d0");
        let msg = ask(&v, "d0", 0x9000);
        v.ack(&msg).expect(Errno::EOPNOTSUPP, None);
    });
    case("range before operation", || {
        let _m = Mgmt::new("m0", "dev.without=get_vendor_vq_stats");
        let _d = v.add("m0", "d0");
        let msg = ask(&v, "d0", 0x9000);
        v.ack(&msg).expect_errno(Errno::ERANGE);
    });
    case("operation before negotiation", || {
        let _m = Mgmt::new("m0", "dev.without=get_vendor_vq_stats");
        let _d = v.add("m0", "d0");
        let msg = ask(&v, "d0", 0);
        v.ack(&msg).expect_errno(Errno::EOPNOTSUPP);
    });
    case("negotiation before the parent is asked", || {
        let _m = Mgmt::new("m0", "dev.stats_error=5");
        let _d = v.add("m0", "d0");
        let msg = ask(&v, "d0", 0);
        v.ack(&msg).expect_errno(Errno::EAGAIN);
    });
}

fn contents() {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::driver("features d0 0x8000000000001234");
    parent::driver("status d0 0xb");
    parent::clear_log();
    let msg = ask(&v, "d0", 7);
    let r = v.request(&msg).one();
    assert_eq!((r.cmd, r.version, r.reserved), (CMD_DEV_VSTATS_GET, 1, 0));
    assert_eq!(
        (r.nl.kind, r.nl.flags, r.nl.portid),
        (v.family.id, 0, v.socket.portid())
    );
    let stats = [STAT_NAME, STAT_VALUE, STAT_NAME, STAT_VALUE];
    assert_eq!(
        r.kinds(),
        [&[DEV_NAME, DEV_ID, NEGOTIATED, QUEUE_INDEX], &stats[..]].concat()
    );
    assert_eq!(r.need(DEV_NAME).str(), "d0");
    assert_eq!(r.need(DEV_ID).u32(), ID_NET);
    assert_eq!(r.need(NEGOTIATED).u64(), 0x8000_0000_0000_1234);
    assert_eq!(r.need(QUEUE_INDEX).u32(), 7);
    let s = &r.attrs[4..];
    assert_eq!(
        (s[0].str().as_str(), s[1].u64()),
        ("test one", 0x1122_3344_5566_7788)
    );
    assert_eq!((s[2].str().as_str(), s[3].u64()), ("test two", 7));
    assert_eq!(parent::calls("set_driver_features"), Vec::<String>::new());
    for op in [
        "get_status",
        "get_config",
        "get_driver_features",
        "get_vendor_vq_stats",
    ] {
        let calls = parent::calls(op);
        let locked = calls.iter().any(|line| !line.contains(" cf=-"));
        assert!(locked, "{op} is called with cf_lock held: {calls:?}");
    }
    sys::rmmod_ok("vdpa_test_driver");
}

fn pairs_follow_driver_features() {
    let _m = Mgmt::new(
        "m0",
        "dev.config=00000000000000004433 dev.features=0xffffffffffffffff",
    );
    parent::load_driver();
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    for (features, pairs) in [
        (0u64, None),
        (1 << 22, Some(0x3344)),
        (1 << 60, Some(0x3344)),
        (!((1 << 22) | (1 << 60)), None),
    ] {
        case(format!("driver features {features:#x}"), || {
            parent::driver(&format!("features d0 {features:#x}"));
            parent::driver("status d0 8");
            let msg = ask(&v, "d0", 0);
            let r = v.request(&msg).one();
            assert_eq!(r.get(MAX_VQP).map(|a| a.u16()), pairs);
            if pairs.is_some() {
                assert_eq!(r.kinds()[2..5], [NEGOTIATED, MAX_VQP, QUEUE_INDEX]);
            }
        });
    }
    sys::rmmod_ok("vdpa_test_driver");
}

fn features_not_set_yet() {
    // FEATURES_OK without features: an old driver, for which they become 0.
    let _m = Mgmt::new("m0", "dev.status=8 dev.driver_features=0xff");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let msg = ask(&v, "d0", 0);
    assert_eq!(v.request(&msg).one().need(NEGOTIATED).u64(), 0);
    let ops = parent::ops_of("d0");
    let at = |op| {
        ops.iter()
            .position(|o| o == op)
            .unwrap_or_else(|| panic!("no {op}"))
    };
    assert!(at("set_driver_features") < at("get_config"), "{ops:?}");
    v.request(&msg).one();
    assert_eq!(parent::calls("set_driver_features").len(), 1, "set once");
}

fn errors_of_the_parent() {
    let _m = Mgmt::new("m0", &format!("{NEGOTIATED_STATUS} dev.stats_error=28"));
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let msg = ask(&v, "d0", 0);
    let text = "vdpa_test_parent: no statistics today";
    v.ack(&msg).expect(Errno::ENOSPC, Some(text));
}

fn simulator() {
    sys::modprobe("vdpa_sim_net");
    parent::load_driver();
    let mut v = Vdpa::new();
    let _d = v.add("vdpasim_net", "s");
    case("before negotiation", || {
        let msg = ask(&v, "s", 0);
        v.ack(&msg).expect(
            Errno::EAGAIN,
            Some("vdpa: feature negotiation not complete"),
        );
    });
    parent::driver("features s 0x300000000");
    parent::driver("status s 0xb");
    let rx = [
        "rx packets",
        "rx bytes",
        "rx errors",
        "rx overruns",
        "rx drops",
    ];
    let tx = ["tx packets", "tx bytes", "tx errors", "tx drops"];
    let control = ["cvq requests", "cvq successes", "cvq errors"];
    for (index, names) in [(0, &rx[..]), (1, &tx[..]), (2, &control[..])] {
        case(format!("queue {index}"), || {
            let msg = ask(&v, "s", index);
            let r = v.request(&msg).one();
            assert_eq!(r.need(QUEUE_INDEX).u32(), index);
            let of = |kind| r.attrs.iter().filter(move |a| a.kind == kind);
            let found: Vec<_> = of(STAT_NAME).map(|a| a.str()).collect();
            assert_eq!(found, names);
            assert!(of(STAT_VALUE).all(|a| a.u64() == 0), "nothing was sent");
            assert_eq!(of(STAT_VALUE).count(), names.len());
        });
    }
    case("queue 3", || {
        let msg = ask(&v, "s", 3);
        v.ack(&msg).expect_errno(Errno::EINVAL);
    });
    drop(_d);
    sys::rmmod_ok("vdpa_test_driver");
}
