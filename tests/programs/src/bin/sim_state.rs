// SPDX-License-Identifier: GPL-2.0
//! Simulated devices that are stopped and go on: the state of queues, suspending,
//! queues that are switched on and off.

use std::thread;
use std::time::Duration;

use vdpa_test::ktap::case;
use vdpa_test::sim::{Sim, MAC};
use vdpa_test::vhost::net::{frame, Net, Setup, RX, TX};
use vdpa_test::vhost::{backend, feature, status, EventFd, Interrupts, Node};
use vdpa_test::{ktap_main, sys};

ktap_main!(
    bases,
    bases_follow_traffic,
    restart,
    restart_of_packed_rings,
    indexes_wrap,
    suspend_in_the_middle,
    suspend_in_the_middle_with_packed_rings,
    kick_while_suspended,
    suspended_device_answers,
    suspend_before_it_runs,
    reset_ends_a_suspension,
    disabled_queue,
    enabled_after_driver_ok,
    kicks_without_buffers,
    buffers_from_before_it_runs,
    interrupts,
    without_interrupts,
    queues_of_different_sizes,
);

/// Long enough for a device to do what it must not do.
fn a_while() {
    thread::sleep(Duration::from_millis(100));
}

fn setup() -> Setup {
    Setup::new("n0")
}

fn packed() -> Setup {
    let mut setup = setup();
    setup.features |= feature::RING_PACKED;
    setup
}

fn pass(net: &mut Net, first: usize, count: usize) {
    for n in first..first + count {
        net.loop_back(&frame(MAC, n, 60 + (n * 37) % 1400));
    }
}

fn bases() {
    let _sim = Sim::net();
    let node = Node::open("n0");
    node.set_owner().unwrap();
    for queue in 0..3 {
        assert_eq!(node.vring_base(queue), Ok(0), "queue {queue}");
        for base in [1, 255, 256, 0x8000, 0xffff] {
            assert_eq!(node.set_vring_base(queue, base), Ok(()));
            assert_eq!(node.vring_base(queue), Ok(base), "queue {queue}");
        }
    }
    node.reset().unwrap();
    for queue in 0..3 {
        assert_eq!(node.vring_base(queue), Ok(0), "queue {queue} after a reset");
    }
    node.set_vring_base(TX, 77).unwrap();
    drop(node);
    let node = Node::open("n0");
    node.set_owner().unwrap();
    assert_eq!(node.vring_base(TX), Ok(0), "for the next opener");
}

fn bases_follow_traffic() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup());
    pass(&mut net, 0, 37);
    net.node.suspend().unwrap();
    assert_eq!(net.node.vring_base(TX), Ok(37));
    assert_eq!(net.node.vring_base(RX), Ok(37));
    assert_eq!(net.node.vring_base(2), Ok(0), "no command came");
}

/// Stops a device and goes on with another opener, as in a migration.
fn restarts(setup: &Setup) {
    let _sim = Sim::net();
    let mut setup = setup.clone();
    let mut first = 0;
    for count in [37, 1, 300, 256] {
        let mut net = Net::start(&setup);
        pass(&mut net, first, count);
        first += count;
        net.node.suspend().unwrap();
        let base = net.node.vring_base(TX).unwrap();
        net.reclaim(0);
        let driver = net.pairs[0].tx.ring.base();
        assert_eq!(base, driver, "both are at the same place");
        // As many buffers came as went.
        assert_eq!(net.node.vring_base(RX), Ok(base));
        setup.base = Some(base);
    }
}

fn restart() {
    restarts(&setup());
}

fn restart_of_packed_rings() {
    Sim::net().need(feature::RING_PACKED, "packed rings");
    restarts(&packed());
}

fn indexes_wrap() {
    let _sim = Sim::net();
    let mut net = Net::start(&Setup {
        base: Some(0xffd0),
        ..setup()
    });
    pass(&mut net, 0, 100);
    net.node.suspend().unwrap();
    assert_eq!(net.node.vring_base(TX), Ok(0x34));
}

