// SPDX-License-Identifier: GPL-2.0
//! Requests to a disk: none of them writes to it.

use vdpa_test::ktap::{self, case};
use vdpa_test::vhost::{feature, status, Area, Node, Options, Perm, Queue, Ring, PAGE};
use virtio_bindings::virtio_blk as blk;

use crate::check::checks;
use crate::device::{Device, BLOCK};
use crate::traffic::MOST;

const READ: &str = "virtio 1.3, 5.2.6";

checks! {
    block_read: READ, "the first and the last sector can be read, and what is read stays the same";
    block_read_several: READ, "several sectors can be read at once, into several buffers";
    block_length: "virtio 1.3, 2.7.8.2", "the device says how many bytes it wrote";
    block_beyond_the_end: READ, "a sector that is not there is VIRTIO_BLK_S_IOERR";
    block_id: READ, "the name of the device is written, if it has one";
    block_unknown_request: READ, "a request that the device does not know is VIRTIO_BLK_S_UNSUPP";
    block_many: "virtio 1.3, 2.7", "many requests pass, also around the end of the ring";
    block_indirect: "virtio 1.3, 2.7.5.3", "descriptors can be in a table of their own";
    block_event_idx: "virtio 1.3, 2.7.7, 2.7.10", "notifications come when the indexes say";
    block_packed: "virtio 1.3, 2.8", "requests pass by packed virtqueues";
    block_memory_that_is_only_read: "linux/vhost_types.h, VHOST_ACCESS_RO",
        "memory that was mapped to be read is not written";
    block_memory_that_was_unmapped: "linux/vhost_types.h, VHOST_IOTLB_INVALIDATE",
        "memory that was unmapped is not written";
}

const SECTOR: usize = 512;

/// What stands in a buffer before the device is asked to write there.
const UNTOUCHED: u8 = 0xa5;

struct Disk {
    node: Node,
    queue: Queue,
    space: Area,
    header: Area,
    status: Area,
    sectors: u64,
}

impl Disk {
    fn start(d: &Device, features: u64, name: &str) -> Self {
        d.need_class(BLOCK, "block");
        d.need(features, name);
        let features = d.basic_features() | features;
        let node = d.negotiated(features);
        let mut space = d.area(64 * PAGE);
        assert_eq!(node.map(0, &space, Perm::Rw), Ok(()), "map");
        let indirect = if features & feature::INDIRECT_DESC != 0 {
            8
        } else {
            0
        };
        let options = Options {
            indirect,
            ..Options::of(features, d.queue_size.min(MOST))
        };
        let queue = Queue::attach(&node, 0, Ring::new(&mut space, options));
        assert_eq!(node.set_status(status::RUNNING), Ok(()));
        let capacity = node.config(0, 8).expect("capacity");
        Disk {
            queue,
            header: space.take(16, 16),
            status: space.take(1, 1),
            space,
            sectors: u64::from_le_bytes(capacity.try_into().expect("eight bytes")),
            node,
        }
    }

    /// Gives the device a request that writes to these areas.
    fn give(&mut self, kind: u32, sector: u64, data: &[Area]) {
        let words = [kind.to_le_bytes(), [0; 4]].concat();
        self.header
            .write(0, &[words, sector.to_le_bytes().to_vec()].concat());
        self.status.write(0, &[0xff]);
        let mut chain = vec![self.header.readable()];
        chain.extend(data.iter().map(Area::writable));
        chain.push(self.status.writable());
        self.queue.give(&chain);
    }

    /// The same, and waits for it: status, and how many bytes the device says it wrote.
    fn ask(&mut self, kind: u32, sector: u64, data: &[Area]) -> (u8, Option<u32>) {
        data.iter().for_each(|a| a.fill(UNTOUCHED));
        self.give(kind, sector, data);
        let used = self.queue.wait();
        (self.status.read(0, 1)[0], used.len)
    }

    fn buffer(&self, len: usize) -> Area {
        self.space.clone().take(len, SECTOR)
    }

    fn read(&mut self, sector: u64, data: &[Area]) -> Vec<u8> {
        let (status, _) = self.ask(IN, sector, data);
        assert_eq!(status, OK, "status of sector {sector}");
        data.iter().flat_map(|a| a.read(0, a.len())).collect()
    }
}

const IN: u32 = blk::VIRTIO_BLK_T_IN;
const OK: u8 = blk::VIRTIO_BLK_S_OK as u8;
const IOERR: u8 = blk::VIRTIO_BLK_S_IOERR as u8;
const UNSUPP: u8 = blk::VIRTIO_BLK_S_UNSUPP as u8;

fn block_read(d: &Device) {
    let mut disk = Disk::start(d, 0, "");
    assert_ne!(disk.sectors, 0, "capacity");
    let buffer = [disk.buffer(SECTOR)];
    for sector in [0, disk.sectors - 1] {
        let first = disk.read(sector, &buffer);
        let bytes = first.iter().filter(|b| **b == UNTOUCHED).count();
        assert_ne!(bytes, SECTOR, "nothing was written to the buffer");
        assert_eq!(disk.read(sector, &buffer), first, "sector {sector}, again");
    }
}

