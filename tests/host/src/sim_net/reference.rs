// SPDX-License-Identifier: GPL-2.0

//! A network device as the specification describes it (virtio 1.3, sections 5.1.3 to 5.1.6.5), with
//! its numbers, to compare with the one of `drivers/vdpa/sim/net`.

use std::collections::BTreeSet;

pub type Mac = [u8; 6];

/// The features that the simulator is to know, by their numbers.
pub const SUPPORTED: &[u32] = &[
    0, 1, 2, 3, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 18, 19, 20, 21, 22, 23, 27, 28, 29, 32, 33, 34,
    35, 38, 40,
];

/// The set with these bits.
pub fn bits(numbers: &[u32]) -> u64 {
    numbers.iter().fold(0, |set, number| set | 1 << number)
}

/// Whether each feature has what it requires: section 5.1.3.1, line by line.
pub fn is_closed(set: u64) -> bool {
    let has = |number: u32| set >> number & 1 == 1;
    let requires = |number, any: &[u32]| !has(number) || any.iter().any(|other| has(*other));
    requires(7, &[1])
        && requires(8, &[1])
        && requires(9, &[7, 8])
        && requires(11, &[0])
        && requires(12, &[0])
        && requires(13, &[11, 12])
        && requires(18, &[17])
        && requires(19, &[17])
        && requires(21, &[17])
        && requires(22, &[17])
        && requires(23, &[17])
}

/// Addresses that are wanted, and whether others may come as well.
#[derive(Clone, Debug, Default)]
pub struct Table {
    wanted: Vec<Mac>,
    is_best_effort: bool,
}

impl Table {
    /// What becomes of an address: `None` is either.
    fn decides(&self, address: Mac) -> Option<bool> {
        match self.wanted.contains(&address) {
            true => Some(true),
            false if self.is_best_effort => None,
            false => Some(false),
        }
    }
}

/// The device.
#[derive(Clone, Debug)]
pub struct Reference {
    pub offered: u64,
    pub features: u64,
    pub max_pairs: u16,
    pub mtu: u16,
    pub mac: Mac,
    /// What a legacy driver has written of a new address.
    pub half_mac: Option<Mac>,
    pub link: bool,
    pub announce: bool,
    pub pairs: u16,
    pub offloads: u64,
    modes: [bool; 6],
    unicast: Table,
    multicast: Table,
    vlans: BTreeSet<u16>,
}

pub fn assignable(mac: Mac) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

impl Reference {
    pub fn new(offered: u64, max_pairs: u16, mac: Mac, mtu: u16) -> Self {
        Self {
            offered,
            features: 0,
            max_pairs,
            mtu,
            mac,
            half_mac: None,
            link: true,
            announce: false,
            pairs: 1,
            offloads: 0,
            modes: [false; 6],
            unicast: Table::default(),
            multicast: Table::default(),
            vlans: BTreeSet::new(),
        }
    }

    pub fn has(&self, number: u32) -> bool {
        self.features >> number & 1 == 1
    }

    /// Back to the start, but for what the user has set.
    pub fn reset(&mut self) {
        let link = self.link;
        *self = Self::new(self.offered, self.max_pairs, self.mac, self.mtu);
        self.link = link;
    }

    pub fn negotiate(&mut self, accepted: u64) -> bool {
        let features = accepted & self.offered;
        let valid = accepted >> 33 & 1 == 1 && is_closed(features);
        if valid && features != self.features {
            let (half_mac, announce) = (self.half_mac, self.announce);
            self.reset();
            (self.half_mac, self.announce) = (half_mac, announce);
            self.features = features;
            self.offloads = features & bits(&[1, 7, 8, 9]);
        }
        valid
    }

    /// The configuration space.
    pub fn config(&self) -> [u8; 24] {
        let status = u16::from(self.link) | u16::from(self.announce) << 1;
        let pairs = match self.offered >> 22 & 1 {
            1 => self.max_pairs,
            _ => 0,
        };
        let mut space = [0; 24];
        space[..6].copy_from_slice(&self.mac);
        space[6..8].copy_from_slice(&status.to_le_bytes());
        space[8..10].copy_from_slice(&pairs.to_le_bytes());
        space[10..12].copy_from_slice(&self.mtu.to_le_bytes());
        space
    }

    /// A driver writes to the configuration space.
    pub fn write_config(&mut self, offset: usize, data: &[u8]) {
        if self.has(32) || self.has(23) {
            return;
        }
        let mut mac = self.half_mac.unwrap_or(self.mac);
        let places = offset..offset + data.len();
        for (place, byte) in places.clone().zip(data).filter(|(place, _)| *place < 6) {
            mac[place] = *byte;
        }
        if places.contains(&5) {
            self.half_mac = None;
            if assignable(mac) {
                self.mac = mac;
            }
        } else {
            self.half_mac = Some(mac);
        }
    }

