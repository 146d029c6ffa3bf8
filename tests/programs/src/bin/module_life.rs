// SPDX-License-Identifier: GPL-2.0
//! Loading and unloading, with devices present and with users of them left.

use std::thread;
use std::time::Duration;

use vdpa_test::genl::Family;
use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt, Unmanaged};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    fifty_cycles,
    cycles_of_the_bus_drivers,
    bus_is_held_by_its_users,
    family_goes_with_the_module,
    parent_with_devices,
    management_device_with_devices,
    parent_with_unmanaged_devices,
    simulators_with_devices,
    parent_waits_for_its_devices,
    stacked_parents_wait_for_their_devices,
    unmanaged_parent_waits_for_its_devices,
);

fn unload(modules: &[&str]) {
    modules.iter().for_each(|m| sys::rmmod_ok(m));
}

fn fifty_cycles() {
    sys::unload_all();
    for n in 0..sys::rounds(50, 2) {
        ["vdpa_sim_net", "vdpa_sim_blk"].map(sys::modprobe);
        // With devices in every other cycle.
        if n % 2 == 0 {
            let mut v = Vdpa::new();
            for (mgmt, name) in [("vdpasim_net", "n0"), ("vdpasim_blk", "b0")] {
                let msg = v.new_msg(mgmt, name);
                v.ack(&msg).expect_ok();
            }
        }
        unload(&["vdpa_sim_net", "vdpa_sim_blk", "vdpa_sim", "vdpa"]);
        assert!(!sys::is_loaded("vdpa"));
    }
}

fn cycles_of_the_bus_drivers() {
    sys::unload_all();
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    let _d = v.add("vdpasim_net", "n0");
    for _ in 0..sys::rounds(6, 1) {
        for driver in ["vhost_vdpa", "virtio_vdpa"] {
            sys::modprobe(driver);
            assert_eq!(sys::driver_of("n0").as_deref(), Some(driver));
            sys::rmmod_ok(driver);
            assert_eq!(sys::driver_of("n0"), None);
        }
    }
}

fn bus_is_held_by_its_users() {
    sys::unload_all();
    for module in sys::few(["vdpa_sim", "vduse", "virtio_vdpa", "vhost_vdpa"], 2) {
        case(module, || {
            sys::modprobe(module);
            assert_eq!(sys::rmmod("vdpa"), Errno::EAGAIN);
            sys::rmmod_ok(module);
            sys::rmmod_ok("vdpa");
        });
    }
}

fn family_goes_with_the_module() {
    sys::unload_all();
    sys::modprobe("vdpa");
    let id = Family::find("vdpa").unwrap().id;
    sys::rmmod_ok("vdpa");
    let mut socket = vdpa_test::nl::Socket::new();
    let msg = vdpa_test::nl::Msg::genl(id, 5, CMD_DEV_GET, 1);
    socket.request(&msg).ack.expect_errno(Errno::ENOENT);
    assert!(!std::fs::exists("/sys/bus/vdpa").unwrap());
}

fn parent_with_devices() {
    parent::load();
    parent::control("mgmt-add m0");
    parent::control("mgmt-add m1 bus=faux");
    let mut v = Vdpa::new();
    sys::modprobe("vdpa_sim_net");
    let _other = v.add("vdpasim_net", "other");
    for n in 0..20 {
        let msg = v.new_msg(if n % 2 == 0 { "m0" } else { "faux/m1" }, &format!("d{n}"));
        v.ack(&msg).expect_ok();
    }
    let _ = Unmanaged::new("solo", "");
    sys::rmmod_ok("vdpa_test_parent");
    assert_eq!(sys::devices(), ["other"]);
    assert_eq!(v.names(CMD_DEV_GET), ["other"]);
    assert_eq!(v.dump(CMD_MGMTDEV_GET).len(), 1);
}

fn management_device_with_devices() {
    let m = Mgmt::new("m0", "");
    let _other = Mgmt::new("m1", "");
    let mut v = Vdpa::new();
    let _d = ["a", "c"].map(|n| v.add("m0", n));
    let _e = ["b", "d"].map(|n| v.add("m1", n));
    parent::forget();
    drop(m);
    let dels: Vec<_> = parent::calls("dev_del");
    assert_eq!(
        dels,
        ["dev_del a cf=-", "dev_del c cf=-"],
        "its own, in order"
    );
    assert_eq!(sys::devices(), ["b", "d"]);
    parent::assert_live(2);
    let msg = v.new_msg("m0", "e");
    v.ack(&msg).expect_errno(Errno::ENODEV);
}

fn parent_with_unmanaged_devices() {
    parent::load();
    parent::control("dev-add u0");
    parent::control("dev-add u1");
    assert_eq!(sys::devices(), ["u0", "u1"]);
    sys::rmmod_ok("vdpa_test_parent");
    assert_eq!(sys::devices(), Vec::<String>::new());
}

fn simulators_with_devices() {
    let mut v = Vdpa::new();
    for driver in [None, Some("vhost_vdpa"), Some("virtio_vdpa")] {
        case(driver.unwrap_or("no driver"), || {
            if let Some(driver) = driver {
                sys::modprobe(driver);
            }
            ["vdpa_sim_net", "vdpa_sim_blk"].map(sys::modprobe);
            for (mgmt, name) in [("vdpasim_net", "n0"), ("vdpasim_blk", "b0")] {
                let msg = v.new_msg(mgmt, name);
                v.ack(&msg).expect_ok();
                assert_eq!(sys::driver_of(name).as_deref(), driver);
            }
            unload(&["vdpa_sim_net", "vdpa_sim_blk", "vdpa_sim"]);
            assert_eq!(sys::devices(), Vec::<String>::new());
            if let Some(driver) = driver {
                sys::rmmod_ok(driver);
            }
        });
    }
}

/// Unloads the parent while the test driver holds a reference to the device.
fn check_waits(device: &str, module: &'static str) {
    parent::load_driver();
    parent::driver(&format!("hold {device}"));
    let rmmod = thread::spawn(|| sys::rmmod(module));
    thread::sleep(Duration::from_secs(1));
    let early = rmmod.is_finished();
    parent::driver(&format!("put {device}"));
    let result = rmmod.join().unwrap();
    sys::rmmod_ok("vdpa_test_driver");
    assert!(!early, "the module went before its device: {result:?}");
    assert_eq!(result, Errno::OK);
    assert!(!sys::is_loaded(module));
}

fn parent_waits_for_its_devices() {
    parent::load();
    parent::control("mgmt-add m0");
    let mut v = Vdpa::new();
    let msg = v.new_msg("m0", "d0");
    v.ack(&msg).expect_ok();
    check_waits("d0", "vdpa_test_parent");
}

/// The table of operations is in vdpa_sim; what it calls at the end is in the module on top.
fn stacked_parents_wait_for_their_devices() {
    let mut v = Vdpa::new();
    for (module, mgmt) in [
        ("vdpa_sim_net", "vdpasim_net"),
        ("vdpa_sim_blk", "vdpasim_blk"),
    ] {
        case(module, || {
            sys::modprobe(module);
            let msg = v.new_msg(mgmt, "s0");
            v.ack(&msg).expect_ok();
            check_waits("s0", module);
            sys::rmmod_ok("vdpa_sim");
        });
    }
}

fn unmanaged_parent_waits_for_its_devices() {
    parent::load();
    parent::control("dev-add u0");
    check_waits("u0", "vdpa_test_parent");
}
