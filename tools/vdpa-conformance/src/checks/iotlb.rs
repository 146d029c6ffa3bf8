// SPDX-License-Identifier: GPL-2.0
//! What the device may reach: messages that are taken, and what they do.
//!
//! Whether an address is mapped shows without a driver: it cannot be mapped twice.

use vdpa_test::ktap::{self, case};
use vdpa_test::vhost::{backend, Area, Memory, Message, Node, Perm, PAGE};
use vdpa_test::Errno;

use crate::check::checks;
use crate::device::Device;

const UPDATE: &str = "linux/vhost_types.h, VHOST_IOTLB_UPDATE";
const INVALIDATE: &str = "linux/vhost_types.h, VHOST_IOTLB_INVALIDATE";

checks! {
    map_and_unmap: UPDATE, "a range that was unmapped can be mapped again";
    map_overlapping: UPDATE, "no address is mapped twice";
    map_neighbours: UPDATE, "ranges can touch each other";
    map_permissions: UPDATE, "memory can be read only, written only, or both";
    map_at_the_edges: "linux/vhost.h, VHOST_VDPA_GET_IOVA_RANGE",
        "the first and the last page of the range can be mapped";
    map_first_version: "linux/vhost_types.h, struct vhost_msg",
        "messages of the first version are about the address space 0";
    map_without_spaces: "linux/vhost_types.h, VHOST_BACKEND_F_IOTLB_ASID",
        "if it was not acknowledged, messages have no address space, and it is not looked at";
    unmap_a_part: INVALIDATE, "what is outside of the range stays mapped";
    unmap_several: INVALIDATE, "all that is within the range goes";
    unmap_everything: INVALIDATE, "0 to 2^64 - 2 is a range, as DPDK unmaps";
    unmap_nothing: INVALIDATE, "a range where nothing is mapped may be unmapped";
    unmap_of_no_length: INVALIDATE, "a range of no bytes unmaps nothing";
    spaces_are_apart: "linux/vhost_types.h, VHOST_BACKEND_F_IOTLB_ASID",
        "a range that is mapped in one address space is free in another";
    batch: "linux/vhost_types.h, VHOST_IOTLB_BATCH_BEGIN, VHOST_IOTLB_BATCH_END",
        "what is mapped or unmapped in a batch is so after it";
    batch_of_another_space: "linux/vhost_types.h, VHOST_IOTLB_BATCH_BEGIN",
        "a batch is of one address space";
    maps_persist: "linux/vhost_types.h, VHOST_BACKEND_F_IOTLB_PERSIST",
        "a reset leaves what is mapped";
    write_returns_what_was_taken: "write(2)", "no more bytes are taken than were given";
    several_messages_in_a_write: "write(2)", "what was not taken was not done";
}

/// Whether any of a range is mapped: it cannot be mapped then.
pub fn is_mapped(node: &Node, asid: u32, area: &Area) -> bool {
    let free = node.map(asid, area, Perm::Rw).is_ok();
    if free {
        let unmap = node.unmap(asid, area.iova(), area.len() as u64);
        assert_eq!(unmap, Ok(()), "unmap");
    }
    !free
}

fn map(node: &Node, area: &Area) {
    assert_eq!(
        node.map(0, area, Perm::Rw),
        Ok(()),
        "map {:#x}",
        area.iova()
    );
}

fn unmap(node: &Node, iova: u64, size: u64) {
    assert_eq!(node.unmap(0, iova, size), Ok(()), "unmap {iova:#x}");
}

/// Sixteen pages, of which any can be mapped.
pub fn pages(d: &Device) -> (Node, Area) {
    (d.for_maps(), d.area(16 * PAGE))
}

/// Some of the pages.
pub fn some(area: &Area, first: usize, count: usize) -> Area {
    area.part(first * PAGE, count * PAGE)
}

fn map_and_unmap(d: &Device) {
    let (node, area) = pages(d);
    for _ in 0..3 {
        assert!(!is_mapped(&node, 0, &area), "before");
        map(&node, &area);
        assert!(is_mapped(&node, 0, &area), "mapped");
        unmap(&node, area.iova(), area.len() as u64);
    }
    assert!(!is_mapped(&node, 0, &area), "after");
}

fn map_overlapping(d: &Device) {
    let (node, area) = pages(d);
    map(&node, &some(&area, 4, 4));
    let overlaps = [
        ("the same", 4, 4),
        ("a part", 5, 2),
        ("the first page", 4, 1),
        ("the last page", 7, 1),
        ("more on both sides", 2, 8),
        ("more before", 0, 5),
        ("more after", 7, 9),
    ];
    for (what, first, count) in overlaps {
        case(what, || {
            let again = node.map(0, &some(&area, first, count), Perm::Rw);
            assert!(again.is_err(), "{again:?}");
        });
    }
    assert!(!is_mapped(&node, 0, &some(&area, 0, 4)), "before it");
    assert!(!is_mapped(&node, 0, &some(&area, 8, 8)), "after it");
}

