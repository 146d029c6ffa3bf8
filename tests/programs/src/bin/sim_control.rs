// SPDX-License-Identifier: GPL-2.0
//! The control queue of the simulated network device.

use std::thread;
use std::time::Duration;

use vdpa_test::ktap::case;
use vdpa_test::sim::{Sim, MAC as OWN};
use vdpa_test::vhost::net::control::{
    ERR, MAC, MAC_ADDR_SET, MAC_TABLE_SET, MQ, MQ_VQ_PAIRS_SET, OK,
};
use vdpa_test::vhost::net::{frame, Net, Setup};
use vdpa_test::vhost::{feature, Area, Buffer, Interrupts};
use vdpa_test::{ktap_main, sys};

ktap_main!(
    set_address,
    address_in_pieces,
    address_too_short,
    address_that_no_interface_can_have,
    unknown_commands,
    unknown_class_after_a_success,
    commands_of_features_that_were_not_negotiated,
    short_header,
    no_header,
    no_room_for_the_answer,
    room_for_more_than_the_answer,
    many_commands,
    statistics,
    without_the_feature,
    without_queues_for_packets,
    interrupts,
    without_interrupts,
);

const CONTROL: u32 = 2;
const OTHER: [u8; 6] = [2, 1, 2, 3, 4, 5];

fn start() -> Net {
    Net::start(&Setup::new("n0"))
}

/// Sets an address and looks whether that worked, also for packets.
#[track_caller]
fn check(net: &mut Net, mac: [u8; 6]) {
    assert_eq!(net.command(MAC, MAC_ADDR_SET, &mac), Some(OK));
    assert_eq!(net.mac(), mac);
    net.loop_back(&frame(mac, 0, 100));
}

fn set_address() {
    let _sim = Sim::net();
    let mut net = start();
    net.loop_back(&frame(OWN, 0, 100));
    check(&mut net, OTHER);
    // The one before is not its own any more.
    net.send(&frame(OWN, 1, 100));
    net.loop_back(&frame(OTHER, 2, 100));
}

/// Buffers for a command: what the device reads, cut up, and its answer.
fn chain(space: &mut Area, pieces: &[&[u8]], answer: &Area) -> Vec<Buffer> {
    let mut chain: Vec<_> = pieces
        .iter()
        .map(|piece| {
            let area = space.take(piece.len(), 1);
            area.write(0, piece);
            area.readable()
        })
        .collect();
    chain.push(answer.writable());
    chain
}

fn address_in_pieces() {
    let _sim = Sim::net();
    let mut net = start();
    let (class, command): (&[u8], &[u8]) = (&[MAC], &[MAC_ADDR_SET]);
    let (head, tail) = OTHER.split_at(4);
    let cuts: [&[&[u8]]; 3] = [
        &[&[MAC, MAC_ADDR_SET], &OTHER],
        &[class, command, head, tail],
        &[&[MAC, MAC_ADDR_SET, OTHER[0]], &OTHER[1..]],
    ];
    for pieces in cuts {
        case(format!("{} pieces", pieces.len()), || {
            check(&mut net, OWN);
            let mut space = net.control_space.clone();
            let answer = space.take(1, 1);
            answer.write(0, &[0x5a]);
            let chain = chain(&mut space, pieces, &answer);
            let control = net.control.as_mut().unwrap();
            control.give(&chain);
            assert_eq!(control.wait().len, Some(1));
            assert_eq!(answer.read(0, 1), [OK]);
            assert_eq!(net.mac(), OTHER);
        });
    }
}

fn address_too_short() {
    let _sim = Sim::net();
    let mut net = start();
    for len in 0..6 {
        case(format!("{len} bytes"), || {
            let answer = net.command(MAC, MAC_ADDR_SET, &OTHER[..len]);
            assert_eq!(answer, Some(ERR));
            assert_eq!(net.mac(), OWN, "it keeps the one that it had");
        });
    }
    check(&mut net, OTHER);
}

fn address_that_no_interface_can_have() {
    let _sim = Sim::net();
    let mut net = start();
    for mac in [[0; 6], [3, 1, 2, 3, 4, 5], [0xff; 6]] {
        case(format!("{mac:x?}"), || {
            assert_eq!(net.command(MAC, MAC_ADDR_SET, &mac), Some(ERR));
            assert_eq!(net.mac(), OWN);
        });
    }
}

fn unknown_commands() {
    let _sim = Sim::net();
    let mut net = start();
    for (class, command) in [(MAC, 2), (MAC, 255), (77, 0), (255, 255)] {
        let answer = net.command(class, command, &OTHER);
        assert_eq!(answer, Some(ERR), "class {class} command {command}");
    }
    assert_eq!(net.mac(), OWN);
}

