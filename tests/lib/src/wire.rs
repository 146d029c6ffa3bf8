// SPDX-License-Identifier: GPL-2.0
//! The network device of a guest, and what is at its other end: a network card of this
//! machine, where the guest's requests are answered. C's simulator has no peers: there,
//! the guest passes packets to itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::card::{self, Host};
use crate::guest::{Guest, Rings};
use crate::vdpa::{Device, Vdpa, MAC, MAX_VQP};
use crate::vhost::Node;
use crate::{sim, sys, Errno};

/// The guest's device.
pub const DEVICE: &str = "guest";
const MAC_TEXT: &str = "02:00:00:00:00:0b";
const MAC_BYTES: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const ADDRESS: &str = "10.0.0.2";

const RING_PACKED: u32 = 34;
const MQ: u32 = 22;

/// These rings, unless C's simulator has none but split ones.
pub fn if_ours(rings: Rings) -> Rings {
    if sys::is_ours("vdpa_sim_net") {
        rings
    } else {
        Rings::SPLIT
    }
}

/// What the guest's device is joined to, once there is one.
pub struct Wire {
    pub host: Option<Host>,
}

impl Wire {
    /// With this parameter of vdpa_sim.
    #[track_caller]
    pub fn new(use_va: &str) -> Self {
        sim::need(&[("use_va", use_va), sim::ROOM]);
        let ours = sys::is_ours("vdpa_sim_net");
        Wire {
            host: ours.then(|| Host::new(1)),
        }
    }

    /// Makes the guest's device.
    #[track_caller]
    pub fn device(&self, rings: Rings) -> Device {
        let mut v = Vdpa::new();
        let mut msg = v.new_msg("vdpasim_net", DEVICE).attr(MAC, &MAC_BYTES);
        if rings.pairs > 1 {
            msg = msg.attr(MAX_VQP, &rings.pairs.to_ne_bytes());
        }
        sys::modprobe("vdpa_sim_net");
        sim::for_guests();
        let device = v.add_by(&msg, DEVICE);
        sys::rebind(DEVICE, "vhost_vdpa");
        if let Some(host) = &self.host {
            assert_eq!(card::set_peer(DEVICE, &host.card.name), Errno::OK);
        }
        device
    }

    /// Plugs the device, and gives the guest its address.
    #[track_caller]
    pub fn plug(&self, guest: &mut Guest, rings: Rings) {
        guest.plug(&Node::path(DEVICE), MAC_TEXT, rings);
        assert_eq!(guest.has(RING_PACKED), rings.packed, "packed rings");
        assert_eq!(guest.has(MQ), rings.pairs > 1, "several pairs of queues");
        let queues = guest.sh("ls $dev/queues | grep -c tx-");
        assert_eq!(queues.trim(), rings.pairs.to_string(), "pairs of queues");
        guest.sh(&format!(
            "ip address add {ADDRESS}/24 dev eth0 && ip link set eth0 up"
        ));
    }

    /// Passes data in both directions.
    #[track_caller]
    pub fn pass(&self, guest: &mut Guest) {
        let Some(host) = &self.host else {
            // It loses packets for which there is no buffer: not each time.
            let talk = "mac=$(cat $dev/address); talk_to_itself";
            sys::wait_for("all packets to come back", || guest.try_sh(talk));
            return;
        };
        let ping = format!("ping -q -c 1 -W 1 {}", host.v4);
        sys::wait_for("the host's answer", || guest.try_sh(&ping));
        let server = Server::new(host);
        guest.begin(&server.request(96));
        server.answer();
        assert_eq!(guest.end(), (0, String::new()), "what came back");
    }

    /// Sends by the queues that belong to a CPU of the guest.
    #[track_caller]
    pub fn ping_from(&self, guest: &mut Guest, cpu: u32) {
        let host = self.host.as_ref().expect("a host");
        guest.sh(&format!(
            "taskset {:x} ping -q -c 1 -W 20 {}",
            1 << cpu,
            host.v4
        ));
    }
}

/// A web server that returns what it is sent.
pub struct Server(TcpListener);

impl Server {
    #[track_caller]
    pub fn new(host: &Host) -> Self {
        let listener = host.network.within(|| TcpListener::bind((host.v4, 0)));
        let listener = listener.expect("listen");
        listener.set_nonblocking(true).expect("a socket");
        Server(listener)
    }

    /// What the guest has to do: to send so many KiB of its own, and more for their
    /// being text, and to compare what comes back.
    pub fn request(&self, kib: u32) -> String {
        let at = self.0.local_addr().expect("its address");
        format!(
            "head -c {kib}k /dev/urandom | base64 >/sent && rm -f /back && \
             wget -q -T 60 -O /back --post-file=/sent http://{at}/ && \
             cmp /sent /back && [ $(stat -c %s /back) -gt {} ]",
            kib << 10
        )
    }

    /// Serves one request.
    #[track_caller]
    pub fn answer(&self) {
        let mut stream = None;
        sys::wait_for("the guest's request", || {
            stream = self.0.accept().ok();
            stream.is_some()
        });
        let (mut stream, _) = stream.expect("a connection");
        stream.set_nonblocking(false).expect("a socket");
        stream
            .set_read_timeout(Some(sys::PATIENCE))
            .expect("a limit");
        let body = body_of(&mut stream);
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).expect("the answer");
        stream.write_all(&body).expect("the answer");
    }
}

/// Reads a request; what comes after its headers.
#[track_caller]
fn body_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the request");
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or_else(|| panic!("a length in {head}"))];
    stream.read_exact(&mut body).expect("the request");
    body
}
