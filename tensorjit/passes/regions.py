"""What fusion and lowering both ask of sizes, views and index spaces.

A region computes over one *space*, a tuple of sizes. Each value in it has *axes*: for each of its own axes the axis of the space
that it varies along, None where it does not vary (a size of 1, or a broadcast). With space (m, n) reduced over axis 1:

    x: f64[m, n]                  axes (0, 1)
    s = sum(x) {axes=(1,)}        axes (0,)          a row value: it varies along no reduced axis
    t = view(s): f64[m, 1]        axes (0, None)
    y = subtract(x, t)            axes (0, 1)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import final

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim, DimExpr
from tensorjit.ir.graph import Op, Value
from tensorjit.ir.types import ArrayType, ScalarType

Axes = tuple[int | None, ...]


@final
class Sizes:
    """The sizes that `check` ops make equal, in program order."""

    def __init__(self, equal: Mapping[str, Dim] | None = None) -> None:
        self.equal: dict[str, Dim] = dict(equal or {})
        self._canon: dict[Dim, Dim] = {}  # by what is equal now

    def inside(self) -> Sizes:
        """For a nested block: what is learned there is forgotten after it."""
        return Sizes(self.equal)

    def canon(self, dim: Dim) -> Dim:
        if isinstance(dim, int) or not self.equal:
            return dim
        if dim not in self._canon:
            self._canon[dim] = dims.substitute(dim, self.equal)
        return self._canon[dim]

    def shape(self, value: Value) -> tuple[Dim, ...]:
        """The shape of an array, or () of a scalar, rewritten by what is known."""
        shape = value.type.shape if isinstance(value.type, ArrayType) else ()
        return tuple(self.canon(d) for d in shape) if self.equal else shape

    def same(self, a: Dim, b: Dim) -> bool:
        return a == b or self.canon(a) == self.canon(b)

    def learn(self, op: Op) -> None:
        """Read a `check` op; the reading of TypedBuilder.check."""
        if op.name != "check" or op.attrs["relation"] != "eq":
            return
        a, b = self.canon(op.attrs["left"]), self.canon(op.attrs["right"])
        for one, other in ((a, b), (b, a)):
            name = _symbol_name(one)
            if name is not None and all(s.name != name for s in dims.symbols_of(other)):
                self.equal = {k: dims.substitute(v, {name: other}) for k, v in self.equal.items()}
                self.equal[name] = other
                self._canon.clear()
                return


def _symbol_name(dim: Dim) -> str | None:
    if isinstance(dim, DimExpr) and len(dim.terms) == 1 and dim.terms[0][1] == 1 and len(dim.terms[0][0]) == 1:
        atom = dim.terms[0][0][0]
        if isinstance(atom, dims.Symbol):
            return atom.name
    return None


def is_array(value: Value) -> bool:
    return isinstance(value.type, ArrayType)


def array_type(value: Value) -> ArrayType:
    assert isinstance(value.type, ArrayType)
    return value.type


def is_numpy_scalar(value: Value) -> bool:
    return isinstance(value.type, ScalarType) and not value.type.python


def whole(space: Sequence[Dim]) -> Axes:
    """The axes of a value that fills the space."""
    return tuple(None if d == 1 else k for k, d in enumerate(space))


def rearranged(op: Op, sizes: Sizes) -> Axes | None:
    """For a `view` that only permutes, drops, inserts or repeats axes: for each axis of the result the source's axis, None for an
    inserted or repeated one. None where the view does more (slices, steps, run-time broadcasts).

        view(s: f64[m]) {axes=((0, 1), (None, 0))}: f64[m, 1]     ->  (0, None)
    """
    if op.name != "view" or any(o != 0 for o in op.attrs["offset"]):
        return None
    source, shape = sizes.shape(op.operands[0]), sizes.shape(op.result)
    out: list[int | None] = []
    for (axis, step), size in zip(op.attrs["axes"], shape, strict=True):
        if axis is None or source[axis] == 1:
            out.append(None)
        elif step == 1 and source[axis] == size:
            out.append(axis)
        else:
            return None
    dropped = [d for k, d in enumerate(source) if k not in out]
    return tuple(out) if all(d == 1 for d in dropped) else None


def through(axes: Axes, outer: Axes) -> Axes:
    """Axes of a rearranged value: `axes` of the source, picked by `outer`."""
    return tuple(None if a is None else axes[a] for a in outer)


def place(shape: Sequence[Dim], operands: Sequence[tuple[tuple[Dim, ...], Axes | None]], space: Sequence[Dim]) -> Axes | None:
    """The axes of an elementwise result of `shape`, so that its operands meet it element by element; None where they do not.

    `operands`: shape and axes of each (None: from outside the region, so that any alignment will do).
    """
    inside = [(s, a) for s, a in operands if a is not None]
    if tuple(shape) == tuple(space) and all(_meets(a, whole(space)) for _, a in inside):
        return whole(space)
    out: list[int | None] = []
    for k, size in enumerate(shape):
        back = k - len(shape)
        found = {a[back] for _, a in inside if len(a) >= -back and a[back] is not None}
        if size == 1:
            out.append(None)
            continue
        if len(found) != 1:
            return None
        (axis,) = found
        assert axis is not None
        if space[axis] != size or axis in out:
            return None
        out.append(axis)
    return tuple(out)


def _meets(axes: Axes, target: Axes) -> bool:
    if len(axes) > len(target):
        return False
    return all(a is None or a == t for a, t in zip(reversed(axes), reversed(target), strict=False))


def operand_axes(shape: Sequence[Dim], result: Axes) -> Axes:
    """How an operand from outside is indexed by an op whose result has the axes `result`."""
    tail = result[len(result) - len(shape) :]
    return tuple(None if d == 1 else a for d, a in zip(shape, tail, strict=True))


def reduced_axes(operand: Axes, axes: Collection[int], keepdims: bool) -> Axes:
    """The axes of a reduction's result."""
    if keepdims:
        return tuple(None if k in axes else a for k, a in enumerate(operand))
    return tuple(a for k, a in enumerate(operand) if k not in axes)


