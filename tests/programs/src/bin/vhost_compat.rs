// SPDX-License-Identifier: GPL-2.0
//! The ioctls as a 32-bit process makes them: the same, to the errno and to the byte.
//!
//! A 64-bit process can make the system calls of 32-bit ones, by `int 0x80`; what pointers lead to
//! has to be below 4 GiB then.

use std::arch::asm;
use std::os::fd::AsRawFd;
use std::ptr;

use vdpa_test::ktap::case;
use vdpa_test::sim::Sim;
use vdpa_test::user::fork;
use vdpa_test::vhost::{ioctl as c, status, EventFd, Node, PAGE};
use vdpa_test::{kmsg, ktap, ktap_main, Errno};

ktap_main!(
    every_ioctl_in_turn,
    nobody_is_the_owner,
    arguments_that_are_not_there,
    unknown_numbers,
);

/// The numbers of system calls of 32-bit processes.
const GETPID: u32 = 20;
const IOCTL: u32 = 54;

/// A system call as 32-bit processes make it.
///
/// # Safety
///
/// What the call does with its arguments has to be right.
unsafe fn int80(number: u32, arguments: [u32; 3]) -> i32 {
    let result: u64;
    let [first, second, third] = arguments;
    // SAFETY: The kernel keeps all registers but these. The compiler has a use for rbx, which the
    // first argument is in.
    unsafe {
        asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) u64::from(first) => _,
            inlateout("rax") u64::from(number) => result,
            in("rcx") u64::from(second),
            in("rdx") u64::from(third),
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    // Errors are negative numbers of 32 bits.
    result as u32 as i32
}

/// Skips the test if the kernel has no such system calls.
fn need_compat() {
    kmsg::announce("traps: vhost_compat");
    let child = fork(|| {
        // SAFETY: The call takes no arguments. Without the interrupt, the child is killed.
        let pid = unsafe { int80(GETPID, [0; 3]) };
        assert_eq!(u32::try_from(pid), Ok(std::process::id()));
    });
    match child.wait() {
        0 => {}
        status if libc::WIFSIGNALED(status) => {
            ktap::skip("the kernel has no system calls for 32-bit processes (IA32_EMULATION)")
        }
        status => panic!("status of the child: {status:#x}"),
    }
}

/// A page below 4 GiB, and the way in which arguments in it are given to the kernel.
struct Caller {
    page: *mut u8,
    compat: bool,
}

/// As much of an argument as is looked at afterwards.
const SEEN: usize = 64;

/// What an ioctl answered: 0 or an errno, and its argument afterwards.
type Answer = (Errno, [u8; SEEN]);

