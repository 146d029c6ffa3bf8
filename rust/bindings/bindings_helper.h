/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The headers for which the `vdpa_bindings` crate is generated. Only items that
 * are declared in a header named in Kbuild are emitted; all else comes from
 * `kernel::bindings`.
 */

/* First, to avoid forward references to `enum` types, as the kernel does. */
#include <linux/hrtimer_types.h>

#include <linux/irqbypass.h>
#include <linux/vdpa.h>
#include <linux/vhost_iotlb.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <uapi/linux/vdpa.h>
#include <uapi/linux/vhost.h>
#include <uapi/linux/vhost_types.h>
#include <uapi/linux/virtio_blk.h>
#include <uapi/linux/virtio_config.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_net.h>

#include "vdpa_trace.h"
#include "vhost_vdpa_trace.h"

/* The layout as C has it, for layout.rs. */
#define SIZE_OF(type) const size_t RUST_CONST_HELPER_SIZE_OF_##type = sizeof(struct type)
#define OFFSET_OF(type, field) \
	const size_t RUST_CONST_HELPER_OFFSET_OF_##type##_##field = offsetof(struct type, field)
SIZE_OF(vdpa_device);
SIZE_OF(vdpa_config_ops);
SIZE_OF(vdpa_driver);
SIZE_OF(vdpa_mgmt_dev);
SIZE_OF(vdpa_mgmtdev_ops);
SIZE_OF(vdpa_dev_set_config);
SIZE_OF(vdpa_callback);
SIZE_OF(vdpa_notification_area);
SIZE_OF(vdpa_iova_range);
SIZE_OF(vdpa_vq_state);
SIZE_OF(vdpa_map_file);
SIZE_OF(vhost_iotlb);
SIZE_OF(vhost_iotlb_map);
SIZE_OF(virtio_net_config);
SIZE_OF(virtio_blk_config);
OFFSET_OF(vdpa_device, config);
OFFSET_OF(vdpa_device, cf_lock);
OFFSET_OF(vdpa_device, features_valid);
OFFSET_OF(vdpa_device, mdev);
OFFSET_OF(vdpa_device, nas);
OFFSET_OF(vdpa_config_ops, free);
OFFSET_OF(vdpa_driver, probe);
OFFSET_OF(vdpa_mgmt_dev, max_supported_vqs);
OFFSET_OF(vdpa_dev_set_config, mask);
OFFSET_OF(vhost_iotlb_map, opaque);
OFFSET_OF(vhost_iotlb, nmaps);
