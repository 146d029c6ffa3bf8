// SPDX-License-Identifier: GPL-2.0

//! The numbers of attributes, `enum vdpa_attr`, without the common parts of their names.
//!
//! Nothing here needs the kernel: `tests/host` has the same file.

use vdpa_bindings as bindings;

macro_rules! attributes {
    ($($name:ident = $number:ident;)*) => {$(
        pub(super) const $name: u16 = {
            assert!(bindings::$number <= u16::MAX as u32);
            bindings::$number as u16
        };
    )*};
}

attributes! {
    PAD = vdpa_attr_VDPA_ATTR_PAD;
    MGMTDEV_BUS_NAME = vdpa_attr_VDPA_ATTR_MGMTDEV_BUS_NAME;
    MGMTDEV_DEV_NAME = vdpa_attr_VDPA_ATTR_MGMTDEV_DEV_NAME;
    MGMTDEV_SUPPORTED_CLASSES = vdpa_attr_VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES;
    MGMTDEV_MAX_VQS = vdpa_attr_VDPA_ATTR_DEV_MGMTDEV_MAX_VQS;
    SUPPORTED_FEATURES = vdpa_attr_VDPA_ATTR_DEV_SUPPORTED_FEATURES;
    DEV_NAME = vdpa_attr_VDPA_ATTR_DEV_NAME;
    DEV_ID = vdpa_attr_VDPA_ATTR_DEV_ID;
    VENDOR_ID = vdpa_attr_VDPA_ATTR_DEV_VENDOR_ID;
    MAX_VQS = vdpa_attr_VDPA_ATTR_DEV_MAX_VQS;
    MAX_VQ_SIZE = vdpa_attr_VDPA_ATTR_DEV_MAX_VQ_SIZE;
    MIN_VQ_SIZE = vdpa_attr_VDPA_ATTR_DEV_MIN_VQ_SIZE;
    FEATURES = vdpa_attr_VDPA_ATTR_DEV_FEATURES;
    NEGOTIATED_FEATURES = vdpa_attr_VDPA_ATTR_DEV_NEGOTIATED_FEATURES;
    QUEUE_INDEX = vdpa_attr_VDPA_ATTR_DEV_QUEUE_INDEX;
    NET_CFG_MACADDR = vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MACADDR;
    NET_STATUS = vdpa_attr_VDPA_ATTR_DEV_NET_STATUS;
    NET_CFG_MAX_VQP = vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MAX_VQP;
    NET_CFG_MTU = vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MTU;
    BLK_CAPACITY = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_CAPACITY;
    BLK_SIZE_MAX = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_SIZE_MAX;
    BLK_BLK_SIZE = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_BLK_SIZE;
    BLK_SEG_MAX = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_SEG_MAX;
    BLK_NUM_QUEUES = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_NUM_QUEUES;
    BLK_PHY_BLK_EXP = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_PHY_BLK_EXP;
    BLK_ALIGN_OFFSET = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_ALIGN_OFFSET;
    BLK_MIN_IO_SIZE = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MIN_IO_SIZE;
    BLK_OPT_IO_SIZE = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_OPT_IO_SIZE;
    BLK_MAX_DISCARD_SEC = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MAX_DISCARD_SEC;
    BLK_MAX_DISCARD_SEG = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MAX_DISCARD_SEG;
    BLK_DISCARD_SEC_ALIGN = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_DISCARD_SEC_ALIGN;
    BLK_MAX_WRITE_ZEROES_SEC = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MAX_WRITE_ZEROES_SEC;
    BLK_MAX_WRITE_ZEROES_SEG = vdpa_attr_VDPA_ATTR_DEV_BLK_CFG_MAX_WRITE_ZEROES_SEG;
    BLK_READ_ONLY = vdpa_attr_VDPA_ATTR_DEV_BLK_READ_ONLY;
    BLK_FLUSH = vdpa_attr_VDPA_ATTR_DEV_BLK_FLUSH;
}
