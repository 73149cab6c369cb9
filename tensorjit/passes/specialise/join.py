"""What two paths have in common: templates of abstract values.

A template says which part of a value is the same on every path (it needs no value in the graph) and which part is a value, and of
what type. Nothing is coerced: a Python int and a float do not join, and the caller then keeps the paths apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import from_numpy
from tensorjit.ir.graph import Value
from tensorjit.ir.signature import same_static
from tensorjit.ir.types import PY_BOOL, PY_COMPLEX, PY_FLOAT, PY_INT, Access, ArrayType, Layout, ScalarType, Type
from tensorjit.ops.abstract import Abstract, OneOf, Poison, Sequence_, Static, SymInt, Unbound, is_numpy_scalar
from tensorjit.ops.typed import TypedBuilder
from tensorjit.records import dataclass

_PY = {bool: PY_BOOL, int: PY_INT, float: PY_FLOAT, complex: PY_COMPLEX}


@final
@dataclass(frozen=True, slots=True)
class Same:
    """The same on every path."""

    value: Abstract


@final
@dataclass(frozen=True, slots=True)
class Typed:
    """A value of this type."""

    type: Type


@final
@dataclass(frozen=True, slots=True)
class Items:
    """A tuple or list, item by item."""

    items: tuple[Template, ...]
    is_list: bool


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """A number of one of these types: a bool for each says which, and there is room for each."""

    types: tuple[ScalarType, ...]


Template = Same | Typed | Items | Choice
MAX_CHOICES = 3


def template(x: Abstract) -> Template:
    """The narrowest template of one value."""
    if isinstance(x, Value):
        return Typed(x.type)
    if isinstance(x, Sequence_):
        return Items(tuple(template(i) for i in x.items), x.is_list)
    if isinstance(x, OneOf):
        return Choice(tuple(v.type for v in x.values if isinstance(v.type, ScalarType)))
    return Same(x)


def number_type(x: Abstract) -> Type | None:
    """The type that a number has as a value of the graph; None for what is no number."""
    if isinstance(x, SymInt):
        return PY_INT
    if isinstance(x, Static):
        dtype = from_numpy(x.value.dtype) if is_numpy_scalar(x.value) else None
        exact = dtype is not None and type(x.value) is dtype.numpy.type  # np.longlong is no np.int64
        return ScalarType(dtype) if dtype is not None and exact else _PY.get(type(x.value))
    return x.type if isinstance(x, Value) else None


def widen(t: Template) -> Template:
    """A template whose numbers may change from turn to turn."""
    if isinstance(t, Items):
        return Items(tuple(widen(i) for i in t.items), t.is_list)
    if isinstance(t, Same):
        found = number_type(t.value)
        return t if found is None else Typed(found)
    return t


def same(s: Template, t: Template) -> bool:
    """Whether two templates are the same."""
    if isinstance(s, Same) and isinstance(t, Same):
        return same_abstract(s.value, t.value)
    if isinstance(s, Items) and isinstance(t, Items):
        return s.is_list == t.is_list and len(s.items) == len(t.items) and all(map(same, s.items, t.items))
    if isinstance(s, Choice) and isinstance(t, Choice):
        return s.types == t.types
    return isinstance(s, Typed) and isinstance(t, Typed) and s.type == t.type


def same_abstract(x: Abstract, y: Abstract) -> bool:
    """Whether two abstract values without run-time parts are known to be the same."""
    if isinstance(x, Static) and isinstance(y, Static):
        return same_static(x.value, y.value)
    if isinstance(x, SymInt) and isinstance(y, SymInt):
        return x == y
    if isinstance(x, Unbound) and isinstance(y, Unbound):
        return True
    return x is y


def join(b: TypedBuilder, s: Template, t: Template, mark: int) -> Template | None:
    """The template of a value that is `s` on one path and `t` on another; None where they do not fit one type.

    Sizes whose symbols were made after `mark` (inside the paths) become new symbols.
    """
    if (isinstance(s, Same) and isinstance(s.value, Poison)) or (isinstance(t, Same) and isinstance(t.value, Poison)):
        return Same(Poison())
    if isinstance(s, Items) or isinstance(t, Items):
        return _join_items(b, s, t, mark)
    if isinstance(s, Same) and isinstance(t, Same) and same_abstract(s.value, t.value) and not _escapes(b, s.value, mark):
        return s
    one, other = _type_of(s), _type_of(t)
    if isinstance(one, ArrayType) and isinstance(other, ArrayType):
        return _join_arrays(b, one, other, mark)
    if one is not None and one == other:
        return Typed(one)
    return _join_numbers(b, _numbers(s), _numbers(t))


def _numbers(t: Template) -> tuple[ScalarType, ...]:
    if isinstance(t, Choice):
        return t.types
    found = _type_of(t)
    return (found,) if isinstance(found, ScalarType) else ()


def _join_numbers(b: TypedBuilder, one: tuple[ScalarType, ...], other: tuple[ScalarType, ...]) -> Template | None:
    types = tuple(dict.fromkeys((*one, *other)))
    new = types not in (one, other)
    return None if not one or not other or len(types) > MAX_CHOICES or (new and not b.choices) else Choice(types)


def _join_items(b: TypedBuilder, s: Template, t: Template, mark: int) -> Template | None:
    if not (isinstance(s, Items) and isinstance(t, Items)) or s.is_list != t.is_list or len(s.items) != len(t.items):
        return None
    items = [join(b, x, y, mark) for x, y in zip(s.items, t.items, strict=True)]
    done = tuple(i for i in items if i is not None)
    return Items(done, s.is_list) if len(done) == len(items) else None


def _type_of(t: Template) -> Type | None:
    if isinstance(t, Typed):
        return t.type
    return number_type(t.value) if isinstance(t, Same) else None


def _join_arrays(b: TypedBuilder, one: ArrayType, other: ArrayType, mark: int) -> Template | None:
    if one.dtype != other.dtype or one.rank != other.rank:
        return None
    if any((x == 1) != (y == 1) for x, y in zip(one.shape, other.shape, strict=True)):
        return None  # a static 1 broadcasts where another size must not
    shape: list[Dim] = []
    for x, y in zip(one.shape, other.shape, strict=True):
        shape.append(x if x == y and not escapes(b, x, mark) else b.symbol("d"))
    layout: Layout = one.layout if one.layout == other.layout else "A"
    return Typed(ArrayType(one.dtype, tuple(shape), layout, _join_access(one.access, other.access)))


def _join_access(one: Access, other: Access) -> Access:
    if one == other:
        return one
    return "unsure" if "unsure" in (one, other) else "either"


def _is_flagged(t: Typed) -> bool:
    return isinstance(t.type, ArrayType) and t.type.access == "either"


def escapes(b: TypedBuilder, dim: Dim, mark: int) -> bool:
    """Whether a size depends on a symbol that was made after `mark`."""
    return any(b.birth.get(s.name, 0) > mark for s in dims.symbols_of(dim))


def _escapes(b: TypedBuilder, x: Abstract, mark: int) -> bool:
    return isinstance(x, SymInt) and escapes(b, x.dim, mark)


def types_of(t: Template) -> Iterator[Type]:
    """The types of the values that a template needs, in order; with an array whose access depends on the path, its flag."""
    if isinstance(t, Typed):
        yield t.type
        if _is_flagged(t):
            yield PY_INT
    elif isinstance(t, Choice):
        yield from (PY_BOOL for _ in t.types)
        yield from t.types
    elif isinstance(t, Items):
        for i in t.items:
            yield from types_of(i)


def values_of(b: TypedBuilder, t: Template, x: Abstract) -> Iterator[Value]:
    """The values of `x` that fill a template that it fits, made in the current block."""
    if isinstance(t, Typed):
        yield (value := b.value(x))
        if _is_flagged(t):
            yield b.flag(value)
    elif isinstance(t, Choice):
        own = dict(_held(b, x))
        yield from (own[c][0] if c in own else b.constant(False) for c in t.types)
        yield from (own[c][1] if c in own else zero(b, c) for c in t.types)
    elif isinstance(t, Items) and isinstance(x, Sequence_):
        for s, i in zip(t.items, x.items, strict=True):
            yield from values_of(b, s, i)


def _held(b: TypedBuilder, x: Abstract) -> Iterator[tuple[Type, tuple[Value, Value]]]:
    """The types that a number may have; of each, whether it has it, and its value then."""
    if isinstance(x, OneOf):
        yield from ((v.type, (w, v)) for w, v in zip(x.which, x.values, strict=True))
    else:
        value = b.value(x)
        yield value.type, (b.constant(True), value)


def zero(b: TypedBuilder, t: ScalarType) -> Value:
    """What fills a slot that nothing reads."""
    return b.add("const", (), t, value={"b": False, "i": 0, "u": 0, "f": 0.0, "c": 0j}[t.dtype.kind])


def fill(b: TypedBuilder, t: Template, values: Iterator[Value]) -> Abstract:
    """The abstract value of a template filled with values."""
    if isinstance(t, Typed):
        value = next(values)
        if _is_flagged(t):
            b.flags[value] = next(values)
        return value
    if isinstance(t, Choice):
        which = tuple(next(values) for _ in t.types)
        return OneOf(which, tuple(next(values) for _ in t.types))
    if isinstance(t, Items):
        return Sequence_(tuple(fill(b, i, values) for i in t.items), t.is_list)
    return t.value


def all_types(templates: Iterable[Template]) -> list[Type]:
    """The types of the values that several templates need."""
    return [x for t in templates for x in types_of(t)]


def all_values(b: TypedBuilder, templates: Iterable[Template], values: Iterable[Abstract]) -> list[Value]:
    """The values that fill several templates, each from its own abstract value."""
    return [v for t, x in zip(templates, values, strict=True) for v in values_of(b, t, x)]


def fill_all(b: TypedBuilder, templates: Iterable[Template], values: Iterable[Value]) -> tuple[Abstract, ...]:
    """Several templates filled with values, in order."""
    left = iter(values)
    return tuple(fill(b, t, left) for t in templates)


def strengthen(t: Template, to: Template) -> Template | None:
    """`to`, where it differs from `t` only by Python numbers having become NumPy scalars; None otherwise."""
    if isinstance(t, Items) and isinstance(to, Items) and len(t.items) == len(to.items):
        items = [strengthen(x, y) for x, y in zip(t.items, to.items, strict=True)]
        done = tuple(i for i in items if i is not None)
        return Items(done, to.is_list) if len(done) == len(items) else None
    one, other = _type_of(t), _type_of(to)
    if same(t, to) or (one is not None and one == other):  # of two strings, the second is no form of the first
        return to
    if isinstance(one, ScalarType) and isinstance(other, ScalarType) and one.python and not other.python:
        order = "biufc"
        if order.index(one.dtype.kind) <= order.index(other.dtype.kind):
            return to
    return None
