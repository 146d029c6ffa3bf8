// SPDX-License-Identifier: GPL-2.0
//! A client of vhost-vdpa in user space: what a VMM does, in small pieces.
//!
//! [`Node`] is an open `/dev/vhost-vdpa-N` with its ioctls; [`Memory`] is what the
//! device may be given, and an [`Area`] a part of it under its I/O virtual address.
//! [`Split`] and [`Packed`] are the driver's side of virtqueues in it, [`Ring`] is
//! either, and a [`Queue`] is one that was handed to the device. [`net::Net`] is a
//! whole network device in use.
//!
//! Nothing here checks what it passes on, since tests pass on what is wrong: memory
//! outside of an area is the only thing refused, by a panic.

mod event;
pub mod ioctl;
mod iotlb;
mod memory;
pub mod net;
mod node;
mod packed;
mod queue;
mod ring;
mod split;

pub use event::EventFd;
pub use iotlb::{Message, Perm};
pub use memory::{Area, Memory, PAGE};
pub use node::{backend, status, Node, RingAddress};
pub use packed::Packed;
pub use queue::Queue;
pub use ring::{Buffer, Interrupts, Options, Ring, Used};
pub use split::{Descriptor, Split};

/// Bits of features, by the names of the kernel's headers.
pub mod feature {
    use virtio_bindings::{virtio_config as config, virtio_net as net, virtio_ring as ring};

    pub const ANY_LAYOUT: u64 = 1 << config::VIRTIO_F_ANY_LAYOUT;
    pub const VERSION_1: u64 = 1 << config::VIRTIO_F_VERSION_1;
    pub const ACCESS_PLATFORM: u64 = 1 << config::VIRTIO_F_ACCESS_PLATFORM;
    pub const RING_PACKED: u64 = 1 << config::VIRTIO_F_RING_PACKED;
    pub const IN_ORDER: u64 = 1 << config::VIRTIO_F_IN_ORDER;
    pub const NOTIFICATION_DATA: u64 = 1 << config::VIRTIO_F_NOTIFICATION_DATA;
    pub const INDIRECT_DESC: u64 = 1 << ring::VIRTIO_RING_F_INDIRECT_DESC;
    pub const EVENT_IDX: u64 = 1 << ring::VIRTIO_RING_F_EVENT_IDX;

    pub const NET_CTRL_GUEST_OFFLOADS: u64 = 1 << net::VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;
    pub const NET_GUEST_TSO4: u64 = 1 << net::VIRTIO_NET_F_GUEST_TSO4;
    pub const NET_GUEST_TSO6: u64 = 1 << net::VIRTIO_NET_F_GUEST_TSO6;
    pub const NET_GUEST_ECN: u64 = 1 << net::VIRTIO_NET_F_GUEST_ECN;
    pub const NET_HOST_TSO4: u64 = 1 << net::VIRTIO_NET_F_HOST_TSO4;
    pub const NET_HOST_TSO6: u64 = 1 << net::VIRTIO_NET_F_HOST_TSO6;
    pub const NET_HOST_ECN: u64 = 1 << net::VIRTIO_NET_F_HOST_ECN;
    pub const NET_GUEST_ANNOUNCE: u64 = 1 << net::VIRTIO_NET_F_GUEST_ANNOUNCE;
    pub const NET_CSUM: u64 = 1 << net::VIRTIO_NET_F_CSUM;
    pub const NET_GUEST_CSUM: u64 = 1 << net::VIRTIO_NET_F_GUEST_CSUM;
    pub const NET_MTU: u64 = 1 << net::VIRTIO_NET_F_MTU;
    pub const NET_MAC: u64 = 1 << net::VIRTIO_NET_F_MAC;
    pub const NET_MRG_RXBUF: u64 = 1 << net::VIRTIO_NET_F_MRG_RXBUF;
    pub const NET_STATUS: u64 = 1 << net::VIRTIO_NET_F_STATUS;
    pub const NET_CTRL_VQ: u64 = 1 << net::VIRTIO_NET_F_CTRL_VQ;
    pub const NET_MQ: u64 = 1 << net::VIRTIO_NET_F_MQ;
    pub const NET_CTRL_MAC_ADDR: u64 = 1 << net::VIRTIO_NET_F_CTRL_MAC_ADDR;
}
