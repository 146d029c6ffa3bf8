// SPDX-License-Identifier: GPL-2.0

//! Dumps: lists of records that take as many buffers as they need.
//!
//! C headers: [`include/net/genetlink.h`](srctree/include/net/genetlink.h),
//! [`include/linux/netlink.h`](srctree/include/linux/netlink.h)

use core::{
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull,
};

use kernel::{
    bindings,
    prelude::*, //
};

use super::{
    message,
    Attr,
    AttrWriter,
    DumpCommand,
    ExtAck,
    Header,
    Request, //
};

/// What a dump knows of its request, and the state that lasts from one buffer to the next.
///
/// # Invariants
///
/// - For `'a`, `cb` is valid for reads and writes and nobody else uses it.
/// - `cb.ctx` holds a valid `S`, and nothing else is stored there while the dump lasts.
pub struct DumpContext<'a, S> {
    cb: NonNull<bindings::netlink_callback>,
    request: Request<'a>,
    _state: PhantomData<&'a mut S>,
}

impl<'a, S: Zeroable + Copy + Send + 'static> DumpContext<'a, S> {
    /// Takes over what C passed to a callback of command `T`.
    ///
    /// # Safety
    ///
    /// `cb` must be what the generic netlink core passes to the `start` or `dumpit` callback of the
    /// operation made for `T`, and the callback must not return during `'a`.
    pub(super) unsafe fn from_raw<T: DumpCommand<State = S>>(
        cb: *mut bindings::netlink_callback,
    ) -> Self {
        // SAFETY: The core passes valid pointers, and `cb.data` is its `struct genl_dumpit_info`
        // from before `start` until after `done`.
        let (cb, skb, info) = unsafe {
            (
                NonNull::new_unchecked(cb),
                (*cb).skb,
                &raw const (*(*cb).data.cast::<bindings::genl_dumpit_info>()).info,
            )
        };
        // INVARIANT: C holds the lock of the socket's callback while it calls. It has cleared
        // `ctx` when the dump began, which is a valid `S` as that is `Zeroable`; since then only
        // the callbacks of `T` were called, which write only an `S`.
        Self {
            cb,
            // SAFETY: `skb` and `info` are the request of the dump, which `cb` keeps. Either the
            // sender waits in the call, or somebody receives from the same socket: it is open.
            request: unsafe { Request::from_raw::<T>(skb, info) },
            _state: PhantomData,
        }
    }

    /// Returns the state: all zeroes when a dump begins.
    #[inline]
    pub fn state(&self) -> S {
        // SAFETY: By the type invariants.
        unsafe { *state(self.cb) }
    }

    /// Sets the state.
    #[inline]
    pub fn set_state(&mut self, new: S) {
        // SAFETY: By the type invariants.
        unsafe { *state(self.cb) = new };
    }

    /// Returns an attribute of the request, see [`Request::attr`].
    #[inline]
    pub fn attr(&self, attr: u16) -> Option<Attr<'a>> {
        self.request.attr(attr)
    }

    /// Returns an attribute that the request must have, see [`Request::require`].
    #[inline]
    pub fn require(&self, attr: u16) -> Result<Attr<'a>> {
        self.request.require(attr)
    }

    /// Returns where to put the text of an error.
    #[inline]
    pub fn extack(&self) -> ExtAck<'a> {
        self.request.extack()
    }

    /// Tells whether the request may use a capability, see [`Request::capable`].
    #[inline]
    pub fn capable(&self, capability: u32) -> bool {
        self.request.capable(capability)
    }

    /// Says which version of the list the following records are from (`netlink_callback::seq`).
    ///
    /// When it changes in the course of a dump, user space is told that what it got is not
    /// consistent (`NLM_F_DUMP_INTR`). Zero stands for no version.
    #[inline]
    pub fn set_sequence(&mut self, seq: u32) {
        // SAFETY: `cb` is valid by the type invariants.
        unsafe { (*self.cb.as_ptr()).seq = seq };
    }

    /// Says how large a record can get, if that is more than nearly 4 KiB. For
    /// [`DumpCommand::start`]: buffers are then allocated so.
    #[inline]
    pub fn set_min_buffer(&mut self, bytes: u16) {
        // SAFETY: `cb` is valid by the type invariants.
        unsafe { (*self.cb.as_ptr()).min_dump_alloc = u32::from(bytes) };
    }
}

