// SPDX-License-Identifier: GPL-2.0
//! The KUnit suites in our modules, on a kernel that has KUnit.

use vdpa_test::{ktap, ktap_main, kunit, sys};

ktap_main!(vdpa);

/// Ours has the suites of rust/kext and rust/vdpa in it.
fn vdpa() {
    if !sys::is_ours("vdpa") {
        ktap::skip("the C module has no suites");
    }
    sys::unload_all();
    let tests = kunit::run(|| sys::modprobe("vdpa"));
    assert!(tests >= 20, "only {tests} tests");
}
