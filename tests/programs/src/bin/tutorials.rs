// SPDX-License-Identifier: GPL-2.0
//! The tutorials that users follow, word for word.

use vdpa_test::sys::{self, sh};
use vdpa_test::{ktap, ktap_main};

ktap_main!(use_case_1_vhost_vdpa, use_case_2_virtio_vdpa, driverctl);

struct CleanUp;

impl Drop for CleanUp {
    fn drop(&mut self) {
        let _ = std::fs::remove_file("/etc/driverctl.d/vdpa-vdpa0");
        sys::unload_all();
    }
}

fn start() -> CleanUp {
    sys::unload_all();
    CleanUp
}

fn ok(line: &str) -> String {
    sh(line).expect_ok().to_string()
}

fn driver_link() -> String {
    let out = ok("ls -l /sys/bus/vdpa/devices/vdpa0/driver");
    out.trim().rsplit('/').next().unwrap().to_string()
}

fn network_interface() -> String {
    let path = "/sys/bus/vdpa/devices/vdpa0";
    let virtio = sys::list(path)
        .into_iter()
        .find(|n| n.starts_with("virtio"));
    let net = format!("{path}/{}/net", virtio.expect("a virtio device"));
    sys::wait_for("a network interface", || !sys::list(&net).is_empty());
    sys::list(&net).remove(0)
}

fn use_case_1_vhost_vdpa() {
    let _c = start();
    for line in [
        "modprobe vdpa",
        "modprobe vhost_vdpa",
        "modprobe vdpa_sim",
        "modprobe vdpa_sim_net",
    ] {
        ok(line);
    }
    let out = ok("vdpa mgmtdev show");
    assert!(
        out.starts_with("vdpasim_net: \n  supported_classes net\n"),
        "{out}"
    );
    sh("vdpa dev add name vdpa0 mgmtdev vdpasim_net mac 00:e8:ca:33:ba:05").expect("");
    let out = ok("vdpa dev show -jp");
    let expected = "{\n    \"dev\": {\n        \"vdpa0\": {\n            \"type\": \"network\",\n";
    assert!(out.starts_with(expected), "{out}");
    assert_eq!(driver_link(), "vhost_vdpa");
    assert_eq!(
        sys::list("/dev")
            .iter()
            .filter(|n| n.starts_with("vhost-vdpa-"))
            .count(),
        1
    );
    sh("vdpa dev del vdpa0").expect("");
}

fn use_case_2_virtio_vdpa() {
    let _c = start();
    ok("modprobe vdpa_sim_net");
    sh("vdpa dev add name vdpa0 mgmtdev vdpasim_net mac 00:e8:ca:33:ba:05").expect("");
    ok("modprobe virtio_vdpa");
    ok("modprobe virtio_net");
    assert_eq!(driver_link(), "virtio_vdpa");
    let nic = network_interface();
    let out = ok(&format!("ethtool -i {nic}"));
    assert!(out.starts_with("driver: virtio_net\n"), "{out}");
    assert!(out.contains("bus-info: vdpa0\n"), "{out}");
    assert_eq!(
        sys::read(format!("/sys/class/net/{nic}/address")),
        "00:e8:ca:33:ba:05\n"
    );
    sh("vdpa dev del vdpa0").expect("");
    for line in [
        "rmmod vdpa_sim_net",
        "rmmod vdpa_sim",
        "rmmod virtio_vdpa",
        "rmmod vdpa",
    ] {
        ok(line);
    }
}

fn driverctl() {
    let _c = start();
    if !std::fs::exists("/usr/sbin/driverctl").unwrap() {
        ktap::skip("driverctl is not installed");
    }
    for module in ["vhost_vdpa", "virtio_vdpa", "vdpa_sim_net"] {
        sys::modprobe(module);
    }
    sh("vdpa dev add name vdpa0 mgmtdev vdpasim_net mac 00:e8:ca:33:ba:05").expect("");
    assert_eq!(ok("driverctl -b vdpa list-devices"), "vdpa0 vhost_vdpa\n");
    ok("driverctl -b vdpa set-override vdpa0 virtio_vdpa");
    assert_eq!(driver_link(), "virtio_vdpa");
    assert_eq!(
        ok("driverctl -b vdpa list-overrides"),
        "vdpa0 virtio_vdpa\n"
    );
    ok("driverctl -b vdpa set-override vdpa0 vhost_vdpa");
    assert_eq!(driver_link(), "vhost_vdpa");
    ok("driverctl -b vdpa unset-override vdpa0");
    assert_eq!(
        sys::read("/sys/bus/vdpa/devices/vdpa0/driver_override"),
        "(null)\n"
    );
    sh("vdpa dev del vdpa0").expect("");
}
