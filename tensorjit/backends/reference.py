"""Runs a typed graph with NumPy, one op at a time: the living definition of what each op means.

Every result is held to its declared type, so that a type rule that lies is found here. Kernels are not run: this backend
takes the graph as `specialise` leaves it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, final

import numpy as np

from tensorjit.errors import TypeInferenceError, VerifyError
from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.types import ArrayType, ScalarType, Type
from tensorjit.ops import OPS
from tensorjit.ops.python_scalars import PYTHON
from tensorjit.records import dataclass
from tensorjit.runtime.raising import make_exception, resolve, warn

Array = np.ndarray[Any, Any]
_RELATIONS = {"eq": operator.eq, "ge": operator.ge, "gt": operator.gt}
_PYTHON_TYPES = {"b": bool, "i": int, "f": float, "c": complex}


@final
@dataclass(frozen=True, slots=True)
class _Exit:
    """How a block was left: its terminator's name and what it carries."""

    kind: str
    values: tuple[Any, ...] = ()


def run(graph: Graph, args: Sequence[object]) -> object:
    """The result of a typed graph on Python arguments, one for each param.

    >>> from tensorjit.ir.graph import Builder
    >>> from tensorjit.ir.types import PY_INT
    >>> x, b = Value(PY_INT), None
    >>> b = Builder([x])
    >>> y = b.add("py_add", [x, x], PY_INT)
    >>> _ = b.add_multi("return", [y], attrs={"structure": "value"})
    >>> run(Graph("double", b.block()), [21])
    42
    """
    return _Run(graph, args).result()


