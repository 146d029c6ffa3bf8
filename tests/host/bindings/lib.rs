// SPDX-License-Identifier: GPL-2.0

//! What bindgen makes of the kernel's headers, as far as kernel-free code uses it.
//!
//! In the kernel's build the crate of this name is generated. Here are the same lines, so that this
//! needs neither a kernel tree nor bindgen; `tools/host-tests` compares them.

#![no_std]
#![allow(
    non_camel_case_types,
    non_upper_case_globals,
    missing_docs,
    reason = "the names are those of C"
)]

pub type __u8 = u8;
pub type __le16 = u16;
pub type __le32 = u32;
pub type __virtio16 = u16;
pub type __virtio32 = u32;
pub type __virtio64 = u64;
pub type vdpa_attr = u32;

pub const VIRTIO_ID_NET: u32 = 1;
pub const VIRTIO_ID_BLOCK: u32 = 2;
pub const VIRTIO_ID_FS: u32 = 26;
pub const VIRTIO_CONFIG_S_ACKNOWLEDGE: u32 = 1;
pub const VIRTIO_CONFIG_S_DRIVER: u32 = 2;
pub const VIRTIO_CONFIG_S_DRIVER_OK: u32 = 4;
pub const VIRTIO_CONFIG_S_FEATURES_OK: u32 = 8;
pub const VIRTIO_CONFIG_S_NEEDS_RESET: u32 = 64;
pub const VIRTIO_CONFIG_S_FAILED: u32 = 128;
pub const VIRTIO_TRANSPORT_F_START: u32 = 28;
pub const VIRTIO_TRANSPORT_F_END: u32 = 42;
pub const VIRTIO_F_ANY_LAYOUT: u32 = 27;
pub const VIRTIO_F_VERSION_1: u32 = 32;
pub const VIRTIO_F_ACCESS_PLATFORM: u32 = 33;
pub const VIRTIO_F_RING_PACKED: u32 = 34;
pub const VIRTIO_F_IN_ORDER: u32 = 35;
pub const VIRTIO_F_NOTIFICATION_DATA: u32 = 38;
pub const VIRTIO_F_RING_RESET: u32 = 40;
pub const VIRTIO_RING_F_INDIRECT_DESC: u32 = 28;
pub const VIRTIO_RING_F_EVENT_IDX: u32 = 29;
pub const VIRTIO_NET_F_CSUM: u32 = 0;
pub const VIRTIO_NET_F_GUEST_CSUM: u32 = 1;
pub const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS: u32 = 2;
pub const VIRTIO_NET_F_MTU: u32 = 3;
pub const VIRTIO_NET_F_MAC: u32 = 5;
pub const VIRTIO_NET_F_GUEST_TSO4: u32 = 7;
pub const VIRTIO_NET_F_GUEST_TSO6: u32 = 8;
pub const VIRTIO_NET_F_GUEST_ECN: u32 = 9;
pub const VIRTIO_NET_F_HOST_TSO4: u32 = 11;
pub const VIRTIO_NET_F_HOST_TSO6: u32 = 12;
pub const VIRTIO_NET_F_HOST_ECN: u32 = 13;
pub const VIRTIO_NET_F_MRG_RXBUF: u32 = 15;
pub const VIRTIO_NET_F_STATUS: u32 = 16;
pub const VIRTIO_NET_F_CTRL_VQ: u32 = 17;
pub const VIRTIO_NET_F_CTRL_RX: u32 = 18;
pub const VIRTIO_NET_F_CTRL_VLAN: u32 = 19;
pub const VIRTIO_NET_F_CTRL_RX_EXTRA: u32 = 20;
pub const VIRTIO_NET_F_GUEST_ANNOUNCE: u32 = 21;
pub const VIRTIO_NET_F_MQ: u32 = 22;
pub const VIRTIO_NET_F_CTRL_MAC_ADDR: u32 = 23;
pub const VIRTIO_NET_F_RSS: u32 = 60;
pub const VIRTIO_NET_S_LINK_UP: u32 = 1;
pub const VIRTIO_NET_S_ANNOUNCE: u32 = 2;
pub const VIRTIO_NET_HDR_F_NEEDS_CSUM: u32 = 1;
pub const VIRTIO_NET_HDR_F_DATA_VALID: u32 = 2;
pub const VIRTIO_NET_HDR_GSO_NONE: u32 = 0;
pub const VIRTIO_NET_HDR_GSO_TCPV4: u32 = 1;
pub const VIRTIO_NET_HDR_GSO_TCPV6: u32 = 4;
pub const VIRTIO_NET_HDR_GSO_ECN: u32 = 128;
pub const VIRTIO_NET_OK: u32 = 0;
pub const VIRTIO_NET_ERR: u32 = 1;
pub const VIRTIO_NET_CTRL_RX: u32 = 0;
pub const VIRTIO_NET_CTRL_RX_PROMISC: u32 = 0;
pub const VIRTIO_NET_CTRL_RX_ALLMULTI: u32 = 1;
pub const VIRTIO_NET_CTRL_RX_ALLUNI: u32 = 2;
pub const VIRTIO_NET_CTRL_RX_NOMULTI: u32 = 3;
pub const VIRTIO_NET_CTRL_RX_NOUNI: u32 = 4;
pub const VIRTIO_NET_CTRL_RX_NOBCAST: u32 = 5;
pub const VIRTIO_NET_CTRL_MAC: u32 = 1;
pub const VIRTIO_NET_CTRL_MAC_TABLE_SET: u32 = 0;
pub const VIRTIO_NET_CTRL_MAC_ADDR_SET: u32 = 1;
pub const VIRTIO_NET_CTRL_VLAN: u32 = 2;
pub const VIRTIO_NET_CTRL_VLAN_ADD: u32 = 0;
pub const VIRTIO_NET_CTRL_VLAN_DEL: u32 = 1;
pub const VIRTIO_NET_CTRL_ANNOUNCE: u32 = 3;
pub const VIRTIO_NET_CTRL_ANNOUNCE_ACK: u32 = 0;
pub const VIRTIO_NET_CTRL_MQ: u32 = 4;
pub const VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET: u32 = 0;
pub const VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX: u32 = 32768;
pub const VIRTIO_NET_CTRL_GUEST_OFFLOADS: u32 = 5;
pub const VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET: u32 = 0;
pub const VIRTIO_BLK_F_SIZE_MAX: u32 = 1;
pub const VIRTIO_BLK_F_SEG_MAX: u32 = 2;
pub const VIRTIO_BLK_F_RO: u32 = 5;
pub const VIRTIO_BLK_F_BLK_SIZE: u32 = 6;
pub const VIRTIO_BLK_F_TOPOLOGY: u32 = 10;
pub const VIRTIO_BLK_F_MQ: u32 = 12;
pub const VIRTIO_BLK_F_DISCARD: u32 = 13;
pub const VIRTIO_BLK_F_WRITE_ZEROES: u32 = 14;
pub const VIRTIO_BLK_F_FLUSH: u32 = 9;
pub const VDPA_RESET_F_CLEAN_MAP: u32 = 1;
pub const vdpa_attr_VDPA_ATTR_PAD: vdpa_attr = 0;
pub const vdpa_attr_VDPA_ATTR_MGMTDEV_BUS_NAME: vdpa_attr = 1;
pub const vdpa_attr_VDPA_ATTR_MGMTDEV_DEV_NAME: vdpa_attr = 2;
pub const vdpa_attr_VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES: vdpa_attr = 3;
pub const vdpa_attr_VDPA_ATTR_DEV_NAME: vdpa_attr = 4;
pub const vdpa_attr_VDPA_ATTR_DEV_ID: vdpa_attr = 5;
pub const vdpa_attr_VDPA_ATTR_DEV_VENDOR_ID: vdpa_attr = 6;
pub const vdpa_attr_VDPA_ATTR_DEV_MAX_VQS: vdpa_attr = 7;
pub const vdpa_attr_VDPA_ATTR_DEV_MAX_VQ_SIZE: vdpa_attr = 8;
pub const vdpa_attr_VDPA_ATTR_DEV_MIN_VQ_SIZE: vdpa_attr = 9;
pub const vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MACADDR: vdpa_attr = 10;
pub const vdpa_attr_VDPA_ATTR_DEV_NET_STATUS: vdpa_attr = 11;
pub const vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MAX_VQP: vdpa_attr = 12;
pub const vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MTU: vdpa_attr = 13;
pub const vdpa_attr_VDPA_ATTR_DEV_NEGOTIATED_FEATURES: vdpa_attr = 14;
pub const vdpa_attr_VDPA_ATTR_DEV_MGMTDEV_MAX_VQS: vdpa_attr = 15;
pub const vdpa_attr_VDPA_ATTR_DEV_SUPPORTED_FEATURES: vdpa_attr = 16;
pub const vdpa_attr_VDPA_ATTR_DEV_QUEUE_INDEX: vdpa_attr = 17;
pub const vdpa_attr_VDPA_ATTR_DEV_FEATURES: vdpa_attr = 20;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_CAPACITY: vdpa_attr = 21;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_SIZE_MAX: vdpa_attr = 22;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_BLK_SIZE: vdpa_attr = 23;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_SEG_MAX: vdpa_attr = 24;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_NUM_QUEUES: vdpa_attr = 25;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_PHY_BLK_EXP: vdpa_attr = 26;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_ALIGN_OFFSET: vdpa_attr = 27;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MIN_IO_SIZE: vdpa_attr = 28;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_OPT_IO_SIZE: vdpa_attr = 29;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MAX_DISCARD_SEC: vdpa_attr = 30;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MAX_DISCARD_SEG: vdpa_attr = 31;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_DISCARD_SEC_ALIGN: vdpa_attr = 32;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MAX_WRITE_ZEROES_SEC: vdpa_attr = 33;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MAX_WRITE_ZEROES_SEG: vdpa_attr = 34;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_READ_ONLY: vdpa_attr = 35;
pub const vdpa_attr_VDPA_ATTR_DEV_BLK_FLUSH: vdpa_attr = 36;

