// SPDX-License-Identifier: GPL-2.0
/* The contract of __vdpa_alloc_device and of the release that undoes it. */

#define pr_fmt(fmt) "vdpa_test_parent: " fmt

#include <linux/delay.h>

#include "parent.h"

static int freed;

static void a_free(struct vdpa_device *vdev)
{
	freed++;
}

static int a_set_map(struct vdpa_device *vdev, unsigned int asid, struct vhost_iotlb *iotlb)
{
	return 0;
}

static int a_dma_map(struct vdpa_device *vdev, unsigned int asid, u64 iova, u64 size, u64 pa,
		     u32 perm, void *opaque)
{
	return 0;
}

static int a_dma_unmap(struct vdpa_device *vdev, unsigned int asid, u64 iova, u64 size)
{
	return 0;
}

static const struct vdpa_config_ops plain = { .free = a_free };
static const struct vdpa_config_ops no_free = { };
static const struct vdpa_config_ops only_map = { .dma_map = a_dma_map };
static const struct vdpa_config_ops only_unmap = { .dma_unmap = a_dma_unmap };
static const struct vdpa_config_ops with_dma = { .dma_map = a_dma_map, .dma_unmap = a_dma_unmap };
static const struct vdpa_config_ops with_set_map = { .set_map = a_set_map };
static const struct virtio_map_ops map_ops = { };

/* The error of an allocation; what was allocated is given back. */
static long try(const struct vdpa_config_ops *ops, bool use_va)
{
	struct vdpa_device *vdev = __vdpa_alloc_device(NULL, ops, NULL, 1, 1, sizeof(*vdev),
						       "vdpa-contract-try", use_va);

	if (IS_ERR(vdev))
		return PTR_ERR(vdev);
	put_device(&vdev->dev);
	return 0;
}

static bool is_zero(const void *p, size_t len)
{
	return !memchr_inv(p, 0, len);
}

static void check_fields(struct tp_report *r, struct device *parent)
{
	const size_t size = sizeof(struct vdpa_device) + 100;
	struct vdpa_device *vdev;

	vdev = __vdpa_alloc_device(parent, &with_set_map, &map_ops, 5, 6, size, "vdpa/contract%s",
				   true);
	if (IS_ERR(vdev)) {
		tp_row_eq(r, "alloc: all arguments", PTR_ERR(vdev), 0);
		return;
	}
	tp_row(r, !strcmp(dev_name(&vdev->dev), "vdpa!contract%s"),
	       "alloc: '/' becomes '!', '%' stays", "got %s", dev_name(&vdev->dev));
	tp_row(r, vdev->dev.bus && !strcmp(vdev->dev.bus->name, "vdpa"), "alloc: bus",
	       "is not vdpa");
	tp_row_true(r, "alloc: parent", vdev->dev.parent == parent);
	tp_row_true(r, "alloc: config", vdev->config == &with_set_map);
	tp_row_true(r, "alloc: map", vdev->map == &map_ops);
	tp_row_eq(r, "alloc: ngroups", vdev->ngroups, 5);
	tp_row_eq(r, "alloc: nas", vdev->nas, 6);
	tp_row_true(r, "alloc: use_va", vdev->use_va);
	tp_row_true(r, "alloc: features not valid", !vdev->features_valid);
	tp_row_true(r, "alloc: no management device", !vdev->mdev);
	tp_row_true(r, "alloc: cf_lock is free", !rwsem_is_locked(&vdev->cf_lock));
	tp_row_true(r, "alloc: a release function", vdev->dev.release);
	tp_row_true(r, "alloc: the driver's part is zero",
		    is_zero((char *)vdev + sizeof(*vdev), size - sizeof(*vdev)));
	tp_row_eq(r, "alloc: one reference", kref_read(&vdev->dev.kobj.kref), 1);
	tp_row_true(r, "alloc: not registered", !device_is_registered(&vdev->dev));
	put_device(&vdev->dev);
}

static void check_index(struct tp_report *r)
{
	struct vdpa_device *a, *b, *c;
	char name[20];
	unsigned int first;

	/* What the checks before had is given back first. */
	if (IS_ENABLED(CONFIG_DEBUG_KOBJECT_RELEASE))
		msleep(TP_LATEST_RELEASE);
	a = __vdpa_alloc_device(NULL, &plain, NULL, 1, 1, sizeof(*a), NULL, false);
	b = __vdpa_alloc_device(NULL, &plain, NULL, 1, 1, sizeof(*b), NULL, false);
	if (IS_ERR(a) || IS_ERR(b)) {
		tp_row(r, false, "index: two devices", "allocation failed");
		return;
	}
	first = a->index;
	tp_row_eq(r, "index: the next one is one higher", b->index, first + 1);
	snprintf(name, sizeof(name), "vdpa%u", b->index);
	tp_row(r, !strcmp(dev_name(&b->dev), name), "alloc: default name", "expected %s, got %s",
	       name, dev_name(&b->dev));
	freed = 0;
	put_device(&a->dev);
	tp_row_eq(r, "put of an unregistered device calls free", tp_freed(&freed, 1), 1);
	/* The number is given back after the call. */
	if (IS_ENABLED(CONFIG_DEBUG_KOBJECT_RELEASE))
		msleep(100);
	c = __vdpa_alloc_device(NULL, &no_free, NULL, 0, 0, sizeof(*c), NULL, false);
	if (IS_ERR(c)) {
		tp_row_eq(r, "alloc: no free operation, no groups", PTR_ERR(c), 0);
	} else {
		tp_row_eq(r, "index: one given back is used again", c->index, first);
		put_device(&c->dev);
		tp_row(r, true, "put of a device without a free operation", "-");
	}
	put_device(&b->dev);
}

void tp_contract_alloc(struct tp_report *r)
{
	struct device *parent = root_device_register("vdpa-contract-parent");

	tp_row_eq(r, "alloc: no config", try(NULL, false), -EINVAL);
	tp_row_eq(r, "alloc: dma_map without dma_unmap", try(&only_map, false), -EINVAL);
	tp_row_eq(r, "alloc: dma_unmap without dma_map", try(&only_unmap, false), -EINVAL);
	tp_row_eq(r, "alloc: dma_map and dma_unmap", try(&with_dma, false), 0);
	tp_row_eq(r, "alloc: use_va with neither dma_map nor set_map", try(&plain, true), -EINVAL);
	tp_row_eq(r, "alloc: use_va with dma_map", try(&with_dma, true), 0);
	tp_row_eq(r, "alloc: use_va with set_map", try(&with_set_map, true), 0);
	tp_row_eq(r, "alloc: no parent, no map", try(&plain, false), 0);
	if (IS_ERR(parent)) {
		tp_row_eq(r, "alloc: a parent", PTR_ERR(parent), 0);
		return;
	}
	check_fields(r, parent);
	check_index(r);
	root_device_unregister(parent);
}
