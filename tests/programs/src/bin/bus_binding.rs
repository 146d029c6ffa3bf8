// SPDX-License-Identifier: GPL-2.0
//! Which driver gets a device: match, probe, bind, unbind, driver_override.

use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::sys::{self, BUS};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, Errno};

ktap_main!(
    first_driver_wins,
    next_driver_after_a_failed_probe,
    failed_probe_leaves_the_device,
    queue_sizes_are_checked,
    unbind_and_bind,
    bind_of_unknown_devices,
    drivers_probe,
    override_reads_and_writes,
    override_too_long,
    override_decides,
    override_of_an_unknown_driver,
    override_with_rebind,
    unloading_the_driver,
    two_hundred_rebinds,
);

/// A management device, the two drivers, and a device d0.
struct Scene {
    v: Vdpa,
    device: Option<Device>,
    _m: Mgmt,
}

impl Scene {
    fn without_device(options: &str) -> Self {
        let m = Mgmt::new("m0", options);
        parent::load_driver();
        parent::clear_driver_log();
        Scene {
            v: Vdpa::new(),
            device: None,
            _m: m,
        }
    }

    fn new() -> Self {
        let mut s = Self::without_device("");
        s.add();
        parent::forget();
        s
    }

    fn add(&mut self) {
        self.device = None;
        self.device = Some(self.v.add("m0", "d0"));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.device = None;
        parent::forget_driver();
    }
}

#[track_caller]
fn bound_to(driver: Option<&str>) {
    assert_eq!(
        sys::driver_of("d0").as_deref(),
        driver.map(|d| d.to_string()).as_deref()
    );
}

const A: Option<&str> = Some("vdpa_test_a");
const B: Option<&str> = Some("vdpa_test_b");

fn driver_file(driver: &str, file: &str, device: &str) -> Errno {
    sys::try_write(format!("{BUS}/drivers/{driver}/{file}"), device)
}

fn bind(driver: &str) -> Errno {
    driver_file(driver, "bind", "d0")
}

fn unbind(driver: &str) -> Errno {
    driver_file(driver, "unbind", "d0")
}

fn probe() -> Errno {
    sys::try_write(format!("{BUS}/drivers_probe"), "d0")
}

fn set_override(text: &str) -> Errno {
    sys::try_write(sys::device_path("d0").join("driver_override"), text)
}

fn get_override() -> String {
    sys::read(sys::device_path("d0").join("driver_override"))
}

fn first_driver_wins() {
    let mut s = Scene::without_device("");
    s.add();
    bound_to(A);
    assert_eq!(parent::driver_log(), ["probe vdpa_test_a d0"]);
    s.v.del("d0");
    assert_eq!(
        parent::driver_log(),
        ["probe vdpa_test_a d0", "remove vdpa_test_a d0"]
    );
}

fn next_driver_after_a_failed_probe() {
    let mut s = Scene::without_device("");
    parent::driver("probe-error a 5");
    s.add();
    bound_to(B);
    assert_eq!(
        parent::driver_log(),
        ["probe vdpa_test_a d0", "probe vdpa_test_b d0"]
    );
}

fn failed_probe_leaves_the_device() {
    let mut s = Scene::without_device("");
    parent::driver("probe-error a 5");
    parent::driver("probe-error b 19");
    s.add();
    bound_to(None);
    assert_eq!(s.v.get("d0").need(DEV_NAME).str(), "d0");
    parent::driver("probe-error b 0");
    assert_eq!(probe(), Errno::OK);
    bound_to(B);
    assert_eq!(unbind("vdpa_test_b"), Errno::OK);
    assert_eq!(bind("vdpa_test_a"), Errno::EIO, "the driver's error");
    bound_to(None);
}

fn queue_sizes_are_checked() {
    let table = [
        ("num_max=7 dev.num_min=8", false),
        ("num_max=8 dev.num_min=8", true),
        ("num_max=0 dev.num_min=0", true),
        ("num_max=0 dev.num_min=1", false),
        ("num_max=0xffff dev.num_min=0xffff", true),
        ("num_max=0 dev.without=get_vq_num_min", false),
        ("num_max=1 dev.num_min=9 dev.without=get_vq_num_min", true),
    ];
    for (options, binds) in sys::few(table, 4) {
        case(options, || {
            let mut s = Scene::without_device(&format!("dev.{options}"));
            s.add();
            bound_to(if binds { A } else { None });
            let asked = !parent::driver_log().is_empty();
            assert_eq!(asked, binds, "whether the driver was asked");
            if !binds {
                assert_eq!(bind("vdpa_test_a"), Errno::EINVAL);
            }
        });
    }
}

fn unbind_and_bind() {
    let _s = Scene::new();
    assert_eq!(unbind("vdpa_test_a"), Errno::OK);
    bound_to(None);
    assert_eq!(bind("vdpa_test_b"), Errno::OK);
    bound_to(B);
    assert_eq!(bind("vdpa_test_a"), Errno::EBUSY, "it has a driver");
    assert_eq!(
        unbind("vdpa_test_a"),
        Errno::ENODEV,
        "it is another driver's"
    );
    assert_eq!(unbind("vdpa_test_b"), Errno::OK);
    assert_eq!(unbind("vdpa_test_b"), Errno::ENODEV);
    let expected = [
        "remove vdpa_test_a d0",
        "probe vdpa_test_b d0",
        "remove vdpa_test_b d0",
    ];
    assert_eq!(parent::driver_log(), expected);
    assert_eq!(
        parent::calls("reset"),
        Vec::<String>::new(),
        "the bus does not reset"
    );
}

