// SPDX-License-Identifier: GPL-2.0
//! Simulated network cards in the hands of the stock virtio_net, each alone in a
//! network of its own, and traffic between two of them.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::{fs, thread};

use crate::nl::Msg;
use crate::sys::{self, sh, Output, PATIENCE};
use crate::vdpa::{self, Device, Vdpa};
use crate::{ktap, Errno};

/// Loads the modules, so that virtio_vdpa takes every card that is made.
pub fn load() {
    for other in ["vhost_vdpa", "vdpa_test_driver"] {
        if sys::is_loaded(other) {
            sys::rmmod_ok(other);
        }
    }
    for module in ["vdpa_sim_net", "virtio_vdpa", "virtio_net"] {
        sys::modprobe(module);
    }
}

/// Skips the test if the simulator is C's.
pub fn need_ours(what: &str) {
    if !sys::is_ours("vdpa_sim_net") {
        ktap::skip(format!("C's simulator has no {what}"));
    }
}

/// Skips the test if cards have no peers, or loads those that have.
pub fn need_peers() {
    need_ours("peers");
    sys::modprobe("vdpa_sim_net");
}

/// The interface that virtio_net made of a vDPA device, once it is there. It is seen
/// by who is in the network that it is in.
#[track_caller]
pub fn interface_of(device: &str) -> String {
    let path = virtio_path(device) + "/net";
    sys::wait_for("a network interface", || !sys::list(&path).is_empty());
    sys::list(&path).remove(0)
}

/// The folder of the virtio device that a vDPA device became.
#[track_caller]
pub fn virtio_path(device: &str) -> String {
    let path = sys::device_path(device).display().to_string();
    let virtio = sys::list(&path)
        .into_iter()
        .find(|name| name.starts_with("virtio"));
    format!("{path}/{}", virtio.expect("a virtio device"))
}

/// A card that is an interface. It goes with the guard.
pub struct Card {
    pub name: String,
    pub interface: String,
    _device: Device,
}

impl Card {
    #[track_caller]
    pub fn new(name: &str) -> Self {
        Self::by(name, |msg| msg)
    }

    /// With attributes of the test's own.
    #[track_caller]
    pub fn by(name: &str, attributes: impl FnOnce(Msg) -> Msg) -> Self {
        load();
        let mut v = Vdpa::new();
        let msg = attributes(v.new_msg("vdpasim_net", name));
        let device = v.add_by(&msg, name);
        assert_eq!(sys::driver_of(name).as_deref(), Some("virtio_vdpa"));
        Card {
            name: name.to_string(),
            interface: interface_of(name),
            _device: device,
        }
    }

    /// Whether the stock drivers negotiated the feature of this number.
    #[track_caller]
    pub fn has(&self, feature: u32) -> bool {
        let features = sys::read(virtio_path(&self.name) + "/features");
        features.as_bytes()[feature as usize] == b'1'
    }

    #[track_caller]
    pub fn stat(&self, queue: u32, name: &str) -> u64 {
        Vdpa::new().stat(&self.name, queue, name)
    }

    /// The card at the other end, as the attribute has it; empty if there is none.
    #[track_caller]
    pub fn peer(&self) -> String {
        peer(&self.name)
    }

    /// Puts two cards back to back.
    #[track_caller]
    pub fn pair(&self, other: &Card) {
        assert_eq!(set_peer(&self.name, &other.name), Errno::OK, "pair");
    }

    #[track_caller]
    pub fn separate(&self) {
        assert_eq!(set_peer(&self.name, "\n"), Errno::OK, "separate");
    }
}

fn peer_file(device: &str) -> String {
    format!("{}/peer", sys::device_path(device).display())
}

/// Reads the attribute `peer`.
#[track_caller]
pub fn peer(device: &str) -> String {
    let text = sys::read(peer_file(device));
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    text.trim_end_matches('\n').to_string()
}

/// Writes to the attribute `peer`.
pub fn set_peer(device: &str, value: &str) -> Errno {
    sys::try_write(peer_file(device), value)
}

/// A network namespace, which goes with the guard. Cards should go before it does:
/// it gives those that it has back to the first one, some time later.
pub struct Network(String);

impl Network {
    #[track_caller]
    pub fn new(name: &str) -> Self {
        sh(&format!("ip netns add {name}")).expect_ok();
        sh(&format!("ip -n {name} link set lo up")).expect_ok();
        Network(name.to_string())
    }

    /// Moves a card here, and gives it addresses.
    #[track_caller]
    pub fn take(&self, card: &Card, addresses: &[IpAddr]) {
        let (name, interface) = (&self.0, &card.interface);
        sh(&format!("ip link set {interface} netns {name}")).expect_ok();
        for address in addresses {
            let line = match address {
                IpAddr::V4(a) => format!("ip -n {name} addr add {a}/24 dev {interface}"),
                // Nobody else has it, and there may be nobody yet to ask.
                IpAddr::V6(a) => format!("ip -n {name} addr add {a}/64 dev {interface} nodad"),
            };
            sh(&line).expect_ok();
        }
        sh(&format!("ip -n {name} link set {interface} up")).expect_ok();
    }

    /// Runs a command in it.
    pub fn sh(&self, line: &str) -> Output {
        sh(&format!("ip netns exec {} {line}", self.0))
    }

