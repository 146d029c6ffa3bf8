// SPDX-License-Identifier: GPL-2.0
//! Takes apart what the kernel sent, trusting nothing.

use vdpa_test::nl::{
    u16_at, u32_at, GENL_HEADER, HEADER, NLMSG_DONE, NLMSG_ERROR, NLM_F_ACK_TLVS, NLM_F_CAPPED,
};
use vdpa_test::vdpa::*;

use super::draft;

/// What a message from the kernel says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The end, with an errno or 0.
    End(i32),
    /// One of the things asked for.
    Record,
}

/// A message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub seq: u32,
    pub says: Says,
}

/// The size of an attribute's payload, where the kernel has no choice.
fn size_of(kind: u16) -> Option<usize> {
    Some(match kind {
        0 => 0,
        NET_STATUS | MAX_VQ_SIZE | MIN_VQ_SIZE | MAX_VQP | MTU => 2,
        BLK_NUM_QUEUES | BLK_MIN_IO_SIZE => 2,
        CLASSES | NEGOTIATED | SUPPORTED_FEATURES | STAT_VALUE | FEATURES | BLK_CAPACITY => 8,
        MAC => 6,
        BLK_PHY_BLK_EXP | BLK_ALIGN_OFFSET | BLK_READ_ONLY | BLK_FLUSH => 1,
        BUS_NAME | MGMT_NAME | DEV_NAME | STAT_NAME => return None,
        _ => 4,
    })
}

fn attributes(mut b: &[u8], each: impl Fn(u16, &[u8]) -> Result<(), String>) -> Result<(), String> {
    while !b.is_empty() {
        let len = if b.len() < 4 {
            0
        } else {
            u16_at(b, 0) as usize
        };
        if !(4..=b.len()).contains(&len) {
            return Err(format!("an attribute of length {len} in {} bytes", b.len()));
        }
        each(u16_at(b, 2), &b[4..len])?;
        b = &b[len.next_multiple_of(4).min(b.len())..];
    }
    Ok(())
}

fn known(kind: u16, data: &[u8]) -> Result<(), String> {
    if kind >= ATTR_MAX {
        return Err(format!("an attribute of the unknown type {kind}"));
    }
    match size_of(kind) {
        Some(size) if data.len() != size => {
            Err(format!("attribute {kind} has {} bytes", data.len()))
        }
        None if data.iter().position(|b| *b == 0) != data.len().checked_sub(1) => {
            Err(format!("attribute {kind} is no text: {data:02x?}"))
        }
        _ => Ok(()),
    }
}

/// An error or the end of a list, with what is said in words.
fn end(message: &[u8], flags: u16, is_error: bool) -> Result<Says, String> {
    let payload = &message[HEADER..];
    if payload.len() < if is_error { 4 + HEADER } else { 4 } {
        return Err(format!("an end of {} bytes", payload.len()));
    }
    let errno = -(u32_at(payload, 0) as i32);
    if flags & NLM_F_ACK_TLVS != 0 {
        let request = match is_error {
            false => 0,
            true if flags & NLM_F_CAPPED != 0 => HEADER,
            true => (u32_at(payload, 4) as usize).next_multiple_of(4),
        };
        let tlvs = payload.get(4 + request..);
        attributes(tlvs.ok_or("an error without its request")?, |_, _| Ok(()))?;
    }
    Ok(Says::End(errno))
}

/// The messages of a datagram. Fails with what is wrong with it.
pub fn read(datagram: &[u8], family: u16) -> Result<Vec<Answer>, String> {
    let mut found = Vec::new();
    for range in draft::split(datagram) {
        let message = &datagram[range];
        if message.len() < HEADER || u32_at(message, 0) as usize != message.len() {
            return Err(format!("{} bytes that are no message", message.len()));
        }
        let (kind, flags) = (u16_at(message, 4), u16_at(message, 6));
        let says = match kind {
            NLMSG_ERROR | NLMSG_DONE => end(message, flags, kind == NLMSG_ERROR)?,
            _ if message.len() < HEADER + GENL_HEADER => return Err("no command".into()),
            _ if kind == family => {
                record(message)?;
                Says::Record
            }
            // A damaged type can be that of another family.
            _ => Says::Record,
        };
        let seq = u32_at(message, 8);
        found.push(Answer { seq, says });
    }
    Ok(found)
}

fn record(message: &[u8]) -> Result<(), String> {
    let (cmd, version) = (message[HEADER], message[HEADER + 1]);
    let sent = [
        CMD_MGMTDEV_NEW,
        CMD_DEV_NEW,
        CMD_DEV_DEL,
        CMD_DEV_CONFIG_GET,
        CMD_DEV_VSTATS_GET,
    ];
    if !sent.contains(&cmd) || version != 1 {
        return Err(format!("a message of command {cmd}, version {version}"));
    }
    attributes(&message[HEADER + GENL_HEADER..], known).map_err(|e| format!("command {cmd}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdpa_test::nl::Msg;

    fn error(errno: i32) -> Vec<u8> {
        let mut msg = Msg::new(NLMSG_ERROR, NLM_F_CAPPED)
            .raw(&(-errno).to_ne_bytes())
            .raw(&[0; HEADER]);
        msg.set_seq(7);
        msg.bytes
    }

    #[test]
    fn answers() {
        let record = Msg::genl(29, 2, CMD_DEV_NEW, 1)
            .attr_str(DEV_NAME, "f0")
            .attr(MTU, &[0; 2]);
        let both = [record.bytes, error(22)].concat();
        let answers = read(&both, 29).unwrap();
        assert_eq!(
            answers[0],
            Answer {
                seq: 0,
                says: Says::Record
            }
        );
        assert_eq!(
            answers[1],
            Answer {
                seq: 7,
                says: Says::End(22)
            }
        );
    }

    #[test]
    fn unsound() {
        let msg = |kind, data: &[u8]| Msg::genl(29, 2, CMD_DEV_NEW, 1).attr(kind, data).bytes;
        for (bytes, why) in [
            (msg(MTU, &[0; 4]), "has 4 bytes"),
            (msg(DEV_NAME, b"f0"), "no text"),
            (msg(DEV_NAME, b"f\0g\0"), "no text"),
            (msg(37, b""), "unknown type"),
            (Msg::genl(29, 2, 5, 1).bytes, "command 5"),
            (error(1)[..18].to_vec(), "no message"),
            (Msg::genl(29, 2, 3, 1).raw(&[9, 0, 0, 0]).bytes, "length 9"),
        ] {
            let e = read(&bytes, 29).unwrap_err();
            assert!(e.contains(why), "{e}");
        }
    }
}
