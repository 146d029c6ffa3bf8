// SPDX-License-Identifier: GPL-2.0
/*
 * vdpa_test_driver: two drivers for the vDPA bus, vdpa_test_a and vdpa_test_b.
 *
 * /sys/kernel/debug/vdpa_test_driver/control takes one command a write:
 *
 *   probe-error a|b ERRNO        what probe returns from now on
 *   hold DEVICE, put DEVICE      keep and give back a reference
 *   status DEVICE VALUE, features DEVICE VALUE, reset DEVICE FLAGS
 *   get-config DEVICE OFFSET LENGTH, set-config DEVICE OFFSET BYTE
 *   ask DEVICE QUESTION          what an operation returns
 *   set-group-asid DEVICE GROUP ASID, map-nothing DEVICE ASID, reset-map DEVICE ASID
 *
 * log holds `probe|remove DRIVER DEVICE` lines, and answers: `QUESTION ANSWER`.
 */

#define pr_fmt(fmt) "vdpa_test_driver: " fmt

#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/vdpa.h>
#include <linux/vhost_iotlb.h>

#include "recorder.h"

static struct recorder recorder = { .lock = __SPIN_LOCK_UNLOCKED(recorder.lock) };
static struct dentry *dir;
static DEFINE_MUTEX(control_lock);

struct test_driver {
	struct vdpa_driver vdrv;
	int probe_error;
};

struct held {
	struct list_head list;
	struct device *dev;
};

static LIST_HEAD(held);

static struct test_driver *to_test(struct vdpa_device *vdev)
{
	return container_of(drv_to_vdpa(vdev->dev.driver), struct test_driver, vdrv);
}

static int probe(struct vdpa_device *vdev)
{
	struct test_driver *d = to_test(vdev);

	recorder_add(&recorder, "probe %s %.80s", d->vdrv.driver.name, dev_name(&vdev->dev));
	return -d->probe_error;
}

static void remove(struct vdpa_device *vdev)
{
	recorder_add(&recorder, "remove %s %.80s", to_test(vdev)->vdrv.driver.name,
		     dev_name(&vdev->dev));
}

static struct test_driver drivers[] = {
	{ .vdrv = { .driver = { .name = "vdpa_test_a" }, .probe = probe, .remove = remove } },
	{ .vdrv = { .driver = { .name = "vdpa_test_b" }, .probe = probe, .remove = remove } },
};

static int put(const char *name)
{
	struct held *h;

	list_for_each_entry(h, &held, list) {
		if (strcmp(dev_name(h->dev), name))
			continue;
		put_device(h->dev);
		list_del(&h->list);
		kfree(h);
		return 0;
	}
	return -ENODEV;
}

static int hold(struct device *dev)
{
	struct held *h = kzalloc_obj(*h);

	if (!h)
		return -ENOMEM;
	h->dev = get_device(dev);
	list_add(&h->list, &held);
	return 0;
}

