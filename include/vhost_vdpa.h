/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the C part of vhost_vdpa.ko has for the rest: its parameters.
 */
#ifndef _RVDPA_VHOST_VDPA_H
#define _RVDPA_VHOST_VDPA_H

/* How many mappings an address space can have. */
int rvdpa_vhost_max_iotlb_entries(void);

#endif
