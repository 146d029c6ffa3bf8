// SPDX-License-Identifier: GPL-2.0
//! Watches the kernel's log for reports of trouble, so that a run stops where one
//! came. `tests/report` looks at the whole log afterwards and more closely.

const TROUBLE: [&str; 20] = [
    "BUG:",
    "kernel BUG at",
    "WARNING:",
    "[ cut here ]",
    "Oops",
    "general protection fault",
    "panicked at",
    "KASAN",
    "KFENCE",
    "UBSAN",
    "refcount_t:",
    "list_add corruption",
    "list_del corruption",
    "INFO: task ",
    "rcu: INFO:",
    "possible circular locking",
    "possible recursive locking",
    "suspicious RCU usage",
    "sleeping function called",
    "ODEBUG:",
];

/// Whether a line tells of trouble.
pub fn is_trouble(line: &str) -> bool {
    TROUBLE.iter().any(|t| line.contains(t))
}

/// A line in the kernel's log, to find one's place there.
pub fn mark(text: &str) {
    let _ = std::fs::write("/dev/kmsg", format!("<6>rvdpa-test: {text}\n"));
}
