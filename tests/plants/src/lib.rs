// SPDX-License-Identifier: GPL-2.0
//! Errors between a client of vhost-vdpa and the kernel, to see that the client
//! notices: preloaded into it, this library stands in for system calls.
//!
//! `VDPA_PLANT=CALL[:WHICH]=ACTION` names the error. CALL is `ioctl` (WHICH is its
//! number), `message` (WHICH is the type of the message that is written), `eventfd`
//! (a notification), `open`, `close` or `mmap` of a node, `devices` (reading
//! `/proc/devices`) or `setrlimit`. WHICH is hexadecimal; without it all are meant.

use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void, CStr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    /// The kernel is not asked, and the answer is success.
    Lie,
    /// The kernel is not asked, and the answer is EIO.
    Refuse,
    /// Where the kernel refuses, the answer is success.
    Accept,
    /// The answer is success and this number.
    Value(u64),
    /// The first byte of the answer is another one each time.
    Drift,
    /// A descriptor is not taken back: -1 is a lie.
    Keep,
    /// A message is about a larger range.
    Grow,
    /// A message is about the address space 0.
    Space,
    /// A message permits to write.
    Permit,
    /// All that was given was taken, says the answer.
    Take,
}

struct Plant {
    call: String,
    which: Option<u64>,
    action: Action,
}

fn parse(text: &str) -> Option<Plant> {
    let (what, action) = text.split_once('=')?;
    let (call, which) = match what.split_once(':') {
        Some((call, which)) => (call, Some(u64::from_str_radix(which, 16).ok()?)),
        None => (what, None),
    };
    let action = match action.split_once(':') {
        Some(("value", number)) => Action::Value(u64::from_str_radix(number, 16).ok()?),
        Some(_) => return None,
        None => match action {
            "lie" => Action::Lie,
            "refuse" => Action::Refuse,
            "accept" => Action::Accept,
            "drift" => Action::Drift,
            "keep" => Action::Keep,
            "grow" => Action::Grow,
            "space" => Action::Space,
            "permit" => Action::Permit,
            "take" => Action::Take,
            _ => return None,
        },
    };
    let call = call.to_string();
    Some(Plant {
        call,
        which,
        action,
    })
}

/// What to do instead, if this call is meant.
fn planted(call: &str, which: u64) -> Option<Action> {
    static PLANT: OnceLock<Plant> = OnceLock::new();
    let plant = PLANT.get_or_init(|| {
        let text = std::env::var("VDPA_PLANT").unwrap_or_default();
        parse(&text).unwrap_or_else(|| panic!("VDPA_PLANT={text}"))
    });
    let meant = plant.call == call && plant.which.is_none_or(|w| w == which);
    meant.then_some(plant.action)
}

/// Whether only some are meant, so that it has to be looked which this is.
fn is_chosen(call: &str) -> bool {
    planted(call, u64::MAX).is_none()
}

