// SPDX-License-Identifier: GPL-2.0

//! Messages to be sent: records of attributes in a socket buffer.
//!
//! C headers: [`include/net/genetlink.h`](srctree/include/net/genetlink.h),
//! [`include/net/netlink.h`](srctree/include/net/netlink.h)

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
};

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

use super::{
    tlv::{
        HEADER_LEN,
        MAX_PAYLOAD, //
    },
    Registration,
    Request, //
};

/// What the header of a record says.
///
/// [`Request::header`] makes one for a reply, [`Registration::header`] one for a notification.
///
/// # Invariants
///
/// For `'a`, `family` is valid and has the number that it got when it was registered.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    pub(super) family: *const bindings::genl_family,
    pub(super) portid: u32,
    pub(super) seq: u32,
    pub(super) flags: u32,
    pub(super) cmd: u8,
    pub(super) _family: PhantomData<&'a bindings::genl_family>,
}

/// A socket buffer that holds records, each a header with attributes.
///
/// Only complete records are ever in it: one that could not be finished leaves nothing behind.
///
/// # Invariants
///
/// The pointer owns a linear `struct sk_buff` with nothing but complete records.
pub struct Message {
    skb: NonNull<bindings::sk_buff>,
}

// SAFETY: The buffer is owned, and not tied to a thread.
unsafe impl Send for Message {}
// SAFETY: Nothing is done to the buffer through a shared reference.
unsafe impl Sync for Message {}

impl Message {
    /// Allocates a message of the usual size, for nearly 4 KiB; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub fn new() -> Result<Self> {
        Self::alloc(bindings::GENLMSG_DEFAULT_SIZE)
    }

    /// Allocates a message for `payload` bytes of attributes in one record; may sleep.
    ///
    /// An attribute takes its payload, rounded up to four bytes, and four more.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub fn with_size(payload: u16) -> Result<Self> {
        Self::alloc(usize::from(payload))
    }

    fn alloc(payload: usize) -> Result<Self> {
        // SAFETY: No requirements.
        let skb = unsafe { bindings::genlmsg_new(payload, bindings::GFP_KERNEL) };
        // INVARIANT: The buffer is new: nobody else has it, and it is empty. It is linear, as all
        // that `alloc_skb()` returns.
        Ok(Self {
            skb: NonNull::new(skb).ok_or(ENOMEM)?,
        })
    }

    /// Appends a record.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if even the header does not fit; else what `fill` returned, and then the message
    /// is as it was before.
    #[inline]
    pub fn record<R>(
        &mut self,
        header: Header<'_>,
        fill: impl FnOnce(&mut AttrWriter<'_>) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: By the type invariants the buffer is valid and linear; nobody else has it.
        unsafe { append(self.skb, header, fill) }
    }

    /// Returns how many bytes the records take.
    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: The buffer is valid by the type invariants.
        unsafe { (*self.skb.as_ptr()).len as usize }
    }

    /// Tells whether there is no record in the message.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends the message to who made the request (`genlmsg_reply()`).
    ///
    /// Does not wait: if the receiver's buffer is full, the message is lost. It is consumed in any
    /// case.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no record in the message, `EAGAIN` if the receiver's buffer is full,
    /// `ECONNREFUSED` if there is no receiver any more.
    pub fn reply(self, req: &Request<'_>) -> Result {
        if self.is_empty() {
            return Err(EINVAL);
        }
        let skb = self.into_raw();
        // SAFETY: The socket is that of the request's network namespace, which the request keeps.
        // The buffer is owned, and handed over.
        let sent = unsafe {
            bindings::netlink_unicast(
                (*req.net()).genl_sock,
                skb,
                req.portid(),
                bindings::MSG_DONTWAIT as c_int,
            )
        };
        // A positive value is the length.
        to_result(sent.min(0))
    }

    /// Sends the message to all members of a multicast group, by its index in the family's table,
    /// in the initial network namespace (`genlmsg_multicast()`). Sleeps if that frees memory.
    ///
    /// [`Registration::notify`] does not even make the message when nobody listens.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such group or no record in the message, `ESRCH` if nobody listens,
    /// `ENOBUFS` if it could not be delivered to a member that asked to have that reported.
    pub fn multicast(self, registration: &Registration, group: u32) -> Result {
        if self.is_empty() || !registration.has_group(group) {
            return Err(EINVAL);
        }
        let skb = self.into_raw();
        // SAFETY: The family is registered and has the group. The buffer is owned, and handed over.
        to_result(unsafe {
            bindings::genlmsg_multicast(
                registration.family().as_raw(),
                skb,
                0,
                group,
                bindings::GFP_KERNEL,
            )
        })
    }

    /// Gives the buffer away.
    fn into_raw(self) -> *mut bindings::sk_buff {
        ManuallyDrop::new(self).skb.as_ptr()
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: The buffer is owned by the type invariants, and not used any more.
        unsafe { bindings::nlmsg_free(self.skb.as_ptr()) };
    }
}

