// SPDX-License-Identifier: GPL-2.0
//! The trace events of system "vdpa".

use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    events_and_fields,
    add_and_delete,
    probe,
    commands,
    silent_when_off
);

const TRACING: &str = "/sys/kernel/tracing";
const EVENTS: &str = "/sys/kernel/tracing/events/vdpa";

/// Opening for a new content is what empties the buffer.
fn clear() {
    std::fs::write(format!("{TRACING}/trace"), "").unwrap();
}

/// Events are on while this lives.
struct Tracing;

impl Tracing {
    fn on() -> Self {
        sys::modprobe("vdpa");
        clear();
        sys::write(format!("{EVENTS}/enable"), "1");
        Tracing
    }

    /// `event: text` of every event so far, and an empty buffer.
    fn take(&self) -> Vec<String> {
        let text = sys::read(format!("{TRACING}/trace"));
        clear();
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        // Behind the time stamp, which ends in the first ": ".
        lines
            .filter_map(|l| l.split_once(": ").map(|p| p.1.trim().to_string()))
            .collect()
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        sys::try_write(format!("{EVENTS}/enable"), "0");
    }
}

fn of(lines: &[String], event: &str) -> Vec<String> {
    lines
        .iter()
        .filter(|l| l.starts_with(&format!("{event}:")))
        .cloned()
        .collect()
}

fn events_and_fields() {
    sys::modprobe("vdpa");
    let table = [
        ("vdpa_dev_add", &["name", "device_id", "nvqs", "ret"][..]),
        ("vdpa_dev_del", &["name"]),
        ("vdpa_dev_probe", &["name", "driver", "ret"]),
        ("vdpa_nl_cmd", &["cmd", "dump", "ret"]),
    ];
    for (event, fields) in table {
        case(event, || {
            let format = sys::read(format!("{EVENTS}/{event}/format"));
            let found: Vec<_> = format
                .lines()
                .filter_map(|l| l.trim().strip_prefix("field:")?.split_once(';'))
                .filter_map(|(decl, _)| decl.split_whitespace().next_back()?.split('[').next())
                .filter(|name| !name.starts_with("common_"))
                .collect();
            assert_eq!(found, fields, "{format}");
            assert!(format.contains("print fmt:"));
        });
    }
}

fn has(line: &str, words: &[&str]) {
    for w in words {
        assert!(line.contains(w), "'{w}' is missing in: {line}");
    }
}

fn add_and_delete() {
    let m = Mgmt::new("m0", "dev.id=26 dev.nvqs=5");
    let t = Tracing::on();
    let mut v = Vdpa::new();
    t.take();
    let _d = v.add("m0", "traced");
    let lines = of(&t.take(), "vdpa_dev_add");
    assert_eq!(lines.len(), 1, "{lines:?}");
    has(&lines[0], &["traced", "26", "5", "0"]);
    let msg = v.new_msg("m0", "traced");
    v.ack(&msg).expect_errno(Errno::EEXIST);
    let lines = of(&t.take(), "vdpa_dev_add");
    assert_eq!(lines.len(), 1, "{lines:?}");
    has(&lines[0], &["traced", "-17"]);
    v.del("traced");
    let lines = of(&t.take(), "vdpa_dev_del");
    assert_eq!(lines.len(), 1, "{lines:?}");
    has(&lines[0], &["traced"]);
    let _e = v.add("m0", "goes");
    t.take();
    drop(m);
    assert_eq!(
        of(&t.take(), "vdpa_dev_del").len(),
        1,
        "with its management device"
    );
}

fn probe() {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    let t = Tracing::on();
    let mut v = Vdpa::new();
    parent::driver("probe-error a 5");
    let _d = v.add("m0", "traced");
    let lines = of(&t.take(), "vdpa_dev_probe");
    assert_eq!(lines.len(), 2, "{lines:?}");
    has(&lines[0], &["traced", "vdpa_test_a", "-5"]);
    has(&lines[1], &["traced", "vdpa_test_b", "0"]);
    v.del("traced");
    sys::rmmod_ok("vdpa_test_driver");
}

fn commands() {
    let _m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let t = Tracing::on();
    let mut last = |what: &str, errno: i32, act: &mut dyn FnMut(&mut Vdpa)| {
        t.take();
        act(&mut v);
        let lines = of(&t.take(), "vdpa_nl_cmd");
        assert_eq!(lines.len(), 1, "{what}: {lines:?}");
        has(&lines[0], &[what, &format!("{}", -errno)]);
    };
    case("DEV_GET", || last("DEV_GET", 0, &mut |v| drop(v.get("d0"))));
    case("DEV_CONFIG_GET", || {
        last("DEV_CONFIG_GET", 0, &mut |v| drop(v.config("d0")))
    });
    case("DEV_DEL", || {
        last("DEV_DEL", libc::ENODEV, &mut |v| drop(v.try_del("nobody")));
    });
    case("MGMTDEV_GET", || {
        last("MGMTDEV_GET", libc::EINVAL, &mut |v| {
            let msg = v.msg(CMD_MGMTDEV_GET);
            v.ack(&msg).expect_errno(Errno::EINVAL);
        });
    });
    case("DEV_VSTATS_GET", || {
        last("DEV_VSTATS_GET", libc::EINVAL, &mut |v| {
            let msg = v.msg(CMD_DEV_VSTATS_GET);
            v.ack(&msg).expect_errno(Errno::EINVAL);
        });
    });
    case("DEV_ATTR_SET", || {
        last("DEV_ATTR_SET", libc::EOPNOTSUPP, &mut |v| {
            let msg = v.about(CMD_DEV_ATTR_SET, "d0");
            v.ack(&msg).expect_errno(Errno::EOPNOTSUPP);
        });
    });
    case("DEV_NEW", || {
        last("DEV_NEW", libc::EEXIST, &mut |v| {
            let msg = v.new_msg("m0", "d0");
            v.ack(&msg).expect_errno(Errno::EEXIST);
        });
    });
    case("a dump says that it is one", || {
        t.take();
        v.names(CMD_DEV_GET);
        let lines = of(&t.take(), "vdpa_nl_cmd");
        assert!(!lines.is_empty());
        lines.iter().for_each(|l| has(l, &["DEV_GET", "dump"]));
    });
}

fn silent_when_off() {
    let _m = Mgmt::new("m0", "");
    let t = Tracing::on();
    t.take();
    sys::write(format!("{EVENTS}/enable"), "0");
    let mut v = Vdpa::new();
    drop(v.add("m0", "d0"));
    assert_eq!(t.take(), Vec::<String>::new());
}
