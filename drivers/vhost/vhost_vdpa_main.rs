// SPDX-License-Identifier: GPL-2.0

//! `vhost_vdpa.ko`: vDPA devices for user space.
//!
//! Each device that is bound to this driver has a node, `/dev/vhost-vdpa-N`. Who opens it, one at a
//! time, is the driver of the device: a virtual machine monitor on behalf of its guest, or a driver in
//! user space. It maps memory of its own for the device, says where the queues are, and gives eventfds
//! for kicks and interrupts.
//!
//! C header: [`include/uapi/linux/vhost.h`](srctree/include/uapi/linux/vhost.h)
//!
//! # Locks
//!
//! In this order:
//!
//! 1. The device lock of the driver core, while the driver is bound or unbound.
//! 2. `Shared::session`: one for each node, held during ioctls and messages. Parents are called with
//!    it held, and what they lock comes after it.
//! 3. `mmap_lock` of the owner, for reading.
//! 4. `Shared::seen`, a leaf.
//!
//! A page fault of a mapped doorbell comes with the owner's address space locked, and a kick with
//! interrupts disabled. Neither takes one of these locks: the [`Loan`](vdpa::Loan) of the device is
//! enough for them.

use kernel::{
    driver,
    prelude::*,
    InPlaceModule, //
};

mod argument;
mod command;
mod event;
mod message;
mod node;
mod position;
mod queue;
mod session;
mod state;
mod trace;
mod view;
mod vring;

module! {
    type: VhostVdpa,
    name: "vhost_vdpa",
    authors: ["The rust-vdpa developers"],
    description: "vDPA-based vhost backend for virtio",
    license: "GPL v2",
}

/// What the module registers. Fields are dropped in this order.
#[pin_data]
struct VhostVdpa {
    #[pin]
    _driver: driver::Registration<vdpa::driver::Adapter<node::VhostDriver>>,
    _state: state::Registration,
}

impl InPlaceModule for VhostVdpa {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _state: state::Registration::new()?,
            _driver <- driver::Registration::new(c"vhost_vdpa", module),
        })
    }
}
