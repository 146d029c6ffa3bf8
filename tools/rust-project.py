#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes rust-project.json for rust-analyzer: rust-project.py SRC OBJ OUT

The kernel's generator only finds crate roots that are named in a Makefile of
their own folder, and gives each the kernel's crates only. This adds ours, as
Kbuild lists them, to what it made in the output folder OBJ.
"""

import json
import pathlib
import re
import sys


def main() -> None:
    src, obj, out = (pathlib.Path(arg) for arg in sys.argv[1:])
    project = json.loads((obj / "rust-project.json").read_text())
    crates = project["crates"]
    index = {crate["display_name"]: i for i, crate in enumerate(crates)}
    kernel = crates[index["kernel"]]
    common = ["core", "kernel", "pin_init", "zerocopy", "zerocopy_derive"]

    kbuild = (src / "Kbuild").read_text().replace("\\\n", " ")
    for crate, uses in re.findall(r"\$\(call rust-crate,([^,)]+),?([^)]*)\)", kbuild):
        root = src / f"{crate.strip()}.rs"
        deps = common + [use.rsplit("/", 1)[-1] for use in uses.split()]
        index[root.stem] = len(crates)
        crates.append(
            {
                "display_name": root.stem,
                "root_module": str(root),
                "is_workspace_member": True,
                "deps": [{"crate": index[d], "name": d} for d in deps if d in index],
                "cfg": [*kernel["cfg"], "MODULE"],
                "edition": "2021",
                "env": {
                    "RUST_MODFILE": "rust-analyzer",
                    "RVDPA_OBJ": str(obj),
                    "OBJTREE": kernel["env"]["OBJTREE"],
                },
            }
        )
    out.write_text(json.dumps(project, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
