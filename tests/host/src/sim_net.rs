// SPDX-License-Identifier: GPL-2.0

//! The simulated network device: `drivers/vdpa/sim/net`.

#![allow(dead_code, reason = "most of it is called by the module only")]

#[path = "../../../drivers/vdpa/sim/net/checksum.rs"]
mod checksum;
#[path = "../../../drivers/vdpa/sim/net/config.rs"]
mod config;
#[path = "../../../drivers/vdpa/sim/net/control.rs"]
mod control;
#[path = "../../../drivers/vdpa/sim/net/features.rs"]
mod features;
#[path = "../../../drivers/vdpa/sim/net/filter.rs"]
mod filter;
#[path = "../../../drivers/vdpa/sim/net/header.rs"]
mod header;
#[path = "../../../drivers/vdpa/sim/net/mac.rs"]
mod mac;
#[path = "../../../drivers/vdpa/sim/net/model.rs"]
mod model;
#[path = "../../../drivers/vdpa/sim/net/segment.rs"]
mod segment;
#[path = "../../../drivers/vdpa/sim/net/wire.rs"]
mod wire;

#[cfg(test)]
mod cases;
pub mod commands;
pub mod frames;
pub mod packets;
mod reference;

/// What any bytes say: events in the life of a device, a packet, or a frame as it stands there.
pub fn check_input(bytes: &[u8]) {
    let (head, tail) = bytes.split_at(bytes.len().min(20));
    let number = |at: usize| head.get(at).copied().unwrap_or(0);
    let features = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|n| number(at + n)));
    let offloads = frames::all_offloads();
    let (sender, receiver) = (features(2) & offloads, features(10) & offloads);
    match number(0) % 4 {
        0 => commands::check_events(None, number(1).into(), &commands::events(tail)),
        1 => commands::check_events(Some(features(2)), number(1).into(), &commands::events(tail)),
        2 => {
            let packet = packets::Packet::from_bytes(tail);
            let mut frame = packet.partial();
            if let Some(byte) = frame.get_mut(usize::from(number(1))) {
                *byte ^= number(18);
            }
            frame.truncate(frame.len() - usize::from(number(19)).min(frame.len()));
            frames::check_delivery(&packet.header(), &frame, offloads, receiver);
        }
        _ => {
            let (header, frame) = tail.split_at(tail.len().min(12));
            frames::check_delivery(header, frame, sender, receiver);
        }
    }
}
