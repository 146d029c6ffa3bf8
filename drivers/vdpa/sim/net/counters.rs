// SPDX-License-Identifier: GPL-2.0

//! What `vdpa dev vstats show` tells of a queue.

use crate::features::Role;
use kernel::{
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
};
use vdpa::StatsWriter;

/// Counts since the device was made.
#[derive(Default)]
pub(crate) struct Counters {
    packets: Count,
    bytes: Count,
    errors: Count,
    overruns: Count,
    drops: Count,
}

struct Count(Atomic<u64>);

impl Default for Count {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl Count {
    #[inline]
    fn add(&self, n: u64) {
        if n != 0 {
            self.0.fetch_add(n, Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What happened since the counters were brought up to date.
#[derive(Clone, Copy, Default)]
pub(crate) struct Delta {
    /// Frames, or commands.
    pub(crate) packets: u64,
    /// Their bytes; of commands, how many succeeded.
    pub(crate) bytes: u64,
    /// What could not be understood.
    pub(crate) errors: u64,
    /// How many times there was no buffer to receive into.
    pub(crate) overruns: u64,
    /// Frames that nobody wanted.
    pub(crate) drops: u64,
}

impl Counters {
    pub(crate) fn add(&self, delta: &Delta) {
        self.packets.add(delta.packets);
        self.bytes.add(delta.bytes);
        self.errors.add(delta.errors);
        self.overruns.add(delta.overruns);
        self.drops.add(delta.drops);
    }

    /// Writes what there is to say of a queue with this role.
    pub(crate) fn write(&self, role: Role, stats: &mut StatsWriter<'_>) -> Result {
        match role {
            Role::Receive { .. } => {
                stats.put(c"rx packets", self.packets.get())?;
                stats.put(c"rx bytes", self.bytes.get())?;
                stats.put(c"rx errors", self.errors.get())?;
                stats.put(c"rx overruns", self.overruns.get())?;
                stats.put(c"rx drops", self.drops.get())
            }
            Role::Transmit { .. } => {
                stats.put(c"tx packets", self.packets.get())?;
                stats.put(c"tx bytes", self.bytes.get())?;
                stats.put(c"tx errors", self.errors.get())?;
                stats.put(c"tx drops", self.drops.get())
            }
            Role::Control => {
                stats.put(c"cvq requests", self.packets.get())?;
                stats.put(c"cvq successes", self.bytes.get())?;
                stats.put(c"cvq errors", self.errors.get())
            }
        }
    }
}