/// Returns where the state of a dump is.
///
/// # Safety
///
/// `cb` must be valid.
pub(super) unsafe fn state<S>(cb: NonNull<bindings::netlink_callback>) -> *mut S {
    const {
        assert!(size_of::<S>() <= size_of::<bindings::netlink_callback__bindgen_ty_1>());
        assert!(align_of::<S>() <= align_of::<bindings::netlink_callback__bindgen_ty_1>());
    }
    // SAFETY: `cb` is valid by the safety requirements.
    unsafe { &raw mut (*cb.as_ptr()).__bindgen_anon_1 }.cast()
}

/// A list being written: one buffer of it.
///
/// Dereferences to [`DumpContext`], which has the request and the state.
///
/// # Invariants
///
/// `skb` is valid and linear, and nobody else uses it.
pub struct Dump<'a, S> {
    context: DumpContext<'a, S>,
    skb: NonNull<bindings::sk_buff>,
}

impl<'a, S: Zeroable + Copy + Send + 'static> Dump<'a, S> {
    /// Takes over what C passed to a callback of command `T`.
    ///
    /// # Safety
    ///
    /// `skb` and `cb` must be what the generic netlink core passes to the `dumpit` callback of the
    /// operation made for `T`, and the callback must not return during `'a`.
    pub(super) unsafe fn from_raw<T: DumpCommand<State = S>>(
        skb: *mut bindings::sk_buff,
        cb: *mut bindings::netlink_callback,
    ) -> Self {
        // INVARIANT: `netlink_dump()` has allocated the buffer, linear, for this call.
        Self {
            // SAFETY: By the safety requirements.
            context: unsafe { DumpContext::from_raw::<T>(cb) },
            // SAFETY: C passes a valid pointer.
            skb: unsafe { NonNull::new_unchecked(skb) },
        }
    }

    /// Appends a record with `NLM_F_MULTI`.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if there is no room for it in this buffer, else what `fill` returned. The buffer
    /// is then as it was before. Return the error from [`DumpCommand::dumpit`], with a state that
    /// begins with this record next time: what is in the buffer is delivered first.
    pub fn record(&mut self, cmd: u8, fill: impl FnOnce(&mut AttrWriter<'_>) -> Result) -> Result {
        let cb = self.context.cb.as_ptr();
        // SAFETY: `cb` is valid by the type invariants.
        let (seq, prev_seq) = unsafe { ((*cb).seq, (*cb).prev_seq) };
        let mut flags = bindings::NLM_F_MULTI;
        if prev_seq != 0 && seq != prev_seq {
            flags |= bindings::NLM_F_DUMP_INTR;
        }
        let header = Header {
            flags,
            ..self.context.request.header(cmd)
        };
        // SAFETY: By the type invariants.
        unsafe { message::append(self.skb, header, fill) }?;
        // As `genl_dump_check_consistent()`, but only for records that stay.
        // SAFETY: `cb` is valid by the type invariants.
        unsafe { (*cb).prev_seq = seq };
        Ok(())
    }

    /// Returns how many bytes of records are in this buffer.
    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: `skb` is valid by the type invariants.
        unsafe { (*self.skb.as_ptr()).len as usize }
    }

    /// Tells whether no record is in this buffer yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, S> Deref for Dump<'a, S> {
    type Target = DumpContext<'a, S>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.context
    }
}

impl<S> DerefMut for Dump<'_, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.context
    }
}
