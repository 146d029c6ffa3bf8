// SPDX-License-Identifier: GPL-2.0

//! Tracepoints: `/sys/kernel/tracing/events/vhost_vdpa`, see `include/vhost_vdpa_trace.h`.

use kernel::prelude::*;
use vdpa::{
    Asid,
    Loan,
    QueueIndex,
    Status, //
};
use vhost::Update;

kext::tracepoints! {
    use vdpa_bindings;

    /// An ioctl ended.
    fn vhost_vdpa_ioctl(name: &CStr, cmd: u32, ret: i32);

    /// Memory was mapped, or could not be.
    fn vhost_vdpa_map(
        name: &CStr,
        asid: u32,
        iova: u64,
        size: u64,
        uaddr: u64,
        perm: u32,
        ret: i32,
    );

    /// Memory was unmapped.
    fn vhost_vdpa_unmap(name: &CStr, asid: u32, iova: u64, size: u64, ret: i32);

    /// The user kicked a queue.
    fn vhost_vdpa_kick(name: &CStr, queue: u16);

    /// The device interrupted for a queue.
    fn vhost_vdpa_call(name: &CStr, queue: u16);

    /// The user set the status.
    fn vhost_vdpa_status(name: &CStr, from: u8, to: u8);
}

pub(crate) fn ioctl(loan: &Loan, command: u32, result: &Result) {
    if vhost_vdpa_ioctl_enabled() {
        vhost_vdpa_ioctl(loan.name(), command, errno(result));
    }
}

pub(crate) fn map(loan: &Loan, asid: Asid, update: &Update, result: &Result) {
    if vhost_vdpa_map_enabled() {
        vhost_vdpa_map(
            loan.name(),
            asid.get(),
            update.iova,
            update.size,
            update.uaddr,
            update.permissions.bits(),
            errno(result),
        );
    }
}

pub(crate) fn unmap(loan: &Loan, asid: Asid, iova: u64, size: u64, result: &Result) {
    if vhost_vdpa_unmap_enabled() {
        vhost_vdpa_unmap(loan.name(), asid.get(), iova, size, errno(result));
    }
}

pub(crate) fn kick(loan: &Loan, queue: QueueIndex) {
    if vhost_vdpa_kick_enabled() {
        vhost_vdpa_kick(loan.name(), queue.get());
    }
}

pub(crate) fn call(loan: &Loan, queue: QueueIndex) {
    if vhost_vdpa_call_enabled() {
        vhost_vdpa_call(loan.name(), queue.get());
    }
}

pub(crate) fn status(loan: &Loan, from: Status, to: Status) {
    if vhost_vdpa_status_enabled() {
        vhost_vdpa_status(loan.name(), from.bits(), to.bits());
    }
}

/// A result as C tells it.
fn errno(result: &Result) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}
