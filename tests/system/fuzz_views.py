"""Random programs that store through views of one buffer, held to NumPy: `make fuzz-views`.

    python -m tests.system.fuzz_views --programs 3000 --calls 40 [--first SEED] [--seconds LIMIT]

Each program is compiled once or twice, and called with many placements of its arrays in a buffer that lies beside a page that may
not be touched. The seed is printed before the program runs: after a crash, the last one printed is to blame.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import linecache
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tensorjit as tj
from tensorjit.ir.signature import observe as signature_of
from tests.system.guard_pages import SIDES, Room
from tests.system.harness import BACKENDS, Seen, difference, observe
from tests.system.view_programs import Placement, Program, contents, placement, program

VERSIONS = 1  # signatures of one program: each is compiled, which takes most of the time
DRAWS = 3  # placements that are drawn for each that is used
_numbers = itertools.count()


def function_of(source: str) -> Callable[..., Any]:
    """The function of a source text that Python can show."""
    filename = f"<views {next(_numbers)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    names: dict[str, Any] = {"np": np, "__name__": "programs"}
    exec(compile(source, filename, "exec"), names)
    found: Callable[..., Any] = names["program"]
    return found


def placements(p: Program, pick: random.Random, calls: int) -> list[Placement]:
    """Placements of few signatures."""
    groups: dict[object, list[Placement]] = collections.defaultdict(list)
    for _ in range(calls * DRAWS):
        place = placement(p, pick)
        s = signature_of(place.arguments(np.zeros(place.size, p.dtype)))
        groups[s.params, s.equal, s.disjoint, s.identical].append(place)
    largest = sorted(groups.values(), key=len, reverse=True)[:VERSIONS]
    return [place for group in largest for place in group[: calls // len(largest)]]


def call(function: Callable[..., Any], place: Placement, buffer: Any) -> Seen:
    with np.errstate(all="ignore"):
        return observe(function, place.arguments(buffer))


def differs(found: Seen, wanted: Seen, one: Any, other: Any) -> str:
    """What differs between two calls, and between the buffers after them."""
    shapes = "broadcast" in found.message and "broadcast" in wanted.message  # which are named is not what is asked here
    if found.error is not wanted.error or (found.message != wanted.message and not shapes):
        return f"{found.error} {found.message!r} where NumPy: {wanted.error} {wanted.message!r}"
    if text := difference(unsigned(found.result), unsigned(wanted.result)):
        return text
    return "" if one.tobytes() == other.tobytes() else difference(unsigned(one), unsigned(other))


def unsigned(value: Any) -> Any:
    """Without the signs of zeros: which of two zeros is the greatest is not what is asked here."""
    if isinstance(value, tuple):
        return tuple(map(unsigned, value))
    floats = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fc"
    with np.errstate(all="ignore"):
        return np.add(value, 0) if floats else value


def check(seed: int, calls: int, backends: Sequence[str] = BACKENDS[:1]) -> tuple[str, int]:
    """What one program does otherwise when compiled, and the number of calls that were held to NumPy."""
    p, pick = program(seed), random.Random(seed)
    plain = function_of(p.source)
    compiled = [(b, tj.script(plain, backend=b)) for b in backends]
    held = 0
    for number, place in enumerate(placements(p, pick, calls)):
        values = contents(p, place.size, pick)
        expected = values.copy()
        wanted = call(plain, place, expected)
        for backend, function in compiled:
            buffer = Room(values.nbytes).array(values, SIDES[number % 2])
            try:
                found = call(function, place, buffer)
            except tj.CompileError:
                return "", 0
            except tj.TensorJitError as error:
                return f"{backend}, seed {seed}, call {number}: {error}\n{place}\n{p.dtype}\n{p.source}", held
            if text := differs(found, wanted, buffer, expected):
                return f"{backend}, seed {seed}, call {number}: {text}\n{place}\n{p.dtype}\n{p.source}", held
            held += 1
    return "", held


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=3000)
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args(args)
    start, held, refused, bad = time.monotonic(), 0, 0, 0
    for seed in range(given.first, given.first + given.programs):
        if time.monotonic() - start > given.seconds:
            break
        say(f"seed {seed}")
        text, count = check(seed, given.calls, BACKENDS if seed % 4 == 0 else BACKENDS[:1])
        held, refused, bad = held + count, refused + (not count and not text), bad + bool(text)
        if text:
            say(text)
    say(f"{seed + 1 - given.first} programs, {held} calls held to NumPy, {refused} refused, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
