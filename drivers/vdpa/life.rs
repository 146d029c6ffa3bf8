// SPDX-License-Identifier: GPL-2.0

//! The life of a device: made, on the bus, off the bus, freed.

use crate::{
    bus::{
        VdpaBus,
        BUS, //
    },
    netlink::notify,
    state,
    trace, //
};
use kernel::{
    prelude::*,
    warn_on, //
};
use vdpa::{
    bus::{
        Registered,
        Specification,
        Unregistered, //
    },
    device::DeviceRef,
    ManagementDevice, //
};

/// Makes a device, `__vdpa_alloc_device()`. Fails with `ENOMEM`, or `ENOSPC` for lack of indices.
pub(crate) fn allocate(spec: &Specification<'_>) -> Result<DeviceRef> {
    let state = state::get()?;
    let blank = spec.allocate()?;
    let index = state.indices.alloc()?;
    state
        .live
        .add(index, spec.release_needs())
        .and_then(|()| blank.initialise::<VdpaBus>(&BUS, index))
        .inspect_err(|_| freed(index))
}

/// A device that had this index was freed.
pub(crate) fn freed(index: u32) {
    if let Ok(state) = state::get() {
        // In this order: nobody else may have the index while it is in the list.
        state.live.remove(index);
        state.indices.free(index);
    }
}

/// Puts a device on the bus, `_vdpa_register_device()`: the caller is a management device's
/// `dev_add`, so [`State::management`](state::State) is held for writing.
///
/// Fails with `EINVAL` if it has no management device, `EEXIST` if its name is taken, `ENOMEM`, or
/// the driver core's error.
pub(crate) fn register_managed(device: Unregistered<'_>, queues: u32) -> Result {
    if !device.is_managed() {
        return Err(EINVAL);
    }
    let (vdev, manager) = (device.device(), device.manager());
    if let Some(manager) = manager {
        let live = &state::get()?.live;
        live.add_need(device.index(), manager.operations_address());
    }
    register(device, queues)?;
    if let Some(manager) = manager {
        notify::added(manager, vdev);
    }
    Ok(())
}

/// Puts a device on the bus that has no management device, `vdpa_register_device()`.
pub(crate) fn register_unmanaged(device: Unregistered<'_>, queues: u32) -> Result {
    let state = state::get()?;
    let _held = state.management.write();
    register(device, queues)
}

fn register(device: Unregistered<'_>, queues: u32) -> Result {
    let state = state::get()?;
    let vdev = device.device();
    device.set_queue_count(queues);
    let mut result = state.registry.lock().insert(vdev);
    if result.is_ok() {
        result = device.add();
        if result.is_err() {
            let kept = state.registry.lock().remove(vdev);
            drop(kept);
        }
    }
    trace::dev_add(vdev, queues, &result);
    result
}

/// Takes a device off the bus, `_vdpa_unregister_device()`: the caller is a management device's
/// `dev_del`, so [`State::management`](state::State) is held for writing.
pub(crate) fn unregister_managed(device: Registered<'_>) {
    warn_on!(!device.is_managed());
    // The name is needed when the device is gone; by then its parent must not be asked.
    let vdev = DeviceRef::from(device.device());
    let id = device.device().device_id();
    let manager = device.manager();
    unregister(device);
    if let Some(manager) = manager {
        notify::removed(manager, &vdev, id);
    }
}

/// Takes a device off the bus, `vdpa_unregister_device()`.
pub(crate) fn unregister_unmanaged(device: Registered<'_>) {
    if let Ok(state) = state::get() {
        let _held = state.management.write();
        unregister(device);
    }
}

fn unregister(device: Registered<'_>) {
    trace::dev_del(device.device());
    if let Ok(state) = state::get() {
        let kept = state.registry.lock().remove(device.device());
        drop(kept);
    }
    device.remove();
}

/// Takes a management device in, `vdpa_mgmtdev_register()`. Fails with `ENOMEM`.
pub(crate) fn add_manager(manager: &'static ManagementDevice) -> Result {
    state::get()?.management.write().add(manager)
}

/// Lets go of a management device and removes its devices, `vdpa_mgmtdev_unregister()`.
pub(crate) fn remove_manager(manager: &ManagementDevice) {
    let Ok(state) = state::get() else { return };
    let mut managers = state.management.write();
    managers.remove(manager);

    let mut from = 0u64;
    loop {
        // The registry's lock must not be held over the removal.
        let next = state.registry.lock().from(from);
        let Some((age, device)) = next else { break };
        if manager.owns(&device) {
            // Cannot fail: the device is the manager's.
            let _ = manager.remove_device(&device);
        }
        from = age.wrapping_add(1);
    }
}
