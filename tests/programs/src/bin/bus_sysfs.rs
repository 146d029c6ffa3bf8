// SPDX-License-Identifier: GPL-2.0
//! What sysfs shows of the bus and its devices.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use vdpa_test::parent::{self, Mgmt, Unmanaged};
use vdpa_test::sys::{self, BUS};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, Errno};

ktap_main!(
    bus,
    device,
    place_of_devices,
    drivers,
    uevent,
    modalias,
    drivers_autoprobe,
    module,
);

fn mode(path: &str) -> u32 {
    fs::metadata(path)
        .unwrap_or_else(|e| panic!("{path}: {e}"))
        .permissions()
        .mode()
        & 0o777
}

fn bus() {
    sys::modprobe("vdpa");
    let entries = sys::list(BUS);
    assert_eq!(
        entries,
        [
            "devices",
            "drivers",
            "drivers_autoprobe",
            "drivers_probe",
            "uevent"
        ]
    );
    assert_eq!(mode(&format!("{BUS}/drivers_autoprobe")), 0o644);
    assert_eq!(mode(&format!("{BUS}/drivers_probe")), 0o200);
    assert_eq!(mode(&format!("{BUS}/uevent")), 0o200);
}

fn device() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let dir = format!("{BUS}/devices/d0");
    for entry in ["driver_override", "power", "subsystem", "uevent"] {
        assert!(
            fs::symlink_metadata(format!("{dir}/{entry}")).is_ok(),
            "{entry} is missing"
        );
    }
    assert_eq!(mode(&format!("{dir}/driver_override")), 0o644);
    assert_eq!(mode(&format!("{dir}/uevent")), 0o644);
    let subsystem = fs::canonicalize(format!("{dir}/subsystem")).unwrap();
    assert_eq!(subsystem.to_str(), Some(BUS));
    assert!(!fs::exists(format!("{dir}/driver")).unwrap(), "unbound");
}

fn place_of_devices() {
    let _m = [
        Mgmt::new("m0", ""),
        Mgmt::new("f", "bus=faux"),
        Mgmt::new("o", "dev.orphan=1"),
    ];
    let mut v = Vdpa::new();
    let _d = [v.add("m0", "d0"), v.add("faux/f", "d1"), v.add("o", "d2")];
    let _u = Unmanaged::new("d3", "");
    for (device, path) in [
        ("d0", "/sys/devices/m0/d0"),
        ("d1", "/sys/devices/faux/f/d1"),
        ("d2", "/sys/devices/d2"),
        ("d3", "/sys/devices/d3"),
    ] {
        let real = fs::canonicalize(sys::device_path(device)).unwrap();
        assert_eq!(real.to_str(), Some(path));
    }
}

fn drivers() {
    parent::load_driver();
    let found = sys::list(&format!("{BUS}/drivers"));
    assert_eq!(found, ["vdpa_test_a", "vdpa_test_b"]);
    let entries = sys::list(&format!("{BUS}/drivers/vdpa_test_a"));
    for entry in ["bind", "module", "uevent", "unbind"] {
        assert!(
            entries.contains(&entry.to_string()),
            "{entry} is missing in {entries:?}"
        );
    }
    let module = fs::read_link(format!("{BUS}/drivers/vdpa_test_a/module")).unwrap();
    assert!(module.ends_with("vdpa_test_driver"), "{module:?}");
    sys::rmmod_ok("vdpa_test_driver");
    assert!(sys::list(&format!("{BUS}/drivers")).is_empty());
    for driver in ["vhost_vdpa", "virtio_vdpa"] {
        sys::modprobe(driver);
        assert_eq!(sys::list(&format!("{BUS}/drivers")), [driver]);
        sys::rmmod_ok(driver);
    }
}

fn uevent_of(device: &str) -> Vec<String> {
    let text = sys::read(sys::device_path(device).join("uevent"));
    text.lines().map(str::to_string).collect()
}

fn uevent() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let has_driver = || uevent_of("d0").contains(&"DRIVER=vdpa_test_a".to_string());
    assert!(!has_driver());
    parent::load_driver();
    assert!(has_driver());
    sys::write(sys::device_path("d0").join("uevent"), "change");
    sys::rmmod_ok("vdpa_test_driver");
    assert!(!has_driver());
}

fn modalias() {
    let _m = Mgmt::new("m0", "dev.id=26 dev.vendor=0xdeadbeef");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let modalias: Vec<_> = uevent_of("d0")
        .into_iter()
        .filter(|l| l.starts_with("MODALIAS="))
        .collect();
    assert_eq!(modalias, ["MODALIAS=vdpa:d0000001AvDEADBEEF"]);
}

struct Autoprobe;

impl Autoprobe {
    fn off() -> Self {
        sys::write(format!("{BUS}/drivers_autoprobe"), "0");
        Autoprobe
    }
}

impl Drop for Autoprobe {
    fn drop(&mut self) {
        let _ = fs::write(format!("{BUS}/drivers_autoprobe"), "1");
    }
}

fn drivers_autoprobe() {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    let mut v = Vdpa::new();
    assert_eq!(sys::read(format!("{BUS}/drivers_autoprobe")), "1\n");
    let off = Autoprobe::off();
    assert_eq!(sys::read(format!("{BUS}/drivers_autoprobe")), "0\n");
    let _d = v.add("m0", "d0");
    assert_eq!(sys::driver_of("d0"), None);
    sys::write(format!("{BUS}/drivers_probe"), "d0");
    assert_eq!(sys::driver_of("d0").as_deref(), Some("vdpa_test_a"));
    drop(off);
    let _e = v.add("m0", "d1");
    assert_eq!(sys::driver_of("d1").as_deref(), Some("vdpa_test_a"));
    drop((_d, _e));
    sys::rmmod_ok("vdpa_test_driver");
}

fn module() {
    sys::modprobe("vdpa");
    assert_eq!(
        sys::list("/sys/module/vdpa/parameters"),
        Vec::<String>::new()
    );
    assert_eq!(
        sys::sh("modinfo -F description vdpa").expect_ok(),
        "vDPA bus\n"
    );
    let license = sys::sh("modinfo -F license vdpa");
    assert!(license.expect_ok().starts_with("GPL"), "{license:?}");
    parent::load();
    assert_eq!(sys::rmmod("vdpa"), Errno::EAGAIN, "a module uses it");
    assert!(sys::is_loaded("vdpa"));
}
