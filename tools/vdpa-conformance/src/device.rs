// SPDX-License-Identifier: GPL-2.0
//! The device under test, and the states in which checks want it.

use std::fmt;
use std::sync::OnceLock;

use vdpa_test::vhost::net::negotiate;
use vdpa_test::vhost::{backend, feature, status, Area, Memory, Node, Perm, Queue, PAGE};
use vdpa_test::vhost::{Options, Ring};
use vdpa_test::{ktap, Errno};
use virtio_bindings::virtio_ids as ids;

use crate::process;

pub const NET: u32 = ids::VIRTIO_ID_NET;
pub const BLOCK: u32 = ids::VIRTIO_ID_BLOCK;

/// Queues of which checks make use, at most: some devices have thousands.
const QUEUES: u32 = 16;

/// What a device says of itself.
#[derive(Debug)]
pub struct Device {
    pub path: String,
    pub id: u32,
    pub features: u64,
    pub backend: u64,
    pub queues: u32,
    /// Descriptors in a queue, at most.
    pub queue_size: u16,
    pub groups: u32,
    /// Address spaces.
    pub spaces: u32,
    pub range: (u64, u64),
    pub config_size: u32,
    /// Whether it sends a network device's frames back; known after the first one.
    pub loops_back: OnceLock<bool>,
    pins: OnceLock<bool>,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: virtio device {}, features {:#x}, backend features {:#x}",
            self.path, self.id, self.features, self.backend
        )?;
        write!(
            f,
            "{} queues of up to {} descriptors, {} groups, {} address spaces, addresses {:#x} to \
             {:#x}, {} bytes of configuration",
            self.queues,
            self.queue_size,
            self.groups,
            self.spaces,
            self.range.0,
            self.range.1,
            self.config_size
        )
    }
}

impl Device {
    /// How much memory [`Self::run`] maps for rings.
    pub const RINGS: usize = QUEUES as usize * 4 * PAGE;

    /// Opens a node for a first look at it.
    pub fn look_at(path: &str) -> Result<Self, String> {
        let node = Node::try_open(path).map_err(|e| match e {
            Errno::EBUSY => format!("{path}: another program has it open"),
            e => format!("{path}: {e:?}"),
        })?;
        let facts = || -> Result<Self, Errno> {
            Ok(Device {
                path: path.to_string(),
                id: node.device_id()?,
                features: node.features()?,
                backend: node.backend_features()?,
                queues: node.vqs_count()?,
                queue_size: node.vring_num()?,
                groups: node.group_num()?,
                spaces: node.as_num()?,
                range: node.iova_range()?,
                config_size: node.config_size()?,
                loops_back: OnceLock::new(),
                pins: OnceLock::new(),
            })
        };
        let told = facts().map_err(|e| format!("{path}: {e:?}: not a vhost-vdpa device?"));
        told.and_then(|d| match d.queues {
            0 => Err(format!("{path}: a device without queues")),
            _ => Ok(d),
        })
    }

    /// Leaves it reset.
    pub fn leave(&self) -> Result<(), String> {
        let node = Node::try_open(&self.path).map_err(|e| format!("{}: {e:?}", self.path))?;
        node.reset()
            .map_err(|e| format!("{}: reset: {e:?}", self.path))
    }

    /// Opens it; it is reset and has no owner.
    #[track_caller]
    pub fn open(&self) -> Node {
        Node::try_open(&self.path).unwrap_or_else(|e| panic!("open: {e:?}"))
    }

    /// Opens it for this process.
    #[track_caller]
    pub fn owned(&self) -> Node {
        let node = self.open();
        assert_eq!(node.set_owner(), Ok(()), "VHOST_SET_OWNER");
        node
    }

    /// As [`Self::owned`], with the backend features that VMMs take.
    #[track_caller]
    pub fn for_maps(&self) -> Node {
        let node = self.owned();
        let backend = backend::USUAL & self.backend;
        assert_eq!(node.set_backend_features(backend), Ok(()));
        node
    }

    /// Features that a driver of any class can take.
    pub fn basic_features(&self) -> u64 {
        self.features & (feature::VERSION_1 | feature::ACCESS_PLATFORM)
    }

    /// Features are negotiated: the basic ones, and these.
    #[track_caller]
    pub fn negotiated(&self, more: u64) -> Node {
        let node = self.owned();
        let backend = backend::USUAL & self.backend;
        negotiate(&node, self.basic_features() | more, backend);
        node
    }

    /// The numbers of queues that a driver with the basic features uses.
    pub fn driver_queues(&self) -> std::ops::Range<u32> {
        let few = match self.id {
            NET => 2,
            BLOCK => 1,
            _ => QUEUES,
        };
        0..few.min(self.queues)
    }

    /// The numbers of queues to look at.
    pub fn all_queues(&self) -> std::ops::Range<u32> {
        0..QUEUES.min(self.queues)
    }

    /// A device that runs, with nothing in its queues.
    #[track_caller]
    pub fn running(&self) -> (Node, Vec<Queue>) {
        let node = self.negotiated(0);
        let queues = self.run(&node);
        (node, queues)
    }

    /// Sets up the queues of a device whose features are negotiated, and lets it run.
    /// The memory of the rings goes with what is returned.
    #[must_use]
    #[track_caller]
    pub fn run(&self, node: &Node) -> Vec<Queue> {
        let mut space = self.area(Self::RINGS);
        assert_eq!(node.map(0, &space, Perm::Rw), Ok(()), "map");
        let options = Options::of(0, self.queue_size.min(16));
        let attach = |i| Queue::attach(node, i, Ring::new(&mut space, options));
        let queues = self.driver_queues().map(attach).collect();
        assert_eq!(node.set_status(status::RUNNING), Ok(()), "DRIVER_OK");
        queues
    }

    /// The first of the addresses that checks use. Neither where memory is in this
    /// process nor where it is in the machine, if the device leaves the choice.
    pub fn iova(&self) -> u64 {
        const USUAL: u64 = 0x42_0000_0000;
        let (first, last) = self.range;
        if first <= USUAL && last >= USUAL + (1 << 32) {
            USUAL
        } else {
            first.next_multiple_of(PAGE as u64)
        }
    }

    /// Memory that can be mapped, at [`Self::iova`].
    pub fn area(&self, size: usize) -> Area {
        Area::whole(&Memory::memfd(size), self.iova())
    }

    /// Whether it is reached at physical addresses, and what it reaches is pinned.
    pub fn pins(&self) -> bool {
        *self.pins.get_or_init(|| {
            let node = self.for_maps();
            let area = self.area(PAGE);
            assert_eq!(node.map(0, &area, Perm::Rw), Ok(()), "map");
            process::pinned() > 0
        })
    }

    /// Skips a check if the device has another class.
    pub fn need_class(&self, id: u32, name: &str) {
        if self.id != id {
            ktap::skip(format!("not a {name} device"));
        }
    }

    /// Skips a check if the device lacks features.
    pub fn need(&self, features: u64, name: &str) {
        if self.features & features != features {
            ktap::skip(format!("the device does not offer {name}"));
        }
    }

    /// Skips a check if vhost-vdpa lacks features for the device.
    pub fn need_backend(&self, features: u64, name: &str) {
        if self.backend & features != features {
            ktap::skip(format!("no {name}"));
        }
    }
}