fn map_neighbours(d: &Device) {
    let (node, area) = pages(d);
    for first in [4, 3, 5, 0, 15] {
        map(&node, &some(&area, first, 1));
    }
    for first in 0..16 {
        let expected = [0, 3, 4, 5, 15].contains(&first);
        let mapped = is_mapped(&node, 0, &some(&area, first, 1));
        assert_eq!(mapped, expected, "page {first}");
    }
}

fn map_permissions(d: &Device) {
    let (node, area) = pages(d);
    for perm in [Perm::Ro, Perm::Wo, Perm::Rw] {
        assert_eq!(node.map(0, &area, perm), Ok(()), "{perm:?}");
        assert!(is_mapped(&node, 0, &area), "{perm:?}");
        unmap(&node, area.iova(), area.len() as u64);
    }
}

fn map_at_the_edges(d: &Device) {
    let (node, page) = (d.for_maps(), d.area(PAGE));
    let (first, last) = d.range;
    let size = PAGE as u64;
    assert!(last - first >= size, "{first:#x} to {last:#x}");
    let at_the_end = (last - (size - 1)) & !(size - 1);
    for iova in [first.next_multiple_of(size), at_the_end] {
        let page = page.under(iova);
        map(&node, &page);
        assert!(is_mapped(&node, 0, &page), "{iova:#x}");
        unmap(&node, iova, size);
        assert!(!is_mapped(&node, 0, &page), "{iova:#x}");
    }
}

fn update(area: &Area) -> Message {
    Message::Update {
        iova: area.iova(),
        size: area.len() as u64,
        uaddr: area.uaddr(),
        perm: Perm::Rw,
    }
}

fn map_first_version(d: &Device) {
    let (node, area) = pages(d);
    let taken = node.write(&update(&area).v1());
    assert_eq!(taken, Ok(72), "map");
    assert!(is_mapped(&node, 0, &area), "by the first version");
    let message = Message::Invalidate {
        iova: area.iova(),
        size: area.len() as u64,
    };
    assert_eq!(node.write(&message.v1()), Ok(72), "unmap");
    assert!(!is_mapped(&node, 0, &area));
}

fn map_without_spaces(d: &Device) {
    let node = d.owned();
    let area = d.area(PAGE);
    assert_eq!(node.set_backend_features(backend::IOTLB_MSG_V2), Ok(()));
    assert_eq!(node.map(d.spaces, &area, Perm::Rw), Ok(()));
    assert!(is_mapped(&node, 0, &area), "in the address space 0");
}

fn unmap_a_part(d: &Device) {
    for (what, first, count) in [("front", 0, 4), ("middle", 6, 4), ("back", 12, 4)] {
        case(what, || {
            let (node, area) = pages(d);
            map(&node, &area);
            let part = some(&area, first, count);
            unmap(&node, part.iova(), part.len() as u64);
            for page in 0..16 {
                let unmapped = (first..first + count).contains(&page);
                let mapped = is_mapped(&node, 0, &some(&area, page, 1));
                assert_eq!(mapped, !unmapped, "page {page}");
            }
        });
    }
}

fn unmap_several(d: &Device) {
    let (node, area) = pages(d);
    for first in [0, 2, 3, 8, 15] {
        map(&node, &some(&area, first, 1));
    }
    unmap(&node, area.iova() + PAGE as u64, 9 * PAGE as u64);
    for first in 0..16 {
        let mapped = is_mapped(&node, 0, &some(&area, first, 1));
        assert_eq!(mapped, [0, 15].contains(&first), "page {first}");
    }
}

fn unmap_everything(d: &Device) {
    let (node, area) = pages(d);
    for first in [0, 2, 15] {
        map(&node, &some(&area, first, 1));
    }
    unmap(&node, 0, u64::MAX);
    assert!(!is_mapped(&node, 0, &area));
}

fn unmap_nothing(d: &Device) {
    let (node, area) = pages(d);
    map(&node, &some(&area, 0, 1));
    map(&node, &some(&area, 15, 1));
    let free = some(&area, 1, 14);
    unmap(&node, free.iova(), free.len() as u64);
    assert!(is_mapped(&node, 0, &some(&area, 0, 1)), "what is before");
    assert!(is_mapped(&node, 0, &some(&area, 15, 1)), "what is after");
}

