// SPDX-License-Identifier: GPL-2.0

//! The ioctls, and those that are about the device as a whole.
//!
//! Which error comes if several are due is part of the interface: checks are in the order in which C
//! makes them.

use crate::{
    argument::Argument,
    node::Shared,
    session::Session,
    trace,
    vring, //
};
use kernel::{
    device::Bound,
    ioctl::{
        _IO,
        _IOR,
        _IOW,
        _IOWR, //
    },
    prelude::*,
    transmute::FromBytes, //
};
use kext::eventfd::EventFd;
use vdpa::{
    Device,
    Features,
    Status, //
};
use vdpa_bindings as bindings;

/// An ioctl that is being served.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) device: &'a Device<Bound>,
    pub(crate) session: &'a mut Session,
    pub(crate) argument: &'a mut Argument,
}

const MAGIC: u32 = bindings::VHOST_VIRTIO;

/// How many regions a `struct vhost_memory` can have, and the size of one in bytes.
const MAX_REGIONS: u32 = 64;
const REGION: usize = size_of::<bindings::vhost_memory_region>();

/// All `VHOST_BACKEND_F_*` that vDPA devices can have.
const KNOWN: u64 = 1 << bindings::VHOST_BACKEND_F_IOTLB_MSG_V2
    | 1 << bindings::VHOST_BACKEND_F_IOTLB_BATCH
    | 1 << bindings::VHOST_BACKEND_F_IOTLB_ASID
    | 1 << bindings::VHOST_BACKEND_F_SUSPEND
    | 1 << bindings::VHOST_BACKEND_F_RESUME
    | 1 << bindings::VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK
    | 1 << bindings::VHOST_BACKEND_F_DESC_ASID
    | 1 << bindings::VHOST_BACKEND_F_IOTLB_PERSIST;

/// The numbers of the ioctls, `VHOST_*` and `VHOST_VDPA_*`.
pub(crate) mod number {
    use super::*;

    /// `struct vhost_vring_state` and `struct vhost_vring_file`.
    type State = [u32; 2];
    /// `struct vhost_vring_addr`.
    type Addresses = [u64; 5];

