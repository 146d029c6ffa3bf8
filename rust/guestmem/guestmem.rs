// SPDX-License-Identifier: GPL-2.0

//! The memory of a virtio driver, as a device made of software reaches it.
//!
//! A driver names memory by its own addresses. A [`DeviceMemory`] knows what they mean, a [`Session`]
//! gives access for some time, and a [`GuestQueue`] is a virtqueue in there.
//!
//! Nothing is looked up under a lock of its own while data is moved: a session has a table that does
//! not change. That of physical memory cannot be exchanged before the session ends; see
//! [`DeviceMemory`]. Nothing is mapped or pinned: physical memory is accessed where the kernel has it,
//! and memory of a process as that process does, with page faults and all.

mod area;
mod bounce;
mod device_memory;
mod host;
mod kernel_map;
mod queue;
mod session;
mod space;
mod table;
mod window;

pub use self::{
    bounce::Bounce,
    device_memory::{
        DeviceMemory,
        NoSession, //
    },
    kernel_map::{
        HasWindow,
        KernelMap, //
    },
    queue::GuestQueue,
    session::{
        Session,
        Source,
        Target, //
    },
    space::AddressSpace,
    window::Window,
};
