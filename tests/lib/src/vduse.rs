// SPDX-License-Identifier: GPL-2.0
//! Devices of VDUSE, the stock module whose devices are served by processes: as
//! `linux/vduse.h` has it, in the first version of the interface.
//!
//! A [`Vduse`] is such a device in the hands of vhost_vdpa, a [`Daemon`] the process's
//! side of it, and a [`Server`] a thread that answers what the kernel asks. A test
//! says in advance if one is to be answered otherwise than by yes.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::errno::Errno;
use crate::user::{fork, Child};
use crate::vdpa::{Device, Vdpa, BASE_FEATURES, ID_BLOCK};
use crate::{ktap, sim, sys};

const SET_API_VERSION: u64 = 0x4008_8101;
const CREATE_DEV: u64 = 0x4150_8102;
const DESTROY_DEV: u64 = 0x4100_8103;
const IOTLB_GET_FD: u64 = 0xc020_8110;
const VQ_SETUP: u64 = 0x4020_8114;

const CONTROL: &str = "/dev/vduse/control";
const NAME_SIZE: usize = 256;
/// Of a request and of a response.
const MESSAGE: usize = 152;
const QUEUES: u32 = 2;
const QUEUE_SIZE: u16 = 256;

/// A request whose argument is the bytes. Returns what the kernel returned.
fn ioctl(file: &File, number: u64, argument: &mut [u8]) -> Result<i32, Errno> {
    assert!(argument.len() >= (number >> 16) as usize & 0x3fff);
    // SAFETY: The argument is as long as the structure that the number names.
    let ret = unsafe { libc::ioctl(file.as_raw_fd(), number, argument.as_mut_ptr()) };
    if ret < 0 {
        return Err(Errno::last());
    }
    Ok(ret)
}

fn control() -> File {
    let file = OpenOptions::new().read(true).write(true).open(CONTROL);
    file.expect(CONTROL)
}

fn name_field(name: &str) -> [u8; NAME_SIZE] {
    let mut field = [0; NAME_SIZE];
    field[..name.len()].copy_from_slice(name.as_bytes());
    field
}

/// Makes what a daemon can open: a disk without contents.
#[track_caller]
fn create(name: &str) {
    let control = control();
    let config_size = 60u32;
    let mut config = name_field(name).to_vec();
    config.extend(0u32.to_ne_bytes());
    config.extend(ID_BLOCK.to_ne_bytes());
    config.extend(BASE_FEATURES.to_ne_bytes());
    config.extend(QUEUES.to_ne_bytes());
    // The alignment of queues.
    config.extend(4096u32.to_ne_bytes());
    // Groups and address spaces, which this version does not have, and room.
    config.extend([0; 4 * 13]);
    config.extend(config_size.to_ne_bytes());
    config.extend([0; 60]);
    let made = ioctl(&control, SET_API_VERSION, &mut 0u64.to_ne_bytes())
        .and_then(|_| ioctl(&control, CREATE_DEV, &mut config));
    assert_eq!(made, Ok(0), "a VDUSE device");
}

/// Removes what a daemon can open, which a daemon that ends leaves behind, and keeps
/// vduse loaded.
pub fn destroy(name: &str) {
    let control = control();
    let try_destroy = || match ioctl(&control, DESTROY_DEV, &mut name_field(name)) {
        Ok(_) => Errno::OK,
        Err(error) => error,
    };
    let start = Instant::now();
    let mut result = try_destroy();
    // The vDPA device has to be released first, which the debug kernel puts off.
    while result == Errno::EBUSY && start.elapsed() < sys::PATIENCE {
        thread::sleep(Duration::from_millis(50));
        result = try_destroy();
    }
    if result != Errno::OK {
        ktap::note(format!("destroying {name}: {result:?}"));
    }
}

/// What the kernel asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    QueueState,
    Status(u8),
    /// To look again what is mapped.
    Iotlb,
}

/// A question of the kernel's.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    id: u32,
    pub kind: Kind,
}

/// What a daemon can see of the memory of its device's user.
#[derive(Debug)]
pub struct Region {
    /// The first address for the device, and the last one.
    pub first: u64,
    pub last: u64,
    pub perm: u8,
    /// Where it begins in the file.
    pub offset: u64,
    pub file: File,
}

impl Region {
    /// All but the file.
    pub fn place(&self) -> (u64, u64, u64) {
        (self.first, self.last, self.offset)
    }
}