/// In one run of the device, so that nothing is forgotten in between.
fn unknown_class_after_a_success() {
    let _sim = Sim::net();
    let mut net = start();
    let mut space = net.control_space.clone();
    let answers = [space.take(1, 1), space.take(1, 1)];
    net.node.suspend().unwrap();
    let control = net.control.as_mut().unwrap();
    let commands: [(&[u8], &Area); 2] = [
        (&[MAC, MAC_ADDR_SET, 2, 1, 2, 3, 4, 5], &answers[0]),
        (&[77, 0, 0], &answers[1]),
    ];
    for (command, answer) in commands {
        let chain = chain(&mut space, &[command], answer);
        control.ring.add(&chain).unwrap();
    }
    control.kick.signal();
    net.node.resume().unwrap();
    control.wait();
    control.wait();
    assert_eq!(answers[0].read(0, 1), [OK]);
    assert_eq!(answers[1].read(0, 1), [ERR]);
}

fn commands_of_features_that_were_not_negotiated() {
    let _sim = Sim::net();
    let mut net = start();
    let table = [&0u32.to_le_bytes()[..], &0u32.to_le_bytes()].concat();
    let commands: [(u8, u8, &[u8]); 4] = [
        (MAC, MAC_TABLE_SET, &table),
        (MQ, MQ_VQ_PAIRS_SET, &[1, 0]),
        // Class RX, promiscuous; class VLAN, add.
        (0, 0, &[1]),
        (2, 0, &[1, 0]),
    ];
    for (class, command, data) in commands {
        let answer = net.command(class, command, data);
        assert_eq!(answer, Some(ERR), "class {class} command {command}");
    }
}

fn short_header() {
    let _sim = Sim::net();
    let mut net = start();
    assert_eq!(net.raw_command(&[MAC]), Some(ERR));
    check(&mut net, OTHER);
}

fn no_header() {
    let _sim = Sim::net();
    let mut net = start();
    let answer = net.control_space.take(1, 1);
    let control = net.control.as_mut().unwrap();
    control.give(&[answer.writable()]);
    control.wait();
    assert_eq!(answer.read(0, 1), [ERR]);
    check(&mut net, OTHER);
}

fn no_room_for_the_answer() {
    let _sim = Sim::net();
    let mut net = start();
    let mut space = net.control_space.clone();
    let command = space.take(8, 1);
    command.write(0, &[MAC, MAC_ADDR_SET, 2, 1, 2, 3, 4, 5]);
    let control = net.control.as_mut().unwrap();
    control.give(&[command.readable()]);
    assert_eq!(control.wait().len, Some(0));
    check(&mut net, OWN);
}

fn room_for_more_than_the_answer() {
    let _sim = Sim::net();
    let mut net = start();
    let mut space = net.control_space.clone();
    let answer = space.take(64, 1);
    answer.fill(0x5a);
    let command = [MAC, MAC_ADDR_SET, 2, 1, 2, 3, 4, 5];
    let chain = chain(&mut space, &[&command], &answer);
    let control = net.control.as_mut().unwrap();
    control.give(&chain);
    assert_eq!(control.wait().len, Some(1));
    assert_eq!(answer.read(0, 64), [&[OK][..], &[0x5a; 63]].concat());
}

fn many_commands() {
    let _sim = Sim::net();
    let mut net = start();
    let mut last = OWN;
    for n in 0..300u16 {
        let [high, low] = n.to_be_bytes();
        last = [2, 0, 0, 7, high, low];
        let answer = net.command(MAC, MAC_ADDR_SET, &last);
        assert_eq!(answer, Some(OK), "command {n}");
    }
    assert_eq!(net.mac(), last);
}

fn statistics() {
    let mut sim = Sim::net();
    let mut net = start();
    net.command(MAC, MAC_ADDR_SET, &OTHER);
    net.command(77, 0, &[]);
    net.command(MAC, MAC_ADDR_SET, &OWN);
    let mut stat = |name| sim.stat(CONTROL, name);
    assert_eq!(stat("cvq requests"), 3);
    assert_eq!(stat("cvq successes"), 2);
    assert_eq!(stat("cvq errors"), 1);
}

fn without_the_feature() {
    let _sim = Sim::net();
    let mut setup = Setup::new("n0");
    setup.features &= !(feature::NET_CTRL_VQ | feature::NET_CTRL_MAC_ADDR);
    let mut net = Net::start(&setup);
    assert!(net.control.is_none());
    net.loop_back(&frame(OWN, 0, 100));
}

/// Commands are answered while the queues for packets are switched off.
fn without_queues_for_packets() {
    let _sim = Sim::net();
    let mut net = start();
    net.node.set_vring_enable(0, false).unwrap();
    net.node.set_vring_enable(1, false).unwrap();
    assert_eq!(net.command(MAC, MAC_ADDR_SET, &OTHER), Some(OK));
    assert_eq!(net.mac(), OTHER);
}

fn interrupts() {
    let _sim = Sim::net();
    let mut net = start();
    net.command(MAC, MAC_ADDR_SET, &OTHER);
    let call = &net.control.as_ref().unwrap().call;
    sys::wait_for("an interrupt", || call.wait(0));
}

fn without_interrupts() {
    let _sim = Sim::net();
    let mut net = start();
    let control = net.control.as_mut().unwrap();
    control.ring.interrupts(Interrupts::Never);
    for _ in 0..10 {
        net.command(MAC, MAC_ADDR_SET, &OTHER);
    }
    thread::sleep(Duration::from_millis(100));
    assert_eq!(net.control.as_ref().unwrap().call.count(), 0);
}
