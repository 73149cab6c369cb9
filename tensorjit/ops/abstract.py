"""What is known of a Python value while a graph is specialised.

======================  ==========================================================================
``Static(value)``       any Python object known while compiling: numbers, strings, None, dtypes, functions, modules
``SymInt(dim)``         a Python int that is a size: ``x.shape[0] - 1``
``Value``               an array or scalar that exists at run time only (an SSA value of the typed graph)
``Sequence_(items)``    a tuple or list of the above, its length known
``Closure``             a nested function with what it captured
``Range(...)``          a range, before it is iterated
``Mapped(...)``         enumerate, zip or reversed of iterables, before it is iterated
``Bound``               a method of an array (``x.sum``), before it is called
``Raised(...)``         an exception object, before it is raised
``OneOf(...)``          a number whose type depends on the path
``Poison``              the result of something refused, so that one mistake gives one message
======================  ==========================================================================
"""

from __future__ import annotations

from enum import Enum
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, final

import numpy as np

from tensorjit.ir.dims import DimExpr
from tensorjit.ir.graph import Graph, Value
from tensorjit.records import dataclass


@final
@dataclass(frozen=True, slots=True, eq=False)
class Static:
    value: Any


@final
@dataclass(frozen=True, slots=True)
class SymInt:
    dim: DimExpr


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sequence_:
    """A tuple (or, with `is_list`, a list) of abstract values."""

    items: tuple[Abstract, ...]
    is_list: bool = False


@final
@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    start: Abstract
    stop: Abstract
    step: Abstract


@final
@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """A nested function: its generic graph, the captured values by name, default values, and the function it stands in."""

    graph: Graph
    captures: dict[str, Abstract]
    defaults: dict[str, Abstract]
    scope: Any


@final
@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    owner: Abstract
    name: str


@final
@dataclass(frozen=True, slots=True, eq=False)
class Unbound:
    """A variable that no path has assigned yet."""

    name: str


@final
@dataclass(frozen=True, slots=True, eq=False)
class Range:
    start: Abstract
    stop: Abstract
    step: Abstract


@final
@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """`kind` is "enumerate" (args: iterable, start), "zip" (iterables) or "reversed" (iterable)."""

    kind: str
    args: tuple[Abstract, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Raised:
    """An exception of class `exception`; `message` is a format string over `args` (Python numbers)."""

    exception: type[BaseException]
    message: str
    args: tuple[Abstract, ...] = ()


@final
@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A string with numbers in it that are known at run time only: a format string over `args`."""

    template: str
    args: tuple[Abstract, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class OneOf:
    """A number whose type depends on the path: it is `values[k]` where `which[k]`, a Python bool."""

    which: tuple[Value, ...]
    values: tuple[Value, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Poison:
    pass


Abstract = Static | SymInt | Value | Sequence_ | Slice | Closure | Bound | Unbound | Range | Mapped | Raised | Text | OneOf | Poison
KINDS = (
    Static,
    SymInt,
    Value,
    Sequence_,
    Slice,
    Closure,
    Bound,
    Unbound,
    Range,
    Mapped,
    Raised,
    Text,
    OneOf,
    Poison,
)


def of(value: Any) -> Abstract:
    """A Python object as an abstract value; tuples and lists item by item.

    >>> of((1, None)).items[1].value is None
    True
    """
    if isinstance(value, KINDS):
        return value
    if isinstance(value, DimExpr):
        return SymInt(value)
    if type(value) in (tuple, list):
        return Sequence_(tuple(of(v) for v in value), type(value) is list)
    if type(value) is range:
        return Range(Static(value.start), Static(value.stop), Static(value.step))
    if type(value) is slice:
        return Slice(of(value.start), of(value.stop), of(value.step))
    return Static(value)


def is_static(value: Abstract) -> bool:
    """Whether the Python value is known, items included, and remains what it is: what a dict or an object of the user's says of
    itself may differ at the next call."""
    if isinstance(value, Sequence_):
        return all(is_static(v) for v in value.items)
    return isinstance(value, Static) and is_constant(value.value)


def is_constant(value: Any) -> bool:
    """Whether an object remains what it is, items included."""
    if isinstance(value, (tuple, frozenset)):
        return all(map(is_constant, value))
    return type(value) in _CONSTANTS or isinstance(value, _CONSTANT_KINDS) or value is np._NoValue


_CONSTANTS = frozenset({type(None), type(...), bool, int, float, complex, str, bytes, range})
_CONSTANT_KINDS = (np.generic, np.dtype, np.ufunc, np.finfo, np.iinfo, type, Enum, FunctionType, BuiltinFunctionType, ModuleType)


def is_numpy_scalar(value: Any) -> bool:
    """Whether a Python object is a NumPy scalar; one of a class of the user's that derives from one is an object of its own."""
    return isinstance(value, np.generic) and type(value) is value.dtype.type


def is_within(value: Abstract, most: int) -> bool:
    """Whether a value is made up of at most so many, its tuples and lists counted too, however they share their items.

    >>> pair = Sequence_((NONE, NONE))
    >>> is_within(Sequence_((pair, pair)), 7), is_within(Sequence_((pair, pair)), 6)
    (True, False)
    """
    stack, seen = [value], 0
    while stack and seen <= most:
        x = stack.pop()
        seen += 1
        stack += x.items[: most + 1] if isinstance(x, Sequence_) else ()
    return seen <= most


def static_value(value: Abstract) -> Any:
    """The Python object of a value for which `is_static` holds."""
    if isinstance(value, Sequence_):
        items = [static_value(v) for v in value.items]
        return items if value.is_list else tuple(items)
    assert isinstance(value, Static)
    return value.value


NONE = Static(None)
