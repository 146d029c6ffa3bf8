// SPDX-License-Identifier: GPL-2.0
//! QEMU processes that are killed at different moments of their use of a node, which the
//! next one opens: nothing of them stays.

use vdpa_test::qemu::Qemu;
use vdpa_test::vdpa::{Vdpa, CMD_DEV_VSTATS_GET, QUEUE_INDEX, STAT_NAME};
use vdpa_test::vhost::net::TX;
use vdpa_test::vhost::Node;
use vdpa_test::{ktap, ktap_main, sim, sys, Errno};

ktap_main!(killed, killed_with_pinned_memory);

/// The memory of each guest.
const MIB: u64 = 64;

/// Processes at a time: most of what they do is to wait. Each has a device.
const AT_ONCE: usize = 5;

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It has opened the node.
    Opened,
    /// It has set the device up, and is about to run the guest.
    Ready,
    /// The firmware of the card has sent packets: it looks for a server to boot from.
    Running,
}

/// Pages that were pinned and not released, in the whole machine.
fn pinned_pages() -> i64 {
    // Reading it collects what each CPU has counted.
    let _ = sys::read("/proc/sys/vm/stat_refresh");
    let text = sys::read("/proc/vmstat");
    let number = |name: &str| -> i64 {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        let number = line.and_then(|l| l.trim().parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in /proc/vmstat"))
    };
    number("nr_foll_pin_acquired ") - number("nr_foll_pin_released ")
}

/// Open files of the whole machine.
fn open_files() -> i64 {
    let text = sys::read("/proc/sys/fs/file-nr");
    let number = text.split_whitespace().next().and_then(|n| n.parse().ok());
    number.expect("a number")
}

/// Packets that a device has sent, or nothing if features are not negotiated.
fn sent(v: &mut Vdpa, device: &str) -> u64 {
    let msg = v.about(CMD_DEV_VSTATS_GET, device);
    let answer = v.request(&msg.attr(QUEUE_INDEX, &TX.to_ne_bytes()));
    if answer.ack.errno != Errno::OK {
        return 0;
    }
    let reply = answer.one();
    let mut attrs = reply.attrs.iter();
    let name = attrs.find(|a| a.kind == STAT_NAME && a.str() == "tx packets");
    name.expect("the statistic");
    attrs.next().expect("its value").u64()
}

/// A process and what it is to be killed at.
struct Victim {
    qemu: Qemu,
    device: String,
    node: String,
    moment: Moment,
    /// What the device had sent for those before.
    sent: u64,
}

impl Victim {
    fn start(v: &mut Vdpa, device: &str, moment: Moment) -> Self {
        let sent = sent(v, device);
        let node = Node::path(device);
        let size = format!("{MIB}M");
        let memory = format!("memory-backend-memfd,id=mem,size={size},share=on");
        let net = format!("vhost-vdpa,id=net,vhostdev={node}");
        let mut arguments = vec![
            "-m",
            &size,
            "-machine",
            "pc,memory-backend=mem",
            "-object",
            &memory,
            "-netdev",
            &net,
            "-device",
            "virtio-net-pci,netdev=net,mac=02:00:00:00:00:0b",
        ];
        if !matches!(moment, Moment::Running) {
            // So that the guest does not begin.
            arguments.push("-S");
        }
        Victim {
            qemu: Qemu::start(&arguments),
            device: device.to_string(),
            node,
            moment,
            sent,
        }
    }

    /// Waits for the moment. `pins` says that the device needs the guest's memory pinned.
    #[track_caller]
    fn wait(&mut self, v: &mut Vdpa, pins: bool) {
        let (qemu, node) = (&mut self.qemu, &self.node);
        sys::wait_for("QEMU to open the node", || {
            assert!(!qemu.has_ended(), "QEMU has ended");
            qemu.has_open(node)
        });
        match self.moment {
            Moment::Opened => {}
            Moment::Ready => assert!(!qemu.is_running()),
            Moment::Running => {
                let (qemu, least) = (&self.qemu, if pins { (MIB - 1) << 10 } else { 0 });
                sys::wait_for("packets, from memory that is pinned", || {
                    sent(v, &self.device) > self.sent && qemu.pinned() >= least
                });
                assert!(self.qemu.is_running());
            }
        }
    }
}

/// Starts processes, one for each moment, and kills them.
fn kill(v: &mut Vdpa, moments: &[Moment], pins: bool) {
    let before = pinned_pages();
    let mut victims: Vec<_> = (0..)
        .zip(moments)
        .map(|(n, moment)| Victim::start(v, &format!("n{n}"), *moment))
        .collect();
    for victim in &mut victims {
        victim.wait(v, pins);
    }
    for victim in victims {
        drop(victim.qemu);
        let opens = || Node::try_open(&victim.node).is_ok();
        sys::wait_for("the node to be closed", opens);
    }
    sys::wait_for("the release of pinned pages", || pinned_pages() == before);
}

fn rounds(use_va: &str, rounds: usize) {
    use Moment::{Opened, Ready, Running};

    sim::need(&[("use_va", use_va), sim::ROOM]);
    sys::modprobe("vdpa_sim_net");
    sim::for_vhost();
    sim::for_guests();
    let mut v = Vdpa::new();
    let names: Vec<_> = (0..AT_ONCE).map(|n| format!("n{n}")).collect();
    let _devices: Vec<_> = names.iter().map(|n| v.add("vdpasim_net", n)).collect();
    let pins = use_va == "N";
    // What the first ones load or make for good is not counted.
    kill(&mut v, &[Ready], pins);
    let before = open_files();
    for round in 0..rounds {
        let mut moments = [Running, Opened, Ready, Running, Running];
        // On the debug kernel, each takes long.
        let moments = &mut moments[..sys::rounds(AT_ONCE, 3)];
        moments.rotate_left(round % moments.len());
        kill(&mut v, moments, pins);
    }
    // Each has several files for its device.
    let (more, killed) = (open_files() - before, (rounds * 3) as i64);
    assert!(more < killed, "{more} more files are open");
}

fn killed() {
    if sys::is_debug_kernel() {
        ktap::skip("the other test does more");
    }
    rounds("Y", 2);
}

/// Fifty times.
fn killed_with_pinned_memory() {
    rounds("N", sys::rounds(10, 1));
}