/// Appends a record to a buffer, or leaves it as it was.
///
/// # Safety
///
/// `skb` must be valid, linear, and used by nobody else during the call.
pub(super) unsafe fn append<R>(
    skb: NonNull<bindings::sk_buff>,
    header: Header<'_>,
    fill: impl FnOnce(&mut AttrWriter<'_>) -> Result<R>,
) -> Result<R> {
    // SAFETY: The buffer is valid by the safety requirements, the family by the type invariants of
    // `Header`.
    let hdr = unsafe {
        bindings::genlmsg_put(
            skb.as_ptr(),
            header.portid,
            header.seq,
            header.family,
            header.flags as c_int,
            header.cmd,
        )
    };
    if hdr.is_null() {
        return Err(EMSGSIZE);
    }
    // SAFETY: By the safety requirements; the writer is gone when `fill` returns.
    let result = fill(&mut unsafe { AttrWriter::from_raw(skb) });
    match result {
        // SAFETY: `hdr` is the header put above, and the buffer has only grown since.
        Ok(_) => unsafe { bindings::genlmsg_end(skb.as_ptr(), hdr) },
        // SAFETY: As above.
        Err(_) => unsafe { bindings::genlmsg_cancel(skb.as_ptr(), hdr) },
    }
    result
}

/// Appends attributes to a record, or to an attribute that nests others.
///
/// All methods that append fail with `EMSGSIZE` when the buffer has no room for the attribute, and
/// append nothing then. Return that from the function that fills the record, and the record is
/// taken back.
///
/// # Invariants
///
/// For `'a`, `skb` is valid, linear, and ends with a record in the making; nobody else uses it.
pub struct AttrWriter<'a> {
    skb: NonNull<bindings::sk_buff>,
    _skb: PhantomData<&'a mut bindings::sk_buff>,
}

