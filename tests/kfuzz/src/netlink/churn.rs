// SPDX-License-Identifier: GPL-2.0
//! Makes devices and management devices come and go, and drivers change, while
//! messages are sent.

use std::time::Duration;
use std::{fs, thread};

use vdpa_test::vdpa::Vdpa;
use vdpa_test::{parent, sys, Errno};

use super::world::{add_command, delete_devices, pick_manager, DEVICES};
use crate::random::Random;

/// More devices would make lists long and slow.
const MOST_DEVICES: usize = 40;

/// The longest pause between steps, in microseconds: the others need time.
const PAUSE: usize = 10_000;

const STATUSES: [u8; 5] = [0, 3, 8, 11, 15];

fn bus(file: &str, text: &str) {
    sys::try_write(format!("{}/{file}", sys::BUS), text);
}

fn manage(r: &mut Random) {
    let manager = pick_manager(r);
    if let Some(add) = add_command(manager) {
        parent::try_control(&format!("mgmt-del {}", manager.name));
        if r.one_in(8) {
            thread::sleep(Duration::from_millis(60));
        }
        parent::try_control(&add);
    }
}

fn bind(r: &mut Random, device: &str) {
    let driver = *r.pick(&["vdpa_test_a", "vdpa_test_b", "vhost_vdpa"]);
    match r.below(5) {
        0 => bus("drivers_probe", device),
        1 => bus(&format!("drivers/{driver}/bind"), device),
        2 => bus(&format!("devices/{device}/driver_override"), driver),
        3 => bus(&format!("devices/{device}/driver_override"), "\n"),
        _ => bus(&format!("devices/{device}/driver/unbind"), device),
    }
}

/// What a driver does to its device.
fn drive(r: &mut Random, device: &str) {
    let status = *r.pick(&STATUSES);
    let features = *r.pick(&[0, 0x3_0000_0000, 0x3_0040_0020, u64::MAX]);
    let offset = r.below(64);
    parent::try_driver(&match r.below(7) {
        0 => format!("status {device} {status}"),
        1 => format!("features {device} {features}"),
        2 => format!("reset {device} {}", r.below(2)),
        3 => format!("get-config {device} {offset} 16"),
        4 => format!("set-config {device} {offset} 1"),
        5 => format!("hold {device}"),
        _ => format!("put {device}"),
    });
}

fn unmanaged(r: &mut Random) {
    let device = *r.pick(&["u0", "u1"]);
    let verb = if r.one_in(3) { "dev-del" } else { "dev-add" };
    parent::try_control(&format!("{verb} {device}"));
}

fn fail_probes(r: &mut Random) {
    let error = *r.pick(&[0, 0, 0, 0, 5]);
    let driver = *r.pick(&["a", "b"]);
    parent::try_driver(&format!("probe-error {driver} {error}"));
}

/// A device changes under its users.
fn change(r: &mut Random, device: &str) {
    let features = *r.pick(&[0, 0x3_0000_7666, 0x1000_0003_0041_0028, u64::MAX]);
    let id = *r.pick(&[1, 1, 2, 26]);
    parent::try_control(&match r.below(4) {
        0 => format!("dev-set {device} status={}", r.pick(&STATUSES)),
        1 => format!("dev-set {device} features={features} driver_features={features}"),
        2 => format!("dev-set {device} id={id}"),
        _ => format!("dev-set {device} config_size={}", r.pick(&[0, 8, 60, 256])),
    });
}

fn look(r: &mut Random, device: &str) {
    let folder = sys::device_path(device);
    match r.below(3) {
        0 => drop(fs::read(folder.join("uevent"))),
        1 => drop(fs::read(folder.join("driver_override"))),
        _ => {
            sys::try_write(folder.join("uevent"), "change");
        }
    }
}

fn trace(on: bool) {
    for file in ["events/vdpa/enable", "tracing_on"] {
        sys::try_write(
            format!("/sys/kernel/tracing/{file}"),
            if on { "1" } else { "0" },
        );
    }
}

/// Gives back the references that `drive` takes: a module waits for its devices.
fn let_go() {
    for device in DEVICES {
        while parent::try_driver(&format!("put {device}")) == Errno::OK {}
    }
}

fn modules(r: &mut Random) {
    let_go();
    let (module, options) = *r.pick(&[("vdpa_sim_net", ""), ("vdpa_sim_blk", "shared_backend=1")]);
    if sys::is_loaded(module) {
        sys::rmmod(module);
    } else {
        sys::sh(&format!("modprobe -q {module} {options}"));
    }
}

/// Disturbs the others, a step at a time.
pub struct Churn {
    random: Random,
    vdpa: Vdpa,
    has_precedence: bool,
}

impl Churn {
    pub fn new(random: Random) -> Self {
        let vdpa = Vdpa::new();
        Churn {
            random,
            vdpa,
            has_precedence: false,
        }
    }

    /// Gives the thread that calls it precedence over all others: it then interrupts them
    /// at any place, also where they ought to hold a lock and do not.
    fn take_precedence() {
        let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
        let parameters = libc::sched_param { sched_priority: 1 };
        // SAFETY: The parameters live across the call.
        let ret = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
        assert_eq!(ret, 0, "sched_setscheduler: {:?}", Errno::last());
    }

    pub fn step(&mut self) {
        if !self.has_precedence {
            Self::take_precedence();
            self.has_precedence = true;
        }
        let r = &mut self.random;
        let device = *r.pick(&DEVICES);
        match r.weighted(&[12, 4, 8, 8, 8, 4, 2, 1, 1]) {
            0 => manage(r),
            1 => unmanaged(r),
            2 => bind(r, device),
            3 => drive(r, device),
            4 => change(r, device),
            5 => look(r, device),
            6 => fail_probes(r),
            7 => trace(r.one_in(2)),
            _ if r.one_in(4) => modules(r),
            _ if sys::devices().len() > MOST_DEVICES => delete_devices(&mut self.vdpa),
            _ => {}
        }
        thread::sleep(Duration::from_micros(self.random.below(PAUSE) as u64));
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        trace(false);
        let_go();
    }
}