@final
class _Run:
    """One call: the values and sizes so far."""

    def __init__(self, graph: Graph, args: Sequence[object]) -> None:
        self.graph, self.args = graph, args
        self.values: dict[Value, Any] = dict(zip(graph.params, args, strict=True))
        self.symbols: dict[str, Dim] = {}
        self.made: dict[str, Op] = {}  # the library call that a symbol is from, which gives another one in a loop's next turn
        for name, (index, axis) in graph.attrs.get("symbols", {}).items():
            argument = args[index]
            self.symbols[name] = argument.shape[axis] if isinstance(argument, np.ndarray) else cast(int, argument)
        for param, argument in zip(graph.params, args, strict=True):
            if not isinstance(param.type, ArrayType) or isinstance(argument, np.ndarray):
                self.conform(argument, param.type, "an argument")

    def result(self) -> object:
        left = self.block(self.graph.block, self.args)
        if left.kind != "return":
            raise VerifyError(f"graph {self.graph.name} ends in {left.kind}")
        structure, values = left.values
        return self.structured(structure, iter(values))

    def structured(self, structure: Any, values: Any) -> object:
        if structure == "value":
            return next(values)
        kind, *items = structure
        if kind == "const":
            return items[0]
        if kind == "param":
            return self.args[items[0]]
        built = [self.structured(item, values) for item in items]
        return built if kind == "list" else tuple(built)

    # -- sizes and types ---------------------------------------------------------------------------------------

    def size(self, dim: Dim) -> int:
        """A size; OverflowError where it is none of 64 bits."""
        value = self.number(dim)
        if not -(2**63) <= value < 2**63:
            raise OverflowError("Python int too large to convert to a 64-bit integer")
        return value

    def number(self, dim: Dim) -> int:
        """A size, however large."""
        value = dims.substitute(dim, self.symbols)
        if not isinstance(value, int):
            raise VerifyError(f"graph {self.graph.name}: the size {dim} is not defined here")
        return value

    def shape(self, value: Value) -> tuple[int, ...]:
        assert isinstance(value.type, ArrayType)
        return tuple(self.size(d) for d in value.type.shape)

    def conform(self, found: Any, declared: Type, what: str) -> Any:
        """VerifyError unless an object is of its declared type."""
        if isinstance(declared, ArrayType):
            fits = isinstance(found, np.ndarray) and found.dtype == declared.dtype.numpy and found.ndim == declared.rank
            fits = fits and found.shape == tuple(self.size(d) for d in declared.shape)
            if fits and declared.layout != "A":
                fits = bool(found.flags.c_contiguous if declared.layout == "C" else found.flags.f_contiguous)
        elif isinstance(declared, ScalarType):
            kind = _PYTHON_TYPES[declared.dtype.kind] if declared.python else declared.dtype.numpy.type
            fits = type(found) is kind
            if fits and declared.python and declared.dtype.kind == "i" and not -(2**63) <= found < 2**63:
                raise OverflowError("Python int too large to convert to a 64-bit integer")
        else:
            fits = False
        if not fits:
            shown = f"{found.dtype}{found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
            raise VerifyError(f"graph {self.graph.name}: {what} is {shown}, not {declared}")
        return found

    # -- blocks and control flow -------------------------------------------------------------------------------

    def block(self, block: Block, args: Sequence[Any] = ()) -> _Exit:
        self.joined(block.params, args)
        for op in block.ops:
            left = self.step(op)
            if left is not None:
                return left
        raise VerifyError(f"graph {self.graph.name}: a block without terminator")

    def step(self, op: Op) -> _Exit | None:
        """Run one op; an _Exit where it leaves the block."""
        args = [self.values[v] for v in op.operands]
        if op.name in _CONTROL:
            return _CONTROL[op.name](self, op, args)
        if op.name in _HANDLERS:
            result = _HANDLERS[op.name](self, op, args)
        elif op.name in OPS:
            result = _row(self, op, args)
        else:
            raise VerifyError(f"graph {self.graph.name}: {op.name!r} is no op")
        results = result if len(op.results) > 1 else (result,)
        for value, found in zip(op.results, results, strict=False):
            self.values[value] = self.conform(found, value.type, f"the result of {op.name}")
        return None

    def bind(self, op: Op, values: Sequence[Any]) -> None:
        self.joined(op.results, values)

    def joined(self, to: Sequence[Value], values: Sequence[Any]) -> None:
        """Values that come from several places, and with them the sizes that differ from place to place."""
        self.values.update(zip(to, values, strict=True))
        for target, found in zip(to, values, strict=True):
            if isinstance(target.type, ArrayType):
                for dim, size in zip(target.type.shape, found.shape, strict=True):
                    for s in dims.symbols_of(dim):
                        if dim == dims.symbol(s.name, s.low, s.not_one):
                            self.symbols[s.name] = size


def _leave(run: _Run, op: Op, args: list[Any]) -> _Exit:
    return _Exit(op.name, tuple(args))


def _return(run: _Run, op: Op, args: list[Any]) -> _Exit:
    return _Exit("return", (op.attrs["structure"], tuple(args)))


def _raise(run: _Run, op: Op, args: list[Any]) -> _Exit:
    raise make_exception(op.attrs.get("class") or op.attrs["exception"], op.attrs.get("message", "").format(*args))


def _unreachable(run: _Run, op: Op, args: list[Any]) -> _Exit:
    raise VerifyError(f"graph {run.graph.name}: an unreachable place is reached")


def _if(run: _Run, op: Op, args: list[Any]) -> _Exit | None:
    left = run.block(op.blocks[0 if args[0] else 1])
    if left.kind != "yield":
        return left
    run.bind(op, left.values)
    return None


def _scope(run: _Run, op: Op, args: list[Any]) -> _Exit | None:
    left = run.block(op.blocks[0])
    if left.kind not in ("leave", "yield"):
        return left
    run.bind(op, left.values)
    return None


def _for(run: _Run, op: Op, args: list[Any]) -> _Exit | None:
    start, stop, step, *carried = args
    for item in range(start, stop, step):
        run.symbols[op.attrs["symbol"]] = item
        left = run.block(op.blocks[0], [item, *carried])
        if left.kind == "break":
            run.bind(op, left.values)
            return None
        if left.kind != "continue":
            return left
        carried = list(left.values)
    return _finish(run, op, op.blocks[1:], carried)


