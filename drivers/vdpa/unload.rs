// SPDX-License-Identifier: GPL-2.0

//! Why no code of a parent's module is missing when it is called.
//!
//! A device is freed when its last reference goes, which may be long after its parent let go of it:
//! the release calls `free` of the parent and reads its table of operations. Nothing else makes a
//! parent's module wait for that. So the bus knows all devices whose memory is there, and the
//! unload of a module waits, after its exit function, for those that need it.
//!
//! (In C such a device takes the kernel down. A reference to the module, held by each device, would
//! prevent the unload instead; but unloading a parent is how users remove all of its devices.)

use crate::state;
use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{
        CondVar,
        CondVarTimeoutResult,
        Mutex,
        MutexGuard, //
    },
    time::msecs_to_jiffies, //
};
use kext::unload::{
    self,
    GoingModule,
    OnUnload, //
};

/// What the release of one device needs: addresses of code and tables, 0 for nothing.
///
/// A parent may be made of several modules, one on top of the other, of which only the lower one
/// shows in the table of operations: the operations of the management device are in the upper one.
type Needs = [usize; 3];

/// The devices whose memory is there, by their index, which no other has meanwhile.
#[pin_data]
pub(crate) struct Live {
    #[pin]
    devices: Mutex<RBTree<u32, Needs>>,
    #[pin]
    released: CondVar,
}

impl Live {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            devices <- new_mutex!(RBTree::new(), "vdpa_live"),
            released <- new_condvar!("vdpa_released"),
        })
    }

    /// A device is about to be made. Fails with `ENOMEM`.
    pub(crate) fn add(&self, index: u32, [table, free]: [usize; 2]) -> Result {
        self.devices
            .lock()
            .try_create_and_insert(index, [table, free, 0], GFP_KERNEL)?;
        Ok(())
    }

    /// The release of a device also needs what is at `address`.
    pub(crate) fn add_need(&self, index: u32, address: usize) {
        if let Some([_, _, other]) = self.devices.lock().get_mut(&index) {
            *other = address;
        }
    }

    /// The device was freed, or not made after all.
    pub(crate) fn remove(&self, index: u32) {
        let mut devices = self.devices.lock();
        devices.remove(&index);
        // With the lock held: a waiter may unload this very code once it is not.
        self.released.notify_all();
    }

    /// Waits until no device needs what `concerns` describes; on behalf of `module`, which the log
    /// names when that takes long.
    fn wait(&self, module: &CStr, concerns: impl Fn(&Needs) -> bool) {
        let count = |devices: &RBTree<u32, Needs>| devices.values().filter(|n| concerns(n)).count();
        let mut devices = self.devices.lock();
        while count(&devices) != 0 {
            if self.wait_a_while(&mut devices) && count(&devices) != 0 {
                pr_warn!(
                    "the unload of {} waits: somebody still refers to {} of its devices\n",
                    module,
                    count(&devices)
                );
            }
        }
    }

    /// Waits for a release, at most 10 s unless a signal is pending. Whether the time was up.
    fn wait_a_while(&self, devices: &mut MutexGuard<'_, RBTree<u32, Needs>>) -> bool {
        match self
            .released
            .wait_interruptible_timeout(devices, msecs_to_jiffies(10_000))
        {
            CondVarTimeoutResult::Woken { .. } => false,
            CondVarTimeoutResult::Timeout => true,
            CondVarTimeoutResult::Signal { .. } => {
                // The memory goes when we return, so that a signal cannot make us.
                self.released.wait(devices);
                false
            }
        }
    }
}

/// Makes the unload of a parent's module wait for its devices.
///
/// The chain of module notifiers is held for reading meanwhile: who wants to add to it waits too.
pub(crate) struct WaitForDevices;

impl OnUnload for WaitForDevices {
    fn module_going(module: &GoingModule) {
        if let Ok(state) = state::get() {
            state.live.wait(module.name(), |needs| {
                needs.iter().any(|address| module.contains(*address))
            });
        }
    }
}

/// Waits until every device was released, and the code that did it was left.
pub(crate) fn wait_for_all() {
    if let Ok(state) = state::get() {
        state.live.wait(c"vdpa", |_| true);
        unload::wait_for_running_code();
    }
}
