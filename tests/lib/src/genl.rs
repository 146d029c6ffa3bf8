// SPDX-License-Identifier: GPL-2.0
//! Generic netlink: families, requests with their acknowledgement, dumps.

use std::time::Instant;

use crate::errno::Errno;
use crate::nl::*;
use crate::sys::PATIENCE;

/// The kernel's answer to a request, with the extended part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    pub errno: Errno,
    pub text: Option<String>,
    /// Where in the request the attribute stands that was refused.
    pub offset: Option<u32>,
    /// The type of an attribute that is required and missing.
    pub missing: Option<u32>,
    /// Whether the policy that was violated is told.
    pub has_policy: bool,
}

const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
const NLMSGERR_ATTR_POLICY: u16 = 4;
const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;

impl Ack {
    fn parse(m: &Received) -> Self {
        let errno = Errno(-(u32_at(&m.payload, 0) as i32));
        let mut ack = Ack {
            errno,
            text: None,
            offset: None,
            missing: None,
            has_policy: false,
        };
        if m.flags & NLM_F_ACK_TLVS == 0 {
            return ack;
        }
        // With NETLINK_CAP_ACK only the header of the request comes back.
        let skip = if m.kind == NLMSG_ERROR { 4 + HEADER } else { 4 };
        for a in attrs(&m.payload[skip..]) {
            match a.kind {
                NLMSGERR_ATTR_MSG => ack.text = Some(a.str()),
                NLMSGERR_ATTR_OFFS => ack.offset = Some(a.u32()),
                NLMSGERR_ATTR_MISS_TYPE => ack.missing = Some(a.u32()),
                NLMSGERR_ATTR_POLICY => ack.has_policy = true,
                _ => {}
            }
        }
        ack
    }

    #[track_caller]
    pub fn expect(&self, errno: Errno, text: Option<&str>) -> &Self {
        assert_eq!(
            (self.errno, self.text.as_deref()),
            (errno, text),
            "(errno, text)"
        );
        self
    }

    #[track_caller]
    pub fn expect_ok(&self) -> &Self {
        self.expect(Errno::OK, None)
    }

    /// The errno, whatever the text.
    #[track_caller]
    pub fn expect_errno(&self, errno: Errno) -> &Self {
        assert_eq!(self.errno, errno, "errno ({self:?})");
        self
    }
}

/// A generic netlink message from the kernel.
#[derive(Clone, Debug)]
pub struct Reply {
    pub cmd: u8,
    pub version: u8,
    pub reserved: u16,
    pub nl: Received,
    pub attrs: Vec<Attr>,
}

impl Reply {
    pub fn parse(nl: Received) -> Self {
        let p = &nl.payload;
        assert!(
            p.len() >= GENL_HEADER,
            "no generic netlink header in {nl:?}"
        );
        let (cmd, version, reserved) = (p[0], p[1], u16_at(p, 2));
        let attrs = attrs(&p[GENL_HEADER..]);
        Reply {
            cmd,
            version,
            reserved,
            nl,
            attrs,
        }
    }

    pub fn get(&self, kind: u16) -> Option<&Attr> {
        self.attrs.iter().find(|a| a.kind == kind)
    }

    #[track_caller]
    pub fn need(&self, kind: u16) -> &Attr {
        self.get(kind)
            .unwrap_or_else(|| panic!("attribute {kind} is missing in {:?}", self.attrs))
    }

    /// The types in the order in which they came.
    pub fn kinds(&self) -> Vec<u16> {
        self.attrs.iter().map(|a| a.kind).collect()
    }
}

pub struct Answer {
    pub replies: Vec<Reply>,
    pub ack: Ack,
    /// How many datagrams a dump came in.
    pub datagrams: usize,
}

impl Answer {
    /// The only reply of a request that succeeded.
    #[track_caller]
    pub fn one(mut self) -> Reply {
        self.ack.expect_ok();
        assert_eq!(self.replies.len(), 1, "number of replies");
        self.replies.pop().unwrap()
    }

    #[track_caller]
    pub fn all(self) -> Vec<Reply> {
        self.ack.expect_ok();
        self.replies
    }
}

pub const BIG: usize = 32 * 1024;

impl Socket {
    /// Sends and waits for the acknowledgement; replies on the way are collected.
    pub fn request(&mut self, msg: &Msg) -> Answer {
        let seq = self.send(msg);
        self.collect(seq, BIG)
    }

    /// As `request`; datagrams are read into a buffer of that size.
    pub fn request_sized(&mut self, msg: &Msg, size: usize) -> Answer {
        let seq = self.send(msg);
        self.collect(seq, size)
    }

