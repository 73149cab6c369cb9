"""`out=` of ufuncs, and of what NumPy computes by one: the inputs fit into it, and it is never stretched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.graph import Value
from tensorjit.ir.types import ArrayType
from tensorjit.ops.abstract import Abstract
from tensorjit.ops.reductions import fits_output, is_default

if TYPE_CHECKING:
    from tensorjit.ops.typed import TypedBuilder


def written(b: TypedBuilder, ufunc: str, result: Abstract, out: Abstract) -> Abstract:
    """What a ufunc computed: itself, or `out`, which may be wider, with the result stored in it."""
    if is_default(out):
        return result
    if not isinstance(out, Value) or not isinstance(out.type, ArrayType):
        b.fail("TypeError", "return arrays must be of ArrayType")
        return result
    if not b.writable(out, "output array") or not fits_output(b, ufunc, result, out.type.dtype):
        return out
    if broadcastable_output(b, [b.shape_of(result)], b.shape_of(result), out.type.shape):
        b.store(out, result)
    return out


def broadcastable_output(b: TypedBuilder, given: Sequence[tuple[Dim, ...]], shape: tuple[Dim, ...], out: tuple[Dim, ...]) -> bool:
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
    return not b.is_dead


def _shape_text(shape: Sequence[Dim]) -> str:
    """A shape as NumPy's messages show it, its sizes to be filled in."""
    return f"({','.join('{}' for _ in shape)}{',' if len(shape) == 1 else ''})"
