// SPDX-License-Identifier: GPL-2.0
//! Does the steps of an input.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use vdpa_test::Errno;

use super::arena::{self, Arena};
use super::grammar::DEVICES;
use super::issue::Scratch;
use super::tally::{self, Tally};
use super::world::World;
use super::{Call, Step, Steps};
use crate::session;

/// What a child says of itself by its status.
const CHILD_OK: i32 = 0;
const CHILD_FAULT: i32 = 17;

/// The worker of one thread.
pub struct Worker {
    world: Arc<World>,
    arena: &'static Arena,
    scratch: Scratch,
    pub tally: Tally,
    findings: Vec<String>,
}

/// All that a child does: nothing that another thread could have locked.
fn child(scratch: &Scratch, node: Result<RawFd, &CStr>, calls: &[Call]) -> i32 {
    let fd = match node {
        Ok(fd) => fd,
        // SAFETY: The path is a C string that lives across the call.
        Err(path) => unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_NONBLOCK) },
    };
    let mut status = CHILD_OK;
    for call in calls {
        let outcome = scratch.issue(fd, call);
        let internal = matches!(outcome.result, Err(Errno(n)) if n >= 512 && n != 524);
        if outcome.overrun || internal {
            status = CHILD_FAULT;
        }
    }
    status
}

impl Worker {
    pub fn new(world: Arc<World>) -> Self {
        Worker {
            world,
            arena: arena::get(),
            scratch: Scratch::new(),
            tally: Tally::default(),
            findings: Vec::new(),
        }
    }

    fn open(&mut self, device: u8) {
        let errno = self.world.open(device).map_or_else(|e| e.0, |()| 0);
        *self.tally.opened.entry(errno).or_default() += 1;
    }

    fn call(&mut self, device: u8, call: &Call) {
        if self.world.node(device).is_none() {
            self.open(device);
        }
        let Some(node) = self.world.node(device) else {
            self.tally.missed += 1;
            return;
        };
        let outcome = self.scratch.issue(node.as_raw_fd(), call);
        self.tally.ended(call, &outcome);
        if let Some(what) = tally::fault(call, &outcome) {
            let name = tally::name_of(call);
            self.findings.push(format!("{what} of {name}"));
        }
    }

    fn fork(&mut self, device: u8, own: bool, calls: &[Call]) {
        let path = self.world.path(device);
        // Those that the child inherits.
        let open: [_; DEVICES as usize] = std::array::from_fn(|d| self.world.node(d as u8));
        let node = match &open[usize::from(device % DEVICES)] {
            Some(node) if !own => Ok(node.as_raw_fd()),
            _ => Err(path.as_c_str()),
        };
        // SAFETY: The child makes system calls only, and ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let kept = node.unwrap_or(-1);
            // Other threads would find these nodes open.
            for file in open.iter().flatten().filter(|f| f.as_raw_fd() != kept) {
                // SAFETY: Nobody uses the descriptor any more, as the child ends without
                // cleaning up.
                unsafe { libc::close(file.as_raw_fd()) };
            }
            let status = child(&self.scratch, node, calls);
            // SAFETY: Ends the process; nothing of it is to be cleaned up.
            unsafe { libc::_exit(status) };
        }
        if pid < 0 {
            return;
        }
        self.tally.children += 1;
        let mut status = 0;
        // SAFETY: The pointer is to a live local.
        let ret = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(ret, pid, "waitpid: {:?}", Errno::last());
        if status != CHILD_OK << 8 {
            self.findings
                .push(format!("a child ended with {status:#x}"));
        }
    }

    fn step(&mut self, step: &Step) -> u64 {
        match step {
            Step::Open(device) => self.open(*device),
            Step::Close(device) => self.world.close(*device),
            Step::Call(device, call) => self.call(*device, call),
            Step::Child { device, own, calls } => {
                self.fork(*device, *own, calls);
                return 1 + calls.len() as u64;
            }
            Step::Memory {
                change,
                page,
                pages,
            } => self.arena.change(*change, *page, *pages),
            Step::Poke { at, data } => {
                self.arena.poke(*at, data);
                return 0;
            }
            Step::Signal(n) => {
                arena::signal(*n);
                self.tally.kicks += 1;
            }
            Step::Exchange(n) => {
                arena::exchange(*n);
                self.tally.kicks += 1;
            }
        }
        1
    }
}

impl session::Worker for Worker {
    type Input = Steps;

    fn run(&mut self, input: &Steps) -> u64 {
        input.steps.iter().map(|s| self.step(s)).sum()
    }

    fn findings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.findings)
    }
}
