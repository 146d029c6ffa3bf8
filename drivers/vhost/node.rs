// SPDX-License-Identifier: GPL-2.0

//! The node of a device: who may open it, and what happens when the device goes.
//!
//! When the driver is unbound, an open node is revoked: the device is taken out of its user's hands
//! and reset, and the user gets `ENODEV` from then on. Nothing waits for the node to be closed.

use crate::{
    command,
    event::{
        Hook,
        Seen, //
    },
    message,
    session::Session,
    state,
    view, //
};
use kernel::{
    device::{
        Bound,
        Core, //
    },
    fs::File,
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    new_mutex, new_poll_condvar,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Full,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        poll::{
            PollCondVar,
            PollTable, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    },
};
use kext::{
    chardev::{
        CharDevice,
        DeviceFault,
        FaultHandled,
        NewMapping,
        Node,
        OpenFile, //
    },
    nospec::checked_index,
};
use vdpa::{
    Device,
    Driver,
    Loan,
    QueueIndex,
    Signals, //
};

/// The driver.
pub(crate) struct VhostDriver;

impl Driver for VhostDriver {
    type Data<'bound> = Attached<'bound>;

    fn probe<'bound>(
        dev: &'bound Device<Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        Attached::new(dev)
    }

    fn unbind<'bound>(_dev: &'bound Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        this.revoke();
    }

    fn shutdown<'bound>(_dev: &'bound Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        // Whoever has it open must not start it again.
        this.revoke();
    }
}

/// A device with its node. Dropping it removes the node and revokes open files.
pub(crate) struct Attached<'bound> {
    device: &'bound Device<Bound>,
    shared: Arc<Shared>,
    files: Option<view::Files>,
    node: Option<Node<Entry>>,
}

impl<'bound> Attached<'bound> {
    fn new(device: &'bound Device<Bound>) -> Result<Self> {
        // An IOMMU's domain is one address space, for the whole device.
        if device.uses_platform_iommu()
            && (device.group_count() > 1 || device.address_space_count() > 1)
        {
            return Err(EOPNOTSUPP);
        }
        let loan = Loan::new(device)?;
        state::with(|state| {
            let queues = match device.takes_kick_data() {
                true => usize::try_from(device.queue_count())?.min(usize::from(u16::MAX)),
                false => 0,
            };
            let hook = Hook::new(&state.events, loan.clone(), queues);
            let hook = Arc::pin_init(hook, GFP_KERNEL)?;
            let signals = Signals::new(device, hook.clone())?;
            let shared = Arc::pin_init(
                pin_init!(Shared {
                    loan,
                    signals,
                    hook,
                    opened: Atomic::new(false),
                    revoked: Atomic::new(false),
                    session <- new_mutex!(None),
                    seen <- new_mutex!(Seen::default()),
                    readable <- new_poll_condvar!("vhost_vdpa"),
                }),
                GFP_KERNEL,
            )?;
            shared.hook.start(shared.clone());
            // From here on, an error revokes what somebody may have opened already.
            let mut attached = Self {
                device,
                files: None,
                node: None,
                shared,
            };
            let entry = Entry(attached.shared.clone());
            let node = Node::new(state.region.as_ref(), device.as_ref(), Ok(entry))?;
            attached.files = Some(view::files(
                &state.debugfs,
                node.device().name(),
                attached.shared.clone(),
            )?);
            attached.node = Some(node);
            Ok(attached)
        })
    }

    /// Takes the device away from who has it open.
    fn revoke(&self) {
        let mut place = self.shared.session.lock();
        self.shared.revoked.store(true, Relaxed);
        let mappings = place.take().map(|session| {
            let mappings = session.mappings.clone();
            session.close(self.device, &self.shared.signals);
            mappings
        });
        // Those who wait for the lock have to get it, as they use the device.
        drop(place);
        // Waits for page faults, and for others who just began.
        self.shared.loan.end();
        if let Some(mappings) = mappings {
            mappings.unmap_all();
        }
        self.shared.hook.stop();
        self.shared.wake();
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.revoke();
    }
}

