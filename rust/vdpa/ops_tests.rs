// SPDX-License-Identifier: GPL-2.0

//! Tests of the way from [`DeviceOps`](crate::DeviceOps) to the C table and back.

use kernel::prelude::*;

#[kunit_tests(rvdpa_ops)]
mod tests {
    use crate::{
        memory::{
            Asid,
            Iotlb, //
        },
        ops::DeviceOps,
        ops_table::OpsTable,
        parent::{
            DeviceParams,
            MapStyle, //
        },
        queue::{
            QueueAddresses,
            QueueIndex,
            QueueState, //
        },
        registration::Registration,
        types::{
            DeviceId,
            Features,
            Status, //
        },
    };
    use kernel::{
        prelude::*,
        sync::{
            atomic::{
                ordering::Relaxed,
                Atomic, //
            },
            Arc, //
        },
    };

    /// The library is not a module by itself.
    struct NoModule;

    impl kernel::ModuleMetadata for NoModule {
        const NAME: &'static CStr = c"rvdpa_kunit";
        // SAFETY: Nothing uses it.
        const THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(core::ptr::null_mut()) };
    }

    /// Says in its word when it is dropped.
    struct Stub(Arc<Atomic<u32>>);

    impl Drop for Stub {
        fn drop(&mut self) {
            self.0.store(1, Relaxed);
        }
    }

    #[vtable]
    impl DeviceOps for Stub {
        type OwnerModule = NoModule;

        fn set_vq_address(&self, _queue: QueueIndex, _at: QueueAddresses) -> Result {
            Ok(())
        }
        fn set_vq_num(&self, _queue: QueueIndex, _entries: u32) {}
        fn kick_vq(&self, _queue: QueueIndex) {}
        fn set_vq_ready(&self, _queue: QueueIndex, _ready: bool) {}
        fn get_vq_ready(&self, _queue: QueueIndex) -> bool {
            false
        }
        fn set_vq_state(&self, _queue: QueueIndex, _state: QueueState) -> Result {
            Ok(())
        }
        fn get_vq_state(&self, queue: QueueIndex) -> Result<QueueState> {
            Ok(QueueState::split(queue.get()))
        }
        fn get_vq_align(&self) -> u32 {
            64
        }
        fn get_device_features(&self) -> Features {
            Features::bit(32)
        }
        fn set_driver_features(&self, _features: Features) -> Result {
            Err(EINVAL)
        }
        fn get_driver_features(&self) -> Features {
            Features::NONE
        }
        fn get_vq_num_max(&self) -> u16 {
            // No driver can be bound to it.
            0
        }
        fn get_device_id(&self) -> DeviceId {
            DeviceId::BLOCK
        }
        fn get_vendor_id(&self) -> u32 {
            0x1af4
        }
        fn get_status(&self) -> Status {
            Status::RESET
        }
        fn set_status(&self, _status: Status) {}
        fn reset(&self) -> Result {
            Ok(())
        }
        fn get_config_size(&self) -> usize {
            1
        }
        fn get_config(&self, offset: usize, buf: &mut [u8]) {
            if let (0, Some(first)) = (offset, buf.first_mut()) {
                *first = 0x5a;
            }
        }
        fn set_config(&self, _offset: usize, _buf: &[u8]) {}
        fn set_map(&self, _asid: Asid, _iotlb: &Iotlb) -> Result {
            Ok(())
        }
    }

    #[test]
    fn what_is_not_implemented_is_null() {
        let table = OpsTable::<Stub>::table(MapStyle::default());
        assert!(table.set_map.is_some());
        assert!(table.free.is_some());
        // Kept by the library, whether the type wants to know or not.
        assert!(table.set_vq_cb.is_some());
        assert!(table.set_config_cb.is_some());

        assert!(table.kick_vq_with_data.is_none());
        assert!(table.get_vendor_vq_stats.is_none());
        assert!(table.get_vq_num_min.is_none());
        assert!(table.compat_reset.is_none());
        assert!(table.suspend.is_none());
        assert!(table.dma_map.is_none());
        assert!(table.bind_mm.is_none());
    }

    #[test]
    fn a_device_lives_until_its_registration_ends() -> Result {
        let dropped = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let stub = Stub(dropped.clone());
        let params = DeviceParams {
            queues: 3,
            ..Default::default()
        };
        let registration =
            Registration::<Stub>::new(Some(c"rvdpa_kunit"), &params, |_| Ok::<_, Error>(stub))?;
        let device = registration.device();
        assert_eq!(device.queue_count(), 3);
        assert_eq!(device.vendor_id(), 0x1af4);
        assert!(device.device_id() == DeviceId::BLOCK);
        // A legacy access, which sets no features; nothing is outside of the space.
        let mut config = [0xff; 2];
        assert_eq!(device.read_config(0, &mut config), Err(EINVAL));
        let (first, _) = config.split_at_mut(1);
        device.read_config(0, first)?;
        assert_eq!(config, [0x5a, 0xff]);
        assert_eq!(dropped.load(Relaxed), 0);
        drop(registration);
        assert_eq!(dropped.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_failed_initialiser_leaves_nothing() -> Result {
        let params = DeviceParams::default();
        for _ in 0..2 {
            let failed = Registration::<Stub>::new(Some(c"rvdpa_kunit"), &params, |_| {
                Err::<Stub, _>(ENOSPC)
            });
            assert_eq!(failed.err(), Some(ENOSPC));
        }
        Ok(())
    }
}
