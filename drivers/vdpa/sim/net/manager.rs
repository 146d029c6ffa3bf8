// SPDX-License-Identifier: GPL-2.0

//! `vdpa dev add` and `vdpa dev del`.

use crate::{
    config::Mtu,
    features::{
        Offered,
        QueuePairs, //
    },
    mac::MacAddress,
    model,
    net::{
        Device,
        Net, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use vdpa::{
    DeviceConfig,
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
pub(crate) struct Manager {
    parameters: Parameters,
    executors: Arc<Executors>,
}

impl Manager {
    pub(crate) fn new(parameters: Parameters, executors: Arc<Executors>) -> Self {
        Self {
            parameters,
            executors,
        }
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
        let pairs = match config.max_queue_pairs {
            Some(pairs) => QueuePairs::new(pairs).ok_or(EINVAL)?,
            None => QueuePairs::ONE,
        };
        let offered = Offered::new(config.features, pairs).map_err(|_| EINVAL)?;
        let mac = match config.mac {
            Some(mac) => MacAddress::new(mac),
            None => random_address(),
        };
        let mtu = match config.mtu {
            Some(mtu) => Mtu::new(mtu).ok_or(EINVAL)?,
            None => Mtu::DEFAULT,
        };
        let params = Device::params(&self.parameters, offered.queues(), GROUPS, ADDRESS_SPACES);
        let device = request.make(&params, |setup| {
            Device::new(
                setup,
                &params,
                self.parameters,
                &self.executors,
                offered.features(),
                Net::new(model::Model::new(offered, mac, mtu)),
            )
        })?;
        // A driver may be bound before `register()` returns, and send commands.
        Device::start(&device);
        let running: ARef<ParentDevice<Device>> = ARef::from(&*device);
        device.register().inspect_err(|_| running.stop())
    }

    fn dev_del(&self, device: ManagedDevice<'_, Device>) {
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
