// SPDX-License-Identifier: GPL-2.0
//! The stock vduse module on our bus: a disk served by qemu-storage-daemon.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vdpa_test::sys::{self, sh};
use vdpa_test::user_disk::{disk_of, fio_verify};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap, ktap_main, Errno};

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

/// The daemon leaves its device behind when it is ended, and vduse with it.
fn destroy() {
    const VDUSE_DESTROY_DEV: u64 = 0x4100_8103;
    let mut name = [0u8; 256];
    name[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/vduse/control")
        .unwrap();
    let try_destroy = || {
        // SAFETY: The request reads a name of 256 bytes, which lives across the call.
        let ret = unsafe { libc::ioctl(control.as_raw_fd(), VDUSE_DESTROY_DEV, name.as_ptr()) };
        if ret == 0 {
            Errno::OK
        } else {
            Errno::last()
        }
    };
    let start = Instant::now();
    let mut result = try_destroy();
    // The vDPA device has to be released first, which the debug kernel puts off.
    while result == Errno::EBUSY && start.elapsed() < sys::PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
        result = try_destroy();
    }
    if result != Errno::OK {
        ktap::note(format!("destroying {DEVICE}: {result:?}"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: The process is this value's own and was not waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        let _ = self.0.wait();
        let _ = std::fs::remove_file(IMAGE);
        destroy();
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