    /// Runs `body` in a thread that is in it. What sockets it makes stay in it.
    #[track_caller]
    pub fn within<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        let inside = || {
            let file = fs::File::open(format!("/run/netns/{}", self.0)).expect("the namespace");
            use std::os::fd::AsRawFd;
            // SAFETY: A system call without pointers.
            let ret = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(ret, 0, "setns: {:?}", Errno::last());
            body()
        };
        thread::scope(|s| join(s.spawn(inside)))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let out = sh(&format!("ip netns del {}", self.0));
        if out.status != Some(0) {
            println!("# {out:?}");
        }
    }
}

/// What a thread returns; its panic goes on here.
fn join<R>(thread: thread::ScopedJoinHandle<'_, R>) -> R {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A card in a network of its own.
pub struct Host {
    // Dropped in this order.
    pub card: Card,
    pub network: Network,
    pub v4: IpAddr,
    pub v6: IpAddr,
}

impl Host {
    /// The number of a host is the end of its addresses.
    #[track_caller]
    pub fn new(number: u8) -> Self {
        Self::by(number, |msg| msg)
    }

    /// With attributes of the test's own.
    #[track_caller]
    pub fn by(number: u8, attributes: impl FnOnce(Msg) -> Msg) -> Self {
        let host = Host {
            card: Card::by(&format!("n{number}"), attributes),
            network: Network::new(&format!("net{number}")),
            v4: IpAddr::from([10, 0, 0, number]),
            v6: IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)]),
        };
        host.network.take(&host.card, &[host.v4, host.v6]);
        host
    }

    /// With features of the test's choice.
    #[track_caller]
    pub fn with_features(number: u8, features: u64) -> Self {
        Self::by(number, |msg| {
            msg.attr(vdpa::FEATURES, &features.to_ne_bytes())
        })
    }

    /// Sends echo requests of this size, all of which must be answered.
    #[track_caller]
    pub fn ping(&self, to: &Host, size: usize) {
        assert_eq!(self.pings(to, size, 10), 3, "answers of 3");
    }

    /// The same if none may be answered.
    #[track_caller]
    pub fn ping_in_vain(&self, to: &Host, size: usize) {
        assert_eq!(self.pings(to, size, 1), 0, "answers");
    }

    /// Sends three echo requests; how many were answered within so many seconds.
    #[track_caller]
    fn pings(&self, to: &Host, size: usize, patience: u32) -> usize {
        let to = to.v4;
        // An address that was asked for in vain may still be taken for one that nobody has.
        self.network.sh("ip neigh flush all").expect_ok();
        let line = format!("ping -n -c 3 -i 0.1 -W {patience} -M do -s {size} {to}");
        let out = self.network.sh(&line);
        let counts = out.out.lines().find_map(|l| l.split_once(" received"));
        let received = counts.and_then(|(before, _)| before.rsplit(' ').next());
        let received = received.and_then(|n| n.parse().ok());
        received.unwrap_or_else(|| panic!("{out:?}"))
    }

    /// Sends so many bytes over TCP, which must be the ones that come.
    #[track_caller]
    pub fn send(&self, to: &Host, address: IpAddr, bytes: usize) {
        transfer(&self.network, &to.network, address, bytes);
    }
}

/// Two hosts, each with a card, which are not paired.
#[track_caller]
pub fn two_hosts() -> [Host; 2] {
    [1, 2].map(Host::new)
}

/// The bytes of a stream: each piece of it is another one.
fn stream(at: usize, out: &mut [u8]) {
    for (n, word) in out.chunks_mut(8).enumerate() {
        let mixed = ((at / 8 + n) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&mixed.rotate_left(29).to_le_bytes()[..word.len()]);
    }
}

const PIECE: usize = 64 << 10;

/// Sends so many bytes, whole pieces of 64 KiB, over TCP to an address of the other
/// network, and compares what comes. On the debug kernel, which is slow, less of them.
#[track_caller]
pub fn transfer(from: &Network, to: &Network, address: IpAddr, bytes: usize) {
    assert_eq!(bytes % PIECE, 0, "whole pieces");
    let bytes = sys::rounds(bytes, (bytes / 4).next_multiple_of(PIECE));
    let listener = to.within(|| TcpListener::bind(SocketAddr::new(address, 0)));
    let listener = listener.expect("listen");
    let at = listener.local_addr().expect("its address");
    let stream = from.within(|| TcpStream::connect_timeout(&at, PATIENCE));
    let sender = stream.expect("connect");
    let (receiver, _) = listener.accept().expect("accept");
    thread::scope(|s| {
        let sending = s.spawn(|| send_all(sender, bytes));
        let receiving = s.spawn(|| receive_all(receiver, bytes));
        join(receiving);
        join(sending);
    });
}

fn send_all(mut to: TcpStream, bytes: usize) {
    to.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut piece = vec![0; PIECE];
    for at in (0..bytes).step_by(PIECE) {
        stream(at, &mut piece);
        to.write_all(&piece).expect("send");
    }
}

fn receive_all(mut from: TcpStream, bytes: usize) {
    from.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut piece, mut expected) = (vec![0; PIECE], vec![0; PIECE]);
    for at in (0..bytes).step_by(PIECE) {
        from.read_exact(&mut piece).expect("receive");
        stream(at, &mut expected);
        assert!(piece == expected, "the bytes from {at} on");
    }
    assert_eq!(from.read(&mut piece).expect("the end"), 0, "more bytes");
}
