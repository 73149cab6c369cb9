"""The ops of a generic graph that are neither control flow nor calls: constants, names, attributes, items, operators."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from inspect import getattr_static
from types import ModuleType
from typing import Any

import numpy as np

from tensorjit.ir.graph import Op, Value
from tensorjit.ir.types import ArrayType
from tensorjit.ops import indexing
from tensorjit.ops.abstract import (
    Abstract,
    Bound,
    Closure,
    Poison,
    Raised,
    Range,
    Sequence_,
    Slice,
    Static,
    SymInt,
    Text,
    is_numpy_scalar,
    is_static,
    is_within,
    of,
)
from tensorjit.ops.typed import TypedBuilder
from tensorjit.ops.words import describe
from tensorjit.passes.specialise import operators, strings
from tensorjit.passes.specialise.calls import unwrap
from tensorjit.passes.specialise.iteration import iteration
from tensorjit.passes.specialise.python_builtins import python_type
from tensorjit.passes.specialise.rows import into
from tensorjit.passes.specialise.state import Frame, Handler, Source, Specialiser

HANDLERS: dict[str, Handler] = {}
MAX_RESULTS = 1024  # the time to compile them grows with their square
MAX_ITEMS = 100_000  # of nested tuples and lists
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register the handler of generic ops."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


@handles("const")
def _const(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return of(op.attrs["value"])


@handles("global")
def _global(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return read_global(s, frame, op.attrs["name"])


def read_global(s: Specialiser, frame: Frame, name: str) -> Abstract:
    """A name of the function's module, or a builtin."""
    space, builtins = frame.names.globals, frame.names.builtins
    if name in space:
        return s.captured(Source("global", space, name), space[name])
    s.absent(Source("dict item", Source("constant", space, "globals()"), name))
    place = Source("dict item", Source("constant", builtins, "builtins"), name)
    if name in builtins:
        return s.captured(place, builtins[name])
    s.absent(place)
    s.b.fail("NameError", f"name '{name}' is not defined")
    return Poison()


