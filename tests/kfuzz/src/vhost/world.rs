// SPDX-License-Identifier: GPL-2.0
//! The devices, their nodes, and what has to hold when all is over.

use std::any::Any;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use vdpa_test::sim::{self, MAC as OWN};
use vdpa_test::vdpa::{Vdpa, MAC};
use vdpa_test::vhost::net::{frame, Net, Setup};
use vdpa_test::vhost::{backend, Area, Memory, Node, Perm, PAGE};
use vdpa_test::{parent, pins, sys, Errno};

use super::grammar::{ioctl, DEVICES};
use super::issue::Scratch;
use super::message::{self, Fields, BATCH_END};

/// What devices are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The simulators go by the owner's addresses. Those of the machine, otherwise.
    virtual_addresses: bool,
    /// They are told of all that is mapped. Of each piece, otherwise.
    whole: bool,
}

impl Kind {
    pub const ALL: [Kind; 4] = [
        Kind::new(true, true),
        Kind::new(false, true),
        Kind::new(true, false),
        Kind::new(false, false),
    ];

    const fn new(virtual_addresses: bool, whole: bool) -> Self {
        Kind {
            virtual_addresses,
            whole,
        }
    }

    pub fn name(self) -> &'static str {
        match (self.virtual_addresses, self.whole) {
            (true, true) => "virtual-whole",
            (false, true) => "physical-whole",
            (true, false) => "virtual-pieces",
            (false, false) => "physical-pieces",
        }
    }

    /// Fails with a message for the user.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|k| k.name() == name);
        kind.ok_or(format!("{name}: unknown devices"))
    }

    fn parameters(self) -> Vec<(&'static str, &'static str)> {
        let mut parameters = Vec::new();
        if !self.virtual_addresses {
            parameters.push(("use_va", "N"));
        }
        if !self.whole {
            parameters.push(("batch_mapping", "0"));
        }
        parameters
    }
}

/// A device, and what makes it.
pub struct Device {
    pub name: &'static str,
    manager: &'static str,
    /// What the test parent makes it from.
    options: Option<&'static str>,
}

/// All devices: simulators of the kind that is tried, and devices that do nothing.
pub static ALL: [Device; DEVICES as usize] = [
    Device {
        name: "f0",
        manager: "vdpasim_net",
        options: None,
    },
    Device {
        name: "f1",
        manager: "vdpasim_net",
        options: None,
    },
    Device {
        name: "p0",
        manager: "v-all",
        options: Some("dev.id=26"),
    },
    Device {
        name: "p1",
        manager: "v-few",
        options: Some(
            "dev.id=26 dev.nvqs=64 dev.iova_first=0x10000 dev.iova_last=0xffffffffff \
             dev.without=suspend,resume,reset_map,get_vq_group,get_vq_size",
        ),
    },
];

impl Device {
    fn is_simulator(&self) -> bool {
        self.options.is_none()
    }

    /// Makes the device.
    pub fn try_add(&self, vdpa: &mut Vdpa) -> Errno {
        let mut msg = vdpa.new_msg(self.manager, self.name);
        if self.is_simulator() {
            msg = msg.attr(MAC, &OWN);
        }
        vdpa.ack(&msg).errno
    }
}

/// The nodes that threads share.
pub struct World {
    nodes: [Mutex<Option<Arc<File>>>; DEVICES as usize],
    /// Of the nodes of devices; another one when the device was made anew.
    paths: [Mutex<CString>; DEVICES as usize],
    /// Pages that were pinned before anything was tried.
    pins: i64,
}

impl World {
    /// One without devices.
    pub fn nowhere() -> Self {
        World {
            nodes: Default::default(),
            paths: Default::default(),
            pins: 0,
        }
    }

    /// Makes the devices.
    pub fn set_up(kind: Kind) -> Self {
        sim::load(&kind.parameters());
        sys::modprobe("vdpa_sim_net");
        sim::for_vhost();
        parent::load();
        let mut vdpa = Vdpa::new();
        for device in &ALL {
            if let Some(options) = device.options {
                parent::control(&format!("mgmt-add {} {options}", device.manager));
            }
            let errno = device.try_add(&mut vdpa);
            assert_eq!(errno, Errno::OK, "adding {}", device.name);
        }
        let world = World {
            pins: pins::on_machine(),
            ..Self::nowhere()
        };
        (0..ALL.len()).for_each(|n| world.look_for(n));
        world
    }

