// SPDX-License-Identifier: GPL-2.0
//! The status of a device, and its reset.

use vdpa_test::vhost::status;
use vdpa_test::Errno;

use crate::check::checks;
use crate::device::Device;

checks! {
    status_when_opened: "virtio 1.3, 2.1, 3.1.1", "a device that is opened is reset: the status is 0";
    status_steps: "virtio 1.3, 2.1, 3.1.1", "each bit that the driver sets can be read back";
    status_failed: "virtio 1.3, 2.1", "a driver can set FAILED, and it stays until a reset";
    status_bits_stay: "linux/vhost.h, VHOST_VDPA_SET_STATUS; virtio 1.3, 2.1.1",
        "only a reset clears bits: anything else is EINVAL and changes nothing";
    status_of_a_reset: "virtio 1.3, 2.1.2, 2.4", "a reset ends with the status 0, from any state";
    reset_and_run_again: "virtio 1.3, 2.4", "a device that was reset can be set up again";
    runs_without_complaint: "virtio 1.3, 2.1.2, 3.1.1",
        "a device that was set up runs, and does not set DEVICE_NEEDS_RESET";
}

const STEPS: [u8; 3] = [
    status::ACKNOWLEDGE,
    status::ACKNOWLEDGE | status::DRIVER,
    status::NEGOTIATED,
];

fn status_when_opened(d: &Device) {
    let node = d.open();
    assert_eq!(node.status(), Ok(0));
    assert_eq!(node.set_status(STEPS[1]), Ok(()));
    drop(node);
    assert_eq!(d.open().status(), Ok(0), "opened again");
}

fn status_steps(d: &Device) {
    let node = d.owned();
    for step in STEPS {
        if step == status::NEGOTIATED {
            assert_eq!(node.set_features(d.basic_features()), Ok(()));
        }
        assert_eq!(node.set_status(step), Ok(()), "{step:#x}");
        assert_eq!(node.status(), Ok(step));
    }
    let _queues = d.run(&node);
    assert_eq!(node.status(), Ok(status::RUNNING));
}

fn status_failed(d: &Device) {
    let node = d.negotiated(0);
    let failed = status::NEGOTIATED | status::FAILED;
    assert_eq!(node.set_status(failed), Ok(()));
    assert_eq!(node.status(), Ok(failed));
    assert_eq!(node.set_status(status::NEGOTIATED), Err(Errno::EINVAL));
    assert_eq!(node.status(), Ok(failed));
}

fn status_bits_stay(d: &Device) {
    let (node, _queues) = d.running();
    let lower = STEPS.into_iter().chain([status::DRIVER_OK]);
    for less in lower {
        assert_eq!(node.set_status(less), Err(Errno::EINVAL), "{less:#x}");
        assert_eq!(node.status(), Ok(status::RUNNING));
    }
}

fn status_of_a_reset(d: &Device) {
    let node = d.owned();
    for step in STEPS {
        assert_eq!(node.set_status(step), Ok(()), "{step:#x}");
        assert_eq!(node.reset(), Ok(()), "in {step:#x}");
        assert_eq!(node.status(), Ok(0), "after {step:#x}");
    }
    drop(node);
    let (node, _queues) = d.running();
    assert_eq!(node.reset(), Ok(()), "when it runs");
    assert_eq!(node.status(), Ok(0));
    assert_eq!(node.reset(), Ok(()), "when it was reset");
}

fn reset_and_run_again(d: &Device) {
    let (node, _queues) = d.running();
    for n in 0..3 {
        assert_eq!(node.reset(), Ok(()));
        assert_eq!(node.set_status(STEPS[1]), Ok(()));
        assert_eq!(node.set_features(d.basic_features()), Ok(()));
        assert_eq!(node.set_status(status::NEGOTIATED), Ok(()));
        assert_eq!(node.unmap(0, d.iova(), Device::RINGS as u64), Ok(()));
        let _queues = d.run(&node);
        assert_eq!(node.status(), Ok(status::RUNNING), "round {n}");
    }
}

fn runs_without_complaint(d: &Device) {
    let (node, queues) = d.running();
    queues.iter().for_each(|q| q.kick.signal());
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(node.status(), Ok(status::RUNNING));
    for queue in &queues {
        assert_eq!(node.vring_base(queue.index), Ok(0), "nothing was given");
    }
}
