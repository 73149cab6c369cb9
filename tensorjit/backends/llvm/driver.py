"""From a lowered graph to the body of a native entry: control flow, views, scalars, launches, results.

Values of the graph become registers: an array an `ArrayValue`, a scalar a register as `scalars` has them. A size is computed
where it is used, from the symbols that are known there. Everything that may fail leaves through the host builder's exits, so
that every reference is dropped on the way out.
"""

from __future__ import annotations

import builtins
import functools
import importlib
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from collections.abc import Iterator
from typing import Any, final

from llvmlite import ir

from tensorjit.backends.llvm import python_scalars
from tensorjit.backends.llvm.abi import ERROR_ARGS, I1, I8, I32, I64, LAYOUT, PTR, ArrayValue, ScalarValue, memory_type
from tensorjit.backends.llvm.casts import cast
from tensorjit.backends.llvm.kernels import Target, emit_kernel
from tensorjit.backends.llvm.pyapi import NULL, HostBuilder
from tensorjit.backends.llvm.registers import Pair, Register, constant, scalar_type
from tensorjit.backends.llvm.scalars import eval_expr
from tensorjit.errors import Loc
from tensorjit.ir import dims
from tensorjit.ir.dims import Dim, DimExpr
from tensorjit.ir.dtypes import BOOL, DType
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.kernel import Kernel, Ref
from tensorjit.ir.types import ArrayType, ScalarType, Type
from tensorjit.ops.opdef import Loop, OpDef

Item = Any  # ArrayValue | Register

GIL_WORK = 20_000  # elements of simple work that take about 10 us
STRIP = 1 << 12  # turns of an innermost loop between two looks at the budget


@final
@dataclass(frozen=True, slots=True)
class ErrorSite:
    """An exception that native code may raise: its class by qualified name, a format string over i64 numbers, and its place."""

    exception: str
    message: str
    loc: Loc | None

    def throw(self, numbers: Sequence[int]) -> None:
        """Raise it."""
        count = self.message.count("{}")
        text = self.message.format(*numbers[:count]) if "{" in self.message else self.message
        raise make_exception(self.exception, text)


def make_exception(name: str, text: str) -> BaseException:
    """An exception by the qualified name of its class."""
    if "." not in name:
        return getattr(builtins, name)(text) if text else getattr(builtins, name)()  # type: ignore[no-any-return]
    module, _, attribute = name.rpartition(".")
    kind = getattr(importlib.import_module(module), attribute)
    try:
        return kind(text)  # type: ignore[no-any-return]
    except TypeError:  # NumPy's casting errors are made of dtypes
        return TypeError(text)


