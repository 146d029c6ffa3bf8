// SPDX-License-Identifier: GPL-2.0
//! The samples, a device and a driver in Rust: on either bus, beside C devices
//! and C drivers.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

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
    attribute,
    attribute_of_a_device_in_use,
    attribute_and_removal,
    unload_with_devices,
    cycles,
);

const MGMT: &str = "vdpa_sample";
const DEV: &str = "vdpa_sample_dev";
const DRV: &str = "vdpa_sample_drv";

/// The two modules, alone at first and gone at the end.
struct Samples {
    stay: bool,
}

impl Samples {
    fn load(parameters: &str) -> Self {
        // Those that an earlier test loaded will do, where loading takes seconds.
        let stay = sys::is_debug_kernel() && parameters.is_empty();
        if !(stay && sys::is_loaded(DEV) && sys::is_loaded(DRV)) {
            sys::unload_all();
        }
        sys::insmod_test(DEV, parameters);
        sys::insmod_test(DRV, "");
        Samples { stay }
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        if !self.stay {
            sys::unload_all();
        }
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

fn attribute_path(device: &str) -> PathBuf {
    sys::device_path(device).join("kicks")
}

fn attribute() {
    let _s = Samples::load("");
    let mut v = Vdpa::new();
    let d = v.add(MGMT, "s0");
    let path = attribute_path("s0");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(sys::read(&path), "0\n");
    for zero in ["0", "0\n", "0x0\n"] {
        assert_eq!(sys::try_write(&path, zero), Errno::OK, "{zero:?}");
    }
    let page = "0".repeat(4096);
    assert_eq!(sys::try_write(&path, &page), Errno::OK, "a page of zeros");
    for wrong in ["1", "\n", "0\n\n", "zero", "0 0", "0\0"] {
        assert_eq!(sys::try_write(&path, wrong), Errno::EINVAL, "{wrong:?}");
    }
    drop(d);
    assert!(!path.exists());
}

/// The value is of this device, and follows it.
fn attribute_of_a_device_in_use() {
    let _s = Samples::load("");
    sys::modprobe("virtio_net");
    sys::modprobe("virtio_vdpa");
    let mut v = Vdpa::new();
    let _d = [v.add(MGMT, "s0"), v.add(MGMT, "s1")];
    let port = sys::device_path("s0");
    sys::wait_for("the network interface", || interface(&port).is_some());
    let name = interface(&port).unwrap();
    // Nothing that is sent would ever leave.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    let kicks = || sys::read(attribute_path("s0"));
    assert_eq!(kicks(), "0\n");
    // The driver offers buffers to receive into.
    sh(&format!("ip link set {name} up")).expect_ok();
    sys::wait_for("kicks", || kicks() != "0\n");
    assert_eq!(sys::read(attribute_path("s1")), "0\n");
    sys::rmmod_ok("virtio_vdpa");
    assert_ne!(kicks(), "0\n");
    sys::write(attribute_path("s0"), "0");
    assert_eq!(kicks(), "0\n");
}

/// The network interface of a device on virtio_vdpa.
fn interface(device: &Path) -> Option<String> {
    let children = fs::read_dir(device).ok()?;
    let nets = children.filter_map(|child| fs::read_dir(child.ok()?.path().join("net")).ok());
    let name = nets.flatten().next()?.ok()?.file_name();
    Some(name.into_string().unwrap())
}

/// Tells threads to stop, also when a test fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Nothing is called of a device that is gone, nor is its removal kept waiting by
/// who has the file open.
fn attribute_and_removal() {
    let s = Samples::load("");
    let mut v = Vdpa::new();
    let d = v.add(MGMT, "s0");
    let mut open = fs::File::options()
        .read(true)
        .write(true)
        .open(attribute_path("s0"))
        .unwrap();
    drop(d);
    let errno = |result: std::io::Result<usize>| result.unwrap_err().raw_os_error();
    assert_eq!(errno(open.read(&mut [0; 8])), Some(Errno::ENODEV.0));
    assert_eq!(errno(open.write(b"0")), Some(Errno::ENODEV.0));

    let stop = AtomicBool::new(false);
    let calls = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let stopping = Stopping(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                let path = attribute_path("s0");
                while !stop.load(Relaxed) {
                    match fs::read_to_string(&path) {
                        Ok(text) => assert_eq!(text, "0\n"),
                        Err(_) => continue,
                    }
                    let _ = fs::write(&path, "0");
                    calls.fetch_add(1, Relaxed);
                }
            });
        }
        for _ in 0..200 {
            let d = v.add(MGMT, "s0");
            let before = calls.load(Relaxed);
            sys::wait_for("somebody who reads", || calls.load(Relaxed) != before);
            drop(d);
        }
        drop(stopping);
    });
    // The file that is open does not keep the module.
    drop(s);
    assert_eq!(errno(open.read(&mut [0; 8])), Some(Errno::ENODEV.0));
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
    for n in 0..sys::rounds(20, 2) {
        let s = Samples::load("");
        if n % 2 == 0 {
            let mut v = Vdpa::new();
            let msg = v.new_msg(MGMT, "s0");
            v.ack(&msg).expect_ok();
            assert_eq!(bind_sample_driver("s0"), Errno::OK);
        }
        drop(s);
        sys::unload_all();
        assert!(!sys::is_loaded("vdpa"));
    }
}
