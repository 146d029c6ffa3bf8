// SPDX-License-Identifier: GPL-2.0

//! The memory that a device made of software can reach.
//!
//! There are two kinds of drivers. One in user space, or a guest, names what the device may reach,
//! by address spaces: nothing at first. A driver in the kernel has no such means; it asks for rings
//! and maps buffers by the device's [`Window`], and as long as it has a ring, the device sees all of
//! the kernel's memory at its physical addresses.

use crate::{
    session::{
        Session,
        View, //
    },
    space::AddressSpace,
    window::Window,
};
use kernel::{
    mm::Mm,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        SpinLock, //
    },
};
use kext::mm::MmSwitch;
use vdpa::Asid;

/// The memory that a device can reach.
#[pin_data]
pub struct DeviceMemory {
    spaces: KVec<Pin<KBox<AddressSpace>>>,
    window: Window,
    /// Whether address spaces hold virtual addresses.
    use_va: bool,
    /// Of this process.
    #[pin]
    owner: SpinLock<Option<ARef<Mm>>>,
}

/// Why there is no [`Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSession {
    /// Nothing can be reached: there is no such address space, no owner, or its memory is gone.
    Nothing,
    /// It takes a context that may sleep.
    NotHere,
    /// The address space is being changed.
    Busy,
}

impl DeviceMemory {
    /// Of a device with this many address spaces, of `limit` runs each.
    pub fn new(address_spaces: u32, limit: usize, use_va: bool) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            spaces: {
                let mut spaces = KVec::new();
                for _ in 0..address_spaces {
                    spaces.push(
                        KBox::try_pin_init(AddressSpace::new(limit), GFP_KERNEL)?,
                        GFP_KERNEL,
                    )?;
                }
                spaces
            },
            window: Window::new(),
            use_va,
            owner <- new_spinlock!(None, "vdpa_owner"),
        })
    }

    /// An address space. Fails with `EINVAL` if there is none of that number.
    pub fn space(&self, asid: Asid) -> Result<&AddressSpace> {
        let index = usize::try_from(asid.get())?;
        Ok(self.spaces.get(index).ok_or(EINVAL)?)
    }

    /// All address spaces.
    pub fn spaces(&self) -> impl Iterator<Item = &AddressSpace> {
        self.spaces.iter().map(|space| &**space)
    }

    /// How a driver in the kernel reaches the device.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Whether a driver in the kernel has rings, so that the device needs no thread to work.
    #[inline]
    pub fn is_in_kernel(&self) -> bool {
        self.window.is_open()
    }

    /// Address spaces are those of this process from now on, or of none.
    pub fn set_owner(&self, mm: Option<&Mm>) {
        let new = mm.map(ARef::from);
        let old = core::mem::replace(&mut *self.owner.lock(), new);
        for space in self.spaces() {
            space.touch();
        }
        drop(old);
    }

    /// What the device can reach by an address space, in any context: only what a driver in the
    /// kernel lets it.
    #[inline]
    pub fn session_in_kernel(&self) -> Result<Session<'_>, NoSession> {
        if self.window.is_open() {
            Ok(Session::new(View::Window, self.window.id()))
        } else {
            Err(NoSession::NotHere)
        }
    }

    /// What the device can reach by an address space, in a kernel thread. Waits for changes of the
    /// address space.
    pub fn session<'s>(
        &'s self,
        asid: Asid,
        switch: &'s MmSwitch,
    ) -> Result<Session<'s>, NoSession> {
        self.make_session(asid, switch, |space| Some(space.physical()))
    }

    /// As [`session`](Self::session), without waiting: for who has a session already.
    pub fn try_session<'s>(
        &'s self,
        asid: Asid,
        switch: &'s MmSwitch,
    ) -> Result<Session<'s>, NoSession> {
        self.make_session(asid, switch, AddressSpace::try_physical)
    }

    fn make_session<'s>(
        &'s self,
        asid: Asid,
        switch: &'s MmSwitch,
        physical: impl FnOnce(&'s AddressSpace) -> Option<Session<'s>>,
    ) -> Result<Session<'s>, NoSession> {
        if let Ok(session) = self.session_in_kernel() {
            return Ok(session);
        }
        let space = self.space(asid).map_err(|_| NoSession::Nothing)?;
        if !self.use_va {
            return physical(space).ok_or(NoSession::Busy);
        }
        let owner = self.owner.lock().clone().ok_or(NoSession::Nothing)?;
        // A process that is ending has no memory any more, though its owner may not know yet.
        let mm = owner.mmget_not_zero().ok_or(NoSession::Nothing)?;
        Ok(space.user(mm, switch))
    }
}