class Driver:
    """Emits one lowered graph; use `emit` as the body of `build_entry`."""

    def __init__(self, graph: Graph, table: Mapping[str, OpDef], target: Target, alignment: Sequence[bool]) -> None:
        self.graph = graph
        self.table = table
        self.target = target
        self.aligned = alignment
        self.errors: list[ErrorSite] = []
        self.env: dict[Value, Item] = {}
        self.symbols: dict[str, ir.Value] = {}
        self.sizes: ChainMap[DimExpr, ir.Value] = ChainMap()
        self.loops: list[_Loop] = []
        self.scopes: list[_Exit] = []
        self.kernels: dict[str, ir.Function] = {}
        self.host: HostBuilder
        self.args: list[Any] = []
        self.loc: Loc | None = None

    @property
    def emit(self) -> ir.IRBuilder:
        return self.host.emit

    def body(self, host: HostBuilder, args: list[Any]) -> None:
        """The body of an entry whose params are the graph's."""
        self.host, self.args = host, args
        for param, arg in zip(self.graph.params, args, strict=True):
            self.env[param] = _from_argument(host, param.type, arg)
        for name, (index, axis) in self.graph.attrs["symbols"].items():
            self.symbols[name] = args[index].dims[axis]
        self.block(self.graph.block)

    # -- helpers -----------------------------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        """Emit the ops of a block; its terminator ends the LLVM block."""
        self.sizes = self.sizes.new_child()
        for op in block.ops:
            self.loc = op.loc or self.loc
            handler = OPS.get(op.name)
            if handler is not None:
                handler(self, op)
            elif op.name in python_scalars.EMITTERS or op.name.startswith(("py_", "math_")):
                self.env[op.result] = python_scalars.emit(self, op)
            else:
                self.scalar_op(op)
        self.sizes = self.sizes.parents

    def error(self, exception: str, message: str) -> int:
        """The number of an error in this module's table."""
        self.errors.append(ErrorSite(exception, message, self.loc))
        return len(self.errors) - 1

    def raise_unless(self, condition: ir.Value, exception: str, message: str, numbers: Sequence[ir.Value] = ()) -> None:
        """Go on where `condition` holds; raise otherwise."""
        failed = self.host.new_block("raise")
        self.host.branch_unless(condition, failed)
        with self.emit.goto_block(failed):
            if len(numbers) > ERROR_ARGS:  # more sizes than the context has room for
                numbers, message = (), message.replace("{}", "..")
            self.host.raise_error(self.error(exception, message), numbers)

    def dim(self, d: Dim) -> ir.Value:
        """A size as an i64."""
        if isinstance(d, int):
            return I64(d)
        known = self.sizes.get(d)
        if known is None:
            known = self.sizes[d] = self._dim(d)
        return known

    def _dim(self, d: DimExpr) -> ir.Value:
        total: ir.Value | None = None
        for monomial, factor in d.terms:
            term: ir.Value | None = None
            for atom in monomial:
                value = self.symbols[atom.name] if isinstance(atom, dims.Symbol) else self._apply(atom)
                term = value if term is None else self.emit.mul(term, value)
            if term is None:
                term = I64(factor)
            elif factor != 1:
                term = self.emit.mul(term, I64(factor))
            total = term if total is None else self.emit.add(total, term)
        assert total is not None
        return total

    def _apply(self, atom: dims.Apply) -> ir.Value:
        x, y = (self.dim(a) for a in atom.args)
        if atom.function in ("min", "max"):
            relation = "<" if atom.function == "min" else ">"
            return self.emit.select(self.emit.icmp_signed(relation, x, y), x, y)
        quotient, remainder = self.emit.sdiv(x, y), self.emit.srem(x, y)  # divisors are positive constants
        wrong = self.emit.icmp_signed("<", remainder, I64(0))
        if atom.function == "mod":
            return self.emit.select(wrong, self.emit.add(remainder, y), remainder)
        return self.emit.select(wrong, self.emit.sub(quotient, I64(1)), quotient)

    def scalar_op(self, op: Op) -> None:
        """An elementwise row on scalars, by its lowering."""
        loop: Loop = op.attrs["loop"]
        registers = {
            f"x{k}": self.convert(self.env[v], _dtype(v.type), d)
            for k, (v, d) in enumerate(zip(op.operands, loop.inputs, strict=True))
        }
        refs = [Ref(f"x{k}", d) for k, d in enumerate(loop.inputs)]
        lowered = self.table[op.name].lower(refs, loop.output)
        assert lowered is not None, f"{op.name} has no lowering for {loop}"
        self.env[op.result] = eval_expr(self.emit, lowered, registers)

    def convert(self, register: Register, source: DType, to: DType) -> Register:
        """A scalar cast to another dtype, as astype."""
        return register if source is to else cast(self.emit, register, source, to)

    def box(self, value: Value) -> ir.Value:
        """A Python object of a value; a borrowed reference that lives as long as the call."""
        item = self.env[value]
        if isinstance(value.type, ArrayType):
            return self.array_object(item)
        assert isinstance(value.type, ScalarType)
        boxed = self.host.box(_as_scalar(self.host, value.type, item))
        self.host.own(boxed)
        return boxed

    def array_object(self, array: ArrayValue) -> ir.Value:
        """The array object of an array value (borrowed): itself, or a view of its owner."""
        host = self.host
        if array.object is None:
            return host.view(array).object
        if not getattr(array.object, "tj_nullable", False):
            return array.object
        start = self.emit.block
        made, on = host.new_block("view"), host.new_block("viewed")
        missing = self.emit.icmp_unsigned("==", array.object, NULL)
        self.emit.cbranch(missing, made, on)
        self.emit.position_at_end(made)
        bare = ArrayValue(array.dtype, array.data, array.dims, array.strides, array.owner, None, array.writable)
        with host.turns():  # the slot is written on this path only
            fresh = host.view(bare).object
        end = self.emit.block
        self.emit.branch(on)
        self.emit.position_at_end(on)
        phi = self.emit.phi(PTR)
        phi.add_incoming(array.object, start)
        phi.add_incoming(fresh, end)
        return phi

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around blocks that may not run: sizes computed there are not known after them."""
        self.sizes = self.sizes.new_child()
        yield
        self.sizes = self.sizes.parents


@final
class _Exit:
    """Where values meet: a block with phis for flat registers."""

    def __init__(self, driver: Driver, results: Sequence[Value], name: str) -> None:
        self.driver = driver
        self.types = [v.type for v in results]
        self.block = driver.host.new_block(name)
        self.incoming: list[tuple[ir.Block, list[ir.Value]]] = []

    def jump(self, values: Sequence[Value]) -> None:
        """Go there with these values of the graph."""
        registers = [r for v in values for r in _flatten(self.driver, v.type, self.driver.env[v])]
        self.incoming.append((self.driver.emit.block, registers))
        self.driver.emit.branch(self.block)

    def land(self, results: Sequence[Value]) -> None:
        """Go on there; the results are known from here on."""
        driver = self.driver
        driver.emit.position_at_end(self.block)
        if not self.incoming:
            driver.emit.unreachable()
            dead = driver.host.new_block("dead")
            driver.emit.position_at_end(dead)
            for v in results:
                driver.env[v] = _undefined(driver, v.type)
            return
        merged = iter(_merge(driver.emit, self.incoming))
        for v in results:
            driver.env[v] = _gather(driver, v.type, merged)


@final
@dataclass(slots=True)
class _Loop:
    """A loop being emitted: where its turns and its way out go."""

    again: Callable[[Sequence[Value]], None]
    out: _Exit


# -- flat registers --------------------------------------------------------------------------------------------


def _dtype(t: Type) -> DType:
    assert isinstance(t, (ArrayType, ScalarType))
    return t.dtype


def _flatten(driver: Driver, t: Type, item: Item) -> list[ir.Value]:
    if isinstance(t, ArrayType):
        return [item.data, *item.dims, *item.strides, item.owner, item.object if item.object is not None else NULL]
    return list(item) if isinstance(item, Pair) else [item]


def _gather(driver: Driver, t: Type, registers: Iterator[ir.Value]) -> Item:
    if isinstance(t, ArrayType):
        data = next(registers)
        sizes = tuple(next(registers) for _ in range(t.rank))
        strides = tuple(next(registers) for _ in range(t.rank))
        owner, thing = next(registers), next(registers)
        if not isinstance(thing, ir.Constant):
            thing.tj_nullable = True
        _define(driver, t, sizes)
        known = tuple(I64(d) if isinstance(d, int) else s for d, s in zip(t.shape, sizes, strict=True))
        return ArrayValue(t.dtype.numpy, data, known, strides, owner, None if isinstance(thing, ir.Constant) else thing)
    if _dtype(t).kind == "c":
        return Pair(next(registers), next(registers))
    return next(registers)


def _define(driver: Driver, t: ArrayType, sizes: Sequence[ir.Value]) -> None:
    """Symbols that a result's shape introduces get their values from it."""
    for d, register in zip(t.shape, sizes, strict=True):
        if isinstance(d, DimExpr) and len(d.terms) == 1 and d.terms[0][1] == 1 and len(d.terms[0][0]) == 1:
            atom = d.terms[0][0][0]
            if isinstance(atom, dims.Symbol) and atom.name not in driver.symbols:
                driver.symbols[atom.name] = register


