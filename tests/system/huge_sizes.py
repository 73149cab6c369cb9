"""Run as a program by test_huge_sizes.py: functions whose sizes are near what 64 bits hold, held to the plain ones.

NumPy itself does not survive `np.repeat` of such a count, so what it must do there is written down.
"""

from __future__ import annotations

import itertools
import resource
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tensorjit as tj

ROOM = 3 << 30  # bytes that the process may have
_NEAR = (2**31, 2**32, 3037000500, 2**59, 2**60, 2**61, 2**62, 2**63)
EXTREMES = sorted({0, 1, 3, *(s * (n + k) for n in _NEAR for s in (1, -1) for k in (-1, 0, 1) if -(2**63) <= s * (n + k) < 2**63)})
LARGE = [n for n in EXTREMES if abs(n) > 2**31]
FEW = [-(2**63), -(2**62) - 1, -(2**32), -1, 0, 1, 2, 2**31, 2**62 - 1, 2**62, 2**63 - 1]
ENDS = [-(2**63), -(2**62), -3, 0, 4, 2**62, 2**63 - 1]
SIZE_ERRORS = (ValueError, MemoryError, OverflowError, IndexError)

X = np.arange(16.0)


class Case(NamedTuple):
    function: Callable[..., Any]
    calls: list[tuple[int, ...]]
    numpy: str = "right"  # or it "dies", or "wraps" around and gives an empty array


def _ones(values: list[int]) -> list[tuple[int, ...]]:
    return [(n,) for n in values]


def _unit(n: int) -> Any:
    return np.broadcast_to(np.int8(1), (n,))


def _stored(n: int, m: int) -> Any:
    y = X.copy()
    y[n:m] = 7.0
    return y


def _turns(a: int, b: int) -> Any:
    count, last = 0, 0
    for i in range(a, b):
        count += 1
        last = i
        if count == 5:
            break
    return count, last


def _downward(a: int, b: int) -> Any:
    count, last = 0, 0
    for i in range(a, b, -3):
        count += 1
        last = i
        if count == 5:
            break
    return count, last


def _leaps(a: int, b: int) -> Any:
    count, last = 0, 0
    for i in range(a, b, 4611686018427387904):
        count += 1
        last = i
        if count == 5:
            break
    return count, last


def _reversed(a: int, b: int) -> Any:
    count, last = 0, 0
    for i in reversed(range(a, b, 3)):
        count += 1
        last = i
        if count == 5:
            break
    return count, last


def _numbered(a: int, b: int) -> Any:
    count, last = 0, 0
    for k, i in enumerate(range(a, b), a):
        count += k - a
        last = i
        if count > 5:
            break
    return count, last


def _zipped(a: int, b: int) -> Any:
    count, last = 0, 0
    for i, j in zip(range(a, b), range(b, a, -1)):
        count += 1
        last = i ^ j
        if count == 5:
            break
    return count, last


def _multiple(a: int) -> Any:
    total = 0
    for i in range(a, a + 3):
        total = i * 3 - i
    return total


def _bounds_told(a: int, b: int) -> Any:
    found = 0
    for i in range(a, b):
        if i > -4611686018427387904:
            found = 1
        if i < 4611686018427387904:
            found += 2
        break
    return found


