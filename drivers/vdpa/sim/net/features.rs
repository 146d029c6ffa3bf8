// SPDX-License-Identifier: GPL-2.0

//! Which features a device offers, which ones a driver may accept, and what follows for its
//! virtqueues.
//!
//! The features are those of virtio 1.3, sections 5.1.3 and 6. Nothing here needs the kernel:
//! `tests/host` has the same file.

use core::fmt;
use vdpa::Features;
use vdpa_bindings as bindings;

/// The set with these bits, given by their numbers.
const fn set<const N: usize>(numbers: [u32; N]) -> Features {
    let mut features = Features::NONE;
    let mut rest: &[u32] = &numbers;
    while let [number, tail @ ..] = rest {
        features = features.union(Features::bit(*number));
        rest = tail;
    }
    features
}

/// What the C simulator offers.
pub(crate) const C_SIMULATOR: Features = set([
    bindings::VIRTIO_F_ANY_LAYOUT,
    bindings::VIRTIO_F_VERSION_1,
    bindings::VIRTIO_F_ACCESS_PLATFORM,
    bindings::VIRTIO_NET_F_MAC,
    bindings::VIRTIO_NET_F_STATUS,
    bindings::VIRTIO_NET_F_MTU,
    bindings::VIRTIO_NET_F_CTRL_VQ,
    bindings::VIRTIO_NET_F_CTRL_MAC_ADDR,
]);

/// Everything that there is.
pub(crate) const SUPPORTED: Features = C_SIMULATOR.union(GUEST_OFFLOADS).union(set([
    bindings::VIRTIO_F_RING_PACKED,
    bindings::VIRTIO_F_IN_ORDER,
    bindings::VIRTIO_F_NOTIFICATION_DATA,
    bindings::VIRTIO_F_RING_RESET,
    bindings::VIRTIO_RING_F_INDIRECT_DESC,
    bindings::VIRTIO_RING_F_EVENT_IDX,
    bindings::VIRTIO_NET_F_CSUM,
    bindings::VIRTIO_NET_F_HOST_TSO4,
    bindings::VIRTIO_NET_F_HOST_TSO6,
    bindings::VIRTIO_NET_F_HOST_ECN,
    bindings::VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
    bindings::VIRTIO_NET_F_MRG_RXBUF,
    bindings::VIRTIO_NET_F_CTRL_RX,
    bindings::VIRTIO_NET_F_CTRL_RX_EXTRA,
    bindings::VIRTIO_NET_F_CTRL_VLAN,
    bindings::VIRTIO_NET_F_GUEST_ANNOUNCE,
    bindings::VIRTIO_NET_F_MQ,
]));

/// What a driver can switch on and off while it runs (virtio 1.3, section 5.1.6.5.8).
pub(crate) const GUEST_OFFLOADS: Features = set([
    bindings::VIRTIO_NET_F_GUEST_CSUM,
    bindings::VIRTIO_NET_F_GUEST_TSO4,
    bindings::VIRTIO_NET_F_GUEST_TSO6,
    bindings::VIRTIO_NET_F_GUEST_ECN,
]);

/// Features, and those of which they need at least one (virtio 1.3, section 5.1.3.1).
///
/// `CTRL_RX_EXTRA` and `CTRL_GUEST_OFFLOADS` are not there: without a control queue they are only
/// useless.
const REQUIREMENTS: [(Features, Features); 5] = [
    (
        set([
            bindings::VIRTIO_NET_F_GUEST_TSO4,
            bindings::VIRTIO_NET_F_GUEST_TSO6,
        ]),
        set([bindings::VIRTIO_NET_F_GUEST_CSUM]),
    ),
    (
        set([bindings::VIRTIO_NET_F_GUEST_ECN]),
        set([
            bindings::VIRTIO_NET_F_GUEST_TSO4,
            bindings::VIRTIO_NET_F_GUEST_TSO6,
        ]),
    ),
    (
        set([
            bindings::VIRTIO_NET_F_HOST_TSO4,
            bindings::VIRTIO_NET_F_HOST_TSO6,
        ]),
        set([bindings::VIRTIO_NET_F_CSUM]),
    ),
    (
        set([bindings::VIRTIO_NET_F_HOST_ECN]),
        set([
            bindings::VIRTIO_NET_F_HOST_TSO4,
            bindings::VIRTIO_NET_F_HOST_TSO6,
        ]),
    ),
    (
        set([
            bindings::VIRTIO_NET_F_CTRL_RX,
            bindings::VIRTIO_NET_F_CTRL_VLAN,
            bindings::VIRTIO_NET_F_GUEST_ANNOUNCE,
            bindings::VIRTIO_NET_F_MQ,
            bindings::VIRTIO_NET_F_CTRL_MAC_ADDR,
        ]),
        set([bindings::VIRTIO_NET_F_CTRL_VQ]),
    ),
];

