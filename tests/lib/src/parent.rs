// SPDX-License-Identifier: GPL-2.0
//! The test modules: a parent whose devices are made to order and a bus driver.

use std::cell::RefCell;

use crate::errno::Errno;
use crate::sys;

const DIR: &str = "/sys/kernel/debug/vdpa_test";
const DRIVER_DIR: &str = "/sys/kernel/debug/vdpa_test_driver";

thread_local! {
    static MGMTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Management devices that were made and not removed.
pub fn mgmts() -> Vec<String> {
    MGMTS.with_borrow(|m| m.clone())
}

pub fn load() {
    sys::insmod_test("vdpa_test_parent", "");
}

/// Before a test: empties the logs, and keeps out of them what devices of earlier
/// tests still do. The debug kernel frees them late.
pub fn start_anew() {
    if std::path::Path::new(DIR).exists() {
        control("new-generation");
    }
    forget();
}

/// Empties the logs of the modules that are loaded.
pub fn forget() {
    for dir in [DIR, DRIVER_DIR] {
        if std::path::Path::new(dir).exists() {
            sys::write(format!("{dir}/log"), "x");
        }
    }
}

pub fn load_driver() {
    sys::insmod_test("vdpa_test_driver", "");
}

/// Removes the test driver, or undoes what it was told where that takes too long.
pub fn forget_driver() {
    if sys::is_debug_kernel() {
        let _ = try_driver("probe-error a 0");
        let _ = try_driver("probe-error b 0");
    } else {
        let _ = sys::rmmod("vdpa_test_driver");
    }
}

pub fn try_control(command: &str) -> Errno {
    sys::try_write(format!("{DIR}/control"), command)
}

#[track_caller]
pub fn control(command: &str) {
    assert_eq!(try_control(command), Errno::OK, "{command}");
}

pub fn try_driver(command: &str) -> Errno {
    sys::try_write(format!("{DRIVER_DIR}/control"), command)
}

#[track_caller]
pub fn driver(command: &str) {
    assert_eq!(try_driver(command), Errno::OK, "{command}");
}

/// The operations called since the log was cleared, one a line.
pub fn log() -> Vec<String> {
    sys::read(format!("{DIR}/log"))
        .lines()
        .map(str::to_string)
        .collect()
}

pub fn clear_log() {
    sys::write(format!("{DIR}/log"), "x");
}

pub fn driver_log() -> Vec<String> {
    sys::read(format!("{DRIVER_DIR}/log"))
        .lines()
        .map(str::to_string)
        .collect()
}

/// What an operation of a device that the test driver has returns; see
/// tests/modules/driver.c.
#[track_caller]
pub fn ask(device: &str, question: &str) -> i64 {
    clear_driver_log();
    driver(&format!("ask {device} {question}"));
    let log = driver_log();
    let answer = log.iter().find_map(|l| l.strip_prefix(question));
    answer.expect("an answer").trim().parse().expect("a number")
}

pub fn clear_driver_log() {
    sys::write(format!("{DRIVER_DIR}/log"), "x");
}

/// The names of the operations that a device saw, in order.
pub fn ops_of(device: &str) -> Vec<String> {
    let mut ops = Vec::new();
    for line in log() {
        let mut words = line.split(' ');
        if let (Some(op), Some(name)) = (words.next(), words.next()) {
            if name == device {
                ops.push(op.to_string());
            }
        }
    }
    ops
}

/// The lines of one operation.
pub fn calls(op: &str) -> Vec<String> {
    log()
        .into_iter()
        .filter(|l| l.split(' ').next() == Some(op))
        .collect()
}

/// Devices whose memory was not given back yet.
pub fn live() -> i32 {
    sys::read(format!("{DIR}/live")).trim().parse().unwrap()
}

/// As many devices are left. On the debug kernel, which frees late, they will be.
#[track_caller]
pub fn assert_live(n: i32) {
    if sys::is_debug_kernel() {
        sys::wait_for(&format!("{n} devices are left"), || live() == n);
    }
    assert_eq!(live(), n, "devices that were not freed");
}

/// Loads the parent with the checks of the in-kernel contract; what they found.
pub fn contract() -> String {
    sys::unload_all();
    sys::insmod_test("vdpa_test_parent", "contract=1");
    sys::read(format!("{DIR}/contract"))
}

/// A management device; goes with the guard, and its devices with it.
pub struct Mgmt(String);

impl Mgmt {
    #[track_caller]
    pub fn new(name: &str, options: &str) -> Self {
        load();
        control(&format!("mgmt-add {name} {options}"));
        MGMTS.with_borrow_mut(|m| m.push(name.to_string()));
        Mgmt(name.to_string())
    }

    /// What devices are made from.
    #[track_caller]
    pub fn set(&self, options: &str) {
        control(&format!("mgmt-set {} {options}", self.0));
    }
}

impl Drop for Mgmt {
    fn drop(&mut self) {
        let _ = try_control(&format!("mgmt-del {}", self.0));
        MGMTS.with_borrow_mut(|m| m.retain(|n| *n != self.0));
    }
}

/// A device without a management device.
pub struct Unmanaged(pub String);

impl Unmanaged {
    #[track_caller]
    pub fn new(name: &str, options: &str) -> Self {
        load();
        control(&format!("dev-add {name} {options}"));
        Unmanaged(name.to_string())
    }
}

impl Drop for Unmanaged {
    fn drop(&mut self) {
        let _ = try_control(&format!("dev-del {}", self.0));
    }
}
