// SPDX-License-Identifier: GPL-2.0

//! Tracepoints: `/sys/kernel/tracing/events/vdpa`, see `include/vdpa_trace.h`.

use kernel::prelude::*;

kext::tracepoints! {
    use vdpa_bindings;

    /// A device appeared on the bus, or failed to.
    pub(crate) fn vdpa_dev_add(name: &CStr, device_id: u32, nvqs: u32, ret: i32);

    /// A device is about to leave the bus.
    pub(crate) fn vdpa_dev_del(name: &CStr);

    /// A driver's probe ended.
    pub(crate) fn vdpa_dev_probe(name: &CStr, driver: &CStr, ret: i32);

    /// A netlink command, or one step of a dump, ended.
    pub(crate) fn vdpa_nl_cmd(cmd: u8, dump: bool, ret: i32);
}

/// A result as C tells it.
pub(crate) fn errno<T>(result: &Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(e) => e.to_errno(),
    }
}
