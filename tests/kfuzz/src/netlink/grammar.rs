// SPDX-License-Identifier: GPL-2.0
//! Requests as a well-meaning program sends them, with values that are not always
//! sensible.

use vdpa_test::genl::*;
use vdpa_test::nl::*;
use vdpa_test::vdpa::*;

use super::world::{pick_manager, Manager, DEVICES, MANAGERS};
use super::{After, Step, Who};
use crate::random::Random;

const ASK: u16 = NLM_F_REQUEST | NLM_F_ACK;

const F_MTU: u64 = 1 << 3;
const F_MAC: u64 = 1 << 5;
const F_MQ: u64 = 1 << 22;

/// Features that network attributes ask for, in all combinations that matter.
const FEATURES_OF_NET: [u64; 6] = [
    BASE_FEATURES,
    BASE_FEATURES | F_MAC,
    BASE_FEATURES | F_MTU | F_MAC | F_MQ,
    F_MAC,
    0,
    u64::MAX,
];

const MACS: [[u8; 6]; 5] = [
    [2, 0, 0, 0, 0, 1],
    [0x52, 0x54, 0, 0x12, 0x34, 0x56],
    [0; 6],
    [1, 0, 0x5e, 0, 0, 1],
    [0xff; 6],
];

/// A name for a device that is seldom a good one.
pub fn odd_name(r: &mut Random) -> Vec<u8> {
    let length = |n| vec![b'x'; n];
    match r.below(14) {
        0 => Vec::new(),
        1 => b".".to_vec(),
        2 => b"..".to_vec(),
        3 => b"a/b".to_vec(),
        4 => b"/".to_vec(),
        5 => b"../../x".to_vec(),
        6 => length(255),
        7 => length(256),
        8 => length(1 + r.below(300)),
        9 => length(4000),
        10 => b"%s%n%p".to_vec(),
        11 => vec![0xff, 0xfe, 0x80],
        12 => b"f0\0f1".to_vec(),
        _ => b"f0 \n\x1b[1m".to_vec(),
    }
}

fn string(r: &mut Random, text: &[u8]) -> Vec<u8> {
    let mut data = text.to_vec();
    // Only the name of a bus must have its NUL.
    if !r.one_in(8) {
        data.push(0);
    }
    data
}

fn device_name(r: &mut Random) -> Vec<u8> {
    if r.one_in(12) {
        odd_name(r)
    } else {
        r.pick(&DEVICES).as_bytes().to_vec()
    }
}

fn manager_attrs(r: &mut Random, msg: Msg, manager: &Manager) -> Msg {
    let name = string(r, manager.name.as_bytes());
    match manager.bus {
        Some(bus) => msg.attr_str(BUS_NAME, bus).attr(MGMT_NAME, &name),
        None => msg.attr(MGMT_NAME, &name),
    }
}

/// A payload of the right size for an attribute, or of any for what requests do not have.
pub fn payload(r: &mut Random, kind: u16) -> Vec<u8> {
    match kind {
        BUS_NAME => r
            .pick(&["platform", "faux", "pci", "vdpa", ""])
            .as_bytes()
            .to_vec(),
        MGMT_NAME => r.pick(&MANAGERS).name.as_bytes().to_vec(),
        DEV_NAME => device_name(r),
        MAC if !r.one_in(4) => r.pick(&MACS).to_vec(),
        MAC => r.bits().to_ne_bytes()[..6].to_vec(),
        MAX_VQP | MTU => (r.number() as u16).to_ne_bytes().to_vec(),
        QUEUE_INDEX => (r.number() as u32).to_ne_bytes().to_vec(),
        FEATURES => r.number().to_ne_bytes().to_vec(),
        _ => {
            let len = *r.pick(&[0, 1, 2, 4, 8]);
            r.number().to_ne_bytes()[..len].to_vec()
        }
    }
}

/// Makes messages for the number that the family has here.
#[derive(Clone, Copy)]
pub struct Grammar {
    pub family: u16,
}

impl Grammar {
    fn msg(self, cmd: u8, flags: u16) -> Msg {
        Msg::genl(self.family, ASK | flags, cmd, 1)
    }

    fn about(self, r: &mut Random, cmd: u8, device: &[u8]) -> Msg {
        let name = string(r, device);
        self.msg(cmd, 0).attr(DEV_NAME, &name)
    }

    fn dev_new(self, r: &mut Random, device: &[u8]) -> Msg {
        let manager = pick_manager(r);
        let msg = self.about(r, CMD_DEV_NEW, device);
        let mut msg = manager_attrs(r, msg, manager);
        if !manager.net && !r.one_in(8) {
            return match r.below(3) {
                0 => msg.attr(FEATURES, &payload(r, FEATURES)),
                _ => msg,
            };
        }
        if r.one_in(3) {
            msg = msg.attr(MAC, &payload(r, MAC));
        }
        if r.one_in(4) {
            let mtu = *r.pick(&[68u16, 1500, 9000, 65535, 67, 0]);
            msg = msg.attr(MTU, &mtu.to_ne_bytes());
        }
        if r.one_in(4) {
            let pairs = *r.pick(&[1u16, 2, 4, 0x8000, 65535, 0]);
            msg = msg.attr(MAX_VQP, &pairs.to_ne_bytes());
        }
        if r.one_in(3) {
            let features = *r.pick(&FEATURES_OF_NET);
            msg = msg.attr(FEATURES, &features.to_ne_bytes());
        }
        msg
    }

