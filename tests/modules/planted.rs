// SPDX-License-Identifier: GPL-2.0

//! Bugs on purpose, for the self-test of the test runner: each must be reported
//! by the debug kernel and fail the run.
//!
//! `insmod vdpa_test_planted.ko bug=N`, see [`Bug`].

use kernel::{
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Mutex,
        SpinLock, //
    }, //
};

module! {
    type: Planted,
    name: "vdpa_test_planted",
    authors: ["The Rust vDPA developers"],
    description: "Bugs on purpose",
    license: "GPL",
    params: {
        bug: u8 {
            default: 0,
            description: "which one: 1 use after free, 2 lock inversion, 3 leak, 4 sleep under a spinlock",
        },
    },
}

enum Bug {
    None,
    UseAfterFree,
    LockInversion,
    Leak,
    SleepUnderSpinlock,
}

impl TryFrom<u8> for Bug {
    type Error = Error;

    fn try_from(number: u8) -> Result<Self> {
        Ok(match number {
            0 => Bug::None,
            1 => Bug::UseAfterFree,
            2 => Bug::LockInversion,
            3 => Bug::Leak,
            4 => Bug::SleepUnderSpinlock,
            _ => return Err(EINVAL),
        })
    }
}

#[pin_data]
struct Locks {
    #[pin]
    first: Mutex<u32>,
    #[pin]
    second: Mutex<u32>,
    #[pin]
    spin: SpinLock<u32>,
}

impl Locks {
    fn new() -> Result<Pin<KBox<Self>>> {
        let locks = pin_init!(Self {
            first <- new_mutex!(0, "Planted::first"),
            second <- new_mutex!(0, "Planted::second"),
            spin <- new_spinlock!(0, "Planted::spin"),
        });
        KBox::pin_init(locks, GFP_KERNEL)
    }

    fn first_then_second(&self) {
        let first = self.first.lock();
        *self.second.lock() = *first;
    }

    fn second_then_first(&self) {
        let second = self.second.lock();
        *self.first.lock() = *second;
    }

    fn sleep_under_spinlock(&self) {
        let mut spin = self.spin.lock();
        *spin = *self.first.lock();
    }
}

fn use_after_free() -> Result {
    let freed = KBox::into_raw(KBox::new([1u8; 64], GFP_KERNEL)?);
    // SAFETY: The pointer is of a `KBox`.
    drop(unsafe { KBox::from_raw(freed) });
    // SAFETY: None: the memory was freed. This is the bug.
    let byte = unsafe { freed.cast::<u8>().read_volatile() };
    pr_info!("read {byte} from memory that was freed\n");
    Ok(())
}

fn leak() -> Result {
    for _ in 0..8 {
        let _ = KBox::into_raw(KBox::new([0u8; 200], GFP_KERNEL)?);
    }
    Ok(())
}

struct Planted;

impl kernel::Module for Planted {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        match Bug::try_from(module_parameters::bug.value())? {
            Bug::None => {}
            Bug::UseAfterFree => use_after_free()?,
            Bug::LockInversion => {
                let locks = Locks::new()?;
                locks.first_then_second();
                locks.second_then_first();
            }
            Bug::Leak => leak()?,
            Bug::SleepUnderSpinlock => Locks::new()?.sleep_under_spinlock(),
        }
        Ok(Planted)
    }
}

#[kunit_tests(rvdpa_planted)]
mod tests {
    use super::*;

    #[test]
    fn passes() {
        assert!(Bug::try_from(4).is_ok());
    }

    #[test]
    fn fails() {
        assert!(Bug::try_from(4).is_err());
    }
}
