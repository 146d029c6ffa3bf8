// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of C, as functions that Rust can call. They lose
 * the prefix in the bindings.
 */

#include <linux/bottom_half.h>
#include <linux/device.h>
#include <linux/idr.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/vdpa.h>

int rvdpa_helper_device_match_driver_override(struct device *dev,
					      const struct device_driver *drv)
{
	return device_match_driver_override(dev, drv);
}

void rvdpa_helper_ida_init(struct ida *ida)
{
	ida_init(ida);
}

bool rvdpa_helper_within_module(unsigned long addr, const struct module *mod)
{
	return within_module(addr, mod);
}

void rvdpa_helper_wait_for_rcu_tasks(void)
{
	/* Where tasks can be preempted, plain RCU says nothing of their code. */
	static_assert(!IS_ENABLED(CONFIG_PREEMPTION) || IS_ENABLED(CONFIG_TASKS_RCU),
		      "CONFIG_TASKS_RCU is needed (CONFIG_FORCE_TASKS_RCU)");
	synchronize_rcu_tasks();
}

/* Disables bottom halves, if they can run here; says whether it did. */
bool rvdpa_helper_local_bh_try_disable(void)
{
	if (in_interrupt() || irqs_disabled())
		return false;
	local_bh_disable();
	return true;
}

void rvdpa_helper_local_bh_enable(void)
{
	local_bh_enable();
}