    fn vstats(self, r: &mut Random, device: &[u8]) -> Msg {
        let index = *r.pick(&[0u32, 1, 2, 0x8000, 0x8001, 0xffff, 0x1_0000, u32::MAX]);
        let msg = self.about(r, CMD_DEV_VSTATS_GET, device);
        msg.attr(QUEUE_INDEX, &index.to_ne_bytes())
    }

    fn attr_set(self, r: &mut Random, device: &[u8]) -> Msg {
        let msg = self.about(r, CMD_DEV_ATTR_SET, device);
        let mac = payload(r, MAC);
        match r.below(8) {
            0 => msg,
            1 => msg.attr(MTU, &1500u16.to_ne_bytes()),
            2 => msg.attr(MAC, &mac).attr(FEATURES, &[0; 8]),
            _ => msg.attr(MAC, &mac),
        }
    }

    fn mgmtdev_get(self, r: &mut Random) -> Msg {
        let manager = pick_manager(r);
        manager_attrs(r, self.msg(CMD_MGMTDEV_GET, 0), manager)
    }

    fn dump(self, r: &mut Random) -> Msg {
        let cmd = *r.pick(&[CMD_DEV_GET, CMD_DEV_CONFIG_GET, CMD_MGMTDEV_GET]);
        let msg = self.msg(cmd, NLM_F_DUMP);
        match r.below(6) {
            0 => msg.attr(DEV_NAME, &device_name(r)),
            _ => msg,
        }
    }

    fn controller(self, r: &mut Random) -> Msg {
        let msg = |cmd, flags| Msg::genl(GENL_ID_CTRL, ASK | flags, cmd, 2);
        match r.below(4) {
            0 => msg(CTRL_CMD_GETFAMILY, 0).attr(CTRL_ATTR_FAMILY_ID, &self.family.to_ne_bytes()),
            1 => msg(CTRL_CMD_GETPOLICY, NLM_F_DUMP).attr_str(CTRL_ATTR_FAMILY_NAME, "vdpa"),
            2 => msg(CTRL_CMD_GETFAMILY, NLM_F_DUMP),
            _ => Family::request("vdpa"),
        }
    }

    /// A request about that device, or about something else now and then.
    pub fn request(self, r: &mut Random, device: &[u8]) -> Msg {
        match r.weighted(&[5, 2, 2, 2, 3, 3, 1, 3, 1, 1]) {
            0 => self.dev_new(r, device),
            1 => self.about(r, CMD_DEV_DEL, device),
            2 => self.about(r, CMD_DEV_GET, device),
            3 => self.about(r, CMD_DEV_CONFIG_GET, device),
            4 => self.vstats(r, device),
            5 => self.attr_set(r, device),
            6 => self.mgmtdev_get(r),
            7 => self.dump(r),
            8 => self.controller(r),
            _ => self.msg(r.number() as u8, 0),
        }
    }

    /// A device from its birth to its death, mostly.
    fn life(self, r: &mut Random) -> Vec<Msg> {
        let device = device_name(r);
        let mut life = vec![self.dev_new(r, &device)];
        for _ in 0..1 + r.below(4) {
            life.push(self.request(r, &device));
        }
        if !r.one_in(4) {
            life.push(self.about(r, CMD_DEV_DEL, &device));
        }
        life
    }

    /// Some requests that belong together, or not.
    pub fn requests(self, r: &mut Random) -> Vec<Msg> {
        if r.one_in(2) {
            return self.life(r);
        }
        let count = 1 + r.below(6);
        let one = |_| {
            let device = device_name(r);
            self.request(r, &device)
        };
        (0..count).map(one).collect()
    }

    /// What can be done besides sending.
    pub fn other_step(self, r: &mut Random) -> Step {
        let who = *r.pick(&[Who::Root, Who::User, Who::Foreign]);
        match r.below(3) {
            0 => Step::Open(who),
            1 => Step::Buffer(who, *r.pick(&[1, 2304, 4096, 16384, 1 << 20])),
            _ => Step::Join(who),
        }
    }

    /// Somebody sends that; most often root, who reads the answer.
    pub fn send(self, r: &mut Random, data: Vec<u8>) -> Step {
        let who = [Who::Root, Who::User, Who::Lowered, Who::Foreign][r.weighted(&[88, 6, 4, 2])];
        let after =
            [After::Drain, After::Leave, After::One, After::Short][r.weighted(&[85, 6, 6, 3])];
        Step::Send { who, after, data }
    }
}
