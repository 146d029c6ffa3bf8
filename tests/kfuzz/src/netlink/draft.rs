// SPDX-License-Identifier: GPL-2.0
//! A message taken apart, so that it can be changed, and put together again, with
//! whatever lengths it claims to have.

use std::ops::Range;

use vdpa_test::nl::{u16_at, u32_at, GENL_HEADER, HEADER};

/// The messages of a datagram, as the kernel finds them. What is too short or claims
/// to be too long is one up to the end.
pub fn split(datagram: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < datagram.len() {
        let rest = datagram.len() - at;
        let claimed = if rest >= 4 {
            u32_at(datagram, at) as usize
        } else {
            rest
        };
        let len = if (HEADER..=rest).contains(&claimed) {
            claimed
        } else {
            rest
        };
        found.push(at..at + len);
        at += len.next_multiple_of(4);
    }
    found
}

/// An attribute and the length that it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub len: u16,
    pub kind: u16,
    pub data: Vec<u8>,
}

impl Attribute {
    /// One that claims what it has.
    pub fn new(kind: u16, data: &[u8]) -> Self {
        let mut attribute = Attribute {
            len: 0,
            kind,
            data: data.to_vec(),
        };
        attribute.fix();
        attribute
    }

    /// Makes the length right, as far as there is room for it.
    pub fn fix(&mut self) {
        self.len = (self.data.len() + 4).min(usize::from(u16::MAX)) as u16;
    }
}

/// A generic netlink message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// By how much the length in the header differs from the true one.
    pub excess: i64,
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    pub port: u32,
    pub cmd: u8,
    pub version: u8,
    pub reserved: u16,
    pub attributes: Vec<Attribute>,
    /// What follows and is no attribute.
    pub tail: Vec<u8>,
}

impl Draft {
    /// `None` if it is too short.
    pub fn parse(message: &[u8]) -> Option<Self> {
        if message.len() < HEADER + GENL_HEADER {
            return None;
        }
        let mut attributes = Vec::new();
        let mut rest = &message[HEADER + GENL_HEADER..];
        while rest.len() >= 4 {
            let len = usize::from(u16_at(rest, 0));
            let padded = len.next_multiple_of(4);
            if len < 4 || padded > rest.len() {
                break;
            }
            attributes.push(Attribute::new(u16_at(rest, 2), &rest[4..len]));
            rest = &rest[padded..];
        }
        Some(Draft {
            excess: i64::from(u32_at(message, 0)) - message.len() as i64,
            kind: u16_at(message, 4),
            flags: u16_at(message, 6),
            seq: u32_at(message, 8),
            port: u32_at(message, 12),
            cmd: message[16],
            version: message[17],
            reserved: u16_at(message, 18),
            attributes,
            tail: rest.to_vec(),
        })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut b = vec![0; 4];
        b.extend(self.kind.to_ne_bytes());
        b.extend(self.flags.to_ne_bytes());
        b.extend(self.seq.to_ne_bytes());
        b.extend(self.port.to_ne_bytes());
        b.extend([self.cmd, self.version]);
        b.extend(self.reserved.to_ne_bytes());
        for a in &self.attributes {
            b.extend(a.len.to_ne_bytes());
            b.extend(a.kind.to_ne_bytes());
            b.extend(&a.data);
            b.resize(b.len().next_multiple_of(4), 0);
        }
        b.extend(&self.tail);
        let len = (b.len() as i64 + self.excess) as u32;
        b[..4].copy_from_slice(&len.to_ne_bytes());
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdpa_test::nl::Msg;

    #[test]
    fn apart_and_together() {
        let msg = Msg::genl(29, 5, 3, 1)
            .attr_str(4, "name")
            .attr(10, &[1, 2, 3, 4, 5, 6])
            .raw(&[9, 9, 9]);
        let draft = Draft::parse(&msg.bytes).unwrap();
        assert_eq!(draft.attributes.len(), 2);
        assert_eq!(draft.tail, [9, 9, 9]);
        assert_eq!(draft.excess, 0);
        assert_eq!(draft.to_bytes(), msg.bytes);
        assert_eq!(Draft::parse(&msg.bytes[..19]), None);
    }

    #[test]
    fn wrong_length() {
        let msg = Msg::genl(29, 5, 3, 1).attr(4, b"x");
        let mut draft = Draft::parse(&msg.bytes).unwrap();
        draft.excess = -3;
        let bytes = draft.to_bytes();
        assert_eq!(bytes.len(), msg.bytes.len());
        assert_eq!(u32_at(&bytes, 0) as usize, bytes.len() - 3);
    }

    #[test]
    fn datagrams() {
        let one = Msg::genl(29, 5, 3, 1).attr(4, b"x").bytes;
        let two = [one.clone(), one.clone()].concat();
        assert_eq!(split(&two), [0..one.len(), one.len()..two.len()]);
        assert_eq!(
            split(&two[..one.len() + 2]),
            [0..one.len(), one.len()..one.len() + 2]
        );
        assert!(split(&[]).is_empty());
    }
}
