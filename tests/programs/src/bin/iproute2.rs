// SPDX-License-Identifier: GPL-2.0
//! The vdpa tool of iproute2: what it prints, to the letter.

use vdpa_test::ktap::case;
use vdpa_test::ktap_main;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::sys::{self, sh};

ktap_main!(
    management_devices,
    management_devices_json,
    management_devices_with_bus,
    devices,
    devices_json,
    network_configuration,
    network_configuration_json,
    block_devices,
    errors,
    setting_the_mac,
    provisioned_features,
    statistics,
    fs_device,
);

/// Runs `body` with the simulators alone, then removes what it made.
fn with_sims(body: impl FnOnce()) {
    const MODULES: [&str; 5] = ["vdpa_sim_net", "vdpa_sim_blk", "vdpa_sim", "vringh", "vdpa"];
    sys::unload_others(&MODULES);
    sys::modprobe("vdpa_sim_net");
    sys::modprobe("vdpa_sim_blk");
    struct Delete;
    impl Drop for Delete {
        fn drop(&mut self) {
            for device in sys::devices() {
                sh(&format!("vdpa dev del {device}"));
            }
        }
    }
    let _d = Delete;
    body();
}

const NET_MGMT: &str = "vdpasim_net: \n  supported_classes net\n  max_supported_vqs 3\n";

/// What every simulator offers; ours offers more. The names are in the order of the bits.
const NET_FEATURES: [&str; 8] = [
    "MTU",
    "MAC",
    "STATUS",
    "CTRL_VQ",
    "CTRL_MAC_ADDR",
    "ANY_LAYOUT",
    "VERSION_1",
    "ACCESS_PLATFORM",
];

fn check_features(line: &str) {
    let mut at = 0;
    for f in NET_FEATURES {
        let found = line[at..]
            .find(f)
            .unwrap_or_else(|| panic!("{f} is missing in: {line}"));
        at += found;
    }
}

fn management_devices() {
    with_sims(|| {
        let out = sh("vdpa mgmtdev show");
        let out = out.expect_ok();
        assert!(out.starts_with(NET_MGMT), "{out}");
        check_features(
            out.lines()
                .nth(3)
                .unwrap()
                .strip_prefix("  dev_features ")
                .unwrap(),
        );
        assert!(
            out.contains("\nvdpasim_blk: \n  supported_classes block\n"),
            "{out}"
        );
        let one = sh("vdpa mgmtdev show vdpasim_net");
        let one = one.expect_ok();
        assert!(one.starts_with(NET_MGMT), "{one}");
        assert_eq!(one.lines().count(), 4);
    });
}

fn management_devices_json() {
    with_sims(|| {
        let out = sh("vdpa -j mgmtdev show vdpasim_net");
        let expected = "{\"mgmtdev\":{\"vdpasim_net\":{\"supported_classes\":[\"net\"],\
                        \"max_supported_vqs\":3,\"dev_features\":[";
        let out = out.expect_ok();
        let features = out
            .strip_prefix(expected)
            .unwrap_or_else(|| panic!("{out}"));
        check_features(features.strip_suffix("]}}}\n").unwrap());
    });
}

fn management_devices_with_bus() {
    let _m = Mgmt::new(
        "m0",
        "bus=faux classes=1,2,26 max_vqs=7 features=0x300000000",
    );
    let out = sh("vdpa mgmtdev show faux/m0");
    let classes = out.expect_ok().lines().nth(1).unwrap();
    assert!(
        classes.starts_with("  supported_classes net block "),
        "{classes}"
    );
    let lines: Vec<_> = out.out.lines().collect();
    assert_eq!(lines[0], "faux/m0: ");
    assert_eq!(
        lines[2..],
        [
            "  max_supported_vqs 7",
            "  dev_features VERSION_1 ACCESS_PLATFORM"
        ]
    );
    sh("vdpa dev add name d0 mgmtdev faux/m0").expect("");
    let line = "d0: type network mgmtdev faux/m0 vendor_id 6900 max_vqs 3 max_vq_size 256\n";
    sh("vdpa dev show").expect(line);
    sh("vdpa dev del d0").expect("");
}

