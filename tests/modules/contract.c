// SPDX-License-Identifier: GPL-2.0
/*
 * The in-kernel contract of the exported symbols, seen from a C client: life
 * cycle of devices and drivers, the locks around operations. Run once, when the
 * module is loaded; the result is KTAP in debugfs.
 */

#define pr_fmt(fmt) "vdpa_test_parent: " fmt

#include <linux/delay.h>
#include <linux/device.h>
#include <linux/vmalloc.h>
#include <uapi/linux/vdpa.h>

#include "parent.h"

#define REPORT_SIZE (64 * 1024)

static char *report_text;
static struct tp_report report;

void tp_row(struct tp_report *r, bool ok, const char *name, const char *fmt, ...)
{
	char why[160];
	va_list args;

	if (!ok) {
		va_start(args, fmt);
		vscnprintf(why, sizeof(why), fmt, args);
		va_end(args);
		seq_buf_printf(&r->out, "# %s\n", why);
	}
	seq_buf_printf(&r->out, "%sok %d %s\n", ok ? "" : "not ", ++r->number, name);
}

/*
 * How many devices were freed. With DEBUG_KOBJECT_RELEASE, which frees them up to
 * four seconds late, waits until they are as many as wanted.
 */
int tp_freed(const int *count, int want)
{
	int tries;

	for (tries = 0; IS_ENABLED(CONFIG_DEBUG_KOBJECT_RELEASE) && tries < 600; tries++) {
		if (READ_ONCE(*count) == want)
			break;
		msleep(50);
	}
	return READ_ONCE(*count);
}

/* What the device under test was asked, most recent first. */
struct calls {
	struct vdpa_device vdpa;
	int order;
	int features_at, config_at;
	u64 features;
	unsigned int offset, len;
	bool valid_at_reset, valid_at_features;
	bool write_locked, read_locked;
	u8 status;
	int resets, compat_resets;
	u32 compat_flags;
	int features_error;
	u16 num_max;
};

static struct calls *to_calls(struct vdpa_device *vdev)
{
	return container_of(vdev, struct calls, vdpa);
}

static void note_lock(struct calls *c)
{
	long count = atomic_long_read(&c->vdpa.cf_lock.count);

	c->write_locked = count & RWSEM_WRITER_LOCKED;
	c->read_locked = !c->write_locked && (count >> 8);
}

static u16 c_num_max(struct vdpa_device *vdev)
{
	return to_calls(vdev)->num_max;
}

static u16 c_num_min(struct vdpa_device *vdev)
{
	return 8;
}

static int c_set_driver_features(struct vdpa_device *vdev, u64 features)
{
	struct calls *c = to_calls(vdev);

	c->features_at = ++c->order;
	c->features = features;
	c->valid_at_features = vdev->features_valid;
	note_lock(c);
	return c->features_error;
}

static void c_get_config(struct vdpa_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	struct calls *c = to_calls(vdev);

	c->config_at = ++c->order;
	c->offset = offset;
	c->len = len;
	note_lock(c);
	memset(buf, 0x5a, len);
}

static void c_set_config(struct vdpa_device *vdev, unsigned int offset, const void *buf,
			 unsigned int len)
{
	struct calls *c = to_calls(vdev);

	c->offset = offset;
	c->len = len;
	c->status = *(const u8 *)buf;
	note_lock(c);
}

static void c_set_status(struct vdpa_device *vdev, u8 status)
{
	to_calls(vdev)->status = status;
	note_lock(to_calls(vdev));
}

static int c_reset(struct vdpa_device *vdev)
{
	struct calls *c = to_calls(vdev);

	c->resets++;
	c->valid_at_reset = vdev->features_valid;
	note_lock(c);
	return -EXDEV;
}

static int c_compat_reset(struct vdpa_device *vdev, u32 flags)
{
	to_calls(vdev)->compat_resets++;
	to_calls(vdev)->compat_flags = flags;
	note_lock(to_calls(vdev));
	return -EL2HLT;
}

static int freed;

static void c_free(struct vdpa_device *vdev)
{
	freed++;
}

static const struct vdpa_config_ops calls_ops = {
	.get_vq_num_max = c_num_max,
	.get_vq_num_min = c_num_min,
	.set_driver_features = c_set_driver_features,
	.get_config = c_get_config,
	.set_config = c_set_config,
	.set_status = c_set_status,
	.reset = c_reset,
	.compat_reset = c_compat_reset,
	.free = c_free,
};

