"""The loops of a fused region: which order they run in, which axes become one, and where each value is computed.

    fused(x: f64[m, n]) {reduced=(1,)}          for i in m: parallel
      t = max(p) {axes=(1,), keepdims}            for j in n: vector; r0 = max    sweep 0
      e = exp(subtract(p, t))                     for j in n: vector; r1 = sum    sweep 1, e is kept in the result's row
      s = sum(e) {axes=(1,), keepdims}            for j in n: vector              sweep 2
      yield divide(e, s)

A *full* value varies along a reduced axis (or nothing is reduced); a *row* value is computed once per row. A sweep is one pass
over the reduced axes; a value's *phase* is the first sweep that all it needs is known in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import final

from tensorjit.ir import dims
from tensorjit.ir.dims import Dim
from tensorjit.ir.dtypes import DType
from tensorjit.ir.graph import Op, Value
from tensorjit.ir.kernel import MATH, Apply, Expr, Ref
from tensorjit.ir.types import ScalarType
from tensorjit.ops.opdef import Loop, OpDef
from tensorjit.passes.regions import (
    Axes,
    Sizes,
    array_type,
    is_array,
    is_row,
    operand_axes,
    place,
    rearranged,
    reduced_axes,
    through,
    whole,
)
from tensorjit.records import dataclass

CHEAP = 12  # what a value may cost to be computed again rather than kept
_SLOW = {"div": 4, "sqrt": 4, "floordiv": 6, "mod": 6, "truncrem": 6, "gcd": 40, "lcm": 40}
_MATH_COST = 20


@final
@dataclass(eq=False, slots=True)
class Memory:
    """An array that the kernel touches: from outside (`source` is the region's parameter), or made for the region's results."""

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    layout: str
    source: Value | None
    result: Value | None = None
    unit: int | None = None
    written: bool = False
    seen: set[Axes] = field(default_factory=set)
    merged: bool = False


@final
@dataclass(frozen=True, slots=True)
class Nest:
    """One loop: the axes of the space that it walks, outer to inner, and the size of their product."""

    axes: tuple[int, ...]
    extent: Dim


@final
@dataclass(slots=True)
class Hold:
    """A value kept from the sweep that computes it to later ones: in an array of the kernel, or (None) in a scratch row."""

    first: int
    last: int
    memory: Memory | None = None


@final
class Region:
    """What is known of a fused op before its loops are written."""

    def __init__(self, op: Op, table: Mapping[str, OpDef], sizes: Sizes, units: Mapping[Value, int | None]) -> None:
        self.op = op
        self.table = table
        self.sizes = sizes
        self.units = units
        (block,) = op.blocks
        self.params = block.params
        # sizes may have become equal after the region was begun
        self.space: tuple[Dim, ...] = tuple(sizes.canon(d) for d in op.attrs["space"])
        self.members = [o for o in block.ops if o.name not in ("store", "yield")]
        self.stores = [(o.operands[0], o.operands[1]) for o in block.ops if o.name == "store"]
        self.outputs = list(zip(op.results, block.terminator.operands, strict=True))
        reductions = [o for o in self.members if self.is_reduction(o)]
        self.reduced: tuple[int, ...] = tuple(reductions[0].attrs["axes"]) if reductions else ()
        self.axes: dict[Value, Axes] = {}
        self.phase: dict[Value, int] = {}
        self.alias: dict[Value, Value] = {}
        self.floating: dict[Value, Op] = {}
        self.uniform: dict[Value, Op | None] = {}
        self.memory: dict[Value, Memory] = {}
        self.results: dict[Value, Memory] = {}
        self.temporaries: list[Memory] = []
        self.holds: dict[Value, Hold] = {}
        self.cost: dict[Value, int] = {}
        self.defs = {o.result: o for o in self.members}
        self._enter()
        self._places()
        self._sweeps()
        self.vector_axis: int | None = None
        self.backwards = False  # the first axis is the innermost
        self.order = self._order()
        self._plan_holds()
        self.carried = self._plan_split()
        self.row_loops, self.sweep_loops = self._loops()

    # -- what each op is ---------------------------------------------------------------------------------------

    def is_reduction(self, op: Op) -> bool:
        row = self.table.get(op.name)
        return row is not None and row.reduction is not None and "axes" in op.attrs

    def is_ordered(self, op: Op) -> bool:
        """Whether NumPy takes the floats that an op reduces one by one, which decides what overflows on the way: in products, and
        in sums of rows that lie side by side. (The elements of one row are summed pairwise.)"""
        return op.name == "prod" or (op.name == "sum" and self.adds_rows(op))

    def adds_rows(self, op: Op) -> bool:
        """Whether what lies side by side in memory goes to results of its own: in an array that is there, as its layout is; in
        what is computed here, as most of the arrays that it is computed from lie (NumPy's order, "K")."""
        live = [k for k, d in enumerate(self.space) if d != 1]
        memory = self.memory.get(op.operands[0])
        known = [m for m in self.memory.values() if m.layout != "A" and len(m.shape) > 1]
        layout = memory.layout if memory is not None else "K" if known else array_type(op.operands[0]).layout
        if not live:  # one element has no order
            return False
        if layout in ("A", "K"):
            return self.vector_axis not in self.reduced
        return live[0 if layout == "F" else -1] not in self.reduced

    def resolved(self, value: Value) -> Value:
        """A value behind views that only rearrange axes."""
        while value in self.alias:
            value = self.alias[value]
        return value

    def is_full(self, value: Value) -> bool:
        return not is_row(self.axes[value], self.reduced)

    def inner(self, op: Op) -> list[Value]:
        """The operands that the region computes, views looked through."""
        found = [self.resolved(v) for v in op.operands]
        return [v for v in found if v in self.axes]

    def _enter(self) -> None:
        for k, param in enumerate(self.params):
            if is_array(param):
                kind = array_type(param)
                shape = self.sizes.shape(param)
                self.memory[param] = Memory(f"a{k}", kind.dtype, shape, kind.layout, param, None, self.units.get(param))
            else:
                self.uniform[param] = None

    def _places(self) -> None:
        """The axes and the phase of every value, and the memory that is read."""
        for op in self.members:
            result = op.result
            if op.is_fill or (op.name == "view" and op.operands[0] in self.floating):
                self.floating[result] = op
            elif op.name == "view":
                outer = rearranged(op, self.sizes)
                assert outer is not None
                self.alias[result] = op.operands[0]
                self.axes[result] = through(self.axes[op.operands[0]], outer)
                self.phase[result] = self.phase[op.operands[0]]
            elif not is_array(result) and all(v in self.uniform for v in op.operands):
                self.uniform[result] = op
            else:
                self._place(op)
        for result, value in self.outputs:
            if value in self.floating:
                self.axes[value], self.phase[value] = whole(self.space), 0
            self._result(result, value)
        for target, value in self.stores:
            memory = self.memory[target]
            memory.written = True
            memory.seen.add(self.axes[value])

    def _place(self, op: Op) -> None:
        before = [self.phase[v] for v in op.operands if v in self.phase]
        if self.is_reduction(op):
            seen = whole(self.space)
            self.axes[op.result] = reduced_axes(seen, op.attrs["axes"], bool(op.attrs["keepdims"]))
            self.phase[op.result] = max(before, default=0) + 1
        else:
            operands = [(self.sizes.shape(v), self.axes.get(v)) for v in op.operands]
            found = place(self.sizes.shape(op.result), operands, self.space)
            assert found is not None, f"{op.name} does not fit its region"
            seen = self.axes[op.result] = found
            self.phase[op.result] = max(before, default=0)
        for v in op.operands:
            if v in self.memory:
                self.memory[v].seen.add(operand_axes(self.sizes.shape(v), seen))

    def _result(self, result: Value, value: Value) -> None:
        name = f"r{len(self.results)}"
        if is_array(result):
            kind = array_type(result)
            shape = self.sizes.shape(result)
            layout = "F" if kind.layout == "F" else "C"
            live = [k for k, d in enumerate(shape) if d != 1]
            unit = None if not live else live[-1] if layout == "C" else live[0]
            memory = Memory(name, kind.dtype, shape, layout, None, result, unit, True)
        else:
            assert isinstance(result.type, ScalarType)
            memory = Memory(name, result.type.dtype, (), "C", None, result, None, True)
        memory.seen.add(self.axes[value])
        self.results[result] = memory

    # -- sweeps ------------------------------------------------------------------------------------------------

    def _sweeps(self) -> None:
        """When each full result is stored; results from outside last of all, since their old elements may still be read."""
        phases = [self.phase[op.result] - 1 for op in self.members if self.is_reduction(op)]
        full = [v for _, v in (*self.outputs, *self.stores) if self.is_full(v)]
        self.sweeps = max([*phases, *(self.phase[v] for v in full)], default=0) + 1

    def roots(self, sweep: int) -> list[Value]:
        """The full values that a sweep is run for."""
        fed = [self.resolved(op.operands[0]) for op in self.members if self._runs_in(op, sweep)]
        stored = [v for _, v in self.outputs if self.is_full(v) and self.phase[v] == sweep]
        late = [v for _, v in self.stores if self.is_full(v)] if sweep == self.sweeps - 1 else []
        return [v for v in (*fed, *map(self.resolved, (*stored, *late))) if v in self.axes and self.is_full(v)]

    def _runs_in(self, op: Op, sweep: int) -> bool:
        return self.is_reduction(op) and self.phase[op.result] - 1 == sweep

    def reductions(self, sweep: int) -> list[Op]:
        return [op for op in self.members if self._runs_in(op, sweep)]

    def needed(self, sweep: int) -> set[Value]:
        """The full values that a sweep computes; values held from an earlier one are only loaded."""
        found: set[Value] = set()
        stack = self.roots(sweep)
        while stack:
            v = stack.pop()
            held = self.holds.get(v)
            if v in found or (held is not None and held.first < sweep):
                continue
            found.add(v)
            if v in self.defs and v not in self.floating:
                stack.extend(w for w in self.inner(self.defs[v]) if self.is_full(w))
        return found

    def _plan_holds(self) -> None:
        if self.sweeps == 1:
            return
        self._costs()
        computed: dict[Value, int] = {}
        for sweep in range(self.sweeps):
            stack, met = self.roots(sweep), set[Value]()
            while stack:
                v = stack.pop()
                if v in met:
                    continue
                met.add(v)
                first = computed.setdefault(v, sweep)
                if first < sweep and self.cost[v] > CHEAP:
                    self.holds.setdefault(v, Hold(first, sweep)).last = sweep
                elif v not in self.floating:
                    stack.extend(w for w in self.inner(self.defs[v]) if self.is_full(w))
        for v, hold in self.holds.items():
            hold.memory = self._room(v, hold)

    def _plan_split(self) -> dict[Value, Memory]:
        """Where columns are reduced and the last sweep only writes, it runs in a nest of its own, row by row as memory lies, and
        takes what was computed of each column from these arrays. (Writing column after column took 1.5 times as long.)
        """
        last = self.sweeps - 1
        if not last or self.reductions(last) or self.vector_axis is None or self.vector_axis in self.reduced:
            return {}
        if any(not self.is_full(v) for _, v in self.stores):  # what the last sweep reads would be overwritten
            return {}
        found: dict[Value, Memory] = {}
        needed = self.needed(last)
        held = {self.resolved(v): self.results[result] for result, v in self.outputs if not self.is_full(v)}
        for op in self.members:
            if op.result not in needed or op.result in self.floating:
                continue
            for v in self.inner(op):
                if not self.is_full(v) and v not in found:
                    found[v] = held[v] if v in held and held[v].seen == {self.axes[v]} else self._temporary(v)
        return found

    def _temporary(self, value: Value) -> Memory:
        """An array of its own for a value."""
        axes = self.axes[value]
        layout = "F" if self.backwards else "C"
        shape = tuple(self.space[a] if a is not None else 1 for a in axes)
        live = [k for k, d in enumerate(shape) if d != 1]
        unit = None if not live else live[-1] if layout == "C" else live[0]
        name = f"h{len(self.temporaries)}"
        memory = Memory(name, _dtype(value), shape, layout, None, None, unit, True, {axes})
        self.temporaries.append(memory)
        return memory

    def _costs(self) -> None:
        for op in self.members:
            if op.result in self.axes and not self.is_reduction(op):
                below = {w for w in self.inner(op) if self.is_full(w)} if not op.is_fill else set()
                # cut off: a value used twice at every step would cost 2 ** steps
                self.cost[op.result] = min(self.op_cost(op) + sum(self.cost[w] for w in below), CHEAP + 1)

    def _room(self, value: Value, hold: Hold) -> Memory | None:
        """Where a value is kept: a result that is just this value, one of its dtype that is stored later, a row, or an array."""
        axes, dtype = self.axes[value], _dtype(value)
        taken = {h.memory for h in self.holds.values()}
        for result, stored in self.outputs:
            if self.resolved(stored) is value and self.axes[stored] == axes and self.phase[stored] == hold.first:
                return self.results[result]
        for result, stored in self.outputs:
            memory = self.results[result]
            fits = memory.dtype is dtype and self.axes[stored] == axes and memory not in taken
            if fits and self.is_full(stored) and self.phase[stored] >= hold.last:
                return memory
        kept = [k for k, d in enumerate(self.space) if k not in self.reduced and d != 1]
        if kept and self.order and self.order[-1] in self.reduced:
            return None
        return self._temporary(value)

    # -- loops -------------------------------------------------------------------------------------------------

    def _order(self) -> list[int]:
        """The axes of the space, outer to inner; the innermost has the most arrays side by side."""
        live = [k for k, d in enumerate(self.space) if d != 1]
        if not live:
            return []
        votes = dict.fromkeys(live, 0)
        for memory in (*self.memory.values(), *self.results.values()):
            for axes in memory.seen:
                unit = None if memory.unit is None else axes[memory.unit]
                if unit in votes:
                    votes[unit] += 4 if len([a for a in axes if a is not None]) == len(live) else 1
        inner = max(live, key=lambda k: (votes[k], k))
        self.backwards = inner == live[0] and len(live) > 1

        def arranged(axes: Sequence[int]) -> list[int]:
            rest = [a for a in axes if a != inner]
            rest = rest[::-1] if self.backwards else rest
            return [*rest, inner] if inner in axes else rest

        kept = arranged([a for a in live if a not in self.reduced])
        reduced = arranged([a for a in live if a in self.reduced])
        self.vector_axis = inner
        return [*kept, *reduced]

    def _loops(self) -> tuple[list[Nest], list[Nest]]:
        """The loops over the kept axes, and those of each sweep; neighbours are merged where every array allows."""
        kept = self._merged([a for a in self.order if a not in self.reduced])
        reduced = self._merged([a for a in self.order if a in self.reduced])
        if self.reduced and not reduced:
            reduced = [Nest((self.reduced[0],), 1)]
        return kept, reduced

    def _merged(self, order: Sequence[int]) -> list[Nest]:
        pinned = self._pinned()
        out: list[Nest] = []
        for axis in order:
            if out and axis not in pinned and out[-1].axes[-1] not in pinned and self._mergeable(out[-1], axis):
                last = out.pop()
                out.append(Nest((*last.axes, axis), last.extent * self.space[axis]))
            else:
                out.append(Nest((axis,), self.space[axis]))
        for nest in out:
            if len(nest.axes) > 1:
                for memory in self.arrays():
                    memory.merged |= any(a in nest.axes for axes in memory.seen for a in axes)
        return out

    def arrays(self) -> list[Memory]:
        """Every array of the kernel, in the order of its views."""
        return [*(m for m in self.memory.values() if m.seen), *self.results.values(), *self.temporaries]

    def _pinned(self) -> set[int]:
        """Axes whose own index is wanted: counted by an iota, or part of a position."""
        pinned: set[int] = set()
        if any(op.name == "iota" for op in self.members):
            pinned.update(range(len(self.space)))
        by_position = any(self.table[o.name].reduction in ("argmin", "argmax") for o in self.members if self.is_reduction(o))
        if by_position and self.order != sorted(self.order):
            pinned.update(self.reduced)
        return pinned

    def _mergeable(self, outer: Nest, inner: int) -> bool:
        for memory in self.arrays():
            touching = [axes for axes in memory.seen if inner in axes or any(a in axes for a in outer.axes)]
            if not touching:
                continue
            if len(memory.seen) > 1 or memory.layout == "A":
                return False
            (axes,) = touching
            live = [k for k, a in enumerate(axes) if memory.shape[k] != 1]
            walked = [axes[k] for k in (live if memory.layout == "C" else live[::-1])]
            at = outer.axes[-1]
            if at not in walked or inner not in walked or walked.index(at) + 1 != walked.index(inner):
                return False
        return True

    # -- costs -------------------------------------------------------------------------------------------------

    def op_cost(self, op: Op) -> int:
        row = self.table.get(op.name)
        if row is None or "loop" not in op.attrs or self.is_reduction(op):
            return 1
        loop: Loop = op.attrs["loop"]
        lowered = row.lower([Ref(f"a{k}", d) for k, d in enumerate(loop.inputs)], loop.output)
        return 1 if lowered is None else expr_cost(lowered)

    def work(self) -> Dim:
        """Elements times what one costs, 1 for a load and a few simple ops."""
        each = 1 + sum(self.op_cost(op) for op in self.members if op.result in self.axes and op.name != "view") // 4
        return dims.product(self.space) * each


def expr_cost(expr: Expr) -> int:
    """What an expression costs, in simple operations.

    >>> from tensorjit.ir.dtypes import F64
    >>> x = Ref("x", F64)
    >>> expr_cost(Apply("add", (x, Apply("exp", (x,), F64)), F64))
    21
    """
    total, stack, seen = 0, [expr], set[int]()
    while stack:
        e = stack.pop()
        if isinstance(e, Apply) and id(e) not in seen:
            seen.add(id(e))
            total += _MATH_COST if e.intrinsic in MATH else _SLOW.get(e.intrinsic, 1)
            stack.extend(e.args)
    return max(total, 1)


def _dtype(value: Value) -> DType:
    return array_type(value).dtype if is_array(value) else _scalar_dtype(value)


def _scalar_dtype(value: Value) -> DType:
    assert isinstance(value.type, ScalarType)
    return value.type.dtype
