// SPDX-License-Identifier: GPL-2.0
//! The in-kernel contract of the exported symbols. The checks run in the test
//! parent when it is loaded; here they become cases.

use vdpa_test::{ktap, ktap_main, parent};

ktap_main!(exported_symbols);

fn exported_symbols() {
    let mut plan = None;
    let mut seen = 0;
    for line in parent::contract().lines() {
        let (ok, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => match line.strip_prefix("ok ") {
                Some(rest) => (true, rest),
                None => {
                    ktap::note(line.trim_start_matches("# "));
                    plan = plan.or(line.strip_prefix("1..").and_then(|n| n.parse().ok()));
                    continue;
                }
            },
        };
        seen += 1;
        ktap::case_result(rest.split_once(' ').map_or(rest, |r| r.1), ok);
    }
    assert_eq!(plan, Some(seen), "checks planned and done");
    assert!(seen > 80, "only {seen} checks");
}