fn block_read_several(d: &Device) {
    let mut disk = Disk::start(d, 0, "");
    if disk.sectors < 4 {
        ktap::skip("a disk of less than four sectors");
    }
    let area = disk.buffer(4 * SECTOR);
    let whole = disk.read(0, &[area.clone()]);
    let halves = [area.part(2 * SECTOR, 2 * SECTOR), area.part(0, 2 * SECTOR)];
    assert_eq!(disk.read(0, &halves), whole, "two halves");
    for sector in 0..4 {
        let at = sector as usize * SECTOR;
        let one = disk.read(sector, &[area.part(0, SECTOR)]);
        assert_eq!(one, whole[at..at + SECTOR], "sector {sector}");
    }
}

fn block_length(d: &Device) {
    let mut disk = Disk::start(d, 0, "");
    let buffer = [disk.buffer(SECTOR)];
    let (status, len) = disk.ask(IN, 0, &buffer);
    assert_eq!((status, len), (OK, Some(SECTOR as u32 + 1)));
}

fn block_beyond_the_end(d: &Device) {
    let mut disk = Disk::start(d, 0, "");
    let (one, two) = (disk.buffer(SECTOR), disk.buffer(2 * SECTOR));
    let sectors = disk.sectors;
    for (sector, buffer) in [(sectors, &one), (sectors - 1, &two), (u64::MAX, &one)] {
        case(format!("sector {sector}, {} bytes", buffer.len()), || {
            let (status, _) = disk.ask(IN, sector, &[buffer.clone()]);
            assert_eq!(status, IOERR);
        });
    }
    disk.read(0, &[one]);
}

fn block_id(d: &Device) {
    let mut disk = Disk::start(d, 0, "");
    let buffer = disk.buffer(20);
    match disk.ask(blk::VIRTIO_BLK_T_GET_ID, 0, &[buffer.clone()]).0 {
        OK => assert_ne!(buffer.read(0, 20), [UNTOUCHED; 20], "the name"),
        UNSUPP => ktap::skip("the device has no name"),
        status => panic!("status {status}"),
    }
}

fn block_unknown_request(d: &Device) {
    let mut disk = Disk::start(d, 0, "");
    let buffer = [disk.buffer(SECTOR)];
    for kind in [0x7fff, 0x1000] {
        let (status, _) = disk.ask(kind, 0, &buffer);
        assert_eq!(status, UNSUPP, "request {kind:#x}");
    }
    disk.read(0, &buffer);
}

fn many(mut disk: Disk) {
    let buffer = [disk.buffer(SECTOR)];
    let first = disk.read(0, &buffer);
    for n in 0..3 * usize::from(MOST) {
        assert_eq!(disk.read(0, &buffer), first, "request {n}");
    }
}

fn block_many(d: &Device) {
    many(Disk::start(d, 0, ""));
}

fn block_indirect(d: &Device) {
    many(Disk::start(
        d,
        feature::INDIRECT_DESC,
        "VIRTIO_F_INDIRECT_DESC",
    ));
}

fn block_event_idx(d: &Device) {
    many(Disk::start(d, feature::EVENT_IDX, "VIRTIO_F_EVENT_IDX"));
}

fn block_packed(d: &Device) {
    many(Disk::start(d, feature::RING_PACKED, "VIRTIO_F_RING_PACKED"));
}

/// A disk is asked to write to memory where it must not. Whatever it makes of that,
/// the memory stays as it is.
fn must_not_write(d: &Device, prepare: impl FnOnce(&Node, &Area)) {
    let mut disk = Disk::start(d, 0, "");
    let buffer = [disk.buffer(SECTOR)];
    disk.read(0, &buffer);
    let other = d.area(PAGE).under(d.iova() + 0x1000_0000);
    other.fill(UNTOUCHED);
    prepare(&disk.node, &other);
    disk.give(IN, 0, &[other.part(0, SECTOR)]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let touched = other
        .read(0, PAGE)
        .iter()
        .filter(|b| **b != UNTOUCHED)
        .count();
    assert_eq!(touched, 0, "bytes were written");
    let status = disk.status.read(0, 1)[0];
    assert_ne!(status, OK, "it says that it wrote");
}

fn block_memory_that_is_only_read(d: &Device) {
    must_not_write(d, |node, area| {
        assert_eq!(node.map(0, area, Perm::Ro), Ok(()));
    });
}

fn block_memory_that_was_unmapped(d: &Device) {
    must_not_write(d, |node, area| {
        assert_eq!(node.map(0, area, Perm::Rw), Ok(()));
        let unmap = node.unmap(0, area.iova(), area.len() as u64);
        assert_eq!(unmap, Ok(()));
    });
}
