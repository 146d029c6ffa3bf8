// SPDX-License-Identifier: GPL-2.0

//! A simulated device, and what makes it run.

use crate::{
    active::Active,
    faults::Faults,
    model::{
        Model,
        Place, //
    },
    parameters::Parameters,
    virt_queue::VirtQueue,
};
use guestmem::{
    DeviceMemory,
    HasWindow,
    KernelMap,
    NoSession,
    Session,
    Window, //
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};
use kext::{
    bottom_half::BottomHalves,
    mm::MmSwitch,
    work::{
        RunItem,
        WorkQueue,
        WorkSet, //
    },
};
use vdpa::{
    Asid,
    DeviceParams,
    DmaDevice,
    Features,
    GroupId,
    Interrupts,
    MapOps,
    ParentDevice,
    QueueIndex,
    Setup, //
};
use virtqueue::Error as QueueError;

/// No CPU in particular.
pub(crate) const ANY_CPU: u32 = u32::MAX;

/// Where the tasks of devices run.
pub struct Executors {
    anywhere: Arc<WorkQueue>,
    of_cpus: Arc<WorkQueue>,
}

impl Executors {
    /// Fails with `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self {
            anywhere: WorkQueue::threads(c"vdpa_sim")?,
            of_cpus: WorkQueue::threads_of_cpus(c"vdpa_sim_cpu")?,
        })
    }
}

/// What the tasks of a device have: the device. It keeps the device until the tasks are stopped.
struct Tasks<M: Model>(ARef<ParentDevice<Simulator<M>>>);

impl<M: Model> RunItem for Tasks<M> {
    fn run(&self, task: usize) {
        let device: &Simulator<M> = &self.0;
        // This is the thread of a work queue.
        let Ok(switch) = MmSwitch::new() else {
            return;
        };
        let delay = device.faults.delay_ms();
        if delay != 0 {
            fsleep(Delta::from_millis(delay.into()));
        }
        if device.model.run(device, task, Place::Thread(&switch)) {
            device.schedule(task);
        }
    }
}

/// A simulated device.
#[pin_data]
pub struct Simulator<M: Model> {
    #[pin]
    tasks: WorkSet<Tasks<M>>,
    /// The same tasks, on the CPUs that a driver chose.
    #[pin]
    tasks_of_cpus: WorkSet<Tasks<M>>,
    /// On which CPU each task runs.
    pub(crate) cpus: KVec<Atomic<u32>>,
    pub(crate) queues: KVec<Pin<KBox<VirtQueue<M::QueueData>>>>,
    /// The address space of each group.
    pub(crate) groups: KVec<Atomic<u32>>,
    #[pin]
    pub(crate) memory: DeviceMemory,
    interrupts: Interrupts,
    name: CString,
    pub(crate) offered: Features,
    pub(crate) parameters: Parameters,
    pub(crate) active: Active,
    pub(crate) faults: Faults,
    /// Taken by who changes the state of the device.
    #[pin]
    pub(crate) control: Mutex<()>,
    #[pin]
    model: M,
}

impl<M: Model> Simulator<M> {
    const MAP_OPS: MapOps = KernelMap::<Self>::OPS;

