// SPDX-License-Identifier: GPL-2.0
//! The core of the simulators: properties, negotiation, reset and the operations
//! that only other modules reach.

use std::os::unix::fs::PermissionsExt;

use vdpa_test::ktap::case;
use vdpa_test::sim::{self, Sim};
use vdpa_test::vdpa::*;
use vdpa_test::vhost::net::{config, negotiate, Net, Setup};
use vdpa_test::vhost::{backend, feature, status, Node};
use vdpa_test::{ktap_main, parent, sys, Errno};

ktap_main!(
    parameters,
    properties,
    where_it_is,
    base_features,
    backend_features,
    driver_features,
    provisioned_features,
    status_and_reset,
    generation,
    queue_numbers,
    queue_sizes,
    queue_sizes_in_default_mode,
    groups,
    group_address_spaces,
    configuration_space,
    address_written_to_the_configuration_space,
    configuration_space_is_read_only_in_version_1,
    configuration_space_out_of_range,
    configuration_space_out_of_reach,
    configuration_interrupt,
    address_spaces_that_are_not_there,
    groups_that_are_not_there,
);

const BASE: u64 = feature::ANY_LAYOUT | feature::VERSION_1 | feature::ACCESS_PLATFORM;
/// What C's network device offers.
const NET: u64 = BASE
    | feature::NET_MAC
    | feature::NET_STATUS
    | feature::NET_MTU
    | feature::NET_CTRL_VQ
    | feature::NET_CTRL_MAC_ADDR;

fn parameters() {
    sim::unload();
    sys::modprobe("vdpa_sim");
    let folder = "/sys/module/vdpa_sim/parameters";
    let names = sim::PARAMETERS.map(|p| p.0);
    // A parameter of our own may be among them.
    let found = sys::list(folder).into_iter().filter(|n| n != "queue_size");
    assert_eq!(found.collect::<Vec<_>>(), names);
    for (name, default) in sim::PARAMETERS {
        assert_eq!(sim::parameter(name), default, "default of {name}");
        let metadata = std::fs::metadata(format!("{folder}/{name}")).unwrap();
        assert_eq!(
            metadata.permissions().mode() & 0o777,
            0o444,
            "mode of {name}"
        );
    }
    let other = [
        ("batch_mapping", "0"),
        ("max_iotlb_entries", "16"),
        ("use_va", "N"),
    ];
    sim::load(&other);
    for (name, value) in other {
        assert_eq!(sim::parameter(name), value, "{name} as it was given");
    }
    sim::unload();
    for wrong in ["batch_mapping=x", "max_iotlb_entries=-", "use_va=7"] {
        case(wrong, || {
            let out = sys::sh(&format!("modprobe vdpa_sim {wrong}"));
            assert_ne!(out.status, Some(0), "{out:?}");
            assert!(!sys::is_loaded("vdpa_sim"));
        });
    }
}

fn properties() {
    let mut sim = Sim::net();
    let r = sim.v.get("n0");
    assert_eq!(r.need(MGMT_NAME).str(), "vdpasim_net");
    assert!(
        r.get(BUS_NAME).is_none(),
        "the management device has no bus"
    );
    assert_eq!(r.need(DEV_ID).u32(), ID_NET);
    assert_eq!(r.need(VENDOR_ID).u32(), 0);
    let node = Node::open("n0");
    assert_eq!(node.device_id(), Ok(ID_NET));
    assert_eq!(node.config_size(), Ok(config::SIZE));
    assert_eq!(node.as_num(), Ok(2));
    assert_eq!(node.group_num(), Ok(2));
    assert_eq!(node.iova_range(), Ok((0, u64::MAX)));
    // Two queues for packets, one for control.
    let vqs = node.vqs_count().unwrap();
    assert!(vqs >= 3 && vqs % 2 == 1, "{vqs} queues");
    assert_eq!(r.need(MAX_VQS).u32(), vqs);
    let max = node.vring_num().unwrap();
    assert!(
        max >= 256 && max.is_power_of_two(),
        "up to {max} descriptors"
    );
    assert_eq!(r.need(MAX_VQ_SIZE).u16(), max);
    assert_eq!(r.need(MIN_VQ_SIZE).u16(), 1);
}

fn where_it_is() {
    let _sim = Sim::net();
    let path = std::fs::canonicalize(sys::device_path("n0")).unwrap();
    assert_eq!(path.to_str(), Some("/sys/devices/n0"), "it has no parent");
}