fn devices() {
    with_sims(|| {
        sh("vdpa dev show").expect("");
        sh("vdpa dev add name foo mgmtdev vdpasim_net").expect("");
        sh("vdpa dev add name bar mgmtdev vdpasim_net").expect("");
        let line = |n| {
            format!("{n}: type network mgmtdev vdpasim_net vendor_id 0 max_vqs 3 max_vq_size 256\n")
        };
        sh("vdpa dev show").expect(&(line("foo") + &line("bar")));
        sh("vdpa dev show bar").expect(&line("bar"));
        sh("vdpa dev list").expect(&(line("foo") + &line("bar")));
        sh("vdpa dev del foo").expect("");
        sh("vdpa dev show").expect(&line("bar"));
        sh("vdpa dev del bar").expect("");
    });
}

fn devices_json() {
    with_sims(|| {
        sh("vdpa -j dev show").expect("{\"dev\":{}}\n");
        sh("vdpa dev add name foo mgmtdev vdpasim_net").expect("");
        let body = "{\"type\":\"network\",\"mgmtdev\":\"vdpasim_net\",\"vendor_id\":0,\
                    \"max_vqs\":3,\"max_vq_size\":256}";
        sh("vdpa -j dev show").expect(&format!("{{\"dev\":{{\"foo\":{body}}}}}\n"));
        let pretty = "{\n    \"dev\": {\n        \"foo\": {\n            \"type\": \"network\",\n            \
                      \"mgmtdev\": \"vdpasim_net\",\n            \"vendor_id\": 0,\n            \
                      \"max_vqs\": 3,\n            \"max_vq_size\": 256\n        }\n    }\n}\n";
        sh("vdpa dev show -jp").expect(pretty);
        sh("vdpa -jp dev show foo").expect(pretty);
        sh("vdpa dev del foo").expect("");
    });
}

fn network_configuration() {
    with_sims(|| {
        sh("vdpa dev add name foo mgmtdev vdpasim_net mac 00:11:22:33:44:55 mtu 9000").expect("");
        let expected = "foo: mac 00:11:22:33:44:55 link up link_announce false mtu 9000 \n";
        sh("vdpa dev config show foo").expect(expected);
        sh("vdpa dev config show").expect(expected);
        sh("vdpa dev add name bar mgmtdev vdpasim_net").expect("");
        let bar = "bar: mac 00:00:00:00:00:00 link up link_announce false mtu 1500 \n";
        sh("vdpa dev config show").expect(&format!("{expected}{bar}"));
    });
}

fn network_configuration_json() {
    with_sims(|| {
        sh("vdpa dev add name foo mgmtdev vdpasim_net mac 00:11:22:33:44:55").expect("");
        let expected = "{\"config\":{\"foo\":{\"mac\":\"00:11:22:33:44:55\",\"link \":\"up\",\
                        \"link_announce \":false,\"mtu\":1500}}}\n";
        sh("vdpa -j dev config show foo").expect(expected);
        sh("vdpa -j dev config show").expect(expected);
    });
}

fn block_devices() {
    with_sims(|| {
        sh("vdpa dev add name blk0 mgmtdev vdpasim_blk").expect("");
        let line = sh("vdpa dev show blk0");
        let line = line.expect_ok();
        assert!(
            line.starts_with("blk0: type block mgmtdev vdpasim_blk vendor_id 0 max_vqs "),
            "{line}"
        );
        let config = sh("vdpa dev config show blk0");
        assert!(config.expect_ok().starts_with("blk0: "), "{config:?}");
    });
}

