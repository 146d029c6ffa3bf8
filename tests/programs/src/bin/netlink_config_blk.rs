// SPDX-License-Identifier: GPL-2.0
//! DEV_CONFIG_GET of block devices, and of those that are neither.

use vdpa_test::genl::Reply;
use vdpa_test::ktap::case;
use vdpa_test::parent::{self, Mgmt};
use vdpa_test::vdpa::*;
use vdpa_test::{ktap_main, sys, Errno};

ktap_main!(
    each_feature,
    all_features,
    values,
    extreme_values,
    how_it_is_read,
    simulator,
    other_classes,
    dump_goes_on_past_other_classes,
);

/// struct virtio_blk_config with a value of its own in every field.
fn config() -> String {
    let mut c = [0u8; 96];
    let mut put = |at: usize, bytes: &[u8]| c[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &0x0102_0304_0506_0708u64.to_le_bytes());
    put(8, &0x1111_0001u32.to_le_bytes());
    put(12, &0x1111_0002u32.to_le_bytes());
    put(16, &[0xaa; 4]);
    put(20, &0x1111_0003u32.to_le_bytes());
    put(24, &[0x24, 0x25]);
    put(26, &0x2627u16.to_le_bytes());
    put(28, &0x1111_0004u32.to_le_bytes());
    put(32, &[0xbb, 0xbb]);
    put(34, &0x3435u16.to_le_bytes());
    for (i, at) in (36..56).step_by(4).enumerate() {
        put(at, &(0x2222_0000 + i as u32).to_le_bytes());
    }
    put(56, &[0xcc; 40]);
    let hex: Vec<_> = c.iter().map(|b| format!("{b:02x}")).collect();
    hex.concat()
}

fn with(features: u64) -> Reply {
    let options = format!(
        "classes=2 dev.id=2 dev.features={features:#x} dev.config={}",
        config()
    );
    let _m = Mgmt::new("m0", &options);
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let r = v.config("d0");
    assert_eq!(r.need(DEV_ID).u32(), ID_BLOCK);
    assert_eq!(r.need(FEATURES).u64(), features);
    r
}

const TOPOLOGY: [u16; 4] = [
    BLK_PHY_BLK_EXP,
    BLK_ALIGN_OFFSET,
    BLK_MIN_IO_SIZE,
    BLK_OPT_IO_SIZE,
];
const DISCARD: [u16; 3] = [
    BLK_MAX_DISCARD_SEC,
    BLK_MAX_DISCARD_SEG,
    BLK_DISCARD_SEC_ALIGN,
];
const WRITE_ZEROES: [u16; 2] = [BLK_MAX_WZ_SEC, BLK_MAX_WZ_SEG];

fn each_feature() {
    for bit in 0..64 {
        let extra: &[u16] = match bit {
            1 => &[BLK_SIZE_MAX],
            2 => &[BLK_SEG_MAX],
            6 => &[BLK_BLK_SIZE],
            10 => &TOPOLOGY,
            12 => &[BLK_NUM_QUEUES],
            13 => &DISCARD,
            14 => &WRITE_ZEROES,
            _ => &[],
        };
        case(format!("bit {bit}"), || {
            let r = with(1 << bit);
            let fixed = [DEV_NAME, DEV_ID, FEATURES, BLK_CAPACITY];
            assert_eq!(
                r.kinds(),
                [&fixed, extra, &[BLK_READ_ONLY, BLK_FLUSH]].concat()
            );
            assert_eq!(r.need(BLK_READ_ONLY).u8(), u8::from(bit == 5), "read only");
            assert_eq!(r.need(BLK_FLUSH).u8(), u8::from(bit == 9), "flush");
        });
    }
}

fn all_features() {
    let mut expected = vec![DEV_NAME, DEV_ID, FEATURES, BLK_CAPACITY];
    expected.extend([BLK_SIZE_MAX, BLK_BLK_SIZE, BLK_SEG_MAX, BLK_NUM_QUEUES]);
    expected.extend(TOPOLOGY.iter().chain(&DISCARD).chain(&WRITE_ZEROES));
    expected.extend([BLK_READ_ONLY, BLK_FLUSH]);
    assert_eq!(with(u64::MAX).kinds(), expected);
}

