#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Counts instructions by function, for tools/profile: profile-count.py DIR UNIT UNITS CALLS

UNITS packets, pages or nodes (see CALLS) take CALLS calls, which are looked at.

DIR has `kallsyms` of the VM in `out`, and pipes: `monitor.in` and `monitor.out` to and
from QEMU's monitor, and `log`, into which QEMU is told to write each instruction.
"""

import argparse
import bisect
import collections
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator
from typing import BinaryIO

# What is called: where virtio_net is given a packet, messages are written, and the only
# device that anybody opens is opened.
CALLS = {"packet": "start_xmit [virtio_net]", "page": "vfs_write", "node": "chrdev_open"}

# To which part of the path a function belongs. What fits none, such as memcpy, counts for
# the part that called it.
PARTS = {
    "packet generator": r"\[pktgen\]",
    "network stack": r"^_*(alloc_skb|build_skb|consume_skb|dev_|eth_|gro_|ip_|kfree_skb|napi_|"
    r"net_|netdev_|netif_|process_backlog|sk_|skb_|udp_)",
    "virtio_vdpa": r"\[virtio_vdpa\]",
    "virtio_net": r"\[virtio_net\]",
    "rings of virtio_net": r"^(virtqueue_|vring_|detach_buf_)",
    "simulator": r"\[(vdpa|vdpa_sim|vdpa_sim_net|vringh|vhost_iotlb)\]",
    "scheduler, timers, interrupts": r"^(schedule|__schedule|asm_sysvec_|asm_common_interrupt|kthread|"
    r"worker_thread|ret_from_fork|do_idle)",
    "RCU callbacks": r"^rcu_core$",
    "mapping": r"^(<vhost::memory::Memory>::update|vhost_vdpa_[pv]a_map)",
    "unmapping": r"^(<vhost::memory::Memory>::invalidate|vhost_vdpa_unmap)",
    "opening": r"^chrdev_open$",
    "ioctls": r"^__x64_sys_ioctl$",
    "closing": r"^__fput$",
    "messages": r"^(ksys_write|vfs_write|vhost_chr_write_iter)",
}
NO_PART = "else"

# How far from its first byte a function may be entered: after an ENDBR.
ENTRY = 4


class Function:
    """A function of the kernel, and the part that it belongs to if that is certain."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.part = next((p for p, pattern in PARTS.items() if re.search(pattern, name)), None)


class Symbols:
    """Finds the function of an address, and whether it is entered there."""

    def __init__(self, kallsyms: pathlib.Path) -> None:
        found = {}
        for line in kallsyms.read_text().splitlines():
            address, kind, name, *module = line.split()
            if kind in "tTwW" and not name.startswith("__pfx_"):
                found[int(address, 16)] = " ".join([name, *module])
        self.starts = sorted(found)
        self.functions = [Function(readable) for readable in demangle([found[a] for a in self.starts])]
        self.user = Function("(user space)")
        self.known: dict[int, tuple[Function, bool]] = {}

    def at(self, address: int) -> tuple[Function, bool]:
        if address not in self.known:
            i = bisect.bisect_right(self.starts, address) - 1
            if i < 0:
                self.known[address] = self.user, False
            else:
                self.known[address] = self.functions[i], address - self.starts[i] <= ENTRY
        return self.known[address]


def demangle(names: list[str]) -> list[str]:
    """Rust's names as they are in the source, without the hashes of crates."""
    done = subprocess.run(["c++filt", "--format=rust"], input="\n".join(names), capture_output=True, text=True, check=True)
    return [re.sub(r"\[[0-9a-f]+\]", "", name) for name in done.stdout.splitlines()]


