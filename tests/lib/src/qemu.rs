// SPDX-License-Identifier: GPL-2.0
//! QEMU in the VM: a process of it and its monitor.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::{sys, Errno};

const PROGRAM: &str = "qemu-system-x86_64";

/// A process of QEMU. It is killed when the value goes, or when this process ends.
pub struct Qemu {
    child: Child,
    /// The path of the monitor's socket.
    socket: String,
    monitor: Option<Monitor>,
}

/// How to run a guest. The emulated CPU of a VM has AMD's virtualization, so KVM
/// works in it.
fn accelerator() -> [&'static str; 4] {
    for module in ["kvm_amd", "kvm_intel"] {
        if !fs::exists("/dev/kvm").unwrap() {
            // The one that is not for this CPU does not load.
            let _ = sys::run(&["modprobe", "-q", module]);
        }
    }
    if fs::exists("/dev/kvm").unwrap() {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg", "-cpu", "qemu64"]
    }
}

impl Qemu {
    /// Starts QEMU, with these arguments besides those that every test needs.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("/tmp/rvdpa-qmp-{}-{number}", std::process::id());
        let mut command = Command::new(PROGRAM);
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none"])
            .args(["-qmp", &format!("unix:{socket},server=on,wait=off")])
            .args(accelerator())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // C's vhost_vdpa holds root to the limit, too.
        let limited = sys::is_ours("vhost_vdpa");
        let unlimited = libc::rlimit {
            rlim_cur: libc::RLIM_INFINITY,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: Two system calls are all that is done in the child; the structure of the
        // second is the closure's own.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if !limited {
                    libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited);
                }
                Ok(())
            })
        };
        let child = command.spawn().unwrap_or_else(|e| panic!("{PROGRAM}: {e}"));
        Qemu {
            child,
            socket,
            monitor: None,
        }
    }

    /// The ends of the process's standard input and output.
    #[track_caller]
    pub fn take_stdio(&mut self) -> (ChildStdin, ChildStdout) {
        let ends = (self.child.stdin.take(), self.child.stdout.take());
        (ends.0.expect("stdin"), ends.1.expect("stdout"))
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    /// Whether the process has a file open.
    pub fn has_open(&self, path: &str) -> bool {
        let folder = format!("/proc/{}/fd", self.child.id());
        sys::list(&folder).iter().any(|fd| {
            fs::read_link(format!("{folder}/{fd}")).is_ok_and(|to| to.as_os_str() == path)
        })
    }

    /// Kilobytes of the process's memory that are pinned.
    #[track_caller]
    pub fn pinned(&self) -> u64 {
        let status = sys::read(format!("/proc/{}/status", self.child.id()));
        let field = status.lines().find_map(|l| l.strip_prefix("VmPin:"));
        let number = field.and_then(|f| f.trim().strip_suffix(" kB")?.parse().ok());
        number.unwrap_or_else(|| panic!("VmPin in {status}"))
    }

    /// A command to the monitor; its answer, or the error.
    #[track_caller]
    pub fn try_execute(&mut self, command: &str, arguments: &str) -> Result<String, String> {
        self.monitor().execute(command, arguments)
    }

    /// A command to the monitor that has to succeed; its answer. Arguments are the
    /// members of an object in JSON.
    #[track_caller]
    pub fn execute(&mut self, command: &str, arguments: &str) -> String {
        let answer = self.try_execute(command, arguments);
        answer.unwrap_or_else(|error| panic!("{command} {arguments}: {error}"))
    }

    /// Waits for an event about a device.
    #[track_caller]
    pub fn wait_for_event(&mut self, event: &str, device: &str) {
        self.monitor().wait_for_event(event, device);
    }

    /// Whether the guest runs. QEMU has to answer.
    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        let answer = self.execute("query-status", "");
        assert!(answer.contains("\"running\": "), "{answer}");
        answer.contains("\"running\": true")
    }

    #[track_caller]
    fn monitor(&mut self) -> &mut Monitor {
        if self.monitor.is_none() {
            let stream = self.connect();
            self.monitor = Some(Monitor::new(stream));
        }
        self.monitor.as_mut().expect("a monitor")
    }

    #[track_caller]
    fn connect(&mut self) -> UnixStream {
        let start = Instant::now();
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return stream,
                Err(e) => assert!(start.elapsed() < sys::PATIENCE, "{}: {e}", self.socket),
            }
            assert!(!self.has_ended(), "QEMU has ended");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// A connection to the monitor. Its lines are JSON, of which the beginning tells
/// answers, errors and events apart.
struct Monitor {
    to: UnixStream,
    from: BufReader<UnixStream>,
    events: Vec<String>,
}

impl Monitor {
    #[track_caller]
    fn new(stream: UnixStream) -> Self {
        stream
            .set_read_timeout(Some(sys::PATIENCE))
            .expect("a limit");
        let from = BufReader::new(stream.try_clone().expect("a socket"));
        let mut monitor = Monitor {
            to: stream,
            from,
            events: Vec::new(),
        };
        let greeting = monitor.line();
        assert!(greeting.starts_with("{\"QMP\""), "{greeting}");
        monitor.execute("qmp_capabilities", "").expect("a monitor");
        monitor
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        let result = self.from.read_line(&mut line);
        let read = result.unwrap_or_else(|e| panic!("the monitor: {:?}", Errno::from(&e)));
        assert!(read > 0, "QEMU closed its monitor");
        line
    }

    #[track_caller]
    fn execute(&mut self, command: &str, arguments: &str) -> Result<String, String> {
        let request = format!("{{\"execute\":\"{command}\",\"arguments\":{{{arguments}}}}}\n");
        self.to.write_all(request.as_bytes()).expect("the monitor");
        loop {
            let line = self.line();
            if line.starts_with("{\"return\"") {
                return Ok(line);
            }
            if line.starts_with("{\"error\"") {
                return Err(line);
            }
            self.events.push(line);
        }
    }

    #[track_caller]
    fn wait_for_event(&mut self, event: &str, device: &str) {
        let (event, device) = (
            format!("\"event\": \"{event}\""),
            format!("\"device\": \"{device}\""),
        );
        let wanted = |line: &String| line.contains(&event) && line.contains(&device);
        while !self.events.iter().any(wanted) {
            let line = self.line();
            self.events.push(line);
        }
        self.events.clear();
    }
}
