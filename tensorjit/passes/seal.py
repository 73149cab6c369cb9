"""A gathered region as an op: `fused`, with a block of its own and parameters for what comes from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Any, final

from tensorjit.ir.dims import Dim
from tensorjit.ir.graph import Block, Op, Value
from tensorjit.passes.regions import Axes, is_array
from tensorjit.records import dataclass


@final
@dataclass(eq=False, slots=True)
class Region:
    """Ops gathered to become one kernel; `fuse.py` says when one is open."""

    space: tuple[Dim, ...]
    reduced: tuple[int, ...] | None = None
    members: list[tuple[int, Op]] = field(default_factory=list)
    axes: dict[Value, Axes] = field(default_factory=dict)
    viewed: set[Value] = field(default_factory=set)  # values that member views look at, and these views
    reads: dict[Value, set[Axes]] = field(default_factory=dict)
    content: dict[Value, Value] = field(default_factory=dict)  # an array overwritten here -> its elements now
    targets: dict[Value, None] = field(default_factory=dict)  # the arrays from outside among them
    merged: Region | None = None
    open: bool = True
    reason: str = ""


def finish(source: Block, schedule: Sequence[Op | Region], defs: Mapping[Value, Op]) -> Block:
    """The block with regions as `fused` ops; what nothing uses is dropped. Last to first, so that all uses are known."""
    used: set[Value] = set()
    out: list[Op] = []
    for item in reversed(schedule):
        if isinstance(item, Region):
            for op in _seal(item, used, defs):
                out.append(op)
                used.update(op.operands)
            continue
        if not _may_go(item) or any(r in used for r in item.results):
            out.append(item)
            used.update(item.operands)
            for block in item.blocks:
                used.update(v for o in block.walk() for v in o.operands)
    return Block(source.params, tuple(reversed(out)))


def _may_go(op: Op) -> bool:
    return op.row is not None and op.row.is_pure and not op.blocks and not op.is_terminator


def _seal(region: Region, used: set[Value], defs: Mapping[Value, Op]) -> list[Op]:
    """A region as ops, last first: views of its results that are wanted outside, and the `fused` op."""
    members = [op for _, op in sorted(region.members, key=lambda m: m[0])]
    views: list[Op] = []
    wanted = {v for op in members for v in op.results if v in used}
    for op in reversed(members):
        if op.name == "view" and op.result in wanted and op.operands[0] in region.axes:
            wanted.discard(op.result)
            wanted.add(op.operands[0])
            views.append(op)
    outputs = [v for op in members for v in op.results if v in wanted]
    if not outputs and not region.targets:
        return []
    sealer = _Sealer(members, defs)
    inner = sealer.run([region.content.get(v, v) for v in outputs], [(t, region.content[t]) for t in region.targets])
    operands = tuple(sealer.params)
    attrs = frozen(space=region.space, reduced=region.reduced or (), reason=region.reason)
    loc = next((op.loc for op in members if op.loc is not None), None)
    block = Block(tuple(sealer.params.values()), tuple(inner))
    return [*views, Op("fused", operands, tuple(outputs), attrs, (block,), loc)]


@final
class _Sealer:
    """Copies a region's ops into a block of their own, with parameters for what comes from outside."""

    def __init__(self, members: Sequence[Op], defs: Mapping[Value, Op]) -> None:
        self.members = members
        self.defs = defs
        self.params: dict[Value, Value] = {}
        self.inner: dict[Value, Value] = {}
        self.ops: list[Op] = []

    def run(self, outputs: Sequence[Value], stores: Sequence[tuple[Value, Value]]) -> list[Op]:
        needed: set[Value] = {*outputs, *(v for _, v in stores)}
        kept: list[Op] = []
        for op in reversed(self.members):
            if op.result in needed:
                kept.append(op)
                needed.update(op.operands)
        for op in reversed(kept):
            operands = tuple(self._operand(v) for v in op.operands)
            self._add(op, operands)
        for target, value in stores:
            self.ops.append(Op("store", (self._param(target), self.inner[value])))
        self.ops.append(Op("yield", tuple(self.inner[v] for v in outputs)))
        return self.ops

    def _add(self, op: Op, operands: tuple[Value, ...]) -> Value:
        result = Value(op.result.type, op.result.name)
        self.inner[op.result] = result
        self.ops.append(Op(op.name, operands, (result,), op.attrs, (), op.loc))
        return result

    def _operand(self, value: Value) -> Value:
        if value in self.inner:
            return self.inner[value]
        op = None if is_array(value) else self.defs.get(value)
        if op is not None and (op.name in ("const", "dim") or (op.name == "cast" and self._is_constant(op.operands[0]))):
            return self._add(op, tuple(self._operand(v) for v in op.operands))
        return self._param(value)

    def _is_constant(self, value: Value) -> bool:
        op = self.defs.get(value)
        return op is not None and op.name in ("const", "dim")

    def _param(self, value: Value) -> Value:
        if value not in self.params:
            self.params[value] = Value(value.type, value.name)
        return self.params[value]


def frozen(**attrs: Any) -> Mapping[str, Any]:
    """Attrs of an op."""
    return MappingProxyType(attrs)