fn base_features() {
    let sim = Sim::net();
    let features = Node::open("n0").features().unwrap();
    assert_eq!(features & NET, NET, "{features:#x}");
    drop(sim);
    let mut v = Vdpa::new();
    let mgmt = v.dump(CMD_MGMTDEV_GET);
    let net = mgmt
        .iter()
        .find(|r| r.need(MGMT_NAME).str() == "vdpasim_net")
        .unwrap();
    // A device with one queue pair need not offer MQ.
    const MQ: u64 = 1 << 22;
    assert_eq!(net.need(SUPPORTED_FEATURES).u64() & !MQ, features & !MQ);
    assert_eq!(net.need(CLASSES).u64(), 1 << ID_NET);
    assert!(net.need(MGMT_MAX_VQS).u32() >= 3);
}

fn backend_features() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    let wanted = backend::USUAL | backend::ENABLE_AFTER_DRIVER_OK | backend::IOTLB_PERSIST;
    assert_eq!(node.backend_features().unwrap() & wanted, wanted);
    assert_eq!(node.set_backend_features(wanted), Ok(()));
}

/// The features that netlink says are negotiated.
fn negotiated(sim: &mut Sim) -> Option<u64> {
    sim.v.config("n0").get(NEGOTIATED).map(|a| a.u64())
}

fn driver_features() {
    let mut sim = Sim::net();
    let node = Node::open("n0");
    for without in [0, NET & !feature::ACCESS_PLATFORM, feature::VERSION_1] {
        case(format!("{without:#x} lacks ACCESS_PLATFORM"), || {
            assert_eq!(node.set_features(without), Err(Errno::EINVAL));
        });
    }
    case("what was not offered is left out", || {
        let offered = node.features().unwrap();
        assert_eq!(node.set_features(u64::MAX), Ok(()));
        node.set_status(status::NEGOTIATED).unwrap();
        assert_eq!(negotiated(&mut sim), Some(offered));
        node.reset().unwrap();
    });
    case("a part of them", || {
        let some = feature::ACCESS_PLATFORM | feature::VERSION_1;
        assert_eq!(node.set_features(some), Ok(()));
        node.set_status(status::NEGOTIATED).unwrap();
        assert_eq!(negotiated(&mut sim), Some(some));
        assert_eq!(
            node.set_features(some),
            Err(Errno::EBUSY),
            "once FEATURES_OK"
        );
        node.reset().unwrap();
    });
    case("a reset forgets them", || {
        node.set_status(status::NEGOTIATED).unwrap();
        assert_eq!(negotiated(&mut sim), Some(0));
        node.reset().unwrap();
        assert_eq!(negotiated(&mut sim), None);
    });
}

fn provisioned_features() {
    let subsets = [
        ("all of C's", NET),
        ("the base", BASE),
        ("without ACCESS_PLATFORM", feature::VERSION_1),
        ("none", 0),
    ];
    for (name, features) in subsets {
        case(name, || {
            let features = features.to_ne_bytes();
            let mut sim = Sim::net_by(&[], |m| m.attr(FEATURES, &features));
            let features = u64::from_ne_bytes(features);
            assert_eq!(Node::open("n0").features(), Ok(features));
            assert_eq!(sim.v.config("n0").need(FEATURES).u64(), features);
        });
    }
    sys::modprobe("vdpa_sim_net");
    let mut v = Vdpa::new();
    let mgmt = v.dump(CMD_MGMTDEV_GET);
    let all = mgmt[0].need(SUPPORTED_FEATURES).u64();
    let first = 1 << all.trailing_ones();
    for (name, outside) in [("another bit", NET | first), ("bit 63", NET | (1 << 63))] {
        case(name, || {
            let msg = v.new_msg("vdpasim_net", "n0");
            let msg = msg.attr(FEATURES, &outside.to_ne_bytes());
            v.ack(&msg).expect_errno(Errno::EINVAL);
            assert_eq!(sys::devices(), Vec::<String>::new());
        });
    }
}

fn status_and_reset() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    assert_eq!(node.status(), Ok(0));
    for step in [1, 3, 11, 15] {
        if step == 11 {
            node.set_features(NET).unwrap();
        }
        node.set_status(step).unwrap();
        assert_eq!(node.status(), Ok(step));
    }
    assert_eq!(node.set_status(3), Err(Errno::EINVAL), "only forward");
    node.reset().unwrap();
    assert_eq!(node.status(), Ok(0));
    // A driver that gives up says so.
    node.set_status(status::ACKNOWLEDGE | status::FAILED)
        .unwrap();
    assert_eq!(node.status(), Ok(status::ACKNOWLEDGE | status::FAILED));
    drop(node);
    assert_eq!(Node::open("n0").status(), Ok(0), "opening it resets it");
}

/// A simulated device that the test's driver has.
fn with_driver(parameters: &[(&str, &str)], body: impl FnOnce()) {
    let _ = sys::rmmod("vhost_vdpa");
    sim::need(parameters);
    sys::modprobe("vdpa_sim_net");
    parent::load_driver();
    let mut v = Vdpa::new();
    let device = v.add("vdpasim_net", "n0");
    assert_eq!(sys::driver_of("n0").as_deref(), Some("vdpa_test_a"));
    body();
    drop(device);
    parent::forget_driver();
}

