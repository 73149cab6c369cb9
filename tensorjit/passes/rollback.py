"""rollback: a graph of a trace leaves no write behind where a guard fails, so that the call can be made again, another way.

What a graph may write before a guard is copied first and put back before the GuardError. It is one pass over the whole program,
because a traced function may be inlined in another, and in a loop.

before::                             after::

                                       %k = copy(%x)
    store(%x, %v)                      store(%x, %v)
    if(%guard)                         if(%guard)
      then { yield() }                   then { yield() }
      else {                             else {
                                           store(%x, %k)
        raise() {GuardError}               raise() {GuardError}
      }                                  }
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final, final

from tensorjit.errors import GuardError
from tensorjit.ir.graph import Block, Builder, Graph, Op, Value
from tensorjit.ir.rewriter import changed, rebuild_ops
from tensorjit.ir.types import ArrayType, ScalarType

GUARD_ERROR: Final = f"{GuardError.__module__}.{GuardError.__qualname__}"


def rollback(graph: Graph, writable: Collection[int]) -> Graph:
    """The graph with its writes undone where a guard fails; `writable` are the params that may be written at all."""
    if not any(map(is_guard_error, graph.walk())):
        return graph
    changed_before = _Writes(graph, writable).before_guards()
    if not changed_before:
        return graph
    b = Builder(graph.block.params)
    b.loc = graph.loc
    kept = [(p, _keep(b, p)) for p in graph.params if p in changed_before]

    def visit(op: Op, blocks: Sequence[Block]) -> Sequence[Op]:
        if is_guard_error(op):
            return [*(Op("store", pair, (), loc=op.loc) for pair in kept), op]
        return [changed(op, op.operands, blocks)]

    rebuilt = rebuild_ops(graph, visit)
    return replace(rebuilt, block=Block(graph.block.params, (*b.ops, *rebuilt.block.ops)))


def is_guard_error(op: Op) -> bool:
    """Whether an op ends the call because of a guard."""
    return op.name == "raise" and op.attrs.get("exception") == GUARD_ERROR


def _keep(b: Builder, param: Value) -> Value:
    assert isinstance(param.type, ArrayType)
    if not param.type.shape:  # what is stored into rank 0 is a scalar
        return b.add("load", (param,), ScalarType(param.type.dtype))
    return b.add("copy", (param,), ArrayType(param.type.dtype, param.type.shape, "C"))


@final
class _Writes:
    """Finds the params that may have been written when a guard fails."""

    def __init__(self, graph: Graph, writable: Collection[int]) -> None:
        self.graph = graph
        self.arrays = frozenset(p for k, p in enumerate(graph.params) if isinstance(p.type, ArrayType) and k in writable)
        self.base: dict[Value, Value] = {}
        self.fresh: set[Value] = set()
        self.found: frozenset[Value] = frozenset()
        for op in graph.walk():
            if op.is_view:
                self.base[op.result] = op.operands[0]
            elif not op.blocks:
                self.fresh.update(op.results)

    def before_guards(self) -> frozenset[Value]:
        self._block(self.graph.block, frozenset())
        return self.found

    def _block(self, block: Block, written: frozenset[Value]) -> frozenset[Value]:
        """What has been written after a block, given what had been before it."""
        for op in block.ops:
            if is_guard_error(op):
                self.found |= written
            elif op.name == "store":
                written |= self._targets(op.operands[0])
            elif op.blocks:
                written = self._control(op, written)
        return written

    def _control(self, op: Op, written: frozenset[Value]) -> frozenset[Value]:
        after = written
        for _ in range(2 if op.is_loop else 1):  # the second turn starts from what the first wrote
            entered = after if op.is_loop else written
            for block in op.blocks:
                after |= self._block(block, entered)
        return after

    def _targets(self, target: Value) -> frozenset[Value]:
        while target in self.base:
            target = self.base[target]
        if target in self.graph.params:
            return frozenset({target}) & self.arrays
        return frozenset() if target in self.fresh else self.arrays  # joined from several: any of them
