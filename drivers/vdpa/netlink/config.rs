// SPDX-License-Identifier: GPL-2.0

//! `DEV_CONFIG_GET` and `DEV_ATTR_SET`: the configuration space of a device, shown and changed.

use super::{
    attr,
    command,
    device::refuse_attributes,
    find_device,
    list_devices,
    managed,
    notify,
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
    config::LockedConfig,
    Device,
    DeviceConfig,
    DeviceId,
    Features, //
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
        match id {
            DeviceId::NET => fill_net(&config, record),
            DeviceId::BLOCK => fill_block(&config, record),
            _ => Err(EOPNOTSUPP),
        }
    })
}

/// A network device (virtio 1.3, section 5.1.4): a field that depends on a feature is shown if the
/// device offers it.
fn fill_net(config: &LockedConfig<'_>, record: &mut AttrWriter<'_>) -> Result {
    let net: bindings::virtio_net_config = config.read();
    let features = config.device().device_features();
    record.put_u64(attr::FEATURES, features.bits(), attr::PAD)?;
    if features.has(bindings::VIRTIO_NET_F_MTU) {
        record.put_u16(attr::NET_CFG_MTU, u16::from_le(net.mtu))?;
    }
    if features.has(bindings::VIRTIO_NET_F_MAC) {
        record.put_bytes(attr::NET_CFG_MACADDR, &net.mac)?;
    }
    if features.has(bindings::VIRTIO_NET_F_STATUS) {
        // The header says that this is a `u8`; all senders and receivers have 16 bits.
        record.put_u16(attr::NET_STATUS, u16::from_le(net.status))?;
    }
    fill_queue_pairs(features, &net, record)
}

/// The number of queue pairs, where there can be more than one.
pub(super) fn fill_queue_pairs(
    features: Features,
    net: &bindings::virtio_net_config,
    record: &mut AttrWriter<'_>,
) -> Result {
    if features.has(bindings::VIRTIO_NET_F_MQ) || features.has(bindings::VIRTIO_NET_F_RSS) {
        let pairs = u16::from_le(net.max_virtqueue_pairs);
        record.put_u16(attr::NET_CFG_MAX_VQP, pairs)?;
    }
    Ok(())
}

/// A block device (virtio 1.3, section 5.2.4), in the same way.
fn fill_block(config: &LockedConfig<'_>, record: &mut AttrWriter<'_>) -> Result {
    let blk: bindings::virtio_blk_config = config.read();
    let features = config.device().device_features();
    record.put_u64(attr::FEATURES, features.bits(), attr::PAD)?;
    record.put_u64(attr::BLK_CAPACITY, u64::from_le(blk.capacity), attr::PAD)?;
    if features.has(bindings::VIRTIO_BLK_F_SIZE_MAX) {
        record.put_u32(attr::BLK_SIZE_MAX, u32::from_le(blk.size_max))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_BLK_SIZE) {
        record.put_u32(attr::BLK_BLK_SIZE, u32::from_le(blk.blk_size))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_SEG_MAX) {
        record.put_u32(attr::BLK_SEG_MAX, u32::from_le(blk.seg_max))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_MQ) {
        record.put_u16(attr::BLK_NUM_QUEUES, u16::from_le(blk.num_queues))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_TOPOLOGY) {
        record.put_u8(attr::BLK_PHY_BLK_EXP, blk.physical_block_exp)?;
        record.put_u8(attr::BLK_ALIGN_OFFSET, blk.alignment_offset)?;
        record.put_u16(attr::BLK_MIN_IO_SIZE, u16::from_le(blk.min_io_size))?;
        record.put_u32(attr::BLK_OPT_IO_SIZE, u32::from_le(blk.opt_io_size))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_DISCARD) {
        record.put_u32(
            attr::BLK_MAX_DISCARD_SEC,
            u32::from_le(blk.max_discard_sectors),
        )?;
        record.put_u32(attr::BLK_MAX_DISCARD_SEG, u32::from_le(blk.max_discard_seg))?;
        record.put_u32(
            attr::BLK_DISCARD_SEC_ALIGN,
            u32::from_le(blk.discard_sector_alignment),
        )?;
    }
    if features.has(bindings::VIRTIO_BLK_F_WRITE_ZEROES) {
        record.put_u32(
            attr::BLK_MAX_WRITE_ZEROES_SEC,
            u32::from_le(blk.max_write_zeroes_sectors),
        )?;
        record.put_u32(
            attr::BLK_MAX_WRITE_ZEROES_SEG,
            u32::from_le(blk.max_write_zeroes_seg),
        )?;
    }
    record.put_u8(
        attr::BLK_READ_ONLY,
        u8::from(features.has(bindings::VIRTIO_BLK_F_RO)),
    )?;
    record.put_u8(
        attr::BLK_FLUSH,
        u8::from(features.has(bindings::VIRTIO_BLK_F_FLUSH)),
    )
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
        let others = [attr::NET_CFG_MTU, attr::NET_CFG_MAX_VQP, attr::FEATURES]
            .into_iter()
            .filter(|number| req.attr(*number).is_some())
            .fold(0, |mask, number| mask | 1u64 << number);
        if others != 0 {
            refuse_attributes(others, req.extack());
            return Err(EOPNOTSUPP);
        }
        let Some(mac) = req.attr(attr::NET_CFG_MACADDR) else {
            extack_msg!(req.extack(), "No attribute to change was given");
            return Err(EOPNOTSUPP);
        };
        let mac = mac.as_array()?;
        if !is_valid_mac(mac) {
            extack_msg!(req.extack(), "Invalid MAC address");
            return Err(EOPNOTSUPP);
        }
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

/// Whether an interface can have this address: not a multicast address and not zero.
fn is_valid_mac(mac: [u8; 6]) -> bool {
    let [first, ..] = mac;
    first & 1 == 0 && mac != [0; 6]
}
