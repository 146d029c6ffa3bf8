#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes report.md and plots of what tools/bench measured: bench-report.py DIR"""

import pathlib
import statistics
import sys

STACKS = {"c": ("C", "#c05020"), "rust": ("Rust", "#2060c0")}

# Names of devices in packets.txt -> what they are, colour.
DEVICES = {
    "veth": ("veth pair (floor)", "#888888"),
    "c": ("C", "#c05020"),
    "as_c": ("Rust, features of C", "#2060c0"),
    "default": ("Rust, all features (packed)", "#2060c0"),
    "split": ("Rust, split, event index, indirect", "#2060c0"),
}
# pktgen's sizes, which are without the checksum.
SIZES = {60: "64 bytes", 1496: "1500 bytes"}
# What a packet of 64 bytes is to cost at most.
AIM = 9000

# Kinds of memory and ways of mapping in maps.txt.
KINDS = {
    "4k": "pages of 4 KiB",
    "thp": "huge pages",
    "scattered": "scattered pages of 4 KiB",
    "file": "a file in memory",
}
WAYS = {"one": "one message", "batch": "512 messages", "at_once": "512 messages in one call"}
ADDRESSES = {"pa": "physical", "va": "virtual"}
# What a page of 4 KiB is to cost at most, mapped or unmapped.
MAP_AIMS = {
    ("pa", "4k", "one", "map"): 350,
    ("pa", "4k", "batch", "map"): 450,
    ("pa", "4k", "batch", "unmap"): 150,
    ("pa", "thp", "one", "map"): 17,
    ("pa", "thp", "one", "unmap"): 30,
    ("pa", "scattered", "one", "map"): 450,
}


