// SPDX-License-Identifier: GPL-2.0
//! Signals while vhost_vdpa waits for its user's memory: processes that are killed
//! leave nothing pinned, and signals that have a handler lose nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use vdpa_test::ktap::case;
use vdpa_test::sim::Sim;
use vdpa_test::user::{fork, unlimit_locked_memory, Child};
use vdpa_test::vhost::{backend, ioctl, Area, Memory, Message, Node, Perm, PAGE};
use vdpa_test::withheld::Withheld;
use vdpa_test::{ktap, ktap_main, pins, sys, Errno};

ktap_main!(
    killed_while_pages_come,
    killed_while_an_argument_comes,
    killed_at_any_time,
    killed_while_reading,
    signal_while_pages_come,
    signal_between_messages,
    signal_while_reading,
);

const BASE: u64 = 0x10_0000;

/// A device that needs pages pinned.
fn device() -> Sim {
    unlimit_locked_memory();
    Sim::net_with(&[("use_va", "N")])
}

fn owned() -> Node {
    let node = Node::open("n0");
    node.set_owner().unwrap();
    node.set_backend_features(backend::USUAL).unwrap();
    node
}

/// Kills a process, which has to end soon.
#[track_caller]
fn kill(child: Child) {
    child.kill();
    sys::wait_for("the process to end", || child.has_ended());
    let status = child.wait();
    assert!(
        libc::WIFSIGNALED(status),
        "status of the child: {status:#x}"
    );
    assert_eq!(libc::WTERMSIG(status), libc::SIGKILL);
}

/// Another process can use the device now, and all pages.
#[track_caller]
fn assert_usable() {
    let node = owned();
    let area = Area::whole(&Memory::private(600 * PAGE), BASE);
    node.map(0, &area, Perm::Rw).unwrap();
    assert_eq!(pins::pinned(), 600 * 4);
    node.unmap(0, BASE, area.len() as u64).unwrap();
}

/// Has a process use the node in a way that waits for the page behind `pages` others, and kills
/// it meanwhile. What it does before keeps at least `pinned` pages.
#[track_caller]
fn killed_while_it_waits(
    pages: usize,
    pinned: usize,
    f: impl Fn(&Node, &Withheld) -> Result<(), Errno> + Sync,
) {
    let before = pins::on_machine();
    let (mut here, there) = UnixStream::pair().unwrap();
    let child = fork(move || {
        let (node, page) = (owned(), Withheld::behind(pages));
        thread::scope(|s| {
            s.spawn(|| {
                ktap::note(format!("it did not wait: {:?}", f(&node, &page)));
                (&there).write_all(b"e").unwrap();
            });
            page.wait_for_access();
            (&there).write_all(b"w").unwrap();
            loop {
                thread::park();
            }
        });
    });
    let mut told = [0];
    here.read_exact(&mut told).unwrap();
    assert_eq!(told, *b"w", "the process waits");
    let now = pins::on_machine() - before;
    assert!(now >= pinned as i64, "{now} pages are pinned");
    kill(child);
    assert_eq!(pins::on_machine(), before, "pinned pages");
    assert_usable();
}

fn killed_while_pages_come() {
    let _sim = device();
    // They are pinned by 512.
    for (pages, pinned) in [(0, 0), (1, 0), (511, 0), (512, 512), (5000, 4608)] {
        case(format!("behind {pages}"), || {
            killed_while_it_waits(pages, pinned, |node, page| {
                node.map(0, &Area::whole(page.memory(), BASE), Perm::Rw)
            });
        });
    }
    case("in a batch", || {
        let area = Area::whole(&Memory::private(64 * PAGE), 2 * BASE);
        killed_while_it_waits(0, 64, |node, page| {
            node.batch(0, || {
                node.map(0, &area, Perm::Rw)?;
                node.unmap(0, area.iova(), area.len() as u64)?;
                node.map(0, &area, Perm::Rw)?;
                node.map(0, &Area::whole(page.memory(), BASE), Perm::Rw)
            })
        });
    });
}

fn killed_while_an_argument_comes() {
    let _sim = device();
    let area = Area::whole(&Memory::private(64 * PAGE), BASE);
    killed_while_it_waits(0, 64, |node, page| {
        node.map(0, &area, Perm::Rw)?;
        node.ioctl_withheld(ioctl::SET_STATUS.number(), page)
    });
}

