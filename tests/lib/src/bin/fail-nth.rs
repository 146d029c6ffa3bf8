// SPDX-License-Identifier: GPL-2.0
//! Runs a command again and again, and lets one allocation of its fail in the
//! kernel each time: the first, the second, and so on.
//!
//! fail-nth [--under MODULE] [--from N] [--stacks] [--after COMMAND] -- COMMAND ARG...
//!
//!   --under   only allocations with a function of that module on the stack
//!   --from    begins with the Nth allocation
//!   --stacks  the kernel logs where each failure was
//!   --after   a shell command that undoes what the command did
//!
//! Prints what came of each, and ends with status 1 if a run was killed.

use std::process::{Command, ExitCode};

use vdpa_test::faults::{self, Faults};

fn usage() -> ExitCode {
    eprintln!(
        "fail-nth [--under MODULE] [--from N] [--stacks] [--after COMMAND] -- COMMAND ARG..."
    );
    ExitCode::from(2)
}

fn main() -> ExitCode {
    if !faults::available() {
        eprintln!("fail-nth: this kernel has no fault injection (CONFIG_FAILSLAB, CONFIG_FAULT_INJECTION_DEBUG_FS)");
        return ExitCode::from(2);
    }
    let (mut from, mut after) = (1, None);
    let mut faults = Faults::new();
    let mut args = std::env::args().skip(1);
    loop {
        match (args.next().as_deref(), &mut args) {
            (Some("--under"), args) => match args.next() {
                Some(module) => faults = faults.under(&module),
                None => return usage(),
            },
            (Some("--from"), args) => match args.next().and_then(|n| n.parse().ok()) {
                Some(n) => from = n,
                None => return usage(),
            },
            (Some("--stacks"), _) => faults = faults.verbose(),
            (Some("--after"), args) => after = args.next(),
            (Some("--"), _) => break,
            _ => return usage(),
        }
    }
    let command: Vec<String> = args.collect();
    if command.is_empty() {
        return usage();
    }
    let mut killed = 0;
    for nth in from.. {
        let attempt = faults.nth_command(nth, &command);
        let (status, text) = (attempt.result.status, attempt.result.err.trim());
        let status = status.map_or("killed".into(), |s| format!("status {s}"));
        killed += usize::from(attempt.result.status.is_none());
        println!("{nth}: {status} {}", text.replace('\n', " | "));
        if let Some(after) = &after {
            let _ = Command::new("sh").args(["-c", after]).status();
        }
        if !attempt.failed {
            println!(
                "{} allocations failed, {killed} runs were killed",
                nth - from
            );
            break;
        }
    }
    ExitCode::from(u8::from(killed > 0))
}