def _while(run: _Run, op: Op, carried: list[Any]) -> _Exit | None:
    while True:
        left = run.block(op.blocks[0], carried)
        if left.kind != "yield":
            return left
        if not left.values[0]:
            return _finish(run, op, op.blocks[2:], carried)
        left = run.block(op.blocks[1], carried)
        if left.kind == "break":
            run.bind(op, left.values)
            return None
        if left.kind != "continue":
            return left
        carried = list(left.values)


def _finish(run: _Run, op: Op, orelse: Sequence[Block], carried: Sequence[Any]) -> _Exit | None:
    """A loop that no `break` left: its else block, and its results."""
    if orelse:
        left = run.block(orelse[0], carried)
        if left.kind != "yield":
            return left
        carried = left.values
    run.bind(op, carried)
    return None


_Control = Callable[[_Run, Op, list[Any]], "_Exit | None"]
_CONTROL: Mapping[str, _Control] = {
    "yield": _leave, "continue": _leave, "break": _leave, "leave": _leave, "return": _return, "raise": _raise,
    "unreachable": _unreachable, "if": _if, "scope": _scope, "for": _for, "while": _while,
}  # fmt: skip


# -- sizes and checks ----------------------------------------------------------------------------------------------


def _check(run: _Run, op: Op, args: list[Any]) -> None:
    relation, left, right = (op.attrs[name] for name in ("relation", "left", "right"))
    size = run.number if relation == "eq" or isinstance(left, int) else run.size
    if not _RELATIONS[relation](size(left), size(right)):
        _fail(run, op, op.attrs["exception"])


def _fail(run: _Run, op: Op, exception: str) -> None:
    raise make_exception(exception, op.attrs["message"].format(*(run.number(d) for d in op.attrs["args"])))


def _warn(run: _Run, op: Op, args: list[Any]) -> None:
    if not _RELATIONS[op.attrs["relation"]](run.size(op.attrs["left"]), run.size(op.attrs["right"])):
        warn(op.attrs["message"], resolve(op.attrs["category"]))


def _broadcast_dim(run: _Run, op: Op, args: list[Any]) -> None:
    left, right = run.size(op.attrs["left"]), run.size(op.attrs["right"])
    if not (left == right or right == 1 or (left == 1 and not op.attrs.get("store", False))):
        _fail(run, op, "ValueError")
    run.symbols[op.attrs["symbol"]] = right if left == 1 else left


def _bind(run: _Run, op: Op, args: list[Any]) -> None:
    run.symbols[op.attrs["symbol"]] = int(args[0])


def _index_check(run: _Run, op: Op, args: list[Any]) -> int:
    index, size, axis = int(args[0]), run.size(op.attrs["size"]), op.attrs["axis"]
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of bounds for axis {axis} with size {size}")
    return index % size


def _fit_int(run: _Run, op: Op, args: list[Any]) -> Any:
    dtype = _result_dtype(op)
    if not op.attrs["low"] <= args[0] <= op.attrs["high"]:
        raise OverflowError(f"Python integer {args[0]} out of bounds for {dtype.name}")
    return dtype.type(args[0])


# -- arrays --------------------------------------------------------------------------------------------------------


def _result_dtype(op: Op) -> np.dtype[Any]:
    assert isinstance(op.result.type, (ArrayType, ScalarType))
    return op.result.type.dtype.numpy


def _typed(found: Any, declared: Type) -> Any:
    """An object made what its declared type says: array or scalar, dtype, layout."""
    assert isinstance(declared, (ArrayType, ScalarType))
    if isinstance(declared, ArrayType):
        array = np.asarray(found, declared.dtype.numpy)
        return array if declared.layout == "A" else np.asarray(array, order=declared.layout)
    scalar = np.asarray(found).astype(declared.dtype.numpy)[()]
    return scalar.item() if declared.python else scalar


