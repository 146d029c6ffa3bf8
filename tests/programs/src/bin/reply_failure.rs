// SPDX-License-Identifier: GPL-2.0
//! Replies that cannot be delivered because the receiver's buffer is full.
//!
//! Whatever becomes of the reply, it is freed once. A second free shows as
//! damage of the allocator, now or in what the next tests do.

use std::time::Duration;

use vdpa_test::nl::*;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, user, Errno};

ktap_main!(
    management_device,
    device,
    statistics,
    configuration,
    configuration_asked_by_an_ordinary_user,
);

const ROUNDS: usize = 300;

/// Asks again and again without reading any answer, then reads what there is.
fn flood(v: &Vdpa, msg: Msg) {
    let mut socket = Socket::new();
    socket.set_receive_buffer(0);
    socket.set_timeout(Duration::from_millis(50));
    let msg = msg.set_flags(NLM_F_REQUEST);
    for _ in 0..ROUNDS {
        socket.send(&msg);
    }
    let mut received = 0;
    let mut overrun = false;
    loop {
        match socket.receive(65536) {
            Ok(messages) => received += messages.len(),
            Err(Errno::ENOBUFS) => overrun = true,
            Err(Errno::EAGAIN) => break,
            Err(e) => panic!("receive: {e:?}"),
        }
    }
    assert!(
        overrun && received < ROUNDS,
        "the buffer was never full: {received} of {ROUNDS}"
    );
    assert!(received > 0, "nothing was ever delivered");
    // The socket still works, and so does the kernel.
    let _ = v;
    let answer = socket.request(&msg.set_flags(NLM_F_REQUEST | NLM_F_ACK));
    answer.one();
}

fn with_device(body: impl FnOnce(&Vdpa)) {
    let _m = Mgmt::new("m0", "");
    parent::load_driver();
    let mut v = Vdpa::new();
    let d = v.add("m0", "d0");
    parent::driver("features d0 1");
    parent::driver("status d0 8");
    body(&v);
    assert_eq!(v.get("d0").need(DEV_NAME).str(), "d0");
    drop(d);
    parent::forget_driver();
}

fn management_device() {
    with_device(|v| flood(v, v.msg(CMD_MGMTDEV_GET).attr_str(MGMT_NAME, "m0")));
}

fn device() {
    with_device(|v| flood(v, v.about(CMD_DEV_GET, "d0")));
}

fn statistics() {
    let index = 0u32.to_ne_bytes();
    with_device(|v| {
        flood(
            v,
            v.about(CMD_DEV_VSTATS_GET, "d0").attr(QUEUE_INDEX, &index),
        )
    });
}

fn configuration() {
    with_device(|v| flood(v, v.about(CMD_DEV_CONFIG_GET, "d0")));
}

fn configuration_asked_by_an_ordinary_user() {
    with_device(|v| {
        user::in_child(|| {
            user::become_nobody();
            flood(v, v.about(CMD_DEV_CONFIG_GET, "d0"));
        });
    });
}
