// SPDX-License-Identifier: GPL-2.0
//! Plants a failure and a kernel report, for `tools/check --self-test`.

use vdpa_test::{ktap, ktap_main};

ktap_main!(passes, fails, reports, skips);

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