impl AttrWriter<'_> {
    /// Takes over a buffer in which C has begun a record, for a callback that C calls with it.
    ///
    /// # Safety
    ///
    /// For the lifetime of the result, `skb` must be valid, linear, end with a record in the
    /// making, and be used by nobody else.
    #[inline]
    pub unsafe fn from_raw(skb: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            skb,
            _skb: PhantomData,
        }
    }

    /// Returns the buffer, for a C callback that appends attributes to it.
    ///
    /// Until that returns, the writer must not be used; it must not take away what was in the
    /// buffer before.
    #[inline]
    pub fn as_raw(&mut self) -> *mut bindings::sk_buff {
        self.skb.as_ptr()
    }

    /// Appends a `u8`.
    #[inline]
    pub fn put_u8(&mut self, attr: u16, value: u8) -> Result {
        self.put_bytes(attr, &[value])
    }

    /// Appends a `u16`.
    #[inline]
    pub fn put_u16(&mut self, attr: u16, value: u16) -> Result {
        self.put_bytes(attr, &value.to_ne_bytes())
    }

    /// Appends a `u32`.
    #[inline]
    pub fn put_u32(&mut self, attr: u16, value: u32) -> Result {
        self.put_bytes(attr, &value.to_ne_bytes())
    }

    /// Appends a `u64` (`nla_put_u64_64bit()`).
    ///
    /// On architectures that cannot read unaligned memory cheaply, an empty attribute of type `pad`
    /// precedes it where needed.
    #[inline]
    pub fn put_u64(&mut self, attr: u16, value: u64, pad: u16) -> Result {
        let value = value.to_ne_bytes();
        // SAFETY: The buffer is valid by the type invariants, the value for reads of the length.
        to_result(unsafe {
            bindings::nla_put_64bit(
                self.skb.as_ptr(),
                c_int::from(attr),
                value.len() as c_int,
                value.as_ptr().cast(),
                c_int::from(pad),
            )
        })
    }

    /// Appends bytes as they are.
    pub fn put_bytes(&mut self, attr: u16, bytes: &[u8]) -> Result {
        if bytes.len() > MAX_PAYLOAD {
            return Err(EMSGSIZE);
        }
        // SAFETY: The buffer is valid by the type invariants, `bytes` for reads of the length,
        // which fits an `int`.
        to_result(unsafe {
            bindings::nla_put(
                self.skb.as_ptr(),
                c_int::from(attr),
                bytes.len() as c_int,
                bytes.as_ptr().cast(),
            )
        })
    }

    /// Appends a string with its NUL.
    #[inline]
    pub fn put_string(&mut self, attr: u16, string: &CStr) -> Result {
        self.put_bytes(attr, string.to_bytes_with_nul())
    }

    /// Appends bytes and a NUL.
    ///
    /// To the receiver the string ends at the first NUL, so `bytes` should not contain one.
    pub fn put_string_bytes(&mut self, attr: u16, bytes: &[u8]) -> Result {
        // With the NUL.
        let len = bytes.len().saturating_add(1);
        if len > MAX_PAYLOAD {
            return Err(EMSGSIZE);
        }
        // SAFETY: The buffer is valid by the type invariants; the length fits an `int`.
        let nla =
            unsafe { bindings::nla_reserve(self.skb.as_ptr(), c_int::from(attr), len as c_int) };
        if nla.is_null() {
            return Err(EMSGSIZE);
        }
        // SAFETY: `nla_reserve()` made room for a header and `len` bytes from `nla` on, and
        // `bytes` cannot be there, as the room was free before.
        unsafe {
            let payload = nla.cast::<u8>().add(HEADER_LEN);
            ptr::copy_nonoverlapping(bytes.as_ptr(), payload, bytes.len());
            payload.add(bytes.len()).write(0);
        }
        Ok(())
    }

    /// Appends an attribute without payload.
    #[inline]
    pub fn put_flag(&mut self, attr: u16) -> Result {
        self.put_bytes(attr, &[])
    }

    /// Appends an attribute that nests those that `fill` appends.
    ///
    /// # Errors
    ///
    /// What `fill` returned, or `EMSGSIZE`; then the whole attribute is taken back.
    pub fn nest<R>(
        &mut self,
        attr: u16,
        fill: impl FnOnce(&mut AttrWriter<'_>) -> Result<R>,
    ) -> Result<R> {
        let start = self.len();
        self.put_bytes(attr | bindings::NLA_F_NESTED as u16, &[])?;

        // SAFETY: By the type invariants. The writer is gone when `fill` returns, and `self` is
        // not used meanwhile.
        let result = fill(&mut unsafe { AttrWriter::from_raw(self.skb) });
        match result.and_then(|done| Ok((done, self.len_since(start)?))) {
            Ok((done, len)) => {
                // SAFETY: The attribute, which begins with its length, is where the linear data
                // ended before; the buffer has only grown since. In a dump, data may be unaligned.
                unsafe {
                    let nla_len = (*self.skb.as_ptr()).data.add(start as usize);
                    nla_len.cast::<u16>().write_unaligned(len);
                }
                Ok(done)
            }
            Err(e) => {
                // SAFETY: The buffer is valid by the type invariants, and linear; it had this
                // length before.
                unsafe { bindings::skb_trim(self.skb.as_ptr(), start) };
                Err(e)
            }
        }
    }

    /// Returns how much was appended since there were `start` bytes in the buffer, if an attribute
    /// can be that long.
    fn len_since(&self, start: u32) -> Result<u16> {
        let len = self.len().checked_sub(start).ok_or(EMSGSIZE)?;
        u16::try_from(len).map_err(|_| EMSGSIZE)
    }

    /// Returns how many bytes are in the buffer.
    fn len(&self) -> u32 {
        // SAFETY: The buffer is valid by the type invariants.
        unsafe { (*self.skb.as_ptr()).len }
    }
}