static int get_config(struct vdpa_device *vdev, unsigned int offset, unsigned int len)
{
	u8 *buf;

	if (len > PAGE_SIZE)
		return -EINVAL;
	buf = kzalloc(len, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	vdpa_get_config(vdev, offset, buf, len);
	recorder_add(&recorder, "config %*phN", (int)min(len, 64u), buf);
	kfree(buf);
	return 0;
}

/* Operations that a client in user space does not see the result of. */
static int ask(struct vdpa_device *vdev, const char *question)
{
	const struct vdpa_config_ops *ops = vdev->config;
	s64 answer;

	if (!strcmp(question, "align"))
		answer = ops->get_vq_align(vdev);
	else if (!strcmp(question, "num-min"))
		answer = ops->get_vq_num_min ? ops->get_vq_num_min(vdev) : -EOPNOTSUPP;
	else if (!strcmp(question, "generation"))
		answer = ops->get_generation ? ops->get_generation(vdev) : -EOPNOTSUPP;
	else if (!strcmp(question, "backend-features"))
		answer = ops->get_backend_features ? ops->get_backend_features(vdev) : 0;
	else if (!strcmp(question, "use-va"))
		answer = vdev->use_va;
	else if (!strcmp(question, "maps"))
		answer = ops->set_map ? 1 : ops->dma_map ? 2 : 0;
	else
		return -EOPNOTSUPP;
	recorder_add(&recorder, "%.40s %lld", question, answer);
	return 0;
}

/* Maps nothing, in an address space that need not be there. */
static int map_nothing(struct vdpa_device *vdev, u64 asid)
{
	const struct vdpa_config_ops *ops = vdev->config;
	struct vhost_iotlb nothing = { .root = RB_ROOT_CACHED, .limit = 1 };

	if (!ops->set_map)
		return ops->dma_unmap(vdev, asid, 0, PAGE_SIZE);
	INIT_LIST_HEAD(&nothing.list);
	return ops->set_map(vdev, asid, &nothing);
}

static int on_device(const char *verb, struct vdpa_device *vdev, u64 first, u64 second)
{
	u8 byte = second;

	if (!strcmp(verb, "hold"))
		return hold(&vdev->dev);
	if (!strcmp(verb, "status")) {
		vdpa_set_status(vdev, first);
		return 0;
	}
	if (!strcmp(verb, "features"))
		return vdpa_set_features(vdev, first);
	if (!strcmp(verb, "reset"))
		return vdpa_reset(vdev, first);
	if (!strcmp(verb, "get-config"))
		return get_config(vdev, first, second);
	if (!strcmp(verb, "set-config")) {
		vdpa_set_config(vdev, first, &byte, 1);
		return 0;
	}
	if (!strcmp(verb, "set-group-asid"))
		return vdev->config->set_group_asid(vdev, first, second);
	if (!strcmp(verb, "map-nothing"))
		return map_nothing(vdev, first);
	if (!strcmp(verb, "reset-map"))
		return vdev->config->reset_map(vdev, first);
	return -EOPNOTSUPP;
}

static int command(char *line)
{
	char *verb = strsep(&line, " "), *name = strsep(&line, " ");
	char *first = strsep(&line, " "), *question = NULL;
	u64 numbers[2] = { };
	struct device *dev;
	int ret;

	if (!name)
		return -EINVAL;
	if (!strcmp(verb, "ask")) {
		question = first ?: "";
		first = NULL;
	}
	if (first && kstrtou64(first, 0, &numbers[0]))
		return -EINVAL;
	if (line && kstrtou64(line, 0, &numbers[1]))
		return -EINVAL;
	if (!strcmp(verb, "probe-error")) {
		drivers[*name == 'b'].probe_error = numbers[0];
		return 0;
	}
	if (!strcmp(verb, "put"))
		return put(name);
	dev = bus_find_device_by_name(drivers[0].vdrv.driver.bus, NULL, name);
	if (!dev)
		return -ENODEV;
	if (question)
		ret = ask(dev_to_vdpa(dev), question);
	else
		ret = on_device(verb, dev_to_vdpa(dev), numbers[0], numbers[1]);
	put_device(dev);
	return ret;
}

static ssize_t control_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char *line = memdup_user_nul(buf, len);
	int ret;

	if (IS_ERR(line))
		return PTR_ERR(line);
	mutex_lock(&control_lock);
	ret = command(strim(line));
	mutex_unlock(&control_lock);
	kfree(line);
	return ret ?: len;
}

static const struct file_operations control_fops = {
	.owner = THIS_MODULE,
	.write = control_write,
};

static int __init test_driver_init(void)
{
	int ret = vdpa_register_driver(&drivers[0].vdrv);

	if (ret)
		return ret;
	ret = vdpa_register_driver(&drivers[1].vdrv);
	if (ret) {
		vdpa_unregister_driver(&drivers[0].vdrv);
		return ret;
	}
	dir = debugfs_create_dir("vdpa_test_driver", NULL);
	debugfs_create_file("control", 0200, dir, NULL, &control_fops);
	debugfs_create_file("log", 0600, dir, &recorder, &recorder_fops);
	return 0;
}

static void __exit test_driver_exit(void)
{
	struct held *h, *next;

	debugfs_remove(dir);
	list_for_each_entry_safe(h, next, &held, list) {
		put_device(h->dev);
		kfree(h);
	}
	vdpa_unregister_driver(&drivers[1].vdrv);
	vdpa_unregister_driver(&drivers[0].vdrv);
}

module_init(test_driver_init);
module_exit(test_driver_exit);
MODULE_DESCRIPTION("vDPA bus drivers for tests");
MODULE_LICENSE("GPL");
