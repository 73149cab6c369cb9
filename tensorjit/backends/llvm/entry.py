"""The native entry: the function Python calls, for one signature.

    checks  ->  body  ->  result
       |  any check fails
       v
    the next entry of the same callable (`tj_next`), at the end of the chain Python (`tj_rt_miss`)

`build_entry` writes the module around a body that the caller emits; `link_entry` loads its object and gives a
`LinkedEntry`, which the callable chains to the others. In a function `add_one` of one array:

>>> import numpy as np
>>> def add_one(host, args):
...     (x,) = args
...     result = host.new_array(x.dtype, x.dims)
...     with host.loop(x.dims[0]) as i:
...         element = host.load_element(x.dtype, host.element_address(x, [i]))
...         plus_one = host.emit.fadd(element, element.type(1.0))
...         host.store_element(x.dtype, plus_one, host.element_address(result, [i]))
...     host.ret(result)
>>> spec = EntrySpec((ArrayParam(np.dtype("f8"), 1, dims=(ANY_DIM,)),))
>>> engine = default_engine()
>>> code = build_entry(spec, add_one, arch=engine.arch)
>>> entry = link_entry(engine, engine.compile_ir(code.module), code)
>>> entry.hits, entry.in_use
(0, 0)
>>> entry.close()
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import FunctionType, ModuleType
from typing import Any, Literal, final

import numpy as np
from llvmlite import ir

from tensorjit.backends.llvm import abi
from tensorjit.backends.llvm.abi import (
    FREE_THREADED,
    I32,
    I64,
    LAYOUT,
    PTR,
    ArrayValue,
    DType,
    ObjectValue,
    Value,
    global_variable,
)
from tensorjit.backends.llvm.engine import Engine, Library, default_engine
from tensorjit.backends.llvm.pyapi import Constants, Extent, HostBuilder
from tensorjit.backends.llvm.support import support_address
from tensorjit.backends.llvm.symbols import declare, host_symbols
from tensorjit.passes.specialise.state import MISSING, Source
from tensorjit.records import dataclass

__all__ = [
    "ANY_DIM",
    "ArrayParam",
    "CaptureParam",
    "EntryCode",
    "EntrySpec",
    "LinkedEntry",
    "NoneParam",
    "OpaqueParam",
    "Overlap",
    "Param",
    "ScalarParam",
    "StaticParam",
    "TupleParam",
    "build_entry",
    "default_engine",
    "link_entry",
]

MAX_PAIRS_IN_LINE = 6  # of arrays that must not overlap: more are checked by a loop
ANY_DIM = -1
"""A dimension of any length, 1 included (a dimension None is any length but 1)."""

Layout = Literal["C", "F", "strided", "any"]

# -- what is checked -------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class ArrayParam:
    """An ndarray. `dims`: for each axis None (any length but 1), ANY_DIM, or an exact length; () stands for
    all None.

    layout `"strided"` is neither C nor F contiguous; writable and aligned None mean "either"; `self_overlap`
    False demands that no two elements share memory (only worth asking of strided arrays that are written to).
    """

    dtype: DType
    rank: int
    layout: Layout = "any"
    writable: bool | None = None
    aligned: bool | None = True
    dims: tuple[int | None, ...] = ()
    self_overlap: bool | None = None

    def __post_init__(self) -> None:
        if self.dims and len(self.dims) != self.rank:
            raise ValueError(f"{len(self.dims)} dimensions for rank {self.rank}")


@final
@dataclass(frozen=True, slots=True)
class ScalarParam:
    """A scalar of exactly one type: Python's `"bool"`, `"int"` (of 64 bits), `"float"`, `"complex"`, or
    NumPy's of a dtype."""

    kind: Literal["bool", "int", "float", "complex"] | DType


@final
@dataclass(frozen=True, slots=True)
class StaticParam:
    """A value known at compile time, compared by equality of value and type, or by identity."""

    value: Any
    identity: bool = False


@final
@dataclass(frozen=True, slots=True)
class NoneParam:
    """None."""


@final
@dataclass(frozen=True, slots=True)
class OpaqueParam:
    """Any object, unchecked: native code only hands it on."""


