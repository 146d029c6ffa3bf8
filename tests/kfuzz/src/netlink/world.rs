// SPDX-License-Identifier: GPL-2.0
//! What is there to talk to: management devices of all kinds and what makes them.

use vdpa_test::genl::Family;
use vdpa_test::vdpa::*;
use vdpa_test::{parent, sys};

use crate::random::Random;
use crate::text::hex;

/// A management device.
pub struct Manager {
    pub bus: Option<&'static str>,
    pub name: &'static str,
    /// Whether it takes attributes of network devices.
    pub net: bool,
    /// How the test parent makes it; `None` for that of another module.
    pub options: Option<&'static str>,
}

const fn manager(name: &'static str, net: bool, options: &'static str) -> Manager {
    Manager {
        bus: None,
        name,
        net,
        options: Some(options),
    }
}

const fn simulator(name: &'static str, net: bool) -> Manager {
    Manager {
        bus: None,
        name,
        net,
        options: None,
    }
}

const fn on_bus(bus: &'static str, name: &'static str, options: &'static str) -> Manager {
    Manager {
        bus: Some(bus),
        name,
        net: true,
        options: Some(options),
    }
}

/// Options for a parent that takes all attributes of network devices: address, MTU, queue
/// pairs and features.
macro_rules! net {
    ($rest:literal) => {
        concat!(
            "attrs=0x103400 features=0xffffffffffffffff max_vqs=9 ",
            $rest
        )
    };
}

const NET: &str = net!("dev.features=0x1000000300410028 dev.status=15");
const READY: &str = net!("dev.features=0x300000020 dev.driver_features=0x300400020 dev.status=8");
const BLOCK: &str = net!("classes=2 dev.id=2 dev.features=0x300007666");
const SMALL: &str = "classes=2 dev.id=2 dev.config_size=8 dev.features=0x300000000";
const MULTI: &str = net!("classes=1,2 dev.orphan=1");
const HIGH: &str = "classes=63,64,4096 dev.id=64 dev.num_max=1";
const BARE: &str = "dev.config_size=8 dev.status=8 \
    dev.without=get_vendor_vq_stats,get_vq_num_min,free,compat_reset";
const OLD: &str =
    net!("dev.set_features_error=5 dev.stats_error=5 dev.set_attr_error=5 dev.status=8");

/// All management devices that there are, ordinary and odd ones.
pub static MANAGERS: [Manager; 16] = [
    manager("m-net", true, NET),
    manager("m-ready", true, READY),
    manager("m-blk", false, BLOCK),
    manager("m-small", false, SMALL),
    manager("m-multi", true, MULTI),
    on_bus("platform", "m-plat", net!("bus=platform dev.status=8")),
    on_bus("faux", "m-faux", net!("bus=faux set_attr=0")),
    manager("m-fs", false, "classes=26 dev.id=26"),
    manager("m-high", false, HIGH),
    manager("m-error", true, net!("dev.add_error=5")),
    manager("m-late", true, net!("dev.late_error=5")),
    manager("m-null", false, "dev.null_mdev=1"),
    manager("m-bare", true, BARE),
    manager("m-old", true, OLD),
    simulator("vdpasim_net", true),
    simulator("vdpasim_blk", false),
];

/// Names of devices that come and go; the last two never have a management device.
pub const DEVICES: [&str; 10] = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "u0", "u1"];

/// One of them, a single one often: what collides has to meet.
pub fn pick_manager(r: &mut Random) -> &'static Manager {
    if r.one_in(4) {
        &MANAGERS[0]
    } else {
        r.pick(&MANAGERS)
    }
}

/// The command for the test parent that makes it.
pub fn add_command(manager: &Manager) -> Option<String> {
    Some(format!("mgmt-add {} {}", manager.name, manager.options?))
}

/// Loads the modules and makes the management devices. Returns the family.
pub fn set_up() -> Family {
    sys::unload_all();
    parent::load();
    parent::load_driver();
    MANAGERS
        .iter()
        .filter_map(add_command)
        .for_each(|c| parent::control(&c));
    // Not every kernel has them. A disk's memory is large: they share one.
    for module in [
        "vdpa_sim_net",
        "vdpa_sim_blk shared_backend=1",
        "vhost_vdpa",
    ] {
        sys::sh(&format!("modprobe -q {module}"));
    }
    Family::find("vdpa").expect("family vdpa")
}

/// Names as the kernel tells them, which need not be text.
fn names(vdpa: &mut Vdpa, cmd: u8) -> Vec<Vec<u8>> {
    let records = vdpa.dump(cmd);
    records
        .iter()
        .map(|r| r.need(DEV_NAME).data.clone())
        .collect()
}

/// Deletes all devices that users can delete.
pub fn delete_devices(vdpa: &mut Vdpa) {
    for name in names(vdpa, CMD_DEV_GET) {
        let msg = vdpa.msg(CMD_DEV_DEL).attr(DEV_NAME, &name);
        vdpa.request(&msg);
    }
}

/// Takes everything away. Returns what does not work any more.
pub fn tear_down() -> Vec<String> {
    let mut problems = Vec::new();
    let mut expect = |ok: bool, what: String| {
        if !ok {
            problems.push(what);
        }
    };
    let mut vdpa = Vdpa::new();
    for device in ["u0", "u1"] {
        parent::try_control(&format!("dev-del {device}"));
    }
    delete_devices(&mut vdpa);
    for cmd in [CMD_DEV_GET, CMD_DEV_CONFIG_GET] {
        let left: Vec<_> = names(&mut vdpa, cmd).iter().map(|n| hex(n)).collect();
        expect(
            left.is_empty(),
            format!("devices cannot be deleted: {left:?}"),
        );
    }
    let managers = vdpa.dump(CMD_MGMTDEV_GET).len();
    expect(managers > 0, "there is no management device left".into());
    sys::unload_all();
    let devices = sys::devices();
    expect(
        devices.is_empty(),
        format!("devices on the bus: {devices:?}"),
    );
    for module in [
        "vdpa_test_driver",
        "vdpa_test_parent",
        "vdpa_sim",
        "vhost_vdpa",
        "vdpa",
    ] {
        expect(
            !sys::is_loaded(module),
            format!("{module} cannot be removed"),
        );
    }
    problems
}
