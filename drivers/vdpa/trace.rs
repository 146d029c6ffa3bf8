// SPDX-License-Identifier: GPL-2.0

//! Tracepoints: `/sys/kernel/tracing/events/vdpa`, see `include/vdpa_trace.h`.

use kernel::{
    device::Bound,
    prelude::*, //
};
use vdpa::Device;

kext::tracepoints! {
    use vdpa_bindings;

    /// A device appeared on the bus, or failed to.
    fn vdpa_dev_add(name: &CStr, device_id: u32, nvqs: u32, ret: i32);

    /// A device is about to leave the bus.
    fn vdpa_dev_del(name: &CStr);

    /// A driver's probe ended.
    fn vdpa_dev_probe(name: &CStr, driver: &CStr, ret: i32);

    /// A netlink command, or one step of a dump, ended.
    fn vdpa_nl_cmd(cmd: u8, dump: bool, ret: i32);
}

pub(crate) fn dev_add(device: &Device<Bound>, queues: u32, result: &Result) {
    if vdpa_dev_add_enabled() {
        let id = device.device_id().get();
        vdpa_dev_add(device.name(), id, queues, errno(result));
    }
}

pub(crate) fn dev_del(device: &Device) {
    if vdpa_dev_del_enabled() {
        vdpa_dev_del(device.name());
    }
}

pub(crate) fn dev_probe(device: &Device, driver: &CStr, result: &Result) {
    if vdpa_dev_probe_enabled() {
        vdpa_dev_probe(device.name(), driver, errno(result));
    }
}

pub(crate) fn nl_cmd(cmd: u8, dump: bool, result: &Result) {
    if vdpa_nl_cmd_enabled() {
        vdpa_nl_cmd(cmd, dump, errno(result));
    }
}

/// A result as C tells it.
fn errno(result: &Result) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}
