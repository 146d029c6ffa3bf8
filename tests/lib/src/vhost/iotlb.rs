// SPDX-License-Identifier: GPL-2.0
//! Messages about the translation of a device's addresses: `struct vhost_msg` and
//! `struct vhost_msg_v2`.

/// What the device may do with memory.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Perm {
    Ro = 1,
    Wo = 2,
    Rw = 3,
}

/// A message; sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Update {
        iova: u64,
        size: u64,
        uaddr: u64,
        perm: Perm,
    },
    Invalidate {
        iova: u64,
        size: u64,
    },
    BatchBegin,
    BatchEnd,
}

const V1: u32 = 1;
const V2: u32 = 2;
/// The size of both structures: their union has room for later.
const SIZE: usize = 72;

impl Message {
    /// iova, size, uaddr, perm, type.
    fn fields(self) -> (u64, u64, u64, u8, u8) {
        match self {
            Message::Update {
                iova,
                size,
                uaddr,
                perm,
            } => (iova, size, uaddr, perm as u8, 2),
            Message::Invalidate { iova, size } => (iova, size, 0, 0, 3),
            Message::BatchBegin => (0, 0, 0, 0, 5),
            Message::BatchEnd => (0, 0, 0, 0, 6),
        }
    }

    fn bytes(self, head: [u32; 2]) -> Vec<u8> {
        let (iova, size, uaddr, perm, kind) = self.fields();
        let mut bytes = Vec::with_capacity(SIZE);
        head.iter()
            .for_each(|h| bytes.extend_from_slice(&h.to_ne_bytes()));
        [iova, size, uaddr]
            .iter()
            .for_each(|f| bytes.extend_from_slice(&f.to_ne_bytes()));
        bytes.extend_from_slice(&[perm, kind]);
        bytes.resize(SIZE, 0);
        bytes
    }

    /// In the first version of the structure, which knows no address spaces.
    pub fn v1(self) -> Vec<u8> {
        self.bytes([V1, 0])
    }

    /// In the second version.
    pub fn v2(self, asid: u32) -> Vec<u8> {
        self.bytes([V2, asid])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        let message = Message::Update {
            iova: 0x1111_2222_3333_4444,
            size: 0x5000,
            uaddr: 0x6666,
            perm: Perm::Wo,
        };
        let bytes = message.v2(7);
        assert_eq!(bytes.len(), 72);
        assert_eq!(bytes[..8], [2, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(bytes[8..16], 0x1111_2222_3333_4444u64.to_ne_bytes());
        assert_eq!(bytes[16..24], 0x5000u64.to_ne_bytes());
        assert_eq!(bytes[24..32], 0x6666u64.to_ne_bytes());
        assert_eq!(bytes[32..34], [2, 2]);
        assert!(bytes[34..].iter().all(|b| *b == 0));
        assert_eq!(Message::BatchEnd.v1()[33], 6);
    }
}