@handles("free")
def _free(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    name = op.attrs["name"]
    if name in frame.names.captures:
        return frame.names.captures[name]
    cell = frame.names.cells.get(name)
    if cell is None:
        return read_global(s, frame, name)
    source = Source("cell", cell, name)
    try:
        value = source.read()
    except ValueError:
        s.absent(source)
        s.b.fail(
            "NameError",
            f"cannot access free variable '{name}' where it is not associated with a value in enclosing scope",
        )
        return Poison()
    return s.captured(source, value)


@handles("capture")
def _capture(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return s.read(frame.names.arrays[op.attrs["index"]])


@handles("numpy", "import")
def _numpy(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    path = op.attrs.get("name") or op.attrs["module"]
    if path.split(".")[0] not in ("numpy", "math", "builtins", "operator", "tensorjit"):
        s.b.refuse(f"an import of {path!r} inside a function", "import it at the top of the module")
    found: Any = __import__(path.split(".")[0])
    for part in path.split(".")[1:]:
        found = getattr(found, part)
    if op.name == "import":
        s.captured(Source("dict item", Source("constant", sys.modules, "sys.modules"), path), found)
    return Static(found)


@handles("attr")
def _attr(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    (x,), name = args, op.attrs["name"]
    if isinstance(x, Static) and isinstance(x.value, np.void):
        s.b.refuse(f"the attribute {name!r} of a record", "pass its fields as arguments of their own")
    if isinstance(x, Static) and not is_numpy_scalar(x.value):
        return _static_attribute(s, x.value, name)
    if isinstance(x, (Value, SymInt, Static)):
        found = s.attribute(x, name)
        return _method(s, x, name) if found is None else found
    if isinstance(x, (Text, Sequence_)):
        kind = str if isinstance(x, Text) else list if x.is_list else tuple
        if not hasattr(kind, name):
            s.b.fail("AttributeError", f"'{kind.__name__}' object has no attribute '{name}'")
            return Poison()
        return Bound(x, name)
    s.b.refuse(f"the attribute {name!r} of {describe(x)}")


def _method(s: Specialiser, x: Abstract, name: str) -> Abstract:
    if s.b.is_array(x) and not hasattr(np.ndarray, name):
        s.b.fail("AttributeError", f"'numpy.ndarray' object has no attribute '{name}'")
        return Poison()
    if s.b.is_array(x) and not callable(getattr(np.ndarray, name)):
        s.b.refuse(f"the attribute {name!r} of an array is not compiled", _INSTEAD.get(name, ""))
    kind = None if s.b.is_array(x) else python_type(s, x)
    if kind is not None and not hasattr(kind, name):
        shown = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        s.b.fail("AttributeError", f"'{shown}' object has no attribute '{name}'")
        return Poison()
    return Bound(x, name)


_INSTEAD = {"flat": "write x.ravel()", "base": "look at it outside", "flags": "look at it outside", "strides": "look at it outside"}


def _static_attribute(s: Specialiser, owner: Any, name: str) -> Abstract:
    if isinstance(owner, str):
        return Bound(Static(owner), name)
    place = Source("attribute", Source("constant", owner, getattr(owner, "__name__", "")), name)
    changes = isinstance(owner, ModuleType) or (isinstance(owner, type) and bool(owner.__flags__ & _HEAP_TYPE))
    try:
        value = getattr(owner, name)
    except AttributeError as error:
        if changes:
            s.absent(place)
        s.b.fail("AttributeError", str(error).replace("{", "{{").replace("}", "}}"))
        return Poison()
    if changes:  # a class of the user's, and any module
        return s.captured(place, value)
    if isinstance(owner, (type, np.dtype, np.finfo, np.iinfo)):
        return of(value)
    if isinstance(owner, Enum) and getattr_static(type(owner), name) is vars(Enum).get(name) and is_static(found := of(value)):
        return found  # `name` or `value`
    if isinstance(owner, np.ufunc):
        s.b.refuse(f"np.{owner.__name__}.{name} is not compiled", "use np.sum, np.cumsum or their like, or write a loop")
    s.b.refuse(f"the attribute {name!r} of {describe(Static(owner))}", "pass the value as an argument")


@handles("tuple", "list")
def _tuple(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    starred = set(op.attrs.get("star", ()))
    items: list[Abstract] = []
    for k, x in enumerate(args):
        if k in starred:
            length, item = iteration(s.b, x)
            if not isinstance(length, int):
                s.b.refuse("* of something whose length is not known")
            items += [item(Static(j)) for j in range(length)]
        else:
            items.append(x)
    made = Sequence_(tuple(items), op.name == "list")
    if not is_within(made, MAX_ITEMS):
        s.b.refuse(f"a {op.name} that holds more than {MAX_ITEMS} values, nested ones counted", "make an array")
    return made


@handles("list_append")
def _list_append(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    target, item = args
    assert isinstance(target, Sequence_)
    return Sequence_((*target.items, item), True)


@handles("slice")
def _slice(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return Slice(args[0], args[1], args[2])


@handles("unpack")
def _unpack(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> tuple[Abstract, ...]:
    (x,) = args
    count: int = op.attrs["count"]
    star: int | None = op.attrs.get("star")
    length, item = iteration(s.b, x)
    fixed = count - 1 if star is not None else count
    if not isinstance(length, int):
        if star is not None:
            s.b.refuse("a starred target for something whose length is not known")
        s.b.check(
            "ge",
            length,
            count,
            "ValueError",
            f"not enough values to unpack (expected {count}, got {{}})",
            (length,),
        )
        s.b.check("ge", count, length, "ValueError", f"too many values to unpack (expected {count})")
        length = count
    if length < fixed or (star is None and length > count):
        few = f"not enough values to unpack (expected {'at least ' * (star is not None)}{fixed}, got {length})"
        s.b.fail("ValueError", few if length < fixed else f"too many values to unpack (expected {count})")
        return (Poison(),) * count
    items: list[Abstract] = [item(Static(k)) for k in range(length)]
    if star is None:
        return tuple(items)
    middle = length - fixed
    return (*items[:star], Sequence_(tuple(items[star : star + middle]), True), *items[star + middle :])


@handles("subscript")
def _subscript(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return subscript(s, args[0], args[1])


def subscript(s: Specialiser, x: Abstract, key: Abstract) -> Abstract:
    """x[key]."""
    if isinstance(x, Sequence_):
        return _item(s, x, key)
    if isinstance(x, Static) and isinstance(x.value, (str, bytes)):
        return _character(s, x, key)
    if isinstance(x, Range):
        _length, item = iteration(s.b, x)
        return item(key)
    return indexing.index(s.b, x, key)


def _character(s: Specialiser, x: Static, key: Abstract) -> Abstract:
    """An item or a slice of a string."""
    parts = [key.start, key.stop, key.step] if isinstance(key, Slice) else [key]
    known = [s.b.static(p, f"the index of a {type(x.value).__name__}") for p in parts]
    try:
        return Static(x.value[slice(*known) if isinstance(key, Slice) else known[0]])
    except (IndexError, TypeError, ValueError) as error:
        s.b.fail(type(error).__name__, str(error).replace("{", "{{").replace("}", "}}"))
        return Poison()


def _item(s: Specialiser, x: Sequence_, key: Abstract) -> Abstract:
    if isinstance(key, Slice):
        parts = [s.b.static(p, "the bound of a slice of a tuple") for p in (key.start, key.stop, key.step)]
        return Sequence_(x.items[slice(*parts)], x.is_list)
    index: Any = s.b.static(key, "the index of a tuple or list")
    if not isinstance(index, (int, np.integer)):
        name = "list" if x.is_list else "tuple"
        s.b.fail("TypeError", f"{name} indices must be integers or slices, not {type(index).__name__}")
        return Poison()
    if not -len(x.items) <= index < len(x.items):
        s.b.fail("IndexError", f"{'list' if x.is_list else 'tuple'} index out of range")
        return Poison()
    return x.items[index]


@handles("set_subscript")
def _set_subscript(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> tuple[Abstract, ...]:
    x, key, value = args
    if not s.b.is_array(x):
        s.b.refuse(f"an item of {describe(x)} is assigned", "use an array")
    indexing.assign(s.b, x, key, value)
    return ()


@handles("inplace_subscript")
def _inplace_subscript(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> tuple[Abstract, ...]:
    x, key, old, value = args
    if not s.b.is_array(x):
        s.b.refuse(f"an item of {describe(x)} is changed in place", "use an array")
    new = inplace(s, op.attrs["op"], old, value)
    if new is not old or indexing.is_copied(s.b, key):  # else an array was changed through its view
        indexing.assign(s.b, x, key, new)
    return ()


@handles("binary")
def _binary(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return _text_operator(s, op.attrs["op"], args) or operators.binary(s.b, op.attrs["op"], args[0], args[1])


def _text_operator(s: Specialiser, op: str, args: list[Abstract]) -> Abstract | None:
    """+ and % of strings with values in them that are not known."""
    x, y = args
    if op == "+" and all(isinstance(v, Text) or (isinstance(v, Static) and type(v.value) is str) for v in args):
        return strings.joined(s.b, args)
    if op == "%" and isinstance(x, Static) and type(x.value) is str and not is_static(y):
        return strings.by_percent(s.b, x.value, y)
    return None


@handles("inplace")
def _inplace(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return inplace(s, op.attrs["op"], args[0], args[1])


def inplace(s: Specialiser, op: str, x: Abstract, y: Abstract) -> Abstract:
    """x op= y: an array is changed where it is, anything else is a new value."""
    op = op.removesuffix("=")
    if not (isinstance(x, Value) and isinstance(x.type, ArrayType)):
        if isinstance(x, Sequence_) and x.is_list:
            s.b.refuse("a list changed in place", "build a new one with +")
        return operators.binary(s.b, op, x, y)
    row = operators.BINARY[op][1]
    if op == "@":
        return _inplace_matmul(s.b, x, y)
    if op == "**" and isinstance(y, Static) and s.b.writable(x, "output array"):
        result = operators.binary(s.b, op, x, y)
        if s.b.dtype_of(result) == x.type.dtype:
            s.b.store(x, result)
            return x
    return into(s, row, [x, y], x)


def _inplace_matmul(b: TypedBuilder, x: Value, y: Abstract) -> Abstract:
    if not b.writable(x, "output array"):
        return x
    if b.rank(x) and b.rank(y) == 1:
        need = "the first operand to have at least one and the second at least two dimensions."
        b.fail("ValueError", f"inplace matrix multiplication requires {need}")
        return x
    b.store(x, operators.binary(b, "@", x, y))
    return x


@handles("unary")
def _unary(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return operators.unary(s.b, op.attrs["op"], args[0])


@handles("compare")
def _compare(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return operators.compare(s.b, op.attrs["op"], args[0], args[1])


@handles("truth")
def _truth(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    return operators.truth(s.b, args[0])


@handles("format")
def _format(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    parts: list[Abstract] = []
    for part in op.attrs["parts"]:
        if isinstance(part, str):
            parts.append(Static(part))
        else:
            index, conversion, spec = part if isinstance(part, tuple) else (part, "", "")
            parts.append(strings.formatted(s.b, args[index], conversion, spec))
    return strings.joined(s.b, parts)


@handles("function")
def _function(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> Abstract:
    captures = dict(zip(op.attrs.get("captures", ()), args, strict=False))
    defaults = dict(zip(op.attrs.get("defaults", ()), args[len(captures) :], strict=False))
    return Closure(op.attrs["graph"], captures, defaults, frame.names)


@handles("raise")
def _raise(s: Specialiser, frame: Frame, op: Op, args: list[Abstract]) -> tuple[Abstract, ...]:
    x = args[0] if args else None
    if isinstance(x, Static) and isinstance(x.value, type) and issubclass(x.value, BaseException):
        x = Raised(x.value, "")
    if isinstance(x, Poison):
        s.b.effect("unreachable")
        return ()
    if not isinstance(x, Raised):
        s.b.refuse("raise of something that is no exception of a known class")
    name = (
        x.exception.__qualname__ if x.exception.__module__ == "builtins" else f"{x.exception.__module__}.{x.exception.__qualname__}"
    )
    values = [s.b.value(a) for a in x.args]
    s.b.builder.add_multi("raise", values, (), {"exception": name, "message": x.message, "class": x.exception})
    return ()


@handles("return")
def _return(s: Specialiser, frame: Frame, op: Op | None, args: list[Abstract]) -> tuple[Abstract, ...]:
    values: list[Value] = []
    s.b.effect("return", values, structure=None)
    built = s.b.builder.ops.pop()  # built first, so that a refusal below leaves the block as it was
    if not is_within(args[0], MAX_RESULTS):
        s.b.refuse(f"more than {MAX_RESULTS} numbers and arrays are returned", "return an array")
    structure = _structure(s, args[0], values)
    s.b.builder.add_multi(built.name, values, (), {"structure": structure})
    return ()


def _structure(s: Specialiser, x: Abstract, values: list[Value]) -> Any:
    """How the flat values make up the Python result."""
    if x in s.lists:
        s.b.refuse("a list from outside is returned: the result would be another list", "return list(x), or its items")
    if isinstance(x, Sequence_):
        return ("list" if x.is_list else "tuple", *(_structure(s, i, values) for i in x.items))
    if isinstance(x, Value) and x in s.params:
        return ("param", s.params[x])
    if isinstance(x, (Value, SymInt)) or (isinstance(x, Static) and (type(x.value) in (float, complex) or is_numpy_scalar(x.value))):
        if isinstance(x, Value) and isinstance(x.type, ArrayType) and x.type.access == "unsure":
            s.b.refuse(
                "the reshape of an array whose layout is not contiguous is returned: NumPy gives a view or a copy",
                "copy first",
            )
        values.append(s.b.value(x))
        return "value"
    if isinstance(x, Static):
        if x.value is None or isinstance(x.value, (bool, int, str)):
            return ("const", x.value)
        return ("const", unwrap(x.value))
    if isinstance(x, Poison):
        return ("const", None)
    s.b.refuse(f"{describe(x)} is returned")