fn killed_at_any_time() {
    let _sim = device();
    let before = pins::on_machine();
    for round in 0..sys::rounds(20, 5) {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let child = fork(move || {
            let node = owned();
            let area = Area::whole(&Memory::private(1024 * PAGE), BASE);
            there.write_all(&[0]).unwrap();
            loop {
                node.map(0, &area, Perm::Rw).unwrap();
                node.unmap(0, BASE, area.len() as u64).unwrap();
            }
        });
        here.read_exact(&mut [0]).unwrap();
        thread::sleep(Duration::from_millis(round as u64 * 3));
        kill(child);
        assert_eq!(pins::on_machine(), before, "pinned pages, round {round}");
    }
    assert_usable();
}

fn killed_while_reading() {
    let _sim = device();
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let child = fork(move || {
        let node = owned();
        there.write_all(&[0]).unwrap();
        panic!("events: {:?}", node.read_events());
    });
    here.read_exact(&mut [0]).unwrap();
    // So that it is likely to wait by now.
    thread::sleep(Duration::from_millis(100));
    kill(child);
    assert_usable();
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Has a handler for a signal, after which system calls do not begin again by themselves.
fn handle_signals() {
    // SAFETY: All zero is a valid value of this plain structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    // SAFETY: The handler does nothing but counting.
    let ret = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(ret, 0);
    HANDLED.store(0, Ordering::Relaxed);
}

/// Calls `f` in a thread, and interrupts it by a signal once `waits` returns.
#[track_caller]
fn interrupted<T: Send>(
    f: impl FnOnce() -> T + Send,
    waits: impl FnOnce(i32),
    then: impl FnOnce(),
) -> T {
    handle_signals();
    let (tell, told) = mpsc::channel();
    let result = thread::scope(|s| {
        let user = s.spawn(move || {
            // SAFETY: A system call without arguments.
            tell.send(unsafe { libc::gettid() }).expect("the test");
            f()
        });
        let thread = told.recv().expect("a thread");
        waits(thread);
        // SAFETY: System calls without pointers.
        let ret = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
        assert_eq!(ret, 0, "tgkill: {:?}", Errno::last());
        then();
        user.join().expect("a thread")
    });
    assert_eq!(HANDLED.load(Ordering::Relaxed), 1, "signals");
    result
}

/// As C, it goes on.
fn signal_while_pages_come() {
    let _sim = device();
    let (node, page) = (owned(), Withheld::behind(600));
    let area = Area::whole(page.memory(), BASE);
    let mapped = interrupted(
        || node.map(0, &area, Perm::Rw),
        |_| page.wait_for_access(),
        || page.give(),
    );
    assert_eq!(mapped, Ok(()));
    assert_eq!(pins::pinned(), 601 * 4);
    assert_eq!(node.map(0, &area, Perm::Rw), Err(Errno::EEXIST));
}

/// Those that were not handled are not taken.
fn signal_between_messages() {
    let _sim = device();
    let (node, page) = (owned(), Withheld::page());
    let areas = [
        Area::whole(page.memory(), BASE),
        Area::whole(&Memory::private(PAGE), 2 * BASE),
    ];
    let messages = areas.each_ref().map(|area| Message::Update {
        iova: area.iova(),
        size: area.len() as u64,
        uaddr: area.uaddr(),
        perm: Perm::Rw,
    });
    let written = interrupted(
        || node.write_all(0, &messages),
        |_| page.wait_for_access(),
        || page.give(),
    );
    assert_eq!(written, Ok(72), "one message");
    assert_eq!(node.map(0, &areas[0], Perm::Rw), Err(Errno::EEXIST));
    assert_eq!(node.map(0, &areas[1], Perm::Rw), Ok(()));
}

fn signal_while_reading() {
    let _sim = device();
    let node = owned();
    let waits = |thread: i32| {
        sys::wait_for("the reader to wait", || {
            let syscall = sys::read(format!("/proc/self/task/{thread}/syscall"));
            syscall.starts_with("0 ")
        });
    };
    let read = interrupted(|| node.read_events(), waits, || {});
    assert_eq!(read, Err(Errno::EINTR));
}
