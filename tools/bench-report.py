#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes report.md and devices.svg of what tools/bench measured: bench-report.py DIR"""

import pathlib
import statistics
import sys

STACKS = {"c": ("C", "#c05020"), "rust": ("Rust", "#2060c0")}


def read(path: pathlib.Path) -> dict[str, dict[int, int]]:
    """Operation -> number of devices -> instructions."""
    result: dict[str, dict[int, int]] = {}
    for line in path.read_text().split("\n"):
        words = line.split()
        if len(words) == 3:
            result.setdefault(words[0], {})[int(words[1])] = int(words[2])
    return result


def around(series: dict[int, int], number: int) -> int:
    """The median of the eleven around a number: an interrupt can hit any one."""
    near = sorted(series, key=lambda n: abs(n - number))[:11]
    return round(statistics.median(series[n] for n in near))


def table(data: dict[str, dict[str, dict[int, int]]]) -> str:
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


def plot(data: dict[str, dict[str, dict[int, int]]]) -> str:
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


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    data = {stack: read(folder / f"devices-{stack}.txt") for stack in STACKS}
    (folder / "devices.svg").write_text(plot(data))
    text = f"""# What devices cost

Instructions, whole system, from the request to the answer, on one emulated CPU whose clock
counts them; simulated network devices. Medians of eleven around each number.

{table(data)}

![instructions over the number of devices](devices.svg)
"""
    (folder / "report.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
