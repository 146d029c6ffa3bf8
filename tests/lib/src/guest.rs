// SPDX-License-Identifier: GPL-2.0
//! A Linux guest in QEMU, in which a test runs commands, and into which it plugs
//! devices. `tools/guest/nested-init` is the guest's end.
//!
//! To boot one takes longer than most that is done with it, so it stays for the next
//! test of the program.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::ChildStdin;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::qemu::Qemu;
use crate::{ktap, sys};

/// What the guest's memory is for QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ram {
    /// Private and of no file: what QEMU takes if not told otherwise.
    Private,
    /// A memfd, as for vhost-user.
    Shared,
}

/// The guest's memory, in MiB.
pub const MIB: u64 = 256;

/// How many CPUs it has, and so how many pairs of queues its driver uses at most.
pub const CPUS: u32 = 4;

/// How a network device is plugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    pub packed: bool,
    /// Pairs of queues.
    pub pairs: u16,
}

impl Rings {
    pub const SPLIT: Rings = Rings {
        packed: false,
        pairs: 1,
    };
    pub const PACKED: Rings = Rings {
        packed: true,
        pairs: 1,
    };

    /// The same, as many times as there are CPUs.
    pub fn four(self) -> Self {
        Rings { pairs: 4, ..self }
    }
}

/// A guest needs less to boot.
const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// How long a command may take. In a guest whose device is expected to do nothing, some
/// never end.
fn limit() -> Duration {
    (sys::patience() * 40).min(BOOT_LIMIT)
}

/// Where QEMU puts what the guest's kernel says.
const CONSOLE: &str = "/tmp/rvdpa-guest-console";

/// What comes before the status of a command that has ended.
const STATUS: &str = "nested-status: ";

/// A guest that is up.
pub struct Guest {
    pub qemu: Qemu,
    to: ChildStdin,
    from: Receiver<String>,
}

/// Runs `f` with a guest that has such memory. It is booted if there is none yet, and
/// killed if `f` panics.
#[track_caller]
pub fn with<R>(ram: Ram, f: impl FnOnce(&mut Guest) -> R) -> R {
    static GUEST: Mutex<Option<(Ram, Guest)>> = Mutex::new(None);
    let there = GUEST.lock().expect("nobody panics here").take();
    let mut guest = match there {
        Some((is, guest)) if is == ram => guest,
        other => {
            drop(other);
            Guest::boot(ram)
        }
    };
    let result = f(&mut guest);
    *GUEST.lock().expect("nobody panics here") = Some((ram, guest));
    result
}

impl Guest {
    #[track_caller]
    fn boot(ram: Ram) -> Self {
        let kernel = sys::read("/etc/rvdpa-kernel");
        let kernel = format!("/usr/lib/modules/{}/vmlinuz", kernel.trim());
        let (size, cpus) = (format!("{MIB}M"), CPUS.to_string());
        let memory = format!("memory-backend-memfd,id=mem,size={size},share=on");
        let console = format!("file:{CONSOLE}");
        let mut arguments = vec![
            "-m",
            &size,
            "-smp",
            &cpus,
            "-kernel",
            &kernel,
            "-initrd",
            "/usr/lib/rvdpa/nested-initramfs",
            "-append",
            "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0 nokaslr rvdpa.commands",
            "-serial",
            &console,
            "-chardev",
            "stdio,id=commands,signal=off",
            "-device",
            "virtio-serial-pci",
            "-device",
            "virtserialport,chardev=commands",
            "-device",
            "pcie-root-port,id=place,chassis=1",
        ];
        match ram {
            Ram::Private => arguments.extend(["-machine", "q35"]),
            Ram::Shared => {
                arguments.extend(["-machine", "q35,memory-backend=mem", "-object", &memory])
            }
        }
        let start = Instant::now();
        let mut qemu = Qemu::start(&arguments);
        let (to, from) = qemu.take_stdio();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(from).lines();
            lines.map_while(Result::ok).all(|l| sender.send(l).is_ok())
        });
        let mut guest = Guest {
            qemu,
            to,
            from: receiver,
        };
        assert_eq!(guest.end_within(BOOT_LIMIT).0, 0, "the guest is up");
        let seconds = start.elapsed().as_secs();
        ktap::note(format!("the guest was up after {seconds} s"));
        guest
    }

    /// Has the guest's shell begin with a line.
    #[track_caller]
    pub fn begin(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.to.write_all(line.as_bytes()).expect("the guest");
    }

    /// Waits for the end of what was begun; its status and what it printed.
    #[track_caller]
    pub fn end(&mut self) -> (i32, String) {
        self.end_within(limit())
    }

    #[track_caller]
    fn end_within(&mut self, limit: Duration) -> (i32, String) {
        let mut output = String::new();
        loop {
            let line = match self.from.recv_timeout(limit) {
                Ok(line) => line,
                Err(e) => panic!("the guest {}; its console:\n{}", silence(e), console()),
            };
            match line.strip_prefix(STATUS) {
                Some(status) => return (status.trim().parse().expect("a status"), output),
                None => output += &(line + "\n"),
            }
        }
    }

    /// Whether a line succeeds.
    #[track_caller]
    pub fn try_sh(&mut self, line: &str) -> bool {
        self.begin(line);
        self.end().0 == 0
    }

    /// Runs a line, which has to succeed; what it printed.
    #[track_caller]
    pub fn sh(&mut self, line: &str) -> String {
        self.begin(line);
        let (status, output) = self.end();
        assert_eq!(status, 0, "{line}\n{output}");
        output
    }

    /// Plugs a network device that a node is behind, and waits until the guest has it
    /// as eth0.
    #[track_caller]
    pub fn plug(&mut self, node: &str, mac: &str, rings: Rings) {
        let Rings { packed, pairs } = rings;
        let net = format!(
            "\"type\":\"vhost-vdpa\",\"id\":\"net\",\"vhostdev\":\"{node}\",\"queues\":{pairs}"
        );
        self.qemu.execute("netdev_add", &net);
        let device = format!(
            "\"driver\":\"virtio-net-pci\",\"id\":\"nic\",\"bus\":\"place\",\"netdev\":\"net\",\
             \"mac\":\"{mac}\",\"packed\":{packed},\"mq\":{},\"romfile\":\"\"",
            pairs > 1
        );
        self.qemu.execute("device_add", &device);
        self.sh("for _ in $(seq 600); do [ ! -d $dev ] || exit 0; usleep 100000; done; exit 1");
    }

    /// Takes the network device away while the guest runs.
    #[track_caller]
    pub fn unplug(&mut self) {
        self.qemu.execute("device_del", "\"id\":\"nic\"");
        self.qemu.wait_for_event("DEVICE_DELETED", "nic");
        self.qemu.execute("netdev_del", "\"id\":\"net\"");
        assert!(self.try_sh("[ ! -d $dev ]"), "eth0 has gone");
    }

    /// Whether its driver negotiated the feature of this number.
    #[track_caller]
    pub fn has(&mut self, feature: u32) -> bool {
        let features = self.sh("cat $dev/device/features");
        features.as_bytes()[feature as usize] == b'1'
    }
}

fn silence(error: RecvTimeoutError) -> &'static str {
    match error {
        RecvTimeoutError::Timeout => "is silent",
        RecvTimeoutError::Disconnected => "has ended",
    }
}

/// The end of what the guest's kernel said.
fn console() -> String {
    let text = fs::read(CONSOLE).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
