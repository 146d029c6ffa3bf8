// SPDX-License-Identifier: GPL-2.0

//! Eventfds: signalling them from any context, and being called when user space signals one.
//!
//! An eventfd must not be signalled from within the callback of another one; the kernel warns and
//! drops the signal.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)

use core::{
    marker::PhantomPinned,
    mem::offset_of,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full,
                Relaxed, //
            },
            Atomic, //
        },
        rcu, //
    },
    types::Opaque, //
};

/// A reference to an eventfd: to what it counts, not to the file.
///
/// # Invariants
///
/// Owns a reference to a valid context.
pub struct EventFd(NonNull<bindings::eventfd_ctx>);

// SAFETY: The functions of eventfds may be called from any thread.
unsafe impl Send for EventFd {}
// SAFETY: As above; they lock what they change.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// The eventfd that a file descriptor of the current process names.
    ///
    /// Fails with `EBADF` if there is no such file, or `EINVAL` if it is no eventfd.
    pub fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: No requirements.
        let ctx = from_err_ptr(unsafe { bindings::eventfd_ctx_fdget(fd) })?;
        // INVARIANT: The function gave us a reference.
        NonNull::new(ctx).map(Self).ok_or(EBADF)
    }

    /// Counts one more event. Any context; not from the callback of an eventfd.
    pub fn signal(&self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::eventfd_signal_mask(self.0.as_ptr(), 0) };
    }

    /// The C structure.
    pub fn as_raw(&self) -> *mut bindings::eventfd_ctx {
        self.0.as_ptr()
    }

    fn into_raw(self) -> *mut bindings::eventfd_ctx {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }
}

impl PartialEq for EventFd {
    /// Whether both are the same eventfd.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; this was the last use.
        unsafe { bindings::eventfd_ctx_put(self.0.as_ptr()) };
    }
}

/// A place for an eventfd which is signalled from any context and replaced now and then.
///
/// # Invariants
///
/// The pointer is null, or that of an [`EventFd`] which the cell owns. One that was in it stays valid
/// until a grace period of RCU after it was replaced.
pub struct SignalCell(Atomic<*mut bindings::eventfd_ctx>);

// SAFETY: It is an eventfd that can be exchanged by an atomic operation.
unsafe impl Send for SignalCell {}
// SAFETY: As above.
unsafe impl Sync for SignalCell {}

impl SignalCell {
    /// A cell with nothing in it.
    pub const fn empty() -> Self {
        // INVARIANT: Null.
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Signals the eventfd, if there is one; says whether. Any context; not from the callback of an
    /// eventfd.
    #[inline]
    pub fn signal(&self) -> bool {
        let _guard = rcu::read_lock();
        let ctx = self.0.load(Acquire);
        if ctx.is_null() {
            return false;
        }
        // SAFETY: By the type invariants it is valid while the guard is held.
        unsafe { bindings::eventfd_signal_mask(ctx, 0) };
        true
    }

    /// Whether there is an eventfd.
    pub fn is_set(&self) -> bool {
        !self.as_raw().is_null()
    }

    /// The C structure, or null. It is valid until it is replaced.
    pub fn as_raw(&self) -> *mut bindings::eventfd_ctx {
        self.0.load(Relaxed)
    }

    /// Exchanges the eventfd.
    pub fn replace(&self, new: Option<EventFd>) -> Retired {
        let new = new.map_or(ptr::null_mut(), EventFd::into_raw);
        // INVARIANT: The cell takes the new one over, and `Retired` the old one for a grace period.
        let old = self.0.xchg(new, Full);
        Retired(NonNull::new(old).map(EventFd))
    }

    /// Empties cells, and waits a grace period for many of them at a time.
    pub fn clear_all<'a>(cells: impl Iterator<Item = &'a Self>) {
        const BATCH: usize = 64;
        let mut cells = cells.peekable();
        while cells.peek().is_some() {
            let mut old: [Option<EventFd>; BATCH] = [const { None }; BATCH];
            let mut any = false;
            for (slot, cell) in old.iter_mut().zip(&mut cells) {
                *slot = cell.take();
                any |= slot.is_some();
            }
            if any {
                // SAFETY: No requirements but process context.
                unsafe { bindings::synchronize_rcu_expedited() };
            }
            // They are dropped now that nobody uses them any more.
        }
    }

