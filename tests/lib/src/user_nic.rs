// SPDX-License-Identifier: GPL-2.0
//! Network interfaces that virtio_vdpa makes of vDPA devices.

use std::time::Instant;

use crate::sys::{self, sh};
use crate::Errno;

/// For local experiments: no other protocol answers to it.
pub const ETHERTYPE: u16 = 0x88b5;

/// Brings an interface up, which then sends nothing by itself.
pub fn bring_up(interface: &str) {
    // The kernel's own neighbour discovery would be counted, too.
    let _ = std::fs::write(
        format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"),
        "1",
    );
    sh(&format!("ip link set {interface} up")).expect_ok();
}

/// A socket for frames of our own type on an interface.
pub struct Frames(i32, libc::sockaddr_ll);

impl Frames {
    pub fn new(interface: &str) -> Self {
        let index = sys::read(format!("/sys/class/net/{interface}/ifindex"));
        // SAFETY: A system call without pointers.
        let fd = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_RAW,
                i32::from(ETHERTYPE.to_be()),
            )
        };
        assert!(fd >= 0, "socket: {:?}", Errno::last());
        // SAFETY: All zero is a valid address.
        let mut addr: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        addr.sll_family = libc::AF_PACKET as u16;
        addr.sll_protocol = ETHERTYPE.to_be();
        addr.sll_ifindex = index.trim().parse().unwrap();
        let len = std::mem::size_of_val(&addr) as u32;
        // SAFETY: The address lives across the call, and the length is its own.
        let ret = unsafe { libc::bind(fd, (&raw const addr).cast(), len) };
        assert_eq!(ret, 0, "bind: {:?}", Errno::last());
        let wait = libc::timeval {
            tv_sec: sys::PATIENCE.as_secs() as i64,
            tv_usec: 0,
        };
        let size = std::mem::size_of_val(&wait) as u32;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_RCVTIMEO);
        // SAFETY: The value lives across the call, and the size is its own.
        unsafe { libc::setsockopt(fd, level, name, (&raw const wait).cast(), size) };
        Frames(fd, addr)
    }

    /// Sends a frame, unless the interface is gone or has no room.
    pub fn try_send(&self, frame: &[u8]) -> Result<(), Errno> {
        // SAFETY: The slice is readable for its length.
        let n = unsafe {
            libc::send(
                self.0,
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
            )
        };
        if n < 0 {
            return Err(Errno::last());
        }
        assert_eq!(n, frame.len() as isize, "a frame is sent as a whole");
        Ok(())
    }

    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        self.try_send(frame).expect("send");
    }

    /// The next frame that came in; what goes out is seen here, too.
    #[track_caller]
    pub fn receive(&self) -> Vec<u8> {
        let start = Instant::now();
        loop {
            let mut buf = vec![0u8; 65536];
            let mut from = self.1;
            let mut len = std::mem::size_of_val(&from) as u32;
            // SAFETY: Buffer and address are writable for the lengths given.
            let n = unsafe {
                let (buf, len) = ((buf.as_mut_ptr(), buf.len()), &raw mut len);
                libc::recvfrom(self.0, buf.0.cast(), buf.1, 0, (&raw mut from).cast(), len)
            };
            assert!(n >= 0, "receive: {:?}", Errno::last());
            if from.sll_pkttype != libc::PACKET_OUTGOING {
                buf.truncate(n as usize);
                return buf;
            }
            assert!(start.elapsed() < sys::PATIENCE, "nothing came back");
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // SAFETY: The descriptor is this value's own.
        unsafe { libc::close(self.0) };
    }
}
