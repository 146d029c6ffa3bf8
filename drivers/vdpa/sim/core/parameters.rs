// SPDX-License-Identifier: GPL-2.0

//! Parameters of `vdpa_sim.ko`, which hold for all simulators.

use kernel::prelude::*;
use vdpa::MapStyle;

// As declared in include/vdpa_sim.h; all that the functions do is read a parameter.
unsafe extern "C" {
    safe fn rvdpa_sim_batch_mapping() -> bool;
    safe fn rvdpa_sim_max_iotlb_entries() -> c_int;
    safe fn rvdpa_sim_use_va() -> bool;
    safe fn rvdpa_sim_queue_size() -> c_uint;
}

/// Parameters of `vdpa_sim.ko`.
#[derive(Clone, Copy)]
pub struct Parameters {
    /// How devices are told what is mapped.
    pub map_style: MapStyle,
    /// The number of runs that can be mapped in an address space.
    pub map_limit: usize,
    /// Whether devices take virtual addresses of their owner.
    pub use_va: bool,
    /// The largest number of entries of a virtqueue.
    pub queue_size: u16,
}

impl Parameters {
    /// As they are. Fails with `EINVAL` if one of them makes no sense.
    pub fn get() -> Result<Self> {
        let map_limit = usize::try_from(rvdpa_sim_max_iotlb_entries()).map_err(|_| EINVAL)?;
        // What is mapped as a whole takes two entries in C.
        if map_limit < 2 {
            pr_err!("max_iotlb_entries must be at least 2\n");
            return Err(EINVAL);
        }
        let queue_size = u16::try_from(rvdpa_sim_queue_size()).unwrap_or(0);
        if !queue_size.is_power_of_two() {
            pr_err!("queue_size must be a power of two, and at most 32768\n");
            return Err(EINVAL);
        }
        Ok(Self {
            map_style: if rvdpa_sim_batch_mapping() {
                MapStyle::Whole
            } else {
                MapStyle::Pieces
            },
            map_limit,
            use_va: rvdpa_sim_use_va(),
            queue_size,
        })
    }
}
