// SPDX-License-Identifier: GPL-2.0
//! What goes on beside the calls: devices report, are looked at, lose their driver,
//! and come and go.

use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use vdpa_test::sim::MAC as OWN;
use vdpa_test::vdpa::*;
use vdpa_test::{parent, sys, Errno};

use super::world::{World, ALL};
use crate::random::Random;

/// The longest pause between steps, in microseconds: the others need time.
const PAUSE: usize = 10_000;

const VIEWS: &str = "/sys/kernel/debug/vhost_vdpa";
const FAULTS: &str = "/sys/kernel/debug/vdpa_sim_net";

/// What is told the files of a simulator, and in the end.
const FAULT_FILES: [(&str, &[&str], &str); 7] = [
    ("needs_reset", &["1"], ""),
    ("config_change", &["1"], ""),
    ("announce", &["1"], ""),
    ("link", &["0", "1"], "1"),
    ("fail_maps", &["1", "1", "3", "0"], "0"),
    ("stall_queue", &["0", "1", "-1"], "-1"),
    ("drop_every", &["2", "0"], "0"),
];

/// Disturbs the others, a step at a time.
pub struct Churn {
    random: Random,
    vdpa: Vdpa,
    world: Arc<World>,
    /// Whether devices can go while their nodes are open: C waits until nobody has.
    revokes: bool,
}

fn trace(on: bool) {
    for file in ["events/vhost_vdpa/enable", "tracing_on"] {
        let value = if on { "1" } else { "0" };
        sys::try_write(format!("/sys/kernel/tracing/{file}"), value);
    }
}

fn look() {
    for node in sys::list(VIEWS) {
        for file in ["state", "queues", "maps"] {
            let _ = fs::read(format!("{VIEWS}/{node}/{file}"));
        }
    }
}

fn disturb(r: &mut Random) {
    let card = *r.pick(&["f0", "f1"]);
    let (file, values, _) = *r.pick(&FAULT_FILES);
    sys::try_write(format!("{FAULTS}/{card}/{file}"), r.pick(values));
}

fn calm() {
    for card in ["f0", "f1"] {
        for (file, _, value) in FAULT_FILES {
            if !value.is_empty() {
                sys::try_write(format!("{FAULTS}/{card}/{file}"), value);
            }
        }
    }
}

impl Churn {
    pub fn new(random: Random, world: Arc<World>) -> Self {
        Churn {
            random,
            vdpa: Vdpa::new(),
            world,
            revokes: sys::is_ours("vhost_vdpa") && sys::is_ours("vdpa"),
        }
    }

    /// Asks and tells the management.
    fn manage(&mut self) {
        let r = &mut self.random;
        let device = r.pick(&ALL).name;
        let msg = match r.below(4) {
            0 => self.vdpa.about(CMD_DEV_CONFIG_GET, device),
            1 => self.vdpa.about(CMD_DEV_GET, device),
            2 => {
                let queue = (r.below(4) as u32).to_ne_bytes();
                let msg = self.vdpa.about(CMD_DEV_VSTATS_GET, device);
                msg.attr(QUEUE_INDEX, &queue)
            }
            _ => self.vdpa.about(CMD_DEV_ATTR_SET, device).attr(MAC, &OWN),
        };
        self.vdpa.request(&msg);
    }

    /// A device loses its driver for a while, or goes and comes again.
    fn revoke(&mut self) {
        let n = self.random.below(ALL.len());
        let device = &ALL[n];
        if self.random.one_in(2) {
            let bind = |verb: &str| {
                let file = format!("{}/drivers/vhost_vdpa/{verb}", sys::BUS);
                assert_eq!(sys::try_write(file, device.name), Errno::OK, "{verb}");
            };
            bind("unbind");
            bind("bind");
        } else {
            self.vdpa.del(device.name);
            let errno = device.try_add(&mut self.vdpa);
            assert_eq!(errno, Errno::OK, "adding {}", device.name);
        }
        self.world.look_for(n);
    }

    /// A device that does nothing has another status all of a sudden.
    fn change(&mut self) {
        let r = &mut self.random;
        let (device, status) = (*r.pick(&["p0", "p1"]), *r.pick(&[0, 15, 64, 79, 255]));
        parent::try_control(&format!("dev-set {device} status={status}"));
    }

    pub fn step(&mut self) {
        let weights = [6, 6, 4, 1, 3, if self.revokes { 1 } else { 0 }];
        match self.random.weighted(&weights) {
            0 => look(),
            1 => disturb(&mut self.random),
            2 => self.manage(),
            3 => self.change(),
            4 => trace(self.random.one_in(2)),
            _ => self.revoke(),
        }
        let pause = self.random.below(PAUSE) as u64;
        thread::sleep(Duration::from_micros(pause));
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        trace(false);
        calm();
    }
}
