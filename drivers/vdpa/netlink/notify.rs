// SPDX-License-Identifier: GPL-2.0

//! Messages to those who watch: the multicast group `monitor`.
//!
//! A watcher gets what `DEV_GET` would say of a device that appeared, what names a device that went
//! (as `DEV_DEL`), and what `DEV_CONFIG_GET` would say of one that was changed. The C module sends
//! nothing. A message that cannot be made or delivered is lost; the receiver's socket says so.

use super::{
    attr,
    command,
    config,
    device,
    management, //
};
use crate::state;
use kernel::{
    device::Bound,
    prelude::*, //
};
use kext::genetlink::{
    AttrWriter,
    MulticastGroup, //
};
use vdpa::{
    Device,
    DeviceId,
    ManagementDevice, //
};
use vdpa_bindings as bindings;

/// The family's groups.
pub(super) static GROUPS: [MulticastGroup; 1] = [MulticastGroup::new(c"monitor")];

const MONITOR: u32 = 0;

/// A device is on the bus.
pub(crate) fn added(manager: &ManagementDevice, device: &Device<Bound>) {
    send(device::RECORD, |record| {
        device::fill(manager, device, record)
    });
}

/// A device of this type is off the bus.
pub(crate) fn removed(manager: &ManagementDevice, device: &Device, id: DeviceId) {
    send(command(bindings::vdpa_command_VDPA_CMD_DEV_DEL), |record| {
        management::fill_handle(manager, record)?;
        record.put_string(attr::DEV_NAME, device.name())?;
        record.put_u32(attr::DEV_ID, id.get())
    });
}

/// The configuration of a device was changed.
pub(super) fn changed(device: &Device<Bound>) {
    send(config::RECORD, |record| config::fill(device, record));
}

fn send(cmd: u8, fill: impl FnOnce(&mut AttrWriter<'_>) -> Result) {
    let Ok(state) = state::get() else { return };
    let family = state.family.read();
    if let Some(family) = &*family {
        // Nobody waits for an answer who could be told of an error.
        let _ = family.notify(MONITOR, cmd, fill);
    }
}
