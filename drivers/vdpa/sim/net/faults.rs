// SPDX-License-Identifier: GPL-2.0

//! Files in debugfs by which a card is made to misbehave.

use crate::{
    net::Device,
    peers::DeviceRef, //
};
use core::str::FromStr;
use kernel::{
    prelude::*,
    str::BStr, //
};
use kext::{
    attribute::{
        Attribute,
        Page, //
    },
    debugfs, //
};
use vdpasim::Model;

/// The files of a card. Dropping them waits for those who use one.
pub(crate) type Files = debugfs::Files<DeviceRef>;

/// Makes the files of a card.
pub(crate) fn files(dir: &debugfs::Dir, device: DeviceRef, name: &CStr) -> Result<Files> {
    Files::new::<(
        DropEvery,
        Delay,
        StallQueue,
        FailMaps,
        Link,
        Announce,
        ConfigChange,
        NeedsReset,
    )>(dir, name, device)
}

/// A number that was written.
fn number<T: FromStr>(text: &BStr) -> Result<T> {
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    text.trim().parse().map_err(|_| EINVAL)
}

fn switch(text: &BStr) -> Result<bool> {
    match number::<u32>(text)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(EINVAL),
    }
}

/// Waits until nobody goes on by what was true before.
fn settle(device: &Device) {
    let peer = device.model().peer.read(|peer| peer.cloned());
    let peer = peer.as_deref().map(|peer| &**peer);
    for card in [Some(device), peer].into_iter().flatten() {
        let queues = (0..).map_while(|index| card.queue(index));
        queues.for_each(vdpasim::VirtQueue::wait);
    }
    // Who could not have a queue meanwhile left it at that.
    device.model().changed(device);
}

struct DropEvery;

#[vtable]
impl Attribute<DeviceRef> for DropEvery {
    const NAME: &'static CStr = c"drop_every";

    fn show(device: &DeviceRef, page: &mut Page<'_>) -> Result {
        writeln!(page, "{}", device.model().dropped.every())
    }

    fn store(device: &DeviceRef, value: &BStr) -> Result {
        device.model().dropped.set(number(value)?);
        settle(device);
        Ok(())
    }
}

struct Delay;

#[vtable]
impl Attribute<DeviceRef> for Delay {
    const NAME: &'static CStr = c"delay_ms";

    fn show(device: &DeviceRef, page: &mut Page<'_>) -> Result {
        writeln!(page, "{}", device.faults().delay_ms())
    }

    fn store(device: &DeviceRef, value: &BStr) -> Result {
        let delay: u32 = number(value)?;
        if delay > 10_000 {
            return Err(EINVAL);
        }
        device.faults().set_delay_ms(delay);
        Ok(())
    }
}

struct StallQueue;

#[vtable]
impl Attribute<DeviceRef> for StallQueue {
    const NAME: &'static CStr = c"stall_queue";

    fn show(device: &DeviceRef, page: &mut Page<'_>) -> Result {
        match device.faults().stalled() {
            Some(queue) => writeln!(page, "{queue}"),
            None => writeln!(page, "-1"),
        }
    }

    fn store(device: &DeviceRef, value: &BStr) -> Result {
        let queue = match number::<i32>(value)? {
            -1 => None,
            queue => Some(u16::try_from(queue).map_err(|_| EINVAL)?),
        };
        if queue.is_some_and(|queue| device.queue(usize::from(queue)).is_none()) {
            return Err(EINVAL);
        }
        device.faults().stall(queue);
        settle(device);
        Ok(())
    }
}

struct FailMaps;

#[vtable]
impl Attribute<DeviceRef> for FailMaps {
    const NAME: &'static CStr = c"fail_maps";

    fn show(device: &DeviceRef, page: &mut Page<'_>) -> Result {
        writeln!(page, "{}", device.faults().failing_maps())
    }

    fn store(device: &DeviceRef, value: &BStr) -> Result {
        device.faults().fail_maps(number(value)?);
        Ok(())
    }
}

struct Link;

#[vtable]
impl Attribute<DeviceRef> for Link {
    const NAME: &'static CStr = c"link";

    fn show(device: &DeviceRef, page: &mut Page<'_>) -> Result {
        let up = device.model().read(|state| state.receiver().link_is_up);
        writeln!(page, "{}", u8::from(up))
    }

    fn store(device: &DeviceRef, value: &BStr) -> Result {
        let up = switch(value)?;
        change(device, |device| {
            let changed = device.model().change(|state| state.set_link(up));
            settle(device);
            changed
        })
    }
}

struct Announce;

#[vtable]
impl Attribute<DeviceRef> for Announce {
    const NAME: &'static CStr = c"announce";

    fn store(device: &DeviceRef, value: &BStr) -> Result {
        if !switch(value)? {
            return Err(EINVAL);
        }
        change(device, |device| {
            device.model().change(crate::model::Model::announce)
        })
    }
}

struct ConfigChange;

#[vtable]
impl Attribute<DeviceRef> for ConfigChange {
    const NAME: &'static CStr = c"config_change";

    fn store(device: &DeviceRef, value: &BStr) -> Result {
        if !switch(value)? {
            return Err(EINVAL);
        }
        change(device, |_| true)
    }
}

/// Changes the configuration, and tells the driver if it has to know.
fn change(device: &Device, f: impl FnOnce(&Device) -> bool) -> Result {
    if f(device) {
        device.interrupts().raise_config();
    }
    Ok(())
}

struct NeedsReset;

#[vtable]
impl Attribute<DeviceRef> for NeedsReset {
    const NAME: &'static CStr = c"needs_reset";

    fn store(device: &DeviceRef, value: &BStr) -> Result {
        if !switch(value)? {
            return Err(EINVAL);
        }
        device.need_reset();
        Ok(())
    }
}
