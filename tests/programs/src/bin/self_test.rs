// SPDX-License-Identifier: GPL-2.0
//! Plants what the test runner must notice: a failing test, a report in the
//! kernel's log and, on a kernel that looks for them, real bugs in a module.
//! tests/self-test-KERNEL lists what the runner must tell.

use vdpa_test::{ktap, ktap_main, kunit, sys};

ktap_main!(
    passes,
    fails,
    reports,
    skips,
    leak,
    kunit_failure,
    // lockdep stops at the first report, of its own or of others.
    lock_inversion,
    sleep_under_spinlock,
    use_after_free,
);

fn passes() {}

fn fails() {
    assert_eq!(1 + 1, 3, "planted");
}

fn reports() {
    let line = "<4>WARNING: CPU: 0 PID: 1 at planted/by/a_test.c:1\n";
    std::fs::write("/dev/kmsg", line).unwrap();
}

fn skips() {
    ktap::skip("planted");
}

/// See tests/modules/planted.rs.
fn plant(bug: u8) {
    if !sys::is_debug_kernel() {
        ktap::skip("the kernel has no sanitizers");
    }
    sys::insmod_test("vdpa_test_planted", &format!("bug={bug}"));
    sys::rmmod_ok("vdpa_test_planted");
}

fn use_after_free() {
    plant(1);
}

fn lock_inversion() {
    plant(2);
}

fn leak() {
    plant(3);
}

fn sleep_under_spinlock() {
    plant(4);
}

fn kunit_failure() {
    kunit::run(|| plant(0));
}