    /// Finds out where the node of a device is.
    pub fn look_for(&self, device: usize) {
        let path = Node::path(ALL[device].name);
        *self.paths[device].lock().unwrap() = CString::new(path).expect("no NUL");
    }

    fn index(device: u8) -> usize {
        usize::from(device % DEVICES)
    }

    pub fn path(&self, device: u8) -> CString {
        self.paths[Self::index(device)].lock().unwrap().clone()
    }

    /// The node of a device, if it is open.
    pub fn node(&self, device: u8) -> Option<Arc<File>> {
        self.nodes[Self::index(device)].lock().unwrap().clone()
    }

    /// Opens a node for all threads.
    pub fn open(&self, device: u8) -> Result<(), Errno> {
        let path = self.path(device);
        let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
        // SAFETY: The path is a C string that lives across the call.
        let fd = unsafe { libc::open(path.as_ptr(), flags) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: The descriptor was just made and is nobody else's.
        let file = unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) };
        // One that is still there is of no use any more, as this one could be opened.
        *self.nodes[Self::index(device)].lock().unwrap() = Some(Arc::new(file));
        Ok(())
    }

    pub fn close(&self, device: u8) {
        let node = self.nodes[Self::index(device)].lock().unwrap().take();
        drop(node);
    }

    /// Unmaps what is mapped in this process's name.
    fn unmap_everything(&self) {
        let scratch = Scratch::new();
        let features = backend::IOTLB_MSG_V2 | backend::IOTLB_BATCH | backend::IOTLB_ASID;
        for node in (0..DEVICES).filter_map(|d| self.node(d)) {
            let number = vdpa_test::vhost::ioctl::SET_BACKEND_FEATURES.number();
            let issue = |call| scratch.issue(node.as_raw_fd(), &call);
            issue(ioctl(number, &features.to_ne_bytes()));
            let of = |asid, message| Fields { asid, ..message };
            for asid in 0..4 {
                issue(message::write(&[of(asid, Fields::batch(BATCH_END))]));
            }
            for asid in 0..4 {
                for (iova, size) in [(0, u64::MAX), (u64::MAX, 1)] {
                    issue(message::write(&[of(asid, Fields::unmap(iova, size))]));
                }
            }
        }
    }

    /// What does not hold when nobody uses the devices any more. Closes all nodes.
    pub fn check(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.unmap_everything();
        if pins::pinned() != 0 {
            let kb = pins::pinned();
            problems.push(format!("VmPin is {kb} kB with nothing mapped"));
        }
        (0..DEVICES).for_each(|d| self.close(d));
        let left = pins::on_machine() - self.pins;
        if left != 0 {
            problems.push(format!("{left} pages are pinned with all nodes closed"));
        }
        if (pins::pinned(), pins::locked()) != (0, 0) {
            problems.push("memory is locked with all nodes closed".into());
        }
        for device in &ALL {
            let usable = panic::catch_unwind(AssertUnwindSafe(|| use_device(device)));
            if let Err(payload) = usable {
                let name = device.name;
                problems.push(format!(
                    "{name} is of no use any more: {}",
                    text_of(&payload)
                ));
            }
        }
        problems
    }

    /// Takes the devices away. Returns what does not go.
    pub fn tear_down(self) -> Vec<String> {
        let mut vdpa = Vdpa::new();
        let mut problems = Vec::new();
        for device in &ALL {
            let errno = vdpa.try_del(device.name).errno;
            if errno != Errno::OK {
                problems.push(format!("deleting {}: {errno:?}", device.name));
            }
            if !device.is_simulator() {
                parent::control(&format!("mgmt-del {}", device.manager));
            }
        }
        problems
    }
}

fn text_of(payload: &Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or(payload.downcast_ref::<&str>().map(|s| s.to_string()))
        .unwrap_or("panic".into())
}

/// Does with a device what anybody may expect of it.
fn use_device(device: &Device) {
    if device.is_simulator() {
        let mut net = Net::start(&Setup::new(device.name));
        net.loop_back(&frame([0xff; 6], 0, 200));
        return;
    }
    let node = Node::open(device.name);
    assert_eq!(node.status(), Ok(0), "status");
    node.set_owner().expect("owner");
    let memory = Memory::private(4 * PAGE);
    let area = Area::whole(&memory, message::WINDOW);
    node.map(0, &area, Perm::Rw).expect("map");
    assert_eq!(pins::pinned(), 16, "kilobytes that are pinned");
    node.unmap(0, area.iova(), area.len() as u64)
        .expect("unmap");
    node.set_status(1).expect("status");
    assert_eq!(node.status(), Ok(1), "status");
}
