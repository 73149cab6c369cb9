"""Run the demo's programs with NumPy and with tensorjit; print a table, save pictures, show one graph."""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

import numpy as np

import tensorjit
from tensorjit.demo.cases import Case, load_cases

TRACED = "hillshade"  # straight-line code: what a trace is for
SHOWN = "hillshade"
MIN_ROUNDS = 3
MAX_ROUNDS = 200
SECONDS_PER_CASE = 1.0


@dataclass(frozen=True, slots=True)
class Api:
    """What the demo needs of tensorjit (a test hands in a stand-in)."""

    script: Callable[[Callable[..., Any]], Any]
    trace: Callable[[Callable[..., Any], Any], Any]


@dataclass(frozen=True, slots=True)
class Job:
    """A case under the name it has in the table, and how its compiled form is made."""

    name: str
    case: Case
    make: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds per call, and the largest difference from NumPy; or why there are none."""

    name: str
    numpy: float = 0.0
    first: float = 0.0
    later: float = 0.0
    difference: float = 0.0
    problem: str = ""

    @property
    def ratio(self) -> float:
        """How many times as fast as NumPy the later calls are."""
        return self.numpy / self.later


def run(
    folder: Path,
    api: Api | None = None,
    *,
    cases: Sequence[Case] | None = None,
    seconds: float = SECONDS_PER_CASE,
    progress: TextIO | None = None,
) -> int:
    """Run all, print what came out; returns the exit status: 0, or 1 where a program failed."""
    cases = load_cases() if cases is None else cases
    api = api or Api(tensorjit.script, tensorjit.trace)
    progress = progress or sys.stderr
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [Job(case.name, case, partial(api.script, case.function)) for case in cases]
    jobs += [Job(f"{case.name} (trace)", case, partial(api.trace, case.function, case.args)) for case in cases if case.name == TRACED]
    rows = []
    for number, job in enumerate(jobs, start=1):
        progress.write(f"\r\033[K[{number}/{len(jobs)}] {job.name} ...")
        progress.flush()
        rows.append(_run_job(job, folder, seconds))
    progress.write("\r\033[K")
    progress.flush()
    print(table(rows))
    print(f"\nPictures: {folder.resolve()}")
    for job, row in zip(jobs, rows, strict=True):
        if row.problem:
            print(f"\n{job.name} failed:\n{row.problem}")
        elif job.name == SHOWN:
            _show(job)
    return int(any(row.problem for row in rows))


def table(rows: Sequence[Measured]) -> str:
    """The rows as text."""
    head = f"{'program':<22}{'NumPy':>11}{'first call':>12}{'later calls':>13}{'ratio':>8}{'difference':>12}"
    lines = [head, "-" * len(head)]
    for row in rows:
        if row.problem:
            lines.append(f"{row.name:<22}  failed, see below")
        else:
            times = f"{_time(row.numpy):>11}{_time(row.first):>12}{_time(row.later):>13}"
            lines.append(f"{row.name:<22}{times}{row.ratio:>7.1f}x{row.difference:>12.1e}")
    return "\n".join(lines)


def difference(expected: Any, found: Any) -> float:
    """The largest difference between two results; dtypes and shapes that differ are an error.

    >>> difference(np.array([1.0, np.nan]), np.array([1.5, np.nan]))
    0.5
    """
    if isinstance(expected, tuple):
        if not isinstance(found, tuple) or len(found) != len(expected):
            raise TypeError(f"NumPy returned {len(expected)} results, tensorjit {found!r}")
        return max(difference(e, f) for e, f in zip(expected, found, strict=True))
    a, b = np.asarray(expected), np.asarray(found)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        raise TypeError(f"NumPy returned {a.dtype}{list(a.shape)}, tensorjit {b.dtype}{list(b.shape)}")
    same = (a == b) | ((a != a) & (b != b))  # inf - inf is nan, so equal elements are not subtracted
    wide = np.result_type(a.dtype, np.float64)
    return float(np.abs(np.subtract(a, b, dtype=wide, where=~same, out=np.zeros(a.shape, wide))).max(initial=0.0))


def _run_job(job: Job, folder: Path, seconds: float) -> Measured:
    case = job.case
    try:
        expected = case.function(*case.args)
        start = perf_counter()
        compiled = job.make()
        found = compiled(*case.args)
        first = perf_counter() - start
        largest = difference(expected, found)
        case.draw(found, folder / f"{job.name.replace(' (trace)', '-trace')}.png")
        plain, later = _in_turns(case, compiled, seconds)
    except Exception as error:  # one program that fails must not hide the others' results
        return Measured(job.name, problem=f"{type(error).__name__}: {error}")
    return Measured(job.name, plain, first, later, largest)


def _in_turns(case: Case, compiled: Any, seconds: float) -> tuple[float, float]:
    """Median seconds of the plain and the compiled function, in turns: both see the same machine."""
    times: tuple[list[float], list[float]] = ([], [])
    begin = perf_counter()
    while len(times[0]) < MIN_ROUNDS or (perf_counter() - begin < seconds and len(times[0]) < MAX_ROUNDS):
        for function, samples in zip((case.function, compiled), times, strict=True):
            start = perf_counter()
            function(*case.args)
            samples.append(perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def _show(job: Job) -> None:
    compiled = job.make()
    print(f"\n{job.name}: what script read, `.graph`\n\n{compiled.graph}")
    print(f"\n{job.name}: what became of it, `.explain(...)`\n\n{compiled.explain(*job.case.args)}")


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"
