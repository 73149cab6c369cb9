"""Calls: a row of the op table, a Python builtin, a dtype, an exception, or a plain function that is inlined."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from tensorjit.config import is_scripting, is_tracing
from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import F64, from_numpy
from tensorjit.ir.graph import Graph, Op, Value
from tensorjit.ir.types import ArrayType, ScalarType
from tensorjit.ops.abstract import (
    Abstract,
    Bound,
    Closure,
    Mapped,
    Poison,
    Raised,
    Range,
    Sequence_,
    Slice,
    Static,
    SymInt,
    Text,
    is_static,
    of,
    static_value,
)
from tensorjit.ops.opdef import OpDef
from tensorjit.ops.typed import TypedBuilder, describe
from tensorjit.passes.specialise import operators
from tensorjit.passes.specialise.control import CALL, Rest, inline, iteration
from tensorjit.passes.specialise.state import Frame, Names, Outcome, Specialiser

MAX_INLINE_DEPTH = 40
Arguments = tuple[list[Abstract], dict[str, Abstract]]


def call(s: Specialiser, frame: Frame, op: Op, operands: list[Abstract], after: Rest) -> Outcome:
    """A call op."""
    callee, (args, keywords) = operands[0], _arguments(s, op, operands[1:])
    if isinstance(callee, Closure):
        return _call_closure(s, frame, callee, args, keywords, after)
    if isinstance(callee, Static):
        function = unwrap(callee.value)
        if s.find(function) is None and function not in BUILTINS and isinstance(function, (FunctionType, Traced)):
            return _call_function(s, frame, function, args, keywords, after)
        return Outcome("fell", (known_call(s, function, args, keywords),))
    if isinstance(callee, Bound):
        return Outcome("fell", (method_call(s, callee, args, keywords),))
    s.b.refuse(f"{describe(callee)} is called")


class Traced:
    """What a traced function stands for inside another: its generic graph and the arrays it captured."""

    def __init__(self, graph: Graph, names: Names, signature: inspect.Signature) -> None:
        self.graph, self.names, self.signature = graph, names, signature


def unwrap(value: Any) -> Any:
    """The plain function of a compiled one; anything else as it is."""
    found = getattr(type(value), "__tensorjit_function__", None)
    return value if found is None else found(value)


def _arguments(s: Specialiser, op: Op, operands: Sequence[Abstract]) -> Arguments:
    names = op.attrs.get("keywords", ())
    starred = {k - 1 for k in op.attrs.get("star", ())}
    args: list[Abstract] = []
    for k, x in enumerate(operands[: len(operands) - len(names)]):
        if k not in starred:
            args.append(x)
        elif isinstance(x, Sequence_):
            args += x.items
        else:
            s.b.refuse(f"* of {describe(x)} in a call", "unpack a tuple")
    return args, dict(zip(names, operands[len(operands) - len(names) :], strict=True))


# -- the op table ----------------------------------------------------------------------------------------------


def known_call(s: Specialiser, function: Any, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    """A call of something that is no plain function."""
    try:
        builtin = BUILTINS.get(function)
    except TypeError:
        builtin = None
    if builtin is not None:
        return builtin(s, args, keywords)
    row = s.find(function)
    if row is not None:
        return row_call(s, row, args, keywords)
    if isinstance(function, type) and issubclass(function, BaseException):
        return _exception(s, function, args)
    if (isinstance(function, type) and issubclass(function, np.generic)) or isinstance(function, np.dtype):
        return _convert(s, np.dtype(function), args, keywords)
    if all(map(is_static, [*args, *keywords.values()])) and _is_pure(function):
        values = [static_value(a) for a in args]
        try:
            return of(function(*values, **{k: static_value(v) for k, v in keywords.items()}))
        except Exception as error:
            s.b.refuse(f"{getattr(function, '__name__', function)} raises {type(error).__name__}: {error}")
    name = getattr(function, "__module__", None) or ""
    s.b.refuse(
        f"{describe(Static(function))} of module {name!r} is not compiled", "call it outside; docs/ops.md lists what is compiled"
    )


def _is_pure(function: Any) -> bool:
    return function in (
        np.dtype,
        np.result_type,
        np.promote_types,
        np.finfo,
        np.iinfo,
        np.issubdtype,
        np.can_cast,
    )


def row_call(s: Specialiser, row: OpDef, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    """A row applied; a keyword that it does not take is refused, never ignored."""
    if row.kind == "elementwise" and row.rule is None:
        return _ufunc_call(s, row, args, keywords)
    assert row.rule is not None
    try:
        inspect.signature(row.rule).bind(s.b, *args, **keywords)
    except TypeError as error:
        s.b.refuse(f"{row.name}: {error}", "this form of the call is not compiled")
    result: Abstract = row.rule(s.b, *args, **keywords)
    return result


def _ufunc_call(s: Specialiser, row: OpDef, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    b = s.b
    ufunc = row.ufunc
    assert ufunc is not None
    left = dict(keywords)
    out = left.pop("out", Static(None))
    where = left.pop("where", Static(True))
    dtype = b.dtype_argument(left.pop("dtype", Static(None)))
    casting = b.static(left.pop("casting", Static("same_kind")), "casting")
    if left:
        b.refuse(f"{row.name}: the keyword {next(iter(left))!r} is not compiled")
    if len(args) == ufunc.nin + 1:
        out = args.pop()
    if len(args) != ufunc.nin:
        b.fail(
            "TypeError",
            f"{row.name}() takes from {ufunc.nin} to {ufunc.nin + 1} positional arguments but {len(args)} were given",
        )
        return Static(np.float64(0))
    args = [_as_operand(s, a) for a in args]
    if isinstance(out, Sequence_) and len(out.items) == 1:
        out = out.items[0]
    masked = not (isinstance(where, Static) and where.value is True)
    if isinstance(out, Static) and out.value is None:
        if masked:
            b.refuse(f"{row.name} with where= and without out= leaves elements undefined", "pass out=")
        return b.elementwise(row.name, *args, dtype=dtype)
    return into(s, row.name, args, out, where if masked else None, dtype, casting)


def into(
    s: Specialiser,
    name: str,
    args: list[Abstract],
    out: Abstract,
    where: Abstract | None = None,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Abstract:
    """A ufunc row with `out=`: computed, cast to the dtype of out, written there; out is the result."""
    b = s.b
    if not isinstance(out, Value) or not isinstance(out.type, ArrayType):
        b.fail("TypeError", "return arrays must be of ArrayType")
        return Static(np.float64(0))
    row = b.table[name]
    assert row.ufunc is not None
    loop = b.resolve(row.ufunc, args, dtype)
    if loop is None:
        return out
    if not np.can_cast(loop.output.numpy, out.type.dtype.numpy, casting):  # type: ignore[arg-type]
        kind = "numpy._core._exceptions._UFuncOutputCastingError"
        b.fail(
            kind,
            f"Cannot cast ufunc '{name}' output from dtype('{loop.output.numpy}') to dtype('{out.type.dtype.numpy}') "
            f"with casting rule '{casting}'",
        )
        return out
    if out in b.readonly:
        b.fail("ValueError", "output array is read-only")
        return out
    b.output = (out.type.shape,)
    result = b.apply(name, args, loop)
    b.output = ()
    if not _broadcastable_output(b, [b.shape_of(a) for a in args], b.shape_of(result), out.type.shape):
        return out
    if where is not None:
        result = b.where(where, result, out)
    b.store(out, result)
    return out


def _broadcastable_output(b: TypedBuilder, given: Sequence[tuple[Dim, ...]], shape: tuple[Dim, ...], out: tuple[Dim, ...]) -> bool:
    """Check what ufuncs want of `out`: the inputs fit into it, without `out` itself being stretched."""
    tail = shape[len(shape) - len(out) :] if len(shape) > len(out) else shape
    shown = [*given, out]
    for d, t in zip(tail, out[len(out) - len(tail) :], strict=True):
        if d != 1 and t != 1 and not b.same(d, t) and not (dims.can_be_one(d) or dims.can_be_one(t)):
            text = f"operands could not be broadcast together with shapes {' '.join(map(_shape_text, shown))} "
            b.check("eq", d, t, "ValueError", text, [x for g in shown for x in g])
    whole = [*shape[: len(shape) - len(tail)], *(d if t == 1 else t for d, t in zip(tail, out, strict=False))]
    text = "non-broadcastable output operand with shape {} doesn't match the broadcast shape {}"
    text, sizes = text.format(_shape_text(out), _shape_text(whole)), (*out, *whole)
    if len(shape) > len(out):
        b.fail("ValueError", text, sizes)
        return False
    for d, t in zip(tail, out[len(out) - len(tail) :], strict=True):
        if t == 1 and d != 1:
            b.check("eq", d, 1, "ValueError", text, sizes)
    return b.dead is not b.builder


def _shape_text(shape: Sequence[Dim]) -> str:
    """A shape as NumPy's messages show it, its sizes to be filled in."""
    return f"({','.join('{}' for _ in shape)}{',' if len(shape) == 1 else ''})"


