// SPDX-License-Identifier: GPL-2.0
//! DEV_NEW: what is checked, in which order, and what reaches the parent.

use vdpa_test::ktap::case;
use vdpa_test::nl::*;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    device_name_missing,
    management_device_not_found,
    no_queue_pair,
    features_missing_for_attributes,
    attributes_not_supported,
    network_attributes_on_another_class,
    ambiguous_features,
    order_of_checks,
    arguments_reach_the_parent,
    any_mac_is_taken,
    errors_of_the_parent,
    failure_after_allocation,
    registration_without_management_device,
    duplicate_name,
    on_a_bus,
);

/// MAC, MAX_VQP, MTU and FEATURES.
const ALL_ATTRS: &str = "attrs=0x103400";
const MAC_BYTES: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const NO_MGMT: &str = "vdpa: Fail to find the specified management device";
const NO_PAIR: &str = "vdpa: At least one pair of VQs is required";
const CLASS: &str = "vdpa: Network class attributes provided on unsupported management device";
const AMBIGUOUS: &str = "vdpa: Management device supports multi-class while device features \
                         specified are ambiguous";

trait Attrs {
    fn mac(self) -> Self;
    fn mtu(self, v: u16) -> Self;
    fn vqp(self, v: u16) -> Self;
    fn features(self, v: u64) -> Self;
}

impl Attrs for Msg {
    fn mac(self) -> Self {
        self.attr(MAC, &MAC_BYTES)
    }
    fn mtu(self, v: u16) -> Self {
        self.attr(MTU, &v.to_ne_bytes())
    }
    fn vqp(self, v: u16) -> Self {
        self.attr(MAX_VQP, &v.to_ne_bytes())
    }
    fn features(self, v: u64) -> Self {
        self.attr(FEATURES, &v.to_ne_bytes())
    }
}

fn device_name_missing() {
    let _m = Mgmt::new("m0", ALL_ATTRS);
    let mut v = Vdpa::new();
    case("only the management device", || {
        let msg = v.msg(CMD_DEV_NEW).attr_str(MGMT_NAME, "m0");
        v.ack(&msg).expect(Errno::EINVAL, None);
    });
    case("before the other checks", || {
        let msg = v.msg(CMD_DEV_NEW).vqp(0);
        v.ack(&msg).expect(Errno::EINVAL, None);
    });
}

fn management_device_not_found() {
    let (_a, _b) = (Mgmt::new("m0", ""), Mgmt::new("m1", "bus=faux"));
    let mut v = Vdpa::new();
    case("name missing", || {
        let msg = v.about(CMD_DEV_NEW, "d");
        v.ack(&msg).expect(Errno::EINVAL, Some(NO_MGMT));
    });
    for name in ["nobody", "m1", "faux/m0", "platform/m1", "pci/m1"] {
        case(name, || {
            let msg = v.new_msg(name, "d");
            v.ack(&msg).expect(Errno::ENODEV, Some(NO_MGMT));
        });
    }
    assert_eq!(parent::calls("dev_add"), Vec::<String>::new());
}

fn no_queue_pair() {
    let _m = Mgmt::new("m0", ALL_ATTRS);
    let mut v = Vdpa::new();
    let msg = v.new_msg("m0", "d").vqp(0);
    v.ack(&msg).expect(Errno::EINVAL, Some(NO_PAIR));
}

fn features_missing_for_attributes() {
    let _m = Mgmt::new("m0", ALL_ATTRS);
    let mut v = Vdpa::new();
    let base = v.new_msg("m0", "d");
    let table = [
        (base.clone().mac().features(0), 0x20),
        (base.clone().mtu(1500).features(0), 0x8),
        (base.clone().vqp(2).features(0), 0x40_0000),
        (base.clone().mac().mtu(1500).vqp(2).features(0), 0x40_0028),
        (
            base.clone().mac().mtu(1500).vqp(2).features(1 << 3),
            0x40_0020,
        ),
        (base.clone().mac().features(!(1 << 5)), 0x20),
    ];
    for (msg, missing) in table {
        case(format!("{missing:#x}"), || {
            let text = format!("vdpa: Missing features {missing:#x} for provided attributes");
            v.ack(&msg).expect(Errno::EINVAL, Some(&text));
        });
    }
    case("one pair needs no MQ", || {
        let _d = v.add_by(&base.clone().vqp(1).features(0), "d");
    });
    case("all there", || {
        let _d = v.add_by(&base.clone().mac().mtu(68).vqp(9).features(0x40_0028), "d");
    });
}

