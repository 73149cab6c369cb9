"""What a loop, an unpacking or a starred item runs over: how many items, and the item at an index."""

from __future__ import annotations

from collections.abc import Callable

from tensorjit.ir import dims
from tensorjit.ir.graph import Value
from tensorjit.ir.types import ArrayType
from tensorjit.ops.abstract import Abstract, Bound, Mapped, Poison, Range, Sequence_, Static, of, static_value
from tensorjit.ops.indexing import index
from tensorjit.ops.typed import TypedBuilder
from tensorjit.ops.words import describe

Item = Callable[[Abstract], Abstract]  # of an index


def iteration(b: TypedBuilder, x: Abstract) -> tuple[dims.Dim, Item]:
    """How often a loop over x turns, and its item at an index (a Python int)."""
    if isinstance(x, Range):
        return _range(b, x)
    if isinstance(x, Sequence_):
        items = x.items
        return len(items), lambda k: items[static_value(k)]
    if isinstance(x, Value) and isinstance(x.type, ArrayType):
        if not x.type.shape:
            b.fail("TypeError", "iteration over a 0-d array")
            return 0, lambda k: Poison()
        return x.type.shape[0], lambda k: index(b, x, k)
    if isinstance(x, Mapped):
        return _mapped(b, x)
    if isinstance(x, Static) and isinstance(x.value, (str, tuple, range, frozenset)):
        known = tuple(x.value)
        return len(known), lambda k: of(known[static_value(k)])
    if isinstance(x, Poison):  # it was told already
        return 0, lambda k: Poison()
    b.refuse(f"a loop over {describe(x)}", "call the method" if isinstance(x, Bound) else "")


def items_of(b: TypedBuilder, x: Abstract) -> tuple[Abstract, ...] | None:
    """The items of a tuple, a list, or an iterator over some; None of what may have any number of them."""
    if isinstance(x, Sequence_):
        return x.items
    if isinstance(x, Mapped) and has_items(x):
        length, item = iteration(b, x)
        if isinstance(length, int):
            return tuple(item(Static(k)) for k in range(length))
    return None


def has_items(x: Abstract) -> bool:
    """Whether an iterator goes through a tuple, a list or a string, whose items are there for known indices alone."""
    if isinstance(x, Mapped):
        return any(map(has_items, x.args))
    return isinstance(x, Sequence_) or (isinstance(x, Static) and isinstance(x.value, (str, tuple, range, frozenset)))


def _range(b: TypedBuilder, x: Range) -> tuple[dims.Dim, Item]:
    step = b.static(x.step, "the step of a range")
    start, stop = b.dim(x.start), b.dim(x.stop)
    if step == 0:
        b.fail("ValueError", "range() arg 3 must not be zero")
        return 0, lambda k: Poison()
    length = dims.slice_length(start, stop, step)

    def item(k: Abstract) -> Abstract:
        return b.int_of(b.dim(k) * step + start)

    return length, item


def _mapped(b: TypedBuilder, x: Mapped) -> tuple[dims.Dim, Item]:
    parts = [iteration(b, a) for a in (x.args[:1] if x.kind == "enumerate" else x.args)]
    if x.kind == "reversed":
        length, item = parts[0]
        return length, lambda k: item(b.int_of(length - 1 - b.dim(k)))
    if x.kind == "enumerate":
        length, item = parts[0]
        first = b.dim(x.args[1])
        return length, lambda k: Sequence_((b.int_of(b.dim(k) + first), item(k)))
    shortest = parts[0][0]
    for length, _ in parts[1:]:
        shortest = dims.minimum(shortest, length)
    return shortest, lambda k: Sequence_(tuple(get(k) for _, get in parts))