    /// As `request`, where sending and receiving may fail.
    pub fn try_request(&mut self, msg: &Msg) -> Result<Answer, Errno> {
        let seq = self.try_send(msg)?;
        self.try_collect(seq, BIG)
    }

    /// What belongs to a request, until its acknowledgement or the end of its dump.
    pub fn collect(&mut self, seq: u32, size: usize) -> Answer {
        self.try_collect(seq, size)
            .unwrap_or_else(|e| panic!("receive: {e:?}"))
    }

    fn try_collect(&mut self, seq: u32, size: usize) -> Result<Answer, Errno> {
        let mut replies = Vec::new();
        let mut datagrams = 0;
        let start = Instant::now();
        loop {
            assert!(
                start.elapsed() < PATIENCE,
                "no end after {} replies",
                replies.len()
            );
            let messages = self.receive(size)?;
            datagrams += 1;
            for m in messages {
                if m.seq != seq {
                    continue;
                }
                match m.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        return Ok(Answer {
                            replies,
                            ack: Ack::parse(&m),
                            datagrams,
                        });
                    }
                    _ => replies.push(Reply::parse(m)),
                }
            }
        }
    }
}

pub const GENL_ID_CTRL: u16 = 16;
pub const CTRL_CMD_GETFAMILY: u8 = 3;
pub const CTRL_CMD_GETPOLICY: u8 = 10;
pub const CTRL_ATTR_FAMILY_ID: u16 = 1;
pub const CTRL_ATTR_FAMILY_NAME: u16 = 2;
pub const CTRL_ATTR_VERSION: u16 = 3;
pub const CTRL_ATTR_HDRSIZE: u16 = 4;
pub const CTRL_ATTR_MAXATTR: u16 = 5;
pub const CTRL_ATTR_OPS: u16 = 6;
pub const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
pub const CTRL_ATTR_POLICY: u16 = 8;

/// What the controller tells about a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    pub id: u16,
    pub name: String,
    pub version: u32,
    pub header_size: u32,
    pub max_attr: u32,
    /// (command, flags)
    pub ops: Vec<(u32, u32)>,
    /// (name, number)
    pub groups: Vec<(String, u32)>,
}

fn pair(a: &Attr) -> (Attr, Attr) {
    let inner = a.nested();
    let find = |k| inner.iter().find(|i| i.kind == k).cloned().unwrap();
    (find(1), find(2))
}

impl Family {
    pub fn request(name: &str) -> Msg {
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        Msg::genl(GENL_ID_CTRL, flags, CTRL_CMD_GETFAMILY, 2).attr_str(CTRL_ATTR_FAMILY_NAME, name)
    }

    pub fn parse(r: &Reply) -> Self {
        let nested = |k| r.get(k).map(Attr::nested).unwrap_or_default();
        let group = |(name, id): (Attr, Attr)| (name.str(), id.u32());
        let op = |(cmd, flags): (Attr, Attr)| (cmd.u32(), flags.u32());
        Family {
            id: r.need(CTRL_ATTR_FAMILY_ID).u16(),
            name: r.need(CTRL_ATTR_FAMILY_NAME).str(),
            version: r.need(CTRL_ATTR_VERSION).u32(),
            header_size: r.need(CTRL_ATTR_HDRSIZE).u32(),
            max_attr: r.need(CTRL_ATTR_MAXATTR).u32(),
            ops: nested(CTRL_ATTR_OPS).iter().map(|a| op(pair(a))).collect(),
            groups: nested(CTRL_ATTR_MCAST_GROUPS)
                .iter()
                .map(|a| group(pair(a)))
                .collect(),
        }
    }

    /// Whether the family is registered. Does not let the kernel load its module, as
    /// asking for it by name does.
    pub fn exists(name: &str) -> bool {
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_DUMP;
        let msg = Msg::genl(GENL_ID_CTRL, flags, CTRL_CMD_GETFAMILY, 2);
        let all = Socket::new().request(&msg).all();
        all.iter().any(|r| Self::parse(r).name == name)
    }

    /// Asks the controller by name. The kernel may load the module.
    pub fn find(name: &str) -> Result<Self, Errno> {
        let answer = Socket::new().request(&Self::request(name));
        match answer.ack.errno {
            Errno::OK => Ok(Self::parse(&answer.one())),
            e => Err(e),
        }
    }

    pub fn group(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|g| g.0 == name).map(|g| g.1)
    }
}
