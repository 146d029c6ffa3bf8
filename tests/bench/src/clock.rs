// SPDX-License-Identifier: GPL-2.0
//! What something costs.

/// What the monotonic clock says, in nanoseconds: instructions, when QEMU counts them
/// (`tools/vm --icount`).
pub fn now() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `t` is valid for writes.
    let ret = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_RAW, &mut t) };
    assert_eq!(ret, 0, "clock_gettime");
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Does something; what that gave and what it cost.
pub fn cost_of<R>(f: impl FnOnce() -> R) -> (R, u64) {
    let start = now();
    let result = f();
    (result, now() - start)
}
