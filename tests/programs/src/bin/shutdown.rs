// SPDX-License-Identifier: GPL-2.0
//! At reboot, devices that a driver has are reset. This program ends its VM;
//! the report on the run looks for the resets in the console's log, where the
//! test parent tells them.

use vdpa_test::ktap::mark;
use vdpa_test::parent;
use vdpa_test::sys;
use vdpa_test::vdpa::*;

const PROGRAM: &str = env!("CARGO_BIN_NAME");

fn main() {
    println!("KTAP version 1");
    mark(PROGRAM, "prepares");
    parent::load();
    parent::control("mgmt-add m0");
    let mut v = Vdpa::new();
    for name in ["bound0", "bound1", "unbound"] {
        let msg = v.new_msg("m0", name);
        v.ack(&msg).expect_ok();
    }
    parent::load_driver();
    sys::write("/sys/bus/vdpa/drivers/vdpa_test_a/unbind", "unbound");
    // In use, as by a guest.
    for name in ["bound0", "bound1", "unbound"] {
        parent::driver(&format!("features {name} 0x300000000"));
        parent::driver(&format!("status {name} 0xf"));
    }
    parent::control("console 1");
    std::fs::write("/out/status", "0\n").unwrap();
    mark(PROGRAM, "reboots");
    // SAFETY: System calls without pointers; the VM ends here.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_AUTOBOOT);
    }
    panic!("still here: {:?}", vdpa_test::Errno::last());
}
