// SPDX-License-Identifier: GPL-2.0
//! What the device may reach: messages that are refused, and what then.

use vdpa_test::ktap::{self, case};
use vdpa_test::vhost::{backend, Area, Message, Node, Perm, PAGE};
use vdpa_test::{user, Errno};

use crate::check::checks;
use crate::checks::iotlb::{is_mapped, pages, some};
use crate::device::Device;
use crate::process::Edge;

const UPDATE: &str = "linux/vhost_types.h, VHOST_IOTLB_UPDATE";
const MESSAGE: &str = "linux/vhost_types.h, struct vhost_msg_v2";

checks! {
    map_nothing: UPDATE, "a range of no bytes is refused";
    map_beyond_the_end: UPDATE, "a range that wraps around is refused";
    map_outside_of_the_range: "linux/vhost.h, VHOST_VDPA_GET_IOVA_RANGE",
        "what is not within the range of the device is refused";
    map_with_bad_permission: "linux/vhost_types.h, VHOST_ACCESS_RO, _WO, _RW",
        "there are three permissions; others are refused";
    map_what_is_not_there: UPDATE,
        "addresses where the process has no memory are refused, and nothing stays mapped";
    bad_space: "linux/vhost_types.h, VHOST_BACKEND_F_IOTLB_ASID",
        "an address space that the device does not have is refused";
    bad_type: "linux/vhost_types.h, struct vhost_iotlb_msg", "other types of messages are refused";
    bad_version: MESSAGE, "other versions of messages are EINVAL";
    short_message: MESSAGE, "a message without its fields is EINVAL";
    message_out_of_reach: "write(2)", "a message that cannot be read is refused, and nothing is done";
    message_without_owner: "linux/vhost.h, VHOST_SET_OWNER", "without an owner, there is no memory to map";
    message_of_another_process: "linux/vhost.h, VHOST_SET_OWNER",
        "only the owner's memory is mapped, and only by the owner";
    errors_of_messages: "write(2)",
        "an error says what was wrong: EEXIST, EINVAL, EPERM; EFAULT is for what cannot be reached";
}

/// What a message can be, without its types.
#[derive(Clone, Copy)]
struct Raw {
    version: u32,
    asid: u32,
    iova: u64,
    size: u64,
    uaddr: u64,
    perm: u8,
    kind: u8,
}

const KIND_UPDATE: u8 = 2;

impl Raw {
    fn of(area: &Area) -> Self {
        Raw {
            version: 2,
            asid: 0,
            iova: area.iova(),
            size: area.len() as u64,
            uaddr: area.uaddr(),
            perm: 3,
            kind: KIND_UPDATE,
        }
    }

    fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [self.version, self.asid] {
            bytes.extend(word.to_ne_bytes());
        }
        for field in [self.iova, self.size, self.uaddr] {
            bytes.extend(field.to_ne_bytes());
        }
        bytes.extend([self.perm, self.kind]);
        bytes.resize(72, 0);
        bytes
    }

    fn write(self, node: &Node) -> Result<usize, Errno> {
        node.write(&self.bytes())
    }
}

/// A message is refused; whatever the range, nothing of the area is mapped after it.
fn refused(node: &Node, area: &Area, message: Raw) {
    let result = message.write(node);
    assert!(result.is_err(), "{result:?}");
    assert!(!is_mapped(node, 0, area), "although it was refused");
}

fn map_nothing(d: &Device) {
    let (node, area) = pages(d);
    let message = Raw::of(&area);
    for iova in [area.iova(), 0] {
        let message = Raw {
            iova,
            size: 0,
            ..message
        };
        assert_eq!(message.write(&node), Err(Errno::EINVAL), "at {iova:#x}");
    }
    assert!(!is_mapped(&node, 0, &area));
}

fn map_beyond_the_end(d: &Device) {
    let (node, area) = pages(d);
    let message = Raw::of(&area);
    let page = PAGE as u64;
    for (iova, size) in [
        (0u64.wrapping_sub(page), 2 * page),
        (u64::MAX, 2),
        (area.iova(), u64::MAX),
        (page, 0u64.wrapping_sub(page) + 1),
    ] {
        case(format!("{size:#x} bytes from {iova:#x} on"), || {
            refused(
                &node,
                &area,
                Raw {
                    iova,
                    size,
                    ..message
                },
            );
        });
    }
}

fn map_outside_of_the_range(d: &Device) {
    let (first, last) = d.range;
    if (first, last) == (0, u64::MAX) {
        ktap::skip("all addresses are in the range");
    }
    let (node, area) = pages(d);
    let message = Raw::of(&area);
    let page = PAGE as u64;
    let outside = [
        first.checked_sub(page).map(|iova| (iova, page)),
        first.checked_sub(page).map(|iova| (iova, 2 * page)),
        last.checked_add(1).map(|iova| (iova, page)),
        last.checked_add(1).map(|iova| (iova - page, 2 * page)),
    ];
    for (iova, size) in outside.into_iter().flatten() {
        refused(
            &node,
            &area,
            Raw {
                iova,
                size,
                ..message
            },
        );
    }
}

fn map_with_bad_permission(d: &Device) {
    let (node, area) = pages(d);
    for perm in [0, 4, 7, 0xff] {
        case(format!("{perm}"), || {
            let (node, area) = (&node, &area);
            refused(
                node,
                area,
                Raw {
                    perm,
                    ..Raw::of(area)
                },
            );
        });
        // For the next one.
        let _ = node.unmap(0, area.iova(), area.len() as u64);
    }
}

