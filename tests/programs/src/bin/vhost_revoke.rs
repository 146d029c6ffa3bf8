// SPDX-License-Identifier: GPL-2.0
//! A device that goes while its node is open: deleted, unbound, or with its module.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use vdpa_test::sim::{Sim, MAC as OWN};
use vdpa_test::vdpa::Vdpa;
use vdpa_test::vhost::net::{frame, Net, Setup};
use vdpa_test::vhost::{ioctl, Area, EventFd, Memory, Node, Perm};
use vdpa_test::withheld::Withheld;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    deleted,
    deleted_while_running,
    unbound_while_running,
    module_unloaded,
    opened_before_and_closed_after,
    reader_is_woken,
    mapped_memory_is_released,
    kicked_and_called_meanwhile,
    another_device_meanwhile,
    argument_that_does_not_come,
    memory_that_does_not_come,
);

/// What is left of a node whose device is gone.
fn assert_revoked(node: &Node) {
    assert_eq!(node.status(), Err(Errno::ENODEV));
    assert_eq!(node.set_status(0), Err(Errno::ENODEV));
    assert_eq!(node.set_owner(), Err(Errno::ENODEV));
    assert_eq!(node.unmap(0, 0, 4096), Err(Errno::ENODEV));
    assert_eq!(node.read_events(), Err(Errno::ENODEV));
    let hung_up = libc::POLLHUP | libc::POLLERR;
    assert_eq!(node.poll(0) & hung_up, hung_up);
}

fn running() -> Net {
    let mut net = Net::start(&Setup::new("n0"));
    net.loop_back(&frame(OWN, 0, 200));
    net
}

fn deleted() {
    let mut sim = Sim::net();
    let node = Node::open("n0");
    sim.v.del("n0");
    assert_revoked(&node);
    assert!(!sys::devices().contains(&"n0".to_string()));
}

fn deleted_while_running() {
    let mut sim = Sim::net();
    let mut net = running();
    sim.v.del("n0");
    assert_revoked(&net.node);
    // Nobody is there who could hear that.
    net.pairs[0].tx.notify();
}

fn unbound_while_running() {
    let _sim = Sim::net();
    let net = running();
    sys::write("/sys/bus/vdpa/drivers/vhost_vdpa/unbind", "n0");
    assert_eq!(sys::driver_of("n0"), None);
    assert_revoked(&net.node);
    sys::write("/sys/bus/vdpa/drivers/vhost_vdpa/bind", "n0");
    // The old node is of no use any more, and not in the way of the new one.
    assert_revoked(&net.node);
    running();
    assert_revoked(&net.node);
}

fn module_unloaded() {
    let _sim = Sim::net();
    let net = running();
    sys::rmmod_ok("vdpa_sim_net");
    assert_revoked(&net.node);
    assert_eq!(sys::rmmod("vhost_vdpa"), Errno::EAGAIN, "the node is open");
    drop(net);
    sys::rmmod_ok("vhost_vdpa");
}

/// Closing a node does nothing to the device that has come in the place of its own.
fn opened_before_and_closed_after() {
    let mut sim = Sim::net();
    let old = Node::open("n0");
    sim.v.del("n0");
    let _again = sim.v.add("vdpasim_net", "n0");
    let new = Node::open("n0");
    new.set_status(1).unwrap();
    drop(old);
    assert_eq!(new.status(), Ok(1));
}

fn reader_is_woken() {
    let mut sim = Sim::net();
    let node = Node::open("n0");
    let reader = node.try_clone().unwrap();
    let reading = thread::spawn(move || reader.read_events());
    // So that it is likely to wait by now; it gets the same if it does not.
    thread::sleep(std::time::Duration::from_millis(100));
    sim.v.del("n0");
    assert_eq!(reading.join().unwrap(), Err(Errno::ENODEV));
}

/// Kilobytes of memory of this process that are pinned.
fn pinned() -> u64 {
    let status = sys::read("/proc/self/status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmPin:"));
    let words = line.expect("a line VmPin");
    words
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

fn mapped_memory_is_released() {
    let mut sim = Sim::net_with(&[("use_va", "N")]);
    let node = Node::open("n0");
    node.set_owner().unwrap();
    let area = Area::whole(&Memory::private(1 << 20), 0x10_0000);
    node.map(0, &area, Perm::Rw).unwrap();
    assert_eq!(pinned(), 1024);
    sim.v.del("n0");
    assert_eq!(pinned(), 0);
}

/// Threads that go on kicking eventfds.
struct Storm {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Storm {
    fn on(kicks: Vec<EventFd>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let threads = kicks.into_iter().map(|kick| {
            let over = over.clone();
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    kick.signal();
                    kick.count();
                }
            })
        });
        Storm {
            threads: threads.collect(),
            over,
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a storm");
        }
    }
}

fn kicked_and_called_meanwhile() {
    for _ in 0..sys::rounds(10, 20) {
        let mut sim = Sim::net();
        let net = running();
        let kicks = net.pairs.iter().flat_map(|p| [&p.rx, &p.tx]);
        let _storm = Storm::on(kicks.map(|q| q.kick.duplicate()).collect());
        sim.v.del("n0");
        assert_revoked(&net.node);
    }
}

/// Each node stands for its own device.
fn another_device_meanwhile() {
    let mut sim = Sim::net();
    let mut v = Vdpa::new();
    let _other = v.add("vdpasim_net", "n1");
    let (node, other) = (Node::open("n0"), Node::open("n1"));
    sim.v.del("n0");
    assert_revoked(&node);
    assert_eq!(other.status(), Ok(0));
    other.set_status(1).unwrap();
    assert_eq!(other.status(), Ok(1));
}

/// Deletes a device while somebody uses its node, in a way that waits for a page.
fn deleted_before_a_page_comes(
    mut sim: Sim,
    node: Node,
    f: impl FnOnce(&Node, &Withheld) -> Result<(), Errno> + Send + 'static,
) {
    let (page, node) = (Arc::new(Withheld::page()), Arc::new(node));
    let user = {
        let (page, node) = (page.clone(), node.clone());
        thread::spawn(move || f(&node, &page))
    };
    page.wait_for_access();
    let deletion = thread::spawn(move || sim.v.del("n0"));
    sys::wait_for("the device to be deleted", || deletion.is_finished());
    assert_revoked(&node);
    assert!(!user.is_finished());
    page.give();
    assert_eq!(user.join().expect("a thread"), Err(Errno::ENODEV));
}

fn argument_that_does_not_come() {
    let sim = Sim::net();
    let node = Node::open("n0");
    deleted_before_a_page_comes(sim, node, |node, page| {
        node.ioctl_withheld(ioctl::SET_STATUS.number(), page)
    });
}

fn memory_that_does_not_come() {
    let sim = Sim::net_with(&[("use_va", "N")]);
    let node = Node::open("n0");
    node.set_owner().unwrap();
    deleted_before_a_page_comes(sim, node, |node, page| {
        node.map(0, &Area::whole(page.memory(), 0x10_0000), Perm::Rw)
    });
}
