"""What a trace does not take is refused in words that say what to write, or works; never an error of Python's own that the function
does not raise."""

from __future__ import annotations

import collections
import fractions
import functools
import math
import types
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.frontend.tracing.check import own_copies
from tests.system.harness import BACKENDS, compare, observe

X = np.arange(1.0, 4.0)
LABELS = np.array(["a", "b", "a"])
OBJECTS = np.array([1, None, "a"], dtype=object)
DAYS = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[D]")
FIELDS = np.array([(1.0, 2), (3.0, 4), (5.0, 6)], [("a", "f8"), ("b", "i8")])
BACKEND = np

pytestmark = pytest.mark.filterwarnings("ignore::tensorjit.errors.TracerWarning")


def held(traced: Callable[..., Any], function: Callable[..., Any], *args: Any) -> None:
    text = compare(observe(traced, own_copies(args)), observe(function, own_copies(args)), ulp=4)
    assert not text, f"{args!r}: {text}"


def refused(function: Callable[..., Any], *args: Any) -> str:
    """What a trace says against a function that works as plain Python."""
    function(*args)
    with pytest.raises(tj.UnsupportedError) as caught:
        tj.trace(function, args)
    return str(caught.value)


ROUNDINGS: list[Any] = [math.trunc, math.floor, math.ceil, int, round, math.sqrt, math.isqrt, abs, divmod, math.frexp]


@pytest.mark.parametrize("function", ROUNDINGS, ids=lambda f: f.__name__)
def test_functions_of_python_on_numbers(function: Any) -> None:
    def called(v: Any) -> Any:
        return function(v, 2) if function is divmod else function(v)

    for first, second in ((2.5, 3.5), (3, 4), (np.float64(2.5), np.float64(-3.5)), (np.float32(2.5), np.float32(7.5))):
        if function is math.isqrt and not isinstance(first, int):
            continue
        if isinstance(observe(called, (first,)).error, type):
            with pytest.raises(TypeError):  # math.trunc of an np.float32
                tj.trace(called, (first,))
            continue
        traced = tj.trace(called, (first,), backend="reference")
        for v in (first, second, first):
            held(traced, called, v)


@pytest.mark.parametrize(
    "array", [LABELS, OBJECTS, DAYS, FIELDS, np.ones(3, np.longdouble), np.ma.array(X)], ids=lambda a: str(a.dtype)
)
def test_arrays_of_other_dtypes_are_no_arguments(array: Any) -> None:
    assert "as an argument, which cannot be traced\n  hint: " in refused(lambda x, a: x * 2, X, array)
    assert "as an argument, which cannot be traced\n  hint: " in refused(lambda x, a: x * 2, X, [array])
    traced = tj.trace(lambda x, a: x * 2, (X, X))
    with pytest.raises(tj.UnsupportedError, match="as an argument"):
        traced(X, array)
    held(traced, lambda x, a: x * 2, X, X)


@pytest.mark.parametrize("scalar", [np.str_("a"), np.datetime64("2020"), np.timedelta64(1, "s"), np.longdouble(1), FIELDS[0]])
def test_scalars_of_other_dtypes_are_no_arguments(scalar: Any) -> None:
    assert "as an argument, which cannot be traced\n  hint: " in refused(lambda x, v: x * 2, X, scalar)


