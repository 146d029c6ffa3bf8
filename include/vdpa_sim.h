/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What vdpa_sim.ko has for the modules of simulated devices: its parameters.
 */
#ifndef _RVDPA_SIM_H
#define _RVDPA_SIM_H

#include <linux/types.h>

/* Whether devices are told of all that is mapped at once. */
bool rvdpa_sim_batch_mapping(void);

/* How many entries an address space can have. */
int rvdpa_sim_max_iotlb_entries(void);

/* Whether devices take virtual addresses of their owner. */
bool rvdpa_sim_use_va(void);

/* The largest number of entries of a virtqueue. */
unsigned int rvdpa_sim_queue_size(void);

#endif
