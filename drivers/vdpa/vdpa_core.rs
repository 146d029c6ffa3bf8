// SPDX-License-Identifier: GPL-2.0

//! The vDPA bus, `vdpa.ko`.
//!
//! It replaces the C module of that name: parents and bus drivers, in C or in Rust, meet it at the
//! twelve symbols of [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h) (`exports.rs`), and
//! users at the generic netlink family `vdpa` (`netlink.rs`) and in sysfs.
//!
//! # Locks
//!
//! In this order, after the locks of parents that come and go (the device lock of their own bus):
//!
//! 1. `State::management`, `vdpa_dev_lock` in C: held for writing while a device is made or
//!    removed, drivers' probe and remove included; for reading while netlink reports devices.
//! 2. `State::family`.
//! 3. The device lock of the driver core; whatever parents and drivers take in their callbacks.
//! 4. `cf_lock` of a device: its configuration space, status and features.
//! 5. `State::registry`, the lock of `unload::Live`: leaves. Only memory is allocated with one of
//!    them held.

use kernel::{
    prelude::*,
    InPlaceModule, //
};
use kext::unload::Notifier;

mod bus;
mod exports;
mod life;
mod netlink;
mod registry;
mod state;
mod trace;
mod unload;

module! {
    type: VdpaModule,
    name: "vdpa",
    authors: ["The rust-vdpa developers"],
    description: "vDPA bus",
    license: "GPL v2",
    alias: ["net-pf-16-proto-16-family-vdpa"],
}

/// What the module registers. Fields are dropped in this order, each before what it needs.
#[pin_data(PinnedDrop)]
struct VdpaModule {
    _family: FamilyRegistration,
    _bus: kext::bus::Registration,
    #[pin]
    _notifier: Notifier<unload::WaitForDevices>,
}

impl InPlaceModule for VdpaModule {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _: { state::init()?; },
            _notifier <- Notifier::new(),
            _bus: kext::bus::Registration::new(&bus::BUS)?,
            _family: FamilyRegistration::new()?,
        })
    }
}

#[pinned_drop]
impl PinnedDrop for VdpaModule {
    fn drop(self: Pin<&mut Self>) {
        // The modules that made devices are gone, as they use our symbols; not so, perhaps, the
        // last instructions of a device's release.
        unload::wait_for_all();
    }
}

/// The registration of the netlink family, kept where notifications find it.
struct FamilyRegistration;

impl FamilyRegistration {
    fn new() -> Result<Self> {
        let family = netlink::register()?;
        *state::get()?.family.write() = Some(family);
        Ok(Self)
    }
}

impl Drop for FamilyRegistration {
    fn drop(&mut self) {
        if let Ok(state) = state::get() {
            let family = state.family.write().take();
            // With the lock released: this waits for commands, which may want to notify.
            drop(family);
        }
    }
}
