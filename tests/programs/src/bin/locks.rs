// SPDX-License-Identifier: GPL-2.0
//! In which order and under which lock the bus calls a parent's operations.

use vdpa_test::parent::{self, Mgmt};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys};

ktap_main!(
    status_features_and_reset,
    config_before_negotiation,
    config_before_negotiation_is_exclusive,
    config_after_negotiation,
    config_after_reset,
    config_write,
    statistics_of_an_old_driver_are_exclusive,
    life_of_a_device,
);

/// The log of `body` on a device that no driver has.
fn log_of(body: impl FnOnce()) -> Vec<String> {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    let d = Vdpa::new().add("m0", "d0");
    sys::write("/sys/bus/vdpa/drivers/vdpa_test_a/unbind", "d0");
    parent::forget();
    body();
    let log = parent::log();
    drop(d);
    parent::forget_driver();
    log
}

fn status_features_and_reset() {
    let log = log_of(|| {
        parent::driver("status d0 1");
        parent::driver("features d0 0x123");
        parent::driver("reset d0 0");
        parent::driver("reset d0 1");
    });
    let expected = [
        "set_status d0 cf=w 0x1",
        "set_driver_features d0 cf=w 0x123 valid=1",
        "reset d0 cf=w valid=0",
        "compat_reset d0 cf=w 1 valid=0",
    ];
    assert_eq!(log, expected);
}

fn config_before_negotiation() {
    let log = log_of(|| parent::driver("get-config d0 2 4"));
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[0].starts_with("set_driver_features d0 cf="), "{log:?}");
    assert!(log[0].ends_with(" 0x0 valid=1"), "{log:?}");
    assert!(log[1].starts_with("get_config d0 cf="), "{log:?}");
    assert!(log[1].ends_with(" 2 4"), "{log:?}");
}

fn config_before_negotiation_is_exclusive() {
    let log = log_of(|| parent::driver("get-config d0 2 4"));
    assert_eq!(log[0], "set_driver_features d0 cf=w 0x0 valid=1");
}

fn config_after_negotiation() {
    let log = log_of(|| {
        parent::driver("features d0 0x1");
        parent::driver("get-config d0 0 8");
    });
    assert_eq!(log[1..], ["get_config d0 cf=r 0 8"]);
}

fn config_after_reset() {
    let log = log_of(|| {
        parent::driver("features d0 0x1");
        parent::driver("reset d0 0");
        parent::driver("get-config d0 0 8");
    });
    let ops: Vec<_> = log.iter().map(|l| l.split(' ').next().unwrap()).collect();
    assert_eq!(
        ops,
        [
            "set_driver_features",
            "reset",
            "set_driver_features",
            "get_config"
        ]
    );
}

fn config_write() {
    let log = log_of(|| parent::driver("set-config d0 3 0x7f"));
    assert_eq!(log, ["set_config d0 cf=w 3 1"]);
}

fn statistics_of_an_old_driver_are_exclusive() {
    let log = log_of(|| {
        parent::driver("status d0 8");
        let mut v = Vdpa::new();
        let msg = v
            .about(CMD_DEV_VSTATS_GET, "d0")
            .attr(QUEUE_INDEX, &0u32.to_ne_bytes());
        v.request(&msg).one();
    });
    let calls: Vec<_> = log
        .iter()
        .filter(|l| l.starts_with("set_driver_features"))
        .collect();
    assert_eq!(calls, ["set_driver_features d0 cf=w 0x0 valid=1"]);
}

fn life_of_a_device() {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    v.del("d0");
    parent::assert_live(0);
    let mut ops = parent::ops_of("d0");
    // The bus looks at the queue sizes before it asks a driver.
    ops.retain(|o| !o.starts_with("get_"));
    assert_eq!(ops, ["dev_add", "dev_del", "dev_deleted", "free"]);
    for line in parent::log().iter().skip(1) {
        assert!(line.contains(" cf=-"), "no cf_lock is held: {line}");
    }
    sys::rmmod_ok("vdpa_test_driver");
}
