"""Merges equal ops."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from types import NoneType
from typing import final

import numpy as np

from tensorjit.ir.dims import DimExpr
from tensorjit.ir.dtypes import DType
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.rewriter import changed, rebuild_ops
from tensorjit.ir.texts import scalar_text
from tensorjit.ir.types import ArrayType, ScalarType, UnknownType
from tensorjit.records import dataclass

_BY_EQUALITY = (NoneType, bool, int, str, bytes, DType, DimExpr, ArrayType, ScalarType, UnknownType)


def _always(op: Op) -> bool:
    return True


def cse(graph: Graph, is_pure: Callable[[Op], bool], may_share: Callable[[Op], bool] = _always) -> Graph:
    """A graph in which an op that was computed before, in its block or in one around it, is not computed
    again.

    `is_pure(op)`: its results follow from its operands, its attrs, and what its array operands hold; any
    other op may write to arrays. `may_share(op)`: a result may share storage with an operand (a view). Two
    arrays are merged only if neither can be written or handed out, as the user would see one array where
    NumPy gives two.

    >>> from tensorjit.ir.parser import parse_graph
    >>> before = parse_graph('''
    ... graph f(%x: f64, %y: f64) {
    ...   %a: f64 = mul(%x, %y)
    ...   %b: f64 = mul(%x, %y)
    ...   %c: f64 = add(%a, %b)
    ...   return(%c)
    ... }''')
    >>> print(cse(before, lambda op: True))
    graph f(%x: f64, %y: f64)
    {
      %a: f64 = mul(%x, %y)
      %c: f64 = add(%a, %a)
      return(%c)
    }
    """
    finder = _Finder(graph, is_pure, may_share)
    finder.run()
    same = finder.same
    if not same:
        return graph

    def visit(op: Op, blocks: Sequence[Block]) -> tuple[Op, ...]:
        return () if op in finder.dropped else (changed(op, [same.get(v, v) for v in op.operands], blocks),)

    return rebuild_ops(graph, visit)


@final
@dataclass(slots=True)
class _Frame:
    ops: Iterator[Op]
    table: dict[Hashable, Op]


@final
class _Finder:
    """Walks in program order with a table of what each open block computed. `epoch` counts the effects so
    far: an op that reads an array equals only an op of the same epoch."""

    def __init__(self, graph: Graph, is_pure: Callable[[Op], bool], may_share: Callable[[Op], bool]) -> None:
        self.graph = graph
        self.is_pure = is_pure
        self.may_share = may_share
        self.same: dict[Value, Value] = {}
        self.dropped: set[Op] = set()
        self.epoch = 0
        self.escaped = {v for op in graph.walk() if self._hands_on(op) for v in op.operands}
        self.effects = self._with_effects()

    def _hands_on(self, op: Op) -> bool:
        """Whether an operand may be written by the op, leave the graph, or live on under another name."""
        if op.blocks or op.is_terminator or not self.is_pure(op):
            return True
        return self.may_share(op) and not all(isinstance(v.type, ScalarType) for v in op.results)

    def _with_effects(self) -> set[Op]:
        """The ops that have effects, themselves or in their blocks."""
        found: set[Op] = set()
        for op in reversed(list(self.graph.walk())):
            inner = (o for block in op.blocks for o in block.ops)
            if (not op.is_terminator and not self.is_pure(op)) or any(o in found for o in inner):
                found.add(op)
        return found

    def run(self) -> None:
        stack = [_Frame(iter(self.graph.block.ops), {})]
        while stack:
            op = next(stack[-1].ops, None)
            if op is None:
                stack.pop()
                continue
            if op in self.effects:
                self.epoch += 1  # for a loop: what its body reads may have been written by an earlier turn
            if op.blocks:
                stack += [_Frame(iter(block.ops), {}) for block in reversed(op.blocks)]
            elif not op.is_terminator and op not in self.effects:
                self._merge(op, [frame.table for frame in stack])

    def _merge(self, op: Op, tables: list[dict[Hashable, Op]]) -> None:
        key = self._key(op)
        earlier = next((table[key] for table in tables if key in table), None)
        if earlier is None or not all(map(self._alike, op.results, earlier.results)):
            tables[-1].setdefault(key, op)
        else:
            self.dropped.add(op)
            self.same.update(zip(op.results, earlier.results, strict=True))
            self.escaped.update(e for v, e in zip(op.results, earlier.results, strict=True) if v in self.escaped)

    def _alike(self, value: Value, earlier: Value) -> bool:
        private = value not in self.escaped and earlier not in self.escaped
        return private or isinstance(value.type, ScalarType)

    def _key(self, op: Op) -> Hashable:
        operands = tuple(self.same.get(v, v) for v in op.operands)
        reads = not all(isinstance(v.type, ScalarType) for v in operands)
        types = tuple(v.type for v in op.results)
        return (op.name, operands, types, _identity(op.attrs), self.epoch if reads else None)


def _identity(value: object) -> Hashable:
    """Equal for attrs that mean the same: 1, 1.0 and True differ, as do 0.0 and -0.0."""
    if isinstance(value, tuple):
        return (tuple, *map(_identity, value))
    if isinstance(value, Mapping):
        return (dict, *((k, _identity(value[k])) for k in sorted(value)))
    if isinstance(value, slice):
        return (slice, *map(_identity, (value.start, value.stop, value.step)))
    if type(value) in (float, complex):
        return (type(value), scalar_text(value))  # type: ignore[arg-type]
    if isinstance(value, np.generic):
        return (type(value), value.dtype, value.tobytes())
    if type(value) in _BY_EQUALITY:
        return (type(value), value)
    return ("object", id(value))
