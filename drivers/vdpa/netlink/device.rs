// SPDX-License-Identifier: GPL-2.0

//! `DEV_NEW`, `DEV_DEL` and `DEV_GET`: devices made, removed and shown.

use super::{
    attr,
    command,
    find_device,
    list_devices,
    managed,
    management,
    name::Name,
    refuse::refuse,
    rules,
    Handler,
    Lister, //
};
use crate::state;
use kernel::{
    device::Bound,
    prelude::*, //
};
use kext::{
    extack_msg,
    genetlink::{
        AttrWriter,
        CommandFlags,
        Dump,
        Request, //
    },
};
use vdpa::{
    Device,
    DeviceConfig,
    Features,
    ManagementDevice, //
};
use vdpa_bindings as bindings;

/// Records come as this command, whatever was asked.
pub(super) const RECORD: u8 = command(bindings::vdpa_command_VDPA_CMD_DEV_NEW);

pub(super) struct New;

impl Handler for New {
    const CMD: u32 = bindings::vdpa_command_VDPA_CMD_DEV_NEW;
    const FLAGS: CommandFlags = CommandFlags::ADMIN_PERM;

    fn handle(req: &Request<'_>) -> Result {
        let name = req.require(attr::DEV_NAME)?.as_c_string_bytes();
        let config = parse_config(req)?;
        let refuse = |why| refuse(why, req.extack());
        rules::check_config(&config).map_err(refuse)?;

        let state = state::get()?;
        let managers = state.management.write();
        let manager = management::find(&managers, req).inspect_err(|_| {
            extack_msg!(req.extack(), "Fail to find the specified management device");
        })?;
        rules::check_support(&config, manager.attribute_mask(), manager.classes())
            .map_err(refuse)?;
        let name = Name::new(name, req.extack())?;
        manager.add_device(name.as_c_str()?, &config)
    }
}

/// What the user wants of the device.
fn parse_config(req: &Request<'_>) -> Result<DeviceConfig> {
    let attr = |number| req.attr(number);
    Ok(DeviceConfig {
        mac: attr(attr::NET_CFG_MACADDR)
            .map(|attr| attr.as_array())
            .transpose()?,
        mtu: attr(attr::NET_CFG_MTU)
            .map(|attr| attr.as_u16())
            .transpose()?,
        max_queue_pairs: attr(attr::NET_CFG_MAX_VQP)
            .map(|attr| attr.as_u16())
            .transpose()?,
        features: attr(attr::FEATURES)
            .map(|attr| attr.as_u64().map(Features::from_bits))
            .transpose()?,
    })
}

pub(super) struct Delete;

impl Handler for Delete {
    const CMD: u32 = bindings::vdpa_command_VDPA_CMD_DEV_DEL;
    const FLAGS: CommandFlags = CommandFlags::ADMIN_PERM;

    /// Fails with `EINVAL` if no device is named or it is unmanaged, or `ENODEV`.
    fn handle(req: &Request<'_>) -> Result {
        let state = state::get()?;
        let managers = state.management.write();
        let device = find_device(req)?;
        let (manager, device) = managers.managed(&device).ok_or_else(|| {
            extack_msg!(
                req.extack(),
                "Only user created device can be deleted by user"
            );
            EINVAL
        })?;
        manager.remove_device(device)
    }
}

pub(super) struct Get;

impl Handler for Get {
    const CMD: u32 = bindings::vdpa_command_VDPA_CMD_DEV_GET;
    const FLAGS: CommandFlags = CommandFlags::NONE;

    /// Fails with `EINVAL` if no device is named or it is unmanaged, or `ENODEV`.
    fn handle(req: &Request<'_>) -> Result {
        let state = state::get()?;
        let managers = state.management.read();
        let device = find_device(req)?;
        let (manager, device) = managed(managers.managed(&device), req.extack())?;
        req.reply(RECORD, |record| fill(manager, device, record))
    }
}

impl Lister for Get {
    fn list(dump: &mut Dump<'_, u64>) -> Result {
        list_devices(dump, |dump, (manager, device)| {
            dump.record(RECORD, |record| fill(manager, device, record))
        })
    }
}

/// All about a device but its configuration.
pub(super) fn fill(
    manager: &ManagementDevice,
    device: &Device<Bound>,
    record: &mut AttrWriter<'_>,
) -> Result {
    management::fill_handle(manager, record)?;
    record.put_string(attr::DEV_NAME, device.name())?;
    record.put_u32(attr::DEV_ID, device.device_id().get())?;
    record.put_u32(attr::VENDOR_ID, device.vendor_id())?;
    record.put_u32(attr::MAX_VQS, device.queue_count())?;
    record.put_u16(attr::MAX_VQ_SIZE, device.max_queue_size())?;
    record.put_u16(attr::MIN_VQ_SIZE, device.min_queue_size())
}
