// SPDX-License-Identifier: GPL-2.0
/*
 * vdpa_test_parent: management devices and vDPA devices made to order.
 *
 * /sys/kernel/debug/vdpa_test/control takes one command a write:
 *
 *   mgmt-add NAME [bus=none|faux|platform] [classes=ID,ID..] [attrs=MASK]
 *            [features=MASK] [max_vqs=N] [set_attr=0|1] [dev.KEY=VALUE..]
 *   mgmt-set NAME dev.KEY=VALUE..      what the next device is made from
 *   mgmt-del NAME
 *   dev-add NAME KEY=VALUE..           a device without a management device
 *   dev-set NAME KEY=VALUE..           change a device that is there
 *   dev-del NAME
 *   console 0|1                        recorded lines go to the console, too
 *   new-generation                     of devices: what earlier ones do is no
 *                                      longer recorded
 *
 * KEY is a field of struct tp_shape, `config` (hexadecimal bytes) or `without`
 * (operations left out of the table). log tells which operations were called,
 * `OPERATION DEVICE cf=STATE ARGUMENTS`, where STATE of cf_lock is w, r or -.
 * live is the number of devices whose memory was not given back yet; contract
 * is the in-kernel half of the contract, checked when the module is loaded with
 * contract=1. No bus driver may be there then: the devices of those checks have
 * hardly any operations.
 */

#define pr_fmt(fmt) "vdpa_test_parent: " fmt

#include <linux/hex.h>
#include <linux/uaccess.h>

#include "parent.h"
#include "recorder.h"

static struct recorder recorder = { .lock = __SPIN_LOCK_UNLOCKED(recorder.lock) };
static struct dentry *dir;
static bool contract;
module_param(contract, bool, 0444);
static DEFINE_MUTEX(control_lock);
unsigned int tp_generation;

const struct tp_shape tp_default_shape = {
	.id = VIRTIO_ID_NET,
	.vendor = 0x1af4,
	.nvqs = 3,
	.num_max = 256,
	.num_min = 2,
	.config_size = TP_CONFIG_SIZE,
	.iova_last = U64_MAX,
	.features = BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM),
	.ops = &tp_base_ops,
};

static char cf_state(const struct vdpa_device *vdev)
{
	long count = atomic_long_read(&vdev->cf_lock.count);

	if (count & RWSEM_WRITER_LOCKED)
		return 'w';
	/* The low byte holds flags, the rest counts readers. */
	return count >> 8 ? 'r' : '-';
}

void tp_record(const struct vdpa_device *vdev, const char *fmt, ...)
{
	char text[150];
	va_list args;
	const char *op_end;

	if (vdev && tp_dev(vdev)->generation != READ_ONCE(tp_generation))
		return;
	va_start(args, fmt);
	vscnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	op_end = strchrnul(text, ' ');
	if (vdev)
		recorder_add(&recorder, "%.*s %.80s cf=%c%s", (int)(op_end - text), text,
			     dev_name(&vdev->dev), cf_state(vdev), op_end);
	else
		recorder_add(&recorder, "%s", text);
}

#define NUMBER(field)						\
	do {							\
		if (!strcmp(key, #field)) {			\
			shape->field = number;			\
			return 0;				\
		}						\
	} while (0)

int tp_shape_set(struct tp_shape *shape, const char *key, const char *value)
{
	size_t len = strlen(value);
	u64 number;

	if (!strcmp(key, "config")) {
		if (len % 2 || len / 2 > sizeof(shape->config))
			return -EINVAL;
		return hex2bin(shape->config, value, len / 2);
	}
	if (!strcmp(key, "without")) {
		const struct vdpa_config_ops *ops = tp_ops_without(value);

		if (IS_ERR(ops))
			return PTR_ERR(ops);
		shape->ops = ops;
		return 0;
	}
	if (kstrtou64(value, 0, &number))
		return -EINVAL;
	NUMBER(id);
	NUMBER(vendor);
	NUMBER(nvqs);
	NUMBER(num_max);
	NUMBER(num_min);
	NUMBER(config_size);
	NUMBER(iova_first);
	NUMBER(iova_last);
	NUMBER(features);
	NUMBER(driver_features);
	NUMBER(status);
	NUMBER(add_error);
	NUMBER(late_error);
	NUMBER(set_attr_error);
	NUMBER(set_features_error);
	NUMBER(stats_error);
	NUMBER(add_delay);
	NUMBER(del_delay);
	NUMBER(null_mdev);
	NUMBER(orphan);
	return -ENOKEY;
}

static int command(char *line)
{
	char *verb = strsep(&line, " ");
	char *name = strsep(&line, " ");

	if (!strcmp(verb, "new-generation")) {
		WRITE_ONCE(tp_generation, tp_generation + 1);
		return 0;
	}
	if (!name)
		return -EINVAL;
	if (!strcmp(verb, "mgmt-add"))
		return tp_mgmt_add(name, line);
	if (!strcmp(verb, "mgmt-set"))
		return tp_mgmt_set(name, line);
	if (!strcmp(verb, "mgmt-del"))
		return tp_mgmt_del(name);
	if (!strcmp(verb, "dev-add"))
		return tp_unmanaged_add(name, line);
	if (!strcmp(verb, "dev-set"))
		return tp_device_set(name, line);
	if (!strcmp(verb, "dev-del"))
		return tp_unmanaged_del(name);
	if (!strcmp(verb, "console"))
		return kstrtobool(name, &recorder.console);
	return -EOPNOTSUPP;
}

static ssize_t control_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char *line;
	int ret;

	line = memdup_user_nul(buf, len);
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

static int live_show(struct seq_file *s, void *unused)
{
	seq_printf(s, "%d\n", tp_live());
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(live);
DEFINE_SHOW_ATTRIBUTE(tp_contract);

static int __init parent_init(void)
{
	int ret = contract ? tp_contract_init() : 0;

	if (ret)
		return ret;
	dir = debugfs_create_dir("vdpa_test", NULL);
	debugfs_create_file("control", 0200, dir, NULL, &control_fops);
	debugfs_create_file("log", 0600, dir, &recorder, &recorder_fops);
	debugfs_create_file("live", 0400, dir, NULL, &live_fops);
	if (contract)
		debugfs_create_file("contract", 0400, dir, NULL, &tp_contract_fops);
	return 0;
}

static void __exit parent_exit(void)
{
	debugfs_remove(dir);
	tp_unmanaged_del_all();
	tp_mgmt_del_all();
	tp_contract_exit();
}

module_init(parent_init);
module_exit(parent_exit);
MODULE_DESCRIPTION("vDPA parent for tests");
MODULE_LICENSE("GPL");
