// SPDX-License-Identifier: GPL-2.0

//! What a user is told of whom something is refused: a text and an error.

use super::rules::Refusal;
use kernel::prelude::*;
use kext::{
    extack_fmt,
    extack_msg,
    genetlink::ExtAck, //
};

/// Tells the user why, and returns the error.
pub(super) fn refuse(why: Refusal, extack: ExtAck<'_>) -> Error {
    match why {
        Refusal::EmptyName => {
            extack_msg!(extack, "device name is empty");
            EINVAL
        }
        Refusal::DotName => {
            extack_msg!(extack, "device name must not be '.' or '..'");
            EINVAL
        }
        Refusal::LongName => {
            extack_msg!(extack, "device name is longer than 255 bytes");
            ENAMETOOLONG
        }
        Refusal::NoQueuePair => {
            extack_msg!(extack, "At least one pair of VQs is required");
            EINVAL
        }
        Refusal::MissingFeatures(missing) => {
            extack_fmt!(
                extack,
                "Missing features 0x{:x} for provided attributes",
                missing.bits()
            );
            EINVAL
        }
        Refusal::UnsupportedAttributes(mask) => {
            extack_fmt!(
                extack,
                "Some provided attributes are not supported: 0x{mask:x}"
            );
            EOPNOTSUPP
        }
        Refusal::NetAttributes => {
            extack_msg!(
                extack,
                "Network class attributes provided on unsupported management device"
            );
            EINVAL
        }
        Refusal::AmbiguousFeatures => {
            extack_msg!(
                extack,
                "Management device supports multi-class while device features specified are ambiguous"
            );
            EINVAL
        }
        Refusal::InvalidMac => {
            extack_msg!(extack, "Invalid MAC address");
            EOPNOTSUPP
        }
    }
}