/// An open `/dev/vduse/NAME`, of which there is one at a time.
pub struct Daemon(File);

impl Daemon {
    /// Opens it and sets the queues up.
    #[track_caller]
    pub fn open(name: &str) -> Self {
        let path = format!("/dev/vduse/{name}");
        sys::wait_for(&path, || std::fs::exists(&path).unwrap());
        let mut options = OpenOptions::new();
        options.custom_flags(libc::O_NONBLOCK);
        let file = options.read(true).write(true).open(&path).expect(&path);
        for index in 0..QUEUES {
            let mut config = [0; 32];
            config[..4].copy_from_slice(&index.to_ne_bytes());
            config[4..6].copy_from_slice(&QUEUE_SIZE.to_ne_bytes());
            assert_eq!(ioctl(&file, VQ_SETUP, &mut config), Ok(0), "queue {index}");
        }
        Daemon(file)
    }

    /// Waits for a question, but not for long.
    fn read(&self) -> Option<Request> {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: One entry, which lives across the call.
        unsafe { libc::poll(&raw mut poll, 1, 20) };
        if poll.revents & libc::POLLERR != 0 {
            // The kernel has given it up.
            thread::sleep(Duration::from_millis(10));
        }
        let mut request = [0; MESSAGE];
        match (&self.0).read(&mut request) {
            Ok(len) => assert_eq!(len, MESSAGE),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
            Err(e) => panic!("a request: {e}"),
        }
        let word = |n: usize| u32::from_ne_bytes(request[4 * n..4 * n + 4].try_into().unwrap());
        let kind = match word(0) {
            0 => Kind::QueueState,
            1 => Kind::Status(request[24]),
            2 => Kind::Iotlb,
            other => panic!("a request of kind {other}"),
        };
        Some(Request { id: word(1), kind })
    }

    /// Fails with `ENOENT` if nobody waits for the answer any more.
    fn answer(&self, request: Request, yes: bool) -> Result<(), Errno> {
        let mut response = [0; MESSAGE];
        response[..4].copy_from_slice(&request.id.to_ne_bytes());
        response[4..8].copy_from_slice(&u32::from(!yes).to_ne_bytes());
        match (&self.0).write(&response) {
            Ok(len) => assert_eq!(len, MESSAGE),
            Err(e) => return Err(Errno::from(&e)),
        }
        Ok(())
    }

    /// The first region that overlaps these addresses.
    #[track_caller]
    pub fn region(&self, first: u64, last: u64) -> Option<Region> {
        let mut entry = [0; 32];
        entry[8..16].copy_from_slice(&first.to_ne_bytes());
        entry[16..24].copy_from_slice(&last.to_ne_bytes());
        let fd = match ioctl(&self.0, IOTLB_GET_FD, &mut entry) {
            Ok(fd) => fd,
            Err(Errno::EINVAL) => return None,
            Err(error) => panic!("a region: {error:?}"),
        };
        let long = |n: usize| u64::from_ne_bytes(entry[8 * n..8 * n + 8].try_into().unwrap());
        Some(Region {
            offset: long(0),
            first: long(1),
            last: long(2),
            perm: entry[24],
            // SAFETY: The kernel made the descriptor for us.
            file: unsafe { File::from_raw_fd(fd) },
        })
    }

    /// All regions, in order.
    #[track_caller]
    pub fn regions(&self) -> Vec<Region> {
        let mut regions: Vec<Region> = Vec::new();
        let mut next = Some(0);
        while let Some(region) = next.and_then(|first| self.region(first, u64::MAX)) {
            next = region.last.checked_add(1);
            regions.push(region);
        }
        regions
    }
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// When the test says so.
    Later,
}

#[derive(Default)]
struct State {
    /// What the next questions about the memory, or about the status, are answered.
    iotlb: VecDeque<Answer>,
    status: VecDeque<Answer>,
    /// Those that were not answered.
    kept: Vec<Request>,
}

