// SPDX-License-Identifier: GPL-2.0
//! Simulated devices that go while they are in use, and what is left of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use vdpa_test::card::interface_of;
use vdpa_test::ktap::case;
use vdpa_test::sim::{self, Sim, MAC as OWN};
use vdpa_test::user::{fork, Child};
use vdpa_test::user_nic::{bring_up, Frames};
use vdpa_test::vdpa::*;
use vdpa_test::vhost::net::{frame, Net, Setup};
use vdpa_test::vhost::Node;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    deleted_while_the_host_uses_it,
    unloaded_while_the_host_uses_it,
    unbound_while_the_host_uses_it,
    from_driver_to_driver,
    deleted_while_a_process_uses_it,
    unloaded_while_a_process_uses_it,
    users_killed,
    many_devices,
    nothing_is_left,
);

/// Sends packets by an interface for as long as it is there, and calls `body` when
/// some of them have come back.
fn with_traffic(body: impl FnOnce()) {
    let interface = interface_of("n0");
    bring_up(&interface);
    let frames = Frames::new(&interface);
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|s| {
        for n in 0..2 {
            let (frames, stop, sent) = (&frames, &stop, &sent);
            s.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match frames.try_send(&frame(OWN, n, 200)) {
                        Ok(()) => {
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                        // No room, or the interface is gone.
                        Err(_) => thread::sleep(Duration::from_millis(1)),
                    }
                }
            });
        }
        let stop_at_the_end = StopAtTheEnd(&stop);
        frames.receive();
        let before = sent.load(Ordering::Relaxed);
        sys::wait_for("traffic", || sent.load(Ordering::Relaxed) > before + 20);
        body();
        drop(stop_at_the_end);
    });
}

/// Ends the threads also if something panics.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A device that virtio_vdpa has.
fn host_device(v: &mut Vdpa) -> Device {
    for module in ["vdpa_sim_net", "virtio_vdpa", "virtio_net"] {
        sys::modprobe(module);
    }
    let msg = v.new_msg("vdpasim_net", "n0").attr(MAC, &OWN);
    let device = v.add_by(&msg, "n0");
    assert_eq!(sys::driver_of("n0").as_deref(), Some("virtio_vdpa"));
    device
}

fn deleted_while_the_host_uses_it() {
    let _ = sys::rmmod("vhost_vdpa");
    let mut v = Vdpa::new();
    for round in 0..sys::rounds(5, 2) {
        case(format!("round {round}"), || {
            let _d = host_device(&mut v);
            with_traffic(|| v.del("n0"));
            assert_eq!(sys::devices(), Vec::<String>::new());
        });
    }
}

fn unloaded_while_the_host_uses_it() {
    let _ = sys::rmmod("vhost_vdpa");
    for round in 0..sys::rounds(5, 2) {
        case(format!("round {round}"), || {
            let mut v = Vdpa::new();
            let _d = host_device(&mut v);
            with_traffic(|| sys::rmmod_ok("vdpa_sim_net"));
            assert_eq!(sys::devices(), Vec::<String>::new());
            sys::rmmod_ok("vdpa_sim");
        });
    }
}

fn bind(driver: &str, action: &str) {
    sys::write(format!("{}/drivers/{driver}/{action}", sys::BUS), "n0");
}

fn unbound_while_the_host_uses_it() {
    let _ = sys::rmmod("vhost_vdpa");
    let mut v = Vdpa::new();
    let _d = host_device(&mut v);
    for round in 0..sys::rounds(5, 2) {
        case(format!("round {round}"), || {
            with_traffic(|| bind("virtio_vdpa", "unbind"));
            assert_eq!(sys::driver_of("n0"), None);
            bind("virtio_vdpa", "bind");
        });
    }
    with_traffic(|| ());
}

/// Both drivers find the device as they want it, whoever had it before.
fn from_driver_to_driver() {
    let _ = sys::rmmod("vhost_vdpa");
    let mut v = Vdpa::new();
    let _d = host_device(&mut v);
    sys::modprobe("vhost_vdpa");
    for round in 0..sys::rounds(3, 2) {
        case(format!("round {round}"), || {
            with_traffic(|| bind("virtio_vdpa", "unbind"));
            bind("vhost_vdpa", "bind");
            let mut net = Net::start(&Setup::new("n0"));
            net.loop_back(&frame(OWN, 0, 100));
            drop(net);
            bind("vhost_vdpa", "unbind");
            bind("virtio_vdpa", "bind");
        });
    }
}

/// A process that sends packets to itself until something goes wrong or it is told
/// to stop.
fn user(started: &Shared, stop: &Shared) -> Child {
    started.set(false);
    stop.set(false);
    let child = fork(|| {
        let mut net = Net::start(&Setup::new("n0"));
        net.loop_back(&frame(OWN, 0, 100));
        started.set(true);
        while !stop.get() && net.node.status().is_ok() {
            for n in 0..8 {
                net.enqueue(0, &frame(OWN, n, 300));
            }
            net.pairs[0].tx.notify();
            while net.receive_now(0).is_some() {}
        }
    });
    sys::wait_for("a user", || started.get());
    child
}

/// A switch that processes share.
struct Shared(vdpa_test::vhost::Area);

