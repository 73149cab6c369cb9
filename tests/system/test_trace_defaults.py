"""Functions that are changed in place, and defaults that are: a traced call does what Python would do now."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS, compare, observe

X = np.arange(3.0)

pytestmark = pytest.mark.filterwarnings("ignore::tensorjit.errors.TracerWarning")


def held(traced: Callable[..., Any], function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    text = compare(observe(traced, args, kwargs), observe(function, args, kwargs), ulp=4)
    assert not text, text


def copied(function: Any) -> Any:
    """A function of its own, to be changed."""
    made = types.FunctionType(function.__code__, globals(), function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__ and dict(function.__kwdefaults__)
    return made


def one(x: Any) -> Any:
    return x + 1


def thousand(x: Any) -> Any:
    return x + 1000


def two(x: Any, y: Any) -> Any:
    return x * y


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_function_that_is_given_another_code(backend: str) -> None:
    function = copied(one)
    traced = tj.trace(function, X, backend=backend)
    for code in (thousand, one, two, thousand):
        function.__code__ = code.__code__
        held(traced, function, X)  # the second has one parameter more: TypeError
        held(traced, function, X, 2.0)
        held(traced, function, x=X)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_helper_that_is_given_another_code(backend: str) -> None:
    helper = copied(one)

    class Layer:
        def go(self, x: Any) -> Any:
            return helper(x) * 2

        def __call__(self, x: Any) -> Any:
            return self.go(x)

    layer = Layer()
    traced = tj.trace(layer, X, backend=backend)
    outer = tj.script(lambda x: traced(x) - 1, backend=backend)
    for code in (thousand, one, two):
        helper.__code__ = code.__code__
        held(traced, layer, X)
        held(outer, lambda x: layer(x) - 1, X)
    helper.__code__ = one.__code__
    Layer.go.__code__ = (lambda self, x: helper(x) * 7).__code__
    held(traced, layer, X)


def test_the_code_of_a_method_of_an_object_made_in_the_trace() -> None:
    class Made:
        def __init__(self, x: Any) -> None:
            self.x = x

        def go(self, k: Any = 2) -> Any:
            return self.x * k

    def function(x: Any) -> Any:
        return Made(x).go()

    traced = tj.trace(function, X)
    Made.go.__defaults__ = (5,)
    held(traced, function, X)
    Made.go.__code__ = (lambda self, k=2: self.x - k).__code__
    held(traced, function, X)


def scaled(x: Any, k: Any = 2, *, shift: Any = 1) -> Any:
    return x * k + shift


VALUES = (2.5, np.full(3, 4.0), True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("through", ["itself", "a helper", "a partial", "a method"])
def test_defaults_that_are_replaced(through: str, backend: str) -> None:
    function = copied(scaled)
    wrappers = {
        "itself": function,
        "a helper": lambda x: function(x) - 1,
        "a partial": functools.partial(function, shift=7),
        "a method": types.MethodType(lambda self, x: function(x, **self), {}),
    }
    called = wrappers[through]
    traced = tj.trace(called, X, backend=backend)
    for value in VALUES:
        function.__defaults__ = (value,)
        held(traced, called, X)
        function.__kwdefaults__["shift"] = value
        held(traced, called, X)
    function.__kwdefaults__ = {"shift": 11}
    held(traced, called, X)
    function.__defaults__ = None
    held(traced, called, X)
    function.__defaults__ = (1, 2)  # now the first parameter has one
    held(traced, called, X)


WEIGHTS = np.ones(3)
LIST = [2.0, 3.0]
NESTED = (LIST, WEIGHTS)
TABLE = {"a": 2.0}


def of_array(x: Any, w: Any = WEIGHTS) -> Any:
    return x + w


def of_list(x: Any, k: Any = LIST) -> Any:
    return x * k[0] + len(k)


def of_tuple(x: Any, k: Any = NESTED) -> Any:
    return x * k[0][0] + k[1]


def of_dict(x: Any, *, d: Any = TABLE) -> Any:
    return x * d["a"]


def by_tuple(x: Any) -> Any:
    return x * NESTED[0][0] + NESTED[1]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", [of_array, of_list, of_tuple, of_dict, by_tuple])
def test_defaults_that_change_where_they_are(function: Any, backend: str) -> None:
    traced = tj.trace(function, X, backend=backend)
    for k in range(3):
        WEIGHTS[0] += k
        LIST[0] += k
        LIST.append(1.0)
        TABLE["a"] -= k
        held(traced, function, X)
    before = traced.paths
    WEIGHTS[0] += 1  # an array: no new path
    if function is of_array:
        held(traced, function, X)
        assert traced.paths == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_defaults_and_given_arguments_side_by_side(backend: str) -> None:
    def function(x: Any, a: Any = (1.0, [2.0]), b: Any = 3, /, c: Any = X, *more: Any, d: Any = WEIGHTS, **none: Any) -> Any:
        return x * a[0] + b - c + d + sum(more)

    traced = tj.trace(function, X, backend=backend)
    for args, kwargs in (
        ((), {}), (((5.0,),), {}), (((5.0,), 4), {}), ((), {"c": X + 1}), ((), {"d": 2.0}), ((), {"c": 1.5, "d": X}),
        (((5.0,), 4, 1.0, 7.0, 8), {}),
    ):  # fmt: skip
        for _ in range(2):
            held(traced, function, X, *args, **kwargs)
    with pytest.raises(tj.UnsupportedError, match="keywords of"):
        traced(X, other=1)


def test_a_wrapper_that_takes_any_keywords() -> None:
    def louder(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) * 2

        return wrapper

    wrapped = louder(scaled)
    traced = tj.trace(wrapped, X)
    held(traced, wrapped, X)
    held(traced, wrapped, X, 4)
    held(tj.script(lambda x: traced(x) + 1), lambda x: wrapped(x) + 1, X)
