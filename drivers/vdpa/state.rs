// SPDX-License-Identifier: GPL-2.0

//! The state of the bus: one for the module, as there is one bus.

use crate::{
    registry::Registry,
    unload::Live, //
};
use kernel::{
    device::Bound,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use kext::{
    genetlink,
    ida::Ida,
    new_rwsem,
    once::StaticCell,
    rwsem::RwSemaphore, //
};
use vdpa::{
    Device,
    ManagementDevice, //
};

/// See the head of the crate for the order of the locks.
#[pin_data]
pub(crate) struct State {
    /// The management devices. The lock also excludes the making and removing of devices.
    #[pin]
    pub(crate) management: RwSemaphore<ManagementDevices>,
    /// The devices on the bus.
    #[pin]
    pub(crate) registry: Mutex<Registry>,
    /// The devices whose memory is there.
    #[pin]
    pub(crate) live: Live,
    /// The indices of devices.
    #[pin]
    pub(crate) indices: Ida,
    /// The netlink family, while it is registered. Held for reading while a notification is made.
    #[pin]
    pub(crate) family: RwSemaphore<Option<genetlink::Registration>>,
}

static STATE: StaticCell<State> = StaticCell::new();

/// Makes the state; before anything is registered.
pub(crate) fn init() -> Result {
    STATE.init(try_pin_init!(State {
        management <- new_rwsem!(ManagementDevices::new(), c"vdpa_dev_lock"),
        registry <- new_mutex!(Registry::new(), "vdpa_registry"),
        live <- Live::new(),
        indices <- Ida::new(),
        family <- new_rwsem!(None, c"vdpa_family"),
    }? Error))
}

/// The state. Fails with `ENODEV` only before [`init`], when nobody can call us.
pub(crate) fn get() -> Result<Pin<&'static State>> {
    STATE.get().ok_or(ENODEV)
}

/// The registered management devices, oldest first.
pub(crate) struct ManagementDevices {
    entries: KVec<Entry>,
    next: u64,
}

/// A management device and a device of it, whose parent is there as the lock is held.
pub(crate) type Managed<'a> = (&'a ManagementDevice, &'a Device<Bound>);

struct Entry {
    /// Grows from entry to entry, so that a dump can tell where it was.
    age: u64,
    device: &'static ManagementDevice,
}

impl ManagementDevices {
    const fn new() -> Self {
        Self {
            entries: KVec::new(),
            next: 0,
        }
    }

    /// Adds one at the end. Fails with `ENOMEM`.
    pub(crate) fn add(&mut self, device: &'static ManagementDevice) -> Result {
        let age = self.next;
        self.entries.push(Entry { age, device }, GFP_KERNEL)?;
        self.next = age.wrapping_add(1);
        Ok(())
    }

    /// Removes one.
    pub(crate) fn remove(&mut self, device: &ManagementDevice) {
        self.entries.retain(|entry| entry.device != device);
        if self.entries.is_empty() {
            // The state is never dropped, so what it allocated must not outlast its use.
            self.entries = KVec::new();
        }
    }

    /// The one with this name: on the bus of this name, or on no bus at all.
    pub(crate) fn find(&self, bus: Option<&[u8]>, name: &[u8]) -> Option<&ManagementDevice> {
        self.iter().find(|device| {
            device.bus_name().map(CStr::to_bytes) == bus && device.name().to_bytes() == name
        })
    }

    /// The device, and the one that made it; none if it is unmanaged.
    pub(crate) fn managed<'a>(&'a self, device: &'a Device) -> Option<Managed<'a>> {
        self.iter()
            .find_map(|manager| Some((manager, manager.device_of(device)?)))
    }

    fn iter(&self) -> impl Iterator<Item = &ManagementDevice> {
        self.entries.iter().map(|entry| entry.device)
    }

    /// The first one that is `age` or younger, and its age.
    pub(crate) fn from(&self, age: u64) -> Option<(u64, &ManagementDevice)> {
        self.entries
            .iter()
            .find(|entry| entry.age >= age)
            .map(|entry| (entry.age, entry.device))
    }
}