fn errors() {
    with_sims(|| {
        sh("vdpa dev add name foo mgmtdev vdpasim_net").expect("");
        let no_device = "Error: vdpa: device not found.\nkernel answers: No such device\n";
        let no_mgmt = "Error: vdpa: Fail to find the specified management device.\n\
                       kernel answers: No such device\n";
        let table = [
            (
                "dev add name foo mgmtdev vdpasim_net",
                "kernel answers: File exists\n",
            ),
            ("dev add name bar mgmtdev nobody", no_mgmt),
            ("dev add name bar mgmtdev pci/0000:00:04.0", no_mgmt),
            ("dev del nobody", no_device),
            ("dev show nobody", no_device),
            ("dev config show nobody", no_device),
            ("dev set name nobody mac 02:00:00:00:00:01", no_device),
            ("dev vstats show nobody qidx 0", no_device),
            (
                "mgmtdev show nobody",
                "Error: vdpa: Fail to find the specified mgmt device.\n\
                 kernel answers: No such device\n",
            ),
            (
                "dev vstats show foo qidx 0",
                "Error: vdpa: feature negotiation not complete.\n\
                 kernel answers: Resource temporarily unavailable\n",
            ),
            (
                "dev add name bar mgmtdev vdpasim_net device_features 0x300000000 mtu 1500",
                "Error: vdpa: Missing features 0x8 for provided attributes.\n\
                 kernel answers: Invalid argument\n",
            ),
            (
                "dev set name foo mac 00:00:00:00:00:00",
                "Error: vdpa: Invalid MAC address.\nkernel answers: Operation not supported\n",
            ),
        ];
        for (command, expected) in table {
            case(command, || {
                sh(&format!("vdpa {command}")).expect_err(expected)
            });
        }
    });
    case("unsupported attribute", || {
        let _m = Mgmt::new("m0", "attrs=0x400");
        sh("vdpa dev add name bar mgmtdev m0 max_vqp 3").expect_err(
            "Error: vdpa: Some provided attributes are not supported: 0x1000.\n\
             kernel answers: Operation not supported\n",
        );
    });
}

fn setting_the_mac() {
    with_sims(|| {
        sh("vdpa dev add name foo mgmtdev vdpasim_net").expect("");
        sh("vdpa dev set name foo mac 52:54:00:12:34:56").expect("");
        let out = sh("vdpa dev config show foo");
        assert!(
            out.expect_ok().starts_with("foo: mac 52:54:00:12:34:56 "),
            "{out:?}"
        );
    });
}

fn provisioned_features() {
    with_sims(|| {
        let add = "vdpa dev add name foo mgmtdev vdpasim_net mtu 1400 mac 02:00:00:00:00:01 \
                   device_features 0x300000028";
        sh(add).expect("");
        sh("vdpa dev config show foo").expect("foo: mac 02:00:00:00:00:01 mtu 1400 \n");
    });
}

fn statistics() {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    sh("vdpa dev add name d0 mgmtdev m0").expect("");
    parent::driver("features d0 0x300000000");
    parent::driver("status d0 11");
    let expected = "{\"vstats\":{\"d0\":{\"queue_type\":\"tx\",\
                    \"test one\":1234605616436508552,\"test two\":1}}}\n";
    sh("vdpa -j dev vstats show d0 qidx 1").expect(expected);
    let text = "d0: queue_type rx test one 1234605616436508552 test two 0 \n";
    sh("vdpa dev vstats show d0 qidx 0").expect(text);
    sh("vdpa dev del d0").expect("");
    sys::rmmod_ok("vdpa_test_driver");
}

fn fs_device() {
    let _m = Mgmt::new("m0", "classes=26 dev.id=26");
    sh("vdpa dev add name f0 mgmtdev m0").expect("");
    let out = sh("vdpa dev show f0");
    assert!(
        out.expect_ok().contains(" mgmtdev m0 vendor_id 6900 "),
        "{out:?}"
    );
    sh("vdpa dev config show f0").expect_err("kernel answers: Operation not supported\n");
    sh("vdpa dev del f0").expect("");
}