/// The features of a set that lack what they require.
fn dangling(features: Features) -> Features {
    REQUIREMENTS
        .iter()
        .filter(|(_, needed)| features.intersection(*needed).is_empty())
        .fold(Features::NONE, |all, (dependent, _)| {
            all.union(features.intersection(*dependent))
        })
}

/// Why a set of features is refused. All of it is `EINVAL` to user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A device cannot offer these.
    Unsupported(Features),
    /// These lack another feature that they require.
    Dangling(Features),
    /// A device with several queue pairs does not say so.
    PairsWithoutMq,
    /// A driver does not accept `VIRTIO_F_ACCESS_PLATFORM`: what it takes for addresses means
    /// nothing to the device.
    NoAccessPlatform,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(features) => {
                write!(f, "features it cannot have: {:#x}", features.bits())
            }
            Self::Dangling(features) => {
                write!(f, "features that require others: {:#x}", features.bits())
            }
            Self::PairsWithoutMq => f.write_str("several pairs of queues require the feature MQ"),
            Self::NoAccessPlatform => f.write_str("the feature ACCESS_PLATFORM is required"),
        }
    }
}

/// A number of queue pairs, 1 to [`MAX`](Self::MAX).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueuePairs(u16);

impl QueuePairs {
    /// One, which is what every device has.
    pub(crate) const ONE: Self = Self(1);

    /// The most that a device can be made with. The specification allows 32768; each has a cost.
    pub(crate) const MAX: Self = Self(16);

    /// So many, if a device can have them.
    pub(crate) const fn new(pairs: u16) -> Option<Self> {
        if pairs >= 1 && pairs <= Self::MAX.0 {
            Some(Self(pairs))
        } else {
            None
        }
    }

    /// The number.
    pub(crate) const fn get(self) -> u16 {
        self.0
    }

    /// The receive queue, of so many pairs in use, for what came from a transmit queue: that of the
    /// same pair where there is one, so that a flow stays in one queue (virtio 1.3,
    /// section 5.1.6.5.6).
    #[inline]
    pub(crate) fn steer(self, transmitted_on: u16) -> u16 {
        if transmitted_on < self.0 {
            transmitted_on
        } else {
            transmitted_on.checked_rem(self.0).unwrap_or(0)
        }
    }
}

/// The features that a device offers.
///
/// # Invariants
///
/// A subset of [`SUPPORTED`] in which no feature lacks what it requires, with `VIRTIO_NET_F_MQ` if
/// there is more than one queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    features: Features,
    pairs: QueuePairs,
}

impl Offered {
    /// What a device with so many queue pairs offers, if its user does not ask for anything else.
    ///
    /// What is asked for is taken as it is: a user who reads it back finds the same. So features
    /// that lack what they require are refused rather than dropped; a device must not offer such
    /// (virtio 1.3, section 2.2.2).
    pub(crate) fn new(asked: Option<Features>, pairs: QueuePairs) -> Result<Self, Refusal> {
        let mq = Features::bit(bindings::VIRTIO_NET_F_MQ);
        let features = match asked {
            Some(features) => features,
            None if pairs == QueuePairs::ONE => SUPPORTED.without(mq),
            None => SUPPORTED,
        };
        let unsupported = features.without(SUPPORTED);
        if !unsupported.is_empty() {
            return Err(Refusal::Unsupported(unsupported));
        }
        let dangling = dangling(features);
        if !dangling.is_empty() {
            return Err(Refusal::Dangling(dangling));
        }
        if pairs > QueuePairs::ONE && !features.has(bindings::VIRTIO_NET_F_MQ) {
            return Err(Refusal::PairsWithoutMq);
        }
        // INVARIANT: All of it was checked above.
        Ok(Self { features, pairs })
    }

    /// The features.
    pub(crate) const fn features(self) -> Features {
        self.features
    }

    /// How many queue pairs there are.
    pub(crate) const fn pairs(self) -> QueuePairs {
        self.pairs
    }

