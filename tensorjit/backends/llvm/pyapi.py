"""Emits host code: arguments, results, reference counts, errors, the GIL, floating-point flags.

A `HostBuilder` writes one native function that Python calls. Its rules:

* `emit` is the llvmlite builder; whatever a helper needs beyond that it declares by itself.
* Arguments are borrowed. What the code owns lies in slots (`own`), which every exit drops; so a body just
  leaves.
* A body ends a path by `ret(value)`, by `fail()` after a C API call that set an exception, or by
  `raise_error(code, numbers)`.
* `miss` is the block that hands the call on to the next entry; only before the first effect.

    arguments   guard, guard_late, guard_array, guard_items, guard_same, guard_equal, unbox_python,
                unbox_numpy, is_array, is_scalar, is_tuple, load_scalar
    arrays      load_array, new_array, buffer, view, element_address, load_element, store_element, byte_extent,
                extents_meet, is_identical, self_overlaps, contiguous_strides, size
    results     box, box_scalar, box_tuple, ret, ret_object
    references  own, empty_slot, replace, take, incref, decref
    Python      call_object, constant, python_object, check_object
    errors      fail, raise_error, check_kernel
    long work   without_gil, release_gil, acquire_gil, poll, charge
    flags       fp_start, fp_collect, fp_pin, note_overflow
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, final

import numpy as np
from llvmlite import ir

from tensorjit.backends.llvm import abi
from tensorjit.backends.llvm.abi import (
    CONTEXT,
    I1,
    I8,
    I32,
    I64,
    INLINE_REFCOUNT,
    LAYOUT,
    PTR,
    VOID,
    ArrayValue,
    DType,
    ObjectValue,
    ScalarValue,
    Value,
    context_field,
    global_variable,
    memory_type,
    register_type,
    stack_room,
)
from tensorjit.backends.llvm.support import counted_loop
from tensorjit.backends.llvm.symbols import declare, object_symbol

__all__ = ["CONSTANT_PREFIX", "Constants", "HostBuilder"]

CONSTANT_PREFIX = "tj_const_"
NULL = PTR(None)
NO_KEYWORDS: Mapping[str, Any] = MappingProxyType({})
BUFFERS = 3  # arrays that `buffer` keeps for one place
BUDGET = 1 << 20  # turns of work of kernels before the first interrupt poll
TURNS = 1 << 17  # of host code between two polls: 40 us or more, against 0.1 us of a poll; a turn of 150 ns makes 20 ms
FREE_TURNS = 1 << 22  # the same without the GIL: a poll takes it, and may have to wait for it

_FLOAT64 = np.dtype("f8")
_INT64 = np.dtype("i8")
_COMPLEX128 = np.dtype("c16")
_BOOL = np.dtype("?")

_PYTHON_TYPES = {"b": "PyBool_Type", "i": "PyLong_Type", "f": "PyFloat_Type", "c": "PyComplex_Type"}
_PYTHON_DTYPES = {"b": _BOOL, "i": _INT64, "f": _FLOAT64, "c": _COMPLEX128}


Extent = tuple[ir.Value, ir.Value]
"""The lowest address of an array, and the address after its highest byte; equal if it is empty."""


@final
class Constants:
    """The Python objects that a module refers to, in order of their first use.

    The symbol of number n is `tj_const_n`; whoever links the module keeps the objects alive.
    """

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def symbol(self, value: Any) -> str:
        """The symbol whose address is `value` (the same for the same object)."""
        number = self._numbers.setdefault(id(value), len(self.objects))
        if number == len(self.objects):
            self.objects.append(value)
        return f"{CONSTANT_PREFIX}{number}"


@final
class HostBuilder:
    """Writes the body of one vectorcall function; see the module's docstring for the rules."""

    def __init__(
        self,
        function: ir.Function,
        *,
        constants: Constants,
        arch: str,
        fp_status: bool = True,
        handled: bool = False,
        raiser: object = None,
        report: object = None,
    ) -> None:
        self.function = function
        self.module: ir.Module = function.module
        self.constants = constants
        self.arch = "aarch64" if arch == "arm64" else arch
        self.fp_status = fp_status and self.arch in _FP_REGISTERS  # elsewhere: no floating-point warnings
        self.handled = handled  # an exception is a guard that failed
        self.fp_ours = True  # the flags that are raised now are to be reported
        self.raiser = raiser
        self.report = report
        self._setup = ir.IRBuilder(function.append_basic_block("setup"))
        self.emit = ir.IRBuilder(function.append_basic_block("checks"))
        self.context = stack_room(self._setup, CONTEXT, name="context")
        self._slots = stack_room(self._setup, PTR, name="slots")
        self._slot_count = 0
        self._loop_depth = 0
        self._result = stack_room(self._setup, PTR, name="result")
        self._fp_word = stack_room(self._setup, I64, name="fp_word")
        self._charges = False  # whether there is code that counts turns
        self._overflow: ir.Value | None = None
        self.miss: ir.Block = function.append_basic_block("miss")
        self._late_miss: ir.Block = function.append_basic_block("late_miss")
        self._done: ir.Block = function.append_basic_block("done")
        self._error: ir.Block = function.append_basic_block("error")
        self._raised: ir.Block = function.append_basic_block("raised")
        self._leave: ir.Block = function.append_basic_block("leave")

    # -- basics ------------------------------------------------------------------------------------

    def call(self, symbol: str, *args: ir.Value) -> ir.Value:
        """Call a C function of the symbol table by name."""
        return self.emit.call(declare(self.module, symbol), list(args))

    def python_object(self, name: str) -> ir.Value:
        """An object of CPython's C API by its C name: `"PyFloat_Type"`, `"_Py_NoneStruct"`."""
        return object_symbol(self.module, f"tj_py_{name}")

    def constant(self, value: Any) -> ir.Value:
        """A Python object known at compile time (borrowed; the library keeps it alive)."""
        return object_symbol(self.module, self.constants.symbol(value))

    def table(self, name: str, kind: ir.Type, numbers: Sequence[int]) -> ir.Value:
        """The address of a constant array of numbers."""
        variable = global_variable(self.module, ir.ArrayType(kind, len(numbers)), name)
        variable.initializer = ir.Constant(variable.value_type, [kind(n) for n in numbers])
        variable.global_constant, variable.linkage = True, "internal"
        return variable

    def load_field(self, base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
        """The field at a byte offset of a C structure."""
        return self.emit.load(self._at(base, offset), typ=kind)

    def _at(self, base: ir.Value, offset: int) -> ir.Value:
        return self.emit.gep(base, [I64(offset)], inbounds=True, source_etype=I8)

    def stack_array(self, kind: ir.Type, count: int) -> ir.Value:
        """Room for `count` elements in the function's frame (made once, not once a turn)."""
        return stack_room(self._setup, kind, max(count, 1))

    def stack_copy(self, kind: ir.Type, values: Sequence[ir.Value]) -> ir.Value:
        """The address of an array of `values` in the frame; null if there are none."""
        if not values:
            return NULL
        array = self.stack_array(kind, len(values))
        for i, value in enumerate(values):
            self.emit.store(value, self.emit.gep(array, [I64(i)], inbounds=True, source_etype=kind))
        return array

    @contextmanager
    def loop(self, count: ir.Value) -> Iterator[ir.Value]:
        """`with host.loop(n) as i:` counts an i64 from 0 up to n."""
        with self.turns(), counted_loop(self.emit, count) as index:
            yield index

    @property
    def in_loop(self) -> bool:
        """Whether what is emitted now may run more than once."""
        return self._loop_depth > 0

    @contextmanager
    def turns(self) -> Iterator[None]:
        """Around emitting anything that may run more than once (see `own`)."""
        self._loop_depth += 1
        yield
        self._loop_depth -= 1

    def branch_unless(self, condition: ir.Value, target: ir.Block, name: str = "next") -> None:
        """Go on if `condition` holds, to the cold block `target` otherwise."""
        following = self.function.append_basic_block(name)
        branch = self.emit.cbranch(condition, following, target)
        branch.set_weights([1000, 1])
        self.emit.position_at_end(following)

    def new_block(self, name: str) -> ir.Block:
        return self.function.append_basic_block(name)

    # -- reference counts --------------------------------------------------------------------------

    def incref(self, value: ir.Value) -> None:
        """Py_INCREF, in line where this interpreter's rule is known."""
        if not INLINE_REFCOUNT:
            self.call("tj_py_Py_IncRef", value)
        elif sys.version_info < (3, 12):
            self.emit.store(self.emit.add(self.emit.load(value, typ=I64), I64(1)), value)
        else:
            # immortal objects have the sign bit of the low half set, and keep their count
            count = self.emit.load(value, typ=I32)
            mortal = self.emit.icmp_signed(">=", count, I32(0))
            self.emit.store(self.emit.add(count, self.emit.zext(mortal, I32)), value)

    def decref(self, value: ir.Value) -> None:
        """Py_XDECREF: may run any Python code."""
        self.call("tj_py_Py_DecRef", value)

    def own(self, value: ir.Value) -> ir.Value:
        """Hand a new reference to the function: dropped at every exit. Returns the slot's address.

        In a loop (`loop`, `turns`) there is one slot for all turns, and each turn drops what the one before
        left there: a value that lives on into the next turn needs a reference of its own (`empty_slot`,
        `replace`).
        """
        slot = self.empty_slot()
        if self._loop_depth:
            self.replace(slot, value)
        else:
            self.emit.store(value, slot)
        return slot

    def empty_slot(self) -> ir.Value:
        """A slot that owns nothing yet, addressable from every block: for variables of loops."""
        index = self._slot_count
        self._slot_count += 1
        return self._setup.gep(self._slots, [I64(index)], inbounds=True, source_etype=PTR)

    def replace(self, slot: ir.Value, value: ir.Value) -> None:
        """Let a slot own `value` (a new reference) in place of what it owned."""
        old = self.emit.load(slot, typ=PTR)
        self.emit.store(value, slot)
        self.decref(old)

    def take(self, slot: ir.Value) -> ir.Value:
        """Move the reference out of a slot; null if there was none."""
        value = self.emit.load(slot, typ=PTR)
        self.emit.store(NULL, slot)
        return value

    def check_object(self, value: ir.Value) -> ir.Value:
        """A new reference from the C API: leaves through `fail` if it is null."""
        self._fail_unless(self.emit.icmp_unsigned("!=", value, NULL))
        return value

    def _fail_unless(self, condition: ir.Value) -> None:
        failed = self.new_block("failed")
        self.branch_unless(condition, failed)
        with self.emit.goto_block(failed):
            self.fail()

    # -- reading arguments -------------------------------------------------------------------------

    def guard(self, *conditions: ir.Value) -> None:
        """Go on only if all `conditions` hold; otherwise the call goes to the next entry.

        One branch for several conditions: what a function costs LLVM goes with its blocks.
        """
        if conditions:
            self.branch_unless(functools.reduce(self.emit.and_, conditions), self.miss)

    def guard_late(self, condition: ir.Value) -> None:
        """`guard` inside the body: what is owned is dropped first. There must have been no effect yet."""
        self.branch_unless(condition, self._late_miss)

    def has_type(self, value: ir.Value, type_object: ir.Value) -> ir.Value:
        """type(value) is type_object."""
        return self.emit.icmp_unsigned("==", self.load_field(value, LAYOUT.type, PTR), type_object)

    def is_tuple(self, value: ir.Value, length: int) -> ir.Value:
        """Whether an object is exactly a tuple of `length` items."""
        is_one = self.has_type(value, self.python_object("PyTuple_Type"))
        sized = self.emit.select(is_one, value, self.constant(()))  # no other object needs to have a size
        right = self.emit.icmp_signed("==", self.load_field(sized, LAYOUT.size, I64), I64(length))
        return self.emit.and_(is_one, right)

    def guard_same(self, value: ir.Value, expected: ir.Value) -> None:
        """Identity."""
        self.guard(self.emit.icmp_unsigned("==", value, expected))

    def guard_equal(self, value: ir.Value, expected: Any) -> None:
        """Equality with a Python object, of the same exact type throughout: 1, 1.0 and True are three values,
        and so are 0.0 and -0.0. Objects of other types than Python's literals, dtypes and integers of NumPy
        are compared by identity."""
        match expected:
            case None | bool():
                self.guard_same(value, self.constant(expected))
            case float() | complex() if type(expected) in (float, complex):
                self._guard_equal_bits(value, expected)
            case tuple() if type(expected) is tuple:
                self._guard_equal_tuple(value, expected)
            case int() | str() | bytes() | np.dtype() | np.integer() if _is_plain(expected):
                self._guard_equal_object(value, expected)
            case _:
                self.guard_same(value, self.constant(expected))

    def _guard_equal_bits(self, value: ir.Value, expected: float | complex) -> None:
        parts = [expected] if isinstance(expected, float) else [expected.real, expected.imag]
        self.guard(self.has_type(value, self.constant(type(expected))))
        for i, part in enumerate(parts):
            bits = int(np.float64(part).view(np.int64))
            got = self.load_field(value, LAYOUT.float_value + 8 * i, I64)
            self.guard(self.emit.icmp_unsigned("==", got, I64(bits)))

    def _guard_equal_tuple(self, value: ir.Value, expected: tuple[Any, ...]) -> None:
        for item, wanted in zip(self.guard_items(value, len(expected)), expected, strict=True):
            self.guard_equal(item, wanted)

    def _guard_equal_object(self, value: ir.Value, expected: Any) -> None:
        wanted = self.constant(expected)
        compare, following = self.new_block("compare"), self.new_block("equal")
        same = self.emit.icmp_unsigned("==", value, wanted)
        self.emit.cbranch(same, following, compare)
        self.emit.position_at_end(compare)
        self.guard(self.has_type(value, self.constant(type(expected))))
        equal = self.call("tj_py_PyObject_RichCompareBool", value, wanted, I32(2))  # Py_EQ
        self.guard(self.emit.icmp_signed("==", equal, I32(1)))
        self.emit.branch(following)
        self.emit.position_at_end(following)

    def guard_items(self, value: ir.Value, length: int, kind: type = tuple) -> list[ir.Value]:
        """Exactly a tuple (or a list, or a namedtuple of some class) of `length` items: the items, borrowed."""
        names = {tuple: "PyTuple_Type", list: "PyList_Type"}
        self.guard(self.has_type(value, self.python_object(names[kind]) if kind in names else self.constant(kind)))
        size = self.load_field(value, LAYOUT.size, I64)
        self.guard(self.emit.icmp_signed("==", size, I64(length)))
        start = LAYOUT.tuple_items
        if kind is list:
            value, start = self.load_field(value, LAYOUT.list_items, PTR), 0
        return [self.load_field(value, start + 8 * i, PTR) for i in range(length)]

    def guard_array(self, value: ir.Value, dtype: DType, rank: int, *, flags: int = 0, absent_flags: int = 0) -> ArrayValue:
        """Exactly an ndarray (subclasses miss) of a native dtype and a rank, with NumPy's `flags` set and
        `absent_flags` clear."""
        self.guard(self.is_array(value, dtype, rank, flags=flags, absent_flags=absent_flags))
        return self.load_array(value, dtype, rank)

    def is_array(self, value: ir.Value, dtype: DType, rank: int, *, flags: int = 0, absent_flags: int = 0) -> ir.Value:
        """Whether an object is what `guard_array` wants."""
        numbers = abi.type_numbers(dtype)
        wanted = (numbers[0], numbers[-1], rank, flags, flags | absent_flags)
        found = self.call("tj_rt_is_array", value, *(I32(n) for n in wanted))
        return self.emit.icmp_unsigned("!=", found, I32(0))

    def load_array(self, value: ir.Value, dtype: DType, rank: int) -> ArrayValue:
        """The fields of an array object whose dtype and rank are known (borrowed)."""
        dims = self.load_field(value, LAYOUT.array_dims, PTR) if rank else NULL
        strides = self.load_field(value, LAYOUT.array_strides, PTR) if rank else NULL
        return ArrayValue(
            dtype=dtype,
            data=self.load_field(value, LAYOUT.array_data, PTR),
            dims=tuple(self.load_field(dims, 8 * i, I64) for i in range(rank)),
            strides=tuple(self.load_field(strides, 8 * i, I64) for i in range(rank)),
            owner=value,
            object=value,
        )

    def unbox_python(self, value: ir.Value, kind: str) -> ScalarValue:
        """Exactly a Python bool, int, float or complex (kind `"b"`, `"i"`, `"f"`, `"c"`); an int beyond 64
        bits misses."""
        dtype = _PYTHON_DTYPES[kind]
        self.guard(self.has_type(value, self.python_object(_PYTHON_TYPES[kind])))
        if kind == "i":
            got = self._unbox_int(value)
        elif kind == "b":
            got = self.emit.icmp_unsigned("==", value, self.python_object("_Py_TrueStruct"))
        else:
            offset = LAYOUT.float_value if kind == "f" else LAYOUT.complex_value
            got = self.load_field(value, offset, register_type(dtype))
        return ScalarValue(dtype, got, python=True, object=value)

    def _unbox_int(self, value: ir.Value) -> ir.Value:
        overflow = self.stack_array(I32, 1)
        got = self.call("tj_py_PyLong_AsLongLongAndOverflow", value, overflow)
        self.guard(self.emit.icmp_signed("==", self.emit.load(overflow, typ=I32), I32(0)))
        return got

    def unbox_numpy(self, value: ir.Value, dtype: DType) -> ScalarValue:
        """Exactly a NumPy scalar of `dtype`."""
        self.guard(self.is_scalar(value, dtype))
        return ScalarValue(dtype, self.load_scalar(value, dtype), python=False, object=value)

    def is_scalar(self, value: ir.Value, dtype: DType) -> ir.Value:
        """Whether an object is exactly a NumPy scalar of `dtype`."""
        types = [np.dtype(c).char for c in "?bBhHiIlLqQefdFD" if np.dtype(c) == dtype]
        matches = [self.has_type(value, object_symbol(self.module, f"tj_type_{c}")) for c in types]
        return functools.reduce(self.emit.or_, matches)

    def load_scalar(self, value: ir.Value, dtype: DType) -> ir.Value:
        """What a NumPy scalar of `dtype` holds."""
        return self.load_element(dtype, self._at(value, LAYOUT.scalar_value))

    # -- elements ----------------------------------------------------------------------------------

    def element_address(self, array: ArrayValue, indices: Sequence[ir.Value]) -> ir.Value:
        """The address of an element, unchecked."""
        offset = I64(0)
        for index, stride in zip(indices, array.strides, strict=True):
            offset = self.emit.add(offset, self.emit.mul(index, stride))
        return self.emit.gep(array.data, [offset], source_etype=I8)

    def load_element(self, dtype: DType, address: ir.Value, *, aligned: bool = True) -> ir.Value:
        """One element from memory into a register (a bool byte counts as true unless it is zero)."""
        got = self.emit.load(address, typ=memory_type(dtype), align=None if aligned else 1)
        return self.emit.icmp_unsigned("!=", got, I8(0)) if dtype.kind == "b" else got

    def store_element(self, dtype: DType, value: ir.Value, address: ir.Value, *, aligned: bool = True) -> None:
        """One element from a register into memory."""
        stored = self.emit.zext(value, I8) if dtype.kind == "b" else value
        self.emit.store(stored, address, align=None if aligned else 1)

    # -- arrays ------------------------------------------------------------------------------------

    def size(self, dims: Sequence[ir.Value]) -> ir.Value:
        """The number of elements."""
        total = I64(1)
        for dim in dims:
            total = dim if total == I64(1) else self.emit.mul(total, dim)
        return total

    def contiguous_strides(self, dtype: DType, dims: Sequence[ir.Value], order: str = "C") -> tuple[ir.Value, ...]:
        """Byte strides of a fresh array."""
        strides: list[ir.Value] = []
        step: ir.Value = I64(dtype.itemsize)
        for i, dim in enumerate(reversed(dims) if order == "C" else dims):
            strides.append(step)
            if i + 1 < len(dims):
                step = self.emit.mul(step, dim)
        return tuple(reversed(strides) if order == "C" else strides)

    def new_array(self, dtype: DType, dims: Sequence[ir.Value], order: str = "C", zeros: bool = False) -> ArrayValue:
        """A fresh array object, its elements zero or not set; owned by the function until it is returned."""
        if zeros:
            made = self._new_zeros(dtype, dims, order)
        else:
            flags = I32(abi.ARRAY_F_CONTIGUOUS if order == "F" else 0)
            made = self._new_from_descr(dtype, dims, NULL, NULL, flags)
        self.own(made)
        return ArrayValue(
            dtype=dtype,
            data=self.load_field(made, LAYOUT.array_data, PTR),
            dims=tuple(dims),
            strides=self.contiguous_strides(dtype, dims, order),
            owner=made,
            object=made,
        )

    def buffer(self, dtype: DType, dims: Sequence[ir.Value], order: str = "C") -> ArrayValue:
        """`new_array` for code that runs again and again: an array of an earlier turn that nothing refers to any
        more, of these dims, is given out again. A loop that hands its last two results on needs three."""
        if not INLINE_REFCOUNT:
            return self.new_array(dtype, dims, order)
        slots = [self.empty_slot() for _ in range(BUFFERS)]
        olds = [self.emit.load(slot, typ=PTR) for slot in slots]
        ready = self.new_block("buffer")
        found: list[tuple[ir.Value, ir.Block]] = []
        for k, old in enumerate(olds):
            following = self.new_block("next_buffer")
            self._branch_if_free(old, dims, following)
            for slot, value in zip(slots[: k + 1], [old, *olds[:k]], strict=True):
                self.emit.store(value, slot)
            found.append((old, self.emit.block))
            self.emit.branch(ready)
            self.emit.position_at_end(following)
        flags = I32(abi.ARRAY_F_CONTIGUOUS if order == "F" else 0)
        made = self._new_from_descr(dtype, dims, NULL, NULL, flags)
        for slot, value in zip(slots, [made, *olds[:-1]], strict=True):
            self.emit.store(value, slot)
        self.decref(olds[-1])
        found.append((made, self.emit.block))
        self.emit.branch(ready)
        self.emit.position_at_end(ready)
        array = self.emit.phi(PTR)
        for value, block in found:
            array.add_incoming(value, block)
        data = self.load_field(array, LAYOUT.array_data, PTR)
        strides = self.contiguous_strides(dtype, dims, order)
        return ArrayValue(dtype, data, tuple(dims), strides, array, array)

    def _branch_if_free(self, array: ir.Value, dims: Sequence[ir.Value], otherwise: ir.Block) -> None:
        """Go on where an array is there, of these dims, and referred to once."""
        there = self.new_block("there")
        self.emit.cbranch(self.emit.icmp_unsigned("!=", array, NULL), there, otherwise)
        self.emit.position_at_end(there)
        word = I32 if sys.version_info >= (3, 12) else I64
        conditions = [self.emit.icmp_unsigned("==", self.emit.load(array, typ=word), word(1))]
        if dims:
            sizes = self.load_field(array, LAYOUT.array_dims, PTR)
            got = [self.load_field(sizes, 8 * i, I64) for i in range(len(dims))]
            conditions += [self.emit.icmp_unsigned("==", g, d) for g, d in zip(got, dims, strict=True)]
        free = self.new_block("free")
        self.emit.cbranch(functools.reduce(self.emit.and_, conditions), free, otherwise)
        self.emit.position_at_end(free)

    def _new_zeros(self, dtype: DType, dims: Sequence[ir.Value], order: str) -> ir.Value:
        descr = object_symbol(self.module, f"tj_descr_{dtype.char}")
        self.incref(descr)  # PyArray_Zeros takes it over
        made = self.call("tj_np_PyArray_Zeros", I32(len(dims)), self.stack_copy(I64, dims), descr, I32(1 if order == "F" else 0))
        return self.check_object(made)

    def _new_from_descr(self, dtype: DType, dims: Sequence[ir.Value], strides: ir.Value, data: ir.Value, flags: ir.Value) -> ir.Value:
        descr = object_symbol(self.module, f"tj_descr_{dtype.char}")
        self.incref(descr)  # PyArray_NewFromDescr takes it over, on failure too
        array_type = object_symbol(self.module, "tj_np_PyArray_Type")
        shape = self.stack_copy(I64, dims)
        rank = I32(len(dims))
        made = self.call("tj_np_PyArray_NewFromDescr", array_type, descr, rank, shape, strides, data, flags, NULL)
        return self.check_object(made)

    def view(self, array: ArrayValue) -> ArrayValue:
        """Make the array object of a view: base is its owner, or the owner's own base as NumPy collapses
        chains."""
        owner = array.owner
        assert owner is not None, "a view without an owner would dangle"
        strides = self.stack_copy(I64, array.strides)
        flags: ir.Value = I32(0)
        if array.writable is not False:
            owner_flags = self.load_field(owner, LAYOUT.array_flags, I32)
            flags = self.emit.and_(owner_flags, I32(abi.ARRAY_WRITEABLE))
        if isinstance(array.writable, ir.Value):
            flags = self.emit.select(array.writable, flags, I32(0))
        made = self._new_from_descr(array.dtype, array.dims, strides, array.data, flags)
        self.own(made)
        self.incref(owner)  # taken over by PyArray_SetBaseObject, on failure too
        result = self.call("tj_np_PyArray_SetBaseObject", made, owner)
        self._fail_unless(self.emit.icmp_signed("==", result, I32(0)))
        return ArrayValue(array.dtype, array.data, array.dims, array.strides, owner, made, array.writable)

    def byte_extent(self, array: ArrayValue) -> Extent:
        """Where the bytes of an array lie."""
        low: ir.Value = I64(0)
        high: ir.Value = I64(array.dtype.itemsize)
        empty: ir.Value = I1(0)
        for dim, stride in zip(array.dims, array.strides, strict=True):
            reach = self.emit.mul(self.emit.sub(dim, I64(1)), stride)
            negative = self.emit.icmp_signed("<", reach, I64(0))
            low = self.emit.add(low, self.emit.select(negative, reach, I64(0)))
            high = self.emit.add(high, self.emit.select(negative, I64(0), reach))
            empty = self.emit.or_(empty, self.emit.icmp_signed("==", dim, I64(0)))
        low = self.emit.select(empty, I64(0), low)
        high = self.emit.select(empty, I64(0), high)
        at = [self.emit.gep(array.data, [offset], source_etype=I8) for offset in (low, high)]
        return at[0], at[1]

    def extents_meet(self, a: Extent, b: Extent) -> ir.Value:
        """Whether the byte extents of two arrays have a byte in common."""
        (a_low, a_high), (b_low, b_high) = a, b
        first = self.emit.icmp_unsigned("<", a_low, b_high)
        second = self.emit.icmp_unsigned("<", b_low, a_high)
        filled = self.emit.and_(self.emit.icmp_unsigned("!=", a_low, a_high), self.emit.icmp_unsigned("!=", b_low, b_high))
        return self.emit.and_(filled, self.emit.and_(first, second))

    def is_identical(self, a: ArrayValue, b: ArrayValue) -> ir.Value:
        """Whether two arrays have every element at the same address: same data, dims and strides (and item
        size)."""
        if a.rank != b.rank or a.dtype.itemsize != b.dtype.itemsize:
            return I1(0)
        same = self.emit.icmp_unsigned("==", a.data, b.data)
        for x, y in zip(a.dims + a.strides, b.dims + b.strides, strict=True):
            same = self.emit.and_(same, self.emit.icmp_signed("==", x, y))
        return same

    def self_overlaps(self, array: ArrayValue) -> ir.Value:
        """Whether two elements of one array may share memory (never false when they do)."""
        dims, strides = self.stack_copy(I64, array.dims), self.stack_copy(I64, array.strides)
        itemsize = I64(array.dtype.itemsize)
        found = self.call("tj_rt_self_overlaps", I64(array.rank), dims, strides, itemsize)
        return self.emit.icmp_signed("!=", found, I32(0))

    # -- results -----------------------------------------------------------------------------------

    def box(self, value: Value) -> ir.Value:
        """A new reference to the Python object of a value; the same object again where it came from one."""
        if isinstance(value, tuple):
            return self.box_tuple([self.box(item) for item in value])
        if isinstance(value, ScalarValue) and value.object is None:
            return self.box_scalar(value)
        result = self._existing(value)
        self.incref(result)
        return result

    def _existing(self, value: ArrayValue | ScalarValue | ObjectValue | None) -> ir.Value:
        if value is None:
            return self.python_object("_Py_NoneStruct")
        if isinstance(value, ArrayValue) and value.object is None:
            value = self.view(value)
        return value.object

    def box_tuple(self, items: Sequence[ir.Value]) -> ir.Value:
        """A tuple that takes over the references `items`."""
        return self._box_items(items, "tj_py_PyTuple_New", lambda made: self._at(made, LAYOUT.tuple_items))

    def box_list(self, items: Sequence[ir.Value]) -> ir.Value:
        """A list that takes over the references `items`."""
        # not list(a tuple): CPython loses the tuple where there is no memory for the items
        return self._box_items(items, "tj_py_PyList_New", lambda made: self.load_field(made, LAYOUT.list_items, PTR))

    def _box_items(self, items: Sequence[ir.Value], new: str, place: Callable[[ir.Value], ir.Value]) -> ir.Value:
        slots = [self.own(item) for item in items]
        made = self.check_object(self.call(new, I64(len(items))))
        first = place(made) if items else NULL
        for i, slot in enumerate(slots):
            self.emit.store(self.take(slot), self._at(first, 8 * i))
        return made

    def box_scalar(self, value: ScalarValue) -> ir.Value:
        """A new Python or NumPy scalar object."""
        kind = value.dtype.kind
        if kind == "b":
            return self._box_bool(value)
        if not value.python:
            return self._box_numpy(value)
        match kind:
            case "f":
                made = self.call("tj_py_PyFloat_FromDouble", value.value)
            case "c":
                parts = [self.emit.extract_value(value.value, i) for i in (0, 1)]
                made = self.call("tj_py_PyComplex_FromDoubles", *parts)
            case "u":
                made = self.call("tj_py_PyLong_FromUnsignedLongLong", self.emit.zext(value.value, I64))
            case _:
                wide = value.value if value.value.type == I64 else self.emit.sext(value.value, I64)
                made = self.call("tj_py_PyLong_FromLongLong", wide)
        return self.check_object(made)

    def _box_bool(self, value: ScalarValue) -> ir.Value:
        if value.python:
            true, false = self.python_object("_Py_TrueStruct"), self.python_object("_Py_FalseStruct")
        else:
            true, false = self.constant(np.True_), self.constant(np.False_)
        result = self.emit.select(value.value, true, false)
        self.incref(result)
        return result

    def _box_numpy(self, value: ScalarValue) -> ir.Value:
        char = value.dtype.char
        scalar_type = object_symbol(self.module, f"tj_type_{char}")
        made = self.check_object(self.call(f"tj_alloc_{char}", scalar_type, I64(0)))
        self.store_element(value.dtype, value.value, self._at(made, LAYOUT.scalar_value))
        return made

    def ret(self, value: Value) -> None:
        """Leave with a result."""
        self.ret_object(self.box(value))

    def ret_object(self, reference: ir.Value) -> None:
        """Leave with a new reference."""
        self.emit.store(reference, self._result)
        self.emit.branch(self._done)

    # -- calling Python ----------------------------------------------------------------------------

    def call_object(self, function: ir.Value, args: Sequence[ir.Value], keywords: Mapping[str, Any] = NO_KEYWORDS) -> ir.Value:
        """`function(*args, **keywords)` on borrowed objects and known values: a new reference, owned by the function (its
        slot drops it)."""
        array = self.stack_copy(PTR, [*args, *map(self.constant, keywords.values())])
        names = self.constant(tuple(map(sys.intern, keywords))) if keywords else NULL
        if self.fp_ours:
            self.fp_collect()
        count = I64(len(args))
        result = self.check_object(self.call("tj_py_PyObject_Vectorcall", function, array, count, names))
        if self.fp_ours:
            self.fp_start()  # the callee's flags were its own to report
        self.own(result)
        return result

    # -- errors ------------------------------------------------------------------------------------

    def fail(self) -> None:
        """Leave: a C API call has set an exception."""
        self.set_context("status", I32(abi.STATUS_EXCEPTION))
        self.emit.branch(self._error)

    def raise_error(self, code: int, numbers: Sequence[ir.Value] = ()) -> None:
        """Leave with error `code` of the module's table; the numbers (i64) go into its message."""
        self.set_context("error_code", I32(code))
        args = context_field(self.emit, self.context, "error_args")
        for i, number in enumerate(numbers):
            self.emit.store(number, self.emit.gep(args, [I64(i)], source_etype=I64))
        self.set_context("status", I32(abi.STATUS_ERROR))
        self.emit.branch(self._error)

    def fail_guard(self) -> None:
        """Leave: an assumption does not hold. The call goes to the next entry, so there must be no effect yet."""
        self.set_context("status", I32(abi.STATUS_GUARD))
        self.emit.branch(self._error)

    def check_kernel(self, status: ir.Value) -> None:
        """After a kernel: leave if it returned non-zero (it has filled the context)."""
        self.branch_unless(self.emit.icmp_unsigned("==", status, I32(0)), self._error)

    def set_context(self, field: str, value: ir.Value) -> None:
        self.emit.store(value, context_field(self.emit, self.context, field))

    # -- long work ---------------------------------------------------------------------------------

    def release_gil(self) -> None:
        """Let other Python threads run. No Python object may be touched until `acquire_gil`."""
        self.set_context("saved_thread", self.call("tj_py_PyEval_SaveThread"))

    def acquire_gil(self) -> None:
        """Take the GIL back, if it was released."""
        field = context_field(self.emit, self.context, "saved_thread")
        saved = self.emit.load(field, typ=PTR)
        with self.emit.if_then(self.emit.icmp_unsigned("!=", saved, NULL)):
            self.call("tj_py_PyEval_RestoreThread", saved)
            self.emit.store(NULL, field)

    @contextmanager
    def without_gil(self, worthwhile: ir.Value) -> Iterator[None]:
        """The GIL is released inside, if `worthwhile` (i1) holds at run time."""
        with self.emit.if_then(worthwhile, likely=False):
            self.release_gil()
        yield
        self.acquire_gil()

    def poll(self) -> None:
        """Let signals in, and other threads where the GIL is held; leaves with KeyboardInterrupt and the like."""
        self.check_kernel(self.call("tj_rt_poll", self.context))

    def signals(self) -> None:
        """Let signals in, the GIL being held."""
        failed = self.new_block("signalled")
        self.branch_unless(self.emit.icmp_signed(">=", self.call("tj_py_PyErr_CheckSignals"), I32(0)), failed)
        with self.emit.goto_block(failed):
            self.fail()

    def charge(self, work: ir.Value) -> None:
        """Take `work` (turns of a simple loop) from those that are left; poll when there are none."""
        field = context_field(self.emit, self.context, "turns")
        if not self._charges:
            self._charges = True
            self._setup.store(I64(TURNS), context_field(self._setup, self.context, "turns"))
        left = self.emit.sub(self.emit.load(field, typ=I64), work)
        self.emit.store(left, field)
        with self.emit.if_then(self.emit.icmp_signed("<", left, I64(0)), likely=False):
            saved = self.emit.load(context_field(self.emit, self.context, "saved_thread"), typ=PTR)
            held = self.emit.icmp_unsigned("==", saved, NULL)
            self.emit.store(self.emit.select(held, I64(TURNS), I64(FREE_TURNS)), field)
            self.poll()

    # -- floating-point flags ----------------------------------------------------------------------

    def fp_start(self) -> None:
        """Clear the flags, if any is set."""
        if self.fp_status:
            word = self._read_fp_word()
            dirty = self.emit.icmp_unsigned("!=", self.emit.and_(word, I64(self._fp.mask)), I64(0))
            with self.emit.if_then(dirty, likely=False):
                self._write_fp_word(self.emit.and_(word, I64(~self._fp.all_flags)))

    def fp_collect(self) -> None:
        """Add the flags raised since `fp_start` to the context. Needed before foreign code runs, not at the
        end."""
        if self.fp_status:
            field = context_field(self.emit, self.context, "fp_status")
            seen = self.emit.or_(self.emit.load(field, typ=I32), self._numpy_flags(self._read_fp_word()))
            self.emit.store(seen, field)

    def note_overflow(self, overflows: ir.Value, *, rare: bool) -> None:
        """Report an overflow in the end, if `overflows` (i1) holds: integers raise no flag of the processor. `rare`: by a branch,
        which keeps what is noted off the path, but a loop from becoming vectors."""
        if self._overflow is None:
            self._overflow = stack_room(self._setup, I1, name="overflow")
            self._setup.store(I1(0), self._overflow)
        if rare:
            with self.emit.if_then(overflows, likely=False):
                self.emit.store(I1(1), self._overflow)
        else:
            self.emit.store(self.emit.or_(self.emit.load(self._overflow, typ=I1), overflows), self._overflow)

    def fp_pin(self, value: ir.Value) -> ir.Value:
        """The same scalar float, or its bits, certainly computed before any later `fp_collect` or the end."""
        if not self.fp_status:
            return value
        # LLVM orders volatile assembly and the reading of the flags, but not arithmetic and that
        signature = ir.FunctionType(value.type, [value.type])
        constraint = f"={'r' if isinstance(value.type, ir.IntType) else self._fp.constraint},0"
        return self.emit.asm(signature, "", constraint, [value], side_effect=True)

    @property
    def _fp(self) -> _FpRegister:
        return _FP_REGISTERS[self.arch]

    def _read_fp_word(self) -> ir.Value:
        if self.arch == "x86_64":
            read = _intrinsic(self.module, "llvm.x86.sse.stmxcsr", VOID, PTR)
            self.emit.call(read, [self._fp_word])
            return self.emit.zext(self.emit.load(self._fp_word, typ=I32), I64)
        return self.emit.call(_intrinsic(self.module, "llvm.aarch64.get.fpsr", I64), [])

    def _write_fp_word(self, word: ir.Value) -> None:
        if self.arch == "x86_64":
            self.emit.store(self.emit.trunc(word, I32), self._fp_word)
            self.emit.call(_intrinsic(self.module, "llvm.x86.sse.ldmxcsr", VOID, PTR), [self._fp_word])
        else:
            self.emit.call(_intrinsic(self.module, "llvm.aarch64.set.fpsr", VOID, I64), [word])

    def _numpy_flags(self, word: ir.Value) -> ir.Value:
        """Hardware's flags as NumPy's: both processors have invalid in bit 0 and divide, over, under side by
        side."""
        shifted = self.emit.and_(self.emit.lshr(word, I64(self._fp.divide_bit)), I64(7))
        invalid = self.emit.shl(self.emit.and_(word, I64(1)), I64(3))
        return self.emit.trunc(self.emit.or_(shifted, invalid), I32)

    # -- the function's frame ----------------------------------------------------------------------

    def begin_body(self) -> None:
        """After the last check: from here on the function owns things."""
        for field, kind in (("status", I32), ("fp_status", I32)):
            self.set_context(field, kind(0))
        self.set_context("budget", I64(BUDGET))
        self.set_context("saved_thread", NULL)
        self.fp_start()

    def finish(self, emit_miss: Any, emit_leave: Any) -> None:
        """Write the exits. `emit_miss()` hands the call on; `emit_leave()` is what every return from a body
        does last."""
        self._patch_slots()
        self._finish_done()
        self._finish_error()
        self._at_block(self._leave)
        self._release_all()
        emit_leave()
        self.emit.ret(self.emit.load(self._result, typ=PTR))
        self._at_block(self._late_miss)
        self._release_all()
        self.emit.branch(self.miss)
        self._at_block(self.miss)
        emit_miss()

    def _at_block(self, block: ir.Block) -> None:
        self.emit.position_at_end(block)

    def _patch_slots(self) -> None:
        # all slots are one array, so that one call drops them; its length is known only now
        self._slots.operands[0] = I64(max(self._slot_count, 1))
        for i in range(self._slot_count):
            self._setup.store(NULL, self._setup.gep(self._slots, [I64(i)], source_etype=PTR))
        checks = self.function.blocks[1]
        self._setup.branch(checks)

    def _finish_done(self) -> None:
        self._at_block(self._done)
        flags: ir.Value = I32(0)
        if self.fp_status:
            raised = self._numpy_flags(self._read_fp_word())
            flags = self.emit.or_(raised, self.emit.load(context_field(self.emit, self.context, "fp_status"), typ=I32))
        if self._overflow is not None:
            wrapped = self.emit.zext(self.emit.load(self._overflow, typ=I1), I32)
            flags = self.emit.or_(flags, self.emit.mul(wrapped, I32(abi.FP_OVERFLOW)))
        if self.fp_status or self._overflow is not None:
            with self.emit.if_then(self.emit.icmp_unsigned("!=", flags, I32(0)), likely=False):
                self.call("tj_rt_report", self.constant(self.report), flags, self._result)
        if self.handled:
            raised = self.emit.icmp_unsigned("==", self.emit.load(self._result, typ=PTR), NULL)
            self.emit.cbranch(raised, self._raised, self._leave)
        else:
            self.emit.branch(self._leave)

    def _finish_error(self) -> None:
        self._at_block(self._error)
        self.call("tj_rt_fail", self.context, self.constant(self.raiser))
        self.emit.store(NULL, self._result)
        status = self.emit.load(context_field(self.emit, self.context, "status"), typ=I32)
        failed_guard = self.emit.icmp_unsigned("==", status, I32(abi.STATUS_GUARD))
        self.emit.cbranch(failed_guard, self._late_miss, self._raised)
        self._at_block(self._raised)
        if not self.handled:
            self.emit.branch(self._leave)
            return
        caught = self.emit.icmp_signed("!=", self.call("tj_py_PyErr_ExceptionMatches", self.constant(Exception)), I32(0))
        with self.emit.if_then(caught):
            self.call("tj_py_PyErr_Clear")
        self.emit.cbranch(caught, self._late_miss, self._leave)

    def _release_all(self) -> None:
        if self._slot_count:
            self.call("tj_rt_release", self._slots, I64(self._slot_count))


class _FpRegister:
    """Where a processor keeps its exception flags."""

    def __init__(self, divide_bit: int, all_flags: int, constraint: str) -> None:
        self.constraint = constraint  # of a scalar float in inline assembly
        self.divide_bit = divide_bit
        self.all_flags = all_flags
        self.mask = 1 | 7 << divide_bit  # invalid, divide, over, under: NumPy reports no others


# x86: MXCSR (Intel SDM vol. 1, 10.2.3): IE DE ZE OE UE PE. AArch64: FPSR (Arm ARM, C5.2.9): IOC DZC OFC UFC
# IXC, and IDC in bit 7.
_FP_REGISTERS = {"x86_64": _FpRegister(2, 0x3F, "x"), "aarch64": _FpRegister(1, 0x9F, "w")}


def _intrinsic(module: ir.Module, name: str, result: ir.Type, *params: ir.Type) -> ir.Function:
    known = module.globals.get(name)
    return known if known is not None else ir.Function(module, ir.FunctionType(result, params), name)


def _is_plain(value: object) -> bool:
    return type(value) in (int, str, bytes) or isinstance(value, (np.dtype, np.integer))