static struct calls *alloc(const char *name)
{
	struct calls *c = vdpa_alloc_device(struct calls, vdpa, NULL, &calls_ops, NULL, 1, 1, name,
					    false);

	if (!IS_ERR(c))
		c->num_max = 8;
	return c;
}

static void check_config(struct tp_report *r)
{
	struct calls *c = alloc("vdpa-contract-config");
	u8 buf[16];

	if (IS_ERR(c)) {
		tp_row_eq(r, "config: a device", PTR_ERR(c), 0);
		return;
	}
	memset(buf, 0, sizeof(buf));
	vdpa_get_config(&c->vdpa, 3, buf + 1, 7);
	tp_row_eq(r, "vdpa_get_config: sets features first", c->features_at, 1);
	tp_row_eq(r, "vdpa_get_config: reads the config second", c->config_at, 2);
	tp_row_eq(r, "vdpa_get_config: features set are 0", c->features, 0);
	tp_row_true(r, "vdpa_get_config: features are valid when they are set",
		    c->valid_at_features);
	tp_row_true(r, "vdpa_get_config: features are valid after", c->vdpa.features_valid);
	tp_row_eq(r, "vdpa_get_config: offset", c->offset, 3);
	tp_row_eq(r, "vdpa_get_config: length", c->len, 7);
	tp_row_true(r, "vdpa_get_config: fills exactly the buffer",
		    buf[0] == 0 && buf[1] == 0x5a && buf[7] == 0x5a && buf[8] == 0);
	c->order = c->features_at = 0;
	vdpa_get_config(&c->vdpa, 0, buf, 1);
	tp_row_eq(r, "vdpa_get_config: no second feature setting", c->features_at, 0);
	tp_row_true(r, "vdpa_get_config: cf_lock held for reading", c->read_locked || c->write_locked);
	tp_row_true(r, "vdpa_get_config: cf_lock released", !rwsem_is_locked(&c->vdpa.cf_lock));
	c->vdpa.features_valid = false;
	c->features_error = -EINVAL;
	c->order = 0;
	vdpa_get_config(&c->vdpa, 0, buf, 1);
	tp_row_eq(r, "vdpa_get_config: a refusal of features is ignored", c->config_at, 2);
	tp_row_true(r, "vdpa_get_config: features count as valid after a refusal",
		    c->vdpa.features_valid);
	vdpa_get_config(&c->vdpa, 0xfffffff0, buf, 16);
	tp_row_eq(r, "vdpa_get_config: no range check of its own", c->offset, 0xfffffff0);

	c->vdpa.features_valid = false;
	c->features_at = 0;
	buf[0] = 0x77;
	vdpa_set_config(&c->vdpa, 5, buf, 2);
	tp_row_eq(r, "vdpa_set_config: offset", c->offset, 5);
	tp_row_eq(r, "vdpa_set_config: length", c->len, 2);
	tp_row_eq(r, "vdpa_set_config: data", c->status, 0x77);
	tp_row_true(r, "vdpa_set_config: cf_lock held for writing", c->write_locked);
	tp_row_eq(r, "vdpa_set_config: sets no features", c->features_at, 0);

	c->write_locked = false;
	vdpa_set_status(&c->vdpa, 0x8f);
	tp_row_eq(r, "vdpa_set_status: status", c->status, 0x8f);
	tp_row_true(r, "vdpa_set_status: cf_lock held for writing", c->write_locked);

	tp_row_eq(r, "vdpa_set_features: returns the operation's result",
		  vdpa_set_features(&c->vdpa, 0x123), -EINVAL);
	tp_row_eq(r, "vdpa_set_features: features", c->features, 0x123);
	tp_row_true(r, "vdpa_set_features: valid before the operation", c->valid_at_features);

	tp_row_eq(r, "vdpa_reset: without flags uses reset", vdpa_reset(&c->vdpa, 0), -EXDEV);
	tp_row_true(r, "vdpa_reset: features invalid before the operation", !c->valid_at_reset);
	tp_row_true(r, "vdpa_reset: cf_lock held for writing", c->write_locked);
	tp_row_eq(r, "vdpa_reset: with flags uses compat_reset",
		  vdpa_reset(&c->vdpa, VDPA_RESET_F_CLEAN_MAP), -EL2HLT);
	tp_row_eq(r, "vdpa_reset: flags reach compat_reset", c->compat_flags, 1);
	tp_row_eq(r, "vdpa_reset: one reset", c->resets, 1);
	put_device(&c->vdpa.dev);
}

