// SPDX-License-Identifier: GPL-2.0
//! Disks that virtio_vdpa makes of vDPA devices.

use crate::sys;

/// The name of the disk that a vDPA device became.
pub fn disk_of(device: &str) -> String {
    let path = sys::device_path(device);
    let path = path.to_str().unwrap();
    let virtio = sys::list(path)
        .into_iter()
        .find(|n| n.starts_with("virtio"));
    let block = format!("{path}/{}/block", virtio.expect("a virtio device"));
    sys::wait_for("a disk", || !sys::list(&block).is_empty());
    let disk = sys::list(&block).remove(0);
    sys::wait_for("its node", || {
        std::fs::exists(format!("/dev/{disk}")).unwrap()
    });
    disk
}

/// Writes at random and reads back, with several requests in flight.
pub fn fio_verify(disk: &str, size: &str) {
    let command = format!(
        "fio --name=verify --filename=/dev/{disk} --size={size} --rw=randwrite --bsrange=512-64k \
         --ioengine=libaio --iodepth=16 --direct=1 --verify=crc32c --verify_fatal=1 --do_verify=1 \
         --minimal"
    );
    sys::sh(&command).expect_ok();
}
