// SPDX-License-Identifier: GPL-2.0
//! The samples, a device and a driver in Rust: on either bus, beside C devices
//! and C drivers.

use vdpa_test::sys::{self, sh};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, Errno};

ktap_main!(
    management_device,
    device_with_configuration,
    refusals,
    driver_only_where_named,
    life_cycle_of_the_driver,
    driver_on_a_c_device,
    device_for_c_drivers,
    queue_sizes_that_do_not_fit,
    unload_with_devices,
    cycles,
);

const MGMT: &str = "vdpa_sample";
const DEV: &str = "vdpa_sample_dev";
const DRV: &str = "vdpa_sample_drv";

/// The two modules, gone at the end.
struct Samples;

impl Samples {
    fn load(parameters: &str) -> Self {
        sys::unload_all();
        sys::insmod_test(DEV, parameters);
        sys::insmod_test(DRV, "");
        Samples
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        sys::rmmod(DEV);
        sys::rmmod(DRV);
        sys::unload_all();
    }
}

fn bind_sample_driver(device: &str) -> Errno {
    sys::write(sys::device_path(device).join("driver_override"), DRV);
    if let Some(driver) = sys::driver_of(device) {
        sys::write(format!("{}/drivers/{driver}/unbind", sys::BUS), device);
    }
    sys::try_write(format!("{}/drivers/{DRV}/bind", sys::BUS), device)
}

/// What the kernel's log says of a device since a mark was set.
struct Log(String);

impl Log {
    fn mark(name: &str) -> Self {
        let mark = format!("samples: {name}");
        sys::write("/dev/kmsg", &mark);
        Log(mark)
    }

    fn lines(&self, device: &str) -> Vec<String> {
        let log = sh("dmesg --notime").expect_ok().to_string();
        let prefix = format!("{DRV} {device}: ");
        let since = log
            .rsplit_once(self.0.as_str())
            .map_or("", |(_, tail)| tail);
        since
            .lines()
            .filter_map(|l| Some(l.split_once(&prefix)?.1.to_string()))
            .collect()
    }
}

fn management_device() {
    let _s = Samples::load("");
    sh("vdpa mgmtdev show").expect(
        "vdpa_sample: \n  supported_classes net\n  max_supported_vqs 2\n  \
         dev_features MTU MAC VERSION_1 ACCESS_PLATFORM\n",
    );
}

fn device_with_configuration() {
    let _s = Samples::load("");
    sh("vdpa dev add name s0 mgmtdev vdpa_sample mac 02:11:22:33:44:55 mtu 9000").expect("");
    sh("vdpa dev show s0")
        .expect("s0: type network mgmtdev vdpa_sample vendor_id 0 max_vqs 2 max_vq_size 256\n");
    sh("vdpa dev config show s0").expect("s0: mac 02:11:22:33:44:55 mtu 9000 \n");
    sh("vdpa dev set name s0 mac 02:00:00:00:00:99").expect("");
    sh("vdpa dev config show s0").expect("s0: mac 02:00:00:00:00:99 mtu 9000 \n");
    sh("vdpa dev del s0").expect("");
    assert!(sys::devices().is_empty());
}

fn refusals() {
    let _s = Samples::load("");
    let mut v = Vdpa::new();
    let d = v.add(MGMT, "s0");
    let again = v.new_msg(MGMT, "s0");
    v.ack(&again).expect_errno(Errno::EEXIST);
    let unknown = v
        .new_msg(MGMT, "s1")
        .attr(FEATURES, &(BASE_FEATURES | 1).to_ne_bytes());
    v.ack(&unknown).expect_errno(Errno::EINVAL);
    let pairs = v.new_msg(MGMT, "s1").attr(MAX_VQP, &4u16.to_ne_bytes());
    v.ack(&pairs).expect_errno(Errno::EOPNOTSUPP);
    drop(d);
}