#[repr(C, packed)]
#[derive(Default, Copy, Clone)]
pub struct virtio_net_config {
    pub mac: [__u8; 6usize],
    pub status: __virtio16,
    pub max_virtqueue_pairs: __virtio16,
    pub mtu: __virtio16,
    pub speed: __le32,
    pub duplex: __u8,
    pub rss_max_key_size: __u8,
    pub rss_max_indirection_table_length: __le16,
    pub supported_hash_types: __le32,
}

#[repr(C, packed)]
#[derive(Default, Copy, Clone)]
pub struct virtio_blk_config {
    pub capacity: __virtio64,
    pub size_max: __virtio32,
    pub seg_max: __virtio32,
    pub geometry: virtio_blk_config_virtio_blk_geometry,
    pub blk_size: __virtio32,
    pub physical_block_exp: __u8,
    pub alignment_offset: __u8,
    pub min_io_size: __virtio16,
    pub opt_io_size: __virtio32,
    pub wce: __u8,
    pub unused: __u8,
    pub num_queues: __virtio16,
    pub max_discard_sectors: __virtio32,
    pub max_discard_seg: __virtio32,
    pub discard_sector_alignment: __virtio32,
    pub max_write_zeroes_sectors: __virtio32,
    pub max_write_zeroes_seg: __virtio32,
    pub write_zeroes_may_unmap: __u8,
    pub unused1: [__u8; 3usize],
    pub max_secure_erase_sectors: __virtio32,
    pub max_secure_erase_seg: __virtio32,
    pub secure_erase_sector_alignment: __virtio32,
    pub zoned: virtio_blk_config_virtio_blk_zoned_characteristics,
}

#[repr(C)]
#[derive(Default, Copy, Clone)]
pub struct virtio_blk_config_virtio_blk_geometry {
    pub cylinders: __virtio16,
    pub heads: __u8,
    pub sectors: __u8,
}

#[repr(C)]
#[derive(Default, Copy, Clone)]
pub struct virtio_blk_config_virtio_blk_zoned_characteristics {
    pub zone_sectors: __virtio32,
    pub max_open_zones: __virtio32,
    pub max_active_zones: __virtio32,
    pub max_append_sectors: __virtio32,
    pub write_granularity: __virtio32,
    pub model: __u8,
    pub unused2: [__u8; 3usize],
}
