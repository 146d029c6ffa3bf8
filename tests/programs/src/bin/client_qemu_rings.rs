// SPDX-License-Identifier: GPL-2.0
//! A Linux guest in QEMU on /dev/vhost-vdpa-N, with rings and memory of all kinds.

use vdpa_test::guest::{self, Guest, Ram, Rings};
use vdpa_test::vdpa::Vdpa;
use vdpa_test::wire::{Wire, DEVICE};
use vdpa_test::{ktap, ktap_main};

ktap_main!(
    shared_memory,
    shared_memory_by_pages,
    private_memory_by_pages,
    private_memory,
);

/// A guest with such memory uses devices with such rings, one after the other.
fn uses(ram: Ram, use_va: &str, kinds: &[Rings]) {
    let wire = Wire::new(use_va);
    // All but what lies below the places of ROMs, which depends on the firmware.
    let pinned = if use_va == "Y" {
        0
    } else {
        (guest::MIB - 1) << 10
    };
    for rings in kinds {
        let kind = if rings.packed { "packed" } else { "split" };
        let name = format!("{kind}, pairs: {}", rings.pairs);
        if wire.host.is_none() && *rings != Rings::SPLIT {
            ktap::note(format!("C's simulator has no such rings: {name}"));
            continue;
        }
        ktap::note(name);
        let _device = wire.device(*rings);
        guest::with(ram, |guest| {
            wire.plug(guest, *rings);
            assert!(guest.qemu.pinned() >= pinned, "all of its memory is pinned");
            wire.pass(guest);
            if rings.pairs > 1 {
                by_each_pair(&wire, guest, *rings);
            }
            guest.unplug();
            assert_eq!(guest.qemu.pinned(), 0, "nothing is pinned any more");
        });
    }
}

/// Each CPU of the guest sends by queues of its own.
fn by_each_pair(wire: &Wire, guest: &mut Guest, rings: Rings) {
    for cpu in 0..guest::CPUS {
        wire.ping_from(guest, cpu);
    }
    let mut v = Vdpa::new();
    for pair in 0..u32::from(rings.pairs) {
        let sent = v.stat(DEVICE, 2 * pair + 1, "tx packets");
        assert!(sent > 0, "pair {pair} was used");
    }
}

/// Not all of what is possible: the guest takes seconds for each.
fn some() -> [Rings; 2] {
    [Rings::PACKED.four(), Rings::SPLIT]
}

fn shared_memory() {
    let kinds = [
        Rings::SPLIT,
        Rings::PACKED,
        Rings::SPLIT.four(),
        Rings::PACKED.four(),
    ];
    uses(Ram::Shared, "Y", &kinds);
}

fn shared_memory_by_pages() {
    uses(Ram::Shared, "N", &some());
}

fn private_memory() {
    uses(Ram::Private, "Y", &some());
}

fn private_memory_by_pages() {
    uses(Ram::Private, "N", &some());
}