    pub(crate) const GET_FEATURES: u32 = _IOR::<u64>(MAGIC, 0x00);
    pub(crate) const SET_FEATURES: u32 = _IOW::<u64>(MAGIC, 0x00);
    pub(crate) const SET_OWNER: u32 = _IO(MAGIC, 0x01);
    pub(crate) const SET_MEM_TABLE: u32 = _IOW::<u64>(MAGIC, 0x03);
    pub(crate) const SET_LOG_BASE: u32 = _IOW::<u64>(MAGIC, 0x04);
    pub(crate) const SET_LOG_FD: u32 = _IOW::<i32>(MAGIC, 0x07);
    pub(crate) const SET_VRING_NUM: u32 = _IOW::<State>(MAGIC, 0x10);
    pub(crate) const SET_VRING_ADDR: u32 = _IOW::<Addresses>(MAGIC, 0x11);
    pub(crate) const SET_VRING_BASE: u32 = _IOW::<State>(MAGIC, 0x12);
    pub(crate) const GET_VRING_BASE: u32 = _IOWR::<State>(MAGIC, 0x12);
    pub(crate) const SET_VRING_KICK: u32 = _IOW::<State>(MAGIC, 0x20);
    pub(crate) const SET_VRING_CALL: u32 = _IOW::<State>(MAGIC, 0x21);
    pub(crate) const SET_VRING_ERR: u32 = _IOW::<State>(MAGIC, 0x22);
    pub(crate) const SET_VRING_BUSYLOOP_TIMEOUT: u32 = _IOW::<State>(MAGIC, 0x23);
    pub(crate) const GET_VRING_BUSYLOOP_TIMEOUT: u32 = _IOW::<State>(MAGIC, 0x24);
    pub(crate) const SET_BACKEND_FEATURES: u32 = _IOW::<u64>(MAGIC, 0x25);
    pub(crate) const GET_BACKEND_FEATURES: u32 = _IOR::<u64>(MAGIC, 0x26);
    pub(crate) const GET_DEVICE_ID: u32 = _IOR::<u32>(MAGIC, 0x70);
    pub(crate) const GET_STATUS: u32 = _IOR::<u8>(MAGIC, 0x71);
    pub(crate) const SET_STATUS: u32 = _IOW::<u8>(MAGIC, 0x72);
    pub(crate) const GET_CONFIG: u32 = _IOR::<State>(MAGIC, 0x73);
    pub(crate) const SET_CONFIG: u32 = _IOW::<State>(MAGIC, 0x74);
    pub(crate) const SET_VRING_ENABLE: u32 = _IOW::<State>(MAGIC, 0x75);
    pub(crate) const GET_VRING_NUM: u32 = _IOR::<u16>(MAGIC, 0x76);
    pub(crate) const SET_CONFIG_CALL: u32 = _IOW::<i32>(MAGIC, 0x77);
    pub(crate) const GET_IOVA_RANGE: u32 = _IOR::<[u64; 2]>(MAGIC, 0x78);
    pub(crate) const GET_CONFIG_SIZE: u32 = _IOR::<u32>(MAGIC, 0x79);
    pub(crate) const GET_AS_NUM: u32 = _IOR::<u32>(MAGIC, 0x7a);
    pub(crate) const GET_VRING_GROUP: u32 = _IOWR::<State>(MAGIC, 0x7b);
    pub(crate) const SET_GROUP_ASID: u32 = _IOW::<State>(MAGIC, 0x7c);
    pub(crate) const SUSPEND: u32 = _IO(MAGIC, 0x7d);
    pub(crate) const RESUME: u32 = _IO(MAGIC, 0x7e);
    pub(crate) const GET_VRING_DESC_GROUP: u32 = _IOWR::<State>(MAGIC, 0x7f);
    pub(crate) const GET_VQS_COUNT: u32 = _IOR::<u32>(MAGIC, 0x80);
    pub(crate) const GET_GROUP_NUM: u32 = _IOR::<u32>(MAGIC, 0x81);
    pub(crate) const GET_VRING_SIZE: u32 = _IOWR::<State>(MAGIC, 0x82);
    pub(crate) const SET_FORK_FROM_OWNER: u32 = _IOW::<u8>(MAGIC, 0x84);
    pub(crate) const GET_FORK_FROM_OWNER: u32 = _IOR::<u8>(MAGIC, 0x85);
}

/// Serves an ioctl. Fails with `ENODEV` if the device was revoked.
pub(crate) fn run(shared: &Shared, command: u32, argument: usize) -> Result<isize> {
    let mut argument = Argument::new(argument, command);
    if let Some(len) = tail_len(shared, command, &argument) {
        argument.fetch_tail(len);
    }
    let result = serve(shared, command, &mut argument).and_then(|()| argument.finish());
    trace::ioctl(&shared.loan, command, &result);
    result.map(|()| 0)
}

fn serve(shared: &Shared, command: u32, argument: &mut Argument) -> Result {
    let device = shared.loan.get().ok_or(ENODEV)?;
    let mut session = shared.session.lock();
    let mut call = Call {
        shared,
        device: &device,
        session: (*session).as_mut().ok_or(ENODEV)?,
        argument,
    };
    call.run(command)
}

/// The length of what the user appends to the argument, if that makes sense.
fn tail_len(shared: &Shared, command: u32, argument: &Argument) -> Option<usize> {
    let [first, second]: [u32; 2] = argument.read().ok()?;
    match command {
        number::SET_CONFIG => {
            let len = usize::try_from(second).ok()?;
            let size = shared.loan.get()?.config_size();
            (len <= size).then_some(len)
        }
        number::SET_MEM_TABLE if first <= MAX_REGIONS => {
            Some(usize::try_from(first).ok()?.checked_mul(REGION)?)
        }
        _ => None,
    }
}

