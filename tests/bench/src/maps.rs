// SPDX-License-Identifier: GPL-2.0
//! What it costs to let a device at memory through vhost_vdpa, and to take it away again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use vdpa_test::sys;
use vdpa_test::vdpa::{Device, Vdpa, MAC};
use vdpa_test::vhost::{backend, Area, Memory, Message, Node, Perm, PAGE};

use crate::clock::cost_of;
use crate::profile::{self, Symbols};
use crate::stack::Stack;

const ROUNDS: usize = 3;
const IOVA: u64 = 0x42_0000_0000;
const HUGE_PAGE: usize = 2 << 20;
/// All of them are there before the device is let at them.
const POPULATE_WRITE: i32 = 23;

/// What the memory consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pages of 4 KiB, in the order in which the kernel hands them out.
    Small,
    /// Transparent huge pages.
    Huge,
    /// Pages of 4 KiB none of which lies behind the one before it in physical memory.
    Scattered,
    /// Pages of 4 KiB of a file in memory. C maps no other memory for devices that take
    /// virtual addresses.
    File,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Small, "4k"),
    (Kind::Huge, "thp"),
    (Kind::Scattered, "scattered"),
    (Kind::File, "file"),
];

/// How messages are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One message.
    One,
    /// Each by a call of its own, between those of a batch.
    Batch,
    /// All of a batch by one call.
    AtOnce,
}

const MESSAGES: usize = 512;

