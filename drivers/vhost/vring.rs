// SPDX-License-Identifier: GPL-2.0

//! The ioctls about virtqueues, which only the owner may use.

use crate::{
    command::{
        eventfd,
        number,
        Call, //
    },
    queue::{
        base_of,
        state_of,
        Kick, //
    },
};
use kernel::prelude::*;
use kext::{
    eventfd::{
        EventFdFile,
        NewWatch,
        Watch, //
    },
    nospec::checked_index, //
};
use vdpa::{
    Asid,
    GroupId,
    QueueAddresses,
    QueueIndex, //
};
use vdpa_bindings as bindings;

/// Serves an ioctl whose argument begins with the number of a queue.
///
/// Fails with `EPERM` unless the owner calls, `EFAULT`, `ENOBUFS` if there is no such queue, `ENOTTY`
/// if the ioctl is not known, or with what is the ioctl's own.
pub(crate) fn run(call: &mut Call<'_>, command: u32) -> Result {
    call.session.owner()?;
    let [index, number]: [u32; 2] = match command {
        number::SET_VRING_NUM => call.argument.read()?,
        _ => [call.argument.read()?, 0],
    };
    if command == number::SET_GROUP_ASID {
        return call.set_group_asid();
    }
    let (index, _) = call.session.queue(index)?;
    match command {
        number::SET_VRING_NUM => call.set_size(index, number),
        number::SET_VRING_ADDR => call.set_addresses(index),
        number::SET_VRING_BASE => call.set_base(index),
        number::GET_VRING_BASE => call.get_base(index),
        number::SET_VRING_KICK => call.set_kick(index),
        number::SET_VRING_CALL => call.set_call(index),
        number::SET_VRING_ERR => call.set_error(index),
        number::SET_VRING_BUSYLOOP_TIMEOUT => call.set_busy_loop(index),
        number::GET_VRING_BUSYLOOP_TIMEOUT => {
            let (_, queue) = call.session.queue(u32::from(index.get()))?;
            let busy_loop = queue.busy_loop;
            call.answer(index, busy_loop)
        }
        number::SET_VRING_ENABLE => call.set_enable(index),
        number::GET_VRING_GROUP => {
            let group = call.device.queue_group(index).ok_or(EOPNOTSUPP)?;
            call.answer_group(index, group)
        }
        number::GET_VRING_DESC_GROUP => {
            let group = call.device.queue_descriptor_group(index);
            call.answer_group(index, group.ok_or(EOPNOTSUPP)?)
        }
        number::GET_VRING_SIZE => {
            let size = call.device.queue_size(index).ok_or(EOPNOTSUPP)?;
            call.answer(index, u32::from(size))
        }
        _ => Err(ENOTTY),
    }
}

