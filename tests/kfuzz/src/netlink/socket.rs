// SPDX-License-Identifier: GPL-2.0
//! Netlink sockets of several users. None of the calls waits.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;

use vdpa_test::Errno;

use super::Who;

const NOBODY: u32 = 65534;

fn check(what: &str, ret: libc::c_long) {
    assert!(ret >= 0, "{what}: {:?}", Errno::last());
}

/// Makes this thread, not the process, an ordinary user or root again.
fn become_user(id: u32) {
    const KEEP: u32 = u32::MAX;
    // SAFETY: A system call without pointers.
    let ret = unsafe { libc::syscall(libc::SYS_setresuid, KEEP, id, KEEP) };
    check("setresuid", ret);
}

/// Runs `f` as that user.
pub fn as_who<R>(who: Who, f: impl FnOnce() -> R) -> R {
    if !matches!(who, Who::User | Who::Lowered) {
        return f();
    }
    become_user(NOBODY);
    let result = f();
    become_user(0);
    result
}

/// A network namespace of its own.
pub fn new_namespace() -> File {
    let make = || {
        // SAFETY: A system call without pointers.
        let ret = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        check("unshare", ret.into());
        File::open("/proc/thread-self/ns/net").expect("namespace")
    };
    thread::spawn(make).join().expect("a namespace")
}

/// Runs `f` in that network namespace.
fn inside<R>(namespace: &File, f: impl FnOnce() -> R) -> R {
    let home = File::open("/proc/thread-self/ns/net").expect("namespace");
    let enter = |to: &File| {
        // SAFETY: A system call without pointers.
        let ret = unsafe { libc::setns(to.as_raw_fd(), libc::CLONE_NEWNET) };
        check("setns", ret.into());
    };
    enter(namespace);
    let result = f();
    enter(&home);
    result
}

/// A generic netlink socket.
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens one as that user, those of `Who::Foreign` in the namespace.
    pub fn open(who: Who, namespace: &File) -> Self {
        match who {
            Who::Foreign => inside(namespace, || Self::new(who)),
            Who::User => as_who(who, || Self::new(who)),
            Who::Root | Who::Lowered => Self::new(who),
        }
    }

    fn new(who: Who) -> Self {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: A system call without pointers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_GENERIC) };
        check("socket", fd.into());
        // SAFETY: The descriptor was just made and is nobody else's.
        let socket = Socket(unsafe { OwnedFd::from_raw_fd(fd) });
        socket.set_option(libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        // The others get errors with the request in them, and are checked less strictly.
        let strict = i32::from(who != Who::User);
        socket.set_option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, strict);
        socket.set_option(libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, strict);
        socket
    }

    fn set_option(&self, level: i32, name: i32, value: i32) {
        let size = std::mem::size_of_val(&value) as u32;
        let fd = self.0.as_raw_fd();
        // SAFETY: The value lives across the call, and the size is its own.
        let ret = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) };
        check("setsockopt", ret.into());
    }

    /// The kernel doubles it and has a minimum.
    pub fn set_receive_buffer(&self, bytes: u32) {
        self.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, bytes as i32);
    }

    pub fn join(&self, group: u32) {
        self.set_option(
            libc::SOL_NETLINK,
            libc::NETLINK_ADD_MEMBERSHIP,
            group as i32,
        );
    }

    pub fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        let fd = self.0.as_raw_fd();
        // SAFETY: The slice is readable for its length.
        let ret = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), 0) };
        if ret < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    /// One datagram and its true length, which may be more than there is room for.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let fd = self.0.as_raw_fd();
        let (data, len) = (buffer.as_mut_ptr(), buffer.len());
        // SAFETY: The buffer is writable for its length.
        let n = unsafe { libc::recv(fd, data.cast(), len, libc::MSG_TRUNC) };
        if n < 0 {
            return Err(Errno::last());
        }
        Ok(n as usize)
    }
}
