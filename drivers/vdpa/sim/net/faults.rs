// SPDX-License-Identifier: GPL-2.0

//! Files in debugfs by which a card is made to misbehave.

use crate::{
    net::Device,
    peers::DeviceRef, //
};
use core::{
    convert::Infallible,
    str::FromStr, //
};
use kernel::{
    debugfs::{
        Dir,
        Scope, //
    },
    fmt,
    prelude::*,
    str::CStr,
    uaccess::UserSliceReader, //
};

/// The files of a card. Dropping them waits for those who use one.
pub(crate) type Files = Pin<KBox<Scope<DeviceRef>>>;

/// Makes the files of a card.
pub(crate) fn files(dir: &Dir, device: DeviceRef, name: &CStr) -> Result<Files> {
    let scope = dir.scope::<_, Infallible, _>(device, name, |device, dir| {
        dir.read_write_callback_file(c"drop_every", device, &show_drop, &store_drop);
        dir.read_write_callback_file(c"delay_ms", device, &show_delay, &store_delay);
        dir.read_write_callback_file(c"stall_queue", device, &show_stall, &store_stall);
        dir.read_write_callback_file(c"fail_maps", device, &show_maps, &store_maps);
        dir.read_write_callback_file(c"link", device, &show_link, &store_link);
        dir.write_only_callback_file(c"announce", device, &store_announce);
        dir.write_only_callback_file(c"config_change", device, &store_config);
        dir.write_only_callback_file(c"needs_reset", device, &store_reset);
    });
    KBox::pin_init(scope, GFP_KERNEL)
}

/// A number that was written.
fn number<T: FromStr>(from: &mut UserSliceReader) -> Result<T> {
    let mut text = [0; 16];
    let len = from.len();
    let text = text.get_mut(..len).ok_or(EINVAL)?;
    from.read_slice(text)?;
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    text.trim().parse().map_err(|_| EINVAL)
}

fn switch(from: &mut UserSliceReader) -> Result<bool> {
    match number::<u32>(from)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(EINVAL),
    }
}

fn show_drop(device: &DeviceRef, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{}", device.model().dropped.every())
}

fn store_drop(device: &DeviceRef, from: &mut UserSliceReader) -> Result {
    device.model().dropped.set(number(from)?);
    Ok(())
}

fn show_delay(device: &DeviceRef, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{}", device.faults().delay_ms())
}

fn store_delay(device: &DeviceRef, from: &mut UserSliceReader) -> Result {
    let delay: u32 = number(from)?;
    if delay > 10_000 {
        return Err(EINVAL);
    }
    device.faults().set_delay_ms(delay);
    Ok(())
}

fn show_stall(device: &DeviceRef, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match device.faults().stalled() {
        Some(queue) => writeln!(f, "{queue}"),
        None => writeln!(f, "-1"),
    }
}

fn store_stall(device: &DeviceRef, from: &mut UserSliceReader) -> Result {
    let queue = match number::<i32>(from)? {
        -1 => None,
        queue => Some(u16::try_from(queue).map_err(|_| EINVAL)?),
    };
    if queue.is_some_and(|queue| device.queue(usize::from(queue)).is_none()) {
        return Err(EINVAL);
    }
    device.faults().stall(queue);
    device.schedule_all();
    device.model().schedule_all_senders(device);
    Ok(())
}

fn show_maps(device: &DeviceRef, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{}", device.faults().failing_maps())
}

fn store_maps(device: &DeviceRef, from: &mut UserSliceReader) -> Result {
    device.faults().fail_maps(number(from)?);
    Ok(())
}

fn show_link(device: &DeviceRef, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let up = device.model().read(|state| state.receiver().link_is_up);
    writeln!(f, "{}", u8::from(up))
}

fn store_link(device: &DeviceRef, from: &mut UserSliceReader) -> Result {
    let up = switch(from)?;
    change(device, |device| {
        device.model().change(|state| state.set_link(up))
    })
}

fn store_announce(device: &DeviceRef, from: &mut UserSliceReader) -> Result {
    if !switch(from)? {
        return Err(EINVAL);
    }
    change(device, |device| {
        device.model().change(crate::model::Model::announce)
    })
}

fn store_config(device: &DeviceRef, from: &mut UserSliceReader) -> Result {
    if !switch(from)? {
        return Err(EINVAL);
    }
    change(device, |_| true)
}

/// Changes the configuration, and tells the driver if it has to know.
fn change(device: &Device, f: impl FnOnce(&Device) -> bool) -> Result {
    if f(device) {
        device.interrupts().raise_config();
    }
    Ok(())
}

fn store_reset(device: &DeviceRef, from: &mut UserSliceReader) -> Result {
    if !switch(from)? {
        return Err(EINVAL);
    }
    device.need_reset();
    Ok(())
}