fn driver_only_where_named() {
    let _s = Samples::load("");
    let mut v = Vdpa::new();
    let _d = v.add(MGMT, "s0");
    assert_eq!(sys::driver_of("s0"), None, "taken without being named");
    let bind = format!("{}/drivers/{DRV}/bind", sys::BUS);
    assert_eq!(sys::try_write(&bind, "s0"), Errno::ENODEV);
    assert_eq!(bind_sample_driver("s0"), Errno::OK);
    assert_eq!(sys::driver_of("s0").as_deref(), Some(DRV));
}

fn life_cycle_of_the_driver() {
    let _s = Samples::load("");
    let log = Log::mark("life cycle");
    sh("vdpa dev add name s0 mgmtdev vdpa_sample mac 02:11:22:33:44:55 mtu 9000").expect("");
    assert_eq!(bind_sample_driver("s0"), Errno::OK);
    sh("vdpa dev config show s0").expect(
        "s0: mac 02:11:22:33:44:55 mtu 9000 \n  negotiated_features VERSION_1 ACCESS_PLATFORM\n",
    );
    sh("vdpa dev vstats show s0 qidx 0").expect_ok();
    // Each change is an interrupt to the driver.
    for last in ["98", "99"] {
        sh(&format!("vdpa dev set name s0 mac 02:00:00:00:00:{last}")).expect("");
    }
    sh("vdpa dev del s0").expect("");
    let lines = log.lines("s0");
    let expected = [
        "virtio device type 1, 2 queue(s) of at most 256 entries",
        "offers 0x300000028, accepted 0x300000000",
        "configuration space of 12 byte(s), begins with [02, 11, 22, 33, 44, 55,",
        "reaches 0x0-0xffffffffffffffff",
        "unbind after 2 configuration change(s)",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{line:?} instead of {start:?}");
    }
}

/// The Rust driver drives what a C parent made.
fn driver_on_a_c_device() {
    let _s = Samples::load("");
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    let _d = v.add("vdpasim_net", "n0");
    let log = Log::mark("C device");
    assert_eq!(bind_sample_driver("n0"), Errno::OK);
    let features = v.config("n0").need(NEGOTIATED).u64();
    assert_eq!(features, BASE_FEATURES);
    let bind = format!("{}/drivers/{DRV}/unbind", sys::BUS);
    sys::write(&bind, "n0");
    assert!(
        v.config("n0").get(NEGOTIATED).is_none(),
        "not reset at unbind"
    );
    let lines = log.lines("n0");
    assert!(
        lines.iter().any(|l| l.starts_with("unbind after 0")),
        "{lines:#?}"
    );
}

/// C drivers drive what the Rust parent made.
fn device_for_c_drivers() {
    let _s = Samples::load("");
    let mut v = Vdpa::new();
    for driver in ["vhost_vdpa", "virtio_vdpa"] {
        sys::modprobe(driver);
        let d = v.add(MGMT, "s0");
        assert_eq!(sys::driver_of("s0").as_deref(), Some(driver));
        drop(d);
        sys::rmmod_ok(driver);
    }
}

fn queue_sizes_that_do_not_fit() {
    let _s = Samples::load("max_queue_size=0");
    let mut v = Vdpa::new();
    let _d = v.add(MGMT, "s0");
    assert_eq!(bind_sample_driver("s0"), Errno::EINVAL);
    assert_eq!(v.names(CMD_DEV_GET), ["s0"]);
}

fn unload_with_devices() {
    let _s = Samples::load("");
    let mut v = Vdpa::new();
    for n in 0..8 {
        let msg = v.new_msg(MGMT, &format!("s{n}"));
        v.ack(&msg).expect_ok();
        if n % 2 == 0 {
            assert_eq!(bind_sample_driver(&format!("s{n}")), Errno::OK);
        }
    }
    sys::rmmod_ok(DEV);
    assert!(sys::devices().is_empty(), "{:?}", sys::devices());
    sys::rmmod_ok(DRV);
}

fn cycles() {
    for n in 0..20 {
        let s = Samples::load("");
        if n % 2 == 0 {
            let mut v = Vdpa::new();
            let msg = v.new_msg(MGMT, "s0");
            v.ack(&msg).expect_ok();
            assert_eq!(bind_sample_driver("s0"), Errno::OK);
        }
        drop(s);
        assert!(!sys::is_loaded("vdpa"));
    }
}
