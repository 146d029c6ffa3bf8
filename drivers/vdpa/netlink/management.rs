// SPDX-License-Identifier: GPL-2.0

//! `MGMTDEV_GET`: what can make devices.

use super::{
    attr,
    command,
    Handler,
    Lister, //
};
use crate::state::{
    self,
    ManagementDevices, //
};
use kernel::prelude::*;
use kext::{
    extack_msg,
    genetlink::{
        AttrWriter,
        CommandFlags,
        Dump,
        Request, //
    },
};
use vdpa::ManagementDevice;
use vdpa_bindings as bindings;

/// Records come as this command, whatever was asked.
const RECORD: u8 = command(bindings::vdpa_command_VDPA_CMD_MGMTDEV_NEW);

pub(super) struct Get;

impl Handler for Get {
    const CMD: u32 = bindings::vdpa_command_VDPA_CMD_MGMTDEV_GET;
    const FLAGS: CommandFlags = CommandFlags::NONE;

    /// Fails with `EINVAL` if none is named, or `ENODEV`.
    fn handle(req: &Request<'_>) -> Result {
        let state = state::get()?;
        let managers = state.management.read();
        let manager = find(&managers, req).inspect_err(|_| {
            extack_msg!(req.extack(), "Fail to find the specified mgmt device");
        })?;
        req.reply(RECORD, |record| fill(manager, record))
    }
}

impl Lister for Get {
    fn list(dump: &mut Dump<'_, u64>) -> Result {
        let state = state::get()?;
        let managers = state.management.read();
        while let Some((age, manager)) = managers.from(dump.state()) {
            dump.record(RECORD, |record| fill(manager, record))?;
            dump.set_state(age.wrapping_add(1));
        }
        Ok(())
    }
}

/// The management device that the request names: by its name and that of its bus, or by its name
/// alone if it is on none. Fails with `EINVAL` if it names none, or `ENODEV`.
pub(super) fn find<'a>(
    managers: &'a ManagementDevices,
    req: &Request<'_>,
) -> Result<&'a ManagementDevice> {
    let name = req.require(attr::MGMTDEV_DEV_NAME)?.as_c_string_bytes();
    let bus = req
        .attr(attr::MGMTDEV_BUS_NAME)
        .map(|bus| bus.as_c_string_bytes());
    managers.find(bus, name).ok_or(ENODEV)
}

/// What names a management device.
pub(super) fn fill_handle(manager: &ManagementDevice, record: &mut AttrWriter<'_>) -> Result {
    if let Some(bus) = manager.bus_name() {
        record.put_string(attr::MGMTDEV_BUS_NAME, bus)?;
    }
    record.put_string(attr::MGMTDEV_DEV_NAME, manager.name())
}

fn fill(manager: &ManagementDevice, record: &mut AttrWriter<'_>) -> Result {
    fill_handle(manager, record)?;
    record.put_u64(
        attr::MGMTDEV_SUPPORTED_CLASSES,
        manager.classes().bits,
        attr::PAD,
    )?;
    record.put_u32(attr::MGMTDEV_MAX_VQS, manager.max_queues())?;
    record.put_u64(
        attr::SUPPORTED_FEATURES,
        manager.supported_features().bits(),
        attr::PAD,
    )
}
