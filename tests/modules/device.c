// SPDX-License-Identifier: GPL-2.0
/* vDPA devices that do nothing but write down what is asked of them. */

#define pr_fmt(fmt) "vdpa_test_parent: " fmt

#include <net/netlink.h>
#include <uapi/linux/vdpa.h>

#include "parent.h"

static LIST_HEAD(devices);
/* Innermost: taken with the bus's locks held. */
static DEFINE_MUTEX(devices_lock);
static atomic_t live = ATOMIC_INIT(0);

static int op_set_vq_address(struct vdpa_device *vdev, u16 idx, u64 desc, u64 driver, u64 device)
{
	tp_record(vdev, "set_vq_address %u", idx);
	return 0;
}

static void op_set_vq_num(struct vdpa_device *vdev, u16 idx, u32 num)
{
	tp_record(vdev, "set_vq_num %u %u", idx, num);
}

static void op_kick_vq(struct vdpa_device *vdev, u16 idx)
{
	tp_record(vdev, "kick_vq %u", idx);
}

static void op_kick_vq_with_data(struct vdpa_device *vdev, u32 data)
{
	tp_record(vdev, "kick_vq_with_data 0x%x", data);
}

static void op_set_vq_cb(struct vdpa_device *vdev, u16 idx, struct vdpa_callback *cb)
{
	tp_record(vdev, "set_vq_cb %u", idx);
}

static void op_set_vq_ready(struct vdpa_device *vdev, u16 idx, bool ready)
{
	tp_record(vdev, "set_vq_ready %u %u", idx, ready);
}

static bool op_get_vq_ready(struct vdpa_device *vdev, u16 idx)
{
	tp_record(vdev, "get_vq_ready %u", idx);
	return false;
}

static int op_set_vq_state(struct vdpa_device *vdev, u16 idx, const struct vdpa_vq_state *state)
{
	tp_record(vdev, "set_vq_state %u", idx);
	return 0;
}

static int op_get_vq_state(struct vdpa_device *vdev, u16 idx, struct vdpa_vq_state *state)
{
	tp_record(vdev, "get_vq_state %u", idx);
	state->split.avail_index = 0;
	return 0;
}

static int op_get_vendor_vq_stats(struct vdpa_device *vdev, u16 idx, struct sk_buff *msg,
				  struct netlink_ext_ack *extack)
{
	tp_record(vdev, "get_vendor_vq_stats %u", idx);
	if (tp_dev(vdev)->shape.stats_error) {
		NL_SET_ERR_MSG_MOD(extack, "no statistics today");
		return -tp_dev(vdev)->shape.stats_error;
	}
	if (nla_put_string(msg, VDPA_ATTR_DEV_VENDOR_ATTR_NAME, "test one") ||
	    nla_put_u64_64bit(msg, VDPA_ATTR_DEV_VENDOR_ATTR_VALUE, 0x1122334455667788, VDPA_ATTR_PAD) ||
	    nla_put_string(msg, VDPA_ATTR_DEV_VENDOR_ATTR_NAME, "test two") ||
	    nla_put_u64_64bit(msg, VDPA_ATTR_DEV_VENDOR_ATTR_VALUE, idx, VDPA_ATTR_PAD))
		return -EMSGSIZE;
	return 0;
}

static u16 op_get_vq_size(struct vdpa_device *vdev, u16 idx)
{
	tp_record(vdev, "get_vq_size %u", idx);
	return tp_dev(vdev)->shape.num_max;
}

static u32 op_get_vq_align(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_vq_align");
	return PAGE_SIZE;
}

static u32 op_get_vq_group(struct vdpa_device *vdev, u16 idx)
{
	tp_record(vdev, "get_vq_group %u", idx);
	return 0;
}

static u64 op_get_device_features(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_device_features");
	return tp_dev(vdev)->shape.features;
}

static int op_set_driver_features(struct vdpa_device *vdev, u64 features)
{
	tp_record(vdev, "set_driver_features 0x%llx valid=%u", features, vdev->features_valid);
	if (tp_dev(vdev)->shape.set_features_error)
		return -tp_dev(vdev)->shape.set_features_error;
	tp_dev(vdev)->shape.driver_features = features;
	return 0;
}

static u64 op_get_driver_features(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_driver_features");
	return tp_dev(vdev)->shape.driver_features;
}

static void op_set_config_cb(struct vdpa_device *vdev, struct vdpa_callback *cb)
{
	tp_record(vdev, "set_config_cb");
}

static u16 op_get_vq_num_max(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_vq_num_max");
	return tp_dev(vdev)->shape.num_max;
}

static u16 op_get_vq_num_min(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_vq_num_min");
	return tp_dev(vdev)->shape.num_min;
}

static u32 op_get_device_id(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_device_id");
	return tp_dev(vdev)->shape.id;
}

static u32 op_get_vendor_id(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_vendor_id");
	return tp_dev(vdev)->shape.vendor;
}

static u8 op_get_status(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_status");
	return tp_dev(vdev)->shape.status;
}