/// A daemon in a thread of this process.
pub struct Server {
    pub daemon: Arc<Daemon>,
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn new(daemon: Daemon) -> Self {
        let daemon = Arc::new(daemon);
        let (state, over) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (daemon, state, over) = (daemon.clone(), state.clone(), over.clone());
            move || {
                while !over.load(Ordering::Relaxed) {
                    serve_one(&daemon, &state);
                }
            }
        });
        Server {
            daemon,
            state,
            over,
            thread: Some(thread),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a thread that panicked left is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the next questions about the memory like this, and later ones by yes.
    pub fn answer_iotlb(&self, answers: &[Answer]) {
        self.state().iotlb = answers.iter().copied().collect();
    }

    /// The same for questions about the status.
    pub fn answer_status(&self, answers: &[Answer]) {
        self.state().status = answers.iter().copied().collect();
    }

    /// Waits for a question that was not answered yet.
    #[track_caller]
    pub fn wait_for_question(&self) -> Kind {
        sys::wait_for("a question", || !self.state().kept.is_empty());
        self.state().kept[0].kind
    }

    /// Answers what was not answered yet; whether anybody waited for that.
    pub fn answer_kept(&self, yes: bool) -> bool {
        let kept = std::mem::take(&mut self.state().kept);
        let answers = kept.into_iter().map(|r| self.daemon.answer(r, yes));
        answers.fold(false, |any, result| any | result.is_ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has told of its panic.
            let _ = thread.join();
        }
    }
}

fn serve_one(daemon: &Daemon, state: &Mutex<State>) {
    let Some(request) = daemon.read() else {
        return;
    };
    let mut state = state.lock().expect("the state of the server");
    let answer = match request.kind {
        Kind::Iotlb => state.iotlb.pop_front(),
        Kind::Status(_) => state.status.pop_front(),
        Kind::QueueState => None,
    };
    match answer.unwrap_or(Answer::Yes) {
        Answer::Later => state.kept.push(request),
        answer => {
            // Who asked may have been killed meanwhile.
            let _ = daemon.answer(request, answer == Answer::Yes);
        }
    }
}

/// Who serves a device.
enum By {
    Nobody,
    Thread(Server),
    Process { _child: Child },
}

/// A VDUSE device that vhost_vdpa has. It goes with the guard.
pub struct Vduse {
    pub v: Vdpa,
    device: Option<Device>,
    by: By,
}

/// The name of the device.
pub const NAME: &str = "u0";

impl Vduse {
    #[track_caller]
    fn new(by: impl FnOnce() -> By) -> Self {
        sys::modprobe("vduse");
        sim::for_vhost();
        create(NAME);
        let mut vduse = Vduse {
            v: Vdpa::new(),
            device: None,
            by: By::Nobody,
        };
        vduse.by = by();
        vduse.device = Some(vduse.v.add("vduse", NAME));
        assert_eq!(sys::driver_of(NAME).as_deref(), Some("vhost_vdpa"));
        vduse
    }

    /// One that a thread of this process serves.
    #[track_caller]
    pub fn by_thread() -> Self {
        Self::new(|| By::Thread(Server::new(Daemon::open(NAME))))
    }

    /// One that a process of its own serves. There must not be other threads.
    #[track_caller]
    pub fn by_child() -> Self {
        Self::new(|| {
            let (mut here, mut there) = UnixStream::pair().expect("sockets");
            let child = fork(move || {
                let daemon = Daemon::open(NAME);
                there.write_all(&[0]).expect("the parent");
                let state = Mutex::default();
                loop {
                    serve_one(&daemon, &state);
                }
            });
            here.read_exact(&mut [0]).expect("a daemon");
            By::Process { _child: child }
        })
    }

    /// The thread that serves it.
    #[track_caller]
    pub fn server(&self) -> &Server {
        match &self.by {
            By::Thread(server) => server,
            By::Nobody | By::Process { .. } => panic!("no thread serves it"),
        }
    }

    /// The process that serves it is killed, or the thread ends and closes everything.
    pub fn end_daemon(&mut self) {
        self.by = By::Nobody;
    }

    /// A thread goes on where another daemon ended.
    #[track_caller]
    pub fn serve_again(&mut self) -> &Server {
        assert!(matches!(self.by, By::Nobody), "a daemon is there");
        self.by = By::Thread(Server::new(Daemon::open(NAME)));
        self.server()
    }

    /// Lets the kernel wait so long for answers, and then give the daemon up for ever.
    pub fn limit_answers(&self, seconds: u32) {
        let path = format!("/sys/class/vduse/{NAME}/msg_timeout");
        sys::write(path, seconds.to_string());
    }
}

impl Drop for Vduse {
    fn drop(&mut self) {
        // The daemon is asked to reset the device.
        if let By::Thread(server) = &self.by {
            server.answer_iotlb(&[]);
            server.answer_status(&[]);
            server.answer_kept(true);
        }
        self.device = None;
        self.by = By::Nobody;
        destroy(NAME);
    }
}
