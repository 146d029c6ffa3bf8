/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints of vhost_vdpa: /sys/kernel/tracing/events/vhost_vdpa.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vhost_vdpa

#if !defined(_VHOST_VDPA_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _VHOST_VDPA_TRACE_H

#include <linux/tracepoint.h>

/* An ioctl ended. */
TRACE_EVENT(vhost_vdpa_ioctl,
	TP_PROTO(const char *name, u32 cmd, int ret),
	TP_ARGS(name, cmd, ret),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u32, cmd)
		__field(int, ret)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->cmd = cmd;
		__entry->ret = ret;
	),
	TP_printk("dev=%s cmd=%#x ret=%d", __get_str(name), __entry->cmd, __entry->ret)
);

/* Memory was mapped, or could not be. */
TRACE_EVENT(vhost_vdpa_map,
	TP_PROTO(const char *name, u32 asid, u64 iova, u64 size, u64 uaddr, u32 perm, int ret),
	TP_ARGS(name, asid, iova, size, uaddr, perm, ret),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u32, asid)
		__field(u64, iova)
		__field(u64, size)
		__field(u64, uaddr)
		__field(u32, perm)
		__field(int, ret)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->asid = asid;
		__entry->iova = iova;
		__entry->size = size;
		__entry->uaddr = uaddr;
		__entry->perm = perm;
		__entry->ret = ret;
	),
	TP_printk("dev=%s asid=%u iova=%#llx size=%#llx uaddr=%#llx perm=%u ret=%d",
		  __get_str(name), __entry->asid, __entry->iova, __entry->size,
		  __entry->uaddr, __entry->perm, __entry->ret)
);

/* Memory was unmapped. */
TRACE_EVENT(vhost_vdpa_unmap,
	TP_PROTO(const char *name, u32 asid, u64 iova, u64 size, int ret),
	TP_ARGS(name, asid, iova, size, ret),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u32, asid)
		__field(u64, iova)
		__field(u64, size)
		__field(int, ret)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->asid = asid;
		__entry->iova = iova;
		__entry->size = size;
		__entry->ret = ret;
	),
	TP_printk("dev=%s asid=%u iova=%#llx size=%#llx ret=%d", __get_str(name),
		  __entry->asid, __entry->iova, __entry->size, __entry->ret)
);

DECLARE_EVENT_CLASS(vhost_vdpa_queue,
	TP_PROTO(const char *name, u16 queue),
	TP_ARGS(name, queue),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u16, queue)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->queue = queue;
	),
	TP_printk("dev=%s queue=%u", __get_str(name), __entry->queue)
);

/* The user kicked a queue. */
DEFINE_EVENT(vhost_vdpa_queue, vhost_vdpa_kick,
	TP_PROTO(const char *name, u16 queue),
	TP_ARGS(name, queue)
);

/* The device interrupted for a queue. */
DEFINE_EVENT(vhost_vdpa_queue, vhost_vdpa_call,
	TP_PROTO(const char *name, u16 queue),
	TP_ARGS(name, queue)
);

/* The user set the status. */
TRACE_EVENT(vhost_vdpa_status,
	TP_PROTO(const char *name, u8 from, u8 to),
	TP_ARGS(name, from, to),
	TP_STRUCT__entry(
		__string(name, name)
		__field(u8, from)
		__field(u8, to)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->from = from;
		__entry->to = to;
	),
	TP_printk("dev=%s from=%#x to=%#x", __get_str(name), __entry->from, __entry->to)
);

#endif /* _VHOST_VDPA_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE vhost_vdpa_trace
#include <trace/define_trace.h>
