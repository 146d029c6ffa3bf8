// SPDX-License-Identifier: GPL-2.0

//! Work queues of a driver's own, and work items that end when their owner says so.
//!
//! [`kernel::workqueue`] has items that keep their data alive while they are queued, and no way to
//! wait for them. A device needs to know that nothing of it runs any more.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

/// A work queue.
///
/// # Invariants
///
/// Owns a valid work queue.
pub struct WorkQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A work queue may be used from any thread.
unsafe impl Send for WorkQueue {}
// SAFETY: As above.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    fn new(name: &CStr, flags: bindings::wq_flags) -> Result<Arc<Self>> {
        // SAFETY: The name is a C string, which is copied.
        let queue = unsafe { vdpa_bindings::alloc_workqueue(name.as_char_ptr(), flags) };
        // INVARIANT: The function made it, and nobody else knows it.
        let queue = NonNull::new(queue).map(Self).ok_or(ENOMEM)?;
        Ok(Arc::new(queue, GFP_KERNEL)?)
    }

    /// A queue whose items run in threads, on any CPU. They may sleep, and be long.
    pub fn threads(name: &CStr) -> Result<Arc<Self>> {
        Self::new(name, bindings::wq_flags_WQ_UNBOUND)
    }

    /// A queue whose items run in threads, on the CPU for which they are queued. They may sleep, and
    /// be long.
    pub fn threads_of_cpus(name: &CStr) -> Result<Arc<Self>> {
        Self::new(
            name,
            bindings::wq_flags_WQ_PERCPU | bindings::wq_flags_WQ_CPU_INTENSIVE,
        )
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; nothing can be queued any more.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// What the items of a [`WorkSet`] do.
pub trait RunItem: Send + Sync + 'static {
    /// Runs the item of this number, in one thread at a time; others of the set may run meanwhile.
    fn run(&self, item: usize);
}

/// # Invariants
///
/// `work` is initialised and never moved; `set` points to the set of which this is an item.
#[repr(C)]
#[pin_data]
struct Item<T: RunItem> {
    // The function gets a pointer to this field.
    #[pin]
    work: Opaque<bindings::work_struct>,
    index: usize,
    context: NonNull<Context<T>>,
}

/// # Invariants
///
/// It is only written while the items are disabled and do not run.
struct Context<T>(UnsafeCell<Option<T>>);

/// A number of work items that do the same for different numbers, on one work queue: of an item on
/// several, the kernel would wait for one only.
///
/// Between [`start`](Self::start) and [`stop`](Self::stop) they can be queued. A context that keeps
/// the set alive is fine: stopping the set drops it.
///
/// # Invariants
///
/// The items' `context` is that of the set. The items are enabled if and only if there is a
/// context, and are queued on `queue` only.
#[pin_data(PinnedDrop)]
pub struct WorkSet<T: RunItem> {
    items: KVVec<Pin<KBox<Item<T>>>>,
    // Goes after the items.
    queue: Arc<WorkQueue>,
    context: KBox<Context<T>>,
    /// Whether the items are enabled.
    #[pin]
    started: Mutex<bool>,
}

// SAFETY: The items run in any thread, with a shared reference to `T`, which is `Send + Sync`.
unsafe impl<T: RunItem> Send for WorkSet<T> {}
// SAFETY: As above.
unsafe impl<T: RunItem> Sync for WorkSet<T> {}

impl<T: RunItem> WorkSet<T> {
    /// A set of `count` items for a queue, stopped.
    pub fn new(queue: Arc<WorkQueue>, count: usize) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            queue,
            context: KBox::new(Context(UnsafeCell::new(None)), GFP_KERNEL)?,
            items: {
                let mut items = KVVec::with_capacity(count, GFP_KERNEL)?;
                for index in 0..count {
                    items.push(Self::item(index, NonNull::from(&**context)), GFP_KERNEL)?;
                }
                let mut made = KVVec::with_capacity(count, GFP_KERNEL)?;
                for item in items {
                    made.push(KBox::try_pin_init(item, GFP_KERNEL)?, GFP_KERNEL)?;
                }
                made
            },
            started <- new_mutex!(false),
        })
    }

    fn item(index: usize, context: NonNull<Context<T>>) -> impl PinInit<Item<T>, Error> {
        try_pin_init!(Item {
            work <- Opaque::ffi_init(|slot: *mut bindings::work_struct| {
                // SAFETY: `slot` is valid for writes. A new item is not queued.
                unsafe {
                    vdpa_bindings::init_work(slot, Some(Self::run));
                    bindings::disable_work(slot);
                }
            }),
            index,
            context,
        })
    }

    /// # Safety
    ///
    /// Called by the kernel only, for the `work` of an [`Item<T>`].
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: By the safety requirements; the item is `repr(C)`, and stays while it runs, as its
        // set waits for it. What is shared of it does not change.
        let (index, context) = unsafe {
            let item = work.cast::<Item<T>>();
            ((*item).index, (*item).context)
        };
        // SAFETY: The context stays as long as the items. It is not written while one of them runs.
        if let Some(data) = unsafe { &*context.as_ref().0.get() } {
            data.run(index);
        }
    }

    /// Lets the items be queued, and run with `context`. Does nothing to a set that was started.
    pub fn start(&self, context: T) {
        let mut started = self.started.lock();
        if *started {
            return;
        }
        // SAFETY: By the type invariants the items are disabled, and we have the lock.
        unsafe { *self.context.0.get() = Some(context) };
        *started = true;
        for item in &self.items {
            // SAFETY: The work is initialised, and was disabled once.
            unsafe { bindings::enable_work(item.work.get()) };
        }
    }

    /// Queues an item, unless it is queued already or the set is stopped. Any context.
    #[inline]
    pub fn queue(&self, item: usize) {
        if let Some(item) = self.items.get(item) {
            // SAFETY: Both are valid.
            unsafe { vdpa_bindings::queue_work(self.queue.0.as_ptr(), item.work.get()) };
        }
    }

    /// As [`queue`](Self::queue), for a CPU, or for any if there is none of that number.
    #[inline]
    pub fn queue_for(&self, item: usize, cpu: u32) {
        if let Some(item) = self.items.get(item) {
            // SAFETY: Both are valid.
            unsafe { vdpa_bindings::queue_work_for(cpu, self.queue.0.as_ptr(), item.work.get()) };
        }
    }

    /// Takes items from their queues, and waits for those that run: none runs after this. Drops the
    /// context. May sleep; not to be called by an item.
    pub fn stop(&self) {
        let mut started = self.started.lock();
        if !*started {
            return;
        }
        for item in &self.items {
            // SAFETY: The work is initialised. As it is on one queue only, it does not run after
            // this.
            unsafe { bindings::disable_work_sync(item.work.get()) };
        }
        *started = false;
        // SAFETY: The items are disabled and do not run, and we have the lock.
        let context = unsafe { (*self.context.0.get()).take() };
        drop(started);
        // It may be what keeps this set alive.
        drop(context);
    }
}

#[pinned_drop]
impl<T: RunItem> PinnedDrop for WorkSet<T> {
    fn drop(self: Pin<&mut Self>) {
        self.as_ref().get_ref().stop();
    }
}
