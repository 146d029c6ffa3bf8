// SPDX-License-Identifier: GPL-2.0

//! Families: how they are described, registered and unregistered.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use core::marker::PhantomData;

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};

use super::{
    policy,
    AttrWriter,
    Header,
    Message,
    Operation,
    PolicyEntry, //
};

/// The description of a family, from which [`FamilyOptions::build`] makes a [`Family`].
///
/// Start from [`FamilyOptions::new`] and set what differs.
#[derive(Clone, Copy)]
pub struct FamilyOptions {
    /// The module that the family belongs to. A dump in progress holds a reference to it.
    pub module: &'static ThisModule,
    /// The name, at most 15 bytes.
    pub name: &'static CStr,
    /// The version, for user space to read.
    pub version: u8,
    /// What is demanded of attributes; the greatest type known is that of the last entry. With an
    /// empty table, and none of the command's own, a command of number
    /// [`resv_start_op`](Self::resv_start_op) or higher accepts no attributes; one below is not
    /// given any.
    pub policy: &'static [PolicyEntry],
    /// The commands, at most 255 and each once.
    pub ops: &'static [Operation],
    /// The multicast groups, at most 255, addressed by index.
    pub groups: &'static [MulticastGroup],
    /// Whether the family exists in all network namespaces, not only in the initial one. In others,
    /// requests fail with `ENOENT`.
    pub netns_ok: bool,
    /// Whether callbacks may run beside each other, without the mutex of generic netlink.
    pub parallel_ops: bool,
    /// The number of the first command for which unknown flags and a nonzero reserved field in the
    /// header are errors. A new family leaves it at zero, for all commands.
    pub resv_start_op: u8,
}

impl FamilyOptions {
    /// A family without commands.
    pub const fn new(module: &'static ThisModule, name: &'static CStr, version: u8) -> Self {
        Self {
            module,
            name,
            version,
            policy: &[],
            ops: &[],
            groups: &[],
            netns_ok: false,
            parallel_ops: false,
            resv_start_op: 0,
        }
    }

    /// Makes the family.
    ///
    /// To be used in const context, for a `static`: panics when the options are invalid.
    pub const fn build(self) -> Family {
        let mut family: bindings::genl_family = pin_init::zeroed();

        let name = self.name.to_bytes_with_nul();
        if name.len() > family.name.len() || name.len() < 2 {
            panic!("a family's name has 1 to 15 bytes");
        }
        let mut i = 0;
        while i < name.len() {
            family.name[i] = name[i];
            i += 1;
        }

        family.version = self.version as c_uint;
        family._bitfield_1 = bitfield(self.netns_ok, self.parallel_ops);
        family.module = self.module.as_ptr();
        family.resv_start_op = self.resv_start_op;
        // CAST: `PolicyEntry`, `Operation` and `MulticastGroup` are transparent.
        if !self.policy.is_empty() {
            family.maxattr = policy::max_attr(self.policy);
            family.policy = self.policy.as_ptr().cast();
        }
        check_ops(self.ops);
        if !self.ops.is_empty() {
            family.n_ops = self.ops.len() as u8;
            family.ops = self.ops.as_ptr().cast();
        }
        if self.groups.len() > u8::MAX as usize {
            panic!("too many multicast groups");
        }
        if !self.groups.is_empty() {
            family.n_mcgrps = self.groups.len() as u8;
            family.mcgrps = self.groups.as_ptr().cast();
        }
        Family {
            inner: Opaque::new(family),
            groups: self.groups.len() as u32,
        }
    }
}

const fn check_ops(ops: &[Operation]) {
    if ops.len() > u8::MAX as usize {
        panic!("too many commands");
    }
    let mut i = 0;
    while i < ops.len() {
        let mut j = i + 1;
        while j < ops.len() {
            if ops[i].cmd() == ops[j].cmd() {
                panic!("two commands with the same number");
            }
            j += 1;
        }
        i += 1;
    }
}

/// The bit field of `struct genl_family`; the setters that bindgen makes are not const.
const fn bitfield(netns_ok: bool, parallel_ops: bool) -> bindings::__BindgenBitfieldUnit<[u8; 1]> {
    // The test below compares this with the setters.
    let bits = if cfg!(target_endian = "big") {
        (netns_ok as u8) << 7 | (parallel_ops as u8) << 6
    } else {
        (netns_ok as u8) | (parallel_ops as u8) << 1
    };
    bindings::__BindgenBitfieldUnit::new([bits])
}

/// A generic netlink family, `struct genl_family`.
///
/// # Invariants
///
/// The description in `inner` is valid and has `groups` multicast groups. After it was made, only C
/// changes it.
pub struct Family {
    inner: Opaque<bindings::genl_family>,
    groups: u32,
}

// SAFETY: C guards the parts of the structure that it changes; the rest is constant.
unsafe impl Sync for Family {}
// SAFETY: As above.
unsafe impl Send for Family {}