fn attributes_not_supported() {
    let mut v = Vdpa::new();
    let full = |v: &Vdpa| v.new_msg("m0", "d").mac().mtu(1500).vqp(1).features(0x28);
    for (mask, missing) in [
        (0u64, 0x10_3400),
        (1 << 10, 0x10_3000),
        (1 << 12, 0x10_2400),
        (1 << 13, 0x10_1400),
        (1 << 20, 0x3400),
        (!(1 << 20), 0x10_0000),
    ] {
        case(format!("supported {mask:#x}"), || {
            let _m = Mgmt::new("m0", &format!("attrs={mask:#x}"));
            let text = format!("vdpa: Some provided attributes are not supported: {missing:#x}");
            let msg = full(&v);
            v.ack(&msg).expect(Errno::EOPNOTSUPP, Some(&text));
        });
    }
    case("none given, none supported", || {
        let _m = Mgmt::new("m0", "");
        let _d = v.add("m0", "d");
    });
}

fn network_attributes_on_another_class() {
    let _m = Mgmt::new("m0", &format!("classes=2 dev.id=2 {ALL_ATTRS}"));
    let mut v = Vdpa::new();
    let base = v.new_msg("m0", "d");
    for (name, msg) in [
        ("MAC", base.clone().mac()),
        ("MTU", base.clone().mtu(99)),
        ("VQP", base.clone().vqp(1)),
    ] {
        case(name, || {
            v.ack(&msg).expect(Errno::EINVAL, Some(CLASS));
        });
    }
    case("features are no network attribute", || {
        let _d = v.add_by(&base.clone().features(0x3), "d");
    });
}

fn ambiguous_features() {
    let mut v = Vdpa::new();
    let base = v.new_msg("m0", "d");
    {
        let _m = Mgmt::new("m0", &format!("classes=2,1 {ALL_ATTRS}"));
        for bit in [0, 5, 27, 43, 60, 63] {
            case(format!("bit {bit}"), || {
                let msg = base.clone().features(1 << bit);
                v.ack(&msg).expect(Errno::EINVAL, Some(AMBIGUOUS));
            });
        }
        for bit in [28, 32, 38, 41, 42] {
            case(format!("bit {bit} is the transport's"), || {
                let _d = v.add_by(&base.clone().features(1 << bit), "d");
            });
        }
        case("no bit at all", || {
            let _d = v.add_by(&base.clone().features(0), "d");
        });
        case("a network attribute makes it clear", || {
            let _d = v.add_by(&base.clone().mac().features(0x23), "d");
        });
        case("no features given", || {
            let _d = v.add_by(&base.clone(), "d");
        });
    }
    case("one class", || {
        let _m = Mgmt::new("m0", ALL_ATTRS);
        let _d = v.add_by(&base.clone().features(0xff), "d");
    });
    case("one class and one beyond the bitmap", || {
        let _m = Mgmt::new("m0", &format!("classes=1,70 {ALL_ATTRS}"));
        let _d = v.add_by(&base.clone().features(0xff), "d");
    });
    case("several classes, none is network", || {
        let _m = Mgmt::new("m0", &format!("classes=2,26 dev.id=2 {ALL_ATTRS}"));
        let _d = v.add_by(&base.clone().features(0xff), "d");
    });
    case("network twice counts as two", || {
        let _m = Mgmt::new("m0", &format!("classes=1,1 {ALL_ATTRS}"));
        v.ack(&base.clone().features(0xff))
            .expect(Errno::EINVAL, Some(AMBIGUOUS));
    });
}

fn order_of_checks() {
    let mut v = Vdpa::new();
    let nowhere = v.new_msg("nobody", "d");
    case("queue pairs before features", || {
        let msg = nowhere.clone().mac().vqp(0).features(0);
        v.ack(&msg).expect(Errno::EINVAL, Some(NO_PAIR));
    });
    case("features before the management device", || {
        let msg = nowhere.clone().mac().features(0);
        let text = "vdpa: Missing features 0x20 for provided attributes";
        v.ack(&msg).expect(Errno::EINVAL, Some(text));
    });
    case("supported attributes before the class", || {
        let _m = Mgmt::new("m0", "classes=2 attrs=0");
        let msg = v.new_msg("m0", "d").mac();
        let text = "vdpa: Some provided attributes are not supported: 0x400";
        v.ack(&msg).expect(Errno::EOPNOTSUPP, Some(text));
    });
    case("supported attributes before ambiguity", || {
        let _m = Mgmt::new("m0", "classes=1,2 attrs=0");
        let msg = v.new_msg("m0", "d").features(1);
        let text = "vdpa: Some provided attributes are not supported: 0x100000";
        v.ack(&msg).expect(Errno::EOPNOTSUPP, Some(text));
    });
    case("all of them before the name is looked up", || {
        let _m = Mgmt::new("m0", "classes=1 attrs=0");
        let _d = v.add("m0", "d");
        let msg = v.new_msg("m0", "d").features(1);
        v.ack(&msg).expect_errno(Errno::EOPNOTSUPP);
    });
}

