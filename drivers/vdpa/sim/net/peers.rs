// SPDX-License-Identifier: GPL-2.0

//! Two cards back to back: what one sends, the other receives.
//!
//! A card that is on its own receives what it sends itself. The attribute `peer` of a device takes
//! the name of another one, or nothing to separate them; see
//! `Documentation/ABI/sysfs-bus-vdpa-vdpasim_net`.
//!
//! # Locks
//!
//! The registry's lock is taken before the claims of queues. It is not held while a device is added
//! or removed: the attribute takes it, too, and the removal waits for those who use the attribute.

use crate::net::Device;
use kernel::{
    new_mutex,
    prelude::*,
    str::BStr,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
};
use kext::sysfs;
use vdpa::ParentDevice;
use vdpasim::QueueData;

/// A card, as others refer to it.
pub(crate) type DeviceRef = ARef<ParentDevice<Device>>;

/// The cards that there are.
#[pin_data]
pub(crate) struct Registry {
    #[pin]
    devices: Mutex<KVec<DeviceRef>>,
}

impl Registry {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                devices <- new_mutex!(KVec::new()),
            }),
            GFP_KERNEL,
        )
    }

    /// From now on the card can be paired.
    pub(crate) fn add(&self, device: &ParentDevice<Device>) -> Result {
        Ok(self.devices.lock().push(ARef::from(device), GFP_KERNEL)?)
    }

    /// The card is on its own, and stays so.
    pub(crate) fn remove(&self, device: &Device) {
        let mut devices = self.devices.lock();
        separate(device);
        let index = devices.iter().position(|other| is_same(other, device));
        let removed = index.and_then(|index| devices.remove(index).ok());
        drop(devices);
        drop(removed);
    }

    /// Puts the card and the one of that name back to back.
    ///
    /// Fails with `ENODEV` if there is none, or this one is going, `EINVAL` if it is the card itself,
    /// `EBUSY` if one of the two has another peer, or `ENOMEM`.
    fn pair(&self, device: &ParentDevice<Device>, name: &BStr) -> Result {
        let devices = self.devices.lock();
        let other = devices
            .iter()
            .find(|other| other.name().to_bytes() == &**name)
            .ok_or(ENODEV)?;
        if is_same(other, device) {
            return Err(EINVAL);
        }
        if !devices.iter().any(|other| is_same(other, device)) {
            return Err(ENODEV);
        }
        let is_peer = |peer: Option<&DeviceRef>| peer.is_some_and(|peer| is_same(peer, other));
        if device.model().peer.read(is_peer) {
            return Ok(());
        }
        let is_paired = |peer: Option<&DeviceRef>| peer.is_some();
        if device.model().peer.read(is_paired) || other.model().peer.read(is_paired) {
            return Err(EBUSY);
        }
        let (to, back) = (
            KBox::new(other.clone(), GFP_KERNEL)?,
            KBox::new(ARef::from(device), GFP_KERNEL)?,
        );
        device.model().peer.replace(Some(to));
        other.model().peer.replace(Some(back));
        connect(device, Some(other));
        connect(other, Some(&ARef::from(device)));
        Ok(())
    }

    fn separate(&self, device: &Device) {
        let devices = self.devices.lock();
        separate(device);
        drop(devices);
    }
}

fn is_same(a: &Device, b: &Device) -> bool {
    core::ptr::eq(a, b)
}

/// With the registry's lock held.
fn separate(device: &Device) {
    if let Some(peer) = device.model().peer.replace(None) {
        let back = peer.model().peer.replace(None);
        connect(device, None);
        connect(&peer, None);
        drop(back);
    }
}

/// From now on the card sends to `peer`, or to itself. Waits for what is being sent.
fn connect(device: &Device, peer: Option<&DeviceRef>) {
    for pair in 0..device.model().all_pairs().get() {
        let index = crate::features::Layout::transmit_index(pair);
        if let Some(queue) = device.queue(usize::from(index)) {
            let old = queue.with_data(|data| {
                data.restart();
                core::mem::replace(&mut data.peer, peer.cloned())
            });
            // It may be the last reference: not with the claim held.
            drop(old);
        }
    }
    device.schedule_all();
}

/// The attribute `peer`.
struct Peer;

#[vtable]
impl sysfs::Attribute<ParentDevice<Device>> for Peer {
    const NAME: &'static CStr = c"peer";

    fn show(device: &ParentDevice<Device>, page: &mut sysfs::Page<'_>) -> Result {
        device.model().peer.read(|peer| match peer {
            Some(peer) => page.write_fmt(fmt!("{}\n", peer.name())),
            None => Ok(()),
        })
    }

    fn store(device: &ParentDevice<Device>, value: &BStr) -> Result {
        let registry = &device.model().registry;
        if value.is_empty() {
            registry.separate(device);
            Ok(())
        } else {
            registry.pair(device, value)
        }
    }
}

/// The attributes of a card.
pub(crate) const ATTRIBUTES: sysfs::Groups<ParentDevice<Device>> = sysfs::Groups::one::<(Peer,)>();
