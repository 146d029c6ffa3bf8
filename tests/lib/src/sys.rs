// SPDX-License-Identifier: GPL-2.0
//! Modules, sysfs and commands.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::errno::Errno;
use crate::{ktap, parent};

pub const BUS: &str = "/sys/bus/vdpa";
const TEST_MODULES: &str = "/usr/lib/rvdpa/modules";

/// In an order in which they can be removed.
const MODULES: [&str; 15] = [
    "vdpa_test_planted",
    "vdpa_sample_dev",
    "vdpa_sample_drv",
    "vdpa_test_driver",
    "vdpa_test_parent",
    "vdpa_test_consumer",
    "vp_vdpa",
    "vdpa_sim_net",
    "vdpa_sim_blk",
    "vdpa_sim",
    "vringh",
    "vduse",
    "virtio_vdpa",
    "vhost_vdpa",
    "vdpa",
];

/// Modules that are drivers of the bus.
const DRIVERS: [&str; 4] = [
    "vdpa_sample_drv",
    "vdpa_test_driver",
    "virtio_vdpa",
    "vhost_vdpa",
];

pub fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module")
        .join(module)
        .join("refcnt")
        .exists()
}

/// Whether modprobe loads our module, not its C counterpart. The runner says so in
/// a folder; it names the folder when it is not in the VM.
pub fn is_ours(module: &str) -> bool {
    let folder = std::env::var("RVDPA_RUST_MODULES");
    Path::new(folder.as_deref().unwrap_or("/usr/lib/rvdpa/rust-modules"))
        .join(module)
        .exists()
}

/// Skips the test if the module belongs to those that we are still writing.
pub fn modprobe(module: &str) {
    if !is_loaded(module) {
        if Path::new("/usr/lib/rvdpa/missing-modules")
            .join(module)
            .exists()
        {
            ktap::skip(format!("we have no {module} yet"));
        }
        run(&["modprobe", module]).expect_ok();
    }
}

/// One of the modules that were built for the tests.
pub fn insmod_test(module: &str, parameters: &str) {
    modprobe("vdpa");
    if !is_loaded(module) {
        sh(&format!("insmod {TEST_MODULES}/{module}.ko {parameters}")).expect_ok();
    }
}

pub fn rmmod(module: &str) -> Errno {
    let name = CString::new(module).unwrap();
    // SAFETY: The name is a C string that lives across the call.
    let ret = unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
    if ret != 0 {
        return Errno::last();
    }
    // A driver's folder in sysfs goes with the last reference to the driver, which
    // the debug kernel drops up to four seconds late.
    if DRIVERS.contains(&module) && is_debug_kernel() {
        std::thread::sleep(Duration::from_millis(4200));
    }
    Errno::OK
}

#[track_caller]
pub fn rmmod_ok(module: &str) {
    assert_eq!(rmmod(module), Errno::OK, "rmmod {module}");
}

/// Removes every module that tests load, with the devices that they made.
pub fn unload_all() {
    unload(MODULES);
}

/// As `unload_all`, except for these.
pub fn unload_others(keep: &[&str]) {
    unload(MODULES.into_iter().filter(|m| !keep.contains(m)));
}