impl Family {
    /// Registers the family: from now on, until the result is dropped, its commands are called.
    ///
    /// Do this last when a module is loaded: a dump may begin at once, and if loading fails
    /// afterwards the module goes without waiting for it.
    ///
    /// Not from a callback of any family, which would deadlock; may sleep.
    ///
    /// # Errors
    ///
    /// `EEXIST` if a family of the name is registered, `ENOMEM`, `ENOSPC`.
    pub fn register(&'static self) -> Result<Registration> {
        // SAFETY: The description is static and valid by the type invariants. A family that is
        // registered already is found by its name, and not changed.
        to_result(unsafe { bindings::genl_register_family(self.as_raw()) })?;
        // INVARIANT: The family was registered, not by anybody else.
        Ok(Registration { family: self })
    }

    /// Returns the C structure.
    #[inline]
    pub fn as_raw(&self) -> *mut bindings::genl_family {
        self.inner.get()
    }
}

/// A registered [`Family`]; it is unregistered when this is dropped.
///
/// Dropping waits for callbacks that are running, except for dumps, and must not happen in one; may
/// sleep.
///
/// # Invariants
///
/// The family is registered, and nothing else unregisters it.
pub struct Registration {
    family: &'static Family,
}

impl Registration {
    /// Returns the family.
    #[inline]
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// Returns the header of a notification.
    #[inline]
    pub fn header(&self, cmd: u8) -> Header<'_> {
        // INVARIANT: The family is registered by the type invariants.
        Header {
            family: self.family.as_raw(),
            portid: 0,
            seq: 0,
            flags: 0,
            cmd,
            _family: PhantomData,
        }
    }

    /// Tells whether the family has a multicast group of this index.
    #[inline]
    pub(super) fn has_group(&self, group: u32) -> bool {
        group < self.family.groups
    }

    /// Tells whether somebody in the initial network namespace is a member of a multicast group.
    ///
    /// The answer may be outdated at once; it saves making a message in vain.
    #[inline]
    pub fn has_listeners(&self, group: u32) -> bool {
        if !self.has_group(group) {
            return false;
        }
        let family = self.family.as_raw();
        // SAFETY: The family is registered and has the group; `init_net` exists always.
        unsafe { bindings::genl_has_listeners(family, &raw mut bindings::init_net, group) > 0 }
    }

    /// Tells the members of a multicast group, by its index, with a message of one record, of the
    /// usual size; may sleep. Without members it does nothing.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such group, `ENOMEM`, what `fill` returned, `ENOBUFS` as in
    /// [`Message::multicast`].
    pub fn notify(
        &self,
        group: u32,
        cmd: u8,
        fill: impl FnOnce(&mut AttrWriter<'_>) -> Result,
    ) -> Result {
        if !self.has_group(group) {
            return Err(EINVAL);
        }
        if !self.has_listeners(group) {
            return Ok(());
        }
        let mut message = Message::new()?;
        message.record(self.header(cmd), fill)?;
        match message.multicast(self, group) {
            // The last one has left.
            Err(e) if e == ESRCH => Ok(()),
            result => result,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: The family is registered by the type invariants.
        unsafe { bindings::genl_unregister_family(self.family.as_raw()) };
    }
}

/// A multicast group of a family, `struct genl_multicast_group`.
#[repr(transparent)]
pub struct MulticastGroup(bindings::genl_multicast_group);

impl MulticastGroup {
    /// A group that everybody may join. The name has at most 15 bytes.
    ///
    /// To be used in const context: panics when the name is too long.
    pub const fn new(name: &CStr) -> Self {
        let mut group: bindings::genl_multicast_group = pin_init::zeroed();
        let name = name.to_bytes_with_nul();
        if name.len() > group.name.len() || name.len() < 2 {
            panic!("a multicast group's name has 1 to 15 bytes");
        }
        let mut i = 0;
        while i < name.len() {
            group.name[i] = name[i];
            i += 1;
        }
        Self(group)
    }

    /// Lets only those with `CAP_NET_ADMIN` in the user namespace of the network namespace join
    /// (`GENL_MCAST_CAP_NET_ADMIN`).
    pub const fn net_admin(mut self) -> Self {
        const CAP_NET_ADMIN: u8 = 1;

        self.0.flags |= CAP_NET_ADMIN;
        self
    }
}

#[kunit_tests(rust_genetlink_family)]
mod tests {
    use super::*;

    #[test]
    fn bitfield_is_what_the_setters_make() {
        for netns_ok in [false, true] {
            for parallel_ops in [false, true] {
                let mut family = bindings::genl_family {
                    _bitfield_1: bitfield(netns_ok, parallel_ops),
                    ..Default::default()
                };
                assert_eq!(family.netnsok(), u8::from(netns_ok));
                assert_eq!(family.parallel_ops(), u8::from(parallel_ops));
                family.set_netnsok(0);
                family.set_parallel_ops(0);
                assert!(family._bitfield_1 == bitfield(false, false));
            }
        }
    }
}