fn generation() {
    with_driver(&[], || {
        let before = parent::ask("n0", "generation");
        parent::driver("reset n0 0");
        assert_eq!(parent::ask("n0", "generation"), before + 1, "reset");
        parent::driver("reset n0 1");
        let after = parent::ask("n0", "generation");
        assert_eq!(after, before + 2, "reset that keeps no maps");
        parent::driver("status n0 3");
        assert_eq!(parent::ask("n0", "generation"), after, "status");
    });
}

fn queue_numbers() {
    with_driver(&[], || {
        assert_eq!(parent::ask("n0", "align"), 4096);
        let min = parent::ask("n0", "num-min");
        assert!([1, -95].contains(&min), "smallest queue: {min}");
        assert_eq!(parent::ask("n0", "use-va"), 1);
        assert_eq!(parent::ask("n0", "maps"), 1, "set_map");
        assert_eq!(parent::ask("n0", "backend-features"), 1 << 6);
    });
    with_driver(&[("batch_mapping", "0"), ("use_va", "N")], || {
        assert_eq!(parent::ask("n0", "use-va"), 0);
        assert_eq!(parent::ask("n0", "maps"), 2, "dma_map");
    });
}

/// GET_VRING_SIZE: the most that is possible, and once it runs, what it is.
fn sizes() {
    let mut setup = Setup::new("n0");
    setup.size = 64;
    let node = Node::open("n0");
    node.set_owner().unwrap();
    let max = u32::from(node.vring_num().unwrap());
    for queue in 0..3 {
        assert_eq!(node.vring_size(queue), Ok(max), "queue {queue}");
    }
    let mut net = Net::prepare_on(node, &setup);
    assert_eq!(net.node.vring_size(0), Ok(max));
    net.run();
    for queue in 0..3 {
        assert_eq!(net.node.vring_size(queue), Ok(64), "queue {queue}");
    }
    net.node.reset().unwrap();
    assert_eq!(net.node.vring_size(0), Ok(max));
}

fn queue_sizes() {
    let _sim = Sim::net_with(&[("batch_mapping", "0")]);
    sizes();
    let node = Node::open("n0");
    node.set_owner().unwrap();
    let max = u32::from(node.vring_num().unwrap());
    for good in [1, 2, 256, max] {
        assert_eq!(node.set_vring_num(0, good), Ok(()), "{good} descriptors");
    }
    for bad in [0, 3, max + 1, 2 * max, 0x1_0000, u32::MAX] {
        assert_eq!(
            node.set_vring_num(0, bad),
            Err(Errno::EINVAL),
            "{bad} descriptors"
        );
    }
}

fn queue_sizes_in_default_mode() {
    let _sim = Sim::net();
    sizes();
}

fn groups() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    node.set_owner().unwrap();
    let vqs = node.vqs_count().unwrap();
    let groups: Vec<_> = (0..vqs).map(|q| node.vring_group(q).unwrap()).collect();
    // The control queue is alone in group 1: the last one, or the third if the
    // driver knows of no more pairs.
    assert_eq!(groups[..2], [0, 0]);
    let alone: Vec<_> = (0..vqs).filter(|q| groups[*q as usize] == 1).collect();
    assert_eq!(alone.len(), 1, "{groups:?}");
    assert!([2, vqs - 1].contains(&alone[0]), "{groups:?}");
    assert_eq!(node.vring_group(vqs), Err(Errno::ENOBUFS));
    assert_eq!(node.vring_desc_group(0), Err(Errno::EOPNOTSUPP));
}

fn group_address_spaces() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    node.set_owner().unwrap();
    for (group, asid) in [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)] {
        assert_eq!(
            node.set_group_asid(group, asid),
            Ok(()),
            "{group} to {asid}"
        );
    }
    for (group, asid) in [(0, 2), (1, u32::MAX), (2, 0)] {
        let result = node.set_group_asid(group, asid);
        assert_eq!(result, Err(Errno::EINVAL), "{group} to {asid}");
    }
    let beyond = node.vqs_count().unwrap();
    assert_eq!(node.set_group_asid(beyond, 0), Err(Errno::ENOBUFS));
    negotiate(&node, NET, backend::USUAL);
    node.set_status(status::RUNNING).unwrap();
    assert_eq!(node.set_group_asid(1, 1), Err(Errno::EBUSY), "it runs");
}

