// SPDX-License-Identifier: GPL-2.0

//! Against a driver side that others wrote: that of libblkio, split and packed.

use super::shared::{Shared, SharedArea};
use proptest::{collection::vec, prelude::*};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::OnceLock;
use virtio_driver::virtqueue::Virtqueue;
use virtio_driver::{iovec, Le64, VhostUser, VirtioFeatureFlags, VirtioTransport};
use virtqueue::*;

const QUEUE_SIZE: usize = 0x4000;
/// Each request has as much room for what its device reads and writes.
const DATA: u64 = QUEUE_SIZE as u64;
const DATA_SIZE: usize = 0x100;
const REQUESTS: usize = 32;

/// A transport, which translates addresses into themselves: nobody else can make a translator. At its
/// other end is who says what it wants to hear and no more.
fn transport() -> &'static VhostUser<Le64, u64> {
    static TRANSPORT: OnceLock<VhostUser<Le64, u64>> = OnceLock::new();
    TRANSPORT.get_or_init(|| {
        let name = format!("virtqueue-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            // What is asked for, and the answer: features, those of the protocol, memory slots.
            for (request, answer) in [(1u32, 1u64 << 30), (15, 1 << 3 | 1 << 9 | 1 << 15), (36, 1)]
            {
                let header = [request, 1 | 1 << 2, 8].map(u32::to_ne_bytes).concat();
                stream.write_all(&header).unwrap();
                stream.write_all(&answer.to_ne_bytes()).unwrap();
            }
            stream.read_to_end(&mut vec![])
        });
        let transport = VhostUser::new(path.to_str().unwrap(), 0).unwrap();
        std::fs::remove_file(path).unwrap();
        transport
    })
}

struct World {
    driver: Virtqueue<'static, u64>,
    memory: Shared,
    queue: Queue<SharedArea>,
    segments: [Segment; 8],
    taken: Vec<(Chain, [Segment; 8])>,
    /// By id, the parts of what the driver has under way, and the number of the request.
    sent: HashMap<u16, (Vec<(usize, bool)>, u64)>,
    numbers: u64,
    /// Whether the device was told that it would be kicked, and the driver that it would be
    /// interrupted.
    kicks: bool,
    interrupts: bool,
}

impl World {
    fn new(format: Format, size: u16, event_idx: bool) -> Self {
        let mut memory = Shared::new(QUEUE_SIZE + REQUESTS * DATA_SIZE);
        let mut features = VirtioFeatureFlags::VERSION_1;
        features.set(VirtioFeatureFlags::RING_PACKED, format == Format::Packed);
        features.set(VirtioFeatureFlags::RING_EVENT_IDX, event_idx);
        let translator = transport().iova_translator();
        let start = memory.pointer(memory.start(), QUEUE_SIZE).unwrap();
        // SAFETY: The memory is as large, and dropped after the driver. Both sides take turns.
        let slice = unsafe { std::slice::from_raw_parts_mut(start, QUEUE_SIZE) };
        let driver = Virtqueue::new(translator, slice, size, features).unwrap();
        let address = |pointer: *const u8| GuestAddress::new(pointer as u64);
        let config = Config {
            format,
            size,
            event_idx,
            indirect: false,
            in_order: false,
            descriptors: address(driver.desc_table_ptr()),
            driver: address(driver.driver_area_ptr()),
            device: address(driver.device_area_ptr()),
        };
        let queue = Queue::new(&config, State::initial(format), &mut memory).unwrap();
        Self {
            memory,
            driver,
            queue,
            segments: Default::default(),
            taken: vec![],
            sent: HashMap::new(),
            numbers: 0,
            kicks: false,
            interrupts: false,
        }
    }

    /// Where the data of a request is.
    fn data(&self, number: u64) -> u64 {
        self.memory.start() + DATA + (number % REQUESTS as u64) * DATA_SIZE as u64
    }

    fn send(&mut self, parts: &[(usize, bool)]) {
        // Of a packed queue, it leaves descriptors behind that look available if there is no room for
        // all.
        let under_way = self.sent.values().map(|(parts, _)| parts.len());
        let needed = under_way.sum::<usize>() + parts.len();
        if self.sent.len() >= REQUESTS || needed > usize::from(self.queue.config().size) {
            return;
        }
        let mut parts = parts.to_vec();
        parts.sort_by_key(|(_, write)| *write);
        let number = self.numbers;
        let data = self.data(number);
        let memory = self.memory.clone();
        let result = self.driver.add_request(|own, add| {
            *own = number;
            let mut at = data;
            for (len, write) in &parts {
                let pointer = memory.pointer(at, *len).unwrap();
                if !write {
                    let bytes = vec![number as u8; *len];
                    memory.clone().write(GuestAddress::new(at), &bytes).unwrap();
                }
                let part = iovec {
                    iov_base: pointer.cast(),
                    iov_len: *len,
                };
                add(part, *write)?;
                at += *len as u64;
            }
            Ok(())
        });
        if let Ok(id) = result {
            self.numbers += 1;
            assert!(self.sent.insert(id, (parts, number)).is_none());
            let kick = self.driver.avail_notif_needed();
            assert!(kick || !self.kicks, "the device waits for a kick");
            self.kicks &= !kick;
        }
    }