    /// How to make a device with so many queues, groups and address spaces.
    pub fn params(
        parameters: &Parameters,
        queues: u16,
        groups: u32,
        address_spaces: u32,
    ) -> DeviceParams<'static, Self> {
        DeviceParams {
            queues,
            groups,
            address_spaces,
            use_va: parameters.use_va,
            dma_device: DmaDevice::Itself,
            map_ops: Some(&Self::MAP_OPS),
            map_style: parameters.map_style,
            ..Default::default()
        }
    }

    /// A device that offers these features, made with [`params`](Self::params).
    pub fn new(
        setup: &Setup<'_>,
        params: &DeviceParams<'_, Self>,
        parameters: Parameters,
        executors: &Executors,
        offered: Features,
        model: impl PinInit<M, Error>,
    ) -> impl PinInit<Self, Error> {
        let (anywhere, of_cpus) = (executors.anywhere.clone(), executors.of_cpus.clone());
        let interrupts = setup.interrupts();
        let name = CString::try_from(setup.name());
        let (queue_count, group_count) = (params.queues, params.groups);
        let address_spaces = params.address_spaces;
        try_pin_init!(Self {
            model <- model,
            tasks <- WorkSet::new(anywhere, model.tasks()),
            tasks_of_cpus <- WorkSet::new(of_cpus, model.tasks()),
            cpus: {
                let mut cpus = KVec::new();
                for _ in 0..model.tasks() {
                    cpus.push(Atomic::new(ANY_CPU), GFP_KERNEL)?;
                }
                cpus
            },
            queues: {
                let mut queues = KVec::new();
                for _ in 0..queue_count {
                    queues.push(KBox::try_pin_init(VirtQueue::new(), GFP_KERNEL)?, GFP_KERNEL)?;
                }
                queues
            },
            groups: {
                let mut groups = KVec::new();
                for _ in 0..group_count {
                    groups.push(Atomic::new(0), GFP_KERNEL)?;
                }
                groups
            },
            memory <- DeviceMemory::new(address_spaces, parameters.map_limit, parameters.use_va),
            interrupts,
            name: name?,
            offered,
            parameters,
            active: Active::new(),
            faults: Faults::new(),
            control <- new_mutex!(()),
        })
    }

    /// Lets the device run. It has to be [stopped](Self::stop), or it stays for ever.
    pub fn start(device: &ParentDevice<Self>) {
        device.tasks.start(Tasks(ARef::from(device)));
        device.tasks_of_cpus.start(Tasks(ARef::from(device)));
    }

    /// No task runs after this. May sleep.
    pub fn stop(&self) {
        self.tasks.stop();
        self.tasks_of_cpus.stop();
    }

    /// What makes it a device of its type.
    #[inline]
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The name of the device.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// What the device offers.
    #[inline]
    pub fn offered(&self) -> Features {
        self.offered
    }

    /// What the driver accepted.
    #[inline]
    pub fn features(&self) -> Features {
        self.active.features()
    }

    /// Whether queues are processed.
    #[inline]
    pub fn is_running(&self) -> bool {
        self.active.is_running()
    }

    /// A queue. Nothing if there is none of that number.
    #[inline]
    pub fn queue(&self, index: usize) -> Option<&VirtQueue<M::QueueData>> {
        self.queues.get(index).map(|queue| &**queue)
    }

    /// What is made to go wrong with the device.
    #[inline]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Makes the device need a reset.
    pub fn need_reset(&self) {
        if self.active.need_reset() {
            self.interrupts.raise_config();
        }
    }

    /// The interrupts of the device. None is to be raised while the claim of a queue is held that
    /// its driver may want for an answer; see the head of the crate.
    #[inline]
    pub fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// The address space of a group.
    pub(crate) fn asid(&self, group: GroupId) -> Asid {
        let asid = usize::try_from(group.get())
            .ok()
            .and_then(|group| self.groups.get(group))
            .map_or(0, |asid| asid.load(Relaxed));
        Asid::new(asid)
    }

    /// What a group of queues reaches. In a thread, this waits for changes of what is mapped.
    #[inline]
    pub fn session<'s>(
        &'s self,
        group: GroupId,
        place: Place<'s>,
    ) -> Result<Session<'s>, NoSession> {
        match place {
            Place::Atomic => self.memory.session_in_kernel(),
            Place::Thread(switch) => self.memory.session(self.asid(group), switch),
        }
    }

    /// As [`session`](Self::session), without waiting: for who has a session already.
    pub fn try_session<'s>(
        &'s self,
        group: GroupId,
        place: Place<'s>,
    ) -> Result<Session<'s>, NoSession> {
        match place {
            Place::Atomic => self.memory.session_in_kernel(),
            Place::Thread(switch) => self.memory.try_session(self.asid(group), switch),
        }
    }

    /// Runs a task soon, in a thread. Any context.
    #[inline]
    pub fn schedule(&self, task: usize) {
        let cpu = self.cpus.get(task).map_or(ANY_CPU, |cpu| cpu.load(Relaxed));
        if cpu == ANY_CPU {
            self.tasks.queue(task);
        } else {
            self.tasks_of_cpus.queue_for(task, cpu);
        }
    }

    /// Runs a task at once if the driver is in the kernel, and this is no hard interrupt; otherwise
    /// soon. To be called for a kick of such a driver: any context, but no claim may be held.
    #[inline]
    pub fn run_or_schedule(&self, task: usize) {
        if self.memory.is_in_kernel() && self.faults.delay_ms() == 0 {
            if let Some(_guard) = BottomHalves::disable_outside_interrupts() {
                if self.model.run(self, task, Place::Atomic) {
                    self.schedule(task);
                }
                return;
            }
        }
        self.schedule(task);
    }

    /// Whether the driver is in the kernel.
    #[inline]
    pub fn is_in_kernel(&self) -> bool {
        self.memory.is_in_kernel()
    }

    /// Runs all tasks soon.
    pub fn schedule_all(&self) {
        for task in 0..self.model.tasks() {
            self.schedule(task);
        }
    }

    /// A queue cannot be used any more: the device needs a reset. Says whether that is news, which
    /// is then to be [reported](Self::report). To be called by who has the queue's claim. Any
    /// context.
    pub fn fail(&self) -> bool {
        self.active.need_reset()
    }

    /// Says in the log why the device needs a reset, and tells the driver. Any context.
    pub fn report(&self, queue: usize, error: QueueError) {
        if kext::log::may_print() {
            pr_warn!(
                "{}: queue {}: {}; the device needs a reset\n",
                self.name(),
                queue,
                error.reason()
            );
        }
        self.interrupts.raise_config();
    }

    /// There is something in a queue. Any context.
    #[inline]
    pub(crate) fn kick(&self, queue: QueueIndex) {
        if !self
            .queue(queue.to_usize())
            .is_some_and(VirtQueue::is_ready)
            || !self.is_running()
        {
            return;
        }
        self.model.kicked(self, queue);
    }
}

impl<M: Model> HasWindow for Simulator<M> {
    fn window(&self) -> &Window {
        self.memory.window()
    }
}
