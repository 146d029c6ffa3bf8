// SPDX-License-Identifier: GPL-2.0
//! vdpa-conformance on devices of every kind that there is here: each of its checks
//! is a test, each device a case of it.

use std::process::ExitCode;
use std::sync::OnceLock;

use vdpa_test::conformance::{checks, read, Kind, Target, Verdict, Verdicts, TARGETS, TOOL};
use vdpa_test::ktap::{self, case};
use vdpa_test::sim::Sim;
use vdpa_test::sys;
use vdpa_test::vhost::Node;

/// What the tests' parent really does wrong: it takes the state of a queue and
/// forgets it.
const FORGETFUL: [&str; 1] = ["vring_base"];

/// What the tool says of all devices, which takes a while the first time.
fn all() -> &'static Vec<(&'static Target, Verdicts)> {
    static ALL: OnceLock<Vec<(&Target, Verdicts)>> = OnceLock::new();
    ALL.get_or_init(|| {
        // On the debug kernel, those that differ in more than one thing show the most.
        let is_for_us = |t: &&Target| !sys::is_debug_kernel() || t.parameters.len() != 1;
        let there = TARGETS.iter().filter(|t| t.is_there()).filter(is_for_us);
        let look = |t: &'static Target| (t, t.with(|node| read(&sys::run(&[TOOL, node]))));
        there.map(look).collect()
    })
}

/// One check, on all devices.
fn check(name: &str) {
    let mut reason = None;
    let mut ran = false;
    for (target, verdicts) in all() {
        let verdict = verdicts.get(name).expect("a result");
        if let Verdict::Skipped(why) = verdict {
            // Of a device of the class, if there is one.
            let other_class = why.starts_with("not a ");
            if reason.is_none() || !other_class {
                reason = Some(why.clone());
            }
            continue;
        }
        ran = true;
        let forgotten = target.kind == Kind::Other && FORGETFUL.contains(&name);
        case(target.name, || match verdict {
            Verdict::Failed(said) if forgotten => {
                assert!(said.contains("breaks "), "{said}");
            }
            Verdict::Failed(said) => panic!("{said}"),
            _ => assert!(!forgotten, "the device forgets, and nobody has seen it"),
        });
    }
    if let (false, Some(reason)) = (ran, reason) {
        if reason.contains("block device") && TARGETS.iter().any(|t| !t.is_there()) {
            ktap::skip("we have no vdpa_sim_blk yet");
        }
        ktap::skip(reason);
    }
}

/// Of a simulator, the tool skips only what is not there to test.
fn simulators_are_tested() {
    for (target, verdicts) in all() {
        let skipped = verdicts.values().filter_map(|v| match v {
            Verdict::Skipped(reason) => Some(reason),
            _ => None,
        });
        for reason in skipped {
            assert!(!reason.contains("back"), "{}: {reason}", target.name);
        }
        let passed = verdicts.values().filter(|v| matches!(v, Verdict::Passed));
        let (passed, all) = (passed.count(), verdicts.len());
        ktap::note(format!("{}: {passed} of {all} passed", target.name));
        assert!(passed > all / 3, "{}: {passed} of {all}", target.name);
    }
}

/// Whatever is tested, the device is there afterwards and not changed.
fn leaves_the_device_alone() {
    let sim = Sim::net();
    let path = Node::path(&sim.name);
    let look = || {
        let node = Node::try_open(&path).expect("open");
        let config = node.config(0, node.config_size().unwrap()).unwrap();
        (node.status(), node.features(), config)
    };
    let before = look();
    sys::run(&[TOOL, &path]);
    assert_eq!(look(), before);
    assert_eq!(before.0, Ok(0));
}

fn options() {
    let help = sys::run(&[TOOL, "--help"]);
    assert!(help.expect_ok().contains("--only NAME"));
    for (words, problem) in [
        (vec![], "which device?"),
        (vec!["--frob", "x"], "--frob: no such option"),
        (vec!["--only", "nothing", "x"], "nothing: no such test"),
        (
            vec!["/dev/null"],
            "/dev/null: ENOTTY: not a vhost-vdpa device?",
        ),
        (vec!["/dev/nowhere"], "/dev/nowhere: ENOENT"),
    ] {
        let words = [&[TOOL], &words[..]].concat();
        let out = sys::run(&words);
        assert_eq!(out.status, Some(2), "{out:?}");
        assert!(out.err.contains(problem), "{out:?}");
    }
    let sim = Sim::net();
    let path = Node::path(&sim.name);
    let out = sys::run(&[TOOL, "--only", "one_opener", &path]);
    let result = "1..1\nok 1 one_opener\n";
    assert!(out.expect_ok().ends_with(result), "{out:?}");
    let _open = Node::try_open(&path).expect("open");
    let out = sys::run(&[TOOL, &path]);
    assert_eq!(out.status, Some(2), "{out:?}");
    assert!(out.err.contains("another program has it open"), "{out:?}");
}

/// Each rule says where it stands.
fn rules_have_sources() {
    for (name, rule) in checks() {
        let (source, text) = rule.split_once(": ").expect("source: text");
        assert!(!text.is_empty(), "{name}");
        let known = [
            "virtio 1.3, ",
            "linux/vhost",
            "(2), ",
            "(2)",
            "Documentation/",
        ];
        assert!(known.iter().any(|k| source.contains(k)), "{name}: {source}");
    }
}

type Test = (&'static str, Box<dyn Fn()>);

fn main() -> ExitCode {
    let mut tests: Vec<Test> = vec![
        ("options", Box::new(options)),
        ("rules_have_sources", Box::new(rules_have_sources)),
        ("leaves_the_device_alone", Box::new(leaves_the_device_alone)),
        ("simulators_are_tested", Box::new(simulators_are_tested)),
    ];
    for (name, _) in checks() {
        // For as long as the program runs.
        let name: &'static str = name.leak();
        tests.push((name, Box::new(move || check(name))));
    }
    ktap::run(env!("CARGO_BIN_NAME"), &tests)
}
