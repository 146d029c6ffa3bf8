// SPDX-License-Identifier: GPL-2.0
//! Interrupts of queues that are offered to who waits for their eventfds, as KVM does.
//!
//! Runs in the VM with network cards for vp_vdpa (tools/check).

use vdpa_test::sim::Sim;
use vdpa_test::vhost::net::{Net, Setup, RX, TX};
use vdpa_test::vhost::{ioctl, status, EventFd, Node};
use vdpa_test::vp::{irq_of, Card, Consumer, Link, Slot, Taken};
use vdpa_test::{ktap, ktap_main, sys, Errno};

ktap_main!(
    offered_while_running,
    each_queue_its_own,
    who_waits_later,
    taken_back_by_a_reset,
    another_eventfd,
    no_eventfd,
    eventfd_after_the_start,
    eventfd_that_is_refused,
    the_same_eventfd_twice,
    consumer_that_refuses,
    the_same_eventfd_again,
    closed,
    deleted,
    device_without_interrupts,
    seen_in_debugfs,
    nothing_of_it_matters_to_traffic,
);

const NONE: Taken = Taken {
    irq: None,
    taken: 0,
    lost: 0,
};

fn card() -> (Card, Net) {
    let card = Card::new(Slot::Paged);
    let net = Net::prepare(&card.setup());
    (card, net)
}

fn offered_while_running() {
    let (_card, mut net) = card();
    let consumer = Consumer::of(&net.pairs[0].rx.call);
    assert_eq!(consumer.state(), NONE, "not yet");
    net.run();
    let irq = irq_of(Slot::Paged, RX);
    assert_ne!(irq, None, "in /proc/interrupts");
    assert_eq!(consumer.irq(), irq);
    assert_eq!(consumer.state().taken, 1);
}

fn each_queue_its_own() {
    let (_card, mut net) = card();
    let rx = Consumer::of(&net.pairs[0].rx.call);
    let tx = Consumer::of(&net.pairs[0].tx.call);
    net.run();
    let irqs = [RX, TX].map(|queue| irq_of(Slot::Paged, queue));
    assert_eq!([rx.irq(), tx.irq()], irqs);
    assert_ne!(irqs[0], irqs[1]);
}

fn who_waits_later() {
    let (_card, mut net) = card();
    net.run();
    let consumer = Consumer::of(&net.pairs[0].tx.call);
    assert_eq!(consumer.irq(), irq_of(Slot::Paged, TX));
    // And goes.
    drop(consumer);
    let again = Consumer::of(&net.pairs[0].tx.call);
    assert_eq!(again.irq(), irq_of(Slot::Paged, TX));
}

fn taken_back_by_a_reset() {
    let (card, mut net) = card();
    let call = net.pairs[0].rx.call.duplicate();
    let consumer = Consumer::of(&call);
    for n in 1..=3 {
        net.run();
        assert_eq!(consumer.irq(), irq_of(Slot::Paged, RX));
        net.node.reset().unwrap();
        let wanted = Taken {
            irq: None,
            taken: n,
            lost: n,
        };
        assert_eq!(consumer.state(), wanted);
        // The same anew, in other memory.
        let setup = card.setup();
        let Net { node, .. } = net;
        node.unmap(0, setup.iova, setup.memory.size() as u64)
            .unwrap();
        net = Net::prepare_on(node, &setup);
        set_call(&net, &call);
        assert_eq!(consumer.state(), wanted, "it is not running yet");
    }
}

/// Exchanges the eventfd of the first queue.
fn set_call(net: &Net, call: &EventFd) {
    net.node.set_vring_call(RX, Some(call)).unwrap();
}

fn another_eventfd() {
    let (_card, mut net) = card();
    let old = Consumer::of(&net.pairs[0].rx.call);
    let eventfd = EventFd::new();
    let new = Consumer::of(&eventfd);
    net.run();
    set_call(&net, &eventfd);
    assert_eq!((old.irq(), old.state().lost), (None, 1));
    assert_eq!(new.irq(), irq_of(Slot::Paged, RX));
}

fn no_eventfd() {
    let (_card, mut net) = card();
    let consumer = Consumer::of(&net.pairs[0].rx.call);
    net.run();
    net.node.set_vring_call(RX, None).unwrap();
    assert_eq!((consumer.irq(), consumer.state().lost), (None, 1));
    set_call(&net, &net.pairs[0].rx.call);
    assert_eq!(consumer.irq(), irq_of(Slot::Paged, RX));
}

