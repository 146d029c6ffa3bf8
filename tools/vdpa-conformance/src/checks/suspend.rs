// SPDX-License-Identifier: GPL-2.0
//! Suspending and resuming: what live migration stands on.

use vdpa_test::ktap;
use vdpa_test::vhost::{backend, feature, status};
use vdpa_test::Errno;

use crate::check::checks;
use crate::device::Device;
use crate::traffic::Traffic;

const SUSPEND: &str = "linux/vhost.h, VHOST_VDPA_SUSPEND";
const RESUME: &str = "linux/vhost.h, VHOST_VDPA_RESUME";

checks! {
    suspend_before_it_runs: SUSPEND, "a device that does not run is left as it is";
    suspend_not_offered: "linux/vhost_types.h, VHOST_BACKEND_F_SUSPEND, _RESUME",
        "what is not offered is EOPNOTSUPP";
    suspend_stops: SUSPEND, "a device that is suspended takes nothing more";
    suspend_keeps_the_place: "linux/vhost.h, VHOST_VDPA_SUSPEND, VHOST_GET_VRING_BASE",
        "where a suspended queue is, is after what was used";
    suspend_lets_queues_move: "linux/vhost.h, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE",
        "queues of a suspended device can be told other places";
    resume_goes_on: RESUME, "what became available meanwhile is taken";
    resume_when_it_runs: RESUME, "a device that runs goes on running";
    reset_when_suspended: "virtio 1.3, 2.4", "a suspended device can be reset, and runs again then";
    begin_where_another_ended: "linux/vhost.h, VHOST_SET_VRING_BASE",
        "a queue goes on where its base says, also past the end of the ring and of the index";
}

fn need_suspend(d: &Device) {
    d.need_backend(backend::SUSPEND, "VHOST_BACKEND_F_SUSPEND");
}

fn need_both(d: &Device) {
    need_suspend(d);
    d.need_backend(backend::RESUME, "VHOST_BACKEND_F_RESUME");
}

fn suspend_before_it_runs(d: &Device) {
    need_suspend(d);
    let node = d.negotiated(0);
    assert_eq!(node.suspend(), Ok(()));
    assert_eq!(node.status(), Ok(status::NEGOTIATED));
    drop(node);
    let traffic = Traffic::prepare(d, 0, 0);
    assert_eq!(traffic.node.suspend(), Ok(()));
    traffic.run();
    let mut traffic = traffic;
    traffic.pass(3);
}

fn suspend_not_offered(d: &Device) {
    let both = backend::SUSPEND | backend::RESUME;
    if d.backend & both == both {
        ktap::skip("both are offered");
    }
    let (node, _queues) = d.running();
    if d.backend & backend::SUSPEND == 0 {
        assert_eq!(node.suspend(), Err(Errno::EOPNOTSUPP));
    }
    if d.backend & backend::RESUME == 0 {
        assert_eq!(node.resume(), Err(Errno::EOPNOTSUPP));
    }
}

fn suspend_stops(d: &Device) {
    need_suspend(d);
    let mut traffic = Traffic::start(d, 0);
    traffic.pass(5);
    assert_eq!(traffic.node.suspend(), Ok(()));
    traffic.add();
    traffic.queue.kick.signal();
    assert!(traffic.is_idle(), "it was suspended");
    assert_eq!(traffic.node.suspend(), Ok(()), "again");
    traffic.queue.kick.signal();
    assert!(traffic.is_idle(), "it was suspended twice");
}

fn suspend_keeps_the_place(d: &Device) {
    need_suspend(d);
    for count in [0, 1, 7] {
        let mut traffic = Traffic::start(d, 0);
        traffic.pass(count);
        assert_eq!(traffic.node.suspend(), Ok(()));
        traffic.add();
        let base = traffic.node.vring_base(traffic.queue.index);
        assert_eq!(base, Ok(u32::from(count)));
    }
    if d.features & feature::RING_PACKED == 0 {
        return;
    }
    let mut traffic = Traffic::start(d, feature::RING_PACKED);
    traffic.pass(3);
    assert_eq!(traffic.node.suspend(), Ok(()));
    // The index and the wrap counter, of what is available and of what is used.
    let base = traffic.node.vring_base(traffic.queue.index);
    assert_eq!(base, Ok(traffic.queue.ring.base()), "a packed ring");
}

fn suspend_lets_queues_move(d: &Device) {
    need_suspend(d);
    let mut traffic = Traffic::start(d, 0);
    traffic.pass(3);
    let (index, address) = (traffic.queue.index, traffic.queue.ring.address());
    let while_it_runs = traffic.node.set_vring_base(index, 3);
    assert_eq!(while_it_runs, Err(Errno::EINVAL), "when it runs");
    assert_eq!(traffic.node.suspend(), Ok(()));
    assert_eq!(traffic.node.set_vring_addr(index, address), Ok(()));
    match traffic.node.set_vring_base(index, 3) {
        Err(Errno::EOPNOTSUPP) => ktap::skip("queues of the device begin at 0 only"),
        set => assert_eq!(set, Ok(())),
    }
    if d.backend & backend::RESUME != 0 {
        assert_eq!(traffic.node.resume(), Ok(()));
        let again = traffic.node.set_vring_base(index, 3);
        assert_eq!(again, Err(Errno::EINVAL), "when it runs again");
    }
}

fn resume_goes_on(d: &Device) {
    need_both(d);
    let mut traffic = Traffic::start(d, 0);
    for _ in 0..3 {
        traffic.pass(2);
        assert_eq!(traffic.node.suspend(), Ok(()));
        traffic.add();
        traffic.queue.kick.signal();
        assert!(traffic.is_idle(), "it was suspended");
        assert_eq!(traffic.node.resume(), Ok(()));
        traffic.finish();
    }
}

fn resume_when_it_runs(d: &Device) {
    need_both(d);
    let mut traffic = Traffic::start(d, 0);
    assert_eq!(traffic.node.resume(), Ok(()));
    traffic.pass(2);
    assert_eq!(traffic.node.status(), Ok(status::RUNNING));
}

fn reset_when_suspended(d: &Device) {
    need_suspend(d);
    let mut traffic = Traffic::start(d, 0);
    traffic.pass(2);
    assert_eq!(traffic.node.suspend(), Ok(()));
    assert_eq!(traffic.node.reset(), Ok(()));
    assert_eq!(traffic.node.status(), Ok(0));
    drop(traffic);
    Traffic::start(d, 0).pass(2);
}

fn begin_where_another_ended(d: &Device) {
    let node = d.negotiated(0);
    if node.set_vring_base(0, 1) == Err(Errno::EOPNOTSUPP) {
        ktap::skip("queues of the device begin at 0 only");
    }
    drop(node);
    for base in [5, 0x7ffe, 0xfffe] {
        let mut traffic = Traffic::prepare(d, 0, base);
        traffic.run();
        traffic.pass(5);
        let end = traffic.node.vring_base(traffic.queue.index);
        assert_eq!(end, Ok((base + 5) & 0xffff), "from {base} on");
    }
}
