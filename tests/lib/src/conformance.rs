// SPDX-License-Identifier: GPL-2.0
//! Devices for vdpa-conformance, and what it says of them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::ktap::ResultLine;
use crate::parent::Mgmt;
use crate::sim::{self, Sim};
use crate::sys::{self, Output};
use crate::vdpa::Vdpa;
use crate::vhost::Node;

pub const TOOL: &str = "/usr/lib/rvdpa/vdpa-conformance";

/// A device for the tool.
pub struct Target {
    pub name: &'static str,
    pub kind: Kind,
    /// Parameters of vdpa_sim, or what the test's parent is told.
    pub parameters: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Net,
    Disk,
    /// Of the tests' own parent, which does nothing.
    Other,
}

const PHYSICAL: (&str, &str) = ("use_va", "N");
const IN_PIECES: (&str, &str) = ("batch_mapping", "0");

pub const TARGETS: [Target; 10] = [
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
        parameters: &[
            ("id", "26"),
            (
                "without",
                "suspend,resume,reset_map,get_vq_group,get_vq_size",
            ),
        ],
    },
    Target {
        name: "device with a range of addresses",
        kind: Kind::Other,
        parameters: &[
            ("id", "26"),
            ("iova_first", "0x10000"),
            ("iova_last", "0xffffffffff"),
        ],
    },
];

impl Target {
    /// Makes the device, for as long as somebody looks at its node.
    pub fn with<T>(&self, body: impl FnOnce(&str) -> T) -> T {
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

    /// Whether we have the modules for it.
    pub fn is_there(&self) -> bool {
        self.kind != Kind::Disk
            || !Path::new("/usr/lib/rvdpa/missing-modules/vdpa_sim_blk").exists()
    }
}

/// What the tool says of one check.
#[derive(Clone, Debug)]
pub enum Verdict {
    Passed,
    /// With what it printed about it.
    Failed(String),
    Skipped(String),
}

pub type Verdicts = BTreeMap<String, Verdict>;

/// Reads what the tool printed.
pub fn read(output: &Output) -> Verdicts {
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
pub fn checks() -> Vec<(String, String)> {
    let list = sys::run(&[TOOL, "--list"]);
    let lines = list.expect_ok().lines();
    let split = |l: &str| {
        let (name, rule) = l.split_once('\t').expect("name, tab, rule");
        (name.to_string(), rule.to_string())
    };
    lines.map(split).collect()
}
