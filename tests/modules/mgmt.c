// SPDX-License-Identifier: GPL-2.0
/* Management devices: with and without a bus, of any classes. */

#define pr_fmt(fmt) "vdpa_test_parent: " fmt

#include <linux/delay.h>
#include <linux/device/faux.h>
#include <linux/etherdevice.h>
#include <linux/platform_device.h>
#include <uapi/linux/vdpa.h>

#include "parent.h"

enum tp_bus { TP_BUS_NONE, TP_BUS_FAUX, TP_BUS_PLATFORM };

#define TP_MAX_CLASSES 8

struct tp_mgmt {
	struct vdpa_mgmt_dev mdev;
	struct vdpa_mgmtdev_ops ops;
	struct virtio_device_id ids[TP_MAX_CLASSES + 1];
	struct list_head list;
	enum tp_bus bus;
	char *name;
	struct tp_shape shape;
};

/* Only touched by commands, which are serialised. */
static LIST_HEAD(mgmts);

static struct tp_mgmt *to_mgmt(struct vdpa_mgmt_dev *mdev)
{
	return container_of(mdev, struct tp_mgmt, mdev);
}

static int tp_dev_add(struct vdpa_mgmt_dev *mdev, const char *name,
		      const struct vdpa_dev_set_config *config)
{
	const struct tp_mgmt *m = to_mgmt(mdev);
	const struct tp_shape *shape = &m->shape;
	struct tp_device *td;
	int ret;

	tp_record(NULL, "dev_add %.80s mask=0x%llx features=0x%llx mac=%pM mtu=%u vqp=%u", name,
		  config->mask, config->device_features, config->net.mac, config->net.mtu,
		  config->net.max_vq_pairs);
	if (shape->add_delay)
		msleep(shape->add_delay);
	if (shape->add_error)
		return -shape->add_error;
	td = tp_alloc(shape->orphan ? NULL : mdev->device, name, shape);
	if (IS_ERR(td))
		return PTR_ERR(td);
	if (shape->id == VIRTIO_ID_NET) {
		struct virtio_net_config *net = (void *)td->shape.config;

		if (config->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR))
			ether_addr_copy(net->mac, config->net.mac);
		if (config->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MTU))
			net->mtu = __cpu_to_virtio16(true, config->net.mtu);
		if (config->mask & BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MAX_VQP))
			net->max_virtqueue_pairs = __cpu_to_virtio16(true, config->net.max_vq_pairs);
	}
	if (config->mask & BIT_ULL(VDPA_ATTR_DEV_FEATURES))
		td->shape.features = config->device_features;
	td->vdpa.mdev = shape->null_mdev ? NULL : mdev;
	ret = -shape->late_error;
	if (!ret)
		ret = _vdpa_register_device(&td->vdpa, shape->nvqs);
	if (ret) {
		tp_forget(td);
		put_device(&td->vdpa.dev);
	}
	return ret;
}

static void tp_dev_del(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev)
{
	struct tp_device *td = tp_dev(vdev);

	tp_record(vdev, "dev_del");
	if (td->shape.del_delay)
		msleep(td->shape.del_delay);
	tp_forget(td);
	_vdpa_unregister_device(vdev);
	/* The caller holds a reference across this call: so promises the contract. */
	tp_record(vdev, "dev_deleted");
}

static int tp_dev_set_attr(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
			   const struct vdpa_dev_set_config *config)
{
	struct tp_device *td = tp_dev(vdev);

	tp_record(vdev, "dev_set_attr mask=0x%llx mac=%pM features=0x%llx mtu=%u vqp=%u",
		  config->mask, config->net.mac, config->device_features, config->net.mtu,
		  config->net.max_vq_pairs);
	if (td->shape.set_attr_error)
		return -td->shape.set_attr_error;
	ether_addr_copy(td->shape.config, config->net.mac);
	return 0;
}

static struct tp_mgmt *find(const char *name)
{
	struct tp_mgmt *m;

	list_for_each_entry(m, &mgmts, list)
		if (!strcmp(m->name, name))
			return m;
	return NULL;
}

static int set_classes(struct tp_mgmt *m, char *value)
{
	char *word;
	int n = 0;

	memset(m->ids, 0, sizeof(m->ids));
	while ((word = strsep(&value, ",")) && *word) {
		if (n == TP_MAX_CLASSES || kstrtou32(word, 0, &m->ids[n].device))
			return -EINVAL;
		m->ids[n++].vendor = VIRTIO_DEV_ANY_ID;
	}
	return 0;
}

