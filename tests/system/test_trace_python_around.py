"""Python around the operations of a traced function: texts, classes, foreign numbers, error states, warnings."""

from __future__ import annotations

import decimal
import fractions
import numbers
import pprint
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import compare, observe

X = np.arange(1.0, 5.0)


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.TracerWarning)
        yield


def choosing(decide: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A function that does one thing or another."""

    def function(x: Any, k: Any) -> Any:
        return x * 2 if decide(x, k) else x - 1

    return function


TEXTS: dict[str, Callable[[Any, Any], Any]] = {
    "str": lambda x, k: str(k) == "3",
    "repr": lambda x, k: repr(k) == "3",
    "f-string": lambda x, k: f"{k}" == "3" or f"{k!r}" == "4",
    "format": lambda x, k: "{} {!r}".format(k, k) == "3 3" or format(k, "") == "4.5",  # noqa: UP032
    "percent": lambda x, k: "%s %r" % (k, k) == "3 3",  # noqa: UP031
    "in a list": lambda x, k: str([k, (k,)]) == "[3, (3,)]",
    "of an element": lambda x, k: f"{x[0]:.2f} {x[1]}" == "1.00 2.0",
    "pprint": lambda x, k: pprint.pformat(k) == "3",
    "join": lambda x, k: "".join(map(str, [k, k])) == "33",
}
CLASSES: dict[str, Callable[[Any, Any], Any]] = {
    "is": lambda x, k: type(k) is int,
    "in": lambda x, k: type(k) in (float, np.float32),
    "equal": lambda x, k: type(k) == float,  # noqa: E721
    "name": lambda x, k: type(k).__name__ == "float64",
    "__class__": lambda x, k: k.__class__ is int,
    "isinstance": lambda x, k: isinstance(k, int) or isinstance(k, np.float32),
    "abstract": lambda x, k: isinstance(k, numbers.Integral),
    "made": lambda x, k: type(k)(3) == 3 and type(type(k)(3)) is int,
    "of an element": lambda x, k: isinstance(x[0], np.integer),
    "type of an element": lambda x, k: type(x[0]) is np.float32,
    "of a sum": lambda x, k: type(x.sum() + k) is np.float64,
    "isscalar": lambda x, k: np.isscalar(x[0] + k) and isinstance(x[0], np.floating),
    "array": lambda x, k: isinstance(x, np.ndarray) and type(x) is np.ndarray,
    "matched": lambda x, k: _matched(k),
}
FOREIGN: dict[str, Callable[[Any, Any], Any]] = {
    "decimal": lambda x, k: k == decimal.Decimal(3),
    "decimal first": lambda x, k: decimal.Decimal("4.5") == k,
    "unequal": lambda x, k: k != decimal.Decimal(3),
    "fraction": lambda x, k: k == fractions.Fraction(9, 2),
    "contained": lambda x, k: k in [decimal.Decimal(3), fractions.Fraction(9, 2)],
    "element": lambda x, k: x[2] == decimal.Decimal(3),
    "sum": lambda x, k: k + fractions.Fraction(1, 2) == 5,
    "none": lambda x, k: k == None or k == "3",  # noqa: E711
}


def _matched(k: Any) -> bool:
    match k:
        case int():
            return True
        case float(value):
            return value > 3
        case _:
            return False


def everywhere(function: Callable[..., Any], ks: list[Any], *xs: Any) -> None:
    traced = tj.trace(function, (X, ks[0]))
    for k in ks:
        for x in (X, *xs):
            for _ in range(2):
                text = compare(observe(traced, (x, k)), observe(function, (x, k)), ulp=4)
                assert not text, (k, x.dtype, text)


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_a_number_is_guarded(quiet: None, name: str) -> None:
    everywhere(choosing(TEXTS[name]), [3, 4.5, 4, np.float64(3)])


@pytest.mark.parametrize("name", CLASSES)
def test_the_class_of_a_value_is_guarded(quiet: None, name: str) -> None:
    everywhere(choosing(CLASSES[name]), [3, 3.0, np.float32(3), np.float64(3)], X.astype(int))


@pytest.mark.parametrize("name", FOREIGN)
def test_numbers_of_other_classes(quiet: None, name: str) -> None:
    everywhere(choosing(FOREIGN[name]), [3, 4.5, 3.0, np.nan])


def test_texts_are_returned(quiet: None) -> None:
    def function(x: Any, k: Any) -> Any:
        return str(k), repr(x[0]), f"{x[1]:.3f}|{k!r:>6}", type(x).__name__, x

    for ks in ([3, 4], [np.float32(3), np.int64(4)], [1.5, -0.0, 0.0, np.nan], [2 + 1j, 1j]):
        traced = tj.trace(function, (X, ks[0]))
        for k in ks:
            found, expected = traced(X, k), function(X, k)
            assert found[:4] == expected[:4]


def test_the_text_of_an_array_warns() -> None:
    with pytest.warns(tj.TracerWarning, match="the text of a traced array is that of this run"):
        traced = tj.trace(lambda x: (f"{x}", x), X)
    assert traced(X)[0] == str(X)
    with pytest.raises(tj.UnsupportedError, match="the text of a traced array"):
        tj.trace(lambda x: (str(x), x), X, strict=True)


def test_arrays_are_not_compared_with_what_is_no_array() -> None:
    for other in (None, "a", object()):
        with pytest.raises(tj.UnsupportedError, match="== of a traced array"):
            tj.trace(lambda x, other=other: x == other, X)


class Asks:
    def __init__(self, k: Any) -> None:
        self.k = k

    def kind(self) -> bool:
        return type(self.k) is int

    def own(self) -> str:
        return type(self).__name__


class Tells(Asks):
    def kind(self) -> bool:
        return isinstance(self.k, int)


def test_type_in_code_that_is_not_copied_warns() -> None:
    with pytest.warns(tj.TracerWarning, match=r"`type` in Asks.kind, which runs as it is"):
        tj.trace(choosing(lambda x, k: Asks(k).kind()), (X, 3), check_trace=False)


# -- error states and warnings -----------------------------------------------------------------------------------


def test_errstate_within_a_trace_warns_or_is_refused() -> None:
    def ignoring(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.log(x)

    with pytest.warns(tj.TracerWarning, match="np.errstate is in effect while tracing only"):
        traced = tj.trace(ignoring, X)
    with np.errstate(all="ignore"):
        assert traced(X - 1)[0] == -np.inf

    def raising(x: Any) -> Any:
        try:
            with np.errstate(divide="raise"):
                return np.log(x)
        except FloatingPointError:
            return x

    with pytest.raises(tj.UnsupportedError, match="an operation under np"):
        tj.trace(raising, X)
    with np.errstate(all="raise"):
        around = tj.trace(np.log, X)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        around(X - 1)


def test_a_warning_within_a_trace_is_told_of() -> None:
    def function(x: Any) -> Any:
        warnings.warn("hey", UserWarning, stacklevel=1)
        return x

    with pytest.warns() as caught:
        tj.trace(function, X, check_trace=False)
    assert [w.category for w in caught] == [UserWarning, tj.TracerWarning]
    assert caught[0].filename == __file__ and "while tracing only" in str(caught[1].message)
    assert warnings.warn.__module__ == "_warnings"


def test_printing_within_a_trace_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    def function(x: Any) -> Any:
        print("here", x)  # noqa: T201
        return x

    with pytest.warns(tj.TracerWarning, match="`print` prints while tracing only"):
        traced = tj.trace(function, X, check_trace=False)
    assert capsys.readouterr().out == f"here <traced {X!r}>\n"
    traced(X)
    assert not capsys.readouterr().out