static void op_set_status(struct vdpa_device *vdev, u8 status)
{
	tp_record(vdev, "set_status 0x%x", status);
	tp_dev(vdev)->shape.status = status;
}

static int do_reset(struct vdpa_device *vdev)
{
	tp_dev(vdev)->shape.status = 0;
	tp_dev(vdev)->shape.driver_features = 0;
	return 0;
}

static int op_reset(struct vdpa_device *vdev)
{
	tp_record(vdev, "reset valid=%u", vdev->features_valid);
	return do_reset(vdev);
}

static int op_compat_reset(struct vdpa_device *vdev, u32 flags)
{
	tp_record(vdev, "compat_reset %u valid=%u", flags, vdev->features_valid);
	return do_reset(vdev);
}

static int op_suspend(struct vdpa_device *vdev)
{
	tp_record(vdev, "suspend");
	return 0;
}

static int op_resume(struct vdpa_device *vdev)
{
	tp_record(vdev, "resume");
	return 0;
}

static size_t op_get_config_size(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_config_size");
	return tp_dev(vdev)->shape.config_size;
}

static void op_get_config(struct vdpa_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	tp_record(vdev, "get_config %u %u", offset, len);
	if (offset < TP_CONFIG_SIZE && len <= TP_CONFIG_SIZE - offset)
		memcpy(buf, tp_dev(vdev)->shape.config + offset, len);
}

static void op_set_config(struct vdpa_device *vdev, unsigned int offset, const void *buf,
			  unsigned int len)
{
	tp_record(vdev, "set_config %u %u", offset, len);
	if (offset < TP_CONFIG_SIZE && len <= TP_CONFIG_SIZE - offset)
		memcpy(tp_dev(vdev)->shape.config + offset, buf, len);
}

static u32 op_get_generation(struct vdpa_device *vdev)
{
	tp_record(vdev, "get_generation");
	return 0;
}

static struct vdpa_iova_range op_get_iova_range(struct vdpa_device *vdev)
{
	const struct tp_shape *shape = &tp_dev(vdev)->shape;
	struct vdpa_iova_range range = { .first = shape->iova_first, .last = shape->iova_last };

	tp_record(vdev, "get_iova_range");
	return range;
}

static int op_set_map(struct vdpa_device *vdev, unsigned int asid, struct vhost_iotlb *iotlb)
{
	const char *fault = tp_iotlb_fault(iotlb);

	tp_record(vdev, "set_map %u %u %s", asid, iotlb->nmaps, fault ?: "sound");
	return 0;
}

static int op_reset_map(struct vdpa_device *vdev, unsigned int asid)
{
	tp_record(vdev, "reset_map %u", asid);
	return 0;
}

static void op_free(struct vdpa_device *vdev)
{
	tp_record(vdev, "free");
	atomic_dec(&live);
}

const struct vdpa_config_ops tp_base_ops = {
	.set_vq_address = op_set_vq_address,
	.set_vq_num = op_set_vq_num,
	.kick_vq = op_kick_vq,
	.kick_vq_with_data = op_kick_vq_with_data,
	.set_vq_cb = op_set_vq_cb,
	.set_vq_ready = op_set_vq_ready,
	.get_vq_ready = op_get_vq_ready,
	.set_vq_state = op_set_vq_state,
	.get_vq_state = op_get_vq_state,
	.get_vendor_vq_stats = op_get_vendor_vq_stats,
	.get_vq_size = op_get_vq_size,
	.get_vq_align = op_get_vq_align,
	.get_vq_group = op_get_vq_group,
	.get_device_features = op_get_device_features,
	.set_driver_features = op_set_driver_features,
	.get_driver_features = op_get_driver_features,
	.set_config_cb = op_set_config_cb,
	.get_vq_num_max = op_get_vq_num_max,
	.get_vq_num_min = op_get_vq_num_min,
	.get_device_id = op_get_device_id,
	.get_vendor_id = op_get_vendor_id,
	.get_status = op_get_status,
	.set_status = op_set_status,
	.reset = op_reset,
	.compat_reset = op_compat_reset,
	.suspend = op_suspend,
	.resume = op_resume,
	.get_config_size = op_get_config_size,
	.get_config = op_get_config,
	.set_config = op_set_config,
	.get_generation = op_get_generation,
	.get_iova_range = op_get_iova_range,
	.set_map = op_set_map,
	.reset_map = op_reset_map,
	.free = op_free,
};

static const struct {
	const char *name;
	size_t offset;
} optional_ops[] = {
#define OPTIONAL(op) { #op, offsetof(struct vdpa_config_ops, op) }
	OPTIONAL(kick_vq_with_data),
	OPTIONAL(get_vendor_vq_stats),
	OPTIONAL(get_vq_size),
	OPTIONAL(get_vq_group),
	OPTIONAL(get_vq_num_min),
	OPTIONAL(compat_reset),
	OPTIONAL(suspend),
	OPTIONAL(resume),
	OPTIONAL(get_generation),
	OPTIONAL(get_iova_range),
	OPTIONAL(set_map),
	OPTIONAL(reset_map),
	OPTIONAL(free),
};

