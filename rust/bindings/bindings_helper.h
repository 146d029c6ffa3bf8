/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The headers for which the `vdpa_bindings` crate is generated. Only items that
 * are declared in a header named in Kbuild are emitted; all else comes from
 * `kernel::bindings`.
 */

/* First, to avoid forward references to `enum` types, as the kernel does. */
#include <linux/hrtimer_types.h>

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
