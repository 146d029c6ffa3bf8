// SPDX-License-Identifier: GPL-2.0
//! Tells reports of trouble in the kernel's log.

/// What no healthy kernel prints. Matched as text: names of functions change.
const TROUBLE: [&str; 44] = [
    "BUG:",
    "] BUG ",
    "kernel BUG at",
    "WARNING:",
    "[ cut here ]",
    "Oops",
    "general protection fault",
    "invalid opcode",
    "Unable to handle",
    "stack segment",
    "Kernel panic",
    "panicked at",
    "rust_kernel:",
    "KASAN",
    "KFENCE",
    "KCSAN",
    "UBSAN",
    "refcount_t:",
    "list_add corruption",
    "list_del corruption",
    "Call Trace:",
    "INFO: task ",
    "rcu: INFO:",
    "detected stall",
    "soft lockup",
    "hard LOCKUP",
    "workqueue lockup",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "held lock freed",
    "scheduling while atomic",
    "sleeping function called",
    "unreferenced object",
    "memory leak detector disabled",
    "lockdep is turned off",
    "trying to register non-static key",
    "page allocation failure",
    "DMA-API: device",
    "[fault reason",
    "ODEBUG:",
    "cannot create duplicate filename",
    "DEBUG_LOCKS_WARN",
];

/// Whether a line tells of trouble.
pub fn is_trouble(line: &str) -> bool {
    TROUBLE.iter().any(|t| line.contains(t))
}