fn unmap_of_no_length(d: &Device) {
    let (node, area) = pages(d);
    map(&node, &area);
    for iova in [area.iova(), area.iova() + PAGE as u64, 0] {
        // To refuse it is as good as to do nothing.
        let _ = node.unmap(0, iova, 0);
        for page in 0..16 {
            let mapped = is_mapped(&node, 0, &some(&area, page, 1));
            assert!(mapped, "page {page} after 0 bytes from {iova:#x} on");
        }
    }
}

fn need_spaces(d: &Device) {
    d.need_backend(backend::IOTLB_ASID, "VHOST_BACKEND_F_IOTLB_ASID");
    if d.spaces < 2 {
        ktap::skip("one address space");
    }
}

fn spaces_are_apart(d: &Device) {
    need_spaces(d);
    let (node, area) = pages(d);
    map(&node, &area);
    assert!(!is_mapped(&node, 1, &area), "in the other one");
    assert_eq!(node.map(1, &area, Perm::Rw), Ok(()));
    unmap(&node, area.iova(), area.len() as u64);
    assert!(is_mapped(&node, 1, &area), "unmapped in the first one only");
    assert!(!is_mapped(&node, 0, &area));
}

fn batch(d: &Device) {
    d.need_backend(backend::IOTLB_BATCH, "VHOST_BACKEND_F_IOTLB_BATCH");
    let (node, area) = pages(d);
    map(&node, &some(&area, 15, 1));
    let result = node.batch(0, || {
        for first in 0..4 {
            node.map(0, &some(&area, first, 1), Perm::Rw)?;
        }
        node.unmap(0, area.iova() + 15 * PAGE as u64, PAGE as u64)?;
        node.unmap(0, area.iova() + PAGE as u64, PAGE as u64)
    });
    assert_eq!(result, Ok(()));
    for page in 0..16 {
        let mapped = is_mapped(&node, 0, &some(&area, page, 1));
        assert_eq!(mapped, [0, 2, 3].contains(&page), "page {page}");
    }
    // One without messages.
    assert_eq!(node.batch(0, || Ok(())), Ok(()));
    if d.spaces > 1 {
        let other = node.map(1, &area, Perm::Rw);
        assert_eq!(other, Ok(()), "another space, when the batch has ended");
    }
}

fn batch_of_another_space(d: &Device) {
    need_spaces(d);
    let (node, area) = pages(d);
    assert_eq!(node.iotlb(0, Message::BatchBegin), Ok(()));
    let other = node.map(1, &some(&area, 0, 1), Perm::Rw);
    assert!(other.is_err(), "{other:?}");
    map(&node, &some(&area, 1, 1));
    assert_eq!(node.iotlb(0, Message::BatchEnd), Ok(()));
    assert!(is_mapped(&node, 0, &some(&area, 1, 1)), "of the batch");
    assert!(!is_mapped(&node, 1, &some(&area, 0, 1)), "refused");
}

fn maps_persist(d: &Device) {
    d.need_backend(backend::IOTLB_PERSIST, "VHOST_BACKEND_F_IOTLB_PERSIST");
    let (node, area) = (d.owned(), d.area(PAGE));
    let wanted = (backend::USUAL & d.backend) | backend::IOTLB_PERSIST;
    assert_eq!(node.set_backend_features(wanted), Ok(()));
    map(&node, &area);
    for _ in 0..2 {
        assert_eq!(node.reset(), Ok(()));
        assert!(is_mapped(&node, 0, &area), "after a reset");
    }
    unmap(&node, area.iova(), area.len() as u64);
    assert!(!is_mapped(&node, 0, &area));
}

fn write_returns_what_was_taken(d: &Device) {
    let (node, area) = pages(d);
    // What is left out is not used.
    for len in [72, 64, 40] {
        let taken = node.write(&update(&area).v2(0)[..len]);
        match taken {
            Ok(taken) => {
                assert!(taken <= len, "{taken} of {len} bytes");
                assert!(is_mapped(&node, 0, &area), "{len} bytes");
                unmap(&node, area.iova(), area.len() as u64);
            }
            // As good, except for a whole message.
            Err(Errno::EINVAL) => assert_ne!(len, 72),
            Err(e) => panic!("{len} bytes: {e:?}"),
        }
    }
}

fn several_messages_in_a_write(d: &Device) {
    let (node, _) = pages(d);
    let memory = Memory::memfd(4 * PAGE);
    let area = Area::whole(&memory, d.iova());
    let messages = [0, 1, 3].map(|page| update(&some(&area, page, 1)).v2(0));
    let taken = node.write(&messages.concat()).expect("write");
    assert_eq!(taken % 72, 0, "whole messages");
    let done = [0, 1, 3].map(|page| is_mapped(&node, 0, &some(&area, page, 1)));
    let told = [0, 1, 2].map(|n| (n + 1) * 72 <= taken);
    assert_eq!(done, told, "{taken} bytes were taken");
    assert!(taken > 0, "at least one");
}
