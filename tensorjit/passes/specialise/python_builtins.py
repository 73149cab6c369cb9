"""Calls of Python's own functions: `range`, `len`, `int`, `min` and their like."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tensorjit.config import is_scripting, is_tracing
from tensorjit.ir import dims
from tensorjit.ir.graph import Value
from tensorjit.ir.types import PY_BOOL, ArrayType, ScalarType
from tensorjit.ops.abstract import Abstract, Mapped, Poison, Range, Sequence_, Slice, Static, SymInt, is_static, of
from tensorjit.ops.words import describe
from tensorjit.passes.specialise import operators, strings
from tensorjit.passes.specialise.iteration import items_of, iteration
from tensorjit.passes.specialise.rows import row_call
from tensorjit.passes.specialise.state import Specialiser

Builtin = Callable[[Specialiser, list[Abstract], dict[str, Abstract]], Abstract]
_MANY = 1 << 62
_COMPENSATED = sum([0.1] * 10) == 1.0  # since Python 3.12; a sum of two is the same either way


def _range(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    one, zero = Static(1), Static(0)
    whole = [_integer(s, a) for a in args]
    if None in whole:
        return Range(zero, zero, one)
    args = [a for a in whole if a is not None]
    return Range(zero, args[0], one) if len(args) == 1 else Range(args[0], args[1], args[2] if len(args) == 3 else one)


def _integer(s: Specialiser, x: Abstract) -> Abstract | None:
    """A number as Python's `operator.index` gives it; TypeError at run time, and None, for what is no integer."""
    if isinstance(x, Static) and isinstance(x.value, (int, np.integer)):
        return Static(int(x.value))
    if isinstance(x, Value) and isinstance(x.type, ArrayType) and not x.type.rank:
        x = s.b.load(x)
    if isinstance(x, Value) and isinstance(x.type, ScalarType):
        if x.type == PY_BOOL:
            whole: Abstract = s.b.call("py_int", x)
            return whole
        if x.type.dtype.kind in "iu":
            return x if x.type.python else s.b.int_of(s.b.dim(x))
    elif isinstance(x, SymInt):
        return x
    kind = python_type(s, x)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    s.b.fail("TypeError", f"'{name}' object cannot be interpreted as an integer")
    return None


