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
        ExtAck,
        Request, //
    },
};
use vdpa::{
    Device,
    DeviceConfig,
    DeviceId,
    Features,
    ManagementDevice, //
};
use vdpa_bindings as bindings;

/// Records come as this command, whatever was asked.
pub(super) const RECORD: u8 = command(bindings::vdpa_command_VDPA_CMD_DEV_NEW);

/// The features that depend on the type of the device: all but those of the transport (virtio 1.3,
/// section 6).
const DEVICE_FEATURES: Features = Features::from_bits(
    !((u64::MAX << bindings::VIRTIO_TRANSPORT_F_START)
        & (u64::MAX >> (u64::BITS - 1 - bindings::VIRTIO_TRANSPORT_F_END))),
);

pub(super) struct New;

impl Handler for New {
    const CMD: u32 = bindings::vdpa_command_VDPA_CMD_DEV_NEW;
    const FLAGS: CommandFlags = CommandFlags::ADMIN_PERM;

    fn handle(req: &Request<'_>) -> Result {
        let name = req.require(attr::DEV_NAME)?.as_c_string_bytes();
        let config = parse_config(req)?;
        check_features(&config, req.extack())?;

        let state = state::get()?;
        let managers = state.management.write();
        let manager = management::find(&managers, req).inspect_err(|_| {
            extack_msg!(req.extack(), "Fail to find the specified management device");
        })?;
        check_support(&config, manager, req.extack())?;
        let name = Name::new(name, req.extack())?;
        manager.add_device(name.as_c_str()?, &config)
    }
}

/// What the user wants of the device. Fails with `EINVAL` for no queue pair.
fn parse_config(req: &Request<'_>) -> Result<DeviceConfig> {
    let attr = |number| req.attr(number);
    let config = DeviceConfig {
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
    };
    if config.max_queue_pairs == Some(0) {
        extack_msg!(req.extack(), "At least one pair of VQs is required");
        return Err(EINVAL);
    }
    Ok(config)
}

/// An attribute needs its feature, where features are named. Fails with `EINVAL`.
fn check_features(config: &DeviceConfig, extack: ExtAck<'_>) -> Result {
    let Some(features) = config.features else {
        return Ok(());
    };
    let needed = [
        (config.mac.is_some(), bindings::VIRTIO_NET_F_MAC),
        (config.mtu.is_some(), bindings::VIRTIO_NET_F_MTU),
        (
            config.max_queue_pairs.is_some_and(|pairs| pairs > 1),
            bindings::VIRTIO_NET_F_MQ,
        ),
    ];
    let missing = needed
        .into_iter()
        .filter(|(given, feature)| *given && !features.has(*feature))
        .fold(Features::NONE, |set, (_, feature)| {
            set.union(Features::bit(feature))
        });
    if missing.is_empty() {
        return Ok(());
    }
    extack_fmt!(
        extack,
        "Missing features 0x{:x} for provided attributes",
        missing.bits()
    );
    Err(EINVAL)
}

/// The management device has to know what is asked of it.
///
/// Fails with `EOPNOTSUPP` for an attribute that it does not take, and with `EINVAL` for attributes
/// of a network device where it makes none, or features that could be those of several types.
fn check_support(config: &DeviceConfig, manager: &ManagementDevice, extack: ExtAck<'_>) -> Result {
    let unknown = config.mask() & !manager.attribute_mask();
    if unknown != 0 {
        refuse_attributes(unknown, extack);
        return Err(EOPNOTSUPP);
    }
    let classes = manager.classes();
    let is_net = classes.has(DeviceId::NET);
    let for_net = config.mask() & DeviceConfig::NET_ATTRIBUTES != 0;
    if for_net && !is_net {
        extack_msg!(
            extack,
            "Network class attributes provided on unsupported management device"
        );
        return Err(EINVAL);
    }
    let typed = config
        .features
        .is_some_and(|features| !features.intersection(DEVICE_FEATURES).is_empty());
    if !for_net && is_net && classes.count > 1 && typed {
        extack_msg!(
            extack,
            "Management device supports multi-class while device features specified are ambiguous"
        );
        return Err(EINVAL);
    }
    Ok(())
}

/// Tells which attributes cannot be used, as a mask of their numbers.
pub(super) fn refuse_attributes(mask: u64, extack: ExtAck<'_>) {
    extack_fmt!(
        extack,
        "Some provided attributes are not supported: 0x{mask:x}"
    );
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