static void check_register(struct tp_report *r)
{
	struct calls *a = alloc("vdpa-contract-a"), *b = alloc("vdpa-contract-a");
	const struct bus_type *bus;
	struct device *found;

	if (IS_ERR(a) || IS_ERR(b)) {
		tp_row(r, false, "register: two devices of one name", "allocation failed");
		return;
	}
	bus = a->vdpa.dev.bus;
	freed = 0;
	tp_row_eq(r, "vdpa_register_device: result", vdpa_register_device(&a->vdpa, 77), 0);
	tp_row_eq(r, "vdpa_register_device: sets nvqs", a->vdpa.nvqs, 77);
	tp_row_true(r, "vdpa_register_device: is registered", device_is_registered(&a->vdpa.dev));
	found = bus_find_device_by_name(bus, NULL, "vdpa-contract-a");
	tp_row_true(r, "vdpa_register_device: is on the bus", found == &a->vdpa.dev);
	put_device(found);
	tp_row_eq(r, "vdpa_register_device: second of a name",
		  vdpa_register_device(&b->vdpa, 5), -EEXIST);
	tp_row_true(r, "vdpa_register_device: refused one is not registered",
		    !device_is_registered(&b->vdpa.dev));
	put_device(&b->vdpa.dev);
	tp_row_eq(r, "vdpa_register_device: refused one is freed by its put", tp_freed(&freed, 1), 1);

	get_device(&a->vdpa.dev);
	vdpa_unregister_device(&a->vdpa);
	tp_row_eq(r, "vdpa_unregister_device: not freed while referenced", freed, 1);
	found = bus_find_device_by_name(bus, NULL, "vdpa-contract-a");
	tp_row_true(r, "vdpa_unregister_device: off the bus", !found);
	put_device(found);
	put_device(&a->vdpa.dev);
	tp_row_eq(r, "vdpa_unregister_device: freed with the last reference", tp_freed(&freed, 2), 2);
}

static int probes, removes, probe_result;
static u64 probe_mask;
static bool mask_is_coherent_mask;

static int drv_probe(struct vdpa_device *vdev)
{
	probes++;
	mask_is_coherent_mask = vdev->dev.dma_mask == &vdev->dev.coherent_dma_mask;
	probe_mask = dma_get_mask(&vdev->dev);
	return probe_result;
}

static void drv_remove(struct vdpa_device *vdev)
{
	removes++;
}

static struct vdpa_driver driver_a = {
	.driver = { .name = "vdpa-contract-driver" },
	.probe = drv_probe,
	.remove = drv_remove,
};

static struct vdpa_driver driver_twin = {
	.driver = { .name = "vdpa-contract-driver" },
};

static struct vdpa_driver driver_bare = {
	.driver = { .name = "vdpa-contract-bare" },
};

/* With DEBUG_KOBJECT_RELEASE, the folder of a driver that went goes late. */
static int register_again(struct vdpa_driver *driver)
{
	if (IS_ENABLED(CONFIG_DEBUG_KOBJECT_RELEASE))
		msleep(TP_LATEST_RELEASE);
	return vdpa_register_driver(driver);
}

static void check_driver(struct tp_report *r)
{
	struct calls *c = alloc("vdpa-contract-dev");

	if (IS_ERR(c)) {
		tp_row_eq(r, "driver: a device", PTR_ERR(c), 0);
		return;
	}
	tp_row_eq(r, "__vdpa_register_driver: result", vdpa_register_driver(&driver_a), 0);
	tp_row_true(r, "__vdpa_register_driver: bus", driver_a.driver.bus == c->vdpa.dev.bus);
	tp_row_true(r, "__vdpa_register_driver: owner", driver_a.driver.owner == THIS_MODULE);
	tp_row_eq(r, "__vdpa_register_driver: second of a name",
		  vdpa_register_driver(&driver_twin), -EBUSY);

	probe_result = -EIO;
	tp_row_eq(r, "registration succeeds when the probe fails",
		  vdpa_register_device(&c->vdpa, 1), 0);
	tp_row_eq(r, "probe is called at registration", probes, 1);
	tp_row_true(r, "device stays unbound after a failed probe", !c->vdpa.dev.driver);
	tp_row_true(r, "dma_mask points to coherent_dma_mask in probe", mask_is_coherent_mask);
	tp_row_eq(r, "DMA mask has 64 bits in probe", probe_mask, DMA_BIT_MASK(64));

	probe_result = 0;
	c->num_max = 7;
	tp_row_eq(r, "num_max < num_min: not probed", device_attach(&c->vdpa.dev), 0);
	tp_row_eq(r, "num_max < num_min: the driver is not asked", probes, 1);
	c->num_max = 8;
	tp_row_eq(r, "num_max == num_min: bound", device_attach(&c->vdpa.dev), 1);
	tp_row_true(r, "bound to the driver", c->vdpa.dev.driver == &driver_a.driver);
	vdpa_unregister_driver(&driver_a);
	tp_row_eq(r, "vdpa_unregister_driver: calls remove", removes, 1);
	tp_row_true(r, "vdpa_unregister_driver: device is unbound", !c->vdpa.dev.driver);

	tp_row_eq(r, "driver without probe and remove: registers", vdpa_register_driver(&driver_bare), 0);
	tp_row_true(r, "driver without probe: binds what is there",
		    c->vdpa.dev.driver == &driver_bare.driver);
	vdpa_unregister_driver(&driver_bare);
	tp_row_true(r, "driver without remove: unbinds", !c->vdpa.dev.driver);

	tp_row_eq(r, "__vdpa_register_driver: again after unregistering",
		  register_again(&driver_a), 0);
	tp_row_true(r, "__vdpa_register_driver: binds devices that are there",
		    c->vdpa.dev.driver == &driver_a.driver);
	removes = 0;
	freed = 0;
	vdpa_unregister_device(&c->vdpa);
	tp_row_eq(r, "vdpa_unregister_device: calls remove", removes, 1);
	tp_row_eq(r, "vdpa_unregister_device: frees", tp_freed(&freed, 1), 1);
	vdpa_unregister_driver(&driver_a);
}

