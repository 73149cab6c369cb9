"""Calls: a row of the op table, a Python builtin, a dtype, an exception, or a plain function that is inlined."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any

import numpy as np

from tensorjit.errors import UnsupportedError
from tensorjit.ir.dtypes import from_numpy
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
    Static,
    Text,
    is_static,
    of,
    static_value,
)
from tensorjit.ops.typed import Refusal, TypedBuilder
from tensorjit.ops.words import describe
from tensorjit.passes.specialise import operators, strings
from tensorjit.passes.specialise.control import STUMBLES, fetch, poisoned
from tensorjit.passes.specialise.extremes import extreme
from tensorjit.passes.specialise.functions import default_places, signature_of
from tensorjit.passes.specialise.in_python import IN_PYTHON
from tensorjit.passes.specialise.inline import inline
from tensorjit.passes.specialise.iteration import items_of
from tensorjit.passes.specialise.iterators import check_once
from tensorjit.passes.specialise.python_builtins import BUILTINS
from tensorjit.passes.specialise.rows import as_operand, row_call
from tensorjit.passes.specialise.state import CALL, OUTSIDE, Frame, Names, Outcome, Rest, Specialiser, is_of_numpy

MAX_INLINE_DEPTH = 40
Arguments = tuple[list[Abstract], dict[str, Abstract]]


def call(s: Specialiser, op: Op, frame: Frame, after: Rest) -> Outcome:
    """A call of the generic graph."""
    operands = [fetch(s, frame, v) for v in op.operands]
    if any(isinstance(x, Poison) for x in operands):
        return poisoned(op)
    try:
        return _call(s, frame, op, operands, after)
    except Refusal as refusal:
        s.problem(refusal)
        return poisoned(op)
    except STUMBLES:
        if not s.b.is_dead:
            raise
        return poisoned(op)


def _call(s: Specialiser, frame: Frame, op: Op, operands: list[Abstract], after: Rest) -> Outcome:
    callee, (args, keywords) = operands[0], _arguments(s, op, operands[1:])
    if isinstance(callee, Closure):
        return _call_closure(s, frame, callee, args, keywords, after)
    if isinstance(callee, Static):
        function = unwrap(callee.value)
        if _is_loop(s, function, args):
            return _call_function(s, frame, IN_PYTHON[function], args, keywords, after)
        if function in (min, max) and not keywords and len(args) > 1 and not all(map(is_static, args)):
            return extreme(s, function, args[0], args[1:], frame, after)
        if s.find(function) is None and function not in BUILTINS and isinstance(function, (FunctionType, Traced)):
            return _call_function(s, frame, function, args, keywords, after)
        return Outcome("fell", (known_call(s, function, args, keywords),))
    if isinstance(callee, Bound):
        return Outcome("fell", (method_call(s, callee, args, keywords),))
    s.b.refuse(f"{describe(callee)} is called")


def _is_loop(s: Specialiser, function: Any, args: list[Abstract]) -> bool:
    """Whether a builtin runs over something whose items are not each known."""
    taken = len(args) == 1 or (len(args) == 2 and function is sum)
    return function in (sum, any, all) and taken and (s.b.is_array(args[0]) or isinstance(args[0], (Range, Mapped)))


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
        elif (items := items_of(s.b, x)) is not None:
            args += items
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
    if (isinstance(function, type) and issubclass(function, np.generic) and is_of_numpy(function)) or isinstance(function, np.dtype):
        return _convert(s, np.dtype(function), args, keywords)
    if all(map(is_static, [*args, *keywords.values()])) and _is_pure(function):
        values = [static_value(a) for a in args]
        try:
            return of(function(*values, **{k: static_value(v) for k, v in keywords.items()}))
        except Exception as error:
            s.b.refuse(f"{getattr(function, '__name__', function)} raises {type(error).__name__}: {error}")
    name = getattr(function, "__module__", None)
    origin = f" of module {name!r}" if name else ", which is not NumPy's," if isinstance(function, np.ufunc) else ""
    s.b.refuse(f"{describe(Static(function))}{origin} is not compiled", OUTSIDE)


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


def method_call(s: Specialiser, method: Bound, args: list[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    """A method of an array, a NumPy scalar, or a known object such as a string."""
    b = s.b
    owner = method.owner
    if isinstance(owner, (Static, Text)) and isinstance(getattr(owner, "value", ""), str):
        if not hasattr(str, method.name):
            b.fail("AttributeError", f"'str' object has no attribute '{method.name}'")
            return Poison()
        if all(map(is_static, [owner, *args])) and not keywords:
            return _of_string(b, static_value(owner), method.name, [static_value(a) for a in args])
        if method.name == "format" and isinstance(owner, Static):
            return strings.by_format(b, owner.value, args, keywords)
    kind = _python_class(owner)
    if kind is not None and not hasattr(kind, method.name):
        b.fail("AttributeError", f"'{kind.__name__}' object has no attribute '{method.name}'")
        return Poison()
    row = s.table.get(s.methods.get(method.name, ""))
    if row is None:
        b.refuse(f"the method {method.name!r} of {describe(owner)} is not compiled")
    return row_call(s, row, [owner, *args], keywords)


def _of_string(b: TypedBuilder, owner: str, name: str, args: list[Any]) -> Abstract:
    """A method of a known string; what it raises is raised when the program gets here."""
    try:
        return of(getattr(owner, name)(*args))
    except (LookupError, TypeError, ValueError) as error:
        b.fail(type(error).__name__, str(error).replace("{", "{{").replace("}", "}}"))
    return Poison()


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
    plain = kind.__module__ == "builtins" and kind.__str__ is BaseException.__str__  # KeyError shows the repr of its argument
    if len(args) == 1 and is_static(args[0]) and (plain or isinstance(static_value(args[0]), str)):
        return Raised(kind, str(static_value(args[0])).replace("{", "{{").replace("}", "}}"))
    if plain and (len(args) > 1 or not s.b.is_array(args[0])):
        shown = args[0] if len(args) == 1 else Sequence_(tuple(args))
        text = strings.formatted(s.b, shown)
        return Raised(kind, text.template, text.args) if isinstance(text, Text) else _exception(s, kind, [text])
    s.b.refuse(f"an exception made of {', '.join(map(describe, args))}", "give it one string, or an f-string")


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
    x = as_operand(s, x)
    if b.rank(x):
        return x if b.strong_dtype(x) is to else b.cast(x, to)
    value = b.value(x)
    if isinstance(value.type, ArrayType):
        value = b.load(value)
    assert isinstance(value.type, ScalarType)
    if value.type.python and value.type.dtype.kind in "ifc" and to.kind in "iu":  # by way of int(): it refuses NaN and complex
        number = b.value(b.call("py_int", value))
        return b.in_range(number, to) if to.size < 8 or to.kind == "u" else b.cast_scalar(number, ScalarType(to))
    if value.type.python and value.type.dtype.kind == "c" and to.kind == "f":
        value = b.value(b.call("py_float", value))
    return b.cast(value, to)


# -- inlining --------------------------------------------------------------------------------------------------


def _call_function(
    s: Specialiser,
    frame: Frame,
    function: FunctionType | Traced,
    args: list[Abstract],
    keywords: dict[str, Abstract],
    after: Rest,
) -> Outcome:
    if isinstance(function, Traced):
        arguments = _bind(s, function.signature, function.graph.name, args, keywords)
        if arguments is None:
            return _FAILED
        arguments.apply_defaults()
        values = [of(v) for v in arguments.arguments.values()]
        return _enter(s, frame, function.graph, function.names, values, after, function)
    s.unchanged(function, function.__code__)
    arguments = _bind(s, signature_of(function), function.__qualname__, args, keywords)
    if arguments is None:
        s.uncallable(function)
        return _FAILED
    given, places = set(arguments.arguments), default_places(function)
    arguments.apply_defaults()
    values = [s.default(places[n], n) if n in places and n not in given else of(v) for n, v in arguments.arguments.items()]
    return _enter(s, frame, _parsed(s, function), Names.of(function), values, after, function)


_FAILED = Outcome("fell", (Static(None),))


def _bind(
    s: Specialiser, signature: inspect.Signature, name: str, args: list[Abstract], keywords: dict[str, Abstract]
) -> inspect.BoundArguments | None:
    """A call bound to the parameters; None where that is a TypeError at run time."""
    try:
        return signature.bind(*args, **keywords)
    except TypeError as error:
        s.b.fail("TypeError", f"{name}() {error}")
        return None


def _parsed(s: Specialiser, function: FunctionType) -> Graph:
    try:
        return s.parse(function)
    except UnsupportedError:
        if not is_of_numpy(function):
            raise
    s.b.refuse(f"np.{function.__name__} is not compiled", OUTSIDE)


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
    inner = replace(outer, function=closure.graph.name, captures={**outer.captures, **closure.captures})
    return _enter(s, frame, closure.graph, inner, [given[n] for n in names], after, closure.graph)


def _enter(s: Specialiser, frame: Frame, graph: Graph, names: Names, values: list[Abstract], after: Rest, key: object) -> Outcome:
    if any(called is key for called, _ in s.stack):
        s.b.refuse(f"{graph.name} calls itself", "write the recursion as a loop")
    if len(s.stack) > MAX_INLINE_DEPTH:
        s.b.refuse("calls nested too deeply")
    s.spend(CALL)
    loc = s.b.builder.loc
    s.entered.append(graph.block)
    for param, value in zip(graph.params, values, strict=True):
        check_once(s, param, value)
    s.stack.append((key, loc))
    try:
        inner = Frame(names, dict(zip(graph.params, values, strict=True)), inline=True, depth=frame.depth + 1)
        return inline(s, frame, graph.block, inner, _popped(s, after))
    finally:
        s.stack.pop()
        s.b.builder.loc = loc


def _popped(s: Specialiser, after: Rest) -> Rest:
    """The caller's rest, run while the callee is still on the stack, sees the stack of the caller."""

    def rest(outcome: Outcome, frame: Frame) -> Outcome:
        called = s.stack.pop()
        try:
            return after(outcome, frame)
        finally:
            s.stack.append(called)

    return rest
