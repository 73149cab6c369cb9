"""What Python's functions take: integers of every kind, and how many arguments."""

from __future__ import annotations

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS, hold
from tests.system.test_like_numpy import module

INTEGERS = (3, True, np.int8(3), np.uint16(3), np.int64(3), np.array(3), np.array(3, np.uint8))
NO_INTEGERS = (3.0, np.float32(3), 1j, None, "3", (3,), np.array(3.0), np.array([3]))


def test_ranges_of_numpy_integers() -> None:
    """A step of int16 was an AttributeError of the compiler."""
    text = "def f():\n    s = 0\n    for i in range(np.int16(1), np.uint8(9), np.int16(2)):\n        s += i\n    return s\n"
    hold(module(text)["f"], lambda: ())
    f = module("def f(a, b, c):\n    s = 0\n    for i in range(a, b, c):\n        s += i * i\n    return s, i\n")["f"]
    hold(f, *(lambda t=t: (t(1), t(9), t(2)) for t in (int, np.int8, np.int16, np.uint32, np.uint64)))
    hold(f, lambda: (np.int16(9), np.int8(1), np.int16(-3)))


@pytest.mark.parametrize("loop", ["range(a)", "enumerate(x, a)", "enumerate(x, start=a)", "enumerate([4, 5], a)"])
def test_what_is_an_integer_and_what_is_not(loop: str) -> None:
    """enumerate(x, 1.0) counted in floats; from an int8 it counted in int8."""
    text = f"def f(x, a):\n    t = 0\n    for i in {loop}:\n        t += i{'[0]' if 'enum' in loop else ''}\n    return t\n"
    f = module(text)["f"]
    hold(f, *(lambda a=a: (np.ones(2), a) for a in (*INTEGERS, *NO_INTEGERS)), message=False, twice=False)


def test_messages_for_what_is_no_integer() -> None:
    f = module("def f(a):\n    for i in range(a):\n        pass\n    return 1\n")["f"]
    hold(f, *(lambda a=a: (a,) for a in (3.0, np.float32(3), None, "3", (3,))))


CALLS = [
    "x[slice(*())]", "x[slice(1, 2, 1, 3)]", "range()", "range(1, 2, 3, 4)", "len()", "len(x, x)", "enumerate()", "tuple(x, x)",
    "list(1, 2)", "isinstance(x)", "abs()", "abs(1, 2)", "divmod(1)", "float(1, 2)", "bool(1, 2)", "round()", "round(1.5, 1, 1)",
    "sum()", "min()", "max()", "reversed()", "any()", "all(x, x)", "int(1, 2, 3)", "complex(1, 2, 3)",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_another_number_of_arguments(call: str) -> None:
    """slice(*()) was an IndexError of the compiler, and slice of four was that of three."""
    hold(module(f"def f(x):\n    return {call}\n")["f"], lambda: (np.arange(3.0),), twice=False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_list_of_run_time_length_is_refused_before_long(backend: str) -> None:
    """Each loop around it was built many times over: three of them took minutes."""
    loops = "".join(f" for {name} in range(a)]" for name in "ijkm")
    text = f"def f(a):\n    return np.array([[[[i * j * k * m{loops})\n"
    with pytest.raises(tj.CompileError, match="a list that grows from turn to turn"):
        tj.script(module(text)["f"], backend=backend)(2)
