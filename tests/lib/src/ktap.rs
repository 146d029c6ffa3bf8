// SPDX-License-Identifier: GPL-2.0
//! Runs the tests of a program and prints KTAP, version 1; reads its lines of results.

use std::any::Any;
use std::fs;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::OnceLock;

use crate::differences::{self, Difference, Kind};
use crate::{sim, sys};

pub type Test = (&'static str, fn());

/// The payload of the panic that skips a test.
struct Skip(String);

#[derive(Default)]
struct Cases {
    count: AtomicUsize,
    failed: AtomicUsize,
}

/// The counters of the test that runs, shared with the processes that it forks.
fn cases() -> &'static Cases {
    static CASES: OnceLock<&'static Cases> = OnceLock::new();
    CASES.get_or_init(|| {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        // SAFETY: A new mapping of a page, which is large enough, aligned and all zero.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED, "mmap: {:?}", crate::Errno::last());
        // SAFETY: The page is never unmapped, and all zero is a valid value of counters.
        unsafe { &*page.cast::<Cases>() }
    })
}

/// The tests of a program: `ktap_main!(first_test, second_test);`
#[macro_export]
macro_rules! ktap_main {
    ($($test:ident),* $(,)?) => {
        fn main() -> std::process::ExitCode {
            $crate::ktap::run(env!("CARGO_BIN_NAME"), &[$((stringify!($test), $test as fn())),*])
        }
    };
}

/// Ends the test: it cannot run here.
pub fn skip(reason: impl Into<String>) -> ! {
    panic::panic_any(Skip(reason.into()))
}

/// A line of information in the output.
pub fn note(text: impl AsRef<str>) {
    for line in text.as_ref().lines() {
        println!("# {line}");
    }
}

/// One case of a table-driven test: a subtest with a result of its own. The
/// cases after a failed one still run; the test fails when any did.
pub fn case(name: impl AsRef<str>, body: impl FnOnce()) {
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    if let Err(payload) = &result {
        if payload.is::<Skip>() {
            panic::resume_unwind(result.unwrap_err());
        }
    }
    case_result(name, result.is_ok());
}

/// The same for a result that was found elsewhere.
pub fn case_result(name: impl AsRef<str>, ok: bool) {
    let before = cases().count.fetch_add(1, SeqCst);
    cases().failed.fetch_add(usize::from(!ok), SeqCst);
    if before == 0 {
        println!("    KTAP version 1");
    }
    println!(
        "    {} {} {}",
        word(ok),
        before + 1,
        name.as_ref().replace('#', "\\#")
    );
}

/// A line of KTAP that tells the result of a test or of a case.
#[derive(Debug)]
pub struct ResultLine<'a> {
    pub ok: bool,
    pub name: &'a str,
    /// What follows the name: `SKIP ...`, `XFAIL ...` or nothing.
    pub directive: &'a str,
}

impl<'a> ResultLine<'a> {
    /// Any other line, also one that is indented, is `None`.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (ok, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ")?),
        };
        let (_number, rest) = rest.split_once(' ')?;
        let (name, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
        Some(ResultLine {
            ok,
            name: name.trim(),
            directive,
        })
    }
}

/// How a line with a result begins.
pub fn word(ok: bool) -> &'static str {
    if ok {
        "ok"
    } else {
        "not ok"
    }
}

/// What came of a test.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped(String),
}

/// Runs a test, which may have cases, whatever it leaves behind.
pub fn attempt(test: impl FnOnce()) -> Outcome {
    cases().count.store(0, SeqCst);
    cases().failed.store(0, SeqCst);
    let result = panic::catch_unwind(AssertUnwindSafe(test));
    let (count, failed) = (cases().count.load(SeqCst), cases().failed.load(SeqCst));
    if count > 0 {
        println!("    1..{count}");
    }
    match result {
        Ok(()) if failed == 0 => Outcome::Passed,
        Ok(()) => {
            println!("# {failed} of {count} cases failed");
            Outcome::Failed
        }
        Err(payload) => match payload.downcast::<Skip>() {
            Ok(skip) => Outcome::Skipped(skip.0),
            Err(_) => Outcome::Failed,
        },
    }
}

fn describe(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or(payload.downcast_ref::<&str>().map(|s| s.to_string()))
        .unwrap_or("panic".into())
}

fn run_one(test: impl FnOnce()) -> Outcome {
    attempt(|| {
        sys::clean_state();
        test();
        sys::assert_clean();
    })
}

/// Has failures go to the output as comments, with the values compared.
pub fn install_hook() {
    panic::set_hook(Box::new(|info| {
        if info.payload().is::<Skip>() {
            return;
        }
        let at = info
            .location()
            .map(|l| format!("{}:{}: ", l.file(), l.line()));
        note(at.unwrap_or_default() + &describe(info.payload()));
    }));
}

/// Comes before the name of the test in the kernel log.
pub const MARK: &str = "rvdpa-test: ";

/// Names the test in the kernel log, so that a report there can be attributed.
pub fn mark(program: &str, test: &str) {
    let _ = fs::write("/dev/kmsg", format!("<6>{MARK}{program}: {test}\n"));
}

fn verdict(
    program: &str,
    name: &str,
    test: impl FnOnce(),
    differences: &[Difference],
) -> (bool, String) {
    let full = format!("{program}.{name}");
    let difference = differences
        .iter()
        .find(|d| d.test == full && !matches!(d.kind, Kind::Report(_)));
    if let Some(Difference {
        kind: Kind::Skip,
        reason,
        module,
        ..
    }) = difference
    {
        return (true, format!(" # SKIP with C's {module}: {reason}"));
    }
    mark(program, name);
    sys::expect_failure(difference.is_some());
    let outcome = run_one(test);
    sys::expect_failure(false);
    match (outcome, difference) {
        (Outcome::Passed, None) => (true, String::new()),
        (Outcome::Failed, None) => (false, String::new()),
        (Outcome::Skipped(reason), _) => (true, format!(" # SKIP {reason}")),
        (Outcome::Failed, Some(d)) => (true, format!(" # XFAIL {}", d.reason)),
        (Outcome::Passed, Some(_)) => {
            note(format!(
                "passed, although tests/differences says that it fails with C's {}",
                difference.map_or("", |d| &d.module)
            ));
            (false, String::new())
        }
    }
}

/// Runs the tests named on the command line, or all.
pub fn run<T: Fn()>(program: &str, tests: &[(&str, T)]) -> ExitCode {
    install_hook();
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let tests: Vec<_> = tests
        .iter()
        .filter(|t| wanted.is_empty() || wanted.iter().any(|w| w == t.0))
        .collect();
    let differences = differences::in_force();
    let mut failed = tests.is_empty();
    println!("KTAP version 1\n1..{}", tests.len());
    for (i, (name, test)) in tests.iter().enumerate() {
        let (ok, suffix) = verdict(program, name, test, &differences);
        failed |= !ok;
        println!("{} {} {name}{suffix}", word(ok), i + 1);
        let _ = std::io::stdout().flush();
    }
    mark(program, "end");
    sim::forget_parameters();
    sys::unload_after_program();
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
