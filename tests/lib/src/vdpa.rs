// SPDX-License-Identifier: GPL-2.0
//! The generic netlink family "vdpa".

use crate::errno::Errno;
use crate::genl::{Ack, Answer, Family, Reply};
use crate::nl::*;
use crate::sys;

pub const CMD_MGMTDEV_NEW: u8 = 1;
pub const CMD_MGMTDEV_GET: u8 = 2;
pub const CMD_DEV_NEW: u8 = 3;
pub const CMD_DEV_DEL: u8 = 4;
pub const CMD_DEV_GET: u8 = 5;
pub const CMD_DEV_CONFIG_GET: u8 = 6;
pub const CMD_DEV_VSTATS_GET: u8 = 7;
pub const CMD_DEV_ATTR_SET: u8 = 8;

pub const BUS_NAME: u16 = 1;
pub const MGMT_NAME: u16 = 2;
pub const CLASSES: u16 = 3;
pub const DEV_NAME: u16 = 4;
pub const DEV_ID: u16 = 5;
pub const VENDOR_ID: u16 = 6;
pub const MAX_VQS: u16 = 7;
pub const MAX_VQ_SIZE: u16 = 8;
pub const MIN_VQ_SIZE: u16 = 9;
pub const MAC: u16 = 10;
pub const NET_STATUS: u16 = 11;
pub const MAX_VQP: u16 = 12;
pub const MTU: u16 = 13;
pub const NEGOTIATED: u16 = 14;
pub const MGMT_MAX_VQS: u16 = 15;
pub const SUPPORTED_FEATURES: u16 = 16;
pub const QUEUE_INDEX: u16 = 17;
pub const STAT_NAME: u16 = 18;
pub const STAT_VALUE: u16 = 19;
pub const FEATURES: u16 = 20;
pub const BLK_CAPACITY: u16 = 21;
pub const BLK_SIZE_MAX: u16 = 22;
pub const BLK_BLK_SIZE: u16 = 23;
pub const BLK_SEG_MAX: u16 = 24;
pub const BLK_NUM_QUEUES: u16 = 25;
pub const BLK_PHY_BLK_EXP: u16 = 26;
pub const BLK_ALIGN_OFFSET: u16 = 27;
pub const BLK_MIN_IO_SIZE: u16 = 28;
pub const BLK_OPT_IO_SIZE: u16 = 29;
pub const BLK_MAX_DISCARD_SEC: u16 = 30;
pub const BLK_MAX_DISCARD_SEG: u16 = 31;
pub const BLK_DISCARD_SEC_ALIGN: u16 = 32;
pub const BLK_MAX_WZ_SEC: u16 = 33;
pub const BLK_MAX_WZ_SEG: u16 = 34;
pub const BLK_READ_ONLY: u16 = 35;
pub const BLK_FLUSH: u16 = 36;
pub const ATTR_MAX: u16 = 37;

pub const ID_NET: u32 = 1;
pub const ID_BLOCK: u32 = 2;
pub const ID_FS: u32 = 26;

/// VERSION_1 and ACCESS_PLATFORM: what a test device offers if not told otherwise.
pub const BASE_FEATURES: u64 = (1 << 32) | (1 << 33);

/// A socket and the family's number.
pub struct Vdpa {
    pub socket: Socket,
    pub family: Family,
}

impl Default for Vdpa {
    fn default() -> Self {
        Self::new()
    }
}

impl Vdpa {
    /// Loads the bus if need be.
    pub fn new() -> Self {
        sys::modprobe("vdpa");
        let family = Family::find("vdpa").unwrap_or_else(|e| panic!("family vdpa: {e:?}"));
        Vdpa {
            socket: Socket::new(),
            family,
        }
    }

    /// A request that wants an acknowledgement.
    pub fn msg(&self, cmd: u8) -> Msg {
        Msg::genl(self.family.id, NLM_F_REQUEST | NLM_F_ACK, cmd, 1)
    }

