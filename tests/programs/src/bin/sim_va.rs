// SPDX-License-Identifier: GPL-2.0
//! Simulated devices in the memory of a process: memory of all kinds, there or not,
//! and processes that go.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use vdpa_test::ktap::{case, skip};
use vdpa_test::sim::{Sim, MAC as OWN};
use vdpa_test::user::fork;
use vdpa_test::vhost::net::{frame, negotiate, Net, Setup, RX, TX};
use vdpa_test::vhost::{status, Area, Memory, Node, Perm, PAGE};
use vdpa_test::{ktap_main, sys};

ktap_main!(
    memory_of_a_memfd,
    memory_of_a_file,
    memory_of_huge_pages,
    memory_of_transparent_huge_pages,
    private_memory,
    private_memory_in_the_middle,
    by_physical_addresses,
    buffers_never_touched,
    packets_never_touched,
    pages_taken_away,
    pages_cut_out,
    memory_unmapped_by_its_owner,
    memory_mapped_elsewhere,
    owner_killed,
    owner_exits_before_others,
    no_owner_any_more,
);

const SIZE: usize = 2 << 20;

fn setup(memory: Arc<Memory>) -> Setup {
    Setup {
        rx_buffers: 32,
        rx_size: 2048,
        ..Setup::on("n0", memory)
    }
}

fn pass(net: &mut Net) {
    for n in 0..100 {
        net.loop_back(&frame(OWN, n, 60 + (n * 37) % 1400));
    }
}

fn uses(memory: Arc<Memory>) {
    let _sim = Sim::net();
    pass(&mut Net::start(&setup(memory)));
}

fn memory_of_a_memfd() {
    uses(Memory::memfd(SIZE));
}

