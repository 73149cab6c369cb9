"""What the benchmark prints, losses first, and what it writes to a file."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.jobs import Failure
from bench.measure import NOISE, Row, seconds

PACKAGES = ("tensorjit", "numpy", "llvmlite", "numba", "numexpr")


def text(rows: Sequence[Row], failures: Sequence[Failure], missing: Sequence[str]) -> str:
    """Everything: where, what was lost, what failed, then the sections."""
    parts = ["  ".join(f"{name} {value}" for name, value in machine().items())]
    parts.append("one thread; median [quartiles]; ratio above 1: tensorjit is faster")
    if missing:
        parts.append(f"not compared with {', '.join(missing)}: not installed here")
    parts += ["", losses(rows)]
    if failures:
        parts.append(f"{len(failures)} cases failed")
        parts += [f"  {f.section:<10}{f.case:<38}{_first_line(f.problem)}" for f in failures]
    for name in dict.fromkeys(row.section for row in rows):
        parts += ["", f"== {name}", section([row for row in rows if row.section == name])]
    return "\n".join(parts)


def losses(rows: Sequence[Row]) -> str:
    """Every case in which NumPy is faster beyond noise, and every goal that was missed."""
    lost = sorted((row for row in rows if row.loses()), key=lambda row: row.ratio("NumPy").median)
    lines = [f"{len(lost)} of {len(rows)} cases slower than NumPy (below {NOISE}x)"]
    lines += [f"  {row.section:<10}{row.case:<38}{row.ratio('NumPy').median:>6.2f}x" for row in lost]
    missed = [(row, words) for row in rows for words in row.missed()]
    lines.append(f"{len(missed)} goals missed of {sum(_goals(row) for row in rows)}")
    lines += [f"  {row.section:<10}{row.case:<38}{words}" for row, words in missed]
    return "\n".join(lines)


def section(rows: Sequence[Row]) -> str:
    """The rows of one section: our median time, and how many times as fast as each peer we are."""
    lines = []
    for row in rows:
        ours = row.time(row.ours)
        lines.append(f"{row.case:<38}{seconds(ours.median):>9}  [{seconds(ours.low)}, {seconds(ours.high)}]")
        for peer in row.peers:
            ratio = row.ratio(peer)
            lines.append(
                f"    {peer:<34}{seconds(row.time(peer).median):>9}  {ratio.median:>7.2f}x [{ratio.low:.2f}, {ratio.high:.2f}]"
            )
        if row.note:
            lines.append(f"    {row.note}")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Where the numbers come from."""
    found = {"python": platform.python_version(), "cpu": _cpu(), "cores": str(os.cpu_count())}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def write_json(rows: Sequence[Row], path: Path) -> None:
    """Every sample of every round, to compare runs with."""
    data: dict[str, Any] = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(data, indent=1) + "\n")


def _first_line(problem: str) -> str:
    return " ".join(problem.split())[:160]


def _goals(row: Row) -> int:
    return sum(goal.peer in row.samples for goal in row.goals) + (row.limit is not None)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
