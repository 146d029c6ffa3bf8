// SPDX-License-Identifier: GPL-2.0

//! What is reported of a configuration space: a field that depends on a feature, if the device has
//! that feature.
//!
//! Nothing here needs the kernel, so that the same file is tested and fuzzed on the host
//! (`tests/host`).

use super::attr;
use vdpa::Features;
use vdpa_bindings as bindings;

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    Mac([u8; 6]),
}

use self::Value::{
    Mac,
    U16,
    U32,
    U64,
    U8, //
};

/// A network device (virtio 1.3, section 5.1.4). Calls `put` for each attribute until it fails.
pub(super) fn net<E>(
    net: &bindings::virtio_net_config,
    features: Features,
    mut put: impl FnMut(u16, Value) -> Result<(), E>,
) -> Result<(), E> {
    put(attr::FEATURES, U64(features.bits()))?;
    if features.has(bindings::VIRTIO_NET_F_MTU) {
        put(attr::NET_CFG_MTU, U16(u16::from_le(net.mtu)))?;
    }
    if features.has(bindings::VIRTIO_NET_F_MAC) {
        put(attr::NET_CFG_MACADDR, Mac(net.mac))?;
    }
    if features.has(bindings::VIRTIO_NET_F_STATUS) {
        // The header says that this is a `u8`; all senders and receivers have 16 bits.
        put(attr::NET_STATUS, U16(u16::from_le(net.status)))?;
    }
    queue_pairs(net, features, put)
}

/// The number of queue pairs of a network device, where there can be more than one.
pub(super) fn queue_pairs<E>(
    net: &bindings::virtio_net_config,
    features: Features,
    mut put: impl FnMut(u16, Value) -> Result<(), E>,
) -> Result<(), E> {
    if features.has(bindings::VIRTIO_NET_F_MQ) || features.has(bindings::VIRTIO_NET_F_RSS) {
        let pairs = u16::from_le(net.max_virtqueue_pairs);
        put(attr::NET_CFG_MAX_VQP, U16(pairs))?;
    }
    Ok(())
}

/// A block device (virtio 1.3, section 5.2.4), in the same way.
pub(super) fn block<E>(
    blk: &bindings::virtio_blk_config,
    features: Features,
    mut put: impl FnMut(u16, Value) -> Result<(), E>,
) -> Result<(), E> {
    put(attr::FEATURES, U64(features.bits()))?;
    put(attr::BLK_CAPACITY, U64(u64::from_le(blk.capacity)))?;
    if features.has(bindings::VIRTIO_BLK_F_SIZE_MAX) {
        put(attr::BLK_SIZE_MAX, U32(u32::from_le(blk.size_max)))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_BLK_SIZE) {
        put(attr::BLK_BLK_SIZE, U32(u32::from_le(blk.blk_size)))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_SEG_MAX) {
        put(attr::BLK_SEG_MAX, U32(u32::from_le(blk.seg_max)))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_MQ) {
        put(attr::BLK_NUM_QUEUES, U16(u16::from_le(blk.num_queues)))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_TOPOLOGY) {
        put(attr::BLK_PHY_BLK_EXP, U8(blk.physical_block_exp))?;
        put(attr::BLK_ALIGN_OFFSET, U8(blk.alignment_offset))?;
        put(attr::BLK_MIN_IO_SIZE, U16(u16::from_le(blk.min_io_size)))?;
        put(attr::BLK_OPT_IO_SIZE, U32(u32::from_le(blk.opt_io_size)))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_DISCARD) {
        let sectors = u32::from_le(blk.max_discard_sectors);
        let segments = u32::from_le(blk.max_discard_seg);
        let alignment = u32::from_le(blk.discard_sector_alignment);
        put(attr::BLK_MAX_DISCARD_SEC, U32(sectors))?;
        put(attr::BLK_MAX_DISCARD_SEG, U32(segments))?;
        put(attr::BLK_DISCARD_SEC_ALIGN, U32(alignment))?;
    }
    if features.has(bindings::VIRTIO_BLK_F_WRITE_ZEROES) {
        let sectors = u32::from_le(blk.max_write_zeroes_sectors);
        let segments = u32::from_le(blk.max_write_zeroes_seg);
        put(attr::BLK_MAX_WRITE_ZEROES_SEC, U32(sectors))?;
        put(attr::BLK_MAX_WRITE_ZEROES_SEG, U32(segments))?;
    }
    let read_only = features.has(bindings::VIRTIO_BLK_F_RO);
    let flush = features.has(bindings::VIRTIO_BLK_F_FLUSH);
    put(attr::BLK_READ_ONLY, U8(u8::from(read_only)))?;
    put(attr::BLK_FLUSH, U8(u8::from(flush)))
}
