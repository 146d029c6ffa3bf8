// SPDX-License-Identifier: GPL-2.0
//! The stock virtio_vdpa and virtio_net on a simulated network device: packets
//! go out and come back.

use vdpa_test::card::interface_of;
use vdpa_test::ktap_main;
use vdpa_test::sys::{self, sh};
use vdpa_test::user_nic::{bring_up, Frames, ETHERTYPE};
use vdpa_test::vdpa::*;

ktap_main!(
    packets_come_back,
    statistics_count_them,
    negotiated_state_is_shown
);

const MAC_TEXT: &str = "02:e8:ca:33:ba:05";
const MAC_BYTES: [u8; 6] = [2, 0xe8, 0xca, 0x33, 0xba, 5];

struct Nic {
    name: String,
    v: Vdpa,
    _device: Device,
}

impl Nic {
    fn new() -> Self {
        for module in ["vdpa_sim_net", "virtio_vdpa", "virtio_net"] {
            sys::modprobe(module);
        }
        let mut v = Vdpa::new();
        let msg = v.new_msg("vdpasim_net", "n0").attr(MAC, &MAC_BYTES);
        let device = v.add_by(&msg, "n0");
        assert_eq!(sys::driver_of("n0").as_deref(), Some("virtio_vdpa"));
        let name = interface_of("n0");
        bring_up(&name);
        Nic {
            name,
            v,
            _device: device,
        }
    }

    fn counter(&self, name: &str) -> u64 {
        let path = format!("/sys/class/net/{}/statistics/{name}", self.name);
        sys::read(path).trim().parse().unwrap()
    }

    /// Statistics of a queue, by name.
    fn stat(&mut self, queue: u32, name: &str) -> u64 {
        let msg = self
            .v
            .about(CMD_DEV_VSTATS_GET, "n0")
            .attr(QUEUE_INDEX, &queue.to_ne_bytes());
        let r = self.v.request(&msg).one();
        let mut attrs = r.attrs.iter();
        attrs
            .find(|a| a.kind == STAT_NAME && a.str() == name)
            .expect("the statistic");
        attrs.next().unwrap().u64()
    }
}

fn frame(n: usize, len: usize) -> Vec<u8> {
    let mut f = [&MAC_BYTES[..], &MAC_BYTES, &ETHERTYPE.to_be_bytes()].concat();
    f.extend((0..len - f.len()).map(|i| (i * 7 + n) as u8));
    f
}

/// Sends frames of many sizes to the interface's own address, a few at a time:
/// the C simulator stops when it finds no buffer for one.
fn pass(nic: &Nic, count: usize) {
    let frames = Frames::new(&nic.name);
    for first in (0..count).step_by(8) {
        let batch: Vec<_> = (first..first + 8)
            .map(|n| frame(n, 60 + (n * 37) % 1454))
            .collect();
        batch.iter().for_each(|f| frames.send(f));
        for sent in &batch {
            let got = frames.receive();
            assert_eq!(got.len(), sent.len(), "length of a frame");
            assert!(got == *sent, "contents of a frame of {} bytes", sent.len());
        }
    }
}

fn packets_come_back() {
    let nic = Nic::new();
    let address = sys::read(format!("/sys/class/net/{}/address", nic.name));
    assert_eq!(address.trim(), MAC_TEXT);
    pass(&nic, 1000);
    assert_eq!(
        nic.counter("tx_packets"),
        nic.counter("rx_packets"),
        "tx and rx"
    );
    assert!(nic.counter("tx_packets") >= 1000);
    for errors in ["tx_errors", "rx_errors", "tx_dropped", "rx_dropped"] {
        assert_eq!(nic.counter(errors), 0, "{errors}");
    }
}

fn statistics_count_them() {
    let mut nic = Nic::new();
    pass(&nic, 200);
    let packets = nic.counter("tx_packets");
    assert_eq!(nic.stat(1, "tx packets"), packets);
    assert_eq!(nic.stat(0, "rx packets"), packets);
    assert_eq!(nic.stat(0, "rx bytes"), nic.stat(1, "tx bytes"));
    for (queue, name) in [(0, "rx errors"), (0, "rx drops"), (1, "tx errors")] {
        assert_eq!(nic.stat(queue, name), 0, "{name}");
    }
}

fn negotiated_state_is_shown() {
    let mut nic = Nic::new();
    let r = nic.v.config("n0");
    let negotiated = r.need(NEGOTIATED).u64();
    assert_eq!(negotiated & BASE_FEATURES, BASE_FEATURES, "{negotiated:#x}");
    assert_eq!(
        negotiated & !r.need(FEATURES).u64(),
        0,
        "only what was offered"
    );
    let out = sh("vdpa dev config show n0");
    assert!(
        out.expect_ok().contains("\n  negotiated_features "),
        "{out:?}"
    );
}