def _merge(b: ir.IRBuilder, incoming: Sequence[tuple[ir.Block, Sequence[ir.Value]]]) -> list[ir.Value]:
    if len(incoming) == 1:
        return list(incoming[0][1])
    merged = []
    for k in range(len(incoming[0][1])):
        values = [registers[k] for _, registers in incoming]
        if all(v is values[0] for v in values):
            merged.append(values[0])
            continue
        phi = b.phi(values[0].type)
        for (block, _), value in zip(incoming, values, strict=True):
            phi.add_incoming(value, block)
        merged.append(phi)
    return merged


def _undefined(driver: Driver, t: Type) -> Item:
    if isinstance(t, ArrayType):
        zero = (I64(0),) * t.rank
        _define(driver, t, zero)
        return ArrayValue(t.dtype.numpy, NULL, zero, zero, NULL, None)
    part = ir.Constant(scalar_type(_dtype(t)), ir.Undefined)
    return Pair(part, part) if _dtype(t).kind == "c" else part


def _from_argument(host: HostBuilder, t: Type, arg: Any) -> Item:
    if isinstance(t, ArrayType):
        return arg
    register = arg.value
    if _dtype(t).kind == "c":
        return Pair(host.emit.extract_value(register, 0), host.emit.extract_value(register, 1))
    return register


