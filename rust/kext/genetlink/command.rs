// SPDX-License-Identifier: GPL-2.0

//! Commands of a family, and how C calls them.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::from_result,
    prelude::*, //
};

use super::{
    dump,
    policy,
    Dump,
    DumpContext,
    PolicyEntry,
    Request, //
};

/// Who may use a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CommandFlags(u8);

impl CommandFlags {
    /// Everybody.
    pub const NONE: Self = Self(0);

    /// Those with `CAP_NET_ADMIN` in the initial user namespace (`GENL_ADMIN_PERM`).
    pub const ADMIN_PERM: Self = Self(bindings::GENL_ADMIN_PERM as u8);

    /// Those with `CAP_NET_ADMIN` in the user namespace of the network namespace
    /// (`GENL_UNS_ADMIN_PERM`).
    pub const UNS_ADMIN_PERM: Self = Self(bindings::GENL_UNS_ADMIN_PERM as u8);
}

/// A command of a family.
///
/// To be implemented together with [`DoCommand`], [`DumpCommand`] or both.
pub trait Command: 'static {
    /// The number of the command.
    const CMD: u8;

    /// Who may use it.
    const FLAGS: CommandFlags = CommandFlags::NONE;

    /// What is demanded of the attributes, if that is not what the family says. Needs at least two
    /// entries.
    const POLICY: Option<&'static [PolicyEntry]> = None;
}

/// A command that answers single requests.
pub trait DoCommand: Command {
    /// Handles a request.
    ///
    /// If the sender asked for it, C acknowledges success; it always reports an error, with what is
    /// in [`Request::extack`].
    ///
    /// See the [module](super) for the context.
    fn doit(req: &Request<'_>) -> Result;
}

/// A command that lists objects.
///
/// A list takes one buffer after another, each filled by a call of [`Self::dumpit`]. Between the
/// calls the family's locks are not held, and objects may come and go.
pub trait DumpCommand: Command {
    /// Where a dump is: what [`Self::dumpit`] needs to go on after the records that it appended
    /// before. All zeroes when it begins; at most 48 bytes.
    type State: Zeroable + Copy + Send + 'static;

    /// Called once when a dump begins; an error is the answer to the request.
    fn start(_dump: &mut DumpContext<'_, Self::State>) -> Result {
        Ok(())
    }

    /// Appends records from the state on, and advances the state past each.
    ///
    /// - `Ok`: if there are records in the buffer, they are delivered, and another call follows; if
    ///   there are none, the list is complete.
    /// - `Err`: if there are records in the buffer, they are delivered, and another call follows,
    ///   as the reason can be that the buffer is full; if there are none, the dump ends with the
    ///   error. A record that does not even fit an empty buffer hence ends it with `EMSGSIZE`.
    fn dumpit(dump: &mut Dump<'_, Self::State>) -> Result;

    /// Called once when a dump ends, complete or not; not if [`Self::start`] failed.
    ///
    /// When the socket was closed before the end, this runs in the process that closed it.
    fn done(_state: &mut Self::State) {}
}

/// An entry in a family's table of commands, `struct genl_ops`.
#[repr(transparent)]
pub struct Operation(bindings::genl_ops);

// SAFETY: Nothing changes an entry after it was made. The functions may be called by any thread.
unsafe impl Sync for Operation {}
// SAFETY: As above.
unsafe impl Send for Operation {}

impl Operation {
    /// A command for single requests.
    pub const fn only_do<T: DoCommand>() -> Self {
        let mut op = Self::new::<T>();
        op.0.doit = Some(doit_callback::<T>);
        op
    }

    /// A command that lists objects.
    pub const fn only_dump<T: DumpCommand>() -> Self {
        let mut op = Self::new::<T>();
        op.0.start = Some(start_callback::<T>);
        op.0.dumpit = Some(dumpit_callback::<T>);
        op.0.done = Some(done_callback::<T>);
        op
    }

    /// A command for single requests that also lists objects.
    pub const fn do_and_dump<T: DoCommand + DumpCommand>() -> Self {
        let mut op = Self::only_dump::<T>();
        op.0.doit = Some(doit_callback::<T>);
        op
    }

    const fn new<T: Command>() -> Self {
        let mut op: bindings::genl_ops = pin_init::zeroed();
        op.cmd = T::CMD;
        op.flags = T::FLAGS.0;
        if let Some(table) = T::POLICY {
            op.maxattr = policy::max_attr(table);
            // For zero, C takes that of the family and would read past this table.
            if op.maxattr == 0 {
                panic!("the command's policy needs at least two entries");
            }
            // CAST: `PolicyEntry` is transparent.
            op.policy = table.as_ptr().cast();
        }
        Self(op)
    }

    pub(super) const fn cmd(&self) -> u8 {
        self.0.cmd
    }
}

/// `genl_ops::doit`.
///
/// # Safety
///
/// To be called by C, as an operation made for `T`.
unsafe extern "C" fn doit_callback<T: DoCommand>(
    skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    from_result(|| {
        // SAFETY: C passes a request for this operation; it is valid until this function returns.
        let req = unsafe { Request::from_raw::<T>(skb, info) };
        T::doit(&req).map(|()| 0)
    })
}

/// `genl_ops::start`.
///
/// # Safety
///
/// To be called by C, as an operation made for `T`.
unsafe extern "C" fn start_callback<T: DumpCommand>(cb: *mut bindings::netlink_callback) -> c_int {
    from_result(|| {
        // SAFETY: C passes a dump of this operation; it is valid until this function returns.
        let mut context = unsafe { DumpContext::from_raw::<T>(cb) };
        T::start(&mut context).map(|()| 0)
    })
}

/// `genl_ops::dumpit`.
///
/// # Safety
///
/// To be called by C, as an operation made for `T`.
unsafe extern "C" fn dumpit_callback<T: DumpCommand>(
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
) -> c_int {
    from_result(|| {
        // SAFETY: C passes a dump of this operation; it is valid until this function returns.
        let mut dump = unsafe { Dump::from_raw::<T>(skb, cb) };
        let result = T::dumpit(&mut dump);
        match c_int::try_from(dump.len()) {
            // A positive value asks for another call.
            Ok(len) if len > 0 => Ok(len),
            _ => result.map(|()| 0),
        }
    })
}

/// `genl_ops::done`.
///
/// # Safety
///
/// To be called by C, as an operation made for `T`.
unsafe extern "C" fn done_callback<T: DumpCommand>(cb: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: C passes a dump of this operation, and nobody else uses it now. Its `ctx` holds a
    // valid state by the type invariants of `DumpContext`.
    let state = unsafe { &mut *dump::state::<T::State>(NonNull::new_unchecked(cb)) };
    T::done(state);
    0
}