@final
@dataclass(frozen=True, slots=True)
class TupleParam:
    """Exactly a tuple (or a list, or a namedtuple of this class) of these."""

    items: tuple[Param, ...]
    kind: type = tuple


@final
@dataclass(frozen=True, slots=True)
class CaptureParam:
    """Not an argument: what is read from a global, a cell, an attribute, ... at the time of the call."""

    source: Source
    param: Param


Param = ArrayParam | ScalarParam | StaticParam | NoneParam | OpaqueParam | TupleParam

Relation = Literal["disjoint", "identical", "overlapping", "disjoint or identical"]


@final
@dataclass(frozen=True, slots=True)
class Overlap:
    """How the memory of arrays number `a` and `b` must lie (numbers count arrays in order of their
    appearance)."""

    a: int
    b: int
    relation: Relation


@final
@dataclass(frozen=True, slots=True)
class EntrySpec:
    """What an entry accepts.

    `params` in the order of the arguments; the last `len(keywords)` of them are passed by keyword, in that
    very order (another order or spelling of the call is another entry). `captures` are read in their order: what
    says that an object is a list comes before its items. `equal_dims` are pairs of (array number, axis); arrays of
    params and captures are numbered together, in order of appearance. With `handled`, an exception of the body is a guard that
    failed: the body has no effect before it.
    """

    params: tuple[Param, ...]
    keywords: tuple[str, ...] = ()
    captures: tuple[CaptureParam, ...] = ()
    equal_dims: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    fp_status: bool = True
    handled: bool = False


# -- building --------------------------------------------------------------------------------------

Body = Callable[[HostBuilder, list[Value]], None]
"""Emits the body: gets the builder and the values of params and captures, ends every path by `host.ret`,
`fail` or `raise_error`."""


@final
@dataclass(frozen=True, slots=True)
class EntryCode:
    """A module whose function `tj_entry` is the entry, and the objects that it refers to."""

    module: ir.Module
    constants: Constants = field(default_factory=Constants)


_ENTRY = "tj_entry"
_EXPORTS = (_ENTRY, "tj_next", "tj_hits", "tj_in_use")
VECTORCALL = ir.FunctionType(PTR, [PTR, PTR, I64, PTR])
_OFFSET_BIT = 1 << 63  # PY_VECTORCALL_ARGUMENTS_OFFSET


def _no_reporter(*_: object) -> None:
    raise SystemError("native code reported an error, and nobody was there to name it")


def build_entry(
    spec: EntrySpec,
    body: Body,
    *,
    arch: str,
    module: ir.Module | None = None,
    constants: Constants | None = None,
    raiser: Callable[..., object] = _no_reporter,
    report: Callable[[int], object] = _no_reporter,
) -> EntryCode:
    """Add `tj_entry` to a module (which may hold the kernels already).

    `raiser(code, n0, n1, n2, n3)` must raise the exception of an error that native code recorded;
    `report(flags)` is told once a call about floating-point flags (NumPy's FPE bits) and may raise.
    """
    code = EntryCode(ir.Module("tj_entry") if module is None else module, constants or Constants())
    function = ir.Function(code.module, VECTORCALL, _ENTRY)
    host = HostBuilder(
        function,
        constants=code.constants,
        arch=arch,
        fp_status=spec.fp_status,
        handled=spec.handled,
        raiser=raiser,
        report=report,
    )
    counters = _define_globals(code.module)
    checker = _Checker(host, spec, function.args)
    # counted before the checks: comparing static values may run code that drops this entry
    _count(host.emit, counters["tj_in_use"], 1)
    values = checker.check()
    host.begin_body()
    checker.own_captures()
    body(host, values)
    host.finish(
        emit_miss=lambda: _emit_miss(host, function, counters, checker.slots),
        emit_leave=lambda: _emit_leave(host, counters),
    )
    for defined in code.module.functions:
        if not defined.is_declaration:
            defined.attributes.add("nounwind")  # no C exception passes here: without tables that say how, objects are smaller
    return code


def _define_globals(module: ir.Module) -> dict[str, ir.GlobalVariable]:
    initial = {"tj_next": declare(module, "tj_rt_miss"), "tj_hits": I64(0), "tj_in_use": I64(0)}
    variables = {}
    for name, value in initial.items():
        variable = global_variable(module, PTR if name == "tj_next" else I64, name)
        variable.initializer = value if name != "tj_next" else _plain_pointer(value)
        variables[name] = variable
    return variables