/// Whatever was done when it stopped was done to the end, and nothing else.
fn suspends(setup: &Setup) {
    const COUNT: usize = 200;
    let _sim = Sim::net();
    let setup = Setup {
        rx_buffers: COUNT as u16,
        rx_size: 2048,
        ..setup.clone()
    };
    let mut net = Net::start(&setup);
    let start = net.pairs[0].tx.ring.base();
    for round in 0..5 {
        let first = round * COUNT;
        for n in first..first + COUNT {
            assert!(net.enqueue(0, &frame(MAC, n, 100 + n % 1000)));
        }
        net.pairs[0].tx.notify();
        net.node.suspend().unwrap();
        let (tx, rx) = (net.node.vring_base(TX), net.node.vring_base(RX));
        let taken = |net: &Net| (net.node.vring_base(TX), net.node.vring_base(RX));
        a_while();
        net.pairs[0].tx.kick.signal();
        a_while();
        assert_eq!(taken(&net), (tx, rx), "it has stopped");
        // What it took it gave back: nothing is in between.
        let mut done = 0;
        while let Some(frame) = net.receive_now(0) {
            check(&frame, first + done);
            done += 1;
        }
        if start == 0 {
            let expected = (first + done) as u32 & 0xffff;
            assert_eq!((tx, rx), (Ok(expected), Ok(expected)), "round {round}");
        }
        net.node.resume().unwrap();
        for n in first + done..first + COUNT {
            let frame = net.receive();
            check(&frame, n);
        }
        assert_eq!(net.receive_now(0), None, "each of them once");
    }
}

#[track_caller]
fn check(got: &[u8], n: usize) {
    assert!(got == frame(MAC, n, 100 + n % 1000), "packet {n}, in order");
}

fn suspend_in_the_middle() {
    suspends(&setup());
}

fn suspend_in_the_middle_with_packed_rings() {
    Sim::net().need(feature::RING_PACKED, "packed rings");
    suspends(&packed());
}

fn kick_while_suspended() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup());
    pass(&mut net, 0, 3);
    net.node.suspend().unwrap();
    let sent = frame(MAC, 3, 200);
    net.send(&sent);
    a_while();
    assert_eq!(net.node.vring_base(TX), Ok(3), "suspended");
    // The kick was not lost.
    net.node.resume().unwrap();
    assert_eq!(net.receive(), sent);
    pass(&mut net, 4, 3);
}

fn suspended_device_answers() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup());
    pass(&mut net, 0, 3);
    net.node.suspend().unwrap();
    assert_eq!(net.node.suspend(), Ok(()), "again");
    assert_eq!(net.node.status(), Ok(status::RUNNING));
    assert_eq!(net.mac(), MAC);
    assert_eq!(net.node.set_config(0, &MAC), Ok(()));
    net.node.resume().unwrap();
    assert_eq!(net.node.resume(), Ok(()), "again");
    pass(&mut net, 3, 3);
}

fn suspend_before_it_runs() {
    let _sim = Sim::net();
    let mut net = Net::prepare(&setup());
    assert_eq!(net.node.suspend(), Ok(()));
    net.run();
    pass(&mut net, 0, 3);
}

fn reset_ends_a_suspension() {
    let _sim = Sim::net();
    let setup = Setup {
        backend: backend::USUAL | backend::IOTLB_PERSIST,
        ..setup()
    };
    let mut net = Net::start(&setup);
    pass(&mut net, 0, 3);
    net.node.suspend().unwrap();
    net.node.reset().unwrap();
    let features = vdpa_test::vhost::net::negotiate(&net.node, setup.features, setup.backend);
    let mut net = Net::queues(net.node, &setup, features);
    net.run();
    pass(&mut net, 0, 3);
}