pub(crate) fn unload(modules: impl IntoIterator<Item = &'static str>) {
    // A user may need a moment to go: a worker, a closing file, on the debug kernel
    // a device.
    let moments = if is_debug_kernel() { 200 } else { 20 };
    for m in modules {
        if is_loaded(m) {
            let busy = || !matches!(rmmod(m), Errno::OK | Errno::ENOENT);
            for _ in 0..moments {
                if !busy() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Whether this is the kernel of tools/debug-kernel.
pub fn is_debug_kernel() -> bool {
    Path::new("/sys/kernel/debug/kmemleak").exists()
}

/// How often to do something: the debug kernel takes seconds to load or unload a
/// module, and notices at the first time what another one would show, if at all,
/// after many.
pub fn rounds(stock: usize, debug: usize) -> usize {
    if is_debug_kernel() {
        debug
    } else {
        stock
    }
}

/// Cases that go the same ways through the code: on the debug kernel only `n` of them,
/// the last one and others evenly before it.
pub fn few<T>(cases: impl IntoIterator<Item = T>, n: usize) -> Vec<T> {
    let cases: Vec<T> = cases.into_iter().collect();
    let len = cases.len();
    let n = rounds(len, n).min(len);
    let chosen: Vec<usize> = (1..=n).map(|i| i * len / n - 1).collect();
    let numbered = cases.into_iter().enumerate();
    numbered
        .filter(|(i, _)| chosen.contains(i))
        .map(|(_, case)| case)
        .collect()
}

/// After a program: removes what it loaded. On the debug kernel, where a module
/// takes ten seconds to go, only drivers, which would take the devices of the next
/// program. The others stay, also for kmemleak, which can name their functions then.
pub fn unload_after_program() {
    if is_debug_kernel() {
        unload(DRIVERS);
    } else {
        unload_all();
    }
}

pub fn devices() -> Vec<String> {
    list(&format!("{BUS}/devices"))
}

/// The names in a folder, sorted; none if it is not there.
pub fn list(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let name = |e: std::io::Result<fs::DirEntry>| e.ok()?.file_name().into_string().ok();
    let mut names: Vec<_> = entries.filter_map(name).collect();
    names.sort();
    names
}

/// Before a test: what a failed one left goes.
pub fn clean_state() {
    if !devices().is_empty() || !parent::mgmts().is_empty() {
        unload_all();
    }
    parent::start_anew();
}

/// After a test: nothing may be left.
pub fn assert_clean() {
    assert_eq!(devices(), Vec::<String>::new(), "devices left behind");
}

pub fn device_path(name: &str) -> PathBuf {
    Path::new(BUS).join("devices").join(name)
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
}

pub fn try_write(path: impl AsRef<Path>, data: impl AsRef<[u8]>) -> Errno {
    use std::io::Write;
    let file = fs::OpenOptions::new().write(true).open(path);
    // One write: sysfs and debugfs take each as a command.
    crate::errno::of(&file.and_then(|mut f| f.write(data.as_ref())))
}

#[track_caller]
pub fn write(path: impl AsRef<Path>, data: impl AsRef<[u8]>) {
    let path = path.as_ref();
    assert_eq!(try_write(path, data), Errno::OK, "write {}", path.display());
}

/// The name of the driver that has the device.
pub fn driver_of(device: &str) -> Option<String> {
    let link = fs::read_link(device_path(device).join("driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Gives a device to this driver, whichever has it.
#[track_caller]
pub fn rebind(device: &str, driver: &str) {
    let path = device_path(device);
    write(path.join("driver_override"), driver);
    if driver_of(device).as_deref() != Some(driver) {
        if driver_of(device).is_some() {
            write(path.join("driver/unbind"), device);
        }
        write(format!("{BUS}/drivers_probe"), device);
    }
    assert_eq!(driver_of(device).as_deref(), Some(driver));
}

/// What takes longer never happens. An emulated debug kernel on a busy machine is slow.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// [`patience`], in milliseconds.
static LIMIT: AtomicU64 = AtomicU64::new(PATIENCE.as_secs() * 1000);

/// Of a test that C is expected to fail: it need not wait long for what does not
/// come there.
pub fn expect_failure(expected: bool) {
    let short = Duration::from_millis(500);
    limit_patience(if expected { short } else { PATIENCE });
}

/// Says how long to wait for what should come.
pub fn limit_patience(limit: Duration) {
    let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    LIMIT.store(limit, Ordering::Relaxed);
}

/// How long to wait for what should come.
pub fn patience() -> Duration {
    Duration::from_millis(LIMIT.load(Ordering::Relaxed))
}

/// Waits for a condition.
#[track_caller]
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience(), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[derive(Debug)]
pub struct Output {
    pub command: String,
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Output {
    #[track_caller]
    pub fn expect_ok(&self) -> &str {
        assert_eq!(self.status, Some(0), "{self:?}");
        &self.out
    }

    /// Standard output, to the letter.
    #[track_caller]
    pub fn expect(&self, out: &str) {
        assert_eq!(
            (self.out.as_str(), self.err.as_str()),
            (out, ""),
            "{}",
            self.command
        );
        assert_eq!(self.status, Some(0), "status of {}", self.command);
    }

    /// A failure with that on standard error, to the letter.
    #[track_caller]
    pub fn expect_err(&self, err: &str) {
        assert_eq!(
            (self.out.as_str(), self.err.as_str()),
            ("", err),
            "{}",
            self.command
        );
        assert_ne!(self.status, Some(0), "status of {}", self.command);
    }
}

pub fn run(command: &[&str]) -> Output {
    let out = Command::new(command[0]).args(&command[1..]).output();
    let out = out.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    Output {
        command: command.join(" "),
        status: out.status.code(),
        out: String::from_utf8_lossy(&out.stdout).into_owned(),
        err: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// The words of a command line without quotes.
pub fn sh(line: &str) -> Output {
    run(&line.split_whitespace().collect::<Vec<_>>())
}