def _plain_pointer(function: ir.Function) -> ir.Constant:
    return ir.Constant(PTR, function.get_reference())


def _count(emit: ir.IRBuilder, counter: ir.Value, step: int) -> None:
    if FREE_THREADED:
        emit.atomic_rmw("add", counter, I64(step), "monotonic")
    else:
        emit.store(emit.add(emit.load(counter, typ=I64), I64(step)), counter)


def _emit_leave(host: HostBuilder, counters: Mapping[str, ir.Value]) -> None:
    _count(host.emit, counters["tj_hits"], 1)  # only now: a body may still find that it does not serve the call
    _count(host.emit, counters["tj_in_use"], -1)


def _emit_miss(host: HostBuilder, function: ir.Function, counters: Mapping[str, ir.Value], slots: Sequence[ir.Value]) -> None:
    if slots:  # the first ones of the frame, one after the other
        host.call("tj_rt_release", slots[0], I64(len(slots)))
    _count(host.emit, counters["tj_in_use"], -1)
    following = host.emit.load(counters["tj_next"], typ=PTR)
    # a tail call: a long chain of entries must not eat the stack
    result = host.emit.call(_as_function(following, function), list(function.args), tail="musttail")
    host.emit.ret(result)


def _as_function(pointer: ir.Value, like: ir.Function) -> ir.Value:
    # llvmlite wants a callee of pointer-to-function type
    return _Callee(pointer, like.function_type)


class _Callee:
    """A pointer that llvmlite prints as a callee of a given function type."""

    def __init__(self, pointer: ir.Value, function_type: ir.FunctionType) -> None:
        self.function_type = function_type
        self.type = function_type.as_pointer()
        self._pointer = pointer

    def get_reference(self) -> str:
        return str(self._pointer.get_reference())


