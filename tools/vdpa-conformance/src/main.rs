// SPDX-License-Identifier: GPL-2.0
//! Tests a vhost-vdpa device: `vdpa-conformance /dev/vhost-vdpa-N`.
//!
//! The output is KTAP, version 1. What comes before a failed test says what was
//! seen, and which rule of which specification that breaks. Nothing that the
//! device keeps is changed: of a disk, only reads are asked for; a network device
//! sends a few frames to itself. It is reset in the end.

mod check;
mod checks;
mod device;
mod options;
mod process;
mod traffic;

use std::process::ExitCode;
use std::time::Duration;

use vdpa_test::{ktap, sys};

use device::Device;
use options::{Action, Options};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("vdpa-conformance: {problem}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match options.action {
        Action::Help => println!("{}", options::USAGE),
        Action::List => checks::all().for_each(|c| println!("{}\t{}", c.name, c.rule)),
        Action::Test { node, only } => return test(&node, &only, options.patience),
    }
    ExitCode::SUCCESS
}

fn test(node: &str, only: &[String], patience: Duration) -> ExitCode {
    sys::limit_patience(patience);
    let device = match Device::look_at(node) {
        Ok(device) => device,
        Err(problem) => {
            eprintln!("vdpa-conformance: {problem}");
            return ExitCode::from(2);
        }
    };
    let wanted = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
    let chosen: Vec<_> = checks::all().filter(|c| wanted(c.name)).collect();
    ktap::install_hook();
    println!("KTAP version 1");
    ktap::note(device.to_string());
    let mut failed = check::run(&device, &chosen);
    if let Err(problem) = device.leave() {
        eprintln!("vdpa-conformance: {problem}");
        failed = true;
    }
    ExitCode::from(u8::from(failed))
}