@pytest.mark.parametrize("backend", BACKENDS)
def test_captured_arrays_of_text_serve_plain_numpy(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def masked(x: Any) -> Any:
        return x * (LABELS == "a") + FIELDS["a"] - (DAYS > DAYS[0])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traced = tj.trace(masked, X, backend=backend)
    assert "`LABELS`, an array of dtype <U1, is followed as it is now" in str(caught[0].message)
    held(traced, masked, X)
    monkeypatch.setitem(globals(), "LABELS", np.array(["b", "a", "b"]))
    held(traced, masked, X)
    monkeypatch.setitem(globals(), "LABELS", np.array([1.0, 2.0, 3.0]))
    with pytest.raises(tj.UnsupportedError, match="== of a traced array and a str"):
        traced(X)


def test_arrays_of_other_dtypes_are_no_operands() -> None:
    assert "an array of dtype object" in refused(lambda x: (x * np.array([1, 2.0, 3], object)).astype(float), X)
    assert "an array of dtype <U" in refused(lambda x: x.astype(str) == "1.0", X)


def test_a_traced_value_beside_what_is_no_number() -> None:
    assert "hint: write `is None`" in refused(lambda x: x == None, X)  # noqa: E711
    assert "!= of a traced array and a str" in refused(lambda x: x != "a", X)
    for value in (2, 2.5, np.float64(2.5), np.int64(2)):
        for function in (lambda v: (v == None, v != "a"), lambda v: v == b"a", lambda v: v in ("a", 2)):  # noqa: E711
            held(tj.trace(function, (value,), backend="reference"), function, value)
    text = refused(lambda x: x * fractions.Fraction(1, 2), X)
    assert "this cannot be traced: TypeError: unsupported operand type(s) for *: 'traced value' and 'Fraction'" in text
    assert "x * fractions.Fraction(1, 2)" in text


def test_errors_that_only_a_later_trace_has() -> None:
    def function(x: Any, k: Any) -> Any:
        return x * fractions.Fraction(1, 2) if k else x * 2

    traced = tj.trace(function, (X, 0))
    with pytest.raises(tj.UnsupportedError, match="this cannot be traced: TypeError"):
        traced(X, 1)
    held(traced, function, X, 0)
    plain = tj.trace(function, (X, 0), fallback="python")
    with pytest.warns(tj.FallbackWarning):
        assert plain(X, 1).dtype == object


def test_modules_as_arguments_and_in_other_places() -> None:
    def by_argument(xp: Any, x: Any) -> Any:
        return xp.sin(x) + xp.zeros(x.shape[0])

    other = types.SimpleNamespace(sin=np.cos, zeros=np.ones)
    traced = tj.trace(by_argument, (np, X))
    held(traced, by_argument, np, X)
    held(traced, by_argument, other, X)


def test_a_module_under_a_name_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_global(x: Any) -> Any:
        return BACKEND.sqrt(x) + BACKEND.ones(3)

    other = types.ModuleType("other")
    other.sqrt, other.ones = np.square, np.zeros  # type: ignore[attr-defined]
    traced = tj.trace(by_global, X)
    for found in (other, np, math, other):
        monkeypatch.setitem(globals(), "BACKEND", found)
        if found is not math:
            held(traced, by_global, X)


def test_arrays_over_bytes_are_constants() -> None:
    data = np.arange(3.0).tobytes()

    def function(x: Any) -> Any:
        return x + np.frombuffer(data) * np.frombuffer(b"\1\2\3", np.uint8)

    traced = tj.trace(function, X)
    held(traced, function, X)
    held(traced, function, X + 1)


SCALE = 3.0


class Pair(NamedTuple):
    a: Any
    b: Any = 1.0

    def total(self) -> Any:
        return self.a + self.b * SCALE


class Named(Pair):
    """Its objects have attributes beside."""


Loose = collections.namedtuple("Loose", "a b")  # noqa: PYI024
Other = collections.namedtuple("Other", "a b")  # noqa: PYI024


@pytest.mark.parametrize("backend", BACKENDS)
def test_namedtuples_as_arguments(backend: str) -> None:
    def function(x: Any, p: Any) -> Any:
        return x * p[0] + p[1] + (0 if type(p) is tuple else len(type(p).__name__) + p.b) - len(p)

    traced = tj.trace(function, (X, Loose(2.0, 3.0)), backend=backend)
    for k in range(5):
        held(traced, function, X, Loose(float(k), 3.0))
    assert traced.paths == 1
    kinds: list[Any] = [Loose, Other, Pair, Named, lambda a, b: (a, b)]
    for kind in kinds:
        for a, b in ((4.0, 5.0), (X, 2), (X + 1, np.float32(2)), (True, X)):
            held(traced, function, X, kind(a, b))
    held(tj.script(lambda x, a, b: traced(x, (a, b)), backend=backend), lambda x, a, b: function(x, (a, b)), X, 2.0, 3.0)


def test_namedtuples_with_methods_and_in_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def function(x: Any, *pairs: Any) -> Any:
        (first, *_), _ = pairs
        first.a[...] += x
        return x * first.total() + pairs[1]["a" if isinstance(pairs[1], dict) else 0].b

    args = [Pair(X + 1, 2.0)], (Pair(1.0, 5.0), 1)
    traced = tj.trace(function, (X, *args))
    for factor in (3.0, 4.0):
        monkeypatch.setitem(globals(), "SCALE", factor)
        held(traced, function, X, [Pair(X + 1, 2.0)], (Pair(1.0, 6.0), 1))
    assert traced.paths == 2


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: Pair(x, x), "a Pair is returned: the result would be a plain tuple"),
        (lambda x: (Pair(x, x), 1), "hint: return tuple(...) of it"),
        (lambda x: {"a": x}, "a dict is returned"),
        (lambda x: [{x.shape[0]}], "a set is returned"),
        (lambda x: (v for v in (x, x)), "a generator is returned"),
    ],
)
def test_results_that_would_be_other_objects(function: Any, text: str) -> None:
    found = refused(function, X)
    assert text in found
    assert "test_trace_refusals.py" in found
    assert "lambda x" in found


def test_a_decision_on_a_numpy_bool() -> None:
    table = {True: 1.0, False: 2.0}

    def function(x: Any) -> Any:
        return x * table[bool(x[0] > 2)] + table[x[1] > 2]

    traced = tj.trace(function, X)
    for x in (X, -X, X + 5):
        held(traced, function, x)


def test_functions_that_are_not_numpys() -> None:
    special = pytest.importorskip("scipy.special")
    text = refused(lambda x: special.erf(x), X)
    assert "the ufunc 'erf', which is not NumPy's own" in text
    assert "hint: call it outside of the traced function" in text
    with pytest.raises(tj.UnsupportedError, match="the function 'erf', which is not NumPy's, is not compiled"):
        tj.script(lambda x: special.erf(x))(X)
    assert "np.concatenate" in refused(lambda x: np.r_[x, 1.0], X)
    assert "np.concatenate" in refused(lambda x: functools.reduce(np.add, [np.r_[x, 1.0]]), X)