    /// The driver takes back what is used.
    fn collect(&mut self) {
        let done: Vec<_> = self
            .driver
            .completions()
            .map(|done| (done.id, done.req))
            .collect();
        for (id, own) in done {
            let (parts, number) = self.sent.remove(&id).expect("it was sent");
            assert_eq!(own, number);
            let mut at = self.data(number);
            for (len, write) in parts {
                let mut bytes = vec![0; len];
                self.memory.read(GuestAddress::new(at), &mut bytes).unwrap();
                let expected = number as u8 ^ if write { 0xff } else { 0 };
                assert!(bytes.iter().all(|byte| *byte == expected));
                at += len as u64;
            }
        }
    }

    fn take(&mut self) {
        let chain = self
            .queue
            .next(&mut self.memory, &mut self.segments)
            .unwrap();
        if let Some(chain) = chain {
            self.taken.push((chain, self.segments));
        }
    }

    /// Writes what it reads, the other way round.
    fn complete(&mut self, which: usize) {
        if self.taken.is_empty() {
            return;
        }
        let which = which % self.taken.len();
        let (chain, segments) = self.taken.remove(which);
        let (readable, writable) = segments[..chain.segments()].split_at(chain.readable());
        let mut question = [0];
        Cursor::new(readable)
            .read(&mut self.memory, &mut question)
            .unwrap();
        let answer = vec![!question[0]; chain.writable_len() as usize];
        Cursor::new(writable)
            .write(&mut self.memory, &answer)
            .unwrap();
        self.queue.complete(chain, chain.writable_len()).unwrap();
    }

    fn publish(&mut self) {
        let before = self.queue.state();
        self.queue.publish().unwrap();
        let interrupt = self.queue.needs_interrupt().unwrap();
        if before != self.queue.state() {
            assert!(
                interrupt || !self.interrupts,
                "the driver waits for an interrupt"
            );
        }
        self.interrupts &= !interrupt;
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Send(parts) => self.send(parts),
            Step::Collect => self.collect(),
            Step::Take => self.take(),
            Step::Complete(which) => self.complete(*which),
            Step::Publish => self.publish(),
            Step::EnableKicks => self.kicks = !self.queue.enable_kicks().unwrap(),
            Step::DisableKicks => {
                self.kicks = false;
                self.queue.disable_kicks().unwrap();
            }
            Step::Interrupts(enabled) => {
                self.collect();
                self.driver.set_used_notif_enabled(*enabled);
                self.interrupts = *enabled;
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<(usize, bool)>),
    Collect,
    Take,
    Complete(usize),
    Publish,
    EnableKicks,
    DisableKicks,
    Interrupts(bool),
}

fn step() -> impl Strategy<Value = Step> {
    // The first part is one to read, which says what to write. There are two at least: a packed
    // descriptor that is alone is said to have a next one.
    let parts = vec((1usize..40, any::<bool>()), 1..5).prop_map(|mut parts| {
        parts.push((1, false));
        Step::Send(parts)
    });
    prop_oneof![
        6 => parts,
        3 => Just(Step::Collect),
        6 => Just(Step::Take),
        6 => any::<usize>().prop_map(Step::Complete),
        4 => Just(Step::Publish),
        2 => Just(Step::EnableKicks),
        1 => Just(Step::DisableKicks),
        1 => any::<bool>().prop_map(Step::Interrupts),
    ]
}

fn check(format: Format, size: u16, event_idx: bool, steps: &[Step]) {
    let mut world = World::new(format, size, event_idx);
    steps.iter().for_each(|step| world.run(step));
    // And everything comes to an end.
    loop {
        world.take();
        if world.taken.is_empty() {
            break;
        }
        world.complete(0);
    }
    world.publish();
    world.collect();
    assert!(world.sent.is_empty());
}

proptest! {
    #![proptest_config(crate::cases())]

    #[test]
    fn split(size in 1u32..6, event_idx: bool, steps in vec(step(), 0..150)) {
        check(Format::Split, 1 << size, event_idx, &steps);
    }

    #[test]
    fn packed(size in 2u16..40, event_idx: bool, steps in vec(step(), 0..150)) {
        check(Format::Packed, size, event_idx, &steps);
    }
}