/*
 * Tables with operations missing. Part of the module's own memory, as a C
 * driver's table is: a release looks at it, maybe after the exit function.
 */
static struct ops_variant {
	unsigned long missing;
	struct vdpa_config_ops ops;
} variants[32];

static int n_variants;

const struct vdpa_config_ops *tp_ops_without(const char *names)
{
	char *copy, *rest, *name;
	unsigned long missing = 0;
	struct ops_variant *v;
	int i, ret = 0;

	rest = copy = kstrdup(names, GFP_KERNEL);
	if (!copy)
		return ERR_PTR(-ENOMEM);
	while (!ret && (name = strsep(&rest, ","))) {
		for (i = 0; i < ARRAY_SIZE(optional_ops); i++)
			if (!strcmp(name, optional_ops[i].name))
				break;
		if (i < ARRAY_SIZE(optional_ops))
			missing |= BIT(i);
		else if (*name)
			ret = -ENOKEY;
	}
	kfree(copy);
	if (ret)
		return ERR_PTR(ret);
	for (v = variants; v < variants + n_variants; v++)
		if (v->missing == missing)
			return &v->ops;
	if (n_variants == ARRAY_SIZE(variants))
		return ERR_PTR(-ENOSPC);
	n_variants++;
	v->missing = missing;
	v->ops = tp_base_ops;
	for (i = 0; i < ARRAY_SIZE(optional_ops); i++)
		if (missing & BIT(i))
			*(void **)((char *)&v->ops + optional_ops[i].offset) = NULL;
	return &v->ops;
}

int tp_live(void)
{
	return atomic_read(&live);
}

struct tp_device *tp_alloc(struct device *parent, const char *name, const struct tp_shape *shape)
{
	struct tp_device *td;

	td = vdpa_alloc_device(struct tp_device, vdpa, parent, shape->ops, NULL, 1, 1, name, false);
	if (IS_ERR(td))
		return td;
	td->shape = *shape;
	td->generation = READ_ONCE(tp_generation);
	td->vdpa.vmap.dma_dev = &td->vdpa.dev;
	if (shape->ops->free)
		atomic_inc(&live);
	mutex_lock(&devices_lock);
	list_add_tail(&td->list, &devices);
	mutex_unlock(&devices_lock);
	return td;
}

void tp_forget(struct tp_device *td)
{
	mutex_lock(&devices_lock);
	list_del(&td->list);
	mutex_unlock(&devices_lock);
}

static int set_words(struct tp_shape *shape, char *words)
{
	char *word;
	int ret;

	while ((word = strsep(&words, " "))) {
		char *key = strsep(&word, "=");

		if (!*key)
			continue;
		ret = word ? tp_shape_set(shape, key, word) : -EINVAL;
		if (ret)
			return ret;
	}
	return 0;
}

static struct tp_device *find(const char *name)
{
	struct tp_device *td;

	list_for_each_entry(td, &devices, list)
		if (!strcmp(dev_name(&td->vdpa.dev), name))
			return td;
	return NULL;
}

int tp_device_set(const char *name, char *words)
{
	struct tp_device *td;
	int ret = -ENODEV;

	mutex_lock(&devices_lock);
	td = find(name);
	if (td)
		ret = set_words(&td->shape, words);
	mutex_unlock(&devices_lock);
	return ret;
}

int tp_unmanaged_add(const char *name, char *words)
{
	struct tp_shape shape = tp_default_shape;
	struct tp_device *td;
	int ret = set_words(&shape, words);

	if (ret)
		return ret;
	/* "-" asks for the bus's own choice of a name. */
	td = tp_alloc(NULL, strcmp(name, "-") ? name : NULL, &shape);
	if (IS_ERR(td))
		return PTR_ERR(td);
	ret = vdpa_register_device(&td->vdpa, shape.nvqs);
	if (ret) {
		tp_forget(td);
		put_device(&td->vdpa.dev);
	}
	return ret;
}

static void unmanaged_del(struct tp_device *td)
{
	tp_forget(td);
	vdpa_unregister_device(&td->vdpa);
}

int tp_unmanaged_del(const char *name)
{
	struct tp_device *td;

	mutex_lock(&devices_lock);
	td = find(name);
	mutex_unlock(&devices_lock);
	if (!td)
		return -ENODEV;
	if (td->vdpa.mdev)
		return -EBUSY;
	unmanaged_del(td);
	return 0;
}

void tp_unmanaged_del_all(void)
{
	struct tp_device *td, *next;
	LIST_HEAD(found);

	mutex_lock(&devices_lock);
	list_for_each_entry_safe(td, next, &devices, list)
		if (!td->vdpa.mdev)
			list_move(&td->list, &found);
	mutex_unlock(&devices_lock);
	list_for_each_entry_safe(td, next, &found, list)
		unmanaged_del(td);
}
