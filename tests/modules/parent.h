/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PARENT_H
#define PARENT_H

#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_buf.h>
#include <linux/vdpa.h>

#define TP_CONFIG_SIZE 256

/* What a device is made from. Kept as text-settable fields. */
struct tp_shape {
	u32 id;
	u32 vendor;
	u32 nvqs;
	u16 num_max;
	u16 num_min;
	u32 config_size;
	u64 iova_first;
	u64 iova_last;
	u64 features;
	u64 driver_features;
	u8 status;
	int add_error;		/* dev_add fails before it allocates */
	int late_error;		/* dev_add fails after it allocated */
	int set_attr_error;
	int set_features_error;
	int stats_error;
	u32 add_delay;		/* ms that dev_add sleeps */
	u32 del_delay;		/* ms that dev_del sleeps */
	bool null_mdev;		/* register without a management device */
	bool orphan;		/* no parent device */
	const struct vdpa_config_ops *ops;
	u8 config[TP_CONFIG_SIZE];
};

struct vhost_iotlb;

struct tp_device {
	struct vdpa_device vdpa;	/* first: release frees this pointer */
	struct list_head list;
	unsigned int generation;
	struct tp_shape shape;
};

static inline struct tp_device *tp_dev(const struct vdpa_device *vdev)
{
	return container_of(vdev, struct tp_device, vdpa);
}

/* parent.c */
extern const struct tp_shape tp_default_shape;
extern unsigned int tp_generation;	/* operations of other devices are not recorded */
__printf(2, 3) void tp_record(const struct vdpa_device *vdev, const char *fmt, ...);
int tp_shape_set(struct tp_shape *shape, const char *key, const char *value);

/* device.c */
extern const struct vdpa_config_ops tp_base_ops;
struct tp_device *tp_alloc(struct device *parent, const char *name, const struct tp_shape *shape);
void tp_forget(struct tp_device *td);
int tp_device_set(const char *name, char *words);
int tp_unmanaged_add(const char *name, char *words);
int tp_unmanaged_del(const char *name);
void tp_unmanaged_del_all(void);
const struct vdpa_config_ops *tp_ops_without(const char *names);
int tp_live(void);

/* iotlb.c */
const char *tp_iotlb_fault(struct vhost_iotlb *iotlb);

/* mgmt.c */
int tp_mgmt_add(const char *name, char *words);
int tp_mgmt_set(const char *name, char *words);
int tp_mgmt_del(const char *name);
void tp_mgmt_del_all(void);

/* contract.c, contract_alloc.c */
struct tp_report {
	struct seq_buf out;
	int number;
};

__printf(4, 5) void tp_row(struct tp_report *r, bool ok, const char *name, const char *fmt, ...);

#define tp_row_eq(r, name, got, want) ({				\
	long long g_ = (long long)(got), w_ = (long long)(want);	\
	tp_row(r, g_ == w_, name, "expected %lld, got %lld", w_, g_);	\
})

#define tp_row_true(r, name, cond) tp_row(r, cond, name, "not true: %s", #cond)

int tp_freed(const int *count, int want);
/* ms after which DEBUG_KOBJECT_RELEASE has freed everything, with time to spare. */
#define TP_LATEST_RELEASE 8000

void tp_contract_alloc(struct tp_report *r);
int tp_contract_init(void);
void tp_contract_exit(void);
int tp_contract_show(struct seq_file *s, void *unused);

#endif