fn map_what_is_not_there(d: &Device) {
    let (node, area) = pages(d);
    let edge = Edge::new();
    let page = PAGE as u64;
    // Nothing is mapped at the second; behind the third, everything is the kernel's.
    for (what, uaddr, size) in [
        ("memory without access", edge.end(), page),
        ("no memory", page, page),
        ("the kernel", 1 << 63, page),
        ("the end of all addresses", 0u64.wrapping_sub(page), page),
    ] {
        case(what, || {
            let message = Raw {
                uaddr,
                size,
                ..Raw::of(&area)
            };
            let result = message.write(&node);
            let part = some(&area, 0, 1);
            let mapped = is_mapped(&node, 0, &part);
            let _ = node.unmap(0, area.iova(), area.len() as u64);
            assert!(result.is_err(), "{result:?}");
            assert!(!mapped, "although it was refused");
        });
    }
}

fn bad_space(d: &Device) {
    d.need_backend(backend::IOTLB_ASID, "VHOST_BACKEND_F_IOTLB_ASID");
    let (node, area) = pages(d);
    let invalidate = Message::Invalidate {
        iova: area.iova(),
        size: area.len() as u64,
    };
    for asid in [d.spaces, u32::MAX] {
        case(format!("space {asid}"), || {
            refused(
                &node,
                &area,
                Raw {
                    asid,
                    ..Raw::of(&area)
                },
            );
            for message in [invalidate, Message::BatchBegin, Message::BatchEnd] {
                let result = node.iotlb(asid, message);
                assert!(result.is_err(), "{message:?}: {result:?}");
            }
        });
    }
}

fn bad_type(d: &Device) {
    let (node, area) = pages(d);
    for kind in [0, 1, 4, 7, 0xff] {
        case(format!("{kind}"), || {
            refused(
                &node,
                &area,
                Raw {
                    kind,
                    ..Raw::of(&area)
                },
            );
        });
    }
}

fn bad_version(d: &Device) {
    let (node, area) = pages(d);
    for version in [0, 3, u32::MAX] {
        let message = Raw {
            version,
            ..Raw::of(&area)
        };
        assert_eq!(message.write(&node), Err(Errno::EINVAL), "{version}");
    }
    assert!(!is_mapped(&node, 0, &area));
}

fn short_message(d: &Device) {
    let (node, area) = pages(d);
    let bytes = Raw::of(&area).bytes();
    for len in [1, 3, 4, 7, 8, 33] {
        assert_eq!(node.write(&bytes[..len]), Err(Errno::EINVAL), "{len}");
    }
    assert!(!is_mapped(&node, 0, &area));
}

fn message_out_of_reach(d: &Device) {
    use std::os::fd::AsRawFd;
    let (node, area) = pages(d);
    let edge = Edge::new();
    let bytes = Raw::of(&area).bytes();
    for there in [0, 4, 8, 32] {
        let at = edge.put(&bytes[..there]);
        // SAFETY: The kernel reads what is there, and finds that the rest is not.
        let taken = unsafe { libc::write(node.as_raw_fd(), at.cast(), bytes.len()) };
        assert!(taken < 0, "{there} bytes were there: {taken}");
        let error = Errno::last();
        let known = [Errno::EINVAL, Errno::EFAULT].contains(&error);
        assert!(known, "{there} bytes were there: {error:?}");
    }
    assert!(!is_mapped(&node, 0, &area));
}

fn message_without_owner(d: &Device) {
    let (node, area) = (d.open(), d.area(PAGE));
    let result = Raw::of(&area).write(&node);
    assert!(result.is_err(), "{result:?}");
    assert_eq!(node.set_owner(), Ok(()));
    assert!(!is_mapped(&node, 0, &area), "although it was refused");
}

fn message_of_another_process(d: &Device) {
    let (node, area) = pages(d);
    user::in_child(|| {
        let result = Raw::of(&area).write(&node);
        assert!(result.is_err(), "the child: {result:?}");
    });
    assert!(!is_mapped(&node, 0, &area), "although it was refused");
    assert_eq!(node.map(0, &area, Perm::Rw), Ok(()), "the owner");
}

fn errors_of_messages(d: &Device) {
    let (node, area) = pages(d);
    assert_eq!(node.map(0, &area, Perm::Rw), Ok(()));
    let good = Raw::of(&area);
    let wrap = 0u64.wrapping_sub(PAGE as u64);
    let spaces = d.backend & backend::IOTLB_ASID != 0;
    for (what, message, error) in [
        ("an overlap", good, Errno::EEXIST),
        (
            "a range that wraps around",
            Raw { iova: wrap, ..good },
            Errno::EINVAL,
        ),
        ("a bad type", Raw { kind: 7, ..good }, Errno::EINVAL),
        (
            "a space that is not there",
            Raw {
                asid: d.spaces,
                ..good
            },
            if spaces { Errno::EINVAL } else { Errno::EEXIST },
        ),
    ] {
        case(what, || assert_eq!(message.write(&node), Err(error)));
    }
    drop(node);
    let node = d.open();
    case("no owner", || {
        assert_eq!(good.write(&node), Err(Errno::EPERM));
    });
}
