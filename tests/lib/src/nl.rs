// SPDX-License-Identifier: GPL-2.0
//! Netlink by hand: every message can be made, the malformed ones above all.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::errno::Errno;
use crate::sys::PATIENCE;

pub const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_MULTI: u16 = 2;
pub const NLM_F_ACK: u16 = 4;
pub const NLM_F_ECHO: u16 = 8;
pub const NLM_F_DUMP: u16 = 0x300;
pub const NLM_F_CAPPED: u16 = 0x100;
pub const NLM_F_ACK_TLVS: u16 = 0x200;
pub const NLA_F_NESTED: u16 = 0x8000;
pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
pub const HEADER: usize = 16;
pub const GENL_HEADER: usize = 4;

fn align(n: usize) -> usize {
    n.next_multiple_of(4)
}

/// A request in the making. The length in the header follows what is added,
/// except where a test says otherwise.
#[derive(Clone)]
pub struct Msg {
    pub bytes: Vec<u8>,
}

impl Msg {
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Msg { bytes }.sized()
    }

    pub fn genl(family: u16, flags: u16, cmd: u8, version: u8) -> Self {
        Msg::new(family, flags).raw(&[cmd, version, 0, 0])
    }

    fn sized(mut self) -> Self {
        let len = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&len.to_ne_bytes());
        self
    }

    /// Bytes as they are, also such that are no attribute.
    pub fn raw(mut self, data: &[u8]) -> Self {
        self.bytes.extend_from_slice(data);
        self.sized()
    }

    /// An attribute whose header says `len` (payload and header), whatever the payload is.
    pub fn attr_with_len(self, kind: u16, len: u16, data: &[u8]) -> Self {
        let padded = align(data.len()) - data.len();
        self.raw(&len.to_ne_bytes())
            .raw(&kind.to_ne_bytes())
            .raw(data)
            .raw(&[0; 3][..padded])
    }

    pub fn attr(self, kind: u16, data: &[u8]) -> Self {
        self.attr_with_len(kind, data.len() as u16 + 4, data)
    }

    /// A string attribute with its NUL.
    pub fn attr_str(self, kind: u16, text: &str) -> Self {
        self.attr(kind, &[text.as_bytes(), &[0]].concat())
    }

    pub fn flags(&self) -> u16 {
        u16_at(&self.bytes, 6)
    }

    pub fn set_flags(mut self, flags: u16) -> Self {
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    /// The reserved field of the generic netlink header.
    pub fn set_reserved(mut self, value: u16) -> Self {
        self.bytes[18..20].copy_from_slice(&value.to_ne_bytes());
        self
    }

    pub fn set_seq(&mut self, seq: u32) {
        self.bytes[8..12].copy_from_slice(&seq.to_ne_bytes());
    }
}

pub fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(b[at..at + 2].try_into().unwrap())
}

pub fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(b[at..at + 4].try_into().unwrap())
}

/// A message that was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    pub portid: u32,
    pub payload: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Attr {
    pub kind: u16,
    pub data: Vec<u8>,
}

impl std::fmt::Debug for Attr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{:02x?}", self.kind, self.data)
    }
}

impl Attr {
    fn exact<const N: usize>(&self) -> [u8; N] {
        let size = self.data.len();
        assert_eq!(size, N, "size of attribute {}", self.kind);
        self.data.as_slice().try_into().unwrap()
    }

    pub fn u8(&self) -> u8 {
        self.exact::<1>()[0]
    }

    pub fn u16(&self) -> u16 {
        u16::from_ne_bytes(self.exact())
    }

    pub fn u32(&self) -> u32 {
        u32::from_ne_bytes(self.exact())
    }

    pub fn u64(&self) -> u64 {
        u64::from_ne_bytes(self.exact())
    }

    /// The text; the attribute must end in its only NUL.
    pub fn str(&self) -> String {
        let end = self.data.iter().position(|b| *b == 0);
        assert_eq!(
            end,
            Some(self.data.len().wrapping_sub(1)),
            "NUL of attribute {:?}",
            self
        );
        String::from_utf8_lossy(&self.data[..end.unwrap()]).into_owned()
    }

    pub fn nested(&self) -> Vec<Attr> {
        attrs(&self.data)
    }
}

/// Splits attributes; panics on what the kernel must not send.
pub fn attrs(mut b: &[u8]) -> Vec<Attr> {
    let mut found = Vec::new();
    while !b.is_empty() {
        let len = u16_at(b, 0) as usize;
        assert!(
            (4..=b.len()).contains(&len),
            "attribute of length {len} in {} bytes",
            b.len()
        );
        found.push(Attr {
            kind: u16_at(b, 2) & 0x3fff,
            data: b[4..len].to_vec(),
        });
        b = &b[align(len).min(b.len())..];
    }
    found
}