#[kunit_tests(rust_genetlink_message)]
mod tests {
    use super::*;

    const FAMILY: bindings::genl_family = bindings::genl_family {
        id: 0x123,
        version: 2,
        ..pin_init::zeroed()
    };

    fn header(family: &bindings::genl_family) -> Header<'_> {
        Header {
            family,
            portid: 7,
            seq: 9,
            flags: bindings::NLM_F_MULTI,
            cmd: 5,
            _family: PhantomData,
        }
    }

    fn bytes(message: &Message) -> &[u8] {
        // SAFETY: The buffer is linear, and borrowed for as long.
        unsafe { core::slice::from_raw_parts((*message.skb.as_ptr()).data, message.len()) }
    }

    #[test]
    fn records_are_laid_out_as_by_c() -> Result {
        let mut message = Message::new()?;
        message.record(header(&FAMILY), |rec| {
            rec.put_u8(1, 0xab)?;
            rec.nest(2, |nest| nest.put_string_bytes(3, b"abc"))?;
            rec.put_flag(4)
        })?;
        let mut expected = KVec::new();
        for word in [20 + 8 + 12 + 4, 0x2_0123, 9, 7] {
            expected.extend_from_slice(&u32::to_ne_bytes(word), GFP_KERNEL)?;
        }
        expected.extend_from_slice(&[5, 2, 0, 0], GFP_KERNEL)?;
        for (len, attr, payload) in [
            (5u16, 1u16, &[0xab, 0, 0, 0][..]),
            (12, 0x8002, &[]),
            (8, 3, b"abc\0"),
            (4, 4, &[]),
        ] {
            expected.extend_from_slice(&len.to_ne_bytes(), GFP_KERNEL)?;
            expected.extend_from_slice(&attr.to_ne_bytes(), GFP_KERNEL)?;
            expected.extend_from_slice(payload, GFP_KERNEL)?;
        }
        assert_eq!(bytes(&message), &expected[..]);
        Ok(())
    }

    #[test]
    fn what_fails_is_taken_back() -> Result {
        let mut message = Message::new()?;
        message.record(header(&FAMILY), |rec| {
            rec.put_u32(1, 1)?;
            let len = rec.len();
            assert_eq!(
                rec.nest(2, |nest| {
                    nest.put_u32(1, 1)?;
                    Err::<(), _>(ENOENT)
                }),
                Err(ENOENT)
            );
            assert_eq!(rec.put_bytes(3, &[0; 8192]), Err(EMSGSIZE));
            assert_eq!(rec.len(), len);
            Ok(())
        })?;
        let len = message.len();
        assert_eq!(len, 20 + 8);
        assert_eq!(
            message.record(header(&FAMILY), |rec| {
                rec.put_u64(1, 1, 0)?;
                Err::<(), _>(EIO)
            }),
            Err(EIO)
        );
        assert_eq!(message.len(), len);
        Ok(())
    }

    #[test]
    fn an_attribute_has_less_than_64_kib() -> Result {
        let mut message = Message::with_size(u16::MAX)?;
        let big = KVec::from_elem(1u8, MAX_PAYLOAD + 1, GFP_KERNEL)?;
        message.record(header(&FAMILY), |rec| {
            assert_eq!(rec.put_bytes(1, &big), Err(EMSGSIZE));
            assert_eq!(rec.put_string_bytes(1, &big[1..]), Err(EMSGSIZE));
            rec.put_string_bytes(1, &big[2..])
        })?;
        let mut message = Message::with_size(u16::MAX)?;
        let result = message.record(header(&FAMILY), |rec| {
            rec.nest(1, |nest| {
                // Fits the buffer, not the length of the nest.
                nest.put_bytes(1, &big[..0x8000])?;
                nest.put_bytes(1, &big[..0x7ff8])
            })
        });
        assert_eq!(result, Err(EMSGSIZE));
        assert!(message.is_empty());
        Ok(())
    }
}
