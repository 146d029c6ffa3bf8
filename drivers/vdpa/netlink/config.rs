// SPDX-License-Identifier: GPL-2.0

//! `DEV_CONFIG_GET` and `DEV_ATTR_SET`: the configuration space of a device, shown and changed.

use super::{
    attr,
    command,
    find_device,
    list_devices,
    managed,
    notify,
    refuse::refuse,
    report::{
        self,
        Value, //
    },
    rules::{
        self,
        Refusal, //
    },
    Handler,
    Lister, //
};
use crate::state;
use kernel::{
    device::Bound,
    prelude::*, //
};
use kext::{
    extack_fmt, extack_msg,
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
    DeviceId, //
};
use vdpa_bindings as bindings;

pub(super) const RECORD: u8 = command(bindings::vdpa_command_VDPA_CMD_DEV_CONFIG_GET);

pub(super) struct Get;

impl Handler for Get {
    const CMD: u32 = bindings::vdpa_command_VDPA_CMD_DEV_CONFIG_GET;
    const FLAGS: CommandFlags = CommandFlags::NONE;

    /// Fails with `EINVAL` if no device is named or it is unmanaged, `ENODEV`, or `EOPNOTSUPP` for a
    /// type whose configuration has no attributes.
    fn handle(req: &Request<'_>) -> Result {
        let state = state::get()?;
        let managers = state.management.read();
        let device = find_device(req)?;
        let (_, device) = managed(managers.managed(&device), req.extack())?;
        req.reply(RECORD, |record| fill(device, record))
    }
}

impl Lister for Get {
    fn list(dump: &mut Dump<'_, u64>) -> Result {
        list_devices(dump, |dump, (_, device)| {
            dump.record(RECORD, |record| fill(device, record))
        })
    }
}

/// What identifies a device, and its configuration by its type. Takes `cf_lock`.
pub(super) fn fill(device: &Device<Bound>, record: &mut AttrWriter<'_>) -> Result {
    device.with_config(|config| {
        let id = device.device_id();
        record.put_string(attr::DEV_NAME, device.name())?;
        record.put_u32(attr::DEV_ID, id.get())?;
        if device.status().features_ok() {
            record.put_u64(
                attr::NEGOTIATED_FEATURES,
                device.driver_features().bits(),
                attr::PAD,
            )?;
        }
        let put = |number, value| put(record, number, value);
        match id {
            DeviceId::NET => report::net(&config.read(), device.device_features(), put),
            DeviceId::BLOCK => report::block(&config.read(), device.device_features(), put),
            _ => Err(EOPNOTSUPP),
        }
    })
}

/// Appends what was found in a configuration space.
pub(super) fn put(record: &mut AttrWriter<'_>, number: u16, value: Value) -> Result {
    match value {
        Value::U8(value) => record.put_u8(number, value),
        Value::U16(value) => record.put_u16(number, value),
        Value::U32(value) => record.put_u32(number, value),
        Value::U64(value) => record.put_u64(number, value, attr::PAD),
        Value::Mac(value) => record.put_bytes(number, &value),
    }
}

pub(super) struct Set;

impl Handler for Set {
    const CMD: u32 = bindings::vdpa_command_VDPA_CMD_DEV_ATTR_SET;
    const FLAGS: CommandFlags = CommandFlags::ADMIN_PERM;

    /// Fails with `EINVAL` if no device is named or it is unmanaged, `ENODEV`, `EOPNOTSUPP` for what
    /// cannot be changed, or with the parent's error.
    fn handle(req: &Request<'_>) -> Result {
        let state = state::get()?;
        let managers = state.management.write();
        let device = find_device(req)?;
        let (manager, device) = managed(managers.managed(&device), req.extack())?;
        if !manager.classes().has(DeviceId::NET) {
            extack_fmt!(req.extack(), "{} device not supported", device.name());
            return Err(EOPNOTSUPP);
        }
        let refuse = |why| refuse(why, req.extack());
        let others = [attr::NET_CFG_MTU, attr::NET_CFG_MAX_VQP, attr::FEATURES]
            .into_iter()
            .filter(|number| req.attr(*number).is_some())
            .fold(0, |mask, number| mask | 1u64 << number);
        if others != 0 {
            return Err(refuse(Refusal::UnsupportedAttributes(others)));
        }
        let Some(mac) = req.attr(attr::NET_CFG_MACADDR) else {
            extack_msg!(req.extack(), "No attribute to change was given");
            return Err(EOPNOTSUPP);
        };
        let mac = mac.as_array()?;
        rules::check_mac(mac).map_err(refuse)?;
        if !manager.can_set_attributes() {
            extack_msg!(req.extack(), "Operation not supported by the device.");
            return Err(EOPNOTSUPP);
        }
        let config = DeviceConfig {
            mac: Some(mac),
            ..DeviceConfig::default()
        };
        manager.set_attributes(device, &config)?;
        notify::changed(device);
        Ok(())
    }
}