def _as_scalar(host: HostBuilder, t: ScalarType, register: Register) -> ScalarValue:
    if isinstance(register, Pair):
        pair = ir.Constant(ir.LiteralStructType([register.re.type] * 2), ir.Undefined)
        register = host.emit.insert_value(host.emit.insert_value(pair, register.re, 0), register.im, 1)
    return ScalarValue(t.dtype.numpy, register, t.python)


# -- simple ops ------------------------------------------------------------------------------------------------

Emitter = Callable[[Driver, Op], None]
OPS: dict[str, Emitter] = {}


def emits(*names: str) -> Callable[[Emitter], Emitter]:
    """Register the emitter of ops."""

    def register(emitter: Emitter) -> Emitter:
        OPS.update(dict.fromkeys(names, emitter))
        return emitter

    return register


@emits("const")
def _const(d: Driver, op: Op) -> None:
    d.env[op.result] = constant(_dtype(op.result.type), op.attrs["value"])


@emits("dim")
def _dim_op(d: Driver, op: Op) -> None:
    d.env[op.result] = d.dim(op.attrs["dim"])


@emits("bind")
def _bind(d: Driver, op: Op) -> None:
    d.symbols[op.attrs["symbol"]] = d.env[op.operands[0]]


@emits("cast")
def _cast(d: Driver, op: Op) -> None:
    (x,) = op.operands
    d.env[op.result] = d.convert(d.env[x], _dtype(x.type), _dtype(op.result.type))


@emits("select")
def _select(d: Driver, op: Op) -> None:
    condition, x, y = (d.env[v] for v in op.operands)
    kinds = [_dtype(v.type) for v in op.operands]
    to = _dtype(op.result.type)
    condition = d.convert(condition, kinds[0], BOOL)
    x, y = d.convert(x, kinds[1], to), d.convert(y, kinds[2], to)
    if isinstance(x, Pair):
        d.env[op.result] = Pair(*(d.emit.select(condition, p, q) for p, q in zip(x, y, strict=True)))
    else:
        d.env[op.result] = d.emit.select(condition, x, y)


@emits("truth")
def _truth(d: Driver, op: Op) -> None:
    (x,) = op.operands
    d.env[op.result] = d.convert(d.env[x], _dtype(x.type), BOOL)


@emits("check")
def _check(d: Driver, op: Op) -> None:
    relation = {"eq": "==", "ge": ">=", "gt": ">"}[op.attrs["relation"]]
    holds = d.emit.icmp_signed(relation, d.dim(op.attrs["left"]), d.dim(op.attrs["right"]))
    d.raise_unless(holds, op.attrs["exception"], op.attrs["message"], [d.dim(a) for a in op.attrs["args"]])


@emits("broadcast_dim")
def _broadcast_dim(d: Driver, op: Op) -> None:
    left, right = d.dim(op.attrs["left"]), d.dim(op.attrs["right"])
    b = d.emit
    one_left, one_right = (b.icmp_signed("==", x, I64(1)) for x in (left, right))
    fits = b.or_(b.icmp_signed("==", left, right), one_right)
    if not op.attrs.get("store"):
        fits = b.or_(fits, one_left)
    d.raise_unless(fits, "ValueError", op.attrs["message"], [d.dim(a) for a in op.attrs["args"]])
    d.symbols[op.attrs["symbol"]] = d.emit.select(one_left, right, left)


@emits("index_check")
def _index_check(d: Driver, op: Op) -> None:
    b, index, size = d.emit, d.env[op.operands[0]], d.dim(op.attrs["size"])
    wrapped = b.select(b.icmp_signed("<", index, I64(0)), b.add(index, size), index)
    message = f"index {{}} is out of bounds for axis {op.attrs['axis']} with size {{}}"
    d.raise_unless(b.icmp_unsigned("<", wrapped, size), "IndexError", message, [index, size])
    d.env[op.result] = wrapped


