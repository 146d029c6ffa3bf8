// SPDX-License-Identifier: GPL-2.0
//! The stock vduse module on our bus: a disk served by qemu-storage-daemon.

use std::process::{Child, Command, Stdio};

use vdpa_test::sys::{self, sh};
use vdpa_test::user_disk::{disk_of, fio_verify};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap, ktap_main, vduse, Errno};

ktap_main!(management_device, disk_with_fio, device_without_a_server);

const QSD: &str = "/usr/bin/qemu-storage-daemon";
const DEVICE: &str = "served0";
const IMAGE: &str = "/tmp/vduse.img";

struct Server(Child);

impl Server {
    fn new() -> Self {
        if !std::fs::exists(QSD).unwrap() {
            ktap::skip("qemu-storage-daemon is not installed");
        }
        sys::modprobe("vduse");
        sh(&format!("truncate -s 16M {IMAGE}")).expect_ok();
        let child = Command::new(QSD)
            .args([
                "--blockdev",
                &format!("driver=file,filename={IMAGE},node-name=disk0"),
            ])
            .args(["--export"])
            .arg("type=vduse-blk,id=export0,node-name=disk0,name=served0,writable=on,num-queues=2")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server(child);
        sys::wait_for("the exported device", || {
            std::fs::exists("/dev/vduse/served0").unwrap()
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: The process is this value's own and was not waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        let _ = self.0.wait();
        let _ = std::fs::remove_file(IMAGE);
        // The daemon leaves its device behind.
        vduse::destroy(DEVICE);
    }
}

fn management_device() {
    sys::modprobe("vduse");
    let mut v = Vdpa::new();
    let msg = v.msg(CMD_MGMTDEV_GET).attr_str(MGMT_NAME, "vduse");
    let classes = v.request(&msg).one().need(CLASSES).u64();
    assert_eq!(classes & 0b110, 0b110, "net and block: {classes:#x}");
}

fn disk_with_fio() {
    let server = Server::new();
    sys::modprobe("virtio_vdpa");
    sys::modprobe("virtio_blk");
    let mut v = Vdpa::new();
    let d = v.add("vduse", "served0");
    let r = v.get("served0");
    assert_eq!((r.need(DEV_ID).u32(), r.need(MAX_VQS).u32()), (ID_BLOCK, 2));
    assert_eq!(v.config("served0").need(BLK_CAPACITY).u64(), 16 << 11);
    assert_eq!(sys::driver_of("served0").as_deref(), Some("virtio_vdpa"));
    let disk = disk_of("served0");
    fio_verify(&disk, "2M");
    let msg = v
        .about(CMD_DEV_VSTATS_GET, "served0")
        .attr(QUEUE_INDEX, &0u32.to_ne_bytes());
    v.ack(&msg).expect(Errno::EOPNOTSUPP, None);
    v.del("served0");
    drop(d);
    drop(server);
    sys::rmmod_ok("virtio_vdpa");
    sys::rmmod_ok("vduse");
}

fn device_without_a_server() {
    sys::modprobe("vduse");
    let mut v = Vdpa::new();
    let msg = v.new_msg("vduse", "nobody");
    v.ack(&msg).expect_errno(Errno::EINVAL);
    assert_eq!(sys::devices(), Vec::<String>::new());
}
