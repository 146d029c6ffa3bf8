// SPDX-License-Identifier: GPL-2.0
//! vdpa-conformance on devices of every kind that there is here: each of its checks
//! is a test, each device a case of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;

use vdpa_test::ktap::{self, case, ResultLine};
use vdpa_test::parent::Mgmt;
use vdpa_test::sim::{self, Sim};
use vdpa_test::sys::{self, Output};
use vdpa_test::vdpa::Vdpa;
use vdpa_test::vhost::Node;

const TOOL: &str = "/usr/lib/rvdpa/vdpa-conformance";

/// A device for the tool.
struct Target {
    name: &'static str,
    kind: Kind,
    /// Parameters of vdpa_sim, or what the test's parent is told.
    parameters: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Net,
    Disk,
    /// Of the tests' own parent, which does nothing.
    Other,
}

const PHYSICAL: (&str, &str) = ("use_va", "N");
const IN_PIECES: (&str, &str) = ("batch_mapping", "0");

const TARGETS: [Target; 9] = [
    Target {
        name: "network device",
        kind: Kind::Net,
        parameters: &[],
    },
    Target {
        name: "network device, physical addresses",
        kind: Kind::Net,
        parameters: &[PHYSICAL],
    },
    Target {
        name: "network device, told of pieces",
        kind: Kind::Net,
        parameters: &[IN_PIECES],
    },
    Target {
        name: "network device, told of pieces, physical addresses",
        kind: Kind::Net,
        parameters: &[IN_PIECES, PHYSICAL],
    },
    Target {
        name: "disk",
        kind: Kind::Disk,
        parameters: &[],
    },
    Target {
        name: "disk, physical addresses",
        kind: Kind::Disk,
        parameters: &[PHYSICAL],
    },
    Target {
        name: "disk, told of pieces",
        kind: Kind::Disk,
        parameters: &[IN_PIECES],
    },
    Target {
        name: "device of another class",
        kind: Kind::Other,
        parameters: &[("id", "26")],
    },
    Target {
        name: "device that has few operations",
        kind: Kind::Other,
        parameters: &[("id", "26"), ("without", "suspend,resume,reset_map,get_vq_group,get_vq_size")],
    },
];

/// What the tests' parent really does wrong: it takes the state of a queue and
/// forgets it.
const FORGETFUL: [&str; 1] = ["vring_base"];

impl Target {
    /// Makes the device and has the tool look at it.
    fn with<T>(&self, body: impl FnOnce(&str) -> T) -> T {
        match self.kind {
            Kind::Net => {
                let sim = Sim::net_with(self.parameters);
                body(&Node::path(&sim.name))
            }
            Kind::Disk => {
                sim::load(self.parameters);
                sys::modprobe("vdpa_sim_blk");
                sim::for_vhost();
                let mut v = Vdpa::new();
                let _device = v.add("vdpasim_blk", "b0");
                body(&Node::path("b0"))
            }
            Kind::Other => {
                let words = self.parameters.iter().map(|(k, v)| format!(" dev.{k}={v}"));
                let _m = Mgmt::new("m0", &words.collect::<String>());
                sim::for_vhost();
                let mut v = Vdpa::new();
                let _device = v.add("m0", "o0");
                body(&Node::path("o0"))
            }
        }
    }

    fn is_there(&self) -> bool {
        self.kind != Kind::Disk || !Path::new("/usr/lib/rvdpa/missing-modules/vdpa_sim_blk").exists()
    }
}

/// What the tool says of one check.
#[derive(Clone, Debug)]
enum Verdict {
    Passed,
    /// With what it printed about it.
    Failed(String),
    Skipped(String),
}

type Verdicts = BTreeMap<String, Verdict>;

/// Reads what the tool printed.
fn read(output: &Output) -> Verdicts {
    let mut verdicts = Verdicts::new();
    let mut before = String::new();
    for line in output.out.lines() {
        let Some(result) = ResultLine::parse(line) else {
            let text = line.trim_start_matches("# ");
            if !line.starts_with("    ok") {
                before += &format!("{text}\n");
            }
            continue;
        };
        let verdict = match (result.ok, result.directive.strip_prefix("SKIP ")) {
            (_, Some(reason)) => Verdict::Skipped(reason.to_string()),
            (true, None) => Verdict::Passed,
            (false, None) => Verdict::Failed(std::mem::take(&mut before)),
        };
        before.clear();
        verdicts.insert(result.name.to_string(), verdict);
    }
    let failed = verdicts.values().any(|v| matches!(v, Verdict::Failed(_)));
    assert_eq!(output.status, Some(i32::from(failed)), "{}", output.err);
    verdicts
}

/// Names and rules of all checks.
fn checks() -> Vec<(String, String)> {
    let list = sys::run(&[TOOL, "--list"]);
    let lines = list.expect_ok().lines();
    let split = |l: &str| {
        let (name, rule) = l.split_once('\t').expect("name, tab, rule");
        (name.to_string(), rule.to_string())
    };
    lines.map(split).collect()
}

/// What the tool says of all devices, which takes a while the first time.
fn all() -> &'static Vec<(&'static Target, Verdicts)> {
    static ALL: OnceLock<Vec<(&Target, Verdicts)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let there = TARGETS.iter().filter(|t| t.is_there());
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
            reason = Some(why.clone());
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
        (vec!["/dev/null"], "/dev/null: ENOTTY: not a vhost-vdpa device?"),
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
        let known = ["virtio 1.3, ", "linux/vhost", "(2), ", "(2)", "Documentation/"];
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
