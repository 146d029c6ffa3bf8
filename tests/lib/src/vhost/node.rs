// SPDX-License-Identifier: GPL-2.0
//! An open `/dev/vhost-vdpa-N` and its ioctls.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use crate::errno::Errno;
use crate::sys;
use crate::vhost::ioctl::{self, ioctl};
use crate::vhost::iotlb::{Message, Perm};
use crate::vhost::memory::Area;
use crate::vhost::EventFd;
use crate::withheld::Withheld;

/// Bits of the status of a device.
pub mod status {
    use virtio_bindings::virtio_config as config;

    pub const ACKNOWLEDGE: u8 = config::VIRTIO_CONFIG_S_ACKNOWLEDGE as u8;
    pub const DRIVER: u8 = config::VIRTIO_CONFIG_S_DRIVER as u8;
    pub const DRIVER_OK: u8 = config::VIRTIO_CONFIG_S_DRIVER_OK as u8;
    pub const FEATURES_OK: u8 = config::VIRTIO_CONFIG_S_FEATURES_OK as u8;
    pub const NEEDS_RESET: u8 = config::VIRTIO_CONFIG_S_NEEDS_RESET as u8;
    pub const FAILED: u8 = config::VIRTIO_CONFIG_S_FAILED as u8;

    /// Features are negotiated.
    pub const NEGOTIATED: u8 = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    pub const RUNNING: u8 = NEGOTIATED | DRIVER_OK;
}

/// Features of the backend, that is, of vhost-vdpa and the device's driver.
pub mod backend {
    pub const IOTLB_MSG_V2: u64 = 1 << 1;
    pub const IOTLB_BATCH: u64 = 1 << 2;
    pub const IOTLB_ASID: u64 = 1 << 3;
    pub const SUSPEND: u64 = 1 << 4;
    pub const RESUME: u64 = 1 << 5;
    pub const ENABLE_AFTER_DRIVER_OK: u64 = 1 << 6;
    pub const DESC_ASID: u64 = 1 << 7;
    pub const IOTLB_PERSIST: u64 = 1 << 8;

    /// What QEMU takes.
    pub const USUAL: u64 = IOTLB_MSG_V2 | IOTLB_BATCH | IOTLB_ASID | SUSPEND | RESUME;
}

/// Where the three parts of a virtqueue are, for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingAddress {
    pub desc: u64,
    pub driver: u64,
    pub device: u64,
}

/// An open node. Indexes are those of queues.
#[derive(Debug)]
pub struct Node(File);

type Result<T> = std::result::Result<T, Errno>;

impl Node {
    /// The path of the node of a device that vhost_vdpa has.
    #[track_caller]
    pub fn path(device: &str) -> String {
        let folder = sys::device_path(device);
        let nodes: Vec<_> = sys::list(folder.to_str().unwrap())
            .into_iter()
            .filter(|n| n.starts_with("vhost-vdpa-"))
            .collect();
        assert_eq!(nodes.len(), 1, "folders vhost-vdpa-N: {nodes:?}");
        let path = format!("/dev/{}", nodes[0]);
        sys::wait_for("the node", || std::fs::exists(&path).unwrap());
        path
    }