def _len(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    (x,) = args
    if isinstance(x, Sequence_):
        return Static(len(x.items))
    if isinstance(x, Value) and isinstance(x.type, ArrayType):
        if not x.type.shape:
            s.b.fail("TypeError", "len() of unsized object")
            return Static(0)
        return s.b.int_of(x.type.shape[0])
    if isinstance(x, Static) and is_static(x) and hasattr(x.value, "__len__"):
        return Static(len(x.value))
    if isinstance(x, Range):
        from_range = _range_length(s, x)
        return from_range
    s.b.refuse(f"len of {describe(x)}")


def _range_length(s: Specialiser, x: Range) -> Abstract:
    return s.b.int_of(iteration(s.b, x)[0])


def _mapped(kind: str) -> Callable[..., Abstract]:
    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        if kind == "enumerate":
            start = _integer(s, keywords.pop("start", args[1] if len(args) > 1 else Static(0)))
            args = [args[0], Static(0) if start is None else start]
        if kind == "reversed" and isinstance(args[0], Mapped):
            s.b.fail("TypeError", f"'{args[0].kind}' object is not reversible")
        return Mapped(kind, tuple(args))

    return build


def _sequence(is_list: bool) -> Callable[..., Abstract]:
    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        if not args:
            return Sequence_((), is_list)
        (x,) = args
        if isinstance(x, Sequence_):
            return Sequence_(x.items, is_list)
        if isinstance(x, Static) and isinstance(x.value, (str, range)):
            return Sequence_(tuple(map(of, x.value)), is_list)
        length, item = iteration(s.b, x)
        if not isinstance(length, int) or length > 4096:
            s.b.refuse("a list of a length that is not known", "use an array")
        return Sequence_(tuple(item(Static(k)) for k in range(length)), is_list)

    return build


def _isinstance(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    x, kinds = args
    try:
        return Static(issubclass(python_type(s, x), s.b.static(kinds, "the class")))
    except TypeError:
        s.b.fail("TypeError", "isinstance() arg 2 must be a type, a tuple of types, or a union")
        return Poison()


def python_type(s: Specialiser, x: Abstract) -> type:
    """type(x)."""
    if isinstance(x, Static):
        return type(x.value)
    if isinstance(x, SymInt):
        return int
    if isinstance(x, Sequence_):
        return list if x.is_list else s.records.get(x, tuple)
    if isinstance(x, Value):
        if isinstance(x.type, ArrayType):
            return np.ndarray
        if isinstance(x.type, ScalarType):
            if x.type.python:
                return {"b": bool, "i": int, "f": float, "c": complex}[x.type.dtype.kind]
            return x.type.dtype.numpy.type
    s.b.refuse(f"the type of {describe(x)}")


def _number(row: str, kind: type) -> Callable[..., Abstract]:
    """int, float, bool, complex: a Python number of a number."""

    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        if not args:
            return Static(kind())
        if all(map(is_static, args)) and not keywords:
            return operators.fold(s.b, kind, *args)
        if len(args) == 1 and kind is bool:
            return operators.truth(s.b, args[0])
        if len(args) == 1 and kind is int and isinstance(args[0], SymInt):
            return args[0]
        found = s.table.get(row)
        if found is None or found.rule is None:
            s.b.refuse(f"{kind.__name__} of {describe(args[0])}")
        result: Abstract = found.rule(s.b, *args)
        return result

    return build


def _by_row(numpy_row: str, python_row: str, function: Callable[..., Any]) -> Callable[..., Abstract]:
    """abs, round, pow, divmod: by the kind of the operands."""

    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        if all(map(is_static, args)) and not keywords:
            return operators.fold(s.b, function, *args)
        if any(map(operators.is_numpy, args)):
            if function is abs and len(args) == 1 and not keywords:
                return operators.absolute(s.b, args[0])
            if function is pow and len(args) == 2 and not keywords:
                return operators.binary(s.b, "**", *args)
            if function is not round:
                return row_call(s, s.table[numpy_row], args, keywords)
        return row_call(s, s.table[python_row], args, keywords)

    return build


def _extreme(name: str, function: Callable[..., Any]) -> Callable[..., Abstract]:
    """min and max of Python numbers: the first of equals, by comparisons."""

    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        items = args
        if len(args) == 1:
            if isinstance(args[0], Value) and isinstance(args[0].type, ArrayType) and args[0].type.rank == 1:
                return _extreme_of_array(s, name, function, args[0])
            found = items_of(s.b, args[0])
            if found is None:
                s.b.refuse(f"{name} of {describe(args[0])}")
            items = list(found)
        if all(map(is_static, items)):
            return operators.fold(s.b, lambda *v: function(v), *items)
        result = items[0]
        for x in items[1:]:
            result = pick(s, name, result, x)
        return result

    return build


def _extreme_of_array(s: Specialiser, name: str, function: Callable[..., Any], x: Value) -> Abstract:
    """Of a vector: the first of those that none is beyond. A NaN is passed over, but stays where it comes first."""
    b = s.b
    (length,), dtype = b.shape_of(x), b.strong_dtype(x)
    try:
        function(())
    except ValueError as error:
        b.check("gt", length, 0, "ValueError", str(error))
    if dtype.kind in "biu":
        return row_call(s, s.table[name], [x], {})
    if dtype.kind == "c":
        s.b.refuse(f"{name} of complex numbers", "they have no order")
    first = b.call("getitem", x, Static(0))
    last = Static(dtype.numpy.type("inf" if name == "min" else "-inf"))
    place = row_call(s, s.table[f"arg{name}"], [b.where(b.elementwise("isnan", x), last, x)], {})
    return b.where(b.elementwise("isnan", first), first, b.call("getitem", x, place))


def pick(s: Specialiser, name: str, x: Abstract, y: Abstract) -> Abstract:
    """The smaller (greater) of two numbers, as Python's min and max: y only where it is strictly so."""
    b = s.b
    if all(isinstance(v, SymInt) or (isinstance(v, Static) and type(v.value) is int) for v in (x, y)):
        return b.int_of((dims.minimum if name == "min" else dims.maximum)(b.dim(x), b.dim(y)))
    one, other = b.value(x), b.value(y)
    if one.type != other.type or isinstance(one.type, ArrayType):
        b.refuse(
            f"{name} of {describe(x)} and {describe(y)}",
            "give both the same type, or use np.minimum / np.maximum",
        )
    condition = b.value(operators.truth(b, operators.compare(b, "<" if name == "min" else ">", other, one)))
    return b.add("select", (condition, other, one), one.type)


def _sum(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    start = args[1] if len(args) > 1 else keywords.get("start", Static(0))
    if isinstance(args[0], Sequence_):
        if is_static(args[0]) and is_static(start):
            return operators.fold(s.b, sum, args[0], start)
        items = [start, *args[0].items]
        floats = [x for x in items if operators.is_number(x) and s.b.dtype_of(x) is float]
        if _COMPENSATED and len(floats) > 2:
            s.b.refuse(
                "Python's sum of floats, which this version of Python rounds once at the end", "write x + y + z, or use np.sum"
            )
        total, *rest = items
        for item in rest:
            total = operators.binary(s.b, "+", total, item)
        return total
    s.b.refuse(f"Python's sum of {describe(args[0])}", "use np.sum")


def _any_all(name: str) -> Callable[..., Abstract]:
    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        if isinstance(args[0], Sequence_):
            result: Abstract = Static(name == "all")
            for item in args[0].items:
                one = operators.truth(s.b, item)
                if isinstance(one, Static):
                    if one.value == (name == "any"):
                        return one
                else:
                    row = "py_and" if name == "all" else "py_or"
                    result = one if isinstance(result, Static) else operators.python_op(s.b, row, name, result, one)
            return result
        s.b.refuse(f"Python's {name} of {describe(args[0])}", f"use np.{name}")

    return build


def _type(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    return Static(python_type(s, args[0]))


def _slice(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    none = Static(None)
    padded = [none, *args, none] if len(args) == 1 else [*args, none, none]
    return Slice(padded[0], padded[1], padded[2])


def _string(conversion: str) -> Callable[..., Abstract]:
    """str and repr of one value."""

    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        if keywords or len(args) > 1:
            s.b.refuse("str of several arguments")
        return strings.formatted(s.b, args[0], conversion) if args else Static("")

    return build


def _taking(low: int, high: int, function: Any, rule: Builtin, named: tuple[str, ...] = ()) -> Builtin:
    """A function of Python's that takes `low` to `high` arguments, some by name: its own TypeError for another number."""

    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        if others := [name for name in keywords if name not in named]:
            s.b.refuse(f"{function.__name__} with the keyword {others[0]!r}")
        if low <= len(args) and len(args) + len(keywords) <= high:
            return rule(s, args, keywords)
        try:
            function(*(None for _ in args))
        except TypeError as error:
            s.b.fail("TypeError", str(error))
        return Poison()

    return build


def _print(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    s.b.refuse(
        "print inside a compiled function is not compiled yet",
        "print outside, or run with TENSORJIT=0 to debug",
    )


BUILTINS: Mapping[Any, Callable[..., Abstract]] = {
    builtins.range: _taking(1, 3, range, _range),
    builtins.len: _taking(1, 1, len, _len),
    builtins.enumerate: _taking(1, 2, enumerate, _mapped("enumerate"), ("start",)),
    builtins.zip: _taking(0, _MANY, zip, _mapped("zip")),
    builtins.reversed: _taking(1, 1, reversed, _mapped("reversed")),
    builtins.tuple: _taking(0, 1, tuple, _sequence(False)),
    builtins.list: _taking(0, 1, list, _sequence(True)),
    builtins.isinstance: _taking(2, 2, isinstance, _isinstance),
    builtins.type: _taking(1, 1, type, _type),
    builtins.int: _taking(0, 2, int, _number("py_int", int)),
    builtins.float: _taking(0, 1, float, _number("py_float", float)),
    builtins.complex: _taking(0, 2, complex, _number("py_complex", complex)),
    builtins.bool: _taking(0, 1, bool, _number("py_bool", bool)),
    builtins.abs: _taking(1, 1, abs, _by_row("absolute", "py_abs", abs)),
    builtins.round: _taking(1, 2, round, _by_row("round", "py_round", round), ("ndigits",)),
    builtins.pow: _by_row("power", "py_pow", pow),
    builtins.divmod: _taking(2, 2, divmod, _by_row("divmod", "py_divmod", divmod)),
    builtins.min: _taking(1, _MANY, min, _extreme("min", min)),
    builtins.max: _taking(1, _MANY, max, _extreme("max", max)),
    builtins.sum: _taking(1, 2, sum, _sum, ("start",)),
    builtins.any: _taking(1, 1, any, _any_all("any")),
    builtins.all: _taking(1, 1, all, _any_all("all")),
    builtins.str: _string("s"),
    builtins.repr: _string("r"),
    builtins.slice: _taking(1, 3, slice, _slice),
    builtins.print: _print,
    is_scripting: lambda s, args, keywords: Static(True),
    is_tracing: lambda s, args, keywords: Static(False),
}