/// What memory, how many MiB of it, and how it is mapped.
type Case = (Kind, usize, &'static [Way]);

const ALL_WAYS: &[Way] = &[Way::One, Way::Batch, Way::AtOnce];

const PHYSICAL: [Case; 6] = [
    (Kind::Small, 512, ALL_WAYS),
    (Kind::Huge, 512, ALL_WAYS),
    (Kind::Scattered, 4, &[Way::One]),
    (Kind::Scattered, 16, &[Way::One]),
    (Kind::Scattered, 64, &[Way::One]),
    (Kind::Scattered, 256, &[Way::One]),
];
const VIRTUAL: [Case; 1] = [(Kind::File, 512, ALL_WAYS)];

/// What C can be measured with: it takes one message at a time, and hours for many pieces.
fn has(stack: Stack, kind: Kind, mib: usize, way: Way) -> bool {
    stack == Stack::Rust || way != Way::AtOnce && (kind != Kind::Scattered || mib <= 16)
}

impl Kind {
    fn name(self) -> &'static str {
        KINDS.iter().find(|k| k.0 == self).map_or("", |k| k.1)
    }

    /// So much memory, which is there.
    fn memory(self, size: usize) -> Area {
        // What was freed before is in pieces.
        sys::write("/proc/sys/vm/compact_memory", "1");
        if self == Kind::File {
            let memory = Memory::memfd(size);
            memory.advise(0, size, POPULATE_WRITE).expect("memory");
            return Area::whole(&memory, IOVA);
        }
        let before = huge_pages();
        let memory = Memory::private(size + HUGE_PAGE);
        let start = memory.uaddr().next_multiple_of(HUGE_PAGE as u64) - memory.uaddr();
        let start = start as usize;
        let advice = match self {
            Kind::Huge => libc::MADV_HUGEPAGE,
            _ => libc::MADV_NOHUGEPAGE,
        };
        memory.advise(start, size, advice).expect("advice");
        let area = Area::whole(&memory, 0).part(start, size).under(IOVA);
        if self == Kind::Scattered {
            // Neighbours are not made one after the other.
            for first in [0, PAGE] {
                for at in (first..size).step_by(2 * PAGE) {
                    area.write(at, &[1]);
                }
            }
        } else {
            memory.advise(start, size, POPULATE_WRITE).expect("memory");
        }
        let huge = if self == Kind::Huge { size } else { 0 };
        assert_eq!(huge_pages() - before, huge, "bytes in huge pages");
        area
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::One => "one",
            Way::Batch => "batch",
            Way::AtOnce => "at_once",
        }
    }

    fn messages(self) -> usize {
        match self {
            Way::One => 1,
            Way::Batch | Way::AtOnce => MESSAGES,
        }
    }

    /// What has to be written for `f` of each part of an area.
    fn writes(self, area: &Area, f: impl Fn(&Area) -> Message) -> Vec<Vec<u8>> {
        let size = area.len() / self.messages();
        let mut messages: Vec<_> = (0..self.messages())
            .map(|n| f(&area.part(n * size, size)))
            .collect();
        if self != Way::One {
            messages.insert(0, Message::BatchBegin);
            messages.push(Message::BatchEnd);
        }
        let mut bytes: Vec<_> = messages.into_iter().map(|m| m.v2(0)).collect();
        if self == Way::AtOnce {
            bytes = vec![bytes.concat()];
        }
        bytes
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

fn invalidate(area: &Area) -> Message {
    Message::Invalidate {
        iova: area.iova(),
        size: area.len() as u64,
    }
}

/// Writes all of them; what that cost.
fn cost_of_writes(node: &Node, writes: &[Vec<u8>]) -> u64 {
    let (_, cost) = cost_of(|| {
        for bytes in writes {
            assert_eq!(node.write(bytes), Ok(bytes.len()));
        }
    });
    cost
}

/// How many bytes of this process are in transparent huge pages.
fn huge_pages() -> usize {
    let smaps = sys::read("/proc/self/smaps_rollup");
    let line = smaps.lines().find_map(|l| l.strip_prefix("AnonHugePages:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.expect("AnonHugePages") << 10
}

/// How many pieces of physical memory an area consists of.
fn runs(area: &Area) -> usize {
    let mut entries = vec![0; area.len() / PAGE * 8];
    let pagemap = File::open("/proc/self/pagemap").expect("pagemap");
    pagemap
        .read_exact_at(&mut entries, area.uaddr() / PAGE as u64 * 8)
        .expect("pagemap");
    let frame = |entry: &[u8]| {
        // The lower 55 bits are the number of the page.
        u64::from_ne_bytes(entry.try_into().expect("eight bytes")) & ((1 << 55) - 1)
    };
    let frames: Vec<_> = entries.chunks_exact(8).map(frame).collect();
    1 + frames.windows(2).filter(|f| f[0] + 1 != f[1]).count()
}

/// A simulated device that vhost_vdpa has.
pub fn device() -> Device {
    let mut v = Vdpa::new();
    let msg = v.new_msg("vdpasim_net", "n0");
    let device = v.add_by(&msg.attr(MAC, &[2, 0, 0, 0, 0, 5]), "n0");
    assert_eq!(sys::driver_of("n0").as_deref(), Some("vhost_vdpa"));
    device
}

pub fn open() -> Node {
    let node = Node::open("n0");
    node.set_owner().expect("owner");
    node.set_backend_features(backend::USUAL).expect("features");
    node
}

/// Any amount of memory may be pinned, in as many pieces as there are pages.
fn modules(use_va: bool) -> [String; 4] {
    let limit = "max_iotlb_entries=262144";
    let use_va = if use_va { "Y" } else { "N" };
    [
        "vdpa".to_string(),
        format!("vdpa_sim use_va={use_va} {limit}"),
        "vdpa_sim_net".to_string(),
        format!("vhost_vdpa {limit}"),
    ]
}

fn no_limit() {
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: The structure lives across the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    assert_eq!(set, 0, "RLIMIT_MEMLOCK");
}

/// Prints lines `STACK ADDRESSES KIND WAY PAGES RUNS MAP UNMAP`: of how many pages, in how
/// many pieces of physical memory, and what it cost to map and to unmap all of them.
pub fn measure() {
    no_limit();
    for use_va in [false, true] {
        for stack in Stack::BOTH {
            let names = modules(use_va);
            stack.load(&names.each_ref().map(String::as_str));
            let _device = device();
            let cases: &[Case] = if use_va { &VIRTUAL } else { &PHYSICAL };
            for (kind, mib, ways) in cases {
                let here = |way: &Way| has(stack, *kind, *mib, *way);
                let ways: Vec<_> = ways.iter().copied().filter(here).collect();
                if !ways.is_empty() {
                    measure_memory(stack, use_va, &kind.memory(mib << 20), *kind, &ways);
                }
            }
        }
    }
}

fn measure_memory(stack: Stack, use_va: bool, area: &Area, kind: Kind, ways: &[Way]) {
    let runs = runs(area);
    for way in ways {
        let node = open();
        let map = way.writes(area, update);
        let unmap = way.writes(area, invalidate);
        // C takes minutes for these, and has no noise of that size.
        let slow = stack == Stack::C && kind == Kind::Scattered;
        for _ in 0..if slow { 1 } else { ROUNDS } {
            let costs = [&map, &unmap].map(|writes| cost_of_writes(&node, writes));
            println!(
                "{} {} {} {} {} {runs} {} {}",
                stack.name(),
                if use_va { "va" } else { "pa" },
                kind.name(),
                way.name(),
                area.len() / PAGE,
                costs[0],
                costs[1],
            );
        }
    }
}

/// Maps and unmaps so many MiB again and again, for tools/profile. The stack is what modprobe
/// finds.
pub fn repeat(kind: &str, way: &str, mib: &str) {
    let kind = KINDS.iter().find(|k| k.1 == kind).expect("a kind").0;
    let ways = [Way::One, Way::Batch, Way::AtOnce];
    let way = ways.into_iter().find(|w| w.name() == way).expect("a way");
    no_limit();
    for module in modules(kind == Kind::File) {
        sys::sh(&format!("modprobe {module}")).expect_ok();
    }
    let _device = device();
    let area = kind.memory(mib.parse::<usize>().expect("a size") << 20);
    let node = open();
    let map = way.writes(&area, update);
    let unmap = way.writes(&area, invalidate);
    Symbols::read().hand_over();
    while !profile::is_done() {
        cost_of_writes(&node, &map);
        cost_of_writes(&node, &unmap);
        thread::sleep(Duration::from_millis(10));
    }
}
