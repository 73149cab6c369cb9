"""The support library: what every entry shares, compiled once a process, in parts as they are needed.

Entries that call them are small: they cost LLVM by the block.

tj_rt_miss           the end of a chain of entries: hand the call to Python, `self._unserved(*args, **kwargs)`
tj_rt_release        drop the owned references in an array of slots
tj_rt_fail           take the GIL back, turn a recorded error into a Python exception
tj_rt_report         tell Python about floating-point flags; if it raises, there is no result
tj_rt_poll           let signals in (Ctrl-C), and other threads, from code that may have released the GIL
tj_rt_is_array       is an object an array of this dtype, rank and layout?
tj_rt_self_overlaps  may two elements of one array share memory?
tj_rt_are_disjoint   have the byte extents of all pairs of arrays in a table no byte in common?
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, final

from llvmlite import ir

from tensorjit.backends.llvm import abi
from tensorjit.backends.llvm.abi import (
    ERROR_ARGS,
    I8,
    I32,
    I64,
    LAYOUT,
    PTR,
    context_field,
    global_variable,
    stack_room,
)
from tensorjit.backends.llvm.engine import Library, default_engine
from tensorjit.backends.llvm.symbols import FUNCTIONS, declare, host_symbols, object_symbol
from tensorjit.records import dataclass

__all__ = ["PARTS", "build", "support_address"]

_METHOD = "tj_const_unserved"  # the string "_unserved"
_ARRAY_TYPE = "tj_np_PyArray_Type"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Functions that are compiled together, when one of them is first needed. Optimising takes four times as long: for those that
    calls go through."""

    name: str
    emitters: Mapping[str, Callable[[ir.Module], None]]
    optimised: bool = False


def support_address(name: str) -> int:
    """The address of a support function."""
    return _library(next(part for part in PARTS if name in part.emitters)).address(name)


@functools.cache
def _library(part: Part) -> Library:
    engine, module = default_engine(), build(part)
    data = engine.compile_ir(module) if part.optimised else engine.compile_cold(module)
    method = "_unserved"
    symbols = host_symbols([_ARRAY_TYPE, *(name for name in FUNCTIONS if name.startswith("tj_py_"))])
    return engine.link(data, symbols | {_METHOD: id(method)}, exports=list(part.emitters), keep=[method])


def build(part: Part) -> ir.Module:
    """The module of a part."""
    module = ir.Module(f"tj_support_{part.name}")
    for emit in part.emitters.values():
        emit(module)
    return module


def _define(module: ir.Module, name: str) -> tuple[ir.Function, ir.IRBuilder]:
    function = declare(module, name)
    function.attributes.add("nounwind")
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def _emit_miss(module: ir.Module) -> None:
    function, b = _define(module, "tj_rt_miss")
    self, args, nargsf, names = function.args
    method = b.call(declare(module, "tj_py_PyObject_GetAttr"), [self, object_symbol(module, _METHOD)])
    with b.if_then(b.icmp_unsigned("==", method, PTR(None)), likely=False):
        b.ret(PTR(None))
    result = b.call(declare(module, "tj_py_PyObject_Vectorcall"), [method, args, nargsf, names])
    b.call(declare(module, "tj_py_Py_DecRef"), [method])
    b.ret(result)


@contextmanager
def counted_loop(b: ir.IRBuilder, count: ir.Value, first: int = 0) -> Iterator[ir.Value]:
    """A loop with an i64 index from `first` up to `count`; the body may add blocks but must fall through."""
    before = b.block
    head, body, after = (b.append_basic_block(name) for name in ("loop.head", "loop.body", "loop.end"))
    b.branch(head)
    b.position_at_end(head)
    index = b.phi(I64)
    index.add_incoming(I64(first), before)
    b.cbranch(b.icmp_signed("<", index, count), body, after)
    b.position_at_end(body)
    yield index
    index.add_incoming(b.add(index, I64(1)), b.block)
    b.branch(head)
    b.position_at_end(after)


def _emit_release(module: ir.Module) -> None:
    function, b = _define(module, "tj_rt_release")
    slots, count = function.args
    with counted_loop(b, count) as index:
        slot = b.gep(slots, [index], source_etype=PTR)
        owned = b.load(slot, typ=PTR)
        # null first: what dropping it runs must not find it again
        b.store(PTR(None), slot)
        b.call(declare(module, "tj_py_Py_DecRef"), [owned])
    b.ret_void()


