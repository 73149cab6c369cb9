"""The C library's mathematics, lane by lane, for what has no vector formula yet."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tensorjit.backends.llvm.abi import DOUBLE, FLOAT, I64, stack_room
from tensorjit.backends.llvm.clib import libm_function
from tensorjit.backends.llvm.quiet import suffix

__all__ = ["C_NAMES", "call_libm"]

C_NAMES = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
}  # fmt: skip
"""The C names of functions that are called otherwise in NumPy."""


def call_libm(builder: ir.IRBuilder, name: str, args: Sequence[ir.Value]) -> ir.Value:
    """The C function `name` (its double name) of floats or doubles, scalars or vectors.

    A vector's lanes go through a function of their own, so that the loop over them is there once a module.
    """
    typ = args[0].type
    if isinstance(typ, ir.VectorType):
        return builder.call(_lanes_function(builder.module, name, [a.type for a in args]), args)
    return builder.call(_scalar_function(builder.module, name, [a.type for a in args]), args)


def _scalar_function(module: ir.Module, name: str, types: list[ir.Type]) -> ir.Function:
    c_name = name if types[0] == DOUBLE else name + "f"
    assert types[0] in (DOUBLE, FLOAT)
    return libm_function(module, c_name, types[0], types)


def _lanes_function(module: ir.Module, name: str, types: list[ir.Type]) -> ir.Function:
    full = f"tj_lanes_{name}_{suffix(types[0])}"
    known = module.globals.get(full)
    if known is not None:
        return known
    function = ir.Function(module, ir.FunctionType(types[0], types), full)
    function.linkage = "internal"
    function.attributes.add("noinline")
    scalar = _scalar_function(module, name, [t.element for t in types])
    b = ir.IRBuilder(function.append_basic_block("entry"))
    rooms = [stack_room(b, t) for t in types]
    for room, arg in zip(rooms, function.args, strict=True):
        b.store(arg, room)
    before, body, after = b.block, b.append_basic_block("lane"), b.append_basic_block("after")
    b.branch(body)
    b.position_at_end(body)
    lane = b.phi(I64)
    places = [b.gep(r, [lane], source_etype=t.element) for r, t in zip(rooms, types, strict=True)]
    lanes = [b.load(p, typ=t.element) for p, t in zip(places, types, strict=True)]
    b.store(b.call(scalar, lanes), places[0])
    following = b.add(lane, I64(1))
    lane.add_incoming(I64(0), before)
    lane.add_incoming(following, body)
    b.cbranch(b.icmp_signed("<", following, I64(types[0].count)), body, after)
    b.position_at_end(after)
    b.ret(b.load(rooms[0], typ=types[0]))
    return function
