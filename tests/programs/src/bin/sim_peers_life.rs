// SPDX-License-Identifier: GPL-2.0
//! Two simulated network cards back to back that are paired, separated and deleted
//! while packets pass.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vdpa_test::card::{need_peers, peer, transfer, two_hosts, Card, Host, Network};
use vdpa_test::ktap::case;
use vdpa_test::ktap_main;
use vdpa_test::sys::{self, sh};
use vdpa_test::vdpa::*;
use vdpa_test::vhost::net::RX;

ktap_main!(
    pairs_change_under_traffic,
    ends_are_deleted_under_traffic,
    module_is_unloaded_under_traffic,
);

const MAC_B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

const MIB: usize = 1 << 20;

/// Sends datagrams to an address for as long as it lives.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn new(network: &Network, to: IpAddr) -> Self {
        let socket = network.within(|| UdpSocket::bind("0.0.0.0:0").expect("a socket"));
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (stop.clone(), sent.clone());
        let thread = thread::spawn(move || {
            while !stopped.load(Relaxed) {
                // The interface may be gone, or have no room.
                match socket.send_to(&[0x5a; 1400], (to, 9)) {
                    Ok(_) => count.fetch_add(1, Relaxed),
                    Err(_) => {
                        thread::sleep(Duration::from_millis(1));
                        0
                    }
                };
            }
        });
        Flood {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    /// Waits until some more went out.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.sent.load(Relaxed);
        sys::wait_for("datagrams to go out", || {
            self.sent.load(Relaxed) > before + 20
        });
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.take().expect("a thread").join();
    }
}

/// Tells a host for good where the other one is: nobody answers while it is gone.
fn introduce(host: &Host, to: IpAddr, mac: &str) {
    let interface = &host.card.interface;
    let line = format!("ip neigh replace {to} lladdr {mac} dev {interface} nud permanent");
    host.network.sh(&line).expect_ok();
}

fn rounds() -> std::ops::Range<usize> {
    0..sys::rounds(50, 8)
}

fn pairs_change_under_traffic() {
    need_peers();
    let [one, two] = two_hosts();
    one.card.pair(&two.card);
    let _floods = [
        Flood::new(&one.network, two.v4),
        Flood::new(&two.network, one.v4),
    ];
    let done = AtomicBool::new(false);
    thread::scope(|s| {
        // A connection gets over what is lost.
        let transfers = s.spawn(|| {
            let mut count = 0;
            while !done.load(Relaxed) {
                transfer(&one.network, &two.network, two.v4, MIB / 4);
                count += 1;
            }
            count
        });
        for n in rounds() {
            if n % 2 == 0 { &one } else { &two }.card.separate();
            let received = two.card.stat(RX, "rx packets");
            one.card.pair(&two.card);
            sys::wait_for("a frame from the other end", || {
                two.card.stat(RX, "rx packets") > received
            });
        }
        done.store(true, Relaxed);
        let count = transfers.join().expect("transfers");
        assert!(count > 0, "no transfer was done");
    });
    assert_eq!(["n1", "n2"].map(peer), ["n2", "n1"]);
    one.send(&two, two.v4, MIB);
}

fn ends_are_deleted_under_traffic() {
    need_peers();
    let one = Host::new(1);
    let to = IpAddr::from([10, 0, 0, 2]);
    introduce(&one, to, "02:00:00:00:00:0b");
    let flood = Flood::new(&one.network, to);
    for n in rounds() {
        let two = Card::by("b", |msg| msg.attr(MAC, &MAC_B));
        sh(&format!("ip link set {} up", two.interface)).expect_ok();
        one.card.pair(&two);
        sys::wait_for("frames", || two.stat(RX, "rx packets") > 10);
        drop(two);
        assert_eq!(peer("n1"), "", "round {n}");
        flood.goes_on();
    }
    let two = Host::new(2);
    one.card.pair(&two.card);
    let back = Flood::new(&two.network, one.v4);
    // The sender goes first, then what it sends to.
    drop(one);
    back.goes_on();
    drop(two);
}

fn module_is_unloaded_under_traffic() {
    need_peers();
    for round in 0..2 {
        case(format!("round {}", round + 1), || {
            let [one, two] = two_hosts();
            one.card.pair(&two.card);
            let floods = [
                Flood::new(&one.network, two.v4),
                Flood::new(&two.network, one.v4),
            ];
            let received = |host: &Host| host.card.stat(RX, "rx packets");
            sys::wait_for("traffic", || received(&one) > 100 && received(&two) > 100);
            floods.iter().for_each(Flood::goes_on);
            sys::rmmod_ok("vdpa_sim_net");
            assert_eq!(sys::devices(), Vec::<String>::new());
            sys::rmmod_ok("vdpa_sim");
        });
    }
}
