// SPDX-License-Identifier: GPL-2.0

//! `DEV_VSTATS_GET`: what a parent counts for one virtqueue.

use super::{
    attr,
    command,
    config::put,
    find_device,
    managed,
    report,
    rules,
    Handler, //
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
        ExtAck,
        Request, //
    },
};
use vdpa::{
    config::LockedConfig,
    Device,
    DeviceId, //
};
use vdpa_bindings as bindings;

pub(super) struct Get;

impl Handler for Get {
    const CMD: u32 = bindings::vdpa_command_VDPA_CMD_DEV_VSTATS_GET;
    const FLAGS: CommandFlags = CommandFlags::ADMIN_PERM;

    /// Fails with `EINVAL` if no device or no queue is named or the device is unmanaged, `ENODEV`,
    /// `EOPNOTSUPP` if nothing is counted, `ERANGE` for an index that no queue has, `EAGAIN` before
    /// features are negotiated, or with the parent's error.
    fn handle(req: &Request<'_>) -> Result {
        req.require(attr::DEV_NAME)?;
        let index = req.require(attr::QUEUE_INDEX)?.as_u32()?;
        let state = state::get()?;
        let managers = state.management.read();
        let device = find_device(req)?;
        let (_, device) = managed(managers.managed(&device), req.extack())?;
        if device.device_id() != DeviceId::NET {
            return Err(EOPNOTSUPP);
        }
        let index = rules::queue_index(index).ok_or_else(|| {
            extack_msg!(req.extack(), "queue index exceeds max value");
            ERANGE
        })?;
        if !device.has_vendor_stats() {
            return Err(EOPNOTSUPP);
        }
        check_negotiated(device, req.extack())?;
        device.with_legacy_config(|config| {
            // Again: the lock was free in between.
            check_negotiated(device, req.extack())?;
            req.reply(command(Self::CMD), |record| {
                fill(&config, index, record, req.extack())
            })
        })
    }
}

fn check_negotiated(device: &Device<Bound>, extack: ExtAck<'_>) -> Result {
    if device.status().features_ok() {
        return Ok(());
    }
    extack_msg!(extack, "feature negotiation not complete");
    Err(EAGAIN)
}

fn fill(
    config: &LockedConfig<'_>,
    index: u16,
    record: &mut AttrWriter<'_>,
    extack: ExtAck<'_>,
) -> Result {
    let device = config.device();
    let net: bindings::virtio_net_config = config.read();
    let features = device.driver_features();
    record.put_string(attr::DEV_NAME, device.name())?;
    record.put_u32(attr::DEV_ID, device.device_id().get())?;
    record.put_u64(attr::NEGOTIATED_FEATURES, features.bits(), attr::PAD)?;
    report::queue_pairs(&net, features, |number, value| put(record, number, value))?;
    record.put_u32(attr::QUEUE_INDEX, u32::from(index))?;
    config.vendor_stats(index, record, extack)
}
