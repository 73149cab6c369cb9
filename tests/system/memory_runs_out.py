"""Run as a program by test_memory_runs_out.py: calls of compiled functions in which one allocation of CPython's fails, the first,
the second, and so on: MemoryError or what the call gives anyhow, and nothing is lost."""

from __future__ import annotations

import _testcapi  # type: ignore[import-not-found]
import math
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import tensorjit as tj

POINTS = 40  # allocations that fail, one by one; a call of these functions makes fewer
TURNS = 60
WARM = 10

_NOT_SAID = re.compile("without (setting an exception|exception set)")
SPARE = np.ones(3)


def raises(x: Any) -> Any:
    if x[0] > -5:
        raise ValueError(f"bad {x.shape[0]} {float(x[0])}")
    return x


def many_kernels(x: Any) -> Any:
    y = x
    for i in range(5):
        y = y * 2 + i
    return y


def asks_in_a_loop(x: Any) -> Any:
    s = 0
    for i in range(3):
        s += i**2
    return s


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "an array": lambda x: x + 1,
    "a tuple": lambda x: (x + 1, x.sum(), x.shape[0]),
    "a list": lambda x: [x + 1, 2.5, x[1:]],
    "lists in tuples": lambda x: ((x, x + 1), [x.max(), (1, 2.5)], [], [[x]]),
    "a view": lambda x: x[1:],
    "a float": lambda x: float(x.sum()) * 1e300,
    "an int": lambda x: x.shape[0] * 1000003 + 2**40,
    "a complex": lambda x: complex(float(x[0]), 2.0),
    "a bool": lambda x: x.any(),
    "a scalar": lambda x: x.sum(),
    "a library": lambda x: np.sort(x),
    "libraries": lambda x: (np.argsort(x), x.cumsum()),
    "a library with keywords": lambda x: np.sort(x, kind="stable"),
    "a product": lambda x: x @ x,
    "asking Python": lambda x: pow(x.shape[0], 10) + round(float(x[0]) + 1234.567, 2),
    "asking Python in a loop": asks_in_a_loop,
    "asking in vain": lambda x: math.log(x.shape[0] - 3),
    "an exception": raises,
    "an index": lambda x: x[x.shape[0] + 7],
    "shapes that do not fit": lambda x: x + np.ones(7),
    "a captured array": lambda x: x + SPARE,
    "a warning": lambda x: x / 0.0,
    "many kernels": many_kernels,
    "fresh arrays": lambda x: (np.zeros((3, 4)), np.arange(5), np.eye(2)),
}


def attempt(call: Callable[[Any], Any], x: Any, point: int) -> type[BaseException] | None:
    """The exception of a call whose allocation number `point` fails."""
    kind = None
    try:
        try:
            _testcapi.set_nomemory(point, point + 1)
            call(x)
        finally:
            _testcapi.remove_mem_hooks()
    except BaseException as error:  # noqa: BLE001  (which one it is, is what is asked)
        # of a frame that it has no memory for, CPython 3.11 says that, of plain functions too
        kind = MemoryError if _NOT_SAID.search(str(error)) else type(error)
    return kind


def faults(name: str, compiled: Callable[[Any], Any], x: Any) -> list[str]:
    found = []
    usual = attempt(compiled, x, 1 << 30)
    for point in range(1, POINTS + 1):
        kind = attempt(compiled, x, point)
        if kind not in (None, MemoryError, usual):
            found.append(f"{name}, allocation {point}: {kind}\n")
        if kind is not MemoryError:
            continue
        for _ in range(WARM):
            attempt(compiled, x, point)
        references, blocks = sys.getrefcount(x), sys.getallocatedblocks()
        for _ in range(TURNS):
            attempt(compiled, x, point)
        lost = (sys.getallocatedblocks() - blocks, sys.getrefcount(x) - references)
        if lost[0] > TURNS // 2 or lost[1]:
            found.append(f"{name}, allocation {point}: {lost} blocks and references lost in {TURNS} calls\n")
    return found


def main() -> int:
    """Every function; the number of faults."""
    warnings.simplefilter("ignore")
    found: list[str] = []
    failed = 0
    for name, function in FUNCTIONS.items():
        compiled: Any = tj.script(function)
        x = np.array([1.0, 2.0, 3.0])
        for _ in range(3):
            attempt(compiled, x, 1 << 30)
        assert compiled.cache_info().hits, name
        failed += sum(attempt(compiled, x, point) is MemoryError for point in range(1, 5))
        found += faults(name, compiled, x)
    assert failed, "no allocation failed"
    sys.stdout.writelines(found)
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