/// What the node and its open file share.
#[pin_data]
pub(crate) struct Shared {
    pub(crate) loan: Arc<Loan>,
    pub(crate) signals: Arc<Signals<Hook>>,
    pub(crate) hook: Arc<Hook>,
    /// Whether somebody has the node open.
    opened: Atomic<bool>,
    /// Whether the device was taken away; written with `session` locked.
    revoked: Atomic<bool>,
    /// There while the node is open and the device was not revoked.
    #[pin]
    pub(crate) session: Mutex<Option<Session>>,
    #[pin]
    pub(crate) seen: Mutex<Seen>,
    #[pin]
    pub(crate) readable: PollCondVar,
}

/// The entry in `/dev`.
#[repr(transparent)]
pub(crate) struct Entry(Arc<Shared>);

impl Shared {
    fn open(&self, file: &OpenFile<'_>) -> Result {
        let device = self.loan.get().ok_or(ENODEV)?;
        let mut place = self.session.lock();
        if self.revoked.load(Relaxed) {
            return Err(ENODEV);
        }
        *place = Some(Session::open(&device, &self.loan, file.mappings())?);
        self.forget_events();
        self.hook.set_kick_data(false);
        // So that changes of the configuration space can be waited for.
        self.signals.set_config(&device, None)
    }

    fn close(&self) {
        let device = self.loan.get();
        let mut place = self.session.lock();
        // Without a session, the device was revoked.
        if let (Some(device), Some(session)) = (device, place.take()) {
            session.close(&device, &self.signals);
        }
        drop(place);
        self.opened.store(false, Release);
    }

    /// The number of a queue, given as the page of the node where its doorbell is.
    fn doorbell_queue(device: &Device<Bound>, page: usize) -> Result<QueueIndex> {
        let queues = usize::try_from(device.queue_count())?;
        let index = checked_index(page, queues).ok_or(EINVAL)?;
        Ok(QueueIndex::new(u16::try_from(index)?))
    }

    fn mmap(&self, area: &NewMapping<'_>) -> Result {
        let device = self.loan.get().ok_or(ENODEV)?;
        if area.size() != kernel::page::PAGE_SIZE || !area.is_shared() || area.is_readable() {
            return Err(EINVAL);
        }
        if !device.has_notification_areas() {
            return Err(ENOTSUPP);
        }
        let queue = Self::doorbell_queue(&device, area.first_page())?;
        let page_size = u64::try_from(kernel::page::PAGE_SIZE)?;
        match device.notification_area(queue) {
            Some(doorbell) if doorbell.address() % page_size != 0 => return Err(EINVAL),
            Some(doorbell) if doorbell.page().is_some() => {}
            _ => return Err(ENOTSUPP),
        }
        area.set_device();
        Ok(())
    }

    fn fault(&self, fault: DeviceFault<'_>) -> FaultHandled {
        // Until the page is there, the revocation waits; then it takes the page away.
        let device = self.loan.get();
        let page = device.as_ref().and_then(|device| {
            let queue = Self::doorbell_queue(device, fault.first_page()).ok()?;
            device.notification_area(queue)?.page()
        });
        match page {
            Some(page) => fault.insert(page),
            None => fault.refuse(),
        }
    }
}

#[vtable]
impl CharDevice for Entry {
    type File = Shared;

    fn open(&self, file: &OpenFile<'_>) -> Result<Arc<Shared>> {
        let shared = &self.0;
        shared
            .opened
            .cmpxchg(false, true, Full)
            .map_err(|_| EBUSY)?;
        shared.open(file).inspect_err(|_| shared.close())?;
        Ok(shared.clone())
    }

    fn release(file: Arc<Shared>) {
        file.close();
    }

    fn ioctl(file: ArcBorrow<'_, Shared>, cmd: u32, arg: usize) -> Result<isize> {
        command::run(&file, cmd, arg)
    }

    fn read_iter(
        file: ArcBorrow<'_, Shared>,
        to: &mut IovIterDest<'_>,
        nonblocking: bool,
    ) -> Result<usize> {
        file.read(to, nonblocking)
    }

    fn write_iter(file: ArcBorrow<'_, Shared>, from: &mut IovIterSource<'_>) -> Result<usize> {
        message::write(&file, from)
    }

    fn poll(file: ArcBorrow<'_, Shared>, this: &File, table: PollTable<'_>) -> u32 {
        file.poll(this, table)
    }

    fn mmap(file: ArcBorrow<'_, Shared>, area: &NewMapping<'_>) -> Result {
        file.mmap(area)
    }

    fn fault(file: ArcBorrow<'_, Shared>, fault: DeviceFault<'_>) -> FaultHandled {
        file.fault(fault)
    }
}
