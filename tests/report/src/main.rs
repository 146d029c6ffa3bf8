// SPDX-License-Identifier: GPL-2.0
//! `vdpa-test-report FOLDER PROGRAM...`: what a run in a VM amounts to.
//!
//! FOLDER holds `output` (what the VM printed), `console.log`, `vm-status` and,
//! from the debug kernel, `kmemleak`.
//! Prints what failed, writes `counts` (passed, failed, skipped, expected
//! failures) and ends with status 1 when anything failed.

mod leaks;
mod log;
mod results;
mod shutdown;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use vdpa_test::differences;

/// Reports about the kernel itself.
const KNOWN_REPORTS: &str = include_str!("../../known-reports");

fn read(path: impl AsRef<Path>) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\r', "")
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, programs @ ..] = args.as_slice() else {
        eprintln!("vdpa-test-report FOLDER PROGRAM...");
        return ExitCode::from(2);
    };
    let folder = Path::new(folder);
    let only_one_test = fs::exists(folder.join("only")).unwrap_or(false);
    let console = read(folder.join("console.log"));
    let differences = differences::in_force();
    let mut output = read(folder.join("output"));
    if programs.iter().any(|p| p == shutdown::PROGRAM) {
        let results = shutdown::results(&console, &differences);
        print!("{results}");
        output += &results;
    }
    let mut r = results::Results::read(&output, programs);

    if !only_one_test {
        let of_these = |d: &differences::Difference| {
            d.test
                .split_once('.')
                .is_some_and(|(p, _)| programs.iter().any(|q| q == p))
        };
        let listed: Vec<_> = differences
            .iter()
            .filter(|d| of_these(d))
            .cloned()
            .collect();
        r.check_differences(&listed);
    }

    let mut reports = log::scan(&console);
    reports.append(&mut leaks::read(&read(folder.join("kmemleak")), &console));
    for report in reports {
        if report.announced {
            continue;
        }
        if let Some(reason) = report.known(KNOWN_REPORTS) {
            println!("    known report during {}: {reason}", report.test);
            continue;
        }
        if report.allowed(&differences) {
            println!(
                "    expected on this stack: kernel report during {}",
                report.test
            );
            continue;
        }
        println!("Kernel report during {}:", report.test);
        report.lines.iter().for_each(|l| println!("    | {l}"));
        r.counts.failed += 1;
        r.failures
            .push(format!("kernel report during {}", report.test));
    }
    match read(folder.join("vm-status")).trim() {
        "0" | "1" => {}
        status => {
            r.counts.failed += 1;
            r.failures.push(match status {
                "124" => "the VM was stopped: time limit".into(),
                "125" => "the VM died".into(),
                other => format!("the VM ended with status {other}"),
            });
        }
    }
    for f in &r.failures {
        println!("FAILED: {f}");
    }
    let c = &r.counts;
    let text = format!("{} {} {} {}\n", c.passed, c.failed, c.skipped, c.expected);
    fs::write(folder.join("counts"), text).expect("counts");
    if c.failed > 0 || c.passed == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
