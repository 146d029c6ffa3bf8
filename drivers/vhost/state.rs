// SPDX-License-Identifier: GPL-2.0

//! The state of the module: what all nodes share.

use kernel::{
    prelude::*,
    sync::Arc, //
};
use kext::{
    bus::BusType,
    chardev::Region,
    debugfs::Dir,
    new_rwsem,
    once::StaticCell,
    rwsem::RwSemaphore,
    work::WorkQueue, //
};

// As declared in include/vhost_vdpa.h; all that the function does is read a parameter.
unsafe extern "C" {
    safe fn rvdpa_vhost_max_iotlb_entries() -> c_int;
}

/// How many nodes there can be: all minors.
const MINORS: u32 = 1 << 20;

/// The subsystem of the nodes, after which major number and nodes are called as well.
static SUBSYSTEM: BusType = BusType::named(c"vhost-vdpa");

/// What all nodes share.
pub(crate) struct State {
    pub(crate) region: Pin<KBox<Region>>,
    pub(crate) debugfs: Dir,
    /// Where what follows a change of the configuration space is done.
    pub(crate) events: Arc<WorkQueue>,
}

#[pin_data]
struct Cell {
    /// There while the module is loaded.
    #[pin]
    state: RwSemaphore<Option<State>>,
}

static CELL: StaticCell<Cell> = StaticCell::new();

/// Keeps the state while it exists.
pub(crate) struct Registration;

impl Registration {
    /// Makes the state. Fails with `ENOMEM`, or if no major number is free.
    pub(crate) fn new() -> Result<Self> {
        CELL.init(try_pin_init!(Cell {
            state <- new_rwsem!(None, c"vhost_vdpa_state"),
        }? Error))?;
        let state = State {
            region: KBox::try_pin_init(Region::new(&SUBSYSTEM, MINORS)?, GFP_KERNEL)?,
            debugfs: Dir::new(c"vhost_vdpa")?,
            events: WorkQueue::threads(c"vhost_vdpa")?,
        };
        let cell = CELL.get().ok_or(ENODEV)?;
        *cell.state.write() = Some(state);
        Ok(Self)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(cell) = CELL.get() {
            let state = cell.state.write().take();
            // With the lock released: this waits for nodes that are still used.
            drop(state);
        }
    }
}

/// Calls `f` with the state.
pub(crate) fn with<R>(f: impl FnOnce(&State) -> Result<R>) -> Result<R> {
    let cell = CELL.get().ok_or(ENODEV)?;
    let state = cell.state.read();
    f(state.as_ref().ok_or(ENODEV)?)
}

/// How many mappings an address space can have.
pub(crate) fn map_limit() -> usize {
    usize::try_from(rvdpa_vhost_max_iotlb_entries()).unwrap_or(0)
}
