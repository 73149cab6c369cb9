"""Members of enumerations among numbers: compiled, they are what they are in Python, or refused."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import compare, function_of, hold, observe


class Plain(enum.Enum):
    A = 1
    B = 2


class Code(enum.IntEnum):
    A = 1
    B = 2


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Flags(enum.Flag):
    A = 1
    B = 2


class Weight(float, enum.Enum):
    A = 1.0
    B = 2.5


class Phase(complex, enum.Enum):
    A = 1j
    B = 2 + 0j


class Word(enum.StrEnum):
    A = "1"
    B = "b"


class Scalar(np.float64, enum.Enum):  # type: ignore[misc]
    A = 1.0
    B = 2.0


class Loose(enum.Enum):
    """One that equals what its value equals."""

    A = 1
    B = 2

    def __eq__(self, other: object) -> bool:
        return bool(self.value == other)

    def __hash__(self) -> int:
        return 1


class Odd(enum.IntEnum):
    """One with an addition and an order of its own."""

    A = 1
    B = 2

    def __add__(self, other: object) -> int:
        return 100

    def __lt__(self, other: object) -> bool:
        return True


ENUMS: tuple[type, ...] = (Plain, Code, Bits, Flags, Weight, Phase, Word, Scalar, Loose, Odd)
NUMBERS = (1, 2, 2.5, True, 2 + 0j, np.int64(1), np.float64(2.5), np.float32(1), np.uint8(2), np.bool_(True))
EXPRESSIONS = (
    "v == m", "m == v", "v != m", "v < m", "m <= v", "v in (m, 5)", "m in (v, 5)", "v not in (m,)", "(v, 1) == (m, 1)", "m in x",
    "v + m", "m - v", "m * v", "v / m", "m // v", "v % m", "v ** m", "v & m", "m | v", "m << v", "-m", "~m", "not m", "m", "(m, v)",
    "x + m", "m * x", "x == m", "x < m", "x[m]", "x.sum(m)", "np.zeros(m)", "np.add(v, m)", "np.full(2, m)", "np.int8(1) + m",
    "len(x) == m", "len(x) + m", "x.shape == (m,)", "max(v, m)", "sum((v, m))", "int(m)", "float(m)", "m.value", "m.name",
    "v == m.value", "m is E.A", "m == E.A", "m if v == 1 else v", "v and m", "isinstance(m, int)", "m + 1", "m == 1", "m < 5", "E(v)",
)  # fmt: skip
STATEMENTS = (
    "for i in range(3):\n        if i == m:\n            return i\n    return -1",
    "n = 0\n    for w in x:\n        if w == m:\n            n += 1\n    return n",
    "s = m\n    for w in x:\n        s += w\n    return s",
    "i = 0\n    while i != m and i < 9:\n        i += 1\n    return i",
    "s = E.A\n    if v > 0:\n        s = E.B\n    return s == v, s",
    "s = E.A\n    for w in x:\n        if w != E.A:\n            s = E.B\n    return s",
)


def written(body: str, kind: type) -> Callable[..., Any]:
    found = function_of(f"def program(x, v):\n    m = E.A\n    {body}\n")
    found.__globals__["E"] = kind
    return found


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_a_member_among_numbers_is_what_it_is_in_python(kind: type) -> None:
    same = 0
    for body in (*(f"return {text}" for text in EXPRESSIONS), *STATEMENTS):
        plain = written(body, kind)
        compiled = tj.script(plain, backend="reference")
        for v in NUMBERS:
            wanted = observe(plain, (np.array([1.0, 2.0, 3.0]), v))
            try:
                found = observe(compiled, (np.array([1.0, 2.0, 3.0]), v))
            except tj.CompileError:
                continue
            assert not (text := compare(found, wanted, message=False)), f"{body!r} of {v!r}: {text}"
            same += 1
    assert same > 100, "most is refused"


def dispatched(op: Any, x: Any) -> Any:
    if op == Code.A:
        return x + 1
    if op in (Code.B, 7):
        return x * 2
    return x * Weight.B


def counted(x: Any) -> Any:
    n = 0
    for v in x:
        if v == Code.B:
            n += Code.B
    return n, (x == Code.B).sum(), Code.A in x, Code.B.value, Code.B.name


def counted_at_once(x: Any) -> Any:
    return (x == Code.B).sum(), x + Code.A, x[Code.B]


def test_codes_of_an_enumeration_choose_at_run_time() -> None:
    makes = [lambda op=op: (op, np.arange(3.0)) for op in (1, 2, 7, 3, 1.0, True, np.int8(2), np.float32(1))]
    hold(dispatched, *makes)
    hold(counted, *(lambda d=d: (np.array([1, 2, 2, 3], d),) for d in ("i8", "u1", "f4")))


def test_members_are_arguments() -> None:
    hold(dispatched, lambda: (Code.A, np.ones(2)), lambda: (Code.B, np.ones(2)), lambda: (Bits.A, np.ones(2)))


def test_a_class_with_an_operator_of_its_own_is_refused() -> None:
    x = np.ones(2)
    for text in ("m + v", "v < m", "x + m"):
        with pytest.raises(tj.CompileError, match="whose class has its own") as caught:
            tj.script(written(f"return {text}", Odd))(x, 2)
        assert "write int(...) of it" in str(caught.value)
    with pytest.raises(tj.CompileError, match="comparison =="):
        tj.script(written("return v == m", Loose))(x, 2)
    with pytest.raises(tj.CompileError, match="on the left of"):
        tj.script(written("return m + v", Weight))(x, np.float64(2))
    assert type(operator.add(Weight.A, np.float64(2))) is float  # which is why


def test_traces_of_members() -> None:
    x = np.arange(3)
    with pytest.warns(tj.TracerWarning):
        traced = tj.trace(dispatched, (2, x))
    for op in (2, 7):
        assert not compare(observe(traced, (op, x.copy())), observe(dispatched, (op, x.copy())))
    by_code = tj.trace(counted_at_once, (x,))
    assert not compare(observe(by_code, (x,)), observe(counted_at_once, (x,)))
    assert "Code.B" in str(by_code.graph)