class _Checker:
    """Emits the checks of one spec, cheap ones in the order of the arguments, relations between arrays
    last."""

    def __init__(self, host: HostBuilder, spec: EntrySpec, args: Sequence[ir.Value]) -> None:
        self.host = host
        self.spec = spec
        self.self, self.args, self.nargsf, self.names = args
        self.arrays: list[ArrayValue] = []
        self._extents: dict[int, Extent] = {}
        self.slots: list[ir.Value] = []  # references that it owns while it checks
        self._captured: list[ir.Value] = []
        self._found: dict[tuple[Any, ...], ir.Value] = {}
        self._present: set[tuple[Any, ...]] = set()

    def check(self) -> list[Value]:
        host = self.host
        self._check_call_form()
        values = [self._read(param, host.load_field(self.args, 8 * i, PTR)) for i, param in enumerate(self.spec.params)]
        values += [self._read_capture(capture) for capture in self.spec.captures]
        self._check_relations()
        return values

    def _check_call_form(self) -> None:
        host, spec = self.host, self.spec
        count = host.emit.and_(self.nargsf, I64(~_OFFSET_BIT & (2**64 - 1)))
        given = host.emit.icmp_unsigned("==", count, I64(len(spec.params) - len(spec.keywords)))
        absent = host.emit.icmp_unsigned("==", self.names, PTR(None))
        if not spec.keywords:
            host.guard(given, absent)
            return
        host.guard(given, host.emit.not_(absent))
        # callers pass interned names; a name that is not interned misses, which is only slow
        for got, name in zip(host.guard_items(self.names, len(spec.keywords)), spec.keywords, strict=True):
            host.guard_same(got, host.constant(sys.intern(name)))

    def _read(self, param: Param, value: ir.Value) -> Value:
        host = self.host
        match param:
            case ArrayParam():
                return self._read_array(param, value)
            case ScalarParam(kind=np.dtype() as dtype):
                return host.unbox_numpy(value, dtype)
            case ScalarParam(kind=str() as kind):
                return host.unbox_python(value, kind[0])
            case StaticParam(identity=True):
                host.guard_same(value, host.constant(param.value))
            case StaticParam():
                host.guard_equal(value, param.value)
            case NoneParam():
                host.guard_same(value, host.python_object("_Py_NoneStruct"))
                return None
            case TupleParam():
                items = host.guard_items(value, len(param.items), param.kind)
                if param.kind is list:  # another thread may change it while the body runs
                    self._captured += items
                return tuple(self._read(p, v) for p, v in zip(param.items, items, strict=True))
            case OpaqueParam():
                pass
            case _:
                raise TypeError(f"{param} is no argument")
        return ObjectValue(value)

    def _read_capture(self, capture: CaptureParam) -> Value:
        host, source = self.host, capture.source
        expected: Any = capture.param.value if isinstance(capture.param, StaticParam) else None
        match source.kind:
            case "has":
                host.guard(self._is_null(self._find(source.container), not expected))
            case "same":
                same = host.emit.icmp_unsigned("==", self._find(source.container), self._find(source.name))
                host.guard(same if expected else host.emit.not_(same))
            case "length":
                length = host.load_field(self._find_present(source.container), LAYOUT.size, I64)
                host.guard(host.emit.icmp_signed("==", length, I64(expected)))
            case "keys":
                self._check_keys(self._find_present(source.container), expected)
            case "what" if isinstance(expected, type):
                host.guard(host.has_type(self._find_present(source.container), host.constant(expected)))
            case "what" if expected is not MISSING:
                self._read(capture.param, self._find_present(source.container))
            case _ if expected is MISSING:
                host.guard(self._is_null(self._find(source.container if source.kind == "what" else source), True))
            case _:
                identity = isinstance(capture.param, StaticParam) and capture.param.identity
                value = self._find(source) if identity else self._find_present(source)  # null is not that object either
                if not isinstance(capture.param, StaticParam) and (source.kind != "attribute" or _of_module(source) is not None):
                    self._captured.append(value)
                return self._read(capture.param, value)
        return None

    def _is_null(self, value: ir.Value, wanted: bool) -> ir.Value:
        return self.host.emit.icmp_unsigned("==" if wanted else "!=", value, PTR(None))

    def _find_present(self, source: Source) -> ir.Value:
        value = self._find(source)
        if source.key not in self._present:
            self._present.add(source.key)
            if source.kind not in ("constant", "list item", "tuple item"):
                self.host.guard(self._is_null(value, False))
        return value

    def _find(self, source: Source) -> ir.Value:
        """What a source reads, once for all that ask; null where there is nothing."""
        if source.key not in self._found:
            self._found[source.key] = self._emit_find(source)
        return self._found[source.key]

    def _emit_find(self, source: Source) -> ir.Value:
        host, name = self.host, source.name
        match source.kind:
            case "constant":
                return host.constant(source.container)
            case "cell":
                return host.load_field(host.constant(source.container), LAYOUT.cell_content, PTR)
            case "global":
                return _item(host, source.container, name)
            case "attribute" if (module := _of_module(source)) is not None:
                return _item(host, vars(module), name)
            case "attribute":
                return self._get_attribute(self._find_present(source.container), self._name(name))
            case "of function":
                return self._part_of_function(source)
        owner = self._find_present(source.container)
        kind = {"list item": "PyList_Type", "tuple item": "PyTuple_Type", "dict item": "PyDict_Type"}[source.kind]
        host.guard(host.has_type(owner, host.python_object(kind)))
        if source.kind == "dict item":
            return host.call("tj_py_PyDict_GetItemWithError", owner, self._name(name))
        host.guard(host.emit.icmp_signed(">", host.load_field(owner, LAYOUT.size, I64), I64(name)))
        start = LAYOUT.tuple_items
        if source.kind == "list item":
            owner, start = host.load_field(owner, LAYOUT.list_items, PTR), 0
        return host.load_field(owner, start + 8 * name, PTR)

    def _part_of_function(self, source: Source) -> ir.Value:
        host, owner = self.host, self._find_present(source.container)
        if source.container.kind != "constant":
            host.guard(host.has_type(owner, host.constant(FunctionType)))
        value = host.load_field(owner, getattr(LAYOUT, f"function_{source.name.strip('_')}"), PTR)
        return host.emit.select(self._is_null(value, True), host.python_object("_Py_NoneStruct"), value)

    def _name(self, name: Any) -> ir.Value:
        return self.host.constant(sys.intern(name) if type(name) is str else name)

    def _get_attribute(self, owner: ir.Value, name: ir.Value) -> ir.Value:
        """A new reference, kept to the end of the call: nobody else may hold the object."""
        host = self.host
        value = host.call("tj_py_PyObject_GetAttr", owner, name)
        with host.emit.if_then(self._is_null(value, True), likely=False):
            host.call("tj_py_PyErr_Clear")
        self.slots.append(host.own(value))
        return value

    def _check_keys(self, owner: ir.Value, keys: Sequence[Any]) -> None:
        host = self.host
        host.guard(host.has_type(owner, host.python_object("PyDict_Type")))
        host.guard(host.emit.icmp_signed("==", host.load_field(owner, LAYOUT.size, I64), I64(len(keys))))
        place, key, value = host.stack_array(I64, 1), host.stack_array(PTR, 1), host.stack_array(PTR, 1)
        host.emit.store(I64(0), place)
        for expected in keys:
            host.guard(host.emit.icmp_signed("!=", host.call("tj_py_PyDict_Next", owner, place, key, value), I32(0)))
            host.guard_equal(host.emit.load(key, typ=PTR), expected)

    def own_captures(self) -> None:
        """Nobody else promises to keep them: the name may be bound anew while the body runs."""
        for value in self._captured:
            self.host.incref(value)
            self.host.own(value)

    def _read_array(self, param: ArrayParam, value: ir.Value) -> ArrayValue:
        host = self.host
        wanted, absent = _flag_masks(param)
        array = host.guard_array(value, param.dtype, param.rank, flags=wanted, absent_flags=absent)
        dims = param.dims or (None,) * param.rank
        host.guard(
            *(
                host.emit.icmp_unsigned("!=" if dim is None else "==", got, I64(1 if dim is None else dim))
                for got, dim in zip(array.dims, dims, strict=True)
                if dim != ANY_DIM
            )
        )
        if param.self_overlap is not None:
            found = host.self_overlaps(array)
            host.guard(found if param.self_overlap else host.emit.not_(found))
        array = _with_known_dims(host, array, dims, param.layout)
        self.arrays.append(array)
        return array

    def _check_relations(self) -> None:
        dims = [
            self.host.emit.icmp_unsigned("==", self.arrays[a].dims[i], self.arrays[b].dims[j])
            for (a, i), (b, j) in self.spec.equal_dims
        ]
        disjoint = [o for o in self.spec.overlaps if o.relation == "disjoint"]
        in_line = len(disjoint) <= MAX_PAIRS_IN_LINE
        related = [self._is_related(o) for o in self.spec.overlaps if in_line or o.relation != "disjoint"]
        self.host.guard(*dims, *related)
        if not in_line:
            self._check_disjoint(disjoint)

    def _is_related(self, overlap: Overlap) -> ir.Value:
        host, a, b = self.host, self.arrays[overlap.a], self.arrays[overlap.b]
        emit = host.emit
        if overlap.relation == "identical":
            return host.is_identical(a, b)
        meet = host.extents_meet(self._extent(overlap.a), self._extent(overlap.b))
        match overlap.relation:
            case "disjoint":
                return emit.not_(meet)
            case "overlapping":
                return emit.and_(meet, emit.not_(host.is_identical(a, b)))
            case _:
                return emit.or_(emit.not_(meet), host.is_identical(a, b))

    def _extent(self, array: int) -> Extent:
        if array not in self._extents:
            self._extents[array] = self.host.byte_extent(self.arrays[array])
        return self._extents[array]

    def _check_disjoint(self, overlaps: Sequence[Overlap]) -> None:
        """Many pairs, by a table of them: what LLVM takes for them in line grows faster than their square."""
        host = self.host
        arrays = sorted({n for o in overlaps for n in (o.a, o.b)})
        extents = host.stack_copy(PTR, [end for n in arrays for end in self._extent(n)])
        table = [arrays.index(n) for o in overlaps for n in (o.a, o.b)]
        pairs = host.table("tj_disjoint_pairs", I32, table)
        found = host.call("tj_rt_are_disjoint", extents, pairs, I64(len(overlaps)))
        host.guard(host.emit.icmp_signed("!=", found, I32(0)))


