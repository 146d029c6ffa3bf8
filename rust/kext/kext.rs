// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers that the `kernel` crate of this series lacks.
//!
//! Nothing here knows of vDPA: each file is a candidate for `rust/kernel`. The crate holds no state,
//! so every module that links it has a copy of its own.

pub mod attribute;
pub mod bottom_half;
pub mod bus;
pub mod chardev;
pub mod claim;
pub mod cpu;
pub mod debugfs;
pub mod device;
pub mod eventfd;
pub mod export;
pub mod genetlink;
pub mod ida;
pub mod iommu;
pub mod irqbypass;
pub mod log;
pub mod mm;
pub mod nospec;
pub mod once;
pub mod pin;
pub mod random;
pub mod rcu_cell;
pub mod rwsem;
pub mod sysfs;
pub mod trace;
pub mod unload;
pub mod work;
