/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints of the vDPA bus: /sys/kernel/tracing/events/vdpa.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vdpa

#if !defined(_VDPA_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _VDPA_TRACE_H

#include <linux/tracepoint.h>

/* A device appears on the bus, or fails to. */
TRACE_EVENT(vdpa_dev_add,
	TP_PROTO(const char *name, u32 device_id, u32 nvqs, int ret),
	TP_ARGS(name, device_id, nvqs, ret),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u32, device_id)
		__field(u32, nvqs)
		__field(int, ret)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->device_id = device_id;
		__entry->nvqs = nvqs;
		__entry->ret = ret;
	),
	TP_printk("dev=%s device_id=%u nvqs=%u ret=%d", __get_str(name),
		  __entry->device_id, __entry->nvqs, __entry->ret)
);

/* A device is about to leave the bus. */
TRACE_EVENT(vdpa_dev_del,
	TP_PROTO(const char *name),
	TP_ARGS(name),
	TP_STRUCT__entry(
		__string(name, name)
	),
	TP_fast_assign(
		__assign_str(name);
	),
	TP_printk("dev=%s", __get_str(name))
);

/* A bus driver probed a device. */
TRACE_EVENT(vdpa_dev_probe,
	TP_PROTO(const char *name, const char *driver, int ret),
	TP_ARGS(name, driver, ret),
	TP_STRUCT__entry(
		__string(name, name)
		__string(driver, driver)
		__field(int, ret)
	),
	TP_fast_assign(
		__assign_str(name);
		__assign_str(driver);
		__entry->ret = ret;
	),
	TP_printk("dev=%s driver=%s ret=%d", __get_str(name), __get_str(driver),
		  __entry->ret)
);

/* Numbers of `enum vdpa_command`. */
#define vdpa_show_cmd(cmd)				\
	__print_symbolic(cmd,				\
		{ 2, "MGMTDEV_GET" },			\
		{ 3, "DEV_NEW" },			\
		{ 4, "DEV_DEL" },			\
		{ 5, "DEV_GET" },			\
		{ 6, "DEV_CONFIG_GET" },		\
		{ 7, "DEV_VSTATS_GET" },		\
		{ 8, "DEV_ATTR_SET" })

/* A generic netlink command ended; a dump does so once for each message. */
TRACE_EVENT(vdpa_nl_cmd,
	TP_PROTO(u8 cmd, bool dump, int ret),
	TP_ARGS(cmd, dump, ret),
	TP_STRUCT__entry(
		__field(u8, cmd)
		__field(bool, dump)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->cmd = cmd;
		__entry->dump = dump;
		__entry->ret = ret;
	),
	TP_printk("cmd=%s dump=%d ret=%d", vdpa_show_cmd(__entry->cmd),
		  __entry->dump, __entry->ret)
);

#endif /* _VDPA_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE vdpa_trace
#include <trace/define_trace.h>