/// A queue that had no eventfd when the device was started has no interrupt (vp_vdpa).
fn eventfd_after_the_start() {
    let (_card, mut net) = card();
    net.node.set_vring_call(RX, None).unwrap();
    let consumer = Consumer::of(&net.pairs[0].rx.call);
    net.run();
    assert_eq!(irq_of(Slot::Paged, RX), None);
    set_call(&net, &net.pairs[0].rx.call);
    assert_eq!(consumer.state(), NONE);
}

/// An error leaves everything as it was.
fn eventfd_that_is_refused() {
    let (_card, mut net) = card();
    let consumer = Consumer::of(&net.pairs[0].rx.call);
    net.run();
    let file = ioctl::VringFile {
        index: RX,
        fd: 9999,
    };
    let result = net.node.ioctl(ioctl::SET_VRING_CALL, file);
    assert_eq!(result.map(|_| ()), Err(Errno::EBADF));
    assert_eq!(consumer.irq(), irq_of(Slot::Paged, RX));
}

/// Only one interrupt can be meant by an eventfd; the other goes by the eventfd.
fn the_same_eventfd_twice() {
    let (_card, mut net) = card();
    let eventfd = net.pairs[0].rx.call.duplicate();
    net.node.set_vring_call(TX, Some(&eventfd)).unwrap();
    let consumer = Consumer::of(&eventfd);
    net.run();
    assert_eq!(consumer.irq(), irq_of(Slot::Paged, RX));
    assert_eq!(consumer.state().taken, 1);
}

/// The eventfd does as well.
fn consumer_that_refuses() {
    let (_card, mut net) = card();
    let consumer = Consumer::refusing(&net.pairs[0].rx.call);
    net.run();
    assert_eq!(net.node.status(), Ok(status::RUNNING));
    assert_eq!(consumer.state(), NONE);
    drop(consumer);
    let consumer = Consumer::of(&net.pairs[0].rx.call);
    assert_eq!(consumer.state(), NONE, "nothing is offered");
    set_call(&net, &net.pairs[0].rx.call);
    assert_eq!(consumer.irq(), irq_of(Slot::Paged, RX));
}

fn the_same_eventfd_again() {
    let (_card, mut net) = card();
    let consumer = Consumer::of(&net.pairs[0].rx.call);
    net.run();
    for _ in 0..3 {
        set_call(&net, &net.pairs[0].rx.call);
        assert_eq!(consumer.irq(), irq_of(Slot::Paged, RX));
    }
}

fn closed() {
    let (card, mut net) = card();
    let call = net.pairs[0].rx.call.duplicate();
    let consumer = Consumer::of(&call);
    net.run();
    assert_ne!(consumer.irq(), None);
    drop(net);
    assert_eq!((consumer.irq(), consumer.state().lost), (None, 1));
    // The next user has nothing to do with it.
    let mut net = Net::prepare(&card.setup());
    net.run();
    assert_eq!(consumer.state().taken, 1);
}

fn deleted() {
    let (mut card, mut net) = card();
    let consumer = Consumer::of(&net.pairs[0].rx.call);
    net.run();
    card.delete();
    assert_eq!((consumer.irq(), consumer.state().lost), (None, 1));
}

fn device_without_interrupts() {
    let sim = Sim::net();
    let mut net = Net::prepare(&Setup::new(&sim.name));
    let consumer = Consumer::of(&net.pairs[0].rx.call);
    net.run();
    assert_eq!(consumer.state(), NONE);
}

fn seen_in_debugfs() {
    if !sys::is_ours("vhost_vdpa") {
        ktap::skip("C's vhost_vdpa shows nothing");
    }
    let (_card, mut net) = card();
    net.run();
    let path = Node::path(Slot::Paged.device());
    let name = path.rsplit('/').next().unwrap();
    let queues = sys::read(format!("/sys/kernel/debug/vhost_vdpa/{name}/queues"));
    let line = queues.lines().next().unwrap();
    let irq = irq_of(Slot::Paged, RX).unwrap();
    assert!(line.ends_with(&format!(" irq={irq}")), "{line}");
}

/// The consumer here does nothing with an interrupt that it was given.
fn nothing_of_it_matters_to_traffic() {
    let mut link = Link::new();
    let consumer = Consumer::of(&link.a.pairs[0].rx.call);
    assert_ne!(consumer.irq(), None);
    for n in 0..20 {
        link.exchange(n);
    }
    drop(consumer);
    for n in 20..40 {
        link.exchange(n);
    }
}