    pub fn dump_msg(&self, cmd: u8) -> Msg {
        Msg::genl(
            self.family.id,
            NLM_F_REQUEST | NLM_F_ACK | NLM_F_DUMP,
            cmd,
            1,
        )
    }

    pub fn request(&mut self, msg: &Msg) -> Answer {
        self.socket.request(msg)
    }

    pub fn ack(&mut self, msg: &Msg) -> Ack {
        let answer = self.request(msg);
        assert!(answer.replies.is_empty(), "a reply where none was expected");
        answer.ack
    }

    pub fn dump(&mut self, cmd: u8) -> Vec<Reply> {
        let msg = self.dump_msg(cmd);
        self.request(&msg).all()
    }

    /// A request about a device.
    pub fn about(&self, cmd: u8, device: &str) -> Msg {
        self.msg(cmd).attr_str(DEV_NAME, device)
    }

    pub fn new_msg(&self, mgmt: &str, device: &str) -> Msg {
        let msg = self.about(CMD_DEV_NEW, device);
        match mgmt.split_once('/') {
            Some((bus, name)) => msg.attr_str(BUS_NAME, bus).attr_str(MGMT_NAME, name),
            None => msg.attr_str(MGMT_NAME, mgmt),
        }
    }

    #[track_caller]
    pub fn add(&mut self, mgmt: &str, device: &str) -> Device {
        let msg = self.new_msg(mgmt, device);
        self.add_by(&msg, device)
    }

    /// Adds a device by a message of the test's own.
    #[track_caller]
    pub fn add_by(&mut self, msg: &Msg, device: &str) -> Device {
        self.ack(msg).expect_ok();
        Device(device.to_string())
    }

    pub fn try_del(&mut self, device: &str) -> Ack {
        let msg = self.about(CMD_DEV_DEL, device);
        self.ack(&msg)
    }

    #[track_caller]
    pub fn del(&mut self, device: &str) {
        self.try_del(device).expect_ok();
    }

    #[track_caller]
    pub fn get(&mut self, device: &str) -> Reply {
        let msg = self.about(CMD_DEV_GET, device);
        self.request(&msg).one()
    }

    #[track_caller]
    pub fn config(&mut self, device: &str) -> Reply {
        let msg = self.about(CMD_DEV_CONFIG_GET, device);
        self.request(&msg).one()
    }

    /// The statistics of a queue, with their names, in the order in which they come.
    #[track_caller]
    pub fn stats(&mut self, device: &str, queue: u32) -> Vec<(String, u64)> {
        let msg = self.about(CMD_DEV_VSTATS_GET, device);
        let reply = self
            .request(&msg.attr(QUEUE_INDEX, &queue.to_ne_bytes()))
            .one();
        let of = |kind| reply.attrs.iter().filter(move |a| a.kind == kind);
        let names = of(STAT_NAME).map(|a| a.str());
        names.zip(of(STAT_VALUE).map(|a| a.u64())).collect()
    }

    #[track_caller]
    pub fn stat(&mut self, device: &str, queue: u32, name: &str) -> u64 {
        let stats = self.stats(device, queue);
        let found = stats.iter().find(|s| s.0 == name);
        found.unwrap_or_else(|| panic!("no {name} in {stats:?}")).1
    }

    /// The devices in a dump, in the order in which they came.
    pub fn names(&mut self, cmd: u8) -> Vec<String> {
        self.dump(cmd)
            .iter()
            .map(|r| r.need(DEV_NAME).str())
            .collect()
    }
}

/// A device that a test made; goes with the guard, if it is still there.
pub struct Device(pub String);

impl Drop for Device {
    fn drop(&mut self) {
        if sys::is_loaded("vdpa") {
            let ack = Vdpa::new().try_del(&self.0);
            if !matches!(ack.errno, Errno::OK | Errno::ENODEV) {
                println!("# deleting {}: {ack:?}", self.0);
            }
        }
    }
}