    /// How many virtqueues there are. A control queue is among them even if it is not offered, as
    /// in C: user space expects at least three.
    pub(crate) const fn queues(self) -> u16 {
        // No overflow: there are at most `QueuePairs::MAX`.
        2 * self.pairs.get() + 1
    }

    /// What results if a driver accepts these features.
    ///
    /// Accepted features that were not offered do not count, as in C. Others that lack what they
    /// require are refused: so says virtio 1.3, section 2.2.2, and the driver sees that
    /// `FEATURES_OK` does not stay.
    pub(crate) fn negotiate(self, accepted: Features) -> Result<Negotiated, Refusal> {
        if !accepted.has(bindings::VIRTIO_F_ACCESS_PLATFORM) {
            return Err(Refusal::NoAccessPlatform);
        }
        let features = accepted.intersection(self.features);
        let dangling = dangling(features);
        if !dangling.is_empty() {
            return Err(Refusal::Dangling(dangling));
        }
        // INVARIANT: Checked above.
        Ok(Negotiated(features))
    }
}

/// The features that both sides agreed upon.
///
/// # Invariants
///
/// No feature lacks what it requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Negotiated(Features);

impl Negotiated {
    /// None, as before negotiation.
    pub(crate) const NONE: Self = Self(Features::NONE);

    /// Features that [`Offered::negotiate`] gave, as the device has kept them.
    #[inline]
    pub(crate) const fn of_accepted(features: Features) -> Self {
        // INVARIANT: Checked when they were negotiated.
        Self(features)
    }

    /// The features.
    pub(crate) const fn features(self) -> Features {
        self.0
    }

    /// Whether the feature with this number is among them.
    #[inline]
    pub(crate) const fn has(self, number: u32) -> bool {
        self.0.has(number)
    }

    /// Whether the driver can change the address in the configuration space: a legacy driver, which
    /// has no other way (virtio 1.3, section 5.1.4.3). Before negotiation as well: QEMU tells the
    /// device of its guest's address then.
    pub(crate) const fn mac_is_writable(self) -> bool {
        !self.has(bindings::VIRTIO_F_VERSION_1) && !self.has(bindings::VIRTIO_NET_F_CTRL_MAC_ADDR)
    }
}

/// What a virtqueue is for. Pairs count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The driver gives buffers for what it wants to receive.
    Receive {
        /// The number of the pair.
        pair: u16,
    },
    /// The driver gives frames.
    Transmit {
        /// The number of the pair.
        pair: u16,
    },
    /// The driver gives commands.
    Control,
}

/// Which virtqueue is for what (virtio 1.3, section 5.1.2): the pairs, then the control queue. Its
/// place depends on whether the driver knows of more than one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pairs: QueuePairs,
    has_control: bool,
}

impl Layout {
    /// The layout for a driver, of a device with so many pairs.
    pub(crate) fn new(negotiated: Negotiated, pairs: QueuePairs) -> Self {
        Self {
            pairs: if negotiated.has(bindings::VIRTIO_NET_F_MQ) {
                pairs
            } else {
                QueuePairs::ONE
            },
            has_control: negotiated.has(bindings::VIRTIO_NET_F_CTRL_VQ),
        }
    }

    /// The layout for a driver that accepted these features.
    #[inline]
    pub(crate) fn of(accepted: Features, pairs: QueuePairs) -> Self {
        Self::new(Negotiated::of_accepted(accepted), pairs)
    }

    /// The index of the control queue, or where it would be.
    pub(crate) const fn control_index(self) -> u16 {
        // No overflow: there are at most `QueuePairs::MAX`.
        2 * self.pairs.get()
    }

    /// The index of a pair's receive queue.
    pub(crate) const fn receive_index(pair: u16) -> u16 {
        pair.saturating_mul(2)
    }

    /// The index of a pair's transmit queue.
    pub(crate) const fn transmit_index(pair: u16) -> u16 {
        pair.saturating_mul(2).saturating_add(1)
    }

    /// What the virtqueue with this index is for, if the driver may use it.
    #[inline]
    pub(crate) const fn role(self, index: u16) -> Option<Role> {
        let pair = index / 2;
        if pair < self.pairs.get() {
            if index % 2 == 0 {
                Some(Role::Receive { pair })
            } else {
                Some(Role::Transmit { pair })
            }
        } else if self.has_control && index == self.control_index() {
            Some(Role::Control)
        } else {
            None
        }
    }
}