impl Shared {
    fn new() -> Self {
        let memory = vdpa_test::vhost::Memory::memfd(4096);
        Shared(vdpa_test::vhost::Area::whole(&memory, 0))
    }

    fn set(&self, value: bool) {
        self.0.store(0, u32::from(value));
    }

    fn get(&self) -> bool {
        self.0.load::<u32>(0) == 1
    }
}

/// It goes when its user has gone, at the latest.
fn deleted_while_a_process_uses_it() {
    let (started, stop) = (Shared::new(), Shared::new());
    for round in 0..sys::rounds(3, 2) {
        case(format!("round {round}"), || {
            let sim = Sim::net();
            let user = user(&started, &stop);
            let deleting = fork(|| {
                let ack = Vdpa::new().try_del("n0");
                assert_eq!(ack.errno, Errno::OK);
            });
            thread::sleep(Duration::from_millis(50));
            stop.set(true);
            assert_eq!(user.wait(), 0);
            assert_eq!(deleting.wait(), 0);
            assert_eq!(sys::devices(), Vec::<String>::new());
            drop(sim);
        });
    }
}

/// The module waits for its devices, which wait for their users.
fn unloaded_while_a_process_uses_it() {
    let (started, stop) = (Shared::new(), Shared::new());
    for round in 0..sys::rounds(3, 2) {
        case(format!("round {round}"), || {
            let _sim = Sim::net();
            let user = user(&started, &stop);
            let unloading = fork(|| sys::rmmod_ok("vdpa_sim_net"));
            thread::sleep(Duration::from_millis(50));
            stop.set(true);
            assert_eq!(user.wait(), 0);
            assert_eq!(unloading.wait(), 0);
            assert_eq!(sys::devices(), Vec::<String>::new());
            sys::rmmod_ok("vdpa_sim");
        });
    }
}

fn users_killed() {
    let (started, stop) = (Shared::new(), Shared::new());
    let _sim = Sim::net();
    for round in 0..sys::rounds(10, 4) {
        case(format!("round {round}"), || {
            // Dropping it kills it.
            drop(user(&started, &stop));
            let node = Node::open("n0");
            assert_eq!(node.status(), Ok(0));
            node.set_owner().unwrap();
            assert_eq!(node.vring_base(1), Ok(0));
            drop(node);
            let mut net = Net::start(&Setup::new("n0"));
            net.loop_back(&frame(OWN, 0, 100));
        });
    }
}

fn many_devices() {
    sys::modprobe("vdpa_sim_net");
    sim::for_vhost();
    let mut v = Vdpa::new();
    let names: Vec<_> = (0..20).map(|n| format!("n{n}")).collect();
    let devices: Vec<_> = names
        .iter()
        .map(|name| {
            let msg = v.new_msg("vdpasim_net", name).attr(MAC, &OWN);
            v.add_by(&msg, name)
        })
        .collect();
    let setup = |name: &String| Setup {
        rx_buffers: 16,
        ..Setup::on(name, vdpa_test::vhost::Memory::memfd(256 << 10))
    };
    let mut nets: Vec<_> = names
        .iter()
        .map(|n| {
            Net::start(&Setup {
                size: 32,
                ..setup(n)
            })
        })
        .collect();
    for n in 0..10 {
        nets.iter_mut()
            .for_each(|net| net.send(&frame(OWN, n, 200)));
        for net in &mut nets {
            assert_eq!(net.receive(), frame(OWN, n, 200));
        }
    }
    drop(nets);
    drop(devices);
}

/// Threads of the kernel that have to do with simulators. One of a pool goes on, and
/// is named after what it did last.
fn threads() -> Vec<String> {
    let pids = sys::list("/proc").into_iter();
    let names = pids.filter_map(|p| std::fs::read_to_string(format!("/proc/{p}/comm")).ok());
    names
        .filter(|n| n.to_lowercase().contains("vdpa"))
        .filter(|n| !n.starts_with("kworker/") || n.starts_with("kworker/R-"))
        .collect()
}

fn nothing_is_left() {
    sim::unload();
    let _ = sys::rmmod("vhost_vdpa");
    let before = threads();
    for round in 0..sys::rounds(3, 2) {
        case(format!("round {round}"), || {
            let sim = Sim::net();
            let mut net = Net::start(&Setup::new("n0"));
            net.loop_back(&frame(OWN, 0, 100));
            drop(net);
            drop(sim);
            for module in ["vdpa_sim_net", "vdpa_sim"] {
                let users = sys::read(format!("/sys/module/{module}/refcnt"));
                assert_eq!(users.trim(), "0", "users of {module}");
                sys::rmmod_ok(module);
            }
            sys::rmmod_ok("vhost_vdpa");
            assert_eq!(sys::list("/sys/devices/vdpasim_net"), Vec::<String>::new());
            assert!(!std::fs::exists("/sys/devices/vdpasim_net").unwrap());
            assert!(!std::fs::exists("/sys/devices/n0").unwrap());
            assert_eq!(
                sys::list("/sys/kernel/debug/vdpa_sim"),
                Vec::<String>::new()
            );
            sys::wait_for("threads to go", || threads() == before);
        });
    }
}