fn values() {
    let r = with(u64::MAX);
    assert_eq!(r.need(BLK_CAPACITY).u64(), 0x0102_0304_0506_0708);
    assert_eq!(r.need(BLK_SIZE_MAX).u32(), 0x1111_0001);
    assert_eq!(r.need(BLK_SEG_MAX).u32(), 0x1111_0002);
    assert_eq!(r.need(BLK_BLK_SIZE).u32(), 0x1111_0003);
    assert_eq!(r.need(BLK_PHY_BLK_EXP).u8(), 0x24);
    assert_eq!(r.need(BLK_ALIGN_OFFSET).u8(), 0x25);
    assert_eq!(r.need(BLK_MIN_IO_SIZE).u16(), 0x2627);
    assert_eq!(r.need(BLK_OPT_IO_SIZE).u32(), 0x1111_0004);
    assert_eq!(r.need(BLK_NUM_QUEUES).u16(), 0x3435);
    assert_eq!(r.need(BLK_MAX_DISCARD_SEC).u32(), 0x2222_0000);
    assert_eq!(r.need(BLK_MAX_DISCARD_SEG).u32(), 0x2222_0001);
    assert_eq!(r.need(BLK_DISCARD_SEC_ALIGN).u32(), 0x2222_0002);
    assert_eq!(r.need(BLK_MAX_WZ_SEC).u32(), 0x2222_0003);
    assert_eq!(r.need(BLK_MAX_WZ_SEG).u32(), 0x2222_0004);
    assert_eq!(r.need(BLK_READ_ONLY).u8(), 1);
    assert_eq!(r.need(BLK_FLUSH).u8(), 1);
}

fn extreme_values() {
    let ones = "ff".repeat(96);
    let options = format!(
        "classes=2 dev.id=2 dev.features={:#x} dev.config={ones}",
        u64::MAX
    );
    let _m = Mgmt::new("m0", &options);
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    let r = v.config("d0");
    assert_eq!(r.need(BLK_CAPACITY).u64(), u64::MAX);
    assert_eq!(r.need(BLK_PHY_BLK_EXP).u8(), 0xff);
    assert_eq!(r.need(BLK_NUM_QUEUES).u16(), 0xffff);
    assert_eq!(r.need(BLK_MAX_WZ_SEG).u32(), u32::MAX);
    assert_eq!(
        (r.need(BLK_READ_ONLY).u8(), r.need(BLK_FLUSH).u8()),
        (1, 1),
        "0 or 1"
    );
}

fn how_it_is_read() {
    let _m = Mgmt::new("m0", "classes=2 dev.id=2");
    let mut v = Vdpa::new();
    let _d = v.add("m0", "d0");
    parent::clear_log();
    v.config("d0");
    assert_eq!(parent::calls("get_config"), ["get_config d0 cf=r 0 96"]);
    for line in parent::log() {
        assert!(
            line.contains(" cf=r"),
            "cf_lock is held for reading: {line}"
        );
    }
}

fn simulator() {
    sys::modprobe("vdpa_sim_blk");
    let mut v = Vdpa::new();
    let _d = v.add("vdpasim_blk", "s");
    let r = v.config("s");
    assert_eq!(r.need(BLK_CAPACITY).u64(), 0x40000);
    assert_eq!(r.need(BLK_SIZE_MAX).u32(), 4096);
    assert_eq!(r.need(BLK_SEG_MAX).u32(), 32);
    assert_eq!(r.need(BLK_BLK_SIZE).u32(), 512);
    assert_eq!(r.need(BLK_MIN_IO_SIZE).u16(), 1);
    assert_eq!(r.need(BLK_OPT_IO_SIZE).u32(), 1);
    assert_eq!(r.need(BLK_NUM_QUEUES).u16(), 1);
    assert_eq!(r.need(BLK_READ_ONLY).u8(), 0);
    assert_eq!(r.need(BLK_FLUSH).u8(), 1);
}

fn other_classes() {
    for id in [0, 3, 4, 19, 25, ID_FS, 63, 64, 0xffff_ffff] {
        case(format!("device id {id}"), || {
            let _m = Mgmt::new("m0", &format!("dev.id={id}"));
            let mut v = Vdpa::new();
            let _d = v.add("m0", "d0");
            let msg = v.about(CMD_DEV_CONFIG_GET, "d0");
            v.ack(&msg).expect(Errno::EOPNOTSUPP, None);
        });
    }
}

fn dump_goes_on_past_other_classes() {
    let _m = [
        Mgmt::new("net", ""),
        Mgmt::new("blk", "classes=2 dev.id=2"),
        Mgmt::new("fs", "classes=26 dev.id=26"),
    ];
    let mut v = Vdpa::new();
    let made = [
        ("net", "a"),
        ("fs", "b"),
        ("blk", "c"),
        ("fs", "d"),
        ("fs", "e"),
        ("net", "f"),
    ];
    let _d = made.map(|(mgmt, name)| v.add(mgmt, name));
    assert_eq!(v.names(CMD_DEV_GET), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(v.names(CMD_DEV_CONFIG_GET), ["a", "c", "f"]);
}