def _as_operand(s: Specialiser, x: Abstract) -> Abstract:
    if isinstance(x, Sequence_):
        row = s.find(np.array)
        if row is not None and row.rule is not None:
            found: Abstract = row.rule(s.b, x)
            return found
    return x


def method_call(s: Specialiser, method: Bound, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    """A method of an array, a NumPy scalar, or a known object such as a string."""
    b = s.b
    owner = method.owner
    if isinstance(owner, (Static, Text)) and isinstance(getattr(owner, "value", ""), str):
        if all(map(is_static, [owner, *args])) and not keywords:
            return of(getattr(static_value(owner), method.name)(*map(static_value, args)))
        if method.name == "format" and isinstance(owner, Static):
            return Text(owner.value, tuple(args))
    kind = _python_class(owner)
    if kind is not None and not hasattr(kind, method.name):
        b.fail("AttributeError", f"'{kind.__name__}' object has no attribute '{method.name}'")
        return Poison()
    row = s.table.get(s.methods.get(method.name, ""))
    if row is None:
        b.refuse(f"the method {method.name!r} of {describe(owner)} is not compiled")
    return row_call(s, row, [owner, *args], keywords)


def _python_class(x: Abstract) -> type | None:
    """The class of a Python number; None for anything else."""
    if not operators.is_number(x):
        return None
    if isinstance(x, Static):
        return type(x.value)
    return {"b": bool, "i": int, "f": float, "c": complex}[x.type.dtype.kind] if isinstance(x, Value) else int  # type: ignore[union-attr]


# -- conversions and builtins ----------------------------------------------------------------------------------


def _exception(s: Specialiser, kind: type[BaseException], args: list[Abstract]) -> Abstract:
    if not args:
        return Raised(kind, "")
    if len(args) == 1 and isinstance(args[0], Text):
        return Raised(kind, args[0].template, args[0].args)
    if len(args) == 1 and is_static(args[0]):
        return Raised(kind, str(static_value(args[0])).replace("{", "{{").replace("}", "}}"))
    if len(args) == 1 and operators.is_number(args[0]):
        return Raised(kind, "{}", (args[0],))
    s.b.refuse(f"an exception made of {', '.join(map(describe, args))}", "give it one string")


def _convert(s: Specialiser, dtype: np.dtype[Any], args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    """np.float32(x): a NumPy scalar of a number, an array of an array."""
    b = s.b
    to = from_numpy(dtype)
    if to is None or keywords or len(args) > 1:
        b.refuse(f"{dtype} called with these arguments is not compiled")
    if not args:
        return Static(dtype.type())
    (x,) = args
    if is_static(x):
        return operators.fold(b, dtype.type, x)
    x = _as_operand(s, x)
    if b.rank(x):
        return b.cast(x, to)
    value = b.value(x)
    if isinstance(value.type, ArrayType):
        value = b.load(value)
    assert isinstance(value.type, ScalarType)
    if value.type.python and value.type.dtype.kind == "i" and to.kind in "iu":
        return b._operand(value, to) if to.size < 8 or to.kind == "u" else b.cast_scalar(value, ScalarType(to))
    return b.cast_scalar(value, ScalarType(to))


def _range(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    one, zero = Static(1), Static(0)
    if keywords or not 1 <= len(args) <= 3:
        s.b.refuse("range takes one to three arguments")
    for a in args:
        if (isinstance(a, Static) and not isinstance(a.value, (int, np.integer))) or (
            isinstance(a, Value) and getattr(a.type, "dtype", F64).kind not in "iu"
        ):
            s.b.fail("TypeError", f"'{_type_name(a)}' object cannot be interpreted as an integer")
            return Range(zero, zero, one)
    return Range(zero, args[0], one) if len(args) == 1 else Range(args[0], args[1], args[2] if len(args) == 3 else one)


def _type_name(x: Abstract) -> str:
    if isinstance(x, Static):
        return type(x.value).__name__
    if isinstance(x, Value) and isinstance(x.type, ScalarType):
        return str(x.type) if x.type.python else x.type.dtype.numpy.name
    return "numpy.ndarray"


def _len(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    (x,) = args
    if isinstance(x, Sequence_):
        return Static(len(x.items))
    if isinstance(x, Value) and isinstance(x.type, ArrayType):
        if not x.type.shape:
            s.b.fail("TypeError", "len() of unsized object")
            return Static(0)
        return s.b.int_of(x.type.shape[0])
    if isinstance(x, Static) and hasattr(x.value, "__len__"):
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
            start = keywords.pop("start", args[1] if len(args) > 1 else Static(0))
            args = [args[0], start]
        if keywords:
            s.b.refuse(f"{kind} with the keyword {next(iter(keywords))!r}")
        if kind == "reversed" and isinstance(args[0], Sequence_):
            return Sequence_(args[0].items[::-1], args[0].is_list)
        if kind != "reversed" and all(isinstance(a, Sequence_) for a in args[: 1 if kind == "enumerate" else None]):
            return _static_mapped(s, kind, args)
        return Mapped(kind, tuple(args))

    return build


def _static_mapped(s: Specialiser, kind: str, args: list[Abstract]) -> Abstract:
    columns = [a.items for a in args if isinstance(a, Sequence_)]
    if kind == "zip":
        return Sequence_(tuple(Sequence_(row) for row in zip(*columns, strict=False)))
    start = s.b.static(args[1], "the start of enumerate")
    return Sequence_(tuple(Sequence_((Static(k + start), x)) for k, x in enumerate(columns[0])))


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
    return Static(issubclass(python_type(s, x), s.b.static(kinds, "the class")))


def python_type(s: Specialiser, x: Abstract) -> type:
    """type(x)."""
    if isinstance(x, Static):
        return type(x.value)
    if isinstance(x, SymInt):
        return int
    if isinstance(x, Sequence_):
        return list if x.is_list else tuple
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
        args = [_scalar(s, a) for a in args]
        found = s.table.get(row)
        if found is None or found.rule is None:
            s.b.refuse(f"{kind.__name__} of {describe(args[0])}")
        result: Abstract = found.rule(s.b, *args)
        return result

    return build


def _scalar(s: Specialiser, x: Abstract) -> Abstract:
    """The element of an array with one element, as int(x) and float(x) take it."""
    if not (isinstance(x, Value) and isinstance(x.type, ArrayType)):
        return x
    for size in x.type.shape:
        s.b.check("eq", size, 1, "TypeError", "only 0-dimensional arrays can be converted to Python scalars")
    return s.b.load(s.b.view(x, (), (), (0,) * x.type.rank) if x.type.shape else x)


def _by_row(numpy_row: str, python_row: str, function: Callable[..., Any]) -> Callable[..., Abstract]:
    """abs, round, pow, divmod: by the kind of the operands."""

    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        if all(map(is_static, args)) and not keywords:
            return operators.fold(s.b, function, *args)
        if any(map(operators.is_numpy, args)):
            return row_call(s, s.table[numpy_row], args, keywords)
        return row_call(s, s.table[python_row], args, keywords)

    return build


def _extreme(name: str, function: Callable[..., Any]) -> Callable[..., Abstract]:
    """min and max of Python numbers: the first of equals, by comparisons."""

    def build(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
        if keywords:
            s.b.refuse(f"{name} with the keyword {next(iter(keywords))!r}")
        items = args
        if len(args) == 1:
            if isinstance(args[0], Value) and isinstance(args[0].type, ArrayType) and args[0].type.rank == 1:
                return row_call(s, s.table[name], [args[0]], {})
            if not isinstance(args[0], Sequence_):
                s.b.refuse(f"{name} of {describe(args[0])}")
            items = list(args[0].items)
        if all(map(is_static, items)):
            return operators.fold(s.b, lambda *v: function(v), *items)
        result = items[0]
        for x in items[1:]:
            result = _pick(s, name, result, x)
        return result

    return build


def _pick(s: Specialiser, name: str, x: Abstract, y: Abstract) -> Abstract:
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
        for item in args[0].items:
            start = operators.binary(s.b, "+", start, item)
        return start
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


def _print(s: Specialiser, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    s.b.refuse(
        "print inside a compiled function is not compiled yet",
        "print outside, or run with TENSORJIT=0 to debug",
    )


BUILTINS: Mapping[Any, Callable[..., Abstract]] = {
    builtins.range: _range,
    builtins.len: _len,
    builtins.enumerate: _mapped("enumerate"),
    builtins.zip: _mapped("zip"),
    builtins.reversed: _mapped("reversed"),
    builtins.tuple: _sequence(False),
    builtins.list: _sequence(True),
    builtins.isinstance: _isinstance,
    builtins.type: _type,
    builtins.int: _number("py_int", int),
    builtins.float: _number("py_float", float),
    builtins.complex: _number("py_complex", complex),
    builtins.bool: _number("py_bool", bool),
    builtins.abs: _by_row("absolute", "py_abs", abs),
    builtins.round: _by_row("round", "py_round", round),
    builtins.pow: _by_row("power", "py_pow", pow),
    builtins.divmod: _by_row("divmod", "py_divmod", divmod),
    builtins.min: _extreme("min", min),
    builtins.max: _extreme("max", max),
    builtins.sum: _sum,
    builtins.any: _any_all("any"),
    builtins.all: _any_all("all"),
    builtins.slice: _slice,
    builtins.print: _print,
    is_scripting: lambda s, args, keywords: Static(True),
    is_tracing: lambda s, args, keywords: Static(False),
}

# -- inlining --------------------------------------------------------------------------------------------------


def _call_function(
    s: Specialiser,
    frame: Frame,
    function: FunctionType | Traced,
    args: list[Abstract],
    keywords: dict[str, Abstract],
    after: Rest,
) -> Outcome:
    signature = function.signature if isinstance(function, Traced) else inspect.signature(function, follow_wrapped=False)
    try:
        arguments = signature.bind(*args, **keywords)
    except TypeError as error:
        s.b.fail("TypeError", f"{function.graph.name if isinstance(function, Traced) else function.__qualname__}() {error}")
        return Outcome("fell", (Static(None),))
    arguments.apply_defaults()
    values = [of(v) for v in arguments.arguments.values()]
    if isinstance(function, Traced):
        return _enter(s, frame, function.graph, function.names, values, after, function)
    return _enter(s, frame, s.parse(function), Names.of(function), values, after, function)


def _call_closure(
    s: Specialiser,
    frame: Frame,
    closure: Closure,
    args: list[Abstract],
    keywords: dict[str, Abstract],
    after: Rest,
) -> Outcome:
    names = [name for name, _, _ in closure.graph.attrs.get("parameters", ())]
    given: dict[str, Abstract] = {**closure.defaults, **dict(zip(names, args, strict=False)), **keywords}
    missing = [n for n in names if n not in given]
    if missing or len(args) > len(names) or any(k not in names for k in keywords):
        s.b.fail("TypeError", f"{closure.graph.name}() called with the wrong arguments")
        return Outcome("fell", (Static(None),))
    outer: Names = closure.scope
    inner = Names(closure.graph.name, outer.globals, outer.cells, {**outer.captures, **closure.captures}, outer.arrays)
    return _enter(s, frame, closure.graph, inner, [given[n] for n in names], after, closure.graph)


def _enter(s: Specialiser, frame: Frame, graph: Graph, names: Names, values: list[Abstract], after: Rest, key: object) -> Outcome:
    if key in s.stack:
        s.b.refuse(f"{graph.name} calls itself", "write the recursion as a loop")
    if len(s.stack) > MAX_INLINE_DEPTH:
        s.b.refuse("calls nested too deeply")
    loc = s.b.builder.loc
    s.stack.append(key)
    try:
        inner = Frame(names, dict(zip(graph.params, values, strict=True)), inline=True, depth=frame.depth + 1)
        return inline(s, frame, graph.block, inner, _popped(s, after))
    finally:
        s.stack.pop()
        s.b.builder.loc = loc


def _popped(s: Specialiser, after: Rest) -> Rest:
    """The caller's rest, run while the callee is still on the stack, sees the stack of the caller."""

    def rest(outcome: Outcome, frame: Frame) -> Outcome:
        key = s.stack.pop()
        try:
            return after(outcome, frame)
        finally:
            s.stack.append(key)

    return rest


CALL.append(call)
