// SPDX-License-Identifier: GPL-2.0

//! The bus type: which driver gets a device, and what happens when it does.

use crate::{
    life,
    trace, //
};
use kernel::{
    device::{
        Bound,
        CoreInternal, //
    },
    prelude::*,
    str::CString, //
};
use kext::bus::{
    BusType,
    Override,
    UeventEnv, //
};
use vdpa::{
    bus::{
        self,
        BoundDriver,
        Bus, //
    },
    Device,
    Status, //
};

/// The bus `vdpa`.
pub(crate) static BUS: BusType = bus::bus_type::<VdpaBus>(c"vdpa");

pub(crate) struct VdpaBus;

impl Bus for VdpaBus {
    /// Any driver serves any device, unless the user said which one.
    fn matches(_device: &Device, user: Override) -> bool {
        user != Override::Differs
    }

    /// Fails with `EINVAL` for a device that takes no size of queue at all, or with the error of
    /// the DMA layer or of the driver.
    fn probe(device: &Device<CoreInternal<'_>>) -> Result {
        bus::set_dma_mask(device)?;
        let (min, max) = (device.min_queue_size(), device.max_queue_size());
        if max < min {
            dev_err!(
                device,
                "the largest queue size, {max}, is below the smallest, {min}\n"
            );
            return Err(EINVAL);
        }
        let Some(driver) = BoundDriver::of(device) else {
            return Ok(());
        };
        let result = driver.probe();
        trace::dev_probe(device, driver.name(), &result);
        result
    }

    fn remove(device: &Device<CoreInternal<'_>>) {
        if let Some(driver) = BoundDriver::of(device) {
            driver.remove();
        }
    }

    /// A device that was in use must not touch memory any more: it is reset.
    ///
    /// (C does nothing here: a device in a guest's hands goes on with DMA while the next kernel
    /// starts.) A parent in user space, as those of VDUSE, has the time that it was given for an
    /// answer.
    fn shutdown(device: &Device<CoreInternal<'_>>) {
        let Some(driver) = BoundDriver::of(device) else {
            return;
        };
        driver.shutdown();
        if device.status() != Status::RESET {
            if let Err(e) = device.reset() {
                dev_err!(device, "reset at shutdown failed: {}\n", e.to_errno());
            }
        }
    }

    fn uevent(device: &Device<Bound>, env: &mut UeventEnv) -> Result {
        let alias = CString::try_from_fmt(fmt!(
            "MODALIAS=vdpa:d{:08X}v{:08X}",
            device.device_id().get(),
            device.vendor_id()
        ))?;
        env.add(&alias)
    }

    fn freed(index: u32) {
        life::freed(index);
    }
}