def _emit_is_array(module: ir.Module) -> None:
    function, b = _define(module, "tj_rt_is_array")
    value, number, other_number, rank, wanted, mask = function.args

    def field(base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
        return b.load(b.gep(base, [I64(offset)], inbounds=True, source_etype=I8), typ=kind)

    array_type = object_symbol(module, _ARRAY_TYPE)
    with b.if_then(b.icmp_unsigned("!=", field(value, LAYOUT.type, PTR), array_type), likely=False):
        b.ret(I32(0))
    # by number and byte order: equal descriptors need not be one object
    descr = field(value, LAYOUT.array_descr, PTR)
    got = field(descr, LAYOUT.descr_type_number, I32)
    conditions = [
        b.or_(b.icmp_unsigned("==", got, number), b.icmp_unsigned("==", got, other_number)),
        b.icmp_unsigned("!=", field(descr, LAYOUT.descr_byte_order, I8), I8(ord(abi.SWAPPED))),
        b.icmp_unsigned("==", field(value, LAYOUT.array_rank, I32), rank),
        b.icmp_unsigned("==", b.and_(field(value, LAYOUT.array_flags, I32), mask), wanted),
    ]
    b.ret(b.zext(functools.reduce(b.and_, conditions), I32))


def _emit_are_disjoint(module: ir.Module) -> None:
    function, b = _define(module, "tj_rt_are_disjoint")
    extents, pairs, count = function.args

    def extent(index: ir.Value) -> list[ir.Value]:
        number = b.zext(b.load(b.gep(pairs, [index], source_etype=I32), typ=I32), I64)
        at = b.gep(extents, [b.mul(number, I64(2))], source_etype=PTR)
        return [b.load(b.gep(at, [I64(k)], source_etype=PTR), typ=PTR) for k in (0, 1)]

    with counted_loop(b, count) as pair:
        first = b.mul(pair, I64(2))
        (low, high), (other_low, other_high) = extent(first), extent(b.add(first, I64(1)))
        meet = [(low, other_high), (other_low, high), (low, high), (other_low, other_high)]
        with b.if_then(functools.reduce(b.and_, [b.icmp_unsigned("<", x, y) for x, y in meet]), likely=False):
            b.ret(I32(0))
    b.ret(I32(1))


def _emit_take_gil(module: ir.Module, b: ir.IRBuilder, context: ir.Value) -> ir.Value:
    """Take the GIL if it was released; the saved thread state, null if there was none."""
    field = context_field(b, context, "saved_thread")
    saved = b.load(field, typ=PTR)
    with b.if_then(b.icmp_unsigned("!=", saved, PTR(None))):
        b.call(declare(module, "tj_py_PyEval_RestoreThread"), [saved])
        b.store(PTR(None), field)
    return saved


def _emit_call_with_ints(module: ir.Module, b: ir.IRBuilder, callee: ir.Value, numbers: list[ir.Value]) -> ir.Value:
    """`callee(*numbers)`: a new reference, or null with an exception set."""
    letters = "".join("i" if number.type == I32 else "L" for number in numbers)
    form = global_variable(module, ir.ArrayType(I8, len(letters) + 3), f"tj_form_{letters}")
    form.initializer = ir.Constant(form.value_type, bytearray(f"({letters})\0".encode()))
    form.linkage = "private"
    return b.call(declare(module, "tj_py_PyObject_CallFunction"), [callee, form, *numbers])


def _emit_fail(module: ir.Module) -> None:
    function, b = _define(module, "tj_rt_fail")
    context, raiser = function.args
    _emit_take_gil(module, b, context)
    status = b.load(context_field(b, context, "status"), typ=I32)
    with b.if_then(b.icmp_unsigned("!=", status, I32(abi.STATUS_ERROR))):
        b.ret_void()
    code = b.load(context_field(b, context, "error_code"), typ=I32)
    args = context_field(b, context, "error_args")
    numbers = [b.load(b.gep(args, [I64(i)], source_etype=I64), typ=I64) for i in range(ERROR_ARGS)]
    result = _emit_call_with_ints(module, b, raiser, [code, *numbers])
    with b.if_then(b.icmp_unsigned("!=", result, PTR(None))):  # it did not raise: our bug, but not a crash
        b.call(declare(module, "tj_py_Py_DecRef"), [result])
        b.call(declare(module, "tj_py_PyErr_BadInternalCall"), [])
    b.ret_void()


def _emit_report(module: ir.Module) -> None:
    function, b = _define(module, "tj_rt_report")
    report, flags, result = function.args
    told = _emit_call_with_ints(module, b, report, [flags])
    with b.if_then(b.icmp_unsigned("==", told, PTR(None))):
        b.call(declare(module, "tj_py_Py_DecRef"), [b.load(result, typ=PTR)])
        b.store(PTR(None), result)
        b.ret_void()
    b.call(declare(module, "tj_py_Py_DecRef"), [told])
    b.ret_void()


def _emit_poll(module: ir.Module) -> None:
    function, b = _define(module, "tj_rt_poll")
    (context,) = function.args
    saved = _emit_take_gil(module, b, context)
    failed = b.icmp_signed("<", b.call(declare(module, "tj_py_PyErr_CheckSignals"), []), I32(0))
    with b.if_then(failed, likely=False):
        b.store(I32(abi.STATUS_EXCEPTION), context_field(b, context, "status"))
        b.ret(I32(1))  # the GIL stays taken: the error path wants it
    state = b.call(declare(module, "tj_py_PyEval_SaveThread"), [])
    with b.if_else(b.icmp_unsigned("!=", saved, PTR(None))) as (released, held):
        with released:
            b.store(state, context_field(b, context, "saved_thread"))
        with held:  # whoever waits for the GIL takes it in between
            b.call(declare(module, "tj_py_PyEval_RestoreThread"), [state])
    b.ret(I32(0))


def _emit_self_overlaps(module: ir.Module) -> None:
    """Sufficient test: with its axes in order of |stride|, an array whose every |stride| passes the reach of
    all smaller axes has no two elements at one address. Anything else (as_strided windows, broadcasts) may
    overlap."""
    function, b = _define(module, "tj_rt_self_overlaps")
    rank, dims, strides, itemsize = function.args

    def axis(index: ir.Value) -> tuple[ir.Value, ir.Value]:
        extent = b.load(b.gep(dims, [index], source_etype=I64), typ=I64)
        stride = b.load(b.gep(strides, [index], source_etype=I64), typ=I64)
        negative = b.icmp_signed("<", stride, I64(0))
        return b.sub(extent, I64(1)), b.select(negative, b.neg(stride), stride)

    found, reach = stack_room(b, I32), stack_room(b, I64)
    b.store(I32(0), found)
    with counted_loop(b, rank) as i:
        extent, stride = axis(i)
        with b.if_then(b.icmp_signed("<", extent, I64(0)), likely=False):
            b.ret(I32(0))  # no element at all
        b.store(itemsize, reach)
        with counted_loop(b, rank) as j:
            other_extent, other_stride = axis(j)
            smaller = b.and_(b.icmp_signed("<=", other_stride, stride), b.icmp_unsigned("!=", i, j))
            step = b.select(smaller, b.mul(other_extent, other_stride), I64(0))
            b.store(b.add(b.load(reach, typ=I64), step), reach)
        collides = b.icmp_signed("<", stride, b.load(reach, typ=I64))
        collides = b.and_(collides, b.icmp_signed(">", extent, I64(0)))
        b.store(b.or_(b.load(found, typ=I32), b.zext(collides, I32)), found)
    b.ret(b.load(found, typ=I32))


PARTS: Final = (
    Part("calls", {"tj_rt_release": _emit_release, "tj_rt_is_array": _emit_is_array}, optimised=True),
    Part("ends", {"tj_rt_miss": _emit_miss, "tj_rt_fail": _emit_fail, "tj_rt_report": _emit_report, "tj_rt_poll": _emit_poll}),
    Part("overlap", {"tj_rt_self_overlaps": _emit_self_overlaps, "tj_rt_are_disjoint": _emit_are_disjoint}, optimised=True),
)
