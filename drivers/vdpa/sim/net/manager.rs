// SPDX-License-Identifier: GPL-2.0

//! `vdpa dev add` and `vdpa dev del`.

use crate::{
    faults::{
        self,
        Files, //
    },
    mac::MacAddress,
    model::Provision,
    net::{
        Device,
        Net, //
    },
    peers::{
        self,
        DeviceRef,
        Registry, //
    },
    transmit, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use kext::debugfs::Dir;
use vdpa::{
    DeviceConfig,
    DeviceParams,
    ManagedDevice,
    ManagementOps,
    NewDevice,
    ParentDevice, //
};
use vdpasim::{
    Executors,
    Parameters, //
};

/// Makes network cards.
#[pin_data]
pub(crate) struct Manager {
    parameters: Parameters,
    executors: Executors,
    registry: Arc<Registry>,
    debugfs: Dir,
    /// Of each device.
    #[pin]
    files: Mutex<KVec<(DeviceRef, Files)>>,
}

impl Manager {
    pub(crate) fn new(parameters: Parameters) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            parameters,
            executors: Executors::new()?,
            registry: Registry::new()?,
            debugfs: Dir::new(c"vdpa_sim_net")?,
            files <- new_mutex!(KVec::new()),
        })
    }

    /// The device can be found by its name.
    fn publish(&self, device: &ParentDevice<Device>) -> Result {
        let reference = DeviceRef::from(device);
        let files = faults::files(&self.debugfs, reference.clone(), device.name())?;
        self.files.lock().push((reference, files), GFP_KERNEL)?;
        self.registry.add(device)
    }

    /// It cannot any more, and nothing of it runs after this.
    fn withdraw(&self, device: &ParentDevice<Device>) {
        self.registry.remove(device);
        let mut files = self.files.lock();
        let index = files
            .iter()
            .position(|(other, _)| core::ptr::eq::<Device>(&***other, &**device));
        let removed = index.and_then(|index| files.remove(index).ok());
        drop(files);
        drop(removed);
    }
}

/// The groups: the control queue has one of its own, so that a driver can keep it to itself.
const GROUPS: u32 = 2;
/// An address space for each.
const ADDRESS_SPACES: u32 = 2;

#[vtable]
impl ManagementOps for Manager {
    type Device = Device;

    fn dev_add<'a>(
        &self,
        request: NewDevice<'a, Self>,
        config: &DeviceConfig,
    ) -> Result<ManagedDevice<'a, Device>> {
        let provision = Provision::new(config, random_address()).map_err(|reason| {
            let name = request.name();
            pr_err!(
                "{}: cannot be made: {}\n",
                name,
                core::format_args!("{reason}")
            );
            EINVAL
        })?;
        let offered = provision.offered;
        let params = DeviceParams {
            attribute_groups: Some(peers::ATTRIBUTES),
            ..Device::params(&self.parameters, offered.queues(), GROUPS, ADDRESS_SPACES)
        };
        let device = request.make(&params, |setup| {
            Device::new(
                setup,
                &params,
                self.parameters,
                &self.executors,
                offered.features(),
                Net::new(provision, &self.registry),
            )
        })?;
        transmit::prepare(&device)?;
        // A driver may be bound before `register()` returns, and send commands.
        Device::start(&device);
        let running = DeviceRef::from(&*device);
        self.publish(&running)
            .and_then(|()| device.register())
            .inspect_err(|_| {
                self.withdraw(&running);
                running.stop();
            })
    }

    fn dev_del(&self, device: ManagedDevice<'_, Device>) {
        self.withdraw(&device);
        let device = device.unregister();
        device.stop();
    }

    fn dev_set_attr(&self, device: &ParentDevice<Device>, config: &DeviceConfig) -> Result {
        let mac = MacAddress::new(config.mac.ok_or(EOPNOTSUPP)?);
        if device.model().change(|state| state.set_mac(mac)) {
            device.interrupts().raise_config();
        }
        Ok(())
    }
}

/// A locally administered unicast address.
fn random_address() -> MacAddress {
    let mut bytes = [0; MacAddress::LEN];
    kext::random::fill(&mut bytes);
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0xfe | 0x02;
    }
    MacAddress::new(bytes)
}