def _const(run: _Run, op: Op, args: list[Any]) -> Any:
    return _typed(op.attrs["value"], op.result.type)


def _view(run: _Run, op: Op, args: list[Any]) -> Array:
    """Basic slicing, so that the base is NumPy's own."""
    x: Array = args[0]
    shape = run.shape(op.result)
    offset = [run.size(o) for o in op.attrs["offset"]]
    index: list[Any] = list(offset)
    walked: list[int] = []
    for (axis, walk), size in zip(op.attrs["axes"], shape, strict=True):
        if axis is not None:
            step = run.size(walk)
            walked.append(axis)
            count = 1 if x.shape[axis] == 1 and size > 1 else size
            stop: int | None = offset[axis] + step * count
            index[axis] = slice(offset[axis], stop if stop is None or stop >= 0 else None, step) if count else slice(0, 0)
    part = x[(*index, Ellipsis)]
    order = sorted(walked)
    part = part.transpose([order.index(a) for a in walked])
    part = part[tuple(np.newaxis if a is None else slice(None) for a, _ in op.attrs["axes"])] if shape else part
    if part.shape != shape:
        return np.broadcast_to(part, shape)
    assert isinstance(op.result.type, ArrayType)
    if op.result.type.access == "readonly":  # a broadcast to the same shape
        part.flags.writeable = False
    return part


def _part(run: _Run, op: Op, args: list[Any]) -> Array:
    return cast(Array, getattr(args[0], op.attrs["which"]))


def _reshape(run: _Run, op: Op, args: list[Any]) -> Array:
    return cast(Array, args[0].reshape(run.shape(op.result)))


def _copy(run: _Run, op: Op, args: list[Any]) -> Array:
    assert isinstance(op.result.type, ArrayType)
    return np.array(args[0], order=op.result.type.layout, copy=True)


def _empty(run: _Run, op: Op, args: list[Any]) -> Array:
    assert isinstance(op.result.type, ArrayType)
    order = op.result.type.layout
    make = np.zeros if op.attrs.get("zeros") else np.empty
    return make(run.shape(op.result), _result_dtype(op), order="C" if order == "A" else order)


def _full(run: _Run, op: Op, args: list[Any]) -> Array:
    out = _empty(run, op, args)
    out[...] = args[0]
    return out


def _iota(run: _Run, op: Op, args: list[Any]) -> Array:
    dtype = _result_dtype(op)
    wide = np.dtype(np.float32) if dtype == np.float16 else dtype
    start, step = (np.asarray(a).astype(wide) for a in args)
    count = np.arange(run.shape(op.result)[0]).astype(wide)
    filled: Array = (start + count * step).astype(dtype)
    return filled


def _cast(run: _Run, op: Op, args: list[Any]) -> Any:
    found = np.array(args[0]).astype(_result_dtype(op))
    return _typed(found, op.result.type)


def _load(run: _Run, op: Op, args: list[Any]) -> Any:
    return args[0][()]


def _store(run: _Run, op: Op, args: list[Any]) -> None:
    target, value = args
    np.copyto(target, value if isinstance(value, np.ndarray) else np.asarray(value).astype(target.dtype), casting="unsafe")


def _library(run: _Run, op: Op, args: list[Any]) -> Any:
    found = resolve(op.attrs["function"])(*args, **op.attrs.get("keywords", {}))
    results = found if len(op.results) > 1 else (found,)[: len(op.results)]
    for value, result in zip(op.results, results, strict=True):
        for dim, size in zip(getattr(value.type, "shape", ()), np.shape(result), strict=False):
            _define(run, op, dim, size)
    return found


def _define(run: _Run, op: Op, dim: Dim, size: int) -> None:
    """A symbol that a library call's result brings into being."""
    unknown = [s for s in dims.symbols_of(dim) if s.name not in run.symbols or run.made.get(s.name) is op]
    if unknown and dim == dims.symbol(unknown[0].name, unknown[0].low, unknown[0].not_one):
        run.symbols[unknown[0].name] = size
        run.made[unknown[0].name] = op