impl Call<'_> {
    /// The second word of the argument.
    fn number(&self) -> Result<u32> {
        let [_, number]: [u32; 2] = self.argument.read()?;
        Ok(number)
    }

    /// The file descriptor in a `struct vhost_vring_file`.
    fn fd(&self) -> Result<i32> {
        Ok(i32::from_ne_bytes(self.number()?.to_ne_bytes()))
    }

    /// Writes a `struct vhost_vring_state` back.
    fn answer(&mut self, queue: QueueIndex, number: u32) -> Result {
        self.argument.answer(&[u32::from(queue.get()), number])
    }

    fn answer_group(&mut self, queue: QueueIndex, group: GroupId) -> Result {
        if group.get() >= self.device.group_count() {
            return Err(EIO);
        }
        self.answer(queue, group.get())
    }

    fn set_size(&mut self, index: QueueIndex, number: u32) -> Result {
        let size = u16::try_from(number).map_err(|_| EINVAL)?;
        if !size.is_power_of_two() || size > self.session.size_limit {
            return Err(EINVAL);
        }
        let (_, queue) = self.session.queue(u32::from(index.get()))?;
        queue.size = Some(size);
        self.device.set_queue_size(index, number);
        Ok(())
    }

    fn set_addresses(&mut self, index: QueueIndex) -> Result {
        const LOG: u32 = 1 << bindings::VHOST_VRING_F_LOG;

        // `struct vhost_vring_addr`
        let [_, flags]: [u32; 2] = self.argument.read()?;
        let [descriptors, device, driver, log]: [u64; 4] = self.argument.read_at(8)?;
        if flags & !LOG != 0 {
            return Err(EOPNOTSUPP);
        }
        if driver % 2 != 0 || device % 4 != 0 || log % 4 != 0 {
            return Err(EINVAL);
        }
        if !self.session.may_move_queues(self.device) {
            return Err(EINVAL);
        }
        let addresses = QueueAddresses {
            descriptors,
            driver,
            device,
        };
        self.device
            .set_queue_addresses(index, &addresses)
            .map_err(|_| EINVAL)?;
        let (_, queue) = self.session.queue(u32::from(index.get()))?;
        queue.addresses = Some(addresses);
        Ok(())
    }

    fn set_base(&mut self, index: QueueIndex) -> Result {
        let base = self.number()?;
        let state = state_of(base, self.session.is_packed())?;
        if !self.session.may_move_queues(self.device) {
            return Err(EINVAL);
        }
        self.device.set_queue_state(index, state)?;
        let (_, queue) = self.session.queue(u32::from(index.get()))?;
        queue.base = base;
        let [low, high, ..] = base.to_le_bytes();
        queue.position = Some(u16::from_le_bytes([low, high]));
        Ok(())
    }

    fn get_base(&mut self, index: QueueIndex) -> Result {
        let state = self.device.queue_state(index)?;
        self.answer(index, base_of(state, self.session.is_packed()))
    }

    fn set_kick(&mut self, index: QueueIndex) -> Result {
        let fd = self.fd()?;
        let (loan, hook) = (&self.shared.loan, &self.shared.hook);
        let (_, queue) = self.session.queue(u32::from(index.get()))?;
        if fd == bindings::VHOST_FILE_UNBIND {
            queue.kick = None;
            return Ok(());
        }
        let file = EventFdFile::from_fd(fd)?;
        let eventfd = file.eventfd()?;
        let is_same = |kick: &Watch<Kick>| *kick.eventfd() == eventfd;
        if queue.kick.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let watch = NewWatch::new(file, Kick::new(loan, hook, index))?;
        // The old one first, so that one kick is not taken twice.
        queue.kick = None;
        queue.kick = Some(watch.begin()?);
        Ok(())
    }

    fn set_call(&mut self, index: QueueIndex) -> Result {
        let eventfd = eventfd(self.fd()?)?;
        self.shared.signals.set_queue(self.device, index, eventfd)
    }

    fn set_error(&mut self, index: QueueIndex) -> Result {
        let eventfd = eventfd(self.fd()?)?;
        let (_, queue) = self.session.queue(u32::from(index.get()))?;
        queue.error = eventfd;
        Ok(())
    }

    fn set_busy_loop(&mut self, index: QueueIndex) -> Result {
        let busy_loop = self.number()?;
        let (_, queue) = self.session.queue(u32::from(index.get()))?;
        queue.busy_loop = busy_loop;
        Ok(())
    }

    fn set_enable(&mut self, index: QueueIndex) -> Result {
        self.device.set_queue_ready(index, self.number()? != 0);
        Ok(())
    }

    /// The first word is that of a group here. C takes it for a queue's at first, whence `ENOBUFS`; but
    /// a device may have more groups than queues.
    fn set_group_asid(&mut self) -> Result {
        let group: u32 = self.argument.read()?;
        let device = self.device;
        let groups = usize::try_from(device.group_count())?;
        let index = usize::try_from(group)?;
        let group = checked_index(index, groups).ok_or(if index < self.session.queues.len() {
            EINVAL
        } else {
            ENOBUFS
        })?;
        let asid = self.number()?;
        if asid >= device.address_space_count() {
            return Err(EINVAL);
        }
        if device.status().driver_ok() {
            return Err(EBUSY);
        }
        let (group, asid) = (GroupId::new(u32::try_from(group)?), Asid::new(asid));
        let spaces = &mut self.session.spaces;
        spaces.reserve(1, GFP_KERNEL)?;
        device.set_group_address_space(group, asid)?;
        spaces.retain(|(of, _)| *of != group);
        Ok(spaces.push((group, asid), GFP_KERNEL)?)
    }
}