fn disabled_queue() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup());
    pass(&mut net, 0, 3);
    for queue in [TX, RX] {
        case(format!("queue {queue}"), || {
            net.node.set_vring_enable(queue, false).unwrap();
            let base = net.node.vring_base(TX).unwrap();
            let sent = frame(MAC, base as usize, 200);
            net.send(&sent);
            a_while();
            assert_eq!(net.node.vring_base(TX), Ok(base), "nothing goes");
            net.node.set_vring_enable(queue, true).unwrap();
            net.pairs[0].tx.kick.signal();
            assert_eq!(net.receive(), sent);
            pass(&mut net, 0, 3);
        });
    }
}

fn enabled_after_driver_ok() {
    let _sim = Sim::net();
    let setup = Setup {
        backend: backend::USUAL | backend::ENABLE_AFTER_DRIVER_OK,
        ..setup()
    };
    let mut net = Net::prepare(&setup);
    for queue in 0..3 {
        net.node.set_vring_enable(queue, false).unwrap();
    }
    net.run();
    let sent = frame(MAC, 0, 200);
    net.send(&sent);
    a_while();
    assert_eq!(net.node.vring_base(TX), Ok(0), "not yet");
    for queue in 0..3 {
        net.node.set_vring_enable(queue, true).unwrap();
    }
    net.pairs[0].tx.kick.signal();
    assert_eq!(net.receive(), sent);
    pass(&mut net, 1, 3);
}

fn kicks_without_buffers() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup());
    for _ in 0..100 {
        net.pairs[0].tx.kick.signal();
        net.pairs[0].rx.kick.signal();
        net.control.as_ref().unwrap().kick.signal();
    }
    pass(&mut net, 0, 3);
    assert_eq!(net.node.vring_base(TX), Ok(3));
    assert_eq!(net.node.status(), Ok(status::RUNNING));
}

/// What was made available before DRIVER_OK goes out after it.
fn buffers_from_before_it_runs() {
    let _sim = Sim::net();
    let mut net = Net::prepare(&setup());
    let sent = frame(MAC, 0, 200);
    net.send(&sent);
    a_while();
    assert_eq!(net.node.vring_base(TX), Ok(0), "it does not run");
    net.run();
    net.pairs[0].tx.kick.signal();
    assert_eq!(net.receive(), sent);
}

fn interrupts() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup());
    let calls = |net: &Net| (net.pairs[0].tx.call.count(), net.pairs[0].rx.call.count());
    calls(&net);
    net.loop_back(&frame(MAC, 0, 100));
    sys::wait_for("interrupts of both queues", || {
        net.pairs[0].tx.call.wait(0) && net.pairs[0].rx.call.wait(0)
    });
    calls(&net);
    case("switched off", || {
        net.pairs[0].tx.ring.interrupts(Interrupts::Never);
        net.pairs[0].rx.ring.interrupts(Interrupts::Never);
        pass(&mut net, 0, 20);
        a_while();
        assert_eq!(calls(&net), (0, 0));
    });
    case("on for one queue", || {
        net.pairs[0].rx.ring.interrupts(Interrupts::Always);
        pass(&mut net, 0, 3);
        sys::wait_for("an interrupt", || net.pairs[0].rx.call.wait(0));
        a_while();
        assert_eq!(calls(&net).0, 0, "the other one");
    });
    case("another eventfd", || {
        let call = EventFd::new();
        net.node.set_vring_call(RX, Some(&call)).unwrap();
        pass(&mut net, 0, 1);
        sys::wait_for("an interrupt", || call.wait(0));
    });
}

fn without_interrupts() {
    let _sim = Sim::net();
    let mut net = Net::start(&setup());
    for queue in 0..3 {
        net.node.set_vring_call(queue, None).unwrap();
    }
    pass(&mut net, 0, 20);
}

fn queues_of_different_sizes() {
    let _sim = Sim::net();
    for size in [1, 2, 4, 256] {
        case(format!("{size} descriptors"), || {
            let setup = Setup {
                size,
                rx_buffers: size.min(64),
                ..setup()
            };
            let mut net = Net::start(&setup);
            pass(&mut net, 0, 3 * usize::from(size).min(20));
        });
    }
}