    /// Takes the eventfd out; others may still be signalling it.
    fn take(&self) -> Option<EventFd> {
        NonNull::new(self.0.xchg(ptr::null_mut(), Full)).map(EventFd)
    }
}

impl Default for SignalCell {
    fn default() -> Self {
        Self::empty()
    }
}

impl Drop for SignalCell {
    /// Drops the eventfd at once: who has the cell to himself comes after all who signalled it.
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// What was in a [`SignalCell`]. Dropping it waits until nobody signals it any more: process context
/// only.
#[must_use = "the eventfd is released, after a wait, when this is dropped"]
pub struct Retired(Option<EventFd>);

impl Drop for Retired {
    fn drop(&mut self) {
        if let Some(old) = self.0.take() {
            // SAFETY: No requirements but process context.
            unsafe { bindings::synchronize_rcu_expedited() };
            drop(old);
        }
    }
}

/// What is called when an eventfd is signalled.
pub trait Watcher: Send + Sync + 'static {
    /// Must not sleep. Interrupts are disabled, and the lock of the eventfd is held, unless this is
    /// for events from before the watch began.
    fn signalled(&self);
}

/// Calls a [`Watcher`] each time an eventfd is signalled, until it is dropped.
///
/// It keeps what the eventfd counts, not its file: if user space closes the last descriptor of it,
/// others in the kernel can still signal it.
pub struct Watch<W: Watcher>(Pin<KBox<Entry<W>>>);

/// # Invariants
///
/// Once `head` is set, `wait` is on that wait queue, which belongs to `eventfd`. It is set before
/// anybody shares the entry.
#[pin_data]
#[repr(C)]
struct Entry<W> {
    #[pin]
    table: Opaque<bindings::poll_table>,
    #[pin]
    wait: Opaque<bindings::wait_queue_entry>,
    head: Atomic<*mut bindings::wait_queue_head>,
    eventfd: EventFd,
    hung_up: Atomic<bool>,
    watcher: W,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The C parts are only touched under the lock of the wait queue, by whatever thread.
unsafe impl<W: Watcher> Send for Entry<W> {}
// SAFETY: As above.
unsafe impl<W: Watcher> Sync for Entry<W> {}

impl<W: Watcher> Watch<W> {
    /// The eventfd.
    pub fn eventfd(&self) -> &EventFd {
        &self.0.eventfd
    }

    /// Whether user space closed the last descriptor of the eventfd.
    pub fn hung_up(&self) -> bool {
        self.0.hung_up.load(Relaxed)
    }