static int set_one(struct tp_mgmt *m, char *key, char *value)
{
	u64 number;

	if (!strncmp(key, "dev.", 4))
		return tp_shape_set(&m->shape, key + 4, value);
	if (!strcmp(key, "classes"))
		return set_classes(m, value);
	if (!strcmp(key, "bus")) {
		m->bus = !strcmp(value, "faux") ? TP_BUS_FAUX :
			 !strcmp(value, "platform") ? TP_BUS_PLATFORM : TP_BUS_NONE;
		return 0;
	}
	if (kstrtou64(value, 0, &number))
		return -EINVAL;
	if (!strcmp(key, "attrs"))
		m->mdev.config_attr_mask = number;
	else if (!strcmp(key, "features"))
		m->mdev.supported_features = number;
	else if (!strcmp(key, "max_vqs"))
		m->mdev.max_supported_vqs = number;
	else if (!strcmp(key, "set_attr"))
		m->ops.dev_set_attr = number ? tp_dev_set_attr : NULL;
	else
		return -ENOKEY;
	return 0;
}

static int set_words(struct tp_mgmt *m, char *words)
{
	char *word;
	int ret;

	while ((word = strsep(&words, " "))) {
		char *key = strsep(&word, "=");

		if (!*key)
			continue;
		if (!word)
			return -EINVAL;
		ret = set_one(m, key, word);
		if (ret)
			return ret;
	}
	return 0;
}

static struct device *make_device(struct tp_mgmt *m, const char *name)
{
	struct platform_device *pdev;
	struct faux_device *fdev;

	switch (m->bus) {
	case TP_BUS_FAUX:
		fdev = faux_device_create(name, NULL, NULL);
		return fdev ? &fdev->dev : ERR_PTR(-ENODEV);
	case TP_BUS_PLATFORM:
		pdev = platform_device_register_simple(name, PLATFORM_DEVID_NONE, NULL, 0);
		return IS_ERR(pdev) ? ERR_CAST(pdev) : &pdev->dev;
	default:
		return root_device_register(name);
	}
}

static void drop_device(struct tp_mgmt *m)
{
	struct device *dev = m->mdev.device;

	switch (m->bus) {
	case TP_BUS_FAUX:
		faux_device_destroy(to_faux_device(dev));
		break;
	case TP_BUS_PLATFORM:
		platform_device_unregister(to_platform_device(dev));
		break;
	default:
		root_device_unregister(dev);
	}
}

static void free_mgmt(struct tp_mgmt *m)
{
	kfree(m->name);
	kfree(m);
}

/*
 * NAME is the handle of the commands; a name after '@' is the device's own, so
 * that devices on several buses can share one.
 */
int tp_mgmt_add(const char *name, char *words)
{
	const char *device_name = strchr(name, '@');
	struct tp_mgmt *m;
	struct device *dev;
	int ret;

	if (find(name))
		return -EEXIST;
	m = kzalloc_obj(*m);
	if (!m)
		return -ENOMEM;
	m->name = kstrdup(name, GFP_KERNEL);
	m->shape = tp_default_shape;
	m->ops.dev_add = tp_dev_add;
	m->ops.dev_del = tp_dev_del;
	m->ops.dev_set_attr = tp_dev_set_attr;
	m->ids[0].device = VIRTIO_ID_NET;
	m->ids[0].vendor = VIRTIO_DEV_ANY_ID;
	m->mdev.ops = &m->ops;
	m->mdev.id_table = m->ids;
	ret = m->name ? set_words(m, words) : -ENOMEM;
	if (ret)
		goto err;
	dev = make_device(m, device_name ? device_name + 1 : name);
	if (IS_ERR(dev)) {
		ret = PTR_ERR(dev);
		goto err;
	}
	m->mdev.device = dev;
	ret = vdpa_mgmtdev_register(&m->mdev);
	if (ret) {
		drop_device(m);
		goto err;
	}
	list_add_tail(&m->list, &mgmts);
	return 0;
err:
	free_mgmt(m);
	return ret;
}

int tp_mgmt_set(const char *name, char *words)
{
	struct tp_mgmt *m = find(name);

	return m ? set_words(m, words) : -ENODEV;
}

static void del(struct tp_mgmt *m)
{
	list_del(&m->list);
	vdpa_mgmtdev_unregister(&m->mdev);
	drop_device(m);
	free_mgmt(m);
}

int tp_mgmt_del(const char *name)
{
	struct tp_mgmt *m = find(name);

	if (!m)
		return -ENODEV;
	del(m);
	return 0;
}

void tp_mgmt_del_all(void)
{
	struct tp_mgmt *m, *next;

	list_for_each_entry_safe(m, next, &mgmts, list)
		del(m);
}
