"""Functions that take a sequence of arrays: none, one, several dtypes, ranks and containers in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.system.harness import hold
from tests.system.test_like_numpy import module

V, K, M, ZERO = np.arange(3.0), np.arange(3), np.arange(6.0).reshape(2, 3), np.array(2.0)
SEQUENCES: dict[str, Any] = {
    "none": [],
    "no tuple": (),
    "an empty list": [[]],
    "one": [V],
    "of rank 2": (M, M),
    "dtypes": [K, V, np.array([1, 2, 3], np.float32)],
    "ranks": [V, M],
    "rank 0": [ZERO, ZERO],
    "rank 0 later": [V, ZERO],
    "numbers": [1, 2.5],
    "lists": [[1, 2], (3, 4.5)],
    "with a list": [V, [1, 2, 3]],
    "lengths": [V, V[:2]],
    "no elements": [V[:0], V],
    "uint64 and int": [np.uint64(1), 1],
}
CALLS = [
    "np.vstack(a)", "np.hstack(a)", "np.column_stack(a)", "np.stack(a)", "np.stack(a, axis=-1)", "np.concatenate(a)",
    "np.concatenate(a, axis=1)", "np.concatenate(a, axis=None)", "np.vstack(a, dtype='f4')", "np.hstack(a, dtype='i4')",
    "np.stack(a, dtype='i4', casting='unsafe')", "np.concatenate(a, dtype='i4')", "np.broadcast_arrays(*a)",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_sequences_of_arrays(call: str) -> None:
    """np.vstack([]) was an IndexError of the compiler; np.vstack of floats with dtype=int cast them."""
    f = module(f"def f(a):\n    return {call}\n")["f"]
    stretched = "broadcast_arrays" in call  # writable in NumPy, with a warning that it will not be
    given = [a for name, a in SEQUENCES.items() if not (stretched and name in ("ranks", "rank 0 later"))]
    hold(f, *(lambda a=a: (a,) for a in given), message=False, twice=False)


@pytest.mark.parametrize("call", CALLS[:6])
def test_no_arrays_at_all(call: str) -> None:
    for text in ("[]", "()"):
        hold(module(f"def f():\n    return {call.replace('(a', '(' + text)}\n")["f"], lambda: ())


def test_numbers_give_way_to_what_is_joined_flat() -> None:
    """np.concatenate of float32 and 1.5 along no axis is float32: only there may an item be a number."""
    f = module("def f(x, y):\n    return np.concatenate([x, y], axis=None)\n")["f"]
    for x in (np.array([1, 2], np.float32), np.array([1, 2], np.int8), np.uint64(3), 1):
        hold(f, *(lambda y=y: (x, y) for y in (1, True, 1.5, 1j, 300, np.float64(2), [1.5])), twice=False)


@pytest.mark.parametrize("rule", ["no", "equiv", "safe", "same_kind", "unsafe", "other"])
def test_the_casting_rule_of_what_is_joined_or_cast(rule: str) -> None:
    """Without a dtype it was not looked at; what is no rule was an error of the compiler."""
    f = module(f"def f(a):\n    return np.concatenate(a, casting='{rule}')\n")["f"]
    hold(f, lambda: ([V, K],), lambda: ([V, V],), lambda: ([K, np.array([1], np.int8)],), message=rule != "other")
    g = module(f"def f(a, o):\n    return np.concatenate(a, out=o, casting='{rule}')\n")["f"]
    hold(g, lambda: ([V, V], np.zeros(6)), lambda: ([V, V], np.zeros(6, np.complex128)), message=rule != "other")
    for text in (f"np.copyto(x, y, casting='{rule}')", f"x.astype(np.float32, casting='{rule}')"):
        h = module(f"def f(x, y):\n    return {text}\n")["f"]
        hold(h, lambda: (V.copy(), K), lambda: (V.copy(), V), message=rule != "other")


def test_out_and_dtype_of_joined_arrays() -> None:
    for text in ("np.concatenate(a, out=o, dtype='f8')", "np.stack(a, out=o, dtype='f8')", "np.concatenate(a, out=o)"):
        f = module(f"def f(a, o):\n    return {text}\n")["f"]
        hold(f, lambda: ([V, K], np.zeros(6)), lambda: ([V, K], np.zeros((2, 3))), message=False)