class Monitor:
    """QEMU's monitor, for people: it prints a prompt when it has done a command."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.to = open(folder / "monitor.in", "wb", buffering=0)
        self.source = open(folder / "monitor.out", "rb", buffering=0)
        self.await_prompt()

    def await_prompt(self) -> None:
        text = b""
        while not text.endswith(b"(qemu) "):
            more = self.source.read(4096)
            if not more:
                raise SystemExit("QEMU is gone")
            text += more

    def do(self, command: str) -> None:
        self.to.write(command.encode() + b"\n")
        self.await_prompt()


class Counts:
    """Follows calls and returns: what is entered at its beginning was called, and what is
    gone on with in its middle was returned to. That is wrong where stacks are exchanged,
    until the next function of a certain part."""

    def __init__(self, unit: str, units: int) -> None:
        self.instructions: collections.Counter[tuple[str, Function]] = collections.Counter()
        self.entries: collections.Counter[tuple[Function | None, Function]] = collections.Counter()
        self.unit = unit
        self.units = units
        self.calls = 0

    def follow(self, trace: Iterator[int], symbols: Symbols, calls: int) -> None:
        stack: list[tuple[Function, str]] = []
        current = None
        running = False
        for address in trace:
            function, entered = symbols.at(address)
            if function is not current:
                if entered:
                    if function.name == CALLS[self.unit]:
                        if self.calls == calls:
                            return
                        running = True
                        self.calls += 1
                    if running:
                        self.entries[current, function] += 1
                    stack.append((function, function.part or (stack[-1][1] if stack else NO_PART)))
                else:
                    while stack and stack[-1][0] is not function:
                        stack.pop()
                    if not stack:
                        stack.append((function, function.part or NO_PART))
                current, part = function, stack[-1][1]
            if running:
                self.instructions[part, function] += 1


def addresses(log: BinaryIO) -> Iterator[int]:
    """Of lines "Trace 0: 0x7fe6ece87cc0 [00000000/ffffffffc0486b29/18c0c2b0/ff022201]"."""
    for line in log:
        if line.startswith(b"Trace"):
            yield int(line.split(b"/", 2)[1], 16)


def record(folder: pathlib.Path, symbols: Symbols, counts: Counts, calls: int) -> None:
    monitor = Monitor(folder)
    # QEMU waits for a reader when it opens the pipe.
    log = open(os.open(folder / "log", os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=1 << 20)
    for command in ("stop", f"logfile {folder / 'log'}", "one-insn-per-tb on", "log exec,nochain"):
        monitor.do(command)
    os.set_blocking(log.fileno(), True)
    monitor.do("cont")
    counts.follow(addresses(log), symbols, calls)
    # From here on QEMU writes into the void.
    log.close()
    for command in ("log none", "one-insn-per-tb off"):
        monitor.do(command)
    if counts.calls < calls:
        raise SystemExit("the log ended early")


def report(counts: Counts, top: int, callers: str | None) -> None:
    def share(number: int) -> str:
        return f"{number / counts.units:10,.1f}"

    total = counts.instructions.total()
    print(f"{share(total)} instructions a {counts.unit}, {counts.units} {counts.unit}s\n")
    parts: collections.Counter[str] = collections.Counter()
    functions: collections.Counter[Function] = collections.Counter()
    entries: collections.Counter[Function] = collections.Counter()
    for (part, function), number in counts.instructions.items():
        parts[part] += number
        functions[function] += number
    for (_, function), number in counts.entries.items():
        entries[function] += number
    for part, number in parts.most_common():
        print(f"{share(number)} {100 * number / total:5.1f} %  {part}")
        inside = collections.Counter({f: n for (p, f), n in counts.instructions.items() if p == part})
        for function, own in inside.most_common(top):
            if own / counts.units >= 1:
                print(f"{'':12}{share(own)}  {function.name}")
    print("\n   itself    entered   function")
    for function, number in functions.most_common(top):
        print(f"{share(number)} {entries[function] / counts.units:8.2f}   {function.name}")
    if callers:
        print("\n  entered   from -> function")
        for (caller, function), number in counts.entries.most_common():
            if re.search(callers, function.name):
                print(f"{number / counts.units:9.2f}   {caller.name if caller else '?'} -> {function.name}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("unit", choices=CALLS)
    parser.add_argument("units", type=int)
    parser.add_argument("calls", type=int)
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--callers")
    words = parser.parse_args()
    symbols = Symbols(words.folder / "out" / "kallsyms")
    counts = Counts(words.unit, words.units)
    record(words.folder, symbols, counts, words.calls)
    report(counts, words.top, words.callers)


if __name__ == "__main__":
    main()