def lines(path: pathlib.Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


def read_devices(path: pathlib.Path) -> dict[str, dict[str, dict[int, int]]]:
    """Stack -> operation -> number of devices -> instructions."""
    result: dict[str, dict[str, dict[int, int]]] = {stack: {} for stack in STACKS}
    for stack, operation, number, instructions in lines(path):
        result[stack].setdefault(operation, {})[int(number)] = int(instructions)
    return result


def around(series: dict[int, int], number: int) -> int:
    """The median of the eleven around a number: an interrupt can hit any one."""
    near = sorted(series, key=lambda n: abs(n - number))[:11]
    return round(statistics.median(series[n] for n in near))


def device_table(data: dict[str, dict[str, dict[int, int]]]) -> str:
    rows = [
        "| operation | device | C | Rust | Rust / C |",
        "|---|---|---|---|---|",
    ]
    for op in ("add", "get", "del"):
        for number in (10, 100, 1000):
            c, rust = (around(data[s][op], number) for s in STACKS)
            rows.append(f"| {op} | {number} | {c:,} | {rust:,} | {rust / c:.2f} |")
    for number in (10, 100, 1000):
        c, rust = (data[s]["dump"][number] for s in STACKS)
        rows.append(f"| dump of all | {number} | {c:,} | {rust:,} | {rust / c:.2f} |")
    return "\n".join(rows)


def device_plot(data: dict[str, dict[str, dict[int, int]]]) -> str:
    """Running medians of add and get over the number of devices, as SVG."""
    width, height, left, top, gap = 360, 220, 80, 40, 110
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * (left + width) + 80}" '
        f'height="{top + height + 60}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for i, op in enumerate(("add", "get")):
        x0 = left + i * (width + gap)
        numbers = sorted(data["c"][op])
        curves = {s: [around(data[s][op], n) for n in numbers[::10]] for s in STACKS}
        high = max(max(c) for c in curves.values()) * 1.1
        out.append(f'<text x="{x0 + width / 2}" y="{top - 15}" text-anchor="middle">{op}: instructions</text>')
        out.append(f'<rect x="{x0}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>')
        for k in range(5):
            y = top + height * (1 - k / 4)
            out.append(f'<text x="{x0 - 5}" y="{y + 4:.0f}" text-anchor="end">{high * k / 4:,.0f}</text>')
            out.append(f'<line x1="{x0}" x2="{x0 + width}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        for n in (0, 250, 500, 750, 1000):
            out.append(f'<text x="{x0 + width * n / 1000}" y="{top + height + 16}" text-anchor="middle">{n}</text>')
        out.append(f'<text x="{x0 + width / 2}" y="{top + height + 34}" text-anchor="middle">devices</text>')
        for j, (stack, (label, colour)) in enumerate(STACKS.items()):
            points = " ".join(
                f"{x0 + width * n / 1000:.1f},{top + height * (1 - v / high):.1f}"
                for n, v in zip(numbers[::10], curves[stack])
            )
            out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            y = top + height + 52
            out.append(f'<text x="{x0 + 60 + 100 * j}" y="{y}" fill="{colour}">{label}</text>')
    out.append("</svg>")
    return "\n".join(out)


class Packets:
    """What packets.txt says of a device with so many pairs of queues."""

    def __init__(self, device: str, pairs: int, features: int) -> None:
        self.name = DEVICES[device][0] + (f", {pairs} pairs" if pairs > 1 else "")
        self.colour = DEVICES[device][1]
        self.features = f"{features:#x}" if features else ""
        self.runs: dict[int, list[float]] = {}
        self.lost = 0

    def cost(self, size: int) -> float:
        """Instructions a packet."""
        return statistics.median(self.runs[size])

    def spread(self) -> float:
        """Of the runs that should be the same: how far apart, as a part of their median."""
        return max((max(r) - min(r)) / statistics.median(r) for r in self.runs.values())


def read_packets(path: pathlib.Path) -> dict[tuple[str, int], Packets]:
    result: dict[tuple[str, int], Packets] = {}
    for device, features, pairs, size, count, instructions, back in lines(path):
        key = (device, int(pairs))
        if key not in result:
            result[key] = Packets(device, int(pairs), int(features, 16))
        result[key].runs.setdefault(int(size), []).append(int(instructions) / int(count))
        result[key].lost += int(count) - int(back)
    return result


def packet_table(data: dict[tuple[str, int], Packets]) -> str:
    titles = ["", "features negotiated"]
    for size in SIZES.values():
        titles += [size, "of C"]
    rows = [f"| {' | '.join([*titles, 'spread'])} |", "|" + "---|" * (len(titles) + 1)]
    for p in data.values():
        cells = [p.name, p.features]
        for size in SIZES:
            cells += [f"{p.cost(size):,.0f}", f"{p.cost(size) / data['c', 1].cost(size):.2f}"]
        rows.append(f"| {' | '.join(cells)} | {100 * p.spread():.1f} % |")
    return "\n".join(rows)


def packet_verdict(data: dict[tuple[str, int], Packets]) -> str:
    """What fell short."""
    small = next(iter(SIZES))
    ours = [p for (device, _), p in data.items() if device not in ("veth", "c")]
    above = [f"{p.name} ({p.cost(small):,.0f})" for p in ours if p.cost(small) >= AIM]
    lost = [f"{p.name}: {p.lost} packets did not come back" for p in data.values() if p.lost]
    aim = f"{AIM:,} instructions for a packet of {SIZES[small]}"
    text = [f"Not below the aim of {aim}: {'; '.join(above)}." if above else f"All are below the aim of {aim}."]
    return "\n".join(text + [f"{line}." for line in lost])


def packet_plot(data: dict[tuple[str, int], Packets]) -> str:
    """A bar for each device, a column for each size, as SVG."""
    width, row, left, top, gap = 300, 22, 260, 40, 60
    height = row * len(data)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + len(SIZES) * (width + gap)}" '
        f'height="{top + height + 40}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for j, p in enumerate(data.values()):
        y = top + row * (j + 0.5) + 4
        out.append(f'<text x="{left - 8}" y="{y:.0f}" text-anchor="end">{p.name}</text>')
    high = max(p.cost(size) for p in data.values() for size in SIZES)
    x = left + width * AIM / high
    out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + height + 8}" stroke="#208030" stroke-dasharray="4 3"/>')
    out.append(f'<text x="{x:.1f}" y="{top + height + 22}" text-anchor="middle" fill="#208030">aim: {AIM:,}</text>')
    for i, (size, title) in enumerate(SIZES.items()):
        x0 = left + i * (width + gap)
        out.append(f'<text x="{x0}" y="{top - 15}">{title}: instructions a packet</text>')
        for j, p in enumerate(data.values()):
            y, length = top + row * j, width * p.cost(size) / high
            out.append(f'<rect x="{x0}" y="{y + 3}" width="{length:.1f}" height="{row - 6}" fill="{p.colour}"/>')
            # In front of the line of the aim.
            halo = 'stroke="white" stroke-width="4" paint-order="stroke"'
            out.append(f'<text x="{x0 + length + 4:.1f}" y="{y + row / 2 + 4}" {halo}>{p.cost(size):,.0f}</text>')
        out.append(f'<line x1="{x0}" x2="{x0}" y1="{top}" y2="{top + height}" stroke="#888"/>')
    out.append("</svg>")
    return "\n".join(out)


def pairs_table(path: pathlib.Path) -> str:
    rates: dict[int, list[float]] = {}
    for _, pairs, packets, milliseconds in lines(path):
        rates.setdefault(int(pairs), []).append(1000 * int(packets) / int(milliseconds))
    rows = ["| pairs | packets a second, median | lowest | highest |", "|---|---|---|---|"]
    for pairs, rate in rates.items():
        rows.append(f"| {pairs} | {statistics.median(rate):,.0f} | {min(rate):,.0f} | {max(rate):,.0f} |")
    few, many = min(rates), max(rates)
    # Neighbours had the same noise.
    ratios = [b / a for a, b in zip(rates[few], rates[many])]
    rows.append("")
    rows.append(
        f"Ratio of {many} pairs to {few}, of {len(ratios)} runs one after the other: "
        f"median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}."
    )
    return "\n".join(rows)


