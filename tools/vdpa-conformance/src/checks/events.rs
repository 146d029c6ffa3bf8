// SPDX-License-Identifier: GPL-2.0
//! Notifications in both directions, and what the node itself tells.

use std::fs::File;
use std::os::fd::AsRawFd;

use vdpa_test::ktap::case;
use vdpa_test::vhost::ioctl::{self, Request, VringFile};
use vdpa_test::vhost::{EventFd, Interrupts};
use vdpa_test::{sys, Errno};

use crate::check::checks;
use crate::device::Device;
use crate::traffic::Traffic;

checks! {
    eventfds: "linux/vhost.h, VHOST_SET_VRING_KICK, _CALL, _ERR",
        "an eventfd is taken, replaced, and taken back by -1";
    no_eventfds: "linux/vhost.h, struct vhost_vring_file",
        "a descriptor of no file is EBADF, one of no eventfd is EINVAL";
    kick: "linux/vhost.h, VHOST_SET_VRING_KICK; virtio 1.3, 2.7.13.4",
        "a device that is notified takes what is available";
    kick_before_it_is_set: "linux/vhost.h, VHOST_SET_VRING_KICK",
        "an eventfd that is signalled already when it is set notifies at once";
    kick_replaced: "linux/vhost.h, VHOST_SET_VRING_KICK",
        "the new eventfd notifies, the old one does not any more";
    kick_taken_back: "linux/vhost.h, VHOST_SET_VRING_KICK",
        "after -1 there are no notifications, until there is an eventfd again";
    call: "linux/vhost.h, VHOST_SET_VRING_CALL; virtio 1.3, 2.7.8",
        "when a buffer is used, the eventfd is signalled, unless the driver does not want it";
    call_replaced: "linux/vhost.h, VHOST_SET_VRING_CALL",
        "the new eventfd is signalled, the old one is not any more";
    call_taken_back: "linux/vhost.h, VHOST_SET_VRING_CALL",
        "without an eventfd the queue still works";
    poll: "poll(2), POLLIN", "a node from which nothing can be read does not say that it can";
    read: "read(2)", "when there is nothing to read, it says so: EAGAIN without blocking";
}

const OF_QUEUES: [(&str, Request<VringFile>); 3] = [
    ("VHOST_SET_VRING_KICK", ioctl::SET_VRING_KICK),
    ("VHOST_SET_VRING_CALL", ioctl::SET_VRING_CALL),
    ("VHOST_SET_VRING_ERR", ioctl::SET_VRING_ERR),
];

fn eventfds(d: &Device) {
    let node = d.negotiated(0);
    let (first, second) = (EventFd::new(), EventFd::new());
    let fds = [
        first.as_raw_fd(),
        second.as_raw_fd(),
        -1,
        -1,
        first.as_raw_fd(),
    ];
    for (name, request) in OF_QUEUES {
        case(name, || {
            for index in d.all_queues() {
                for fd in fds {
                    let set = node.ioctl(request, VringFile { index, fd });
                    assert_eq!(set.err(), None, "queue {index}, descriptor {fd}");
                }
            }
        });
    }
}

fn no_eventfds(d: &Device) {
    let node = d.negotiated(0);
    let other = File::open("/dev/null").expect("/dev/null");
    let bad = [
        (i32::MAX, Errno::EBADF),
        (-2, Errno::EBADF),
        (other.as_raw_fd(), Errno::EINVAL),
    ];
    for (name, request) in OF_QUEUES {
        for (fd, error) in bad {
            case(format!("{name} with {error:?}"), || {
                let set = node.ioctl(request, VringFile { index: 0, fd });
                assert_eq!(set.err(), Some(error));
            });
        }
    }
}

fn kick(d: &Device) {
    let mut traffic = Traffic::start(d, 0);
    traffic.pass(20);
    traffic.add();
    traffic.add();
    traffic.queue.kick.signal();
    traffic.finish();
    traffic.finish();
}

fn kick_before_it_is_set(d: &Device) {
    let mut traffic = Traffic::start(d, 0);
    // A device may look at its queues when it begins.
    traffic.is_idle();
    let (node, index) = (&traffic.node, traffic.queue.index);
    assert_eq!(node.set_vring_kick(index, None), Ok(()));
    traffic.add();
    let kick = EventFd::new();
    kick.signal();
    let set = traffic.node.set_vring_kick(index, Some(&kick));
    assert_eq!(set, Ok(()));
    traffic.finish();
}