def _of_module(source: Source) -> Any:
    """The module that an attribute is read from past Python's own way, which is longer; None: it is none, or has it in no dictionary.
    Where the attribute is gone from there, the entry does not serve."""
    if source.kind != "attribute" or source.container.kind != "constant":
        return None
    owner, name = source.container.container, source.name
    return owner if type(owner) is ModuleType and name in vars(owner) and not name.startswith("__") else None


def _item(host: HostBuilder, space: dict[str, Any], name: str) -> ir.Value:
    return host.call("tj_py_PyDict_GetItemWithError", host.constant(space), host.constant(sys.intern(name)))


def _flag_masks(param: ArrayParam) -> tuple[int, int]:
    """The bits of NumPy's flags word that must be set, and those that must not."""
    wanted = absent = 0
    for flag, state in ((abi.ARRAY_ALIGNED, param.aligned), (abi.ARRAY_WRITEABLE, param.writable)):
        wanted |= flag if state else 0
        absent |= flag if state is False else 0
    match param.layout:
        case "C":
            wanted |= abi.ARRAY_C_CONTIGUOUS
        case "F":
            wanted |= abi.ARRAY_F_CONTIGUOUS
        case "strided":
            absent |= abi.ARRAY_C_CONTIGUOUS | abi.ARRAY_F_CONTIGUOUS
    return wanted, absent