class Maps:
    """What maps.txt says of memory of a kind that is mapped in a way."""

    def __init__(self, addresses: str, kind: str, way: str, pages: int) -> None:
        self.key = (addresses, kind, way)
        self.pages = pages
        self.runs = 0
        # Stack -> operation -> instructions of all pages.
        self.costs: dict[str, dict[str, list[int]]] = {s: {"map": [], "unmap": []} for s in STACKS}

    def title(self) -> str:
        addresses, kind, way = self.key
        return f"{ADDRESSES[addresses]} | {self.pages // 256} MiB, {KINDS[kind]} | {WAYS[way]} | {self.runs:,}"

    def cost(self, stack: str, operation: str) -> float | None:
        """Instructions a page, if it was measured."""
        costs = self.costs[stack][operation]
        return statistics.median(costs) / self.pages if costs else None

    def aim(self, operation: str) -> int | None:
        return MAP_AIMS.get((*self.key, operation))

    def cells(self, operation: str) -> list[str]:
        c, rust = (self.cost(s, operation) for s in STACKS)
        aim = self.aim(operation)
        return [
            number(c),
            number(rust),
            f"{rust / c:.2f}" if c and rust else "",
            f"{aim:,}" if aim else "",
        ]


def number(value: float | None) -> str:
    """With a digit behind the point if that says something."""
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def read_maps(path: pathlib.Path) -> list[Maps]:
    result: dict[tuple[str, str, str, int], Maps] = {}
    for stack, addresses, kind, way, pages, runs, *costs in lines(path):
        key = (addresses, kind, way, int(pages))
        entry = result.setdefault(key, Maps(*key))
        entry.runs = max(entry.runs, int(runs))
        for operation, cost in zip(entry.costs[stack], costs):
            entry.costs[stack][operation].append(int(cost))
    return list(result.values())


def maps_table(data: list[Maps]) -> str:
    titles = ["addresses", "memory", "how", "runs"]
    for operation in ("map", "unmap"):
        titles += [f"{operation}: C", "Rust", "of C", "aim"]
    rows = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for entry in data:
        rows.append(f"| {entry.title()} | {' | '.join(entry.cells('map') + entry.cells('unmap'))} |")
    return "\n".join(rows)


def maps_verdict(data: list[Maps]) -> str:
    """What fell short."""
    above = []
    for entry in data:
        for operation in ("map", "unmap"):
            aim, cost = entry.aim(operation), entry.cost("rust", operation)
            if aim and cost and cost >= aim:
                above.append(f"{operation} {entry.title()}: {number(cost)}, aim {aim}")
    return f"Not below their aims: {'; '.join(above)}." if above else "All are below their aims."


def maps_section(folder: pathlib.Path) -> str:
    data = read_maps(folder / "maps.txt")
    return f"""# What mapping costs

Instructions a page of 4 KiB, whole system: messages to vhost_vdpa, with a simulated device that
takes physical or virtual addresses. Runs are the pieces of physical memory. Several messages are
in a batch. Medians of three.

{maps_table(data)}

{maps_verdict(data)}
"""


def nodes_section(folder: pathlib.Path) -> str:
    costs: dict[str, dict[str, list[int]]] = {}
    for stack, operation, cost in lines(folder / "nodes.txt"):
        costs.setdefault(operation, {s: [] for s in STACKS})[stack].append(int(cost))
    rows = ["| operation | C | Rust | Rust / C |", "|---|---|---|---|"]
    for operation, stacks in costs.items():
        c, rust = (statistics.median(stacks[s]) for s in STACKS)
        rows.append(f"| {operation.replace('_', ' ')} | {c:,.0f} | {rust:,.0f} | {rust / c:.2f} |")
    table = "\n".join(rows)
    return f"""# What nodes cost

Instructions, whole system: to open a node of vhost_vdpa, set up its simulated network device with
three queues, and close it. A kick is what signalling an eventfd costs more when it is a queue's.
Medians of eleven.

{table}
"""


def devices_section(folder: pathlib.Path) -> str:
    data = read_devices(folder / "devices.txt")
    (folder / "devices.svg").write_text(device_plot(data))
    return f"""# What devices cost

Instructions, whole system, from the request to the answer, on one emulated CPU whose clock
counts them; simulated network devices. Medians of eleven around each number.

{device_table(data)}

![instructions over the number of devices](devices.svg)
"""


def packets_section(folder: pathlib.Path) -> str:
    data = read_packets(folder / "packets.txt")
    (folder / "packets.svg").write_text(packet_plot(data))
    return f"""# What packets cost

Instructions a packet, whole system, on one emulated CPU whose clock counts them: pktgen sends
through virtio_net, virtio_vdpa and the simulated device, which sends back. Medians of
{len(next(iter(data.values())).runs[next(iter(SIZES))])} runs.

{packet_table(data)}

{packet_verdict(data)}

![instructions a packet](packets.svg)
"""


def pairs_section(folder: pathlib.Path) -> str:
    return f"""# Pairs of queues on two CPUs

Packets of 64 bytes that came back, sent by two threads of pktgen, by the clock on the wall.

{pairs_table(folder / "pairs.txt")}
"""


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    sections = {
        "devices": devices_section,
        "packets": packets_section,
        "pairs": pairs_section,
        "maps": maps_section,
        "nodes": nodes_section,
    }
    text = "\n".join(make(folder) for part, make in sections.items() if (folder / f"{part}.txt").exists())
    (folder / "report.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