fn fail(errno: c_int) -> c_int {
    // SAFETY: The place is this thread's own.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Descriptors of nodes, a bit each.
static NODES: AtomicU64 = AtomicU64::new(0);

fn bit(fd: c_int) -> u64 {
    u32::try_from(fd).map_or(0, |fd| 1u64.checked_shl(fd).unwrap_or(0))
}

fn is_node(fd: c_int) -> bool {
    NODES.load(Ordering::Relaxed) & bit(fd) != 0
}

static DRIFT: AtomicU64 = AtomicU64::new(0);

/// # Safety
///
/// As for the system call.
#[no_mangle]
pub unsafe extern "C" fn ioctl(fd: c_int, number: c_ulong, argument: *mut c_void) -> c_int {
    // SAFETY: As the caller says.
    let really = || unsafe { libc::syscall(libc::SYS_ioctl, fd, number, argument) } as c_int;
    // The one with a configuration space begins with a header.
    let at = if number & 0xff == 0x73 { 8 } else { 0 };
    let size = ((number >> 16) & 0x3fff) as usize;
    match planted("ioctl", number) {
        _ if number & 0xff00 != 0xaf00 => really(),
        Some(Action::Lie) => 0,
        Some(Action::Refuse) => fail(libc::EIO),
        Some(Action::Accept) => really().max(0),
        Some(Action::Value(value)) if !argument.is_null() => {
            really();
            let bytes = value.to_ne_bytes();
            let (to, len) = (argument.cast::<u8>(), size.min(bytes.len()));
            // SAFETY: The argument has room for as many bytes as the request says, or
            // after its header for those that the caller asks for, of which it wants
            // eight where this is used.
            unsafe { to.add(at).copy_from_nonoverlapping(bytes.as_ptr(), len) };
            0
        }
        Some(Action::Drift) if !argument.is_null() => {
            let ret = really();
            let add = DRIFT.fetch_add(1, Ordering::Relaxed) as u8;
            // SAFETY: The answer has at least a byte.
            unsafe {
                let to = argument.cast::<u8>().add(at);
                *to = (*to).wrapping_add(add);
            }
            ret
        }
        // SAFETY: The argument is a number and a descriptor.
        Some(Action::Keep) if unsafe { *argument.cast::<i32>().add(1) } == -1 => 0,
        _ => really(),
    }
}

/// Offsets of fields in a message.
const SPACE: usize = 4;
const SIZE: usize = 16;
const PERM: usize = 32;
const TYPE: usize = 33;
const LENGTH: usize = 72;

/// # Safety
///
/// As for the system call.
#[no_mangle]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize {
    let really = |bytes: *const c_void| {
        // SAFETY: As the caller says, or a copy of what there is.
        (unsafe { libc::syscall(libc::SYS_write, fd, bytes, count) }) as isize
    };
    if !is_node(fd) {
        // A notification; the output of the program is longer.
        let swallow = fd > 2 && count == 8 && planted("eventfd", 0) == Some(Action::Lie);
        return if swallow { 8 } else { really(bytes) };
    }
    let mut kind = 0;
    if is_chosen("message") && count > TYPE {
        // SAFETY: The caller gives so many bytes.
        kind = u64::from(unsafe { *bytes.cast::<u8>().add(TYPE) });
    }
    let action = planted("message", kind);
    if !matches!(action, Some(Action::Grow | Action::Space | Action::Permit)) || count != LENGTH {
        return match action {
            Some(Action::Lie) => count as isize,
            Some(Action::Refuse) => fail(libc::EIO) as isize,
            Some(Action::Accept) if really(bytes) < 0 => LENGTH as isize,
            Some(Action::Accept) => LENGTH as isize,
            Some(Action::Take) => {
                really(bytes);
                count as isize
            }
            _ => really(bytes),
        };
    }
    let mut copy = [0u8; LENGTH];
    // SAFETY: The caller gives so many bytes.
    unsafe {
        copy.as_mut_ptr()
            .copy_from_nonoverlapping(bytes.cast(), LENGTH)
    };
    match action {
        Some(Action::Grow) => {
            let size: [u8; 8] = copy[SIZE..SIZE + 8].try_into().unwrap_or_default();
            let larger = u64::from_ne_bytes(size) + 4096;
            copy[SIZE..SIZE + 8].copy_from_slice(&larger.to_ne_bytes());
        }
        Some(Action::Space) => copy[SPACE..SPACE + 4].fill(0),
        _ => copy[PERM] = 3,
    }
    really(copy.as_ptr().cast())
}

/// # Safety
///
/// As for the system call.
#[no_mangle]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: A path is a C string, as the caller says.
    let name = unsafe { CStr::from_ptr(path) }.to_bytes();
    let really = |path: *const c_char| {
        // SAFETY: As the caller says, or a path that lives for ever.
        (unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) }) as c_int
    };
    if name == b"/proc/devices" && planted("devices", 0).is_some() {
        return really(c"/dev/null".as_ptr());
    }
    if !name.starts_with(b"/dev/vhost-vdpa-") {
        return really(path);
    }
    match (really(path), planted("open", 0)) {
        (-1, Some(Action::Accept)) => really(c"/dev/null".as_ptr()),
        (fd, _) => {
            NODES.fetch_or(bit(fd), Ordering::Relaxed);
            fd
        }
    }
}

/// # Safety
///
/// As for the system call.
#[no_mangle]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    if is_node(fd) {
        // The first one is the look at the device, before the checks.
        static CLOSED: AtomicU64 = AtomicU64::new(0);
        let first = CLOSED.fetch_add(1, Ordering::Relaxed) == 0;
        if !first && planted("close", 0) == Some(Action::Lie) {
            return 0;
        }
        NODES.fetch_and(!bit(fd), Ordering::Relaxed);
    }
    // SAFETY: As the caller says.
    (unsafe { libc::syscall(libc::SYS_close, fd) }) as c_int
}

/// # Safety
///
/// As for the system call.
#[no_mangle]
pub unsafe extern "C" fn mmap(
    at: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: c_long,
) -> *mut c_void {
    let really = |flags: c_int, fd: c_int, offset: c_long| {
        // SAFETY: As the caller says, or a new mapping of the same size.
        let ret = unsafe { libc::syscall(libc::SYS_mmap, at, len, protection, flags, fd, offset) };
        ret as *mut c_void
    };
    match planted("mmap", 0) {
        Some(Action::Refuse) if is_node(fd) => {
            fail(libc::EIO);
            libc::MAP_FAILED
        }
        Some(Action::Accept) if is_node(fd) => {
            really(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        }
        _ => really(flags, fd, offset),
    }
}

/// # Safety
///
/// As for the system call.
#[no_mangle]
pub unsafe extern "C" fn setrlimit(resource: c_uint, limit: *const libc::rlimit) -> c_int {
    if planted("setrlimit", 0) == Some(Action::Lie) {
        return 0;
    }
    // SAFETY: As the caller says.
    (unsafe { libc::syscall(libc::SYS_setrlimit, resource, limit) }) as c_int
}