    /// The watcher.
    pub fn watcher(&self) -> &W {
        &self.0.watcher
    }
}

/// A [`Watch`] that has not begun.
pub struct NewWatch<W: Watcher> {
    watch: Watch<W>,
    file: EventFdFile,
}

impl<W: Watcher> NewWatch<W> {
    /// Fails with `ENOMEM`.
    pub fn new(file: EventFdFile, watcher: W) -> Result<Self> {
        let eventfd = file.eventfd()?;
        let entry = KBox::pin_init(
            pin_init!(Entry {
                table <- Opaque::ffi_init(|slot: *mut bindings::poll_table| {
                    // SAFETY: `slot` is valid for writes.
                    unsafe {
                        slot.write(bindings::poll_table {
                            _qproc: Some(Entry::<W>::queue),
                            _key: bindings::POLLIN | bindings::POLLERR | bindings::POLLHUP,
                        })
                    }
                }),
                wait <- Opaque::ffi_init(|slot: *mut bindings::wait_queue_entry| {
                    // SAFETY: `slot` is valid for writes.
                    unsafe {
                        slot.write(bindings::wait_queue_entry {
                            func: Some(Entry::<W>::wake),
                            ..pin_init::zeroed()
                        })
                    }
                }),
                head: Atomic::new(ptr::null_mut()),
                eventfd,
                hung_up: Atomic::new(false),
                watcher,
                _pin: PhantomPinned,
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            watch: Watch(entry),
            file,
        })
    }

    /// Begins to watch. If the eventfd was signalled before, the watcher is called at once.
    ///
    /// Fails with `EINVAL` if the counter is at its end.
    pub fn begin(self) -> Result<Watch<W>> {
        let Self { watch, file } = self;
        let events = file.poll(watch.0.table.get())?;
        // From here on, dropping the watch ends it.
        if watch.0.head.load(Relaxed).is_null() || events & bindings::POLLERR != 0 {
            return Err(EINVAL);
        }
        if events & bindings::POLLIN != 0 {
            watch.0.watcher.signalled();
        }
        Ok(watch)
    }
}

impl<W: Watcher> Drop for Watch<W> {
    fn drop(&mut self) {
        let head = self.0.head.load(Relaxed);
        if !head.is_null() {
            // SAFETY: By the type invariants of the entry; the eventfd keeps the queue. The function
            // takes the queue's lock, so no callback runs afterwards.
            unsafe { bindings::remove_wait_queue(head, self.0.wait.get()) };
        }
    }
}

impl<W: Watcher> Entry<W> {
    /// # Safety
    ///
    /// Called by `poll` of an eventfd only, with the table of an entry that is being set up.
    unsafe extern "C" fn queue(
        _file: *mut bindings::file,
        head: *mut bindings::wait_queue_head,
        table: *mut bindings::poll_table,
    ) {
        // SAFETY: By the safety requirements; the table is in an entry.
        let entry = unsafe { table.byte_sub(offset_of!(Self, table)).cast::<Self>() };
        // SAFETY: The entry is valid, and not on a queue yet. It leaves the queue before it is freed.
        // INVARIANT: It is on the queue of its eventfd from now on.
        unsafe {
            if !(*entry).head.load(Relaxed).is_null() {
                return;
            }
            (*entry).head.store(head, Relaxed);
            bindings::add_wait_queue(head, Opaque::cast_into(&raw const (*entry).wait));
        }
    }

    /// # Safety
    ///
    /// Called by the wait queue of an eventfd only, with an entry that is on it.
    unsafe extern "C" fn wake(
        wait: *mut bindings::wait_queue_entry,
        _mode: c_uint,
        _flags: c_int,
        key: *mut c_void,
    ) -> c_int {
        // SAFETY: By the safety requirements; an entry on the queue is complete, and it is taken off
        // before it is freed, under the lock that is held now.
        let entry = unsafe { &*wait.byte_sub(offset_of!(Self, wait)).cast::<Self>() };
        // What events are is in the lower half.
        let events = u32::try_from(key.addr() & 0xffff_ffff).unwrap_or(0);
        if events & bindings::POLLIN != 0 {
            entry.watcher.signalled();
        }
        if events & bindings::POLLHUP != 0 {
            entry.hung_up.store(true, Relaxed);
        }
        0
    }
}

/// A file that is an eventfd's.
///
/// # Invariants
///
/// Owns a reference to a valid file.
pub struct EventFdFile(NonNull<bindings::file>);

impl EventFdFile {
    /// The file that a descriptor of the current process names.
    ///
    /// Fails with `EBADF` if there is no such file, or `EINVAL` if it is no eventfd's.
    pub fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: No requirements.
        let file = from_err_ptr(unsafe { bindings::eventfd_fget(fd) })?;
        // INVARIANT: The function gave us a reference.
        NonNull::new(file).map(Self).ok_or(EBADF)
    }

    /// The eventfd.
    pub fn eventfd(&self) -> Result<EventFd> {
        // SAFETY: The file is valid, and that of an eventfd.
        let ctx = from_err_ptr(unsafe { bindings::eventfd_ctx_fileget(self.0.as_ptr()) })?;
        // INVARIANT: The function gave us a reference.
        NonNull::new(ctx).map(EventFd).ok_or(EBADF)
    }

    /// As `vfs_poll()`, which is an inline function.
    fn poll(&self, table: *mut bindings::poll_table) -> Result<bindings::__poll_t> {
        // SAFETY: By the type invariants; a file has operations, and the table is one of an entry
        // that is being set up.
        unsafe {
            let poll = (*(*self.0.as_ptr()).f_op).poll.ok_or(EINVAL)?;
            Ok(poll(self.0.as_ptr(), table))
        }
    }
}

impl Drop for EventFdFile {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; this was the last use.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}
