// SPDX-License-Identifier: GPL-2.0
//! Runs a part of a test as somebody else, in a process of its own.

use std::io::Write;
use std::panic::{self, AssertUnwindSafe};

use crate::errno::Errno;

/// Runs `body` in a child process; the test fails when it does.
#[track_caller]
pub fn in_child(body: impl FnOnce()) {
    assert_eq!(
        fork(body).wait(),
        0,
        "status of the child (its output is above)"
    );
}

pub struct Child(i32);

/// Starts `body` in a child process.
pub fn fork(body: impl FnOnce()) -> Child {
    std::io::stdout().flush().unwrap();
    // SAFETY: Nothing else runs in this process that could hold a lock.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {:?}", Errno::last());
    if pid == 0 {
        let ok = panic::catch_unwind(AssertUnwindSafe(body)).is_ok();
        let _ = std::io::stdout().flush();
        // SAFETY: Ends the process; the guards of the test are the parent's.
        unsafe { libc::_exit(i32::from(!ok)) };
    }
    Child(pid)
}

impl Child {
    /// Whether it ended by itself; it can still be waited for.
    pub fn has_ended(&self) -> bool {
        // SAFETY: All zero is a valid value of this plain structure.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: The pointer is to a live local.
        let ret = unsafe { libc::waitid(libc::P_PID, self.0 as u32, &raw mut info, flags) };
        assert_eq!(ret, 0, "waitid: {:?}", Errno::last());
        // Zero, as it was, if nothing is to be told.
        info.si_signo != 0
    }

    /// Kills it. It is gone once it was waited for.
    pub fn kill(&self) {
        // SAFETY: A system call about a child that was not waited for yet.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }

    pub fn wait(self) -> i32 {
        let mut status = 0;
        // SAFETY: The pointer is to a live local.
        let ret = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(ret, self.0, "waitpid: {:?}", Errno::last());
        std::mem::forget(self);
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        // SAFETY: As above; nobody wants its status.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}

fn check(what: &str, ret: i32) {
    assert_eq!(ret, 0, "{what}: {:?}", Errno::last());
}

/// An ordinary user without capabilities.
pub fn become_nobody() {
    // SAFETY: System calls without pointers.
    unsafe {
        check("setresgid", libc::setresgid(65534, 65534, 65534));
        check("setresuid", libc::setresuid(65534, 65534, 65534));
    }
}

/// May lock any amount of memory.
pub fn unlimit_locked_memory() {
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: The structure lives across the call.
    check("setrlimit", unsafe {
        libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit)
    });
}

/// Root that lacks CAP_NET_ADMIN.
pub fn drop_net_admin() {
    drop_capability(12);
}

/// Root that lacks CAP_IPC_LOCK, so that the limit of locked memory holds.
pub fn drop_ipc_lock() {
    drop_capability(14);
}

fn drop_capability(number: u32) {
    let status = crate::sys::read("/proc/self/status");
    let field = status
        .lines()
        .find_map(|l| l.strip_prefix("CapEff:"))
        .unwrap();
    let mut caps = u64::from_str_radix(field.trim(), 16).unwrap();
    caps &= !(1 << number);
    #[repr(C)]
    struct Header(u32, i32);
    let header = Header(0x2008_0522, 0);
    let (low, high) = (caps as u32, (caps >> 32) as u32);
    let data = [low, low, 0, high, high, 0];
    // SAFETY: Header and data have the layout of version 3 and live across the call.
    let ret = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check("capset", ret as i32);
}

/// Root in a new user namespace: all capabilities, but not over this machine.
pub fn enter_user_namespace() {
    // SAFETY: A system call without pointers.
    check("unshare", unsafe { libc::unshare(libc::CLONE_NEWUSER) });
}

pub fn enter_net_namespace() {
    // SAFETY: A system call without pointers.
    check("unshare", unsafe { libc::unshare(libc::CLONE_NEWNET) });
}