/// A file that goes when the test is over.
struct TestFile(&'static str);

impl TestFile {
    fn new() -> Self {
        TestFile("/dev/shm/rvdpa-memory")
    }

    fn memory(&self) -> Arc<Memory> {
        Memory::file(self.0, SIZE).expect("a file")
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

fn memory_of_a_file() {
    let file = TestFile::new();
    uses(file.memory());
}

/// Huge pages for a test.
struct HugePages;

impl HugePages {
    fn reserve() -> Self {
        let count = "/proc/sys/vm/nr_hugepages";
        if !std::fs::exists(count).unwrap() {
            skip("the kernel has no huge pages");
        }
        sys::write(count, "4");
        if sys::read(count).trim() != "4" {
            skip("no huge pages are free");
        }
        HugePages
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = sys::try_write("/proc/sys/vm/nr_hugepages", "0");
    }
}

fn memory_of_huge_pages() {
    let _pages = HugePages::reserve();
    uses(Memory::huge(SIZE).expect("huge pages"));
}

fn memory_of_transparent_huge_pages() {
    let file = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    if !std::fs::exists(file).unwrap() {
        skip("the kernel has no transparent huge pages");
    }
    let before = sys::read(file);
    let (_, before) = before.split_once('[').unwrap();
    let before = before.split_once(']').unwrap().0;
    sys::write(file, "advise");
    let memory = Memory::memfd(2 * SIZE);
    memory.advise(0, 2 * SIZE, libc::MADV_HUGEPAGE).unwrap();
    let area = Area::whole(&memory, 0);
    area.fill(0x5a);
    let huge = sys::read("/proc/self/smaps");
    let mapped = |l: &str| l.starts_with("ShmemPmdMapped:") && !l.contains(" 0 kB");
    let found = huge.lines().any(mapped);
    sys::write(file, before);
    if !found {
        skip("no transparent huge page was free");
    }
    uses(memory);
}

/// What QEMU gives its guest if it is not told otherwise.
fn private_memory() {
    uses(Memory::private(SIZE));
}

/// Packets in private memory, while the rest is not.
fn private_memory_in_the_middle() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup(Memory::memfd(SIZE)));
    let private = Area::whole(&Memory::private(PAGE), 0x77_0000_0000);
    net.node.map(0, &private, Perm::Rw).unwrap();
    let packet = net.write_packet(&private, &frame(OWN, 0, 200));
    net.send_chain(&[packet.readable()]);
    assert_eq!(net.receive(), frame(OWN, 0, 200));
}

fn by_physical_addresses() {
    let _sim = Sim::net_with(&[("use_va", "N")]);
    let file = TestFile::new();
    let mut kinds = vec![
        ("memfd", Memory::memfd(SIZE)),
        ("file", file.memory()),
        ("private", Memory::private(SIZE)),
    ];
    sys::write("/proc/sys/vm/nr_hugepages", "4");
    kinds.extend(Memory::huge(SIZE).ok().map(|m| ("huge pages", m)));
    let _pages = HugePages;
    for (name, memory) in kinds {
        case(name, || pass(&mut Net::start(&setup(memory))));
    }
}

/// Memory that nobody has touched yet: writing to it makes it.
fn buffers_never_touched() {
    let _sim = Sim::net();
    let memory = Memory::memfd(SIZE);
    let mut net = Net::prepare(&setup(memory.clone()));
    let from = net.space.offset().next_multiple_of(PAGE);
    let rest = memory.size() - from;
    assert_eq!(memory.resident(from, rest), 0, "nothing is there");
    net.run();
    assert_eq!(memory.resident(from, rest), 0, "nothing is there yet");
    pass(&mut net);
    assert!(memory.resident(from, rest) > 0);
}

/// Memory that nobody has touched yet reads as zeroes: a packet to nobody.
fn packets_never_touched() {
    let mut sim = Sim::net();
    let mut net = Net::start(&setup(Memory::memfd(SIZE)));
    let fresh = Area::whole(&Memory::memfd(4 * PAGE), 0x77_0000_0000);
    net.node.map(0, &fresh, Perm::Rw).unwrap();
    net.send_chain(&[fresh.part(0, 200).readable()]);
    pass(&mut net);
    assert_eq!(sim.stat(TX, "tx errors"), 0);
    assert_eq!(sim.stat(RX, "rx drops"), 1);
}

/// The memory of a file stays when the process lets go of its pages.
fn pages_taken_away() {
    let _sim = Sim::net();
    let memory = Memory::memfd(SIZE);
    let mut net = Net::start(&setup(memory.clone()));
    for n in 0..50 {
        memory.advise(0, SIZE, libc::MADV_DONTNEED).unwrap();
        net.send(&frame(OWN, n, 500));
        memory.advise(0, SIZE, libc::MADV_DONTNEED).unwrap();
        assert_eq!(net.receive(), frame(OWN, n, 500));
    }
}

/// Pages that are cut out of the file come again, empty.
fn pages_cut_out() {
    let mut sim = Sim::net();
    let mut net = Net::start(&setup(Memory::memfd(SIZE)));
    let other = Area::whole(&Memory::memfd(4 * PAGE), 0x77_0000_0000);
    net.node.map(0, &other, Perm::Rw).unwrap();
    for n in 0..10 {
        let packet = net.write_packet(&other, &frame(OWN, n, 300));
        net.send_chain(&[packet.readable()]);
        assert_eq!(net.receive(), frame(OWN, n, 300));
        other
            .memory()
            .advise(0, 4 * PAGE, libc::MADV_REMOVE)
            .unwrap();
        net.send_chain(&[packet.readable()]);
    }
    assert_eq!(sim.stat(RX, "rx drops"), 10, "packets of zeroes");
}

/// What the owner has no more is not there for the device, which goes on.
fn memory_unmapped_by_its_owner() {
    let mut sim = Sim::net();
    let mut net = Net::start(&setup(Memory::memfd(SIZE)));
    let other = Area::whole(&Memory::memfd(PAGE), 0x77_0000_0000);
    net.node.map(0, &other, Perm::Rw).unwrap();
    let packet = net.write_packet(&other, &frame(OWN, 0, 300)).readable();
    net.send_chain(&[packet]);
    assert_eq!(net.receive(), frame(OWN, 0, 300));
    drop(other);
    net.send_chain(&[packet]);
    assert_eq!(sim.stat(TX, "tx errors"), 1);
    pass(&mut net);
}

/// The same pages at two addresses of the process and of the device.
fn memory_mapped_elsewhere() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup(Memory::memfd(SIZE)));
    let other = Area::whole(&Memory::memfd(PAGE), 0x77_0000_0000);
    let again = other.under(0x78_0000_0000);
    net.node.map(0, &other, Perm::Rw).unwrap();
    net.node.map(0, &again, Perm::Ro).unwrap();
    for area in [&other, &again, &other] {
        let packet = net.write_packet(area, &frame(OWN, 0, 300));
        net.send_chain(&[packet.readable()]);
        assert_eq!(net.receive(), frame(OWN, 0, 300));
    }
}

