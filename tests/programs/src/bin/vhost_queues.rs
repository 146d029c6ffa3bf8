// SPDX-License-Identifier: GPL-2.0
//! Devices with very many queues.

use vdpa_test::parent::{self, Mgmt};
use vdpa_test::sim;
use vdpa_test::vdpa::Vdpa;
use vdpa_test::vhost::{EventFd, Node};
use vdpa_test::{ktap, ktap_main, sys, Errno};

ktap_main!(most_queues, memory_of_queues);

/// As many as a number of 16 bits tells apart, but for one that stands for none.
const MOST: u32 = 65535;

/// For `body`, a device with so many.
fn with_device(body: impl FnOnce()) {
    let _mgmt = Mgmt::new("m0", &format!("dev.nvqs={MOST}"));
    sim::for_vhost();
    let _device = Vdpa::new().add("m0", "d0");
    body();
}

fn most_queues() {
    with_device(|| {
        let node = Node::open("d0");
        node.set_owner().unwrap();
        assert_eq!(node.vqs_count(), Ok(MOST));
        let eventfd = EventFd::new();
        for queue in [0, MOST / 2, MOST - 1] {
            node.set_vring_num(queue, 8).unwrap();
            node.set_vring_call(queue, Some(&eventfd)).unwrap();
            node.set_vring_kick(queue, Some(&eventfd)).unwrap();
            parent::forget();
            eventfd.signal();
            let kick = format!("kick_vq d0 cf=- {queue}");
            sys::wait_for("a kick", || parent::log().contains(&kick));
            node.set_vring_kick(queue, None).unwrap();
        }
        let kick = node.set_vring_kick(MOST, Some(&eventfd));
        assert_eq!(kick, Err(Errno::ENOBUFS));
    });
}

/// What the kernel uses for itself, in bytes.
fn kernel_memory() -> i64 {
    let text = sys::read("/proc/meminfo");
    let field = |name: &str| -> i64 {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        let number = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in /proc/meminfo"))
    };
    (field("Slab:") + field("VmallocUsed:")) << 10
}

/// Some hundred bytes for each, whether the node is open or not.
fn memory_of_queues() {
    if sys::is_debug_kernel() {
        ktap::skip("what watches over memory takes more than the queues");
    }
    let before = kernel_memory();
    with_device(|| {
        let node = Node::open("d0");
        let each = (kernel_memory() - before) / i64::from(MOST);
        ktap::note(format!("{each} bytes for each queue"));
        assert!((16..512).contains(&each), "{each} bytes for each queue");
        drop(node);
    });
}
