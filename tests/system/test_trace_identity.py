"""`is` between things that may be one object, in traces, and between arguments in scripts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorjit as tj
from tests.system.harness import BACKENDS

X = np.arange(1.0, 5.0)
W = X + 1
V = X + 2

pytestmark = pytest.mark.filterwarnings("ignore::tensorjit.errors.TracerWarning")


class Thing:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


def agree(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    assert np.array_equal(found, expected), (found, expected)


# -- arguments -------------------------------------------------------------------------------------------------


def two(a: Any, b: Any) -> Any:
    return a * 2 if a is b else a + b * 10


def two_not(a: Any, b: Any) -> Any:
    return a + b if a is not b else a * 5


def by_id(a: Any, b: Any) -> Any:
    return a * 2 if id(a) == id(b) else a - b


def helper(a: Any, b: Any) -> Any:
    return a is b


def in_a_helper(a: Any, b: Any) -> Any:
    return a * 3 if helper(a, b) else a - b


def written(a: Any, b: Any) -> Any:
    a += 1
    if a is b:
        b += 2
    return a + b


def captured(a: Any, b: Any) -> Any:
    return a * 2 if a is W else b * 3 if b is V else a + b


def cases() -> list[tuple[Any, Any]]:
    x, y = X.copy(), X + 5
    return [(x, x), (x, y), (x, x[:]), (W, y), (x, V), (W, W), (W, V)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("function", [two, two_not, by_id, in_a_helper, captured])
def test_two_arguments_may_be_one_array(function: Callable[..., Any], backend: str) -> None:
    for first in (0, 1) if backend == "llvm" else (1,):
        traced = tj.trace(function, cases()[first], backend=backend)
        for pair in cases() * 2:
            agree(traced(*pair), function(*pair))


def test_writes_into_one_array_by_two_names() -> None:
    traced = tj.trace(written, (X.copy(), X.copy()))
    for same in (True, False, True):
        a, c = X.copy(), X.copy()
        b, d = (a, c) if same else (X.copy(), X.copy())
        agree(traced(a, b), written(c, d))
        agree(a, c)
        agree(b, d)


def test_three_arguments_and_lists_of_them() -> None:
    def three(items: Any, c: Any) -> Any:
        a, b = items
        return a * ((a is b) + 2 * (b is c) + 4 * (a is c) + 10)

    arrays = [X.copy(), X + 1, X + 2]
    for start in ((0, 1, 2), (0, 1, 0)):
        traced = tj.trace(three, ((arrays[start[0]], arrays[start[1]]), arrays[start[2]]))
        for i, j, k in itertools.product(range(3), repeat=3):
            agree(traced((arrays[i], arrays[j]), arrays[k]), three((arrays[i], arrays[j]), arrays[k]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_scripts_tell_arguments_apart(backend: str) -> None:
    for function in (two, two_not, in_a_helper, captured):
        scripted = tj.script(function, backend=backend)
        for pair in cases() * 2:
            agree(scripted(*pair), function(*pair))

    @tj.script(backend=backend)
    def in_a_loop(a: Any, b: Any, n: int) -> Any:
        s = 0
        for i in range(n):
            if a is b:
                s += i
            a[0] += 1
        return s

    x, y = X.copy(), X.copy()
    assert (in_a_loop(x, x, 4), in_a_loop(x, y, 4), in_a_loop(x, x, 4)) == (6, 0, 6)


def test_without_such_code_nothing_is_guarded() -> None:
    traced = tj.trace(lambda a, b: (a + b) * (W if b is not None else V), (X, X + 1))
    agree(traced(X, X), (X + X) * W)
    assert traced.paths == 1 and " is " not in str(traced.graph)


# -- what is captured ------------------------------------------------------------------------------------------


def test_two_attributes_may_be_one_array() -> None:
    thing = Thing(p=X.copy(), q=X + 1, r=X + 2)

    def function(x: Any) -> Any:
        return x * ((thing.p is thing.q) + 2 * (thing.q is thing.r) + 10)

    arrays = [X.copy(), X + 1, X + 2]
    for start in ((0, 1, 2), (0, 0, 1)):
        thing.p, thing.q, thing.r = (arrays[k] for k in start)
        traced = tj.trace(function, X)
        for i, j, k in itertools.product(range(3), repeat=3):
            thing.p, thing.q, thing.r = arrays[i], arrays[j], arrays[k]
            agree(traced(X), function(X))


@pytest.mark.parametrize("make", [Thing, list, dict, lambda: (X, 1.0), lambda: np.float64(3.0), lambda: X.copy()])
def test_two_places_may_hold_one_object(make: Callable[[], Any]) -> None:
    thing = Thing(p=make(), items=[make()], table={"k": make()})

    def function(x: Any) -> Any:
        return x * ((thing.p is thing.items[0]) + 2 * (thing.p is thing.table["k"]) + 10)

    objects = [make(), make()]
    traced = tj.trace(function, X)
    for i, j, k in itertools.product(range(2), repeat=3):
        thing.p, thing.items[0], thing.table["k"] = objects[i], objects[j], objects[k]
        agree(traced(X), function(X))


def test_an_object_may_be_its_own_part() -> None:
    class Node:
        def __init__(self, parent: Any = None) -> None:
            self.parent = parent

        def __call__(self, x: Any) -> Any:
            return x * 2 if self.parent is self else x * 3

    node = Node(Node())
    traced = tj.trace(node, X)
    agree(traced(X), X * 3)
    node.parent = node
    agree(traced(X), X * 2)
    node.parent = Node()
    agree(traced(X), X * 3)


def test_an_object_may_come_where_nothing_was() -> None:
    thing = Thing(child=None, kids=[Thing(), Thing()], w=None)

    def function(x: Any) -> Any:
        return x * ((thing.child is thing) + 2 * (thing.child is thing.kids[1]) + 4 * (thing.w is x) + 10)

    traced = tj.trace(function, X)
    for child in (None, thing, thing.kids[1], Thing(), thing, None, thing.kids[0], thing.kids[1]):
        for w in (None, X, 3.0):
            thing.child, thing.w = child, w
            agree(traced(X), function(X))


def test_objects_without_an_order_of_their_own_are_equal_if_they_are_one() -> None:
    class Plain:
        pass

    thing = Thing(p=Plain(), q=Plain(), items=[Plain(), Plain()])

    def function(x: Any) -> Any:
        y = x * 2 if thing.p == thing.q else x
        return y + 1 if thing.p in thing.items else y

    traced = tj.trace(function, X)
    agree(traced(X), X)
    one, other = thing.q, thing.p
    for p, q, item in ((one, one, other), (one, other, one), (other, one, one), (one, one, one)):
        thing.p, thing.q, thing.items[1] = p, q, item
        agree(traced(X), function(X))


def test_an_argument_may_be_what_an_object_holds() -> None:
    thing = Thing(w=X + 1)

    def function(x: Any) -> Any:
        return thing.w * 2 if x is thing.w else x + thing.w

    for first in (X, thing.w):
        traced = tj.trace(function, first)
        for x in (X, thing.w, X + 1, thing.w):
            agree(traced(x), function(x))
        thing.w = X + 3
        agree(traced(thing.w), function(thing.w))


def test_sentinels() -> None:
    missing = object()

    def function(x: Any, y: Any = missing) -> Any:
        return x if y is missing else x + y

    traced = tj.trace(function, (X, X))
    agree(traced(X, X), X + X)
    agree(traced(X), X)


def test_what_may_be_the_very_array_is_refused() -> None:
    def function(x: Any) -> Any:
        y = x.astype(float, copy=False)
        return y * 2 if y is x else y

    for make in (function, lambda x: np.ascontiguousarray(x) is x):
        with pytest.raises(tj.UnsupportedError, match="may be the very array it was made of"):
            tj.trace(make, X)
    agree(tj.trace(lambda x: x * 2 if np.asarray(x) is x else x, X)(X), X * 2)


# -- True and False --------------------------------------------------------------------------------------------


def test_a_truth_that_is_compared_by_identity_decides() -> None:
    def function(x: Any, k: Any) -> Any:
        if (k > 0) is True:
            return x
        return x * 2 if (k < -5) is not False else x * 3

    traced = tj.trace(function, (X, 1.0))
    for k in (1.0, -1.0, -9.0, 2.0):
        agree(traced(X, k), function(X, k))

    def matched(x: Any, k: Any) -> Any:
        match k > 0:
            case True:
                return x
            case _:
                return -x

    traced = tj.trace(matched, (X, 1))
    for k in (1, -1):
        agree(traced(X, k), matched(X, k))