def is_row(axes: Axes, reduced: Collection[int]) -> bool:
    """Whether a value varies along no reduced axis, so that it is computed once per row."""
    return bool(reduced) and not any(a in reduced for a in axes if a is not None)


def may_repeat(source: Dim, size: Dim, sizes: Sizes) -> bool:
    """Whether a view's axis may be a run-time broadcast (stride 0): its source can be 1 while it is longer."""
    source, size = sizes.canon(source), sizes.canon(size)
    if source == size or not dims.can_be_one(source) or dims.bounds(source - size)[0] >= 0:
        return False
    a, b = _inside_max(source), _inside_max(size)
    return dims.bounds(a - b)[0] < 0


def _inside_max(dim: Dim) -> Dim:
    """p of max(p, 0); max is monotonic, so that comparing the insides is enough."""
    if isinstance(dim, DimExpr) and len(dim.terms) == 1 and dim.terms[0][1] == 1 and len(dim.terms[0][0]) == 1:
        atom = dim.terms[0][0][0]
        if isinstance(atom, dims.Apply) and atom.function == "max" and atom.args[1] == 0:
            return atom.args[0]
    return dim


def unit_axis(value: Value, defs: Mapping[Value, Op], sizes: Sizes) -> int | None:
    """The axis of an array known to have a stride of one element.

    x[1:-1, 1:-1] of a C array: 1; x[:, ::2]: None; x.T: 0.
    """
    path: list[Op] = []
    while True:
        kind = array_type(value)
        live = [k for k, d in enumerate(sizes.shape(value)) if d != 1]
        if not live or kind.layout != "A":
            break
        op = defs.get(value)
        if op is None or op.name != "view":
            return None
        path.append(op)
        value = op.operands[0]
    axis = None if not live else live[-1] if kind.layout == "C" else live[0]
    for op in reversed(path):
        axis = _unit_through(op, axis, sizes)
    return axis


def _unit_through(op: Op, unit: int | None, sizes: Sizes) -> int | None:
    source, shape = sizes.shape(op.operands[0]), sizes.shape(op.result)
    for k, (axis, step) in enumerate(op.attrs["axes"]):
        if axis is not None and axis == unit and step == 1 and not may_repeat(source[axis], shape[k], sizes):
            return k
    return None