@emits("fit_int")
def _fit_int(d: Driver, op: Op) -> None:
    b, x, to = d.emit, d.env[op.operands[0]], _dtype(op.result.type)
    fits = b.icmp_signed(">=", x, I64(op.attrs["low"]))
    if op.attrs["high"] < 2**63:
        fits = b.and_(fits, b.icmp_signed("<=", x, I64(op.attrs["high"])))
    d.raise_unless(fits, "OverflowError", f"Python integer {{}} out of bounds for {to.numpy.name}", [x])
    d.env[op.result] = b.trunc(x, scalar_type(to)) if to.size < 8 else x


@emits("load")
def _load(d: Driver, op: Op) -> None:
    array = d.env[op.operands[0]]
    got = d.host.load_element(array.dtype, array.data, aligned=False)
    if array.dtype.kind == "c":
        got = Pair(d.emit.extract_value(got, 0), d.emit.extract_value(got, 1))
    d.env[op.result] = got


@emits("store")
def _store(d: Driver, op: Op) -> None:
    target, value = op.operands
    assert isinstance(target.type, ArrayType) and not target.type.shape and isinstance(value.type, ScalarType)
    register = d.convert(d.env[value], value.type.dtype, target.type.dtype)
    array = d.env[target]
    scalar = _as_scalar(d.host, ScalarType(target.type.dtype), register)
    d.host.store_element(array.dtype, scalar.value, array.data, aligned=False)


@emits("view")
def _view(d: Driver, op: Op) -> None:
    source = d.env[op.operands[0]]
    t, s = op.result.type, op.operands[0].type
    assert isinstance(t, ArrayType) and isinstance(s, ArrayType)
    offset: ir.Value = I64(0)
    for start, stride in zip(op.attrs["offset"], source.strides, strict=True):
        if start != 0:
            offset = d.emit.add(offset, d.emit.mul(d.dim(start), stride))
    data = d.emit.gep(source.data, [offset], source_etype=I8)
    sizes, strides, writable = [], [], source.writable
    for (axis, step), size in zip(op.attrs["axes"], t.shape, strict=True):
        if isinstance(size, DimExpr) and all(x.name in d.symbols for x in dims.symbols_of(size)) or isinstance(size, int):
            sizes.append(d.dim(size))
        else:
            sizes.append(source.dims[axis])
        strides.append(I64(0) if axis is None else _stride(d, source, s, axis, step, size))
        broadcast = (axis is None and size != 1) or (axis is not None and step == 0)
        writable = writable and not broadcast
    _define(d, t, sizes)
    d.env[op.result] = ArrayValue(source.dtype, data, tuple(sizes), tuple(strides), source.owner, None, writable)


def _stride(d: Driver, source: ArrayValue, s: ArrayType, axis: int, step: int, size: Dim) -> ir.Value:
    stride = source.strides[axis] if step == 1 else d.emit.mul(source.strides[axis], I64(step))
    if size == s.shape[axis] or step != 1 or not dims.can_be_one(s.shape[axis]):
        return stride
    # a broadcast that is known at run time only
    alone = d.emit.icmp_signed("==", source.dims[axis], I64(1))
    return d.emit.select(alone, I64(0), stride)


@emits("reshape")
def _reshape(d: Driver, op: Op) -> None:
    source, t = d.env[op.operands[0]], op.result.type
    assert isinstance(t, ArrayType)
    sizes = tuple(d.dim(s) for s in t.shape)
    strides = d.host.contiguous_strides(source.dtype, sizes)
    d.env[op.result] = ArrayValue(source.dtype, source.data, sizes, strides, source.owner, None, source.writable)


@emits("empty")
def _empty(d: Driver, op: Op) -> None:
    t = op.result.type
    assert isinstance(t, ArrayType)
    dtype = t.dtype.numpy
    if op.attrs.get("space") == "stack":
        room = d.host.stack_array(memory_type(dtype), 1)
        d.env[op.result] = ArrayValue(dtype, room, (), (), NULL, None)
        return
    d.env[op.result] = d.host.new_array(dtype, [d.dim(s) for s in t.shape], "F" if t.layout == "F" else "C")


# -- kernels and libraries -------------------------------------------------------------------------------------


