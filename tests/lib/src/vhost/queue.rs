// SPDX-License-Identifier: GPL-2.0
//! A virtqueue in the hands of a device.

use std::thread;
use std::time::Instant;

use crate::sys;
use crate::vhost::ring::{Buffer, Ring, Used};
use crate::vhost::{EventFd, Node};
use crate::Errno;

/// A ring, its number, and the eventfds for both directions.
#[derive(Debug)]
pub struct Queue {
    pub index: u32,
    pub ring: Ring,
    pub kick: EventFd,
    pub call: EventFd,
}

impl Queue {
    /// Tells the device where the ring is and enables it.
    #[track_caller]
    pub fn attach(node: &Node, index: u32, ring: Ring) -> Self {
        let queue = Self::prepare(node, index, ring);
        let enabled = node.set_vring_enable(index, true);
        assert_eq!(enabled, Ok(()), "enable queue {index}");
        queue
    }

    /// All but enabling it.
    #[track_caller]
    pub fn prepare(node: &Node, index: u32, ring: Ring) -> Self {
        let queue = Queue {
            index,
            ring,
            kick: EventFd::new(),
            call: EventFd::new(),
        };
        let result = queue.tell(node);
        assert_eq!(result, Ok(()), "queue {index}");
        queue
    }

    /// Tells the device of a ring that it forgot in a reset, without enabling it.
    pub fn tell(&self, node: &Node) -> Result<(), Errno> {
        node.set_vring_num(self.index, self.ring.size().into())?;
        node.set_vring_base(self.index, self.ring.base())?;
        node.set_vring_addr(self.index, self.ring.address())?;
        node.set_vring_kick(self.index, Some(&self.kick))?;
        node.set_vring_call(self.index, Some(&self.call))
    }

    /// Makes a chain available and tells the device, if it wants to know.
    #[track_caller]
    pub fn give(&mut self, chain: &[Buffer]) -> u16 {
        let id = self.ring.add(chain).expect("room in the ring");
        self.notify();
        id
    }

    pub fn notify(&mut self) {
        if self.ring.needs_kick() {
            self.kick.signal();
        }
    }

    /// The next chain that the device used, which may take it a while.
    #[track_caller]
    pub fn wait(&mut self) -> Used {
        let start = Instant::now();
        loop {
            if let Some(used) = self.ring.take() {
                return used;
            }
            let index = self.index;
            assert!(
                start.elapsed() < sys::patience(),
                "queue {index}: waited in vain for a used buffer"
            );
            // The device may have been told not to interrupt.
            self.call.wait(1);
            thread::yield_now();
        }
    }
}
