// SPDX-License-Identifier: GPL-2.0

//! Requests as the family's callbacks see them.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use core::marker::PhantomData;

use kernel::{
    bindings,
    prelude::*, //
};

use super::{
    Attr,
    AttrWriter,
    Command,
    ExtAck,
    Header,
    Message, //
};

/// A request, parsed and found to comply with the policy: `struct genl_info`.
///
/// # Invariants
///
/// - For `'a`, `skb` is the received buffer and `info` describes the request in it; both are valid
///   for reads, and so is what `info` points to.
/// - The socket that sent the request is open.
/// - `info.attrs` is null, or has an entry for each type up to `max_attr`, null or an attribute in
///   `skb`.
/// - `info.family` is or was registered.
pub struct Request<'a> {
    skb: *mut bindings::sk_buff,
    info: *const bindings::genl_info,
    max_attr: u32,
    _request: PhantomData<&'a bindings::genl_info>,
}

impl<'a> Request<'a> {
    /// Takes over what C passed to a callback of command `T`.
    ///
    /// # Safety
    ///
    /// For `'a`, `skb` and `info` must be what the generic netlink core passes to a callback of the
    /// operation made for `T`, and the callback must not have returned.
    #[inline]
    pub(super) unsafe fn from_raw<T: Command>(
        skb: *mut bindings::sk_buff,
        info: *const bindings::genl_info,
    ) -> Self {
        let max_attr = match T::POLICY {
            Some(policy) => super::policy::max_attr(policy),
            // SAFETY: `info` and its family are valid by the safety requirements.
            None => unsafe { (*(*info).family).maxattr },
        };
        // INVARIANT: The core allocates `attrs` with an entry for each type up to the operation's
        // `maxattr`, or the family's if that is zero, which it never is with a policy. The rest is
        // by the safety requirements.
        Self {
            skb,
            info,
            max_attr,
            _request: PhantomData,
        }
    }

    #[inline]
    fn info(&self) -> &bindings::genl_info {
        // SAFETY: `info` is valid for reads by the type invariants, and nobody writes to the
        // structure while the callback runs.
        unsafe { &*self.info }
    }

    /// Returns the C structure; it must not be written to.
    #[inline]
    pub fn as_raw(&self) -> *const bindings::genl_info {
        self.info
    }

    /// Returns the number of the socket that sent the request.
    #[inline]
    pub fn portid(&self) -> u32 {
        self.info().snd_portid
    }

    /// Returns the number that the sender gave the request.
    #[inline]
    pub fn seq(&self) -> u32 {
        self.info().snd_seq
    }

    /// Returns the attribute of type `attr`, `None` if the request has none.
    #[inline]
    pub fn attr(&self, attr: u16) -> Option<Attr<'a>> {
        let attrs = self.info().attrs;
        if attrs.is_null() || u32::from(attr) > self.max_attr {
            return None;
        }
        // SAFETY: By the type invariants, the array has an entry for each type up to `max_attr`;
        // each is null or an attribute of which the core checked that it is inside the buffer.
        // Nobody writes to received data.
        unsafe { Attr::from_raw(*attrs.add(usize::from(attr))) }
    }

    /// Returns the attribute of type `attr`, which must be there.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the request has none. User space is told which it is
    /// (`GENL_REQ_ATTR_CHECK()`).
    #[inline]
    pub fn require(&self, attr: u16) -> Result<Attr<'a>> {
        self.attr(attr).ok_or_else(|| {
            self.extack().set_missing_attr(attr);
            EINVAL
        })
    }

    /// Returns where to put the text of an error.
    #[inline]
    pub fn extack(&self) -> ExtAck<'a> {
        // SAFETY: The pointer is null or valid while the callback runs, which is as long as `'a`
        // by the type invariants. C evaluates it before it lets go of the family (`cb_lock`), or
        // of the module in a dump.
        unsafe { ExtAck::from_raw(self.info().extack) }
    }

    /// Tells whether the request may use a capability in the initial user namespace: the socket's
    /// opener had it, and the current process has it (`netlink_capable()`).
    #[inline]
    pub fn capable(&self, capability: u32) -> bool {
        // C has a `BUG()` for capabilities that do not exist.
        if capability > bindings::CAP_LAST_CAP {
            return false;
        }
        // SAFETY: `skb` is a received buffer whose sender is open, by the type invariants.
        unsafe { bindings::netlink_capable(self.skb, capability as c_int) }
    }

    /// Returns the header of a reply.
    #[inline]
    pub fn header(&self, cmd: u8) -> Header<'a> {
        let info = self.info();
        // INVARIANT: The family is valid and has its number by the type invariants.
        Header {
            family: info.family,
            portid: info.snd_portid,
            seq: info.snd_seq,
            flags: 0,
            cmd,
            _family: PhantomData,
        }
    }

    /// Answers with a message of one record, of the usual size.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; what `fill` returned; what [`Message::reply`] returns.
    pub fn reply(&self, cmd: u8, fill: impl FnOnce(&mut AttrWriter<'_>) -> Result) -> Result {
        let mut message = Message::new()?;
        message.record(self.header(cmd), fill)?;
        message.reply(self)
    }

    /// Returns the network namespace of the sender, valid for `'a`.
    #[inline]
    pub(super) fn net(&self) -> *mut bindings::net {
        #[cfg(CONFIG_NET_NS)]
        let net = self.info()._net.net;
        #[cfg(not(CONFIG_NET_NS))]
        let net = &raw mut bindings::init_net;
        net
    }
}
