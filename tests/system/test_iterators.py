"""What zip, enumerate and reversed give has its items once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS, hold
from tests.system.test_like_numpy import module

ITERATORS = [
    "zip([1, 2], [3, 4])",
    "zip(x, x)",
    "zip(range(3), x)",
    "enumerate([1, 2])",
    "enumerate(x)",
    "reversed([1, 2])",
    "reversed(x)",
]
TWICE = {
    "two loops": "    for v in z:\n        s += 1\n    for v in z:\n        s += 10\n",
    "after a break": "    for v in z:\n        s += 1\n        break\n    for v in z:\n        s += 10\n",
    "in a loop": "    for k in range(n):\n        for v in z:\n            s += 1\n",
    "in a while": "    while s < 5:\n        s += 1\n        for v in z:\n            s += 1\n",
    "by another name": "    w = z\n    for v in w:\n        for u in z:\n            s += 1\n",
    "in a tuple": "    t = (z, 1)\n    for v in t[0]:\n        s += 1\n    for v in t[0]:\n        s += 1\n",
    "beside itself": "    for v in zip(z, z):\n        s += 1\n",
    "twice a list": "    s = len(list(z)) + 10 * len(list(z))\n",
    "in a helper": "    s = helper(z)\n",
    "in a closure": "    def g():\n        return sum(1 for v in z)\n    s = g() + 10 * g()\n",
    "in a branch, and after": "    if n > 1:\n        for v in z:\n            s += 1\n    for v in z:\n        s += 10\n",
}
HELPER = "def helper(z):\n    s = 0\n    for v in z:\n        s += 1\n    for v in z:\n        s += 10\n    return s\n\n\n"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("use", TWICE)
def test_what_is_gone_through_twice_is_refused(use: str, backend: Any) -> None:
    """The second loop found all items again."""
    for made in ITERATORS[:: 1 if backend == "reference" else 3]:
        f = module(f"{HELPER}def f(x, n):\n    z = {made}\n    s = 0\n{TWICE[use]}    return s\n")["f"]
        with pytest.raises(tj.CompileError, match="an iterator has its items once"):
            tj.script(f, backend=backend)(np.arange(3.0), 2)


@pytest.mark.parametrize("made", ITERATORS)
def test_what_is_gone_through_once(made: str) -> None:
    head = f"def f(x, n):\n    z = {made}\n    s = 0\n"
    item = "v[0]" if made[0] in "ze" else "v"
    texts = [
        f"    for v in z:\n        s = s * 2 + {item}\n    return s\n",
        f"    if n > 1:\n        for v in z:\n            s = s * 2 + {item}\n    return s\n",
        f"    for v in z:\n        s = s * 2 + {item}\n        if s > 0:\n            break\n    return s\n",
    ]
    if "x" not in made:
        texts += [
            "    a, b = z\n    return a, b\n",
            "    return list(z), s\n",
            "    return [s, *z]\n",
            "    return tuple(z)\n",
        ]
    for text in texts:
        hold(module(head + text)["f"], lambda: (np.arange(3.0), 2), lambda: (np.arange(1.0, 3.0), 0))


def test_iterators_of_iterators() -> None:
    text = """
def pairs(x):
    return zip(x, reversed(x))


def f(x):
    s = 0.0
    for i, (a, b) in enumerate(pairs(x)):
        s += i * a * b
    for k, (i, a) in zip([5, 6], enumerate((1, 2.5))):
        s += k * i * a
    for a, b in zip(*zip([1, 2], [3, 4])):
        s = s * a + b
    return s, sum(a * b for a, b in zip([1, 2], [3, 4])), any(a > b for a, b in zip(x, x[1:]))
"""
    hold(module(text)["f"], lambda: (np.arange(4.0),), lambda: (np.arange(3.0),))


@pytest.mark.parametrize("backend", BACKENDS)
def test_iterators_are_neither_tuples_nor_arrays(backend: Any) -> None:
    """zip of lists was a tuple: it had a length and items, and was returned."""
    for use in ("len(z)", "z[0]", "z", "z + (1,)", "np.array(z)", "isinstance(z, tuple)", "(z, 1)", "1 if z else 2"):
        for made in ITERATORS[::3]:
            f = module(f"def f(x):\n    z = {made}\n    return {use}\n")["f"]
            with pytest.raises(tj.CompileError):
                tj.script(f, backend=backend)(np.arange(3.0))
    f = module("def f():\n    for v in reversed(zip([1], [2])):\n        return v\n")["f"]
    hold(f, lambda: (), backends=(backend,))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_list_beside_what_has_any_length_is_refused(backend: Any) -> None:
    """It was an AssertionError of the compiler."""
    f = module("def f(x):\n    s = 0.0\n    for a, b in zip(x, [1, 2, 3]):\n        s += a * b\n    return s\n")["f"]
    with pytest.raises(tj.CompileError, match="beside something whose length is not known"):
        tj.script(f, backend=backend)(np.arange(3.0))