fn owner_killed() {
    let _sim = Sim::net();
    for round in 0..10 {
        case(format!("round {round}"), || {
            let running = Area::whole(&Memory::memfd(PAGE), 0);
            let owner = fork(|| {
                let mut net = Net::start(&setup(Memory::memfd(SIZE)));
                for n in 0.. {
                    net.loop_back(&frame(OWN, n, 300));
                    running.store(0, n as u32);
                }
            });
            sys::wait_for("traffic", || running.load::<u32>(0) > 5);
            drop(owner);
            uses_again();
        });
    }
}

/// The next user finds it as it has to be.
fn uses_again() {
    let node = Node::open("n0");
    assert_eq!(node.status(), Ok(0));
    node.set_owner().unwrap();
    let mut net = Net::prepare_on(node, &setup(Memory::memfd(SIZE)));
    net.run();
    pass(&mut net);
}

/// The node stays open in a child of the owner, which kicks.
fn owner_exits_before_others() {
    let _sim = Sim::net();
    let memory = Memory::memfd(SIZE);
    let done = Area::whole(&Memory::memfd(PAGE), 0);
    let owner = fork(|| {
        let mut net = Net::start(&setup(memory.clone()));
        pass(&mut net);
        let heir = fork(|| {
            sys::wait_for("the owner to go", || done.load::<u32>(0) == 1);
            for n in 0..50 {
                net.enqueue(0, &frame(OWN, n, 300));
                net.pairs[0].tx.kick.signal();
            }
            thread::sleep(Duration::from_millis(100));
            let answer = net.node.status().expect("status");
            assert_eq!(answer & status::RUNNING, status::RUNNING);
            done.store(0, 2u32);
            // Others may look at its end only.
        });
        // The heir is not waited for.
        std::mem::forget(heir);
        std::mem::forget(net);
    });
    assert_eq!(owner.wait(), 0);
    done.store(0, 1u32);
    sys::wait_for("the heir", || done.load::<u32>(0) == 2);
    sys::wait_for("the node", || Node::try_open(&Node::path("n0")).is_ok());
    uses_again();
}

/// Kicks that come when the node was closed.
fn no_owner_any_more() {
    let _sim = Sim::net();
    for _ in 0..10 {
        let setup = setup(Memory::memfd(SIZE));
        let node = Node::open("n0");
        node.set_owner().unwrap();
        let features = negotiate(&node, setup.features, setup.backend);
        let all = Area::whole(&setup.memory, setup.iova);
        node.map(0, &all, Perm::Rw).unwrap();
        let mut net = Net::queues(node, &setup, features);
        net.run();
        for n in 0..50 {
            net.enqueue(0, &frame(OWN, n, 300));
        }
        let kick = net.pairs[0].tx.kick.duplicate();
        net.pairs[0].tx.kick.signal();
        drop(net);
        kick.signal();
    }
    uses_again();
}