fn arguments_reach_the_parent() {
    let _m = Mgmt::new("m0", ALL_ATTRS);
    let mut v = Vdpa::new();
    let base = v.new_msg("m0", "d");
    let zero = "00:00:00:00:00:00";
    let table = [
        (
            base.clone(),
            format!("mask=0x0 features=0x0 mac={zero} mtu=0 vqp=0"),
        ),
        (
            base.clone()
                .mac()
                .mtu(68)
                .vqp(0xffff)
                .features(0xf0f0_0001_0040_0028),
            "mask=0x103400 features=0xf0f0000100400028 mac=52:54:00:12:34:56 mtu=68 vqp=65535"
                .into(),
        ),
        (
            base.clone().mtu(0xffff),
            format!("mask=0x2000 features=0x0 mac={zero} mtu=65535 vqp=0"),
        ),
        (
            base.clone().features(0),
            format!("mask=0x100000 features=0x0 mac={zero} mtu=0 vqp=0"),
        ),
    ];
    for (msg, expected) in table {
        parent::clear_log();
        let _d = v.add_by(&msg, "d");
        assert_eq!(parent::calls("dev_add"), [format!("dev_add d {expected}")]);
    }
}

fn any_mac_is_taken() {
    let _m = Mgmt::new("m0", ALL_ATTRS);
    let mut v = Vdpa::new();
    for mac in [[0; 6], [0xff; 6], [1, 0, 0, 0, 0, 1]] {
        let msg = v.new_msg("m0", "d").attr(MAC, &mac);
        let _d = v.add_by(&msg, "d");
    }
}

fn errors_of_the_parent() {
    let m = Mgmt::new("m0", "");
    let mut v = Vdpa::new();
    for errno in [
        Errno::ENOSPC,
        Errno::EXDEV,
        Errno::EPERM,
        Errno::EINTR,
        Errno(4095),
    ] {
        if errno == Errno::EINTR {
            // The netlink core answers nothing at all to an interrupted request.
            continue;
        }
        case(format!("{errno:?}"), || {
            m.set(&format!("dev.add_error={}", errno.0));
            let msg = v.new_msg("m0", "d");
            v.ack(&msg).expect(errno, None);
            assert_eq!(sys::devices(), Vec::<String>::new());
        });
    }
    m.set("dev.add_error=0");
    let _d = v.add("m0", "d");
}

fn failure_after_allocation() {
    let m = Mgmt::new("m0", "dev.late_error=5");
    let mut v = Vdpa::new();
    parent::assert_live(0);
    parent::clear_log();
    let msg = v.new_msg("m0", "d");
    v.ack(&msg).expect(Errno::EIO, None);
    parent::assert_live(0);
    let mut ops = parent::ops_of("d");
    ops.retain(|o| !o.starts_with("get_"));
    assert_eq!(ops, ["dev_add", "free"]);
    m.set("dev.late_error=0");
    let _d = v.add("m0", "d");
}

fn registration_without_management_device() {
    let _m = Mgmt::new("m0", "dev.null_mdev=1");
    let mut v = Vdpa::new();
    let msg = v.new_msg("m0", "d");
    v.ack(&msg).expect(Errno::EINVAL, None);
    assert_eq!(sys::devices(), Vec::<String>::new());
    parent::assert_live(0);
}

fn duplicate_name() {
    let (_a, _b) = (
        Mgmt::new("m0", ""),
        Mgmt::new("m1", "bus=faux dev.vendor=7"),
    );
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d");
    for mgmt in ["m0", "faux/m1"] {
        let msg = v.new_msg(mgmt, "d");
        v.ack(&msg).expect(Errno::EEXIST, None);
        parent::assert_live(1);
    }
    let r = v.get("d");
    assert_eq!(r.need(MGMT_NAME).str(), "m0");
    assert_eq!(sys::devices(), ["d"]);
    let _e = v.add("faux/m1", "e");
    assert_eq!(v.get("e").need(VENDOR_ID).u32(), 7);
}

fn on_a_bus() {
    let _m = [
        Mgmt::new("f@m", "bus=faux"),
        Mgmt::new("p@m", "bus=platform"),
        Mgmt::new("n@m", ""),
    ];
    let mut v = Vdpa::new();
    for (mgmt, bus) in [
        ("faux/m", Some("faux")),
        ("platform/m", Some("platform")),
        ("m", None),
    ] {
        let _d = v.add(mgmt, "d");
        let r = v.get("d");
        assert_eq!(r.get(BUS_NAME).map(|a| a.str()).as_deref(), bus);
        assert_eq!(r.need(MGMT_NAME).str(), "m");
    }
}
