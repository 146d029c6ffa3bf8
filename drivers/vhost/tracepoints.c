// SPDX-License-Identifier: GPL-2.0
/* Defines the tracepoints of vhost_vdpa.ko and their entry points for Rust. */

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "vhost_vdpa_trace.h"