    /// A command. Whether it succeeds, if the device says that it `did`: there is one case in which
    /// that is up to the device.
    pub fn command(&mut self, bytes: &[u8], did: bool) -> bool {
        if !self.has(17) || bytes.len() < 2 {
            return false;
        }
        let data = &bytes[2..];
        match (bytes[0], bytes[1]) {
            (0, mode @ 0..=5) => {
                let feature = if mode < 2 { 18 } else { 20 };
                if !self.has(feature) || !matches!(data.first(), Some(0 | 1)) {
                    return false;
                }
                self.modes[usize::from(mode)] = data[0] == 1;
            }
            (1, 0) => {
                let Some((unicast, rest)) = list(data) else {
                    return false;
                };
                // The device has room for 64 of each, and need not look for what comes behind more.
                let is_best_effort = unicast.len() > 64;
                let multicast = match list(rest) {
                    Some((multicast, _)) => multicast,
                    None if is_best_effort && did => vec![],
                    None => return false,
                };
                if !self.has(18) {
                    return false;
                }
                self.unicast = Table {
                    wanted: unicast,
                    is_best_effort,
                };
                let is_best_effort = is_best_effort || multicast.len() > 64;
                self.multicast = Table {
                    wanted: multicast,
                    is_best_effort,
                };
            }
            (1, 1) => match data.get(..6) {
                Some(mac) if self.has(23) || self.has(18) => {
                    let mac = mac.try_into().unwrap();
                    if !assignable(mac) {
                        return false;
                    }
                    self.mac = mac;
                }
                _ => return false,
            },
            (2, add @ 0..=1) => match data.get(..2) {
                Some([low, high]) if self.has(19) && *high < 16 => {
                    let id = u16::from(*high) << 8 | u16::from(*low);
                    if add == 0 {
                        self.vlans.insert(id);
                    } else {
                        self.vlans.remove(&id);
                    }
                }
                _ => return false,
            },
            (3, 0) if self.has(21) => self.announce = false,
            (4, 0) => match data.get(..2) {
                Some(pairs) if self.has(22) => {
                    let pairs = u16::from_le_bytes(pairs.try_into().unwrap());
                    if pairs == 0 || pairs > self.max_pairs {
                        return false;
                    }
                    self.pairs = pairs;
                }
                _ => return false,
            },
            (5, 0) => match data.get(..8) {
                Some(set) if self.has(2) => {
                    let set = u64::from_le_bytes(set.try_into().unwrap());
                    if set & !(self.features & bits(&[1, 7, 8, 9])) != 0 {
                        return false;
                    }
                    self.offloads = set;
                }
                _ => return false,
            },
            _ => return false,
        }
        true
    }

    /// Whether a frame is received; `None` is either.
    pub fn accepts(&self, frame: &[u8]) -> Option<bool> {
        let [promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast] =
            self.modes;
        let Some(destination) = frame.get(..6) else {
            return Some(false);
        };
        let destination: Mac = destination.try_into().unwrap();
        if promiscuous {
            return Some(true);
        }
        if self.has(19) && frame.get(12..14) == Some(&[0x81, 0]) {
            match frame.get(14..16) {
                Some([high, low]) => {
                    let id = u16::from(*high & 15) << 8 | u16::from(*low);
                    if !self.vlans.contains(&id) {
                        return Some(false);
                    }
                }
                // Not a frame; what the specification says of it is nothing.
                _ => return None,
            }
        }
        if destination == [255; 6] {
            return Some(!no_broadcast);
        }
        if destination[0] & 1 == 1 {
            if no_multicast {
                return Some(false);
            }
            // Who cannot say what it wants gets all.
            if all_multicast || !self.has(18) {
                return Some(true);
            }
            return self.multicast.decides(destination);
        }
        if no_unicast {
            return Some(false);
        }
        if all_unicast || destination == self.mac {
            return Some(true);
        }
        self.unicast.decides(destination)
    }
}

/// A list of addresses, and what follows it.
fn list(data: &[u8]) -> Option<(Vec<Mac>, &[u8])> {
    let count = u32::from_le_bytes(data.get(..4)?.try_into().unwrap());
    let end = usize::try_from(u64::from(count) * 6 + 4).unwrap();
    let macs = data.get(4..end)?.chunks(6);
    Some((
        macs.map(|mac| mac.try_into().unwrap()).collect(),
        &data[end..],
    ))
}
