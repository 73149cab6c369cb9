"""What an entry reads from elsewhere at each call: captured names, attributes, items."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tensorjit.backends.llvm.entry import (
    CaptureParam,
    ScalarParam,
    StaticParam,
)
from tensorjit.passes.specialise.state import MISSING, Source
from tests.llvm.entries import VECTOR, function_of, give_back, is_miss


class Holder:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Slotted:
    __slots__ = ("value",)


def reader(*captures: CaptureParam) -> Any:
    return function_of(body=give_back, captures=captures)


def test_attributes_and_items_are_read_at_each_call() -> None:
    inner: Any = Holder(items=[1.0, 2.0], table={"w": 3.0}, pair=(4.0, 5.0))
    outer: Any = Holder(inner=inner)
    path = Source("attribute", Source("constant", outer), "inner")
    number = ScalarParam("float")
    function = reader(
        CaptureParam(Source("what", path), StaticParam(Holder, identity=True)),
        CaptureParam(Source("length", Source("attribute", path, "items")), StaticParam(2)),
        CaptureParam(Source("list item", Source("attribute", path, "items"), 1), number),
        CaptureParam(Source("dict item", Source("attribute", path, "table"), "w"), number),
        CaptureParam(Source("tuple item", Source("attribute", path, "pair"), 1), number),
    )
    assert function()[2:] == (2.0, 3.0, 5.0)
    inner.items[1], inner.table["w"], inner.pair = 6.0, 7.0, (8.0, 9.0)
    assert function()[2:] == (6.0, 7.0, 9.0)
    outer.inner = Holder(items=[0.0, 0.5], table={"w": 0.25}, pair=(0.0, 0.125))
    assert function()[2:] == (0.5, 0.25, 0.125)
    for change in (
        lambda: outer.inner.items.append(1.0),
        lambda: outer.inner.items.pop(),
        lambda: setattr(outer.inner, "items", (0.0, 0.5)),
        lambda: outer.inner.table.clear(),
        lambda: setattr(outer.inner, "pair", (1.0,)),
        lambda: delattr(outer.inner, "table"),
        lambda: setattr(outer, "inner", None),
        lambda: delattr(outer, "inner"),
    ):
        outer.inner = Holder(items=[0.0, 0.5], table={"w": 0.25}, pair=(0.0, 0.125))
        assert not is_miss(function())
        change()
        assert is_miss(function())
        assert is_miss(function())


def test_absence_and_identity_are_guarded() -> None:
    holder: Any = Holder()
    slotted: Any = Slotted()
    me = Source("constant", holder)
    a, b = Source("attribute", me, "a"), Source("attribute", Source("constant", slotted), "value")
    absent = reader(CaptureParam(Source("has", a), StaticParam(False)), CaptureParam(Source("what", b), StaticParam(MISSING, True)))
    assert not is_miss(absent())
    holder.a = 1
    assert is_miss(absent())
    same = reader(CaptureParam(Source("has", a), StaticParam(True)), CaptureParam(Source("same", a, b), StaticParam(True)))
    assert is_miss(same())
    slotted.value = holder.a = object()
    assert not is_miss(same()) and is_miss(absent())
    slotted.value = object()
    assert is_miss(same())


def test_keys_are_guarded_in_their_order() -> None:
    table: dict[Any, Any] = {"a": 1, "b": 2}
    function = reader(CaptureParam(Source("keys", Source("constant", table)), StaticParam(("a", "b"))))
    assert not is_miss(function())
    table["".join("a")] = 3
    assert not is_miss(function())
    for keys in (("b", "a"), ("a",), ("a", "b", "c"), ("a", 1)):
        table.clear()
        table.update(dict.fromkeys(keys))
        assert is_miss(function())
    table.clear()
    table.update({"".join(["", k]): 1 for k in "ab"})
    assert not is_miss(function())


def test_reading_attributes_leaks_nothing() -> None:
    class Computed:
        def __getattr__(self, name: str) -> Any:
            return np.arange(3.0)

    held = np.arange(3.0)
    holder = Holder(data=held, other=1.0)
    data, other = (Source("attribute", Source("constant", holder), name) for name in ("data", "other"))
    hit = function_of(body=lambda host, args: host.ret(None), captures=(CaptureParam(data, VECTOR),))
    miss = reader(CaptureParam(data, VECTOR), CaptureParam(other, StaticParam(2.0)))
    gone = reader(CaptureParam(data, VECTOR), CaptureParam(Source("attribute", data, "nothing"), StaticParam(2.0)))
    before = sys.getrefcount(held)
    for _ in range(100):
        assert hit() is None and is_miss(miss()) and is_miss(gone())
    assert sys.getrefcount(held) == before
    fresh = function_of(body=give_back, captures=(CaptureParam(Source("attribute", Source("constant", Computed()), "x"), VECTOR),))
    result = fresh()
    assert sys.getrefcount(result) == 2
    assert result.sum() == 3.0
