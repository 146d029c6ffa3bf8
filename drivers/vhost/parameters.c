// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters and version: those of the `module!` macro are not in sysfs.
 */

#include <linux/module.h>
#include <linux/moduleparam.h>

#include "vhost_vdpa.h"

static int max_iotlb_entries = 2048;
module_param(max_iotlb_entries, int, 0444);
MODULE_PARM_DESC(max_iotlb_entries,
		 "Maximum number of mappings of an address space (default: 2048)");

/* As C's. */
MODULE_VERSION("0.0.1");

int rvdpa_vhost_max_iotlb_entries(void)
{
	return max_iotlb_entries;
}
