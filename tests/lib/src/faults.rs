// SPDX-License-Identifier: GPL-2.0
//! Makes allocations in the kernel fail, one at a time: the first that an
//! operation needs, then the second, until the operation needs no more.
//!
//! Uses `/proc/thread-self/fail-nth` (Documentation/fault-injection): the nth
//! chance of the writing thread to fail does, and no other thread is touched.
//! What is made to fail are the allocations of objects and of pages.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{ktap, sys};

const DEBUGFS: &str = "/sys/kernel/debug";
const KINDS: [&str; 2] = ["failslab", "fail_page_alloc"];
/// Would fail the copies of a request from and to user space as well.
const USERCOPY: &str = "fail_usercopy";

/// Where x86 keeps the code of modules (Documentation/arch/x86/x86_64/mm.rst).
const MODULES: (u64, u64) = (0xffff_ffff_a000_0000, 0xffff_ffff_ff00_0000);

/// More than any operation needs.
const MOST: u32 = 20_000;

/// Whether the kernel can do this.
pub fn available() -> bool {
    Path::new(DEBUGFS).join(KINDS[0]).exists() && Path::new("/proc/thread-self/fail-nth").exists()
}

/// Fault injection, set up; what was set before comes back with its end.
pub struct Faults {
    before: Vec<(PathBuf, String)>,
}

/// What became of one attempt.
#[derive(Debug)]
pub struct Attempt<T> {
    /// Which allocation was to fail, from 1.
    pub nth: u32,
    /// Whether there was one. If not, the operation needs fewer, and ran undisturbed.
    pub failed: bool,
    pub result: T,
}

impl Faults {
    /// Skips the test on a kernel without fault injection.
    pub fn new() -> Self {
        if !available() {
            ktap::skip("the kernel has no fault injection");
        }
        let mut faults = Faults { before: Vec::new() };
        for kind in KINDS {
            faults.set(kind, "ignore-gfp-wait", "N");
            faults.set(kind, "verbose", "0");
            faults.set(kind, "stacktrace-depth", "32");
        }
        faults.set(KINDS[0], "cache-filter", "N");
        faults.set(KINDS[1], "min-order", "0");
        if Path::new(DEBUGFS).join(USERCOPY).exists() {
            faults.range(USERCOPY, 1, 2);
        }
        faults
    }

    /// As `under`, for every module: also for one that is being loaded.
    pub fn under_modules(mut self) -> Self {
        for kind in KINDS {
            self.range(kind, MODULES.0, MODULES.1);
        }
        self
    }

    /// Lets only allocations fail that happen while a function of the module is
    /// on the stack: what it allocates, and what others allocate for it.
    pub fn under(mut self, module: &str) -> Self {
        let (start, end) = text_of(module);
        for kind in KINDS {
            self.range(kind, start, end);
        }
        self
    }

    /// Logs each failure with its stack. The test runner takes the stacks for
    /// reports of trouble: for the command line only.
    pub fn verbose(mut self) -> Self {
        for kind in KINDS {
            self.set(kind, "verbose", "2");
        }
        self
    }

    fn set(&mut self, kind: &str, name: &str, value: &str) {
        let path = Path::new(DEBUGFS).join(kind).join(name);
        let before = sys::read(&path).trim().to_string();
        sys::write(&path, value);
        self.before.push((path, before));
    }

    fn range(&mut self, kind: &str, start: u64, end: u64) {
        self.set(kind, "require-start", &format!("{start:#x}"));
        self.set(kind, "require-end", &format!("{end:#x}"));
    }

    /// Runs the operation with its nth allocation failing.
    pub fn nth<T>(&self, nth: u32, operation: impl FnOnce() -> T) -> Attempt<T> {
        let path = "/proc/thread-self/fail-nth";
        let mut file = fs::OpenOptions::new().read(true).write(true).open(path);
        let file = file.as_mut().unwrap_or_else(|e| panic!("{path}: {e}"));
        let number = nth.to_string();
        file.write_all(number.as_bytes()).expect("fail-nth");
        let result = operation();
        let failed = left(file) == 0;
        file.write_all(b"0").expect("fail-nth");
        Attempt {
            nth,
            failed,
            result,
        }
    }