@emits("launch")
def _launch(d: Driver, op: Op) -> None:
    kernel: Kernel = op.attrs["kernel"]
    if kernel.name not in d.kernels:
        d.kernels[kernel.name] = emit_kernel(d.host.module, kernel, d.target)
    args: list[ir.Value] = [d.host.context]
    for value in op.operands[: len(kernel.views)]:
        array = d.env[value]
        args += [array.data, *array.strides]
    values = op.operands[len(kernel.views) :]
    for value, param in zip(values, kernel.scalars, strict=False):
        args.append(_kernel_scalar(d, value, param.dtype))
    args += [d.dim(size) for size in op.attrs["sizes"]]
    work = op.attrs.get("work", 0)
    worthwhile = d.emit.icmp_signed(">", d.dim(work), I64(GIL_WORK))
    if isinstance(work, int) and work <= GIL_WORK:
        status = d.emit.call(d.kernels[kernel.name], args)
    else:
        with d.host.without_gil(worthwhile):
            status = d.emit.call(d.kernels[kernel.name], args)
    out_of_memory = d.emit.icmp_unsigned("!=", status, I32(2))
    d.raise_unless(out_of_memory, "MemoryError", "")
    d.host.check_kernel(status)


def _kernel_scalar(d: Driver, value: Value, dtype: DType) -> ir.Value:
    register = d.convert(d.env[value], _dtype(value.type), dtype)
    if dtype.kind == "b":
        return d.emit.zext(register, I8)
    return _as_scalar(d.host, ScalarType(dtype), register).value if isinstance(register, Pair) else register


@emits("library")
def _library(d: Driver, op: Op) -> None:
    function = resolve(op.attrs["function"])
    keywords = op.attrs.get("keywords") or {}
    callee = functools.partial(function, **keywords) if keywords else function
    result = d.host.call_object(d.host.constant(callee), [d.box(v) for v in op.operands])
    d.env[op.result] = _from_library(d, op, result)


def resolve(name: str) -> Any:
    """The object of a qualified name."""
    module, _, rest = name.partition(".")
    found: Any = importlib.import_module(module)
    for part in rest.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            module = f"{module}.{part}"
            found = importlib.import_module(module)
            continue
        module = f"{module}.{part}"
    return found


def _from_library(d: Driver, op: Op, result: ir.Value) -> Item:
    """What NumPy gave, unpacked; an object of another type than was foreseen is an error, never read as one."""
    t = op.result.type
    message = f"{op.attrs['function']} gave something else than {t}"
    if isinstance(t, ScalarType):
        checker = d.host.constant(_checker(None, t.dtype.numpy.char, t.python))
        checked = d.host.call_object(checker, [result])
        got = d.host.load_element(t.dtype.numpy, _array_data(d, checked), aligned=False)
        if t.dtype.kind == "c":
            return Pair(d.emit.extract_value(got, 0), d.emit.extract_value(got, 1))
        return got
    assert isinstance(t, ArrayType)
    checked = d.host.call_object(d.host.constant(_checker(t.rank, t.dtype.numpy.char, False)), [result])
    array = d.host.load_array(checked, t.dtype.numpy, t.rank)
    _define(d, t, array.dims)
    for size, got in zip(t.shape, array.dims, strict=True):
        d.raise_unless(d.emit.icmp_signed("==", d.dim(size), got), "RuntimeError", message)
    strides = array.strides
    if t.layout in ("C", "F"):
        strides = d.host.contiguous_strides(array.dtype, array.dims, t.layout)
    return ArrayValue(array.dtype, array.data, array.dims, strides, checked, checked)


def _array_data(d: Driver, thing: ir.Value) -> ir.Value:
    return d.host.load_field(thing, LAYOUT.array_data, PTR)


@functools.cache
def _checker(rank: int | None, char: str, python: bool) -> Callable[[Any], Any]:
    """A function that turns a library's result into an exact, native, aligned array of the foreseen type (of rank 0 for a
    scalar), or raises."""
    import numpy as np

    dtype = np.dtype(char)

    def check(result: Any) -> Any:
        array = np.asarray(result)
        if array.dtype != dtype or array.ndim != (rank or 0):
            raise RuntimeError(f"a library call gave {array.dtype} of rank {array.ndim}, not {dtype} of rank {rank or 0}")
        return np.require(array, requirements=["A", "C"]) if rank and not array.flags.forc else array

    return check