def _truth(run: _Run, op: Op, args: list[Any]) -> bool:
    return bool(args[0])


def _dim(run: _Run, op: Op, args: list[Any]) -> int:
    return run.size(op.attrs["dim"])


def _same_object(run: _Run, op: Op, args: list[Any]) -> bool:
    return args[0] is args[1]


_HANDLERS: Mapping[str, Callable[[_Run, Op, list[Any]], Any]] = {
    "const": _const, "dim": _dim, "bind": _bind, "check": _check, "warn": _warn, "broadcast_dim": _broadcast_dim,
    "index_check": _index_check, "fit_int": _fit_int, "cast": _cast, "view": _view, "part": _part, "reshape": _reshape, "copy": _copy,
    "empty": _empty, "full": _full, "iota": _iota, "load": _load, "store": _store, "library": _library, "truth": _truth,
    "same_object": _same_object,
}  # fmt: skip


# -- rows of the op table ------------------------------------------------------------------------------------------

_REDUCERS: Mapping[str, np.ufunc] = {
    "sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum, "fmin": np.fmin, "fmax": np.fmax,
    "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor,
}  # fmt: skip
_ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    "select": np.where, "real": np.real, "imag": np.imag, "complex": lambda re, im: _complex(re, im),
}  # fmt: skip
_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "negative": operator.neg, "absolute": abs,
}  # fmt: skip
"""NumPy scalars' own, which warn where the result wraps."""


def _complex(re: Any, im: Any) -> Any:
    out = np.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), np.result_type(re, np.complex64))
    out.real, out.imag = re, im
    return out


def _row(run: _Run, op: Op, args: list[Any]) -> Any:
    row = OPS[op.name]
    if row.kind == "python":
        return _python(op, args)
    if row.reduction is not None:
        return _reduce(op, args[0], row.reduction)
    loop = op.attrs.get("loop")
    if loop is not None:
        args = [np.asarray(a).astype(d.numpy, copy=False)[()] for a, d in zip(args, loop.inputs, strict=True)]
    function = _ELEMENTWISE[op.name] if row.ufunc is None else row.ufunc
    if op.attrs.get("checked"):
        function = _OPERATORS[op.name]
    elif op.name == "power" and isinstance(op.result.type, ScalarType):
        function = operator.pow  # the ufunc has short cuts, which are ops of their own here
    return _typed(function(*args), op.result.type)


def _python(op: Op, args: list[Any]) -> Any:
    result = PYTHON[op.name](*args)
    assert isinstance(op.result.type, ScalarType)
    if isinstance(result, complex) and op.result.type.dtype.kind != "c":
        message = "a negative number to a fractional power is complex, which is not known when the function is compiled"
        raise TypeInferenceError(message)
    return result


def _reduce(op: Op, x: Array, reduction: str) -> Any:
    loop, axes, keepdims = op.attrs["loop"], op.attrs["axes"], op.attrs["keepdims"]
    x = x.astype(loop.inputs[0].numpy, copy=False)
    if reduction in ("argmin", "argmax"):
        return _typed(_position(x, axes, keepdims, reduction), op.result.type)
    found = _REDUCERS[reduction].reduce(x, axis=axes, keepdims=keepdims, dtype=loop.output.numpy)
    return _typed(found, op.result.type)


def _position(x: Array, axes: tuple[int, ...], keepdims: bool, reduction: str) -> Any:
    """The position of the extremum, counted over the reduced axes in C order."""
    kept = [a for a in range(x.ndim) if a not in axes]
    moved = x.transpose([*kept, *axes]).reshape([x.shape[a] for a in kept] + [math.prod(x.shape[a] for a in axes)])
    found = (np.argmin if reduction == "argmin" else np.argmax)(moved, axis=-1)
    return np.expand_dims(found, axes) if keepdims else found
