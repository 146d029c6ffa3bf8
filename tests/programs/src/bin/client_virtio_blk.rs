// SPDX-License-Identifier: GPL-2.0
//! The stock virtio_vdpa and virtio_blk on a simulated disk.

use vdpa_test::ktap_main;
use vdpa_test::sys::{self, sh};
use vdpa_test::user_disk::{disk_of, fio_verify};
use vdpa_test::vdpa::*;

ktap_main!(size_and_properties, fio_with_verify, comes_and_goes);

fn with_disk(body: impl FnOnce(&str)) {
    for module in ["vdpa_sim_blk", "virtio_vdpa", "virtio_blk"] {
        sys::modprobe(module);
    }
    let mut v = Vdpa::new();
    let _d = v.add("vdpasim_blk", "b0");
    assert_eq!(sys::driver_of("b0").as_deref(), Some("virtio_vdpa"));
    body(&disk_of("b0"));
}

fn size_and_properties() {
    with_disk(|disk| {
        let property = |p: &str| {
            sys::read(format!("/sys/block/{disk}/{p}"))
                .trim()
                .to_string()
        };
        assert_eq!(property("size"), "262144");
        assert_eq!(property("queue/logical_block_size"), "512");
        assert_eq!(property("ro"), "0");
        let out = sh(&format!("lsblk -bno NAME,SIZE /dev/{disk}"));
        assert_eq!(
            out.expect_ok().split_whitespace().collect::<Vec<_>>(),
            [disk, "134217728"]
        );
    });
}

fn fio_with_verify() {
    with_disk(|disk| fio_verify(disk, "8M"));
}

fn comes_and_goes() {
    let before = sys::list("/sys/block");
    for _ in 0..3 {
        with_disk(|disk| assert!(!before.iter().any(|b| b == disk)));
        assert_eq!(sys::list("/sys/block"), before);
    }
}
