/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For C modules on the debug kernel, which delays the release of a device by up
 * to four seconds (DEBUG_KOBJECT_RELEASE), as any holder of a reference may. They
 * do not wait for it in their exit: the release function would be gone by then.
 * Here they wait as long as a device and then its parent may take.
 */

#include <linux/module.h>
#include <linux/delay.h>

#undef module_exit
#define module_exit(fn)						\
	static void __exit patient_exit(void)			\
	{							\
		fn();						\
		msleep(8500);					\
	}							\
	void cleanup_module(void) __attribute__((alias("patient_exit"))); \
	___ADDRESSABLE(cleanup_module, __exitdata)
