// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family `vdpa`, through which users make, see and remove devices.
//!
//! UAPI: [`include/uapi/linux/vdpa.h`](srctree/include/uapi/linux/vdpa.h); iproute2's `vdpa` is its
//! usual client.
//!
//! Commands run beside each other (`parallel_ops`): one that waits, such as the removal of a device
//! that is in use, does not hold up the commands of other families. (It does hold up a family that
//! comes or goes, as any command does.) [`State::management`](crate::state::State)
//! orders those that change something.

mod attr;
mod config;
mod device;
mod management;
mod name;
pub(crate) mod notify;
mod refuse;
mod report;
mod rules;
mod stats;

use crate::{
    state::{
        self,
        Managed, //
    },
    trace, //
};
use core::marker::PhantomData;
use kernel::{
    module::this_module,
    prelude::*, //
};
use kext::{
    extack_msg,
    genetlink::{
        Command,
        CommandFlags,
        DoCommand,
        Dump,
        DumpCommand,
        ExtAck,
        Family,
        FamilyOptions,
        Operation,
        Policy,
        PolicyEntry,
        Registration,
        Request, //
    },
};
use vdpa::device::DeviceRef;
use vdpa_bindings as bindings;

/// A command number of `enum vdpa_command`.
const fn command(number: u32) -> u8 {
    assert!(number <= u8::MAX as u32);
    number as u8
}

/// What is asked of attributes in requests. All others are refused.
static POLICY: Policy<{ bindings::vdpa_attr_VDPA_ATTR_MAX as usize + 1 }> = Policy::new()
    .attr(attr::MGMTDEV_BUS_NAME, PolicyEntry::nul_string())
    .attr(attr::MGMTDEV_DEV_NAME, PolicyEntry::string())
    .attr(attr::DEV_NAME, PolicyEntry::string())
    .attr(attr::NET_CFG_MACADDR, PolicyEntry::eth_addr())
    .attr(attr::NET_CFG_MAX_VQP, PolicyEntry::u16())
    .attr(attr::NET_CFG_MTU, PolicyEntry::u16().min(MIN_MTU))
    .attr(attr::QUEUE_INDEX, PolicyEntry::u32())
    .attr(attr::FEATURES, PolicyEntry::u64());

/// The smallest MTU of a network device, in bytes (virtio 1.3, section 5.1.4.1).
const MIN_MTU: u16 = 68;

static OPERATIONS: [Operation; 7] = [
    Operation::do_and_dump::<Traced<management::Get>>(),
    Operation::only_do::<Traced<device::New>>(),
    Operation::only_do::<Traced<device::Delete>>(),
    Operation::do_and_dump::<Traced<device::Get>>(),
    Operation::do_and_dump::<Traced<config::Get>>(),
    Operation::only_do::<Traced<stats::Get>>(),
    Operation::only_do::<Traced<config::Set>>(),
];

static FAMILY: Family = FamilyOptions {
    policy: POLICY.entries(),
    ops: &OPERATIONS,
    groups: &notify::GROUPS,
    parallel_ops: true,
    // The first commands are older than the strict check of the header.
    resv_start_op: command(bindings::vdpa_command_VDPA_CMD_DEV_VSTATS_GET) + 1,
    ..FamilyOptions::new(this_module::<crate::LocalModule>(), c"vdpa", 1)
}
.build();

/// Makes the family known to user space.
pub(crate) fn register() -> Result<Registration> {
    FAMILY.register()
}

/// A command of ours: what [`Traced`] makes one of the family of.
trait Handler: 'static {
    const CMD: u32;
    const FLAGS: CommandFlags;

    fn handle(req: &Request<'_>) -> Result;
}

/// A command that also lists objects.
trait Lister: Handler {
    /// Appends those that are `dump.state()` or younger, and advances the state past each.
    fn list(dump: &mut Dump<'_, u64>) -> Result;
}

/// A command whose end shows in a trace.
struct Traced<T>(PhantomData<T>);

impl<T: Handler> Command for Traced<T> {
    const CMD: u8 = command(T::CMD);
    const FLAGS: CommandFlags = T::FLAGS;
}

impl<T: Handler> DoCommand for Traced<T> {
    fn doit(req: &Request<'_>) -> Result {
        let result = T::handle(req);
        trace::nl_cmd(Self::CMD, false, &result);
        result
    }
}

impl<T: Lister> DumpCommand for Traced<T> {
    type State = u64;

    fn dumpit(dump: &mut Dump<'_, u64>) -> Result {
        let result = T::list(dump);
        trace::nl_cmd(Self::CMD, true, &result);
        result
    }
}

/// The device that the request names. Fails with `EINVAL` if it names none, or `ENODEV`.
fn find_device(req: &Request<'_>) -> Result<DeviceRef> {
    let name = req.require(attr::DEV_NAME)?.as_c_string_bytes();
    let device = state::get()?.registry.lock().find(name);
    device.ok_or_else(|| {
        extack_msg!(req.extack(), "device not found");
        ENODEV
    })
}

/// Fails with `EINVAL` if the device has no management device.
fn managed<'a>(found: Option<Managed<'a>>, extack: ExtAck<'_>) -> Result<Managed<'a>> {
    found.ok_or_else(|| {
        extack_msg!(extack, "unmanaged vdpa device");
        EINVAL
    })
}

/// Calls `f` for each managed device that is `dump.state()` or younger.
///
/// One that cannot be shown is left out; one that does not fit any more comes first in the next
/// message.
fn list_devices(
    dump: &mut Dump<'_, u64>,
    mut f: impl FnMut(&mut Dump<'_, u64>, Managed<'_>) -> Result,
) -> Result {
    let state = state::get()?;
    let managers = state.management.read();
    let next = |age| state.registry.lock().from(age);
    while let Some((age, device)) = next(dump.state()) {
        if let Some(found) = managers.managed(&device) {
            match f(dump, found) {
                Err(e) if e == EMSGSIZE => return Err(e),
                _ => (),
            }
        }
        dump.set_state(age.wrapping_add(1));
    }
    Ok(())
}
