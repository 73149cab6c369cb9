"""A row of the op table applied to arguments as Python gives them: `out=`, `where=`, `dtype=`. What it does not take is refused."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorjit.ir.graph import Value
from tensorjit.ir.types import ArrayType
from tensorjit.ops.abstract import Abstract, Sequence_, Static
from tensorjit.ops.opdef import Loop, OpDef
from tensorjit.ops.outputs import broadcastable_output
from tensorjit.ops.typed import TypedBuilder
from tensorjit.passes.specialise.state import Specialiser


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
    args = [as_operand(s, a) for a in args]
    if isinstance(out, Sequence_) and not out.is_list:
        if len(out.items) != 1:
            b.fail("ValueError", "The 'out' tuple must have exactly one entry per ufunc output")
            return Static(np.float64(0))
        out = out.items[0]
    masked = not (isinstance(where, Static) and where.value is True)
    if isinstance(out, Static) and out.value is None:
        if masked:
            b.refuse(f"{row.name} with where= and without out= leaves elements undefined", "pass out=")
        return b.elementwise(row.name, *args, dtype=dtype, casting=casting)
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
    if not b.writable(out, "output array"):  # before NumPy looks at the dtypes
        return out
    row = b.table[name]
    assert row.ufunc is not None
    loop = b.resolve(row.ufunc, args, dtype, casting)
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
    given = [b.shape_of(a) for a in args]
    b.output = (out.type.shape,)
    try:
        result = b.loop(name, args, loop) if where is None else None
        shape = b.broadcast_shapes(given) if result is None else b.shape_of(result)
    finally:  # a refusal lets the rest of the function be looked at
        b.output = ()
    if not broadcastable_output(b, given, shape, out.type.shape):
        return out
    if where is not None:
        result = b.where(where, b.loop(name, _spared(b, row, args, loop, where), loop), out)
    assert result is not None
    b.store(out, result)
    return out


def _spared(b: TypedBuilder, row: OpDef, args: Sequence[Abstract], loop: Loop, where: Abstract) -> Sequence[Abstract]:
    """The operands of a loop, with numbers that raise no flag where NumPy does not compute."""
    if row.name not in _RAISE_OF_INTEGERS and all(d.kind not in "fc" for d in (*loop.inputs, loop.output)):
        return args
    spared: list[Abstract] = [
        b.where(where, b.in_range(a, dtype), Static(dtype.numpy.type(row.harmless)))
        for a, dtype in zip(args, loop.inputs, strict=True)
    ]
    if row.name == "power" and loop.output.kind == "f":  # 1 to any power raises nothing, and one exponent stays one
        spared[1] = args[1]
    return spared


_RAISE_OF_INTEGERS = frozenset({"floor_divide", "remainder", "fmod"})


def as_operand(s: Specialiser, x: Abstract) -> Abstract:
    if isinstance(x, Sequence_):
        row = s.find(np.array)
        if row is not None and row.rule is not None:
            found: Abstract = row.rule(s.b, x)
            return found
    return x
