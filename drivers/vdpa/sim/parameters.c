// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters: those of the `module!` macro are not in sysfs.
 */

#include <linux/export.h>
#include <linux/moduleparam.h>
#include <linux/vdpa.h>

#include "vdpa_sim.h"

/*
 * All that uses this module needs the bus. The module itself does not, but as in C
 * loading it loads the bus, and keeps it.
 */
static int (* const needs_the_bus)(struct vdpa_mgmt_dev *) __used = vdpa_mgmtdev_register;

static int batch_mapping = 1;
module_param(batch_mapping, int, 0444);
MODULE_PARM_DESC(batch_mapping, "Tell devices of all that is mapped at once (default: 1)");

static int max_iotlb_entries = 2048;
module_param(max_iotlb_entries, int, 0444);
MODULE_PARM_DESC(max_iotlb_entries,
		 "Limit of mappings of an address space, at least 2 (default: 2048)");

static bool use_va = true;
module_param(use_va, bool, 0444);
MODULE_PARM_DESC(use_va, "Devices take virtual addresses of their owner (default: Y)");

static unsigned int queue_size = 256;
module_param(queue_size, uint, 0444);
MODULE_PARM_DESC(queue_size,
		 "Maximum number of entries of a virtqueue, a power of two up to 32768 (default: 256)");

bool rvdpa_sim_batch_mapping(void)
{
	return batch_mapping;
}
EXPORT_SYMBOL_GPL(rvdpa_sim_batch_mapping);

int rvdpa_sim_max_iotlb_entries(void)
{
	return max_iotlb_entries;
}
EXPORT_SYMBOL_GPL(rvdpa_sim_max_iotlb_entries);

bool rvdpa_sim_use_va(void)
{
	return use_va;
}
EXPORT_SYMBOL_GPL(rvdpa_sim_use_va);

unsigned int rvdpa_sim_queue_size(void)
{
	return queue_size;
}
EXPORT_SYMBOL_GPL(rvdpa_sim_queue_size);