static int m_add(struct vdpa_mgmt_dev *mdev, const char *name,
		 const struct vdpa_dev_set_config *config)
{
	return -EOPNOTSUPP;
}

static void m_del(struct vdpa_mgmt_dev *mdev, struct vdpa_device *dev)
{
}

static void check_mgmtdev(struct tp_report *r)
{
	struct virtio_device_id ids[] = { { VIRTIO_ID_NET, VIRTIO_DEV_ANY_ID }, { 0 } };
	struct vdpa_mgmtdev_ops ops = { .dev_add = m_add, .dev_del = m_del };
	struct vdpa_mgmt_dev m = { .ops = &ops, .id_table = ids };
	struct device *dev = root_device_register("vdpa-contract-mgmt");

	if (IS_ERR(dev)) {
		tp_row_eq(r, "mgmtdev: a device", PTR_ERR(dev), 0);
		return;
	}
	tp_row_eq(r, "vdpa_mgmtdev_register: no device", vdpa_mgmtdev_register(&m), -EINVAL);
	m.device = dev;
	m.ops = NULL;
	tp_row_eq(r, "vdpa_mgmtdev_register: no ops", vdpa_mgmtdev_register(&m), -EINVAL);
	m.ops = &ops;
	ops.dev_add = NULL;
	tp_row_eq(r, "vdpa_mgmtdev_register: no dev_add", vdpa_mgmtdev_register(&m), -EINVAL);
	ops.dev_add = m_add;
	ops.dev_del = NULL;
	tp_row_eq(r, "vdpa_mgmtdev_register: no dev_del", vdpa_mgmtdev_register(&m), -EINVAL);
	ops.dev_del = m_del;
	tp_row_eq(r, "vdpa_mgmtdev_register: result", vdpa_mgmtdev_register(&m), 0);
	vdpa_mgmtdev_unregister(&m);
	tp_row_eq(r, "vdpa_mgmtdev_register: again", vdpa_mgmtdev_register(&m), 0);
	vdpa_mgmtdev_unregister(&m);
	/* Nobody can look at the table meanwhile: this runs when a module is loaded. */
	m.id_table = NULL;
	tp_row_eq(r, "vdpa_mgmtdev_register: id_table is not checked", vdpa_mgmtdev_register(&m), 0);
	vdpa_mgmtdev_unregister(&m);
	root_device_unregister(dev);
}

int tp_contract_init(void)
{
	report_text = vzalloc(REPORT_SIZE);
	if (!report_text)
		return -ENOMEM;
	seq_buf_init(&report.out, report_text, REPORT_SIZE);
	tp_contract_alloc(&report);
	check_register(&report);
	check_driver(&report);
	check_config(&report);
	check_mgmtdev(&report);
	seq_buf_printf(&report.out, "1..%d\n", report.number);
	return 0;
}

void tp_contract_exit(void)
{
	vfree(report_text);
}

int tp_contract_show(struct seq_file *s, void *unused)
{
	seq_write(s, report_text, seq_buf_used(&report.out));
	return 0;
}