fn bind_of_unknown_devices() {
    let _s = Scene::new();
    for name in ["nobody", "", "d", "d00"] {
        case(format!("'{name}'"), || {
            let name = format!("{name}\n");
            assert_eq!(driver_file("vdpa_test_a", "bind", &name), Errno::ENODEV);
            assert_eq!(driver_file("vdpa_test_a", "unbind", &name), Errno::ENODEV);
        });
    }
}

fn drivers_probe() {
    let _s = Scene::new();
    let probe_name = |name: &str| sys::try_write(format!("{BUS}/drivers_probe"), name);
    assert_ne!(probe_name("nobody"), Errno::OK);
    assert_eq!(
        probe_name("d0\n"),
        Errno::OK,
        "a bound device stays as it is"
    );
    bound_to(A);
    unbind("vdpa_test_a");
    assert_eq!(probe_name("d0\n"), Errno::OK);
    bound_to(A);
}

fn override_reads_and_writes() {
    let _s = Scene::new();
    assert_eq!(get_override(), "(null)\n");
    let table = [
        ("vdpa_test_b", "vdpa_test_b\n"),
        ("other\n", "other\n"),
        ("first\nsecond", "first\n"),
        ("with blank \n", "with blank \n"),
        ("a\0b", "a\n"),
        ("\n", "(null)\n"),
        ("x", "x\n"),
        ("\nx", "(null)\n"),
        ("y", "y\n"),
        ("\0", "(null)\n"),
    ];
    for (written, read) in table {
        case(format!("{written:?}"), || {
            assert_eq!(set_override(written), Errno::OK);
            assert_eq!(get_override(), read);
        });
    }
    bound_to(A);
}

fn override_too_long() {
    let _s = Scene::new();
    let longest = "o".repeat(4094);
    assert_eq!(set_override(&longest), Errno::OK);
    assert_eq!(get_override(), format!("{longest}\n"));
    for len in [4095, 4096] {
        case(format!("{len} bytes"), || {
            assert_eq!(set_override(&"p".repeat(len)), Errno::EINVAL);
            assert_eq!(get_override(), format!("{longest}\n"), "it stays as it was");
        });
    }
}

fn override_decides() {
    let _s = Scene::new();
    unbind("vdpa_test_a");
    assert_eq!(set_override("vdpa_test_b"), Errno::OK);
    bound_to(None);
    assert_eq!(
        bind("vdpa_test_a"),
        Errno::ENODEV,
        "not the driver that is wanted"
    );
    assert_eq!(probe(), Errno::OK);
    bound_to(B);
    unbind("vdpa_test_b");
    assert_eq!(set_override("vdpa_test_"), Errno::OK);
    for driver in ["vdpa_test_a", "vdpa_test_b"] {
        assert_eq!(bind(driver), Errno::ENODEV, "names are compared whole");
    }
    assert_eq!(set_override("\n"), Errno::OK);
    assert_eq!(probe(), Errno::OK);
    bound_to(A);
}

fn override_of_an_unknown_driver() {
    let _s = Scene::new();
    unbind("vdpa_test_a");
    assert_eq!(set_override("nobody"), Errno::OK);
    let _ = probe();
    bound_to(None);
    assert_eq!(parent::driver_log(), ["remove vdpa_test_a d0"]);
}

fn override_with_rebind() {
    let mut s = Scene::new();
    assert_eq!(set_override("vdpa_test_b"), Errno::OK);
    bound_to(A);
    unbind("vdpa_test_a");
    probe();
    bound_to(B);
    case("drivers loaded again follow it", || {
        sys::rmmod_ok("vdpa_test_driver");
        bound_to(None);
        parent::load_driver();
        bound_to(B);
    });
    case("a new device of the name has none", || {
        s.v.del("d0");
        s.add();
        assert_eq!(get_override(), "(null)\n");
        bound_to(A);
    });
}

fn unloading_the_driver() {
    let mut s = Scene::new();
    let _e = s.v.add("m0", "e0");
    sys::rmmod_ok("vdpa_test_driver");
    bound_to(None);
    assert_eq!(sys::driver_of("e0"), None);
    parent::load_driver();
    bound_to(A);
    assert_eq!(sys::driver_of("e0").as_deref(), A);
}

fn two_hundred_rebinds() {
    let _s = Scene::new();
    for _ in 0..100 {
        assert_eq!(unbind("vdpa_test_a"), Errno::OK);
        assert_eq!(bind("vdpa_test_b"), Errno::OK);
        assert_eq!(unbind("vdpa_test_b"), Errno::OK);
        assert_eq!(bind("vdpa_test_a"), Errno::OK);
    }
    bound_to(A);
}
