// SPDX-License-Identifier: GPL-2.0

//! A vDPA device in safe Rust, to learn from.
//!
//! It is a network card with one pair of queues on which nothing ever comes or goes: moving packets
//! is not what this sample is about. It shows how a parent
//! - offers a management device, `vdpa dev add name foo mgmtdev vdpa_sample`;
//! - makes a device as the user wants it, and removes it;
//! - keeps the state that the virtio specification asks for: status, features, queues,
//!   configuration space;
//! - answers in all contexts in which it may be asked;
//! - has a file of its own in sysfs.

use kernel::{
    new_mutex,
    prelude::*,
    str::{
        parse_int::ParseInt,
        BStr, //
    },
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Mutex, //
    },
};
use kext::sysfs;
use vdpa::{
    Asid,
    Attributes,
    DeviceConfig,
    DeviceId,
    DeviceOps,
    DeviceParams,
    DmaDevice,
    Features,
    Interrupts,
    Iotlb,
    IovaRange,
    ManagedDevice,
    ManagementOps,
    ManagementParams,
    ManagementRegistration,
    NewDevice,
    ParentDevice,
    QueueAddresses,
    QueueIndex,
    QueueState,
    RootDevice,
    StatsWriter,
    Status, //
};
use vdpa_bindings as bindings;

module! {
    type: SampleModule,
    name: "vdpa_sample_dev",
    authors: ["The rust-vdpa developers"],
    description: "Sample vDPA device",
    license: "GPL",
    params: {
        max_queue_size: u16 {
            default: 256,
            description: "Largest size of a virtqueue",
        },
    },
}

/// A queue to receive and one to send.
const QUEUES: usize = 2;
const FEATURES: Features = Features::bit(bindings::VIRTIO_F_VERSION_1)
    .union(Features::bit(bindings::VIRTIO_F_ACCESS_PLATFORM))
    .union(Features::bit(bindings::VIRTIO_NET_F_MAC))
    .union(Features::bit(bindings::VIRTIO_NET_F_MTU));

/// The device.
///
/// Operations may run at the same time and only get a shared reference, so what changes is behind a
/// lock. `kick_vq` may not sleep, so what it needs is not behind that lock.
#[pin_data]
struct Sample {
    offered: Features,
    kicks: [Atomic<u64>; QUEUES],
    #[pin]
    state: Mutex<State>,
    #[pin]
    config: Mutex<Config>,
    interrupts: Interrupts,
}

/// The configuration space (virtio 1.3, section 5.1.4). A reset leaves it as it is.
struct Config {
    mac: [u8; 6],
    mtu: u16,
}

impl Config {
    /// MAC address, link status, number of queue pairs, MTU.
    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let [m0, m1, m2, m3, m4, m5] = self.mac;
        let [mtu0, mtu1] = self.mtu.to_le_bytes();
        [m0, m1, m2, m3, m4, m5, 0, 0, 1, 0, mtu0, mtu1]
    }

    const SIZE: usize = 12;
}

/// What a reset clears.
#[derive(Default)]
struct State {
    status: Status,
    features: Features,
    queues: [Queue; QUEUES],
}

#[derive(Default)]
struct Queue {
    ready: bool,
    size: u32,
    addresses: QueueAddresses,
    state: QueueState,
}

impl Sample {
    fn new(config: DeviceConfig, interrupts: Interrupts) -> impl PinInit<Self> {
        let space = Config {
            mac: config.mac.unwrap_or([2, 0, 0, 0, 0, 1]),
            mtu: config.mtu.unwrap_or(1500),
        };
        pin_init!(Self {
            offered: config.features.unwrap_or(FEATURES),
            kicks: [const { Atomic::new(0) }; QUEUES],
            state <- new_mutex!(State::default()),
            config <- new_mutex!(space),
            interrupts,
        })
    }

    /// Runs `f` on a queue, if there is one of that number: numbers come unchecked.
    fn with_queue<R>(&self, index: QueueIndex, f: impl FnOnce(&mut Queue) -> R) -> Result<R> {
        let mut state = self.state.lock();
        let queue = state.queues.get_mut(index.to_usize()).ok_or(EINVAL)?;
        Ok(f(queue))
    }
}

#[vtable]
impl DeviceOps for Sample {
    fn set_vq_address(&self, queue: QueueIndex, at: QueueAddresses) -> Result {
        self.with_queue(queue, |q| q.addresses = at)
    }

    fn set_vq_num(&self, queue: QueueIndex, entries: u32) {
        let _ = self.with_queue(queue, |q| q.size = entries);
    }

    fn kick_vq(&self, queue: QueueIndex) {
        if let Some(kicks) = self.kicks.get(queue.to_usize()) {
            // A device that does something would wake a work item here, which looks at the queue
            // and then calls `self.interrupts.raise(queue)`.
            kicks.fetch_add(1, Relaxed);
        }
    }

    fn set_vq_ready(&self, queue: QueueIndex, ready: bool) {
        let _ = self.with_queue(queue, |q| q.ready = ready);
    }

