// SPDX-License-Identifier: GPL-2.0

//! Checks at compile time that the structures which C and Rust share have one layout: those that
//! modules of either kind pass to each other.

use super::raw::*;
use core::mem::offset_of;

macro_rules! check {
    ($($ty:ident $(. $field:ident)? == $c:ident;)*) => {$(
        const _: () = assert!(check!(@rust $ty $(. $field)?) == $c);
    )*};
    (@rust $ty:ident) => { size_of::<$ty>() };
    (@rust $ty:ident . $field:ident) => { offset_of!($ty, $field) };
}

check! {
    vdpa_device == SIZE_OF_vdpa_device;
    vdpa_config_ops == SIZE_OF_vdpa_config_ops;
    vdpa_driver == SIZE_OF_vdpa_driver;
    vdpa_mgmt_dev == SIZE_OF_vdpa_mgmt_dev;
    vdpa_mgmtdev_ops == SIZE_OF_vdpa_mgmtdev_ops;
    vdpa_dev_set_config == SIZE_OF_vdpa_dev_set_config;
    vdpa_callback == SIZE_OF_vdpa_callback;
    vdpa_notification_area == SIZE_OF_vdpa_notification_area;
    vdpa_iova_range == SIZE_OF_vdpa_iova_range;
    vdpa_vq_state == SIZE_OF_vdpa_vq_state;
    vdpa_map_file == SIZE_OF_vdpa_map_file;
    vhost_iotlb == SIZE_OF_vhost_iotlb;
    vhost_iotlb_map == SIZE_OF_vhost_iotlb_map;
    virtio_net_config == SIZE_OF_virtio_net_config;
    virtio_blk_config == SIZE_OF_virtio_blk_config;
    vdpa_device.config == OFFSET_OF_vdpa_device_config;
    vdpa_device.cf_lock == OFFSET_OF_vdpa_device_cf_lock;
    vdpa_device.features_valid == OFFSET_OF_vdpa_device_features_valid;
    vdpa_device.mdev == OFFSET_OF_vdpa_device_mdev;
    vdpa_device.nas == OFFSET_OF_vdpa_device_nas;
    vdpa_config_ops.free == OFFSET_OF_vdpa_config_ops_free;
    vdpa_driver.probe == OFFSET_OF_vdpa_driver_probe;
    vdpa_mgmt_dev.max_supported_vqs == OFFSET_OF_vdpa_mgmt_dev_max_supported_vqs;
    vdpa_dev_set_config.mask == OFFSET_OF_vdpa_dev_set_config_mask;
    vhost_iotlb_map.opaque == OFFSET_OF_vhost_iotlb_map_opaque;
    vhost_iotlb.nmaps == OFFSET_OF_vhost_iotlb_nmaps;
}

// A device is the start of its parent's structure: `kfree()` gets the pointer to it.
const _: () = assert!(offset_of!(vdpa_device, dev) == 0);