impl Call<'_> {
    fn run(&mut self, command: u32) -> Result {
        let device = self.device;
        let argument = &mut *self.argument;
        match command {
            number::GET_DEVICE_ID => argument.answer(&device.device_id().get()),
            number::GET_STATUS => argument.answer(&device.status().bits()),
            number::SET_STATUS => self.set_status(),
            number::GET_CONFIG => self.get_config(),
            number::SET_CONFIG => self.set_config(),
            number::GET_FEATURES => argument.answer(&device.device_features().bits()),
            number::SET_FEATURES => self.set_features(),
            number::GET_BACKEND_FEATURES => {
                let offer = self.backend_offer();
                self.argument.answer(&offer.bits())
            }
            number::SET_BACKEND_FEATURES => self.set_backend_features(),
            number::GET_VRING_NUM => argument.answer(&device.max_queue_size()),
            number::GET_GROUP_NUM => argument.answer(&device.group_count()),
            number::GET_AS_NUM => argument.answer(&device.address_space_count()),
            number::GET_VQS_COUNT => argument.answer(&device.queue_count()),
            number::GET_CONFIG_SIZE => {
                argument.answer(&u32::try_from(device.config_size()).unwrap_or(u32::MAX))
            }
            number::GET_IOVA_RANGE => {
                let range = self.session.memory.range();
                argument.answer(&[range.first, range.last])
            }
            number::SET_CONFIG_CALL => self.set_config_call(),
            number::SUSPEND => self.suspend(),
            number::RESUME => self.resume(),
            number::SET_OWNER => self.session.own(device),
            number::SET_FORK_FROM_OWNER => self.set_fork_from_owner(),
            number::GET_FORK_FROM_OWNER => argument.answer(&self.session.fork_owner),
            // Devices do not log what they write.
            number::SET_LOG_BASE | number::SET_LOG_FD => Err(ENOTTY),
            number::SET_MEM_TABLE => self.set_mem_table(),
            _ => vring::run(self, command),
        }
    }

    fn set_status(&mut self) -> Result {
        let status = Status::from_bits(self.argument.read()?);
        let before = self.device.status();
        trace::status(&self.shared.loan, before, status);
        if status == Status::RESET {
            self.shared.hook.set_kick_data(false);
            self.session.reset(self.device, &self.shared.signals)?;
            self.shared.signals.renew_config(self.device);
            self.shared.forget_breakage();
            return Ok(());
        }
        if !status.contains(before) {
            return Err(EINVAL);
        }
        self.device.set_status(status);
        if status.driver_ok() && !before.driver_ok() {
            self.shared.signals.offer_interrupts(self.device);
        }
        Ok(())
    }

    /// The range that `struct vhost_vdpa_config` names, if the configuration space has it.
    fn config_range(&self) -> Result<(u32, u32)> {
        let [offset, len]: [u32; 2] = self.argument.read()?;
        let end = u64::from(offset) + u64::from(len);
        if len == 0 || end > u64::try_from(self.device.config_size())? {
            return Err(EINVAL);
        }
        Ok((offset, len))
    }

    fn get_config(&mut self) -> Result {
        let (offset, len) = self.config_range()?;
        let mut bytes = KVVec::from_elem(0u8, usize::try_from(len)?, GFP_KERNEL)?;
        self.device.read_config(offset, &mut bytes)?;
        self.argument.answer_tail(bytes);
        Ok(())
    }

    fn set_config(&mut self) -> Result {
        let (offset, _) = self.config_range()?;
        let bytes = self.argument.tail()?;
        self.device.write_config(offset, &bytes)
    }

    fn set_features(&mut self) -> Result {
        if self.device.status().features_ok() {
            return Err(EBUSY);
        }
        let features = Features::from_bits(self.argument.read()?);
        self.device
            .set_driver_features(features)
            .map_err(|_| EINVAL)?;
        let features = self.device.driver_features();
        self.session.features = features;
        let data = features.has(bindings::VIRTIO_F_NOTIFICATION_DATA);
        let hook = &self.shared.hook;
        // Only of pages that are pinned is it known where drivers are.
        hook.set_kick_data(data && self.device.takes_kick_data() && !self.device.uses_va());
        Ok(())
    }

    /// What this and the parent offer beyond virtio.
    fn backend_offer(&self) -> Features {
        let device = self.device;
        // Whether there is an operation for something, is seen.
        let by_operation = Features::bit(bindings::VHOST_BACKEND_F_SUSPEND)
            .union(Features::bit(bindings::VHOST_BACKEND_F_RESUME))
            .union(Features::bit(bindings::VHOST_BACKEND_F_DESC_ASID));
        let parent = Features::from_bits(device.backend_features().unwrap_or(0));
        let parent = parent.without(by_operation);
        let persistent = bindings::VHOST_BACKEND_F_IOTLB_PERSIST;
        let keeps_maps =
            device.uses_platform_iommu() || device.has_reset_map() || parent.has(persistent);
        [
            (bindings::VHOST_BACKEND_F_IOTLB_MSG_V2, true),
            (bindings::VHOST_BACKEND_F_IOTLB_BATCH, true),
            (bindings::VHOST_BACKEND_F_IOTLB_ASID, true),
            (bindings::VHOST_BACKEND_F_SUSPEND, device.can_suspend()),
            (bindings::VHOST_BACKEND_F_RESUME, device.can_resume()),
            (
                bindings::VHOST_BACKEND_F_DESC_ASID,
                device.has_descriptor_groups(),
            ),
            (persistent, keeps_maps),
        ]
        .into_iter()
        .filter(|(_, offered)| *offered)
        .fold(parent, |offer, (bit, _)| offer.union(Features::bit(bit)))
    }

    /// Only what is offered can be accepted. (C takes `ENABLE_AFTER_DRIVER_OK` from anybody.)
    fn set_backend_features(&mut self) -> Result {
        let wanted = Features::from_bits(self.argument.read()?);
        let descriptors = wanted.has(bindings::VHOST_BACKEND_F_DESC_ASID);
        let offer = self.backend_offer();
        let others = Features::bit(bindings::VHOST_BACKEND_F_DESC_ASID)
            .union(Features::bit(bindings::VHOST_BACKEND_F_IOTLB_PERSIST));
        // A parent may know of more than this does.
        let unknown = !wanted.without(Features::from_bits(KNOWN)).is_empty();
        if unknown || !wanted.without(offer).without(others).is_empty() {
            return Err(EOPNOTSUPP);
        }
        if descriptors && !wanted.has(bindings::VHOST_BACKEND_F_IOTLB_ASID) {
            return Err(EINVAL);
        }
        if !wanted.without(offer).is_empty() {
            return Err(EOPNOTSUPP);
        }
        self.session.backend = wanted;
        Ok(())
    }

    fn set_config_call(&self) -> Result {
        let eventfd = eventfd(self.argument.read()?)?;
        self.shared.signals.set_config(self.device, eventfd)
    }

    fn suspend(&mut self) -> Result {
        if self.device.status().driver_ok() {
            self.device.suspend()?;
            self.session.suspended = true;
        }
        Ok(())
    }

    fn resume(&mut self) -> Result {
        if self.device.status().driver_ok() {
            self.device.resume()?;
            self.session.suspended = false;
        }
        Ok(())
    }

    /// Nobody here forks, but who sets it can read it.
    fn set_fork_from_owner(&mut self) -> Result {
        if self.session.has_owner() {
            return Err(EBUSY);
        }
        let fork_owner = self.argument.read()?;
        if fork_owner > 1u8 {
            return Err(EINVAL);
        }
        self.session.fork_owner = fork_owner;
        Ok(())
    }

    /// Checked, and not used: devices are told of memory by messages.
    fn set_mem_table(&mut self) -> Result {
        self.session.owner()?;
        let [count, padding]: [u32; 2] = self.argument.read()?;
        if padding != 0 {
            return Err(EOPNOTSUPP);
        }
        if count > MAX_REGIONS {
            return Err(E2BIG);
        }
        for region in self.argument.tail()?.chunks_exact(REGION) {
            let [guest, bytes, _, _] = <[u64; 4]>::from_bytes_copy(region).ok_or(EFAULT)?;
            let last = bytes.wrapping_sub(1).wrapping_add(guest);
            if last < guest {
                return Err(EFAULT);
            }
        }
        Ok(())
    }
}

/// The eventfd that a user names; -1 stands for none.
pub(crate) fn eventfd(fd: i32) -> Result<Option<EventFd>> {
    if fd == bindings::VHOST_FILE_UNBIND {
        return Ok(None);
    }
    EventFd::from_fd(fd).map(Some)
}