    fn get_vq_ready(&self, queue: QueueIndex) -> bool {
        self.with_queue(queue, |q| q.ready).unwrap_or(false)
    }

    fn set_vq_state(&self, queue: QueueIndex, state: QueueState) -> Result {
        self.with_queue(queue, |q| q.state = state)
    }

    fn get_vq_state(&self, queue: QueueIndex) -> Result<QueueState> {
        self.with_queue(queue, |q| q.state)
    }

    fn get_vendor_vq_stats(&self, queue: QueueIndex, stats: &mut StatsWriter<'_>) -> Result {
        let Some(kicks) = self.kicks.get(queue.to_usize()) else {
            stats.set_error_text(c"vdpa_sample: there are two queues");
            return Err(EINVAL);
        };
        stats.put(c"kicks", kicks.load(Relaxed))
    }

    fn get_device_features(&self) -> Features {
        self.offered
    }

    fn set_driver_features(&self, features: Features) -> Result {
        if !features.without(self.offered).is_empty() {
            return Err(EINVAL);
        }
        self.state.lock().features = features;
        Ok(())
    }

    fn get_driver_features(&self) -> Features {
        self.state.lock().features
    }

    fn get_vq_num_max(&self) -> u16 {
        module_parameters::max_queue_size.value()
    }

    fn get_device_id(&self) -> DeviceId {
        DeviceId::NET
    }

    fn get_status(&self) -> Status {
        self.state.lock().status
    }

    fn set_status(&self, status: Status) {
        self.state.lock().status = status;
    }

    fn reset(&self) -> Result {
        *self.state.lock() = State::default();
        Ok(())
    }

    fn get_config_size(&self) -> usize {
        Config::SIZE
    }

    fn get_config(&self, offset: usize, buf: &mut [u8]) {
        let space = self.config.lock().to_bytes();
        for (to, from) in buf.iter_mut().zip(space.get(offset..).unwrap_or_default()) {
            *to = *from;
        }
    }

    fn get_iova_range(&self) -> IovaRange {
        IovaRange {
            first: 0,
            last: u64::MAX,
        }
    }

    /// Having this, the device translates addresses itself and needs no IOMMU.
    fn set_map(&self, asid: Asid, iotlb: &Iotlb) -> Result {
        if asid != Asid::new(0) {
            return Err(EINVAL);
        }
        for entry in iotlb.entries() {
            pr_debug!("{:x}-{:x}\n", entry.first(), entry.last());
        }
        Ok(())
    }
}

/// `/sys/bus/vdpa/devices/foo/kicks`: the kicks of all queues. Writing 0 starts again.
struct Kicks;

#[vtable]
impl sysfs::Attribute<ParentDevice<Sample>> for Kicks {
    const NAME: &'static CStr = c"kicks";

    fn show(device: &ParentDevice<Sample>, page: &mut sysfs::Page<'_>) -> Result {
        let kicks = device.kicks.iter().map(|kicks| kicks.load(Relaxed));
        writeln!(page, "{}", kicks.fold(0, u64::wrapping_add))
    }

    fn store(device: &ParentDevice<Sample>, value: &BStr) -> Result {
        if u64::from_str(value)? != 0 {
            return Err(EINVAL);
        }
        for kicks in &device.kicks {
            kicks.store(0, Relaxed);
        }
        Ok(())
    }
}

/// Makes devices.
struct Maker;

#[vtable]
impl ManagementOps for Maker {
    type Device = Sample;

    fn dev_add<'a>(
        &self,
        request: NewDevice<'a, Self>,
        config: &DeviceConfig,
    ) -> Result<ManagedDevice<'a, Sample>> {
        if let Some(features) = config.features {
            if !features.without(FEATURES).is_empty() {
                return Err(EINVAL);
            }
        }
        let params = DeviceParams {
            queues: u16::try_from(QUEUES)?,
            dma_device: DmaDevice::Itself,
            attribute_groups: Some(sysfs::Groups::one::<(Kicks,)>()),
            ..Default::default()
        };
        request.create(&params, |setup| Sample::new(*config, setup.interrupts()))
    }

    /// `vdpa dev set name foo mac 02:00:00:00:00:02`
    fn dev_set_attr(&self, device: &ParentDevice<Sample>, config: &DeviceConfig) -> Result {
        device.config.lock().mac = config.mac.ok_or(EOPNOTSUPP)?;
        device.interrupts.raise_config();
        Ok(())
    }
}

struct SampleModule {
    // Dropped first: the management device refers to the root device.
    _manager: ManagementRegistration<Maker>,
    _root: RootDevice,
}

impl kernel::Module for SampleModule {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let root = RootDevice::new(c"vdpa_sample", module)?;
        let params = ManagementParams {
            classes: &[DeviceId::NET],
            features: FEATURES,
            attributes: Attributes::FEATURES
                .union(Attributes::MAC)
                .union(Attributes::MTU),
            max_queues: u32::try_from(QUEUES)?,
        };
        Ok(Self {
            _manager: ManagementRegistration::new(root.as_ref(), &params, Maker)?,
            _root: root,
        })
    }
}