fn configuration_space() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    negotiate(&node, NET, backend::USUAL);
    let all = node.config(0, config::SIZE).unwrap();
    assert_eq!(all[..6], sim::MAC);
    for (offset, len) in [(0, 6), (6, 2), (10, 2), (3, 9), (23, 1)] {
        let part = node.config(offset, len).unwrap();
        let range = offset as usize..(offset + len) as usize;
        assert_eq!(part, all[range], "{len} bytes from {offset} on");
    }

    // What it says of the link is not the driver's to change.
    node.set_config(config::STATUS, &[0, 0]).unwrap();
    assert_eq!(node.config(config::STATUS, 2).unwrap(), [1, 0]);
}

const OTHER: [u8; 6] = [2, 1, 2, 3, 4, 5];

/// What only VMMs and drivers from before version 1 do.
fn address_written_to_the_configuration_space() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    case("before negotiation", || {
        assert_eq!(node.set_config(config::MAC, &OTHER), Ok(()));
        assert_eq!(node.config(config::MAC, 6).unwrap(), OTHER);
        node.reset().unwrap();
        assert_eq!(node.config(config::MAC, 6).unwrap(), OTHER, "after a reset");
    });
    case("by an old driver", || {
        let old = feature::ACCESS_PLATFORM | feature::NET_MAC;
        negotiate(&node, old, backend::USUAL);
        assert_eq!(node.set_config(config::MAC, &sim::MAC), Ok(()));
        assert_eq!(node.config(config::MAC, 6).unwrap(), sim::MAC);
    });
}

fn configuration_space_is_read_only_in_version_1() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    negotiate(&node, NET, backend::USUAL);
    assert_eq!(node.set_config(config::MAC, &OTHER), Ok(()));
    assert_eq!(node.config(config::MAC, 6).unwrap(), sim::MAC);
}

fn configuration_space_out_of_range() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    for (offset, len) in [(0, 0), (0, 25), (24, 1), (20, 5), (25, 1), (u32::MAX, 2)] {
        let name = format!("{len} bytes from {offset} on");
        assert_eq!(node.config(offset, len), Err(Errno::EINVAL), "{name}");
        let bytes = vec![0; len as usize];
        assert_eq!(
            node.set_config(offset, &bytes),
            Err(Errno::EINVAL),
            "{name}"
        );
    }
    drop(node);
    drop(_sim);
    // From inside the kernel nobody checks but the simulator.
    with_driver(&[], || {
        for (offset, len) in [(24, 1), (20, 5), (0, 25)] {
            let zeroes = vec!["00"; len as usize].concat();
            assert_eq!(read_config(offset, len), format!("config {zeroes}"));
        }
        parent::driver("set-config n0 24 0xff");
        parent::driver("set-config n0 5 0xee");
        assert_eq!(read_config(5, 1), "config ee", "what is in range");
    });
}

fn read_config(offset: u32, len: u32) -> String {
    parent::clear_driver_log();
    parent::driver(&format!("get-config n0 {offset} {len}"));
    parent::driver_log().concat()
}

/// The sum of offset and length does not fit into 32 bits.
fn configuration_space_out_of_reach() {
    with_driver(&[], || {
        for (offset, len) in [(0xffff_fff0, 16), (0xffff_ffff, 2), (0xffff_ffff, 1)] {
            let zeroes = vec!["00"; len as usize].concat();
            assert_eq!(read_config(offset, len), format!("config {zeroes}"));
        }
        parent::driver("set-config n0 0xffffffff 0xff");
    });
}

/// C takes the callback and never calls it; it must be possible to give and take.
fn configuration_interrupt() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    let call = vdpa_test::vhost::EventFd::new();
    assert_eq!(node.set_config_call(Some(&call)), Ok(()));
    assert_eq!(node.set_config_call(None), Ok(()));
    assert_eq!(call.count(), 0, "nothing changed");
}

fn address_spaces_that_are_not_there() {
    for batch_mapping in ["1", "0"] {
        case(format!("batch_mapping={batch_mapping}"), || {
            with_driver(&[("batch_mapping", batch_mapping)], || {
                for asid in [0, 1] {
                    parent::driver(&format!("map-nothing n0 {asid}"));
                    parent::driver(&format!("reset-map n0 {asid}"));
                }
                for asid in [2, 3, 0xffff_ffffu32] {
                    for command in ["map-nothing", "reset-map"] {
                        let result = parent::try_driver(&format!("{command} n0 {asid}"));
                        assert_eq!(result, Errno::EINVAL, "{command} {asid}");
                    }
                }
            });
        });
    }
}

fn groups_that_are_not_there() {
    with_driver(&[], || {
        for (group, asid) in [(0, 1), (1, 1), (0, 0), (1, 0)] {
            parent::driver(&format!("set-group-asid n0 {group} {asid}"));
        }
        for (group, asid) in [(2u32, 0), (0, 2), (1, u32::MAX), (u32::MAX, 0)] {
            let result = parent::try_driver(&format!("set-group-asid n0 {group} {asid}"));
            assert_eq!(result, Errno::EINVAL, "group {group} to {asid}");
        }
    });
}