# -- control flow ----------------------------------------------------------------------------------------------


@emits("if")
def _if(d: Driver, op: Op) -> None:
    out = _Exit(d, op.results, "endif")
    then, orelse = d.host.new_block("then"), d.host.new_block("else")
    d.emit.cbranch(d.env[op.operands[0]], then, orelse)
    d.scopes.append(out)
    known = d.symbols
    for block, start in zip(op.blocks, (then, orelse), strict=True):
        d.emit.position_at_end(start)
        d.symbols = dict(known)
        with d.inside(), d.host.turns():
            d.block(block)
    d.symbols = known
    d.scopes.pop()
    out.land(op.results)


@emits("yield")
def _yield(d: Driver, op: Op) -> None:
    d.scopes[-1].jump(op.operands)


@emits("scope")
def _scope(d: Driver, op: Op) -> None:
    out = _Exit(d, op.results, "endscope")
    d.scopes.append(out)
    d.leaves.append(out)
    known = d.symbols
    d.symbols = dict(known)
    with d.inside():
        d.block(op.blocks[0])
    d.symbols = known
    d.leaves.pop()
    d.scopes.pop()
    out.land(op.results)


@emits("leave")
def _leave(d: Driver, op: Op) -> None:
    d.leaves[-1].jump(op.operands)


@emits("continue")
def _continue(d: Driver, op: Op) -> None:
    d.loops[-1].again(op.operands)


@emits("break")
def _break(d: Driver, op: Op) -> None:
    d.loops[-1].out.jump(op.operands)


@emits("unreachable")
def _unreachable(d: Driver, op: Op) -> None:
    d.emit.unreachable()


class _Carried:
    """The carried values of a loop: phis at its head; a reference of the loop's own to each carried array."""

    def __init__(self, d: Driver, params: Sequence[Value], inits: Sequence[Value]) -> None:
        self.d = d
        self.params = params
        self.slots = {p: d.host.empty_slot() for p in params if isinstance(p.type, ArrayType)}
        self._own(inits)
        registers = [r for v in inits for r in _flatten(d, v.type, d.env[v])]
        self.entry = d.emit.block
        self.head = d.host.new_block("loop")
        d.emit.branch(self.head)
        d.emit.position_at_end(self.head)
        self.phis = [d.emit.phi(r.type) for r in registers]
        for phi, register in zip(self.phis, registers, strict=True):
            phi.add_incoming(register, self.entry)
        it = iter(self.phis)
        for p in params:
            d.env[p] = _gather(d, p.type, it)

    def _own(self, values: Sequence[Value]) -> None:
        arrays = [(self.slots[p], self.d.env[v].owner) for p, v in zip(self.params, values, strict=True) if p in self.slots]
        for _, owner in arrays:  # all before any is dropped: two may have changed places
            self.d.host.call("tj_py_Py_IncRef", owner)
        for slot, owner in arrays:
            self.d.host.replace(slot, owner)

    def feed(self, values: Sequence[Value]) -> None:
        """The next turn's values, at the end of the current block, which then branches to the head."""
        d = self.d
        registers = [r for v in values for r in _flatten(d, v.type, d.env[v])]
        self._own(values)
        for phi, register in zip(self.phis, registers, strict=True):
            phi.add_incoming(register, d.emit.block)
        d.emit.branch(self.head)


@emits("for")
def _for(d: Driver, op: Op) -> None:
    first, length, _ = (d.env[v] for v in op.operands[:3])
    body = op.blocks[0]
    known = d.symbols
    d.symbols = dict(known)
    out = _Exit(d, op.results, "endfor")
    with d.host.turns(), d.inside():
        start = d.emit.block
        carried = _Carried(d, body.params[1:], op.operands[3:])
        index = d.emit.phi(I64)
        index.add_incoming(first, carried.entry)
        del start
        d.symbols[op.attrs["symbol"]] = d.env[body.params[0]] = index
        turn, done = d.host.new_block("turn"), d.host.new_block("done")
        d.emit.cbranch(d.emit.icmp_signed("<", index, length), turn, done)
        d.emit.position_at_end(done)
        out.jump(body.params[1:])
        d.emit.position_at_end(turn)
        innermost = not any(o.name in ("for", "while") for o in _walk(body))

        def again(values: Sequence[Value]) -> None:
            following = d.emit.add(index, I64(1))
            _poll(d, index if innermost else None)
            index.add_incoming(following, d.emit.block) if not carried.slots else None
            carried.feed(values)
            if carried.slots:
                index.add_incoming(following, _last_branch(carried))

        d.loops.append(_Loop(again, out))
        d.block(body)
        d.loops.pop()
    d.symbols = known
    out.land(op.results)