fn kick_replaced(d: &Device) {
    let mut traffic = Traffic::start(d, 0);
    traffic.pass(1);
    let kick = EventFd::new();
    let set = traffic
        .node
        .set_vring_kick(traffic.queue.index, Some(&kick));
    assert_eq!(set, Ok(()));
    let old = std::mem::take(&mut traffic.queue.kick);
    assert!(traffic.ignores(|| old.signal()), "the old one");
    kick.signal();
    traffic.finish();
}

fn kick_taken_back(d: &Device) {
    let mut traffic = Traffic::start(d, 0);
    traffic.pass(1);
    let index = traffic.queue.index;
    assert_eq!(traffic.node.set_vring_kick(index, None), Ok(()));
    // Else the eventfd, which is signalled, would notify when it is set again.
    let old = std::mem::take(&mut traffic.queue.kick);
    assert!(traffic.ignores(|| old.signal()), "without an eventfd");
    let set = traffic
        .node
        .set_vring_kick(index, Some(&traffic.queue.kick));
    assert_eq!(set, Ok(()));
    traffic.queue.kick.signal();
    traffic.finish();
}

fn call(d: &Device) {
    let mut traffic = Traffic::start(d, 0);
    let limit = i32::try_from(sys::patience().as_millis()).unwrap_or(i32::MAX);
    for n in 0..3 {
        traffic.pass(1);
        assert!(traffic.queue.call.wait(limit), "signalled for request {n}");
        traffic.queue.call.count();
    }
    // A notification of before may still be on its way.
    traffic.is_idle();
    traffic.queue.call.count();
    traffic.queue.ring.interrupts(Interrupts::Never);
    traffic.pass(3);
    traffic.is_idle();
    assert_eq!(traffic.queue.call.count(), 0, "not wanted");
    traffic.queue.ring.interrupts(Interrupts::Always);
    traffic.pass(1);
    assert!(traffic.queue.call.wait(limit), "wanted again");
}

fn call_replaced(d: &Device) {
    let mut traffic = Traffic::start(d, 0);
    let limit = i32::try_from(sys::patience().as_millis()).unwrap_or(i32::MAX);
    traffic.pass(1);
    traffic.is_idle();
    let new = EventFd::new();
    let set = traffic.node.set_vring_call(traffic.queue.index, Some(&new));
    assert_eq!(set, Ok(()));
    let old = std::mem::replace(&mut traffic.queue.call, new);
    old.count();
    traffic.pass(1);
    assert!(traffic.queue.call.wait(limit), "the new one");
    assert_eq!(old.count(), 0, "the old one");
}

fn call_taken_back(d: &Device) {
    let mut traffic = Traffic::start(d, 0);
    let index = traffic.queue.index;
    traffic.pass(1);
    traffic.is_idle();
    traffic.queue.call.count();
    assert_eq!(traffic.node.set_vring_call(index, None), Ok(()));
    traffic.pass(3);
    assert_eq!(traffic.queue.call.count(), 0, "taken back");
    let set = traffic
        .node
        .set_vring_call(index, Some(&traffic.queue.call));
    assert_eq!(set, Ok(()));
    traffic.pass(1);
}

/// What a node is ready for.
fn ready(file: &impl AsRawFd) -> i16 {
    let mut poll = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: One entry, which lives across the call.
    let count = unsafe { libc::poll(&raw mut poll, 1, 0) };
    assert!(count >= 0, "poll: {:?}", Errno::last());
    poll.revents
}

fn poll(d: &Device) {
    let (node, _queues) = d.running();
    assert_eq!(ready(&node) & libc::POLLIN, 0, "nothing has happened");
}

fn read(d: &Device) {
    let (node, _queues) = d.running();
    let fd = node.as_raw_fd();
    // SAFETY: The descriptor is open, and the call takes no pointer.
    let ret = unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(ret, 0, "O_NONBLOCK: {:?}", Errno::last());
    let mut bytes = [0u8; 256];
    // SAFETY: The buffer is writable for its length.
    let got = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    assert!(got < 0, "{got} bytes, although nothing has happened");
    assert_eq!(Errno::last(), Errno::EAGAIN);
}