fn split(mut b: &[u8]) -> Vec<Received> {
    let mut found = Vec::new();
    while b.len() >= HEADER {
        let len = u32_at(b, 0) as usize;
        assert!(
            (HEADER..=b.len()).contains(&len),
            "message of length {len} in {}",
            b.len()
        );
        found.push(Received {
            kind: u16_at(b, 4),
            flags: u16_at(b, 6),
            seq: u32_at(b, 8),
            portid: u32_at(b, 12),
            payload: b[HEADER..len].to_vec(),
        });
        b = &b[align(len).min(b.len())..];
    }
    found
}

pub struct Socket {
    fd: OwnedFd,
    seq: u32,
}

impl Default for Socket {
    fn default() -> Self {
        Self::new()
    }
}

impl Socket {
    pub fn new() -> Self {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: A system call without pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_GENERIC) };
        assert!(fd >= 0, "socket: {:?}", Errno::last());
        // SAFETY: The descriptor was just made and is nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let s = Socket { fd, seq: 1000 };
        s.set_option(libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        s.set_option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        s.set_option(libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1);
        s.set_timeout(PATIENCE);
        s.bind();
        s
    }

    fn bind(&self) {
        // SAFETY: All zero is a valid address: the kernel chooses the port.
        let mut addr: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        addr.nl_family = libc::AF_NETLINK as u16;
        let len = std::mem::size_of_val(&addr) as u32;
        // SAFETY: The address lives across the call, and the length is its own.
        let ret = unsafe { libc::bind(self.fd.as_raw_fd(), (&raw const addr).cast(), len) };
        assert_eq!(ret, 0, "bind: {:?}", Errno::last());
    }

    pub fn portid(&self) -> u32 {
        // SAFETY: All zero is a valid value of this plain structure.
        let mut addr: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        let mut len = std::mem::size_of_val(&addr) as u32;
        // SAFETY: Both pointers are to live locals, and the length is the address's.
        let ret =
            unsafe { libc::getsockname(self.fd.as_raw_fd(), (&raw mut addr).cast(), &raw mut len) };
        assert_eq!(ret, 0, "getsockname: {:?}", Errno::last());
        addr.nl_pid
    }

    pub fn set_option(&self, level: i32, name: i32, value: i32) {
        let size = std::mem::size_of_val(&value) as u32;
        let fd = self.fd.as_raw_fd();
        // SAFETY: The value lives across the call, and the size is its own.
        let ret = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) };
        assert_eq!(ret, 0, "setsockopt {level} {name}: {:?}", Errno::last());
    }

    /// The receive buffer in bytes; the kernel doubles it, and has a minimum of about 2 KiB.
    pub fn set_receive_buffer(&self, bytes: i32) {
        self.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
    }

    pub fn set_timeout(&self, t: Duration) {
        let tv = libc::timeval {
            tv_sec: t.as_secs() as i64,
            tv_usec: i64::from(t.subsec_micros()),
        };
        let size = std::mem::size_of_val(&tv) as u32;
        let (fd, level, name) = (self.fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO);
        // SAFETY: The value lives across the call, and the size is its own.
        let ret = unsafe { libc::setsockopt(fd, level, name, (&raw const tv).cast(), size) };
        assert_eq!(ret, 0, "SO_RCVTIMEO: {:?}", Errno::last());
    }

    pub fn join(&self, group: u32) {
        self.set_option(
            libc::SOL_NETLINK,
            libc::NETLINK_ADD_MEMBERSHIP,
            group as i32,
        );
    }

    /// Sends without waiting for anything; the sequence number used.
    pub fn send(&mut self, msg: &Msg) -> u32 {
        self.try_send(msg)
            .unwrap_or_else(|err| panic!("send: {err:?}"))
    }

    /// As `send`, where that may fail.
    pub fn try_send(&mut self, msg: &Msg) -> Result<u32, Errno> {
        self.seq += 1;
        let mut msg = msg.clone();
        msg.set_seq(self.seq);
        let (ret, err) = self.send_raw(&msg.bytes);
        if ret < 0 {
            return Err(err);
        }
        assert_eq!(ret, msg.bytes.len() as isize, "bytes sent");
        Ok(self.seq)
    }

    pub fn send_raw(&self, bytes: &[u8]) -> (isize, Errno) {
        let fd = self.fd.as_raw_fd();
        // SAFETY: The slice is readable for its length.
        let ret = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), 0) };
        (ret, if ret < 0 { Errno::last() } else { Errno::OK })
    }

    /// One datagram, at most `size` bytes of it.
    pub fn receive_bytes(&self, size: usize) -> Result<Vec<u8>, Errno> {
        let mut buf = vec![0u8; size];
        let fd = self.fd.as_raw_fd();
        // SAFETY: The buffer is writable for its length.
        let n = unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), libc::MSG_TRUNC) };
        if n < 0 {
            return Err(Errno::last());
        }
        assert!(
            n as usize <= size,
            "a datagram of {n} bytes in a buffer of {size}"
        );
        buf.truncate(n as usize);
        Ok(buf)
    }

    /// The messages of one datagram.
    pub fn receive(&self, size: usize) -> Result<Vec<Received>, Errno> {
        self.receive_bytes(size).map(|b| split(&b))
    }
}
