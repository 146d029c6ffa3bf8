// SPDX-License-Identifier: GPL-2.0

//! Generic netlink, the side that serves requests.
//!
//! A family is a `static` put together at compile time from a table of attribute policies and a
//! list of commands. A command is a type: [`DoCommand`] answers single requests, [`DumpCommand`]
//! lists objects. The C side parses and validates a request against the policy before it calls.
//!
//! - [`Request`]: what came in: attributes, sender, capabilities, and [`Request::reply`].
//! - [`Dump`]: a list being written, with a state that lasts from one buffer to the next.
//! - [`AttrWriter`]: appends attributes to a record; a record that fails leaves nothing behind.
//! - [`Message`]: a buffer that holds records, sent to one socket or to a multicast group.
//! - [`ExtAck`]: the text and the hints that accompany an error.
//!
//! # Context
//!
//! All callbacks run in process context and may sleep. Unless a family sets
//! [`FamilyOptions::parallel_ops`], every callback also runs under the one mutex that all such
//! families share, so none runs beside another, and a callback that waits delays all of them.
//! [`DoCommand::doit`] and [`DumpCommand::start`] run besides under a semaphore that registering
//! and unregistering a family takes for writing: doing either from a callback deadlocks.
//!
//! After [`Registration`] was dropped, no `doit` or `start` is running or will run. A dump in
//! progress may outlive it; it holds a reference to the module.
//!
//! # Examples
//!
//! ```ignore
//! use kext::genetlink::{
//!     AttrWriter, Command, CommandFlags, DoCommand, Dump, DumpCommand, Family, FamilyOptions,
//!     Operation, Policy, PolicyEntry, Registration, Request,
//! };
//!
//! const ATTR_PAD: u16 = 0;
//! const ATTR_NAME: u16 = 1;
//! const ATTR_SIZE: u16 = 2;
//! const CMD_GET: u8 = 1;
//!
//! static POLICY: Policy<3> = Policy::new().attr(ATTR_NAME, PolicyEntry::nul_string().max_len(31));
//!
//! static OPS: [Operation; 1] = [Operation::do_and_dump::<Get>()];
//!
//! static FAMILY: Family = FamilyOptions {
//!     policy: POLICY.entries(),
//!     ops: &OPS,
//!     ..FamilyOptions::new(this_module::<LocalModule>(), c"objects", 1)
//! }
//! .build();
//!
//! struct Get;
//!
//! impl Command for Get {
//!     const CMD: u8 = CMD_GET;
//!     const FLAGS: CommandFlags = CommandFlags::ADMIN_PERM;
//! }
//!
//! impl DoCommand for Get {
//!     fn doit(req: &Request<'_>) -> Result {
//!         let name = req.require(ATTR_NAME)?.as_c_string_bytes();
//!         let Some(object) = find(name) else {
//!             extack_msg!(req.extack(), "no such object");
//!             return Err(ENOENT);
//!         };
//!         req.reply(CMD_GET, |rec| object.fill(rec))
//!     }
//! }
//!
//! impl DumpCommand for Get {
//!     type State = usize;
//!
//!     fn dumpit(dump: &mut Dump<'_, usize>) -> Result {
//!         while let Some(object) = nth(dump.state()) {
//!             dump.record(CMD_GET, |rec| object.fill(rec))?;
//!             dump.set_state(dump.state() + 1);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! impl Object {
//!     fn fill(&self, rec: &mut AttrWriter<'_>) -> Result {
//!         rec.put_string_bytes(ATTR_NAME, self.name())?;
//!         rec.put_u64(ATTR_SIZE, self.size(), ATTR_PAD)
//!     }
//! }
//!
//! // Kept in the module's data.
//! let registration: Registration = FAMILY.register()?;
//! ```
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)
//!
//! Reference: <https://docs.kernel.org/userspace-api/netlink/intro.html>

mod attr;
mod command;
mod dump;
mod extack;
mod family;
mod message;
mod policy;
mod request;
mod tlv;

#[doc(inline)]
pub use self::{
    attr::Attr,
    command::{
        Command,
        CommandFlags,
        DoCommand,
        DumpCommand,
        Operation, //
    },
    dump::{
        Dump,
        DumpContext, //
    },
    extack::ExtAck,
    family::{
        Family,
        FamilyOptions,
        MulticastGroup,
        Registration, //
    },
    message::{
        AttrWriter,
        Header,
        Message, //
    },
    policy::{
        Policy,
        PolicyEntry, //
    },
    request::Request,
};

#[doc(inline)]
pub use crate::{
    extack_fmt,
    extack_msg, //
};

#[doc(hidden)]
pub use self::extack::module_text;