def _last_branch(carried: _Carried) -> ir.Block:
    return carried.phis[-1].incomings[-1][1]


def _walk(block: Block) -> Iterator[Op]:
    stack = [block]
    while stack:
        current = stack.pop()
        for op in current.ops:
            yield op
            stack += op.blocks


def _poll(d: Driver, index: ir.Value | None) -> None:
    """Let signals in now and then: each STRIP turns of an innermost loop, each turn's budget otherwise."""
    b = d.emit
    if index is not None:
        due = b.icmp_unsigned("==", b.and_(index, I64(STRIP - 1)), I64(STRIP - 1))
        with b.if_then(due, likely=False):
            d.host.poll()
        return
    with b.if_then(I1(1)):
        d.host.poll()


@emits("while")
def _while(d: Driver, op: Op) -> None:
    condition, body = op.blocks[0], op.blocks[1]
    known = d.symbols
    d.symbols = dict(known)
    out = _Exit(d, op.results, "endwhile")
    counter = d.host.stack_array(I64, 1)
    with d.host.turns(), d.inside():
        carried = _Carried(d, condition.params, op.operands)
        for p, q in zip(body.params, condition.params, strict=True):
            d.env[p] = d.env[q]
        holds = _condition(d, condition)
        turn, done = d.host.new_block("turn"), d.host.new_block("done")
        d.emit.cbranch(holds, turn, done)
        d.emit.position_at_end(done)
        out.jump(condition.params)
        d.emit.position_at_end(turn)

        def again(values: Sequence[Value]) -> None:
            count = d.emit.add(d.emit.load(counter, typ=I64), I64(1))
            d.emit.store(count, counter)
            _poll(d, count)
            carried.feed(values)

        d.loops.append(_Loop(again, out))
        d.block(body)
        d.loops.pop()
    d.symbols = known
    out.land(op.results)


def _condition(d: Driver, block: Block) -> ir.Value:
    for op in block.ops[:-1]:
        d.block(Block((), (op,)))
    return d.env[block.terminator.operands[0]]


# -- the way out -----------------------------------------------------------------------------------------------


@emits("return")
def _return(d: Driver, op: Op) -> None:
    values = iter(op.operands)
    d.host.ret_object(_result(d, op.attrs["structure"], values))


def _result(d: Driver, structure: Any, values: Iterator[Value]) -> ir.Value:
    """A new reference to the result of a structure."""
    if structure == "value":
        value = next(values)
        if isinstance(value.type, ArrayType):
            thing = d.array_object(d.env[value])
            d.host.incref(thing)
            return thing
        assert isinstance(value.type, ScalarType)
        return d.host.box(_as_scalar(d.host, value.type, d.env[value]))
    kind, *rest = structure
    if kind == "param":
        thing = d.args[rest[0]].object
        d.host.incref(thing)
        return thing
    if kind == "const":
        thing = d.host.constant(rest[0])
        d.host.incref(thing)
        return thing
    items = [_result(d, s, values) for s in rest]
    made = d.host.box_tuple(items)
    if kind == "tuple":
        return made
    d.host.own(made)
    made_list = d.host.call_object(d.host.constant(list), [made])
    d.host.incref(made_list)
    return made_list


@emits("raise")
def _raise(d: Driver, op: Op) -> None:
    if not op.operands:
        d.host.raise_error(d.error(op.attrs["exception"], op.attrs["message"]))
        return
    thrower = functools.partial(throw, op.attrs["exception"], op.attrs["message"])
    d.host.call_object(d.host.constant(thrower), [d.box(v) for v in op.operands])
    d.host.raise_error(d.error("RuntimeError", "an exception was not raised"))


def throw(name: str, message: str, *values: Any) -> None:
    """Raise an exception whose message has run-time values in it."""
    raise make_exception(name, message.format(*values))