    /// Calls `attempt` with 1, 2, 3 ... until it tells that nothing failed any
    /// more; how many allocations failed. It does what comes before and after,
    /// and calls `nth` for the operation in between.
    pub fn each(&self, mut attempt: impl FnMut(u32) -> bool) -> u32 {
        for nth in 1..MOST {
            if !attempt(nth) {
                return nth - 1;
            }
        }
        panic!("the operation does not end after {MOST} failures");
    }

    /// Runs a command line with its nth allocation failing, from its `exec` on.
    /// Processes that the command starts are left alone.
    pub fn nth_command(&self, nth: u32, command: &[String]) -> Attempt<sys::Output> {
        let mut child = Command::new(&command[0]);
        child.args(&command[1..]);
        child.stdin(Stdio::null());
        child.stdout(Stdio::piped()).stderr(Stdio::piped());
        let number = nth.to_string();
        // SAFETY: The closure only opens and writes a file, with what the stack holds.
        unsafe {
            child.pre_exec(move || {
                let path = "/proc/thread-self/fail-nth";
                fs::OpenOptions::new()
                    .write(true)
                    .open(path)?
                    .write_all(number.as_bytes())
            })
        };
        let spawned = child.spawn();
        let mut child = match spawned {
            Ok(child) => child,
            // It was the exec that failed.
            Err(e) => {
                return Attempt {
                    nth,
                    failed: true,
                    result: sys::Output {
                        command: command.join(" "),
                        status: None,
                        out: String::new(),
                        err: e.to_string(),
                    },
                }
            }
        };
        let mut file = File::open(format!("/proc/{}/fail-nth", child.id())).expect("fail-nth");
        let (mut out, mut err) = (String::new(), String::new());
        // A command of interest writes less than a pipe holds.
        let _ = child.stdout.take().map(|mut p| p.read_to_string(&mut out));
        let _ = child.stderr.take().map(|mut p| p.read_to_string(&mut err));
        // The task is there until it was waited for.
        wait_without_reaping(child.id());
        let failed = left(&mut file) == 0;
        let status = child.wait().expect("wait");
        if let Some(signal) = status.signal() {
            err += &format!("killed by signal {signal}\n");
        }
        Attempt {
            nth,
            failed,
            result: sys::Output {
                command: command.join(" "),
                status: status.code(),
                out,
                err,
            },
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        while let Some((path, value)) = self.before.pop() {
            let _ = sys::try_write(path, value);
        }
    }
}

/// How many allocations are still to succeed before one fails; 0: it failed.
fn left(file: &mut File) -> u32 {
    // Nothing here may allocate: this thread's next allocation may be the one.
    let mut buffer = [0; 32];
    let n = file.read(&mut buffer).expect("fail-nth");
    let text = std::str::from_utf8(&buffer[..n]).expect("a number");
    text.trim().parse().expect("a number")
}

fn wait_without_reaping(pid: u32) {
    // SAFETY: All zero is a valid value of this plain structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: The pointer is to a live local.
    let ret = unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, flags) };
    assert_eq!(ret, 0, "waitid: {:?}", crate::Errno::last());
}

/// Where the code of a loaded module is.
fn text_of(module: &str) -> (u64, u64) {
    let tag = format!("[{module}]");
    let symbols = sys::read("/proc/kallsyms");
    let code = symbols.lines().filter_map(|l| {
        let mut words = l.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let is_code = matches!(words.next()?, "t" | "T");
        (is_code && words.nth(1)? == tag).then_some(address)
    });
    let (start, last) = code.fold((u64::MAX, 0), |(low, high), a| (low.min(a), high.max(a)));
    assert!(last != 0, "{module} has no code: is it loaded?");
    // No function is as long as that, and no other module's code as near.
    (start, (last | 0xfff) + 1)
}
