// SPDX-License-Identifier: GPL-2.0

//! The devices on the bus, by name and by age.
//!
//! The driver core keeps them too, in a list that has to be searched from its start. Here a name is
//! found, and a dump goes on where it was, in logarithmic time.

use kernel::{
    prelude::*,
    rbtree::RBTree, //
};
use vdpa::device::{
    Device,
    DeviceRef, //
};

/// The devices on the bus.
///
/// An age is never used again, so that a dump which stopped at one goes on with those that were
/// there or came later, whatever went in between.
pub(crate) struct Registry {
    by_age: RBTree<u64, DeviceRef>,
    /// The ages of the devices whose name has this hash: nearly always one.
    by_name: RBTree<u64, KVec<u64>>,
    next: u64,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            by_age: RBTree::new(),
            by_name: RBTree::new(),
            next: 0,
        }
    }

    /// Adds a device as the youngest. Fails with `EEXIST` if one with its name is there, or
    /// `ENOMEM`.
    pub(crate) fn insert(&mut self, device: &Device) -> Result {
        let name = device.name().to_bytes();
        if self.find(name).is_some() {
            return Err(EEXIST);
        }
        let age = self.next;
        self.by_age
            .try_create_and_insert(age, device.into(), GFP_KERNEL)?;
        if let Err(e) = self.insert_name(hash(name), age) {
            self.by_age.remove(&age);
            return Err(e);
        }
        self.next = age.wrapping_add(1);
        Ok(())
    }

    fn insert_name(&mut self, hash: u64, age: u64) -> Result {
        if let Some(ages) = self.by_name.get_mut(&hash) {
            ages.push(age, GFP_KERNEL)?;
            return Ok(());
        }
        let mut ages = KVec::with_capacity(1, GFP_KERNEL)?;
        ages.push(age, GFP_KERNEL)?;
        self.by_name.try_create_and_insert(hash, ages, GFP_KERNEL)?;
        Ok(())
    }

    /// Removes a device. The reference that was kept is returned, to be dropped with no lock held.
    pub(crate) fn remove(&mut self, device: &Device) -> Option<DeviceRef> {
        let hash = hash(device.name().to_bytes());
        let ages = self.by_name.get_mut(&hash)?;
        let by_age = &self.by_age;
        let age = ages
            .iter()
            .copied()
            .find(|age| by_age.get(age).is_some_and(|other| **other == *device))?;
        ages.retain(|other| *other != age);
        if ages.is_empty() {
            self.by_name.remove(&hash);
        }
        self.by_age.remove(&age)
    }

    /// The device with this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<DeviceRef> {
        self.by_name
            .get(&hash(name))?
            .iter()
            .filter_map(|age| self.by_age.get(age))
            .find(|device| device.name().to_bytes() == name)
            .cloned()
    }

    /// The oldest device that is `age` or younger, and its age.
    pub(crate) fn from(&self, age: u64) -> Option<(u64, DeviceRef)> {
        let cursor = self.by_age.cursor_lower_bound(&age)?;
        let (age, device) = cursor.current();
        Some((*age, device.clone()))
    }
}

/// FNV-1a. Names come from administrators; equal hashes only cost a comparison.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
