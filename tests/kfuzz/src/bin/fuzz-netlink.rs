// SPDX-License-Identifier: GPL-2.0
//! Fuzzes the generic netlink family `vdpa`. Prints KTAP; `--help` tells the options.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use vdpa_kfuzz::coverage::Coverage;
use vdpa_kfuzz::netlink::churn::Churn;
use vdpa_kfuzz::netlink::socket::new_namespace;
use vdpa_kfuzz::netlink::worker::Surroundings;
use vdpa_kfuzz::netlink::{world, Netlink};
use vdpa_kfuzz::options::USAGE;
use vdpa_kfuzz::report::{report_coverage, Results};
use vdpa_kfuzz::{Options, Random, Session};
use vdpa_test::ktap::{mark, note};

const PROGRAM: &str = "fuzz-netlink";

/// A run in which less of the module was reached is one of a broken fuzzer, in percent.
const LEAST_COVERAGE: usize = 30;

fn coverage() -> Result<Coverage, String> {
    let found = Coverage::of_modules(&["vdpa"]);
    if let Err(reason) = &found {
        note(format!("blind, without coverage: {reason}"));
    }
    found
}

fn run(options: &Options) -> bool {
    let replays = !options.replay.is_empty();
    let mut results = Results::plan(4);
    mark(PROGRAM, "messages");
    let family = world::set_up();
    let around = Arc::new(Surroundings {
        family: family.id,
        group: family.group("monitor"),
        namespace: new_namespace(),
    });
    let target = Netlink::new(around);
    let coverage = coverage();
    let session = Session::new(options, &target, coverage.as_ref().ok());
    let random = Random::new(options.seed, u64::MAX);
    let mut churn = options.churn.then(|| Churn::new(random));
    let findings = session.run(|| match &mut churn {
        Some(churn) => churn.step(),
        None => std::thread::sleep(Duration::from_millis(100)),
    });
    drop(churn);
    note(session.summary());
    let answers = target.answers.lock().unwrap();
    note(answers.table());
    results.result("messages", &findings);

    let missing = answers.never_succeeded();
    let problem = format!("commands that never succeeded: {}", missing.join(", "));
    let problems: Vec<_> = (!missing.is_empty())
        .then_some(problem)
        .into_iter()
        .collect();
    match &coverage {
        _ if replays => {
            results.skip("commands", "a replay");
            results.skip("coverage", "a replay");
        }
        Ok(coverage) => {
            results.result("commands", &problems);
            let out = options.out.as_deref();
            let problems = report_coverage("vdpa.ko", coverage, out, LEAST_COVERAGE);
            results.result("coverage", &problems);
        }
        Err(reason) => {
            results.result("commands", &problems);
            results.skip("coverage", reason);
        }
    }

    mark(PROGRAM, "clean_up");
    results.result("clean_up", &world::tear_down());
    mark(PROGRAM, "end");
    results.all_ok()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--help") {
        println!("{PROGRAM} {USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = Options::parse(args).unwrap_or_else(|e| {
        eprintln!("{PROGRAM}: {e}\n{PROGRAM} {USAGE}");
        std::process::exit(2);
    });
    note(format!("{PROGRAM}: {options:?}"));
    if run(&options) {
        return ExitCode::SUCCESS;
    }
    note(format!("a failed run; its seed: {}", options.seed));
    ExitCode::FAILURE
}
