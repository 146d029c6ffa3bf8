// SPDX-License-Identifier: GPL-2.0

//! A driver of the vDPA bus in safe Rust, to learn from.
//!
//! It takes a device through the first steps of the virtio life cycle, tells what it finds in the
//! kernel log, and resets the device when it is unbound. Queues would be set up where this stops.
//!
//! Every driver of the bus is offered every device, so a driver has to refuse what is not for it.
//! This one takes a device only when a user names it:
//!
//! ```text
//! # echo vdpa_sample_drv > /sys/bus/vdpa/devices/foo/driver_override
//! # echo foo > /sys/bus/vdpa/drivers_probe
//! ```

use kernel::{
    device::{
        Bound,
        Core, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
};
use vdpa::{
    CallbackGuard,
    Device,
    Driver,
    Features,
    InterruptHandler,
    Status, //
};
use vdpa_bindings as bindings;

vdpa::module_vdpa_driver! {
    type: SampleDriver,
    name: "vdpa_sample_drv",
    authors: ["The rust-vdpa developers"],
    description: "Sample driver for the vDPA bus",
    license: "GPL",
}

struct SampleDriver;

impl Driver for SampleDriver {
    type Data<'bound> = Session<'bound>;

    fn probe<'bound>(
        dev: &'bound Device<Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        if !dev.is_driver_override() {
            return Err(ENODEV);
        }
        Session::new(dev)
    }

    fn unbind<'bound>(_dev: &'bound Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        dev_info!(
            this.dev,
            "unbind after {} configuration change(s)\n",
            this.changes.0.load(Relaxed)
        );
    }
}

/// Counts configuration changes. It may be called in interrupt context.
struct Changes(Atomic<u32>);

impl InterruptHandler for Changes {
    fn handle(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A device that is in use. Dropping it resets the device.
struct Session<'bound> {
    dev: &'bound Device<Bound>,
    changes: Arc<Changes>,
    // Dropped after the reset; the handler is not called any more then.
    _callback: CallbackGuard<'bound>,
}

impl<'bound> Session<'bound> {
    fn new(dev: &'bound Device<Bound>) -> Result<Self> {
        dev_info!(
            dev,
            "virtio device type {}, {} queue(s) of at most {} entries\n",
            dev.device_id().get(),
            dev.queue_count(),
            dev.max_queue_size()
        );
        // What we were given may have been used before.
        dev.reset()?;

        let changes = Arc::new(Changes(Atomic::new(0)), GFP_KERNEL)?;
        // From here on, an error resets the device again.
        let session = Self {
            dev,
            _callback: dev.set_config_callback(changes.clone())?,
            changes,
        };
        session.negotiate()?;
        session.show_config();
        Ok(session)
    }

    /// Virtio 1.3, section 3.1.1.
    fn negotiate(&self) -> Result {
        let mut status = Status::ACKNOWLEDGE.union(Status::DRIVER);
        self.dev.set_status(status);

        let wanted = Features::bit(bindings::VIRTIO_F_VERSION_1)
            .union(Features::bit(bindings::VIRTIO_F_ACCESS_PLATFORM));
        let offered = self.dev.device_features();
        let accepted = offered.intersection(wanted);
        self.dev.set_driver_features(accepted)?;

        status = status.union(Status::FEATURES_OK);
        self.dev.set_status(status);
        if !self.dev.status().contains(Status::FEATURES_OK) {
            dev_err!(self.dev, "the device refuses {:#x}\n", accepted.bits());
            return Err(EOPNOTSUPP);
        }
        dev_info!(
            self.dev,
            "offers {:#x}, accepted {:#x}\n",
            offered.bits(),
            accepted.bits()
        );
        Ok(())
    }

    fn show_config(&self) {
        // As much of it as there is.
        let mut config = [0; 16];
        let len = self.dev.config_size().min(config.len());
        let (config, _) = config.split_at_mut(len);
        if self.dev.read_config(0, config).is_err() {
            return;
        }
        dev_info!(
            self.dev,
            "configuration space of {} byte(s), begins with {:02x?}\n",
            self.dev.config_size(),
            config
        );
        if let Some(range) = self.dev.iova_range() {
            dev_info!(self.dev, "reaches {:#x}-{:#x}\n", range.first, range.last);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.dev.reset().is_err() {
            dev_warn!(self.dev, "the device does not reset\n");
        }
    }
}
