// SPDX-License-Identifier: GPL-2.0
//! Fuzzes the nodes of vhost-vdpa: ioctls, messages, mappings, eventfds. Prints KTAP;
//! `--help` tells the options.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use vdpa_kfuzz::corpus::Corpus;
use vdpa_kfuzz::coverage::Coverage;
use vdpa_kfuzz::options::{Limit, USAGE};
use vdpa_kfuzz::report::{report_coverage, Results};
use vdpa_kfuzz::vhost::churn::Churn;
use vdpa_kfuzz::vhost::tally::Tally;
use vdpa_kfuzz::vhost::world::World;
use vdpa_kfuzz::vhost::{Kind, Steps, Vhost};
use vdpa_kfuzz::{journal, Options, Random, Session};
use vdpa_test::differences::{self, Kind as Difference};
use vdpa_test::ktap::{install_hook, mark, note};
use vdpa_test::sys;

const PROGRAM: &str = "fuzz-vhost";

/// What a short run does, the same each time; on the debug kernel, which is slow.
const CALLS: u64 = 40_000;
const CALLS_DEBUG: u64 = 12_000;

/// A run in which less of the module was reached is one of a broken fuzzer, in percent.
const LEAST_COVERAGE: usize = 30;

/// The results, in their order.
const RESULTS: [&str; 4] = ["calls", "successes", "coverage", "clean_up"];

/// The kinds of devices to try: of what is replayed, or all.
fn kinds(options: &Options) -> Result<Vec<Kind>, String> {
    let mut kinds = Vec::new();
    for file in &options.replay {
        let what = |e: String| format!("{}: {e}", file.display());
        let text = std::fs::read_to_string(file).map_err(|e| what(e.to_string()))?;
        let inputs: Vec<Steps> = journal::read(&text).map_err(what)?;
        kinds.extend(inputs.first().map(|i| i.kind));
    }
    if kinds.windows(2).any(|k| k[0] != k[1]) {
        return Err("the files to replay are about several kinds of devices".into());
    }
    kinds.truncate(1);
    Ok(if kinds.is_empty() {
        Kind::ALL.to_vec()
    } else {
        kinds
    })
}

/// The part of a run that is one kind's.
fn part_of(options: &Options, number: usize, kinds: usize) -> Options {
    let count = kinds as u64;
    Options {
        limit: match options.limit {
            Limit::Messages(n) => Limit::Messages(n / count),
            Limit::Time(time) => Limit::Time(time / kinds as u32),
        },
        stream: (number as u64) << 32,
        ..options.clone()
    }
}

/// What all parts of a run share.
#[derive(Default)]
struct Sum {
    findings: Vec<String>,
    clean_up: Vec<String>,
    tally: Tally,
    corpus: Corpus<Steps>,
    coverage: Option<Result<Coverage, String>>,
}

impl Sum {
    /// Tries one kind of devices.
    fn try_kind(&mut self, kind: Kind, options: &Options) {
        note(format!("devices: {}", kind.name()));
        mark(PROGRAM, "calls");
        let world = Arc::new(World::set_up(kind));
        let coverage = self.coverage.get_or_insert_with(|| {
            let found = Coverage::of_modules(&["vhost_vdpa"]);
            if let Err(reason) = &found {
                note(format!("blind, without coverage: {reason}"));
            }
            found
        });
        let target = Vhost::new(kind, world.clone());
        let session = Session::new(options, &target, coverage.as_ref().ok())
            .with_corpus(std::mem::take(&mut self.corpus));
        let random = Random::new(options.seed, !options.stream);
        let mut churn = options.churn.then(|| Churn::new(random, world.clone()));
        let findings = session.run(|| match &mut churn {
            Some(churn) => churn.step(),
            None => std::thread::sleep(Duration::from_millis(100)),
        });
        drop(churn);
        note(session.summary());
        self.corpus = session.into_corpus();
        let tally = std::mem::take(&mut *target.tally.lock().unwrap());
        note(tally.summary());
        self.tally.add(&tally);
        drop(target);
        let about = |what: String| format!("{}: {what}", kind.name());
        self.findings.extend(findings.into_iter().map(about));

        mark(PROGRAM, "clean_up");
        self.clean_up.extend(world.check().into_iter().map(about));
        match Arc::try_unwrap(world) {
            Ok(world) => self
                .clean_up
                .extend(world.tear_down().into_iter().map(about)),
            Err(_) => self.clean_up.push("a thread has the devices".into()),
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    let kinds = kinds(options)?;
    let mut results = Results::plan(RESULTS.len());
    let skipped = differences::in_force()
        .into_iter()
        .find(|d| d.test == format!("{PROGRAM}.calls") && d.kind == Difference::Skip);
    if let Some(skipped) = skipped {
        let reason = format!("with C's {}: {}", skipped.module, skipped.reason);
        RESULTS.iter().for_each(|name| results.skip(name, &reason));
        return Ok(results.all_ok());
    }

    sys::unload_all();
    let mut sum = Sum::default();
    for (n, kind) in kinds.iter().enumerate() {
        sum.try_kind(*kind, &part_of(options, n, kinds.len()));
        if !sum.findings.is_empty() || !sum.clean_up.is_empty() {
            break;
        }
    }
    note("all together:");
    note(sum.tally.summary());
    note(sum.tally.table());
    results.result("calls", &sum.findings);

    let stopped = !sum.findings.is_empty() || !sum.clean_up.is_empty();
    let partial = stopped || !options.replay.is_empty();
    let missing = sum.tally.never_succeeded();
    let problem = format!("calls that never succeeded: {}", missing.join(", "));
    let problems: Vec<_> = (!missing.is_empty())
        .then_some(problem)
        .into_iter()
        .collect();
    if partial {
        results.skip("successes", "not a whole run");
    } else {
        results.result("successes", &problems);
    }
    match &sum.coverage {
        Some(Ok(coverage)) if partial => {
            report_coverage("vhost_vdpa.ko", coverage, options.out.as_deref(), 0);
            results.skip("coverage", "not a whole run");
        }
        Some(Ok(coverage)) => {
            let out = options.out.as_deref();
            let problems = report_coverage("vhost_vdpa.ko", coverage, out, LEAST_COVERAGE);
            results.result("coverage", &problems);
        }
        Some(Err(reason)) => results.skip("coverage", reason),
        None => results.skip("coverage", "nothing ran"),
    }
    mark(PROGRAM, "clean_up");
    sys::unload_after_program();
    results.result("clean_up", &sum.clean_up);
    mark(PROGRAM, "end");
    Ok(results.all_ok())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--help") {
        println!("{PROGRAM} {USAGE}");
        return ExitCode::SUCCESS;
    }
    let calls = if sys::is_debug_kernel() {
        CALLS_DEBUG
    } else {
        CALLS
    };
    let defaults = Options {
        limit: Limit::Messages(calls),
        ..Options::default()
    };
    let usage = |e: String| -> ! {
        eprintln!("{PROGRAM}: {e}\n{PROGRAM} {USAGE}");
        std::process::exit(2)
    };
    let options = defaults.with(args).unwrap_or_else(|e| usage(e));
    install_hook();
    note(format!("{PROGRAM}: {options:?}"));
    if run(&options).unwrap_or_else(|e| usage(e)) {
        return ExitCode::SUCCESS;
    }
    note(format!("a failed run; its seed: {}", options.seed));
    ExitCode::FAILURE
}
