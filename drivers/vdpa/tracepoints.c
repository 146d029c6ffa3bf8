// SPDX-License-Identifier: GPL-2.0
/* Defines the tracepoints of vdpa.ko and their entry points for Rust. */

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "vdpa_trace.h"
