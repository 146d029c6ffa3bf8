// SPDX-License-Identifier: GPL-2.0
//! The checks of vdpa-conformance find errors: planted between it and the kernel
//! (tests/plants), each makes the checks fail that it concerns.

use vdpa_test::conformance::{checks, read, Target, Verdict, TARGETS, TOOL};
use vdpa_test::differences::{self, Kind};
use vdpa_test::ktap::{self, case};
use vdpa_test::{ktap_main, sys};

ktap_main!(
    every_check_has_a_plant,
    on_a_network_device,
    on_a_network_device_in_physical_addresses,
    on_a_disk,
    on_a_device_of_few_operations,
    on_a_device_with_a_range_of_addresses,
);

const LIBRARY: &str = "/usr/lib/rvdpa/libvdpa_plants.so";

/// An error and the checks that have to find it.
type Plant = (&'static str, &'static [&'static str]);

const NET: &[Plant] = &[
    ("devices=lie", &["node_major"]),
    ("open=accept", &["one_opener"]),
    ("ioctl:af01=accept", &["owner_twice"]),
    (
        "ioctl=accept",
        &[
            "owner_is_needed",
            "owner_is_a_process",
            "bad_pointers",
            "queue_indexes",
            "unknown_requests",
            "no_dirty_log",
            "memory_table",
            "fork_from_owner",
            "no_eventfds",
            "descriptors_need_spaces",
            "group_asid_refused",
        ],
    ),
    ("ioctl:4008af23=lie", &["busyloop_timeout"]),
    // GET_FEATURES: nothing, and GUEST_TSO4 without GUEST_CSUM.
    ("ioctl:8008af00=value:0", &["version_1"]),
    ("ioctl:8008af00=value:300000080", &["feature_dependencies"]),
    ("ioctl:8008af00=drift", &["features_offered_always"]),
    ("ioctl:4008af00=accept", &["features_are_final"]),
    (
        "ioctl:4008af00=refuse",
        &["features_accepted", "features_after_a_reset"],
    ),
    ("ioctl:8008af26=value:0", &["backend_features_offered"]),
    ("ioctl:4008af25=refuse", &["backend_features_taken"]),
    // SET_STATUS and GET_STATUS; 4f is DEVICE_NEEDS_RESET.
    (
        "ioctl:4001af72=lie",
        &["status_steps", "status_failed", "reset_and_run_again"],
    ),
    ("ioctl:4001af72=accept", &["status_bits_stay"]),
    (
        "ioctl:8001af71=value:4f",
        &["runs_without_complaint", "killed_owner"],
    ),
    (
        "ioctl:8001af71=drift",
        &["status_when_opened", "status_of_a_reset"],
    ),
    ("ioctl:8008af73=refuse", &["config_read"]),
    ("ioctl:8008af73=drift", &["config_parts"]),
    (
        "ioctl:8008af73=accept",
        &["config_read_beyond", "config_out_of_reach"],
    ),
    ("ioctl:4008af74=accept", &["config_write_beyond"]),
    // An address of a group.
    ("ioctl:8008af73=value:1", &["config_of_a_network_device"]),
    ("ioctl:8004af80=value:1", &["queues_of_the_class"]),
    ("ioctl:4004af77=refuse", &["config_call"]),
    ("ioctl:8002af76=value:64", &["vring_num_max"]),
    ("ioctl:4008af10=refuse", &["vring_num"]),
    ("ioctl:4008af10=accept", &["vring_num_refused"]),
    ("ioctl:c008af82=value:0", &["vring_size"]),
    (
        "ioctl:4008af12=lie",
        &["vring_base", "begin_where_another_ended"],
    ),
    ("ioctl:4008af12=accept", &["vring_base_refused"]),
    (
        "ioctl:c008af12=value:700000000",
        &[
            "vring_base_after_a_reset",
            "suspend_keeps_the_place",
            "close_resets",
        ],
    ),
    ("ioctl:4028af11=refuse", &["vring_addr"]),
    (
        "ioctl:4028af11=accept",
        &[
            "vring_addr_flags",
            "vring_addr_alignment",
            "vring_while_running",
        ],
    ),
    ("ioctl:4008af75=refuse", &["vring_enable"]),
    ("ioctl:8004af7a=value:0", &["groups_and_spaces"]),
    ("ioctl:c008af7b=value:900000000", &["vring_group"]),
    ("ioctl:c008af7f=value:0", &["descriptor_group"]),
    ("ioctl:4008af7c=refuse", &["group_asid"]),
    ("ioctl:4008af7c=accept", &["group_asid_while_running"]),
    ("ioctl:4008af7c=lie", &["rings_in_another_space"]),
    (
        "message:3=lie",
        &[
            "map_and_unmap",
            "map_first_version",
            "unmap_several",
            "unmap_everything",
        ],
    ),
    (
        "message=accept",
        &[
            "map_overlapping",
            "map_nothing",
            "map_beyond_the_end",
            "bad_space",
            "bad_type",
            "bad_version",
            "short_message",
            "message_out_of_reach",
            "message_without_owner",
            "message_of_another_process",
        ],
    ),
    ("message:2=grow", &["map_neighbours"]),
    ("message:2=refuse", &["map_permissions", "map_at_the_edges"]),
    (
        "message:2=lie",
        &[
            "map_without_spaces",
            "maps_persist",
            "memory_of_several_kinds",
        ],
    ),
    ("message:3=grow", &["unmap_nothing"]),
    (
        "message=space",
        &["spaces_are_apart", "batch_of_another_space"],
    ),
    ("message:6=lie", &["batch"]),
    ("message=take", &["several_messages_in_a_write"]),
    ("ioctl:4008af20=refuse", &["eventfds"]),
    (
        "eventfd=lie",
        &[
            "kick",
            "kick_before_it_is_set",
            "net_split",
            "net_one_after_the_other",
            "net_of_all_lengths",
            "net_in_pieces",
            "net_indirect",
            "net_event_idx",
            "net_in_order",
            "net_packed",
            "net_packed_indirect",
            "net_packed_event_idx",
            "net_merged_buffers",
            "net_smallest_queue",
            "net_largest_queue",
            "net_control_queue",
            "close_while_it_works",
        ],
    ),
    // Some of the memory is missing.
    (
        "message:2=lie",
        &["net_maps_in_a_batch", "net_maps_in_pieces"],
    ),
    ("ioctl:4008af25=lie", &["net_persistent_maps"]),
    ("ioctl:4008af20=lie", &["kick_replaced"]),
    ("ioctl:4008af20=keep", &["kick_taken_back"]),
    ("ioctl:4008af21=lie", &["call", "call_replaced"]),
    ("ioctl:4008af21=keep", &["call_taken_back"]),
    ("mmap=refuse", &["doorbell"]),
    ("mmap=accept", &["doorbell_refused", "doorbell_of_no_queue"]),
    (
        "ioctl:af7d=lie",
        &["suspend_stops", "suspend_lets_queues_move"],
    ),
    (
        "ioctl:af7d=refuse",
        &["suspend_before_it_runs", "reset_when_suspended"],
    ),
    ("ioctl:af7e=lie", &["resume_goes_on"]),
    ("ioctl:af7e=refuse", &["resume_when_it_runs"]),
    (
        "close=lie",
        &[
            "close_forgets_the_owner",
            "close_forgets_maps",
            "close_forgets_backend_features",
            "close_lets_memory_go",
            "close_lets_eventfds_go",
            "close_ends_a_batch",
        ],
    ),
];

/// Of devices that need pinned memory.
const PHYSICAL: &[Plant] = &[
    ("message:3=lie", &["pinned_memory_is_counted"]),
    ("setrlimit=lie", &["pinned_memory_is_limited"]),
    ("message=accept", &["read_only_memory"]),
    ("close=lie", &["close_unpins"]),
];

const DISK: &[Plant] = &[
    (
        "ioctl:8008af73=value:0",
        &["config_of_a_disk", "block_read"],
    ),
    (
        "eventfd=lie",
        &[
            "block_read_several",
            "block_length",
            "block_beyond_the_end",
            "block_id",
            "block_many",
            "block_indirect",
            "block_event_idx",
            "block_packed",
        ],
    ),
    ("message:2=permit", &["block_memory_that_is_only_read"]),
    ("message:3=lie", &["block_memory_that_was_unmapped"]),
];

const FEW_OPERATIONS: &[Plant] = &[("ioctl:af7d=accept", &["suspend_not_offered"])];

const RANGE: &[Plant] = &[("message=accept", &["map_outside_of_the_range"])];

/// How often an error is looked for: a device that looks at its queues for another reason may do
/// what nobody told it to.
const ATTEMPTS: usize = 3;

/// Ours keeps no file for a device that goes by its owner's addresses.
fn can_find(check: &str) -> bool {
    check != "close_lets_memory_go" || !sys::is_ours("vhost_vdpa")
}

/// Looks for an error that is planted.
fn look(check: &str, plant: &str, node: &str) -> Result<(), String> {
    let library = format!("LD_PRELOAD={LIBRARY}");
    let variable = format!("VDPA_PLANT={plant}");
    let mut words = vec!["env", &library, &variable, TOOL, node];
    words.extend(["--patience", "300", "--only", check]);
    let found = sys::run(&words);
    // One that keeps the device cannot leave it reset either.
    match read(&found).remove(check) {
        Some(Verdict::Failed(said)) if said.contains("breaks ") => Ok(()),
        // Not every simulator has what these need.
        Some(Verdict::Skipped(why)) if why.contains("does not offer") => Ok(()),
        other => Err(format!("{other:?} {}", found.err)),
    }
}

/// Plants each error, and looks whether it is found.
fn plant(target: &str, plants: &[Plant]) {
    let target: &Target = TARGETS.iter().find(|t| t.name == target).expect("a target");
    if !target.is_there() {
        ktap::skip("we have no vdpa_sim_blk yet");
    }
    target.with(|node| {
        for (plant, checks) in plants {
            for check in checks.iter().filter(|check| can_find(check)) {
                case(format!("{check}: {plant}"), || {
                    let mut said = String::new();
                    for _ in 0..ATTEMPTS {
                        match look(check, plant, node) {
                            Ok(()) => return,
                            Err(other) => said = other,
                        }
                    }
                    panic!("{said}");
                });
            }
        }
    });
}

fn on_a_network_device() {
    plant("network device", NET);
}

fn on_a_network_device_in_physical_addresses() {
    plant("network device, physical addresses", PHYSICAL);
}

fn on_a_disk() {
    plant("disk", DISK);
}

fn on_a_device_of_few_operations() {
    plant("device that has few operations", FEW_OPERATIONS);
}

fn on_a_device_with_a_range_of_addresses() {
    plant("device with a range of addresses", RANGE);
}

/// Those that fail on C's modules anyway need none.
fn every_check_has_a_plant() {
    let planted = [NET, PHYSICAL, DISK, FEW_OPERATIONS, RANGE];
    let planted: Vec<_> = planted.into_iter().flatten().flat_map(|p| p.1).collect();
    let text = sys::read("/usr/lib/rvdpa/differences");
    let differences = differences::parse(&text).expect("tests/differences");
    for (name, _) in checks() {
        let full = format!("conformance.{name}");
        let on_c = |d: &differences::Difference| d.test == full && d.kind == Kind::Xfail;
        let seen = planted.contains(&&name.as_str()) || differences.iter().any(on_c);
        case(&name, || assert!(seen, "nothing was planted that it finds"));
    }
}