impl Caller {
    fn new(compat: bool) -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: A new mapping, where there is room below 4 GiB.
        let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED, "mmap: {:?}", Errno::last());
        Caller {
            page: page.cast(),
            compat,
        }
    }

    /// An ioctl whose argument begins with these bytes, and goes on with zeros.
    fn call(&self, node: &Node, number: u64, argument: &[u8]) -> Answer {
        // SAFETY: The page is this value's own, and the argument is smaller.
        unsafe {
            self.page.write_bytes(0, PAGE);
            assert!(argument.len() <= PAGE, "an argument in a page");
            self.page
                .copy_from_nonoverlapping(argument.as_ptr(), argument.len());
        }
        let errno = self.call_at(node, number, self.page as usize);
        let mut seen = [0; SEEN];
        // SAFETY: As above.
        unsafe { self.page.copy_to_nonoverlapping(seen.as_mut_ptr(), SEEN) };
        (errno, seen)
    }

    /// An ioctl with its argument at an address.
    fn call_at(&self, node: &Node, number: u64, at: usize) -> Errno {
        let fd = node.as_raw_fd();
        let result = if self.compat {
            let words = [fd as usize, number as usize, at];
            let words = words.map(|w| u32::try_from(w).expect("32 bits"));
            // SAFETY: The argument is in a page of our own, or nowhere.
            unsafe { int80(IOCTL, words) }
        } else {
            // SAFETY: As above.
            match unsafe { libc::ioctl(fd, number, at) } {
                0.. => 0,
                _ => -Errno::last().0,
            }
        };
        Errno(-result)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // SAFETY: The page is this value's own.
        unsafe { libc::munmap(self.page.cast(), PAGE) };
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

type Step = (&'static str, u64, Vec<u8>);

/// All ioctls, in an order in which most of them work.
fn steps(event: &EventFd, features: u64) -> Vec<Step> {
    let fd = event.as_raw_fd() as u32;
    let none = u32::MAX;
    let vring_addr = [words(&[1, 0]), longs(&[0x1000, 0x3000, 0x2000, 0])].concat();
    let get_config = words(&[0, 6]);
    let number = |number: u64, argument: &[u8]| (number, argument.to_vec());
    let steps = [
        ("GET_FEATURES", number(c::GET_FEATURES.number(), &[])),
        (
            "GET_BACKEND_FEATURES",
            number(c::GET_BACKEND_FEATURES.number(), &[]),
        ),
        ("GET_DEVICE_ID", number(c::GET_DEVICE_ID.number(), &[])),
        ("GET_STATUS", number(c::GET_STATUS.number(), &[])),
        ("GET_VRING_NUM", number(c::GET_VRING_NUM.number(), &[])),
        ("GET_GROUP_NUM", number(c::GET_GROUP_NUM.number(), &[])),
        ("GET_AS_NUM", number(c::GET_AS_NUM.number(), &[])),
        ("GET_IOVA_RANGE", number(c::GET_IOVA_RANGE.number(), &[])),
        ("GET_CONFIG_SIZE", number(c::GET_CONFIG_SIZE.number(), &[])),
        ("GET_VQS_COUNT", number(c::GET_VQS_COUNT.number(), &[])),
        ("GET_CONFIG", number(c::GET_CONFIG.number(), &get_config)),
        (
            "GET_CONFIG of nothing",
            number(c::GET_CONFIG.number(), &words(&[0, 0])),
        ),
        (
            "SET_CONFIG",
            number(c::SET_CONFIG.number(), &words(&[0, 1, 2])),
        ),
        (
            "GET_FORK_FROM_OWNER",
            number(c::GET_FORK_FROM_OWNER.number(), &[]),
        ),
        (
            "SET_FORK_FROM_OWNER",
            number(c::SET_FORK_FROM_OWNER.number(), &[0]),
        ),
        (
            "GET_FORK_FROM_OWNER after",
            number(c::GET_FORK_FROM_OWNER.number(), &[]),
        ),
        ("SET_OWNER", number(c::SET_OWNER.number(), &[])),
        ("SET_OWNER again", number(c::SET_OWNER.number(), &[])),
        (
            "SET_BACKEND_FEATURES",
            number(c::SET_BACKEND_FEATURES.number(), &longs(&[0xe])),
        ),
        ("SET_STATUS", number(c::SET_STATUS.number(), &[3])),
        (
            "SET_FEATURES",
            number(c::SET_FEATURES.number(), &longs(&[features])),
        ),
        (
            "SET_STATUS after",
            number(c::SET_STATUS.number(), &[status::NEGOTIATED]),
        ),
        ("GET_STATUS after", number(c::GET_STATUS.number(), &[])),
        (
            "SET_FEATURES again",
            number(c::SET_FEATURES.number(), &longs(&[features])),
        ),
        ("SET_LOG_BASE", number(c::SET_LOG_BASE.number(), &[])),
        (
            "SET_LOG_FD",
            number(c::SET_LOG_FD.number(), &words(&[none])),
        ),
        ("SET_MEM_TABLE", number(c::SET_MEM_TABLE.number(), &[])),
        (
            "SET_MEM_TABLE too big",
            number(c::SET_MEM_TABLE.number(), &words(&[65, 0])),
        ),
        (
            "SET_VRING_NUM",
            number(c::SET_VRING_NUM.number(), &words(&[1, 128])),
        ),
        (
            "SET_VRING_NUM of 3",
            number(c::SET_VRING_NUM.number(), &words(&[1, 3])),
        ),
        (
            "SET_VRING_ADDR",
            number(c::SET_VRING_ADDR.number(), &vring_addr),
        ),
        (
            "SET_VRING_BASE",
            number(c::SET_VRING_BASE.number(), &words(&[1, 7])),
        ),
        (
            "GET_VRING_BASE",
            number(c::GET_VRING_BASE.number(), &words(&[1, 0])),
        ),
        (
            "SET_VRING_KICK",
            number(c::SET_VRING_KICK.number(), &words(&[1, fd])),
        ),
        (
            "SET_VRING_KICK none",
            number(c::SET_VRING_KICK.number(), &words(&[1, none])),
        ),
        (
            "SET_VRING_KICK bad",
            number(c::SET_VRING_KICK.number(), &words(&[1, 9999])),
        ),
        (
            "SET_VRING_CALL",
            number(c::SET_VRING_CALL.number(), &words(&[1, fd])),
        ),
        (
            "SET_VRING_ERR",
            number(c::SET_VRING_ERR.number(), &words(&[1, fd])),
        ),
        (
            "SET_CONFIG_CALL",
            number(c::SET_CONFIG_CALL.number(), &words(&[fd])),
        ),
        (
            "SET_CONFIG_CALL none",
            number(c::SET_CONFIG_CALL.number(), &words(&[none])),
        ),
        (
            "SET_VRING_BUSYLOOP_TIMEOUT",
            number(c::SET_VRING_BUSYLOOP_TIMEOUT.number(), &words(&[1, 5])),
        ),
        (
            "GET_VRING_BUSYLOOP_TIMEOUT",
            number(c::GET_VRING_BUSYLOOP_TIMEOUT.number(), &words(&[1, 0])),
        ),
        (
            "GET_VRING_GROUP",
            number(c::GET_VRING_GROUP.number(), &words(&[2, 0])),
        ),
        (
            "GET_VRING_DESC_GROUP",
            number(c::GET_VRING_DESC_GROUP.number(), &words(&[2, 0])),
        ),
        (
            "GET_VRING_SIZE",
            number(c::GET_VRING_SIZE.number(), &words(&[1, 0])),
        ),
        (
            "SET_GROUP_ASID",
            number(c::SET_GROUP_ASID.number(), &words(&[1, 1])),
        ),
        (
            "SET_GROUP_ASID bad",
            number(c::SET_GROUP_ASID.number(), &words(&[1, 2])),
        ),
        (
            "SET_VRING_ENABLE",
            number(c::SET_VRING_ENABLE.number(), &words(&[1, 0])),
        ),
        (
            "SET_STATUS to run",
            number(c::SET_STATUS.number(), &[status::RUNNING]),
        ),
        ("SUSPEND", number(c::SUSPEND.number(), &[])),
        ("RESUME", number(c::RESUME.number(), &[])),
        ("SET_STATUS back", number(c::SET_STATUS.number(), &[1])),
        (
            "queue that is not there",
            number(c::SET_VRING_NUM.number(), &words(&[3, 128])),
        ),
        ("SET_STATUS to reset", number(c::SET_STATUS.number(), &[0])),
        ("GET_STATUS at the end", number(c::GET_STATUS.number(), &[])),
    ];
    steps
        .into_iter()
        .map(|(name, (number, argument))| (name, number, argument))
        .collect()
}

fn every_ioctl_in_turn() {
    need_compat();
    let sim = Sim::net();
    let event = EventFd::new();
    let features = Node::open(&sim.name).features().unwrap() & (3 << 32);
    let run = |compat: bool| {
        let (node, caller) = (Node::open(&sim.name), Caller::new(compat));
        let steps = steps(&event, features).into_iter();
        let answers = steps.map(|(name, number, argument)| {
            let answer = caller.call(&node, number, &argument);
            (name, argument, answer)
        });
        answers.collect::<Vec<_>>()
    };
    let (native, compat) = (run(false), run(true));
    // So that this does not compare two lists of the same refusal.
    let well = native
        .iter()
        .filter(|(_, _, (errno, _))| *errno == Errno::OK);
    assert!(well.count() > 35, "most of them work");
    for ((name, argument, native), (_, _, compat)) in native.iter().zip(&compat) {
        case(*name, || {
            assert_eq!(compat.0, native.0, "errno");
            assert_eq!(compat.1, native.1, "argument {argument:x?} afterwards");
        });
    }
}

/// What only the owner may do, somebody else may not either way.
fn nobody_is_the_owner() {
    need_compat();
    let sim = Sim::net();
    let node = Node::open(&sim.name);
    let caller = Caller::new(true);
    for number in [
        c::SET_VRING_NUM.number(),
        c::SET_VRING_ADDR.number(),
        c::SET_VRING_ENABLE.number(),
        c::SET_MEM_TABLE.number(),
    ] {
        let (errno, _) = caller.call(&node, number, &words(&[1, 128]));
        assert_eq!(errno, Errno::EPERM, "{number:#x}");
    }
    let (errno, _) = caller.call(&node, c::SET_OWNER.number(), &[]);
    assert_eq!(errno, Errno::OK);
    let (errno, _) = caller.call(&node, c::SET_VRING_NUM.number(), &words(&[1, 128]));
    assert_eq!(errno, Errno::OK, "it is the same process");
}

fn arguments_that_are_not_there() {
    need_compat();
    let sim = Sim::net();
    let node = Node::open(&sim.name);
    node.set_owner().unwrap();
    let event = EventFd::new();
    let plain = [c::SET_OWNER, c::SUSPEND, c::RESUME].map(|r| r.number());
    let unserved = [c::SET_LOG_BASE.number(), c::SET_LOG_FD.number()];
    let (caller, native) = (Caller::new(true), Caller::new(false));
    for (name, number, _) in steps(&event, 0) {
        if plain.contains(&number) || unserved.contains(&number) {
            continue;
        }
        // Nothing is mapped at the first page, nor at the last one of 32 bits.
        for at in [0, 0xffff_f000] {
            let errno = caller.call_at(&node, number, at);
            assert_eq!(
                errno,
                native.call_at(&node, number, at),
                "{name} at {at:#x}"
            );
            if number != c::SET_FORK_FROM_OWNER.number() {
                assert_eq!(errno, Errno::EFAULT, "{name} at {at:#x}");
            }
        }
    }
}

fn unknown_numbers() {
    need_compat();
    let sim = Sim::net();
    let node = Node::open(&sim.name);
    node.set_owner().unwrap();
    let caller = Caller::new(true);
    let (errno, _) = caller.call(&node, c::GET_STATUS.number(), &[]);
    assert_eq!(errno, Errno::OK, "a number that is known");
    for number in [0xaf02, 0xaf86, 0x8008_af83, 0x4004_af08] {
        let (errno, _) = caller.call(&node, number, &words(&[1, 0]));
        assert_eq!(errno, Errno::ENOTTY, "{number:#x}");
    }
}