    pub fn try_open(path: &str) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        Ok(Node(file.map_err(|e| Errno::from(&e))?))
    }

    #[track_caller]
    pub fn open(device: &str) -> Self {
        let path = Self::path(device);
        Self::try_open(&path).unwrap_or_else(|e| panic!("{path}: {e:?}"))
    }

    /// The same open node, for another thread.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Node(self.0.try_clone()?))
    }

    /// A request of the test's own.
    pub fn ioctl<T: ioctl::Argument>(&self, request: ioctl::Request<T>, value: T) -> Result<T> {
        ioctl(&self.0, request, value)
    }

    /// A request whose argument is not there.
    pub fn ioctl_nowhere(&self, number: u64) -> Result<()> {
        ioctl::ioctl_nowhere(&self.0, number)
    }

    /// A request whose argument comes later.
    pub fn ioctl_withheld(&self, number: u64, page: &Withheld) -> Result<()> {
        ioctl::ioctl_withheld(&self.0, number, page)
    }

    fn get<T: ioctl::Argument + Default>(&self, request: ioctl::Request<T>) -> Result<T> {
        ioctl(&self.0, request, T::default())
    }

    fn set<T: ioctl::Argument>(&self, request: ioctl::Request<T>, value: T) -> Result<()> {
        ioctl(&self.0, request, value).map(|_| ())
    }

    fn set_state(
        &self,
        request: ioctl::Request<ioctl::VringState>,
        index: u32,
        num: u32,
    ) -> Result<()> {
        self.set(request, ioctl::VringState { index, num })
    }

    fn get_state(&self, request: ioctl::Request<ioctl::VringState>, index: u32) -> Result<u32> {
        let state = ioctl(&self.0, request, ioctl::VringState { index, num: 0 })?;
        Ok(state.num)
    }

    pub fn set_owner(&self) -> Result<()> {
        self.set(ioctl::SET_OWNER, ())
    }

    pub fn features(&self) -> Result<u64> {
        self.get(ioctl::GET_FEATURES)
    }

    pub fn set_features(&self, features: u64) -> Result<()> {
        self.set(ioctl::SET_FEATURES, features)
    }

    pub fn backend_features(&self) -> Result<u64> {
        self.get(ioctl::GET_BACKEND_FEATURES)
    }

    pub fn set_backend_features(&self, features: u64) -> Result<()> {
        self.set(ioctl::SET_BACKEND_FEATURES, features)
    }

    pub fn device_id(&self) -> Result<u32> {
        self.get(ioctl::GET_DEVICE_ID)
    }

    pub fn status(&self) -> Result<u8> {
        self.get(ioctl::GET_STATUS)
    }

    pub fn set_status(&self, status: u8) -> Result<()> {
        self.set(ioctl::SET_STATUS, status)
    }

    pub fn reset(&self) -> Result<()> {
        self.set_status(0)
    }

    pub fn config_size(&self) -> Result<u32> {
        self.get(ioctl::GET_CONFIG_SIZE)
    }

    pub fn config(&self, offset: u32, len: u32) -> Result<Vec<u8>> {
        let mut argument = [offset.to_ne_bytes(), len.to_ne_bytes()].concat();
        argument.resize(8 + len as usize, 0);
        ioctl::config_ioctl(&self.0, ioctl::GET_CONFIG, &mut argument)?;
        Ok(argument.split_off(8))
    }

    pub fn set_config(&self, offset: u32, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u32;
        let mut argument = [&offset.to_ne_bytes()[..], &len.to_ne_bytes(), bytes].concat();
        ioctl::config_ioctl(&self.0, ioctl::SET_CONFIG, &mut argument)
    }

    /// The eventfd for changes of the configuration; none to take it back.
    pub fn set_config_call(&self, call: Option<&EventFd>) -> Result<()> {
        self.set(ioctl::SET_CONFIG_CALL, call.map_or(-1, AsRawFd::as_raw_fd))
    }

    /// The largest number of descriptors in a queue.
    pub fn vring_num(&self) -> Result<u16> {
        self.get(ioctl::GET_VRING_NUM)
    }

    pub fn vqs_count(&self) -> Result<u32> {
        self.get(ioctl::GET_VQS_COUNT)
    }

    pub fn group_num(&self) -> Result<u32> {
        self.get(ioctl::GET_GROUP_NUM)
    }

    pub fn as_num(&self) -> Result<u32> {
        self.get(ioctl::GET_AS_NUM)
    }

    /// The first and the last address for the device.
    pub fn iova_range(&self) -> Result<(u64, u64)> {
        let range = self.get(ioctl::GET_IOVA_RANGE)?;
        Ok((range.first, range.last))
    }

    pub fn suspend(&self) -> Result<()> {
        self.set(ioctl::SUSPEND, ())
    }

    pub fn resume(&self) -> Result<()> {
        self.set(ioctl::RESUME, ())
    }

    pub fn set_vring_num(&self, index: u32, num: u32) -> Result<()> {
        self.set_state(ioctl::SET_VRING_NUM, index, num)
    }

    pub fn set_vring_addr(&self, index: u32, address: RingAddress) -> Result<()> {
        let address = ioctl::VringAddr {
            index,
            flags: 0,
            desc: address.desc,
            avail: address.driver,
            used: address.device,
            log: 0,
        };
        self.set(ioctl::SET_VRING_ADDR, address)
    }

    /// Where the device goes on; see [`crate::vhost::Ring::base`] for the encoding.
    pub fn set_vring_base(&self, index: u32, base: u32) -> Result<()> {
        self.set_state(ioctl::SET_VRING_BASE, index, base)
    }

    pub fn vring_base(&self, index: u32) -> Result<u32> {
        self.get_state(ioctl::GET_VRING_BASE, index)
    }

    pub fn set_vring_kick(&self, index: u32, kick: Option<&EventFd>) -> Result<()> {
        let fd = kick.map_or(-1, AsRawFd::as_raw_fd);
        self.set(ioctl::SET_VRING_KICK, ioctl::VringFile { index, fd })
    }

    pub fn set_vring_call(&self, index: u32, call: Option<&EventFd>) -> Result<()> {
        let fd = call.map_or(-1, AsRawFd::as_raw_fd);
        self.set(ioctl::SET_VRING_CALL, ioctl::VringFile { index, fd })
    }

    pub fn set_vring_enable(&self, index: u32, enable: bool) -> Result<()> {
        self.set_state(ioctl::SET_VRING_ENABLE, index, enable.into())
    }

    pub fn vring_group(&self, index: u32) -> Result<u32> {
        self.get_state(ioctl::GET_VRING_GROUP, index)
    }

    pub fn vring_desc_group(&self, index: u32) -> Result<u32> {
        self.get_state(ioctl::GET_VRING_DESC_GROUP, index)
    }

    pub fn vring_size(&self, index: u32) -> Result<u32> {
        self.get_state(ioctl::GET_VRING_SIZE, index)
    }

    pub fn set_group_asid(&self, group: u32, asid: u32) -> Result<()> {
        self.set_state(ioctl::SET_GROUP_ASID, group, asid)
    }

    /// Writes bytes, which should be a message; how many were taken.
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        (&self.0).write(bytes).map_err(|e| Errno::from(&e))
    }

    /// Writes messages at once; how many bytes were taken.
    pub fn write_all(&self, asid: u32, messages: &[Message]) -> Result<usize> {
        let bytes: Vec<_> = messages.iter().flat_map(|m| m.v2(asid)).collect();
        self.write(&bytes)
    }

    /// Reads what the device reports: types and numbers.
    pub fn read_events(&self) -> Result<Vec<(u32, u32)>> {
        let mut bytes = [0; 64];
        let len = (&self.0).read(&mut bytes).map_err(|e| Errno::from(&e))?;
        let word = |w: &[u8]| u32::from_ne_bytes(w.try_into().expect("four bytes"));
        Ok(bytes[..len]
            .chunks_exact(8)
            .map(|r| (word(&r[..4]), word(&r[4..])))
            .collect())
    }

    /// `POLL*` of what there is within so many milliseconds.
    pub fn poll(&self, milliseconds: i32) -> i16 {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: One entry, which lives across the call.
        unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
        poll.revents
    }

    pub fn set_vring_err(&self, index: u32, error: Option<&EventFd>) -> Result<()> {
        let fd = error.map_or(-1, AsRawFd::as_raw_fd);
        self.set(ioctl::SET_VRING_ERR, ioctl::VringFile { index, fd })
    }

    pub fn iotlb(&self, asid: u32, message: Message) -> Result<()> {
        self.write(&message.v2(asid)).map(|_| ())
    }

    /// Lets the device at an area.
    pub fn map(&self, asid: u32, area: &Area, perm: Perm) -> Result<()> {
        let message = Message::Update {
            iova: area.iova(),
            size: area.len() as u64,
            uaddr: area.uaddr(),
            perm,
        };
        self.iotlb(asid, message)
    }

    pub fn unmap(&self, asid: u32, iova: u64, size: u64) -> Result<()> {
        self.iotlb(asid, Message::Invalidate { iova, size })
    }

    /// Runs `body` between the two messages of a batch.
    pub fn batch(&self, asid: u32, body: impl FnOnce() -> Result<()>) -> Result<()> {
        self.iotlb(asid, Message::BatchBegin)?;
        let result = body();
        self.iotlb(asid, Message::BatchEnd)?;
        result
    }
}

impl AsRawFd for Node {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