CASES = {
    "repeat": Case(lambda n: np.repeat(X, n), _ones(LARGE), numpy="dies"),
    "repeat of rows": Case(lambda n: np.repeat(X.reshape(4, 4), n, axis=0), _ones(LARGE), numpy="dies"),
    "repeat, summed": Case(lambda n: np.repeat(X.reshape(4, 4), n, axis=0).sum(), _ones(LARGE), numpy="dies"),
    "tile": Case(lambda n: np.tile(X, n), _ones(EXTREMES)),
    "tile twice": Case(lambda n, m: np.tile(X, (n, m)), list(itertools.product(FEW, FEW))),
    "tile, summed": Case(lambda n: np.tile(X, n).sum(), _ones(LARGE)),
    "zeros": Case(lambda n: np.zeros(n), _ones(EXTREMES)),
    "zeros of two": Case(lambda n, m: np.zeros((n, m)), list(itertools.product(FEW, FEW))),
    "empty of three": Case(lambda n, m: np.empty((n, m, n))[..., :0], list(itertools.product(FEW, FEW))),
    "ones, summed": Case(lambda n: np.ones((n, n), np.int8).sum(), _ones([n for n in LARGE if n < 0 or n > 2**33])),
    "full": Case(lambda n, m: np.full((n, m), 2, order="F"), list(itertools.product(FEW, FEW))),
    "zeros_like": Case(lambda n: np.zeros_like(X, shape=(n, 3)), _ones(EXTREMES)),
    "reshape": Case(lambda n: X.reshape(n, n), _ones([n for n in EXTREMES if n >= 0])),
    "reshape of none": Case(lambda n: X[:0].reshape(n, n), _ones([n for n in EXTREMES if n >= 0])),
    "reshape, one open": Case(lambda n, m: X.reshape(n, m, -1), [(n, m) for n in FEW for m in FEW if n >= 0 and m >= 0]),
    "broadcast_to": Case(lambda n: np.broadcast_to(X, (n, 16)).shape, _ones(EXTREMES)),
    "broadcast_to of one": Case(lambda n, m: np.broadcast_to(X[0], (n, m)).size, [(n, m) for n in FEW for m in FEW if n and m]),
    "lengths multiplied": Case(lambda n: (u := np.broadcast_to(X[:1], (n,))).shape[0] * u.shape[0], _ones(LARGE)),
    "lengths added": Case(lambda n: (u := np.broadcast_to(np.int8(1), (n,))).shape[0] * 3 + u.shape[0], _ones(LARGE)),
    "arange": Case(lambda n: np.arange(n, n + 3), _ones([n for n in EXTREMES if n < 2**63 - 3])),
    "arange over zero": Case(lambda n: np.arange(-n, n), _ones([n for n in LARGE if n > -(2**63)]), numpy="wraps"),
    "arange by three": Case(lambda n: np.arange(0, n, 3), _ones(LARGE), numpy="wraps"),
    "linspace": Case(lambda n: np.linspace(0.0, 1.0, n), _ones(EXTREMES)),
    "eye": Case(lambda n: np.eye(n), _ones(LARGE)),
    "eye, not square": Case(lambda n, m: np.eye(n, m), [(n, m) for n in FEW for m in FEW if max(n, m) != 2**31]),
    "eye, far diagonal": Case(lambda n: np.eye(3, k=n), _ones([n for n in EXTREMES if n < 2**62])),
    "outer": Case(lambda n: np.outer(_unit(n), _unit(n)), _ones(LARGE)),
    "concatenate": Case(lambda n: np.concatenate((_unit(n), _unit(n))), _ones(LARGE)),
    "stack": Case(lambda n: np.stack((_unit(n), _unit(n))), _ones(LARGE)),
    "roll": Case(lambda n: np.roll(X, n), _ones(EXTREMES)),
    "item": Case(lambda n: X[n], _ones(EXTREMES)),
    "slice from": Case(lambda n: X[n:], _ones(EXTREMES)),
    "slice to": Case(lambda n: X[:n:2], _ones(EXTREMES)),
    "slice back": Case(lambda n: X[n::-3], _ones(EXTREMES)),
    "slice by": Case(lambda n: X[1::n], _ones([n for n in EXTREMES if n])),
    "slice by much": Case(lambda n: X[n::9223372036854775807], _ones(EXTREMES)),
    "slice back by much": Case(lambda n: X[n::-9223372036854775808], _ones(EXTREMES)),
    "slice of all": Case(lambda n, m: X[n:m:n], [(n, m) for n in FEW for m in FEW if n]),
    "slice twice": Case(lambda n, m: X[n:][:m], list(itertools.product(FEW, FEW))),
    "store": Case(_stored, list(itertools.product(FEW, FEW))),
    "length of a range": Case(lambda a, b: len(range(a, b)), list(itertools.product(EXTREMES, ENDS))),
    "length by three": Case(lambda a, b: len(range(a, b, 3)), list(itertools.product(ENDS, ENDS))),
    "range": Case(_turns, list(itertools.product(ENDS, ENDS))),
    "range down": Case(_downward, list(itertools.product(ENDS, ENDS))),
    "range by much": Case(_leaps, list(itertools.product(ENDS, ENDS))),
    "range reversed": Case(_reversed, list(itertools.product(ENDS, ENDS))),
    "range numbered": Case(_numbered, list(itertools.product(ENDS, ENDS))),
    "ranges together": Case(_zipped, list(itertools.product(ENDS, ENDS))),
    "index multiplied": Case(_multiple, _ones([n for n in EXTREMES if n < 2**63 - 3])),
    "index compared": Case(_bounds_told, list(itertools.product(ENDS, ENDS))),
}


def _outcome(function: Callable[..., Any], args: tuple[int, ...]) -> Any:
    try:
        result = function(*args)
    except Exception as error:
        return error
    if isinstance(result, np.ndarray):
        return result.dtype, result.shape, result.tolist() if 0 < result.size < 100 else ()
    return type(result), result


def fault(case: Case, compiled: Callable[..., Any], args: tuple[int, ...]) -> str:
    """What is wrong with a call; nothing where it is right, or a clear error."""
    sys.stderr.write(f"{args}\n")  # the last line says where it ended
    wanted = _outcome(case.function, args) if case.numpy != "dies" else ValueError()
    found = _outcome(compiled, args)
    if isinstance(found, Exception):
        fine = isinstance(found, OverflowError) or (isinstance(wanted, SIZE_ERRORS) and isinstance(found, SIZE_ERRORS))
        fine = fine or (case.numpy == "wraps" and isinstance(found, ValueError))
        return "" if fine else f"{args}: {found!r}, not {wanted!r}"
    empty = isinstance(wanted, SIZE_ERRORS) and found[1:] and found[-1] == ()  # NumPy makes something large on the way
    return "" if empty or repr(found) == repr(wanted) else f"{args}: {found!r}, not {wanted!r}"


def main(backend: str) -> int:
    """Every case, its faults told; the number of faults."""
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    faults = 0
    for name, case in CASES.items():
        sys.stderr.write(f"{name}\n")
        compiled = tj.script(case.function, backend=backend)
        found = [text for args in case.calls if (text := fault(case, compiled, args))]
        sys.stdout.writelines(f"{name}{text}\n" for text in found)
        faults += len(found)
    return faults


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