def _with_known_dims(host: HostBuilder, array: ArrayValue, dims: Sequence[int | None], layout: Layout) -> ArrayValue:
    """Constants for what the checks have pinned down. A contiguous array's own strides say nothing for axes
    of length 1 (NumPy ignores them there), so they are computed."""
    known = tuple(got if d is None or d == ANY_DIM else I64(d) for got, d in zip(array.dims, dims, strict=True))
    strides = array.strides
    if layout in ("C", "F"):
        strides = host.contiguous_strides(array.dtype, known, layout)
    return ArrayValue(array.dtype, array.data, known, strides, array.owner, array.object)


# -- linking ---------------------------------------------------------------------------------------


@final
class LinkedEntry:
    """An entry in this process. `address` is the vectorcall function."""

    __slots__ = ("_hits", "_in_use", "_next", "address", "library")

    def __init__(self, library: Library) -> None:
        self.library = library
        self.address = library.address(_ENTRY)
        self._next = ctypes.c_size_t.from_address(library.address("tj_next"))
        self._hits = ctypes.c_int64.from_address(library.address("tj_hits"))
        self._in_use = ctypes.c_int64.from_address(library.address("tj_in_use"))

    @property
    def hits(self) -> int:
        """How many calls it has served."""
        return 0 if self.library.closed else self._hits.value

    @property
    def in_use(self) -> int:
        """How many calls are inside it at this moment."""
        return 0 if self.library.closed else self._in_use.value

    def set_next(self, address: int | None) -> None:
        """Where a call goes that this entry does not serve: another entry, or (None) to Python."""
        self._next.value = support_address("tj_rt_miss") if address is None else address

    def close(self) -> None:
        """Free the code; nothing may call it any more, and `in_use` must be zero."""
        self.library.close()


def link_entry(
    engine: Engine,
    data: bytes,
    code: EntryCode,
    *,
    symbols: Mapping[str, int] | None = None,
    keep: Sequence[object] = (),
) -> LinkedEntry:
    """Load the object made of `code.module`. `symbols` are further addresses (of library functions), `keep`
    what they need."""
    names = [name for name, value in code.module.globals.items() if _is_open(value)]
    constants = {f"tj_const_{i}": id(value) for i, value in enumerate(code.constants.objects)}
    support = {name: support_address(name) for name in names if name.startswith("tj_rt_")}
    resolved = {**support, **host_symbols(names), **constants, **(symbols or {})}
    needed = {name: resolved[name] for name in [*names, *(symbols or {})] if name in resolved}
    library = engine.link(data, needed, exports=_EXPORTS, keep=[*code.constants.objects, *keep])
    return LinkedEntry(library)


def _is_open(value: ir.GlobalValue) -> bool:
    if isinstance(value, ir.Function):
        return bool(value.is_declaration) and not value.name.startswith("llvm.")
    return value.initializer is None
