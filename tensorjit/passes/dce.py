"""Removes what nobody uses: ops, results of branches, and values that a loop carries for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import final

from tensorjit.ir.dims import DimExpr, symbols_of
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.rewriter import rebuild_ops
from tensorjit.ir.texts import leaves
from tensorjit.ir.types import ArrayType
from tensorjit.records import dataclass


def dce(graph: Graph, is_pure: Callable[[Op], bool]) -> Graph:
    """A graph without its dead ops and values.

    `is_pure(op)` says of each op whether it may be left out where its results are not used. Ops with blocks
    are asked about too, for what they do beyond their blocks: a `while` that may never end has an effect of
    its own.

    >>> from tensorjit.ir.parser import parse_graph
    >>> before = parse_graph('''
    ... graph f(%n: int, %x: f64) {
    ...   %a: f64 = sin(%x)
    ...   %s: f64, %t: f64 = for(%n, %n, %n, %x, %x)
    ...     do (%i: int, %s.1: f64, %t.1: f64) {
    ...       %b: f64 = add(%s.1, %x)
    ...       %c: f64 = add(%t.1, %a)
    ...       continue(%b, %c)
    ...     }
    ...   return(%s)
    ... }''')
    >>> print(dce(before, lambda op: True))
    graph f(%n: int, %x: f64)
    {
      %s: f64 = for(%n, %n, %n, %x)
        do (%i: int, %s.1: f64) {
          %b: f64 = add(%s.1, %x)
          continue(%b)
        }
      return(%s)
    }
    """
    live = _Liveness(graph, is_pure)
    live.run()
    return rebuild_ops(graph, live.visit)


def _symbols(of: object) -> Iterator[str]:
    """The sizes that a type or an attr depends on."""
    for dim in of.shape if isinstance(of, ArrayType) else (of,):
        if isinstance(dim, DimExpr):
            yield from (s.name for s in symbols_of(dim))


@final
@dataclass(frozen=True, slots=True)
class _Context:
    """A block, the op that it belongs to, and the loop and scope that its terminators leave for."""

    block: Block
    owner: Op | None = None
    is_test: bool = False  # the first block of a `while`
    loop: Op | None = None
    scope: Op | None = None

    def inside(self, op: Op, index: int) -> _Context:
        block, loop = op.blocks[index], op.is_loop
        scope = op if op.name == "scope" else self.scope
        return _Context(block, op, loop and block is op.test, op if loop and block is op.body else self.loop, scope)


@final
class _Liveness:
    """Marks from the effects backwards. The values that stand for one carried variable or one result of a
    branch (the result, the parameters, what each turn and branch hands on) are one *slot*: they live and die
    together."""

    def __init__(self, graph: Graph, is_pure: Callable[[Op], bool]) -> None:
        self.graph = graph
        self.is_pure = is_pure
        self.made_by: dict[Value, tuple[Op, int]] = {}  # result or carried parameter -> op and slot
        self.target: dict[Op, Op] = {}  # a terminator -> the op whose slots it hands on
        self.exits: dict[Op, list[Op]] = {}  # the inverse
        self.children: dict[Op | None, list[Op]] = {None: []}
        # What each op does beyond its results: the ops that a terminator in it leaves for; None: an effect.
        self.escapes: dict[Op, set[Op | None]] = {}
        self.kept: set[Op] = set()
        self.live: set[Value] = set()
        self.live_slots: set[tuple[Op, int]] = set()
        self.todo: list[Value] = []
        self.merged: dict[str, Value] = {}  # a size where blocks join -> the result whose type says it
        self._index()

    def _index(self) -> None:
        order: list[tuple[Op, Op | None]] = []
        stack = [_Context(self.graph.block)]
        while stack:
            context = stack.pop()
            for op in context.block.ops:
                order.append((op, context.owner))
                self.children[context.owner].append(op)
                self._aim(op, context)
                self.made_by.update((v, (op, k)) for k, v in enumerate(op.results))
                if op.is_control:
                    for v in reversed(op.results):
                        self.merged.update(dict.fromkeys(_symbols(v.type), v))
                self.children[op], self.exits[op] = [], []
                for k, block in enumerate(op.blocks):
                    self._params(op, block)
                    stack.append(context.inside(op, k))
        for terminator, target in self.target.items():
            self.exits[target].append(terminator)
        for op, owner in reversed(order):
            self._escape(op)
            if owner is not None:
                self.escapes.setdefault(owner, set()).update(self.escapes[op])
            self.merged.pop(op.attrs.get("symbol", ""), None)
        for known in self.graph.attrs.get("symbols", ()):
            self.merged.pop(known, None)

    def _aim(self, op: Op, context: _Context) -> None:
        row = op.row
        around = {"owner": None if context.is_test else context.owner, "loop": context.loop, "scope": context.scope}
        target = around[row.aims] if row is not None and row.aims is not None else None
        if target is not None and target.is_control:
            self.target[op] = target

    def _params(self, op: Op, block: Block) -> None:
        if op.is_loop:
            carried = block.params[len(block.params) - len(op.results) :]
            self.made_by.update((v, (op, k)) for k, v in enumerate(carried))

    def _escape(self, op: Op) -> None:
        escapes = self.escapes.setdefault(op, set())
        escapes.discard(op)
        row = op.row
        if row is not None and row.aims in ("loop", "scope"):
            escapes.add(self.target[op])
        elif not (row.is_pure if row is not None and op.is_terminator else self.is_pure(op)):
            escapes.add(None)

    def run(self) -> None:
        self._keep_effects(None)
        while self.todo:
            value = self.todo.pop()
            made = self.made_by.get(value)
            if made is None:
                continue
            op, slot = made
            self._keep(op)
            if op.is_control and (op, slot) not in self.live_slots:
                self.live_slots.add((op, slot))
                self._mark_sizes(op.results[slot].type)
                self._mark(op.carried[slot : slot + 1] if op.is_loop else ())
                for terminator in self.exits[op]:
                    self._mark(terminator.operands[slot : slot + 1])

    def _mark(self, values: Sequence[Value]) -> None:
        fresh = [v for v in values if v not in self.live]
        self.live.update(fresh)
        self.todo += fresh

    def _mark_sizes(self, *of: object) -> None:
        self._mark([self.merged[name] for x in of for name in _symbols(x) if name in self.merged])

    def _keep_effects(self, owner: Op | None) -> None:
        """Keep the ops in an op's blocks that do more than make results, and the ops in theirs."""
        stack = [owner]
        while stack:
            inside = stack.pop()
            for op in self.children[inside]:
                all_of_it = inside is not None and not inside.is_control
                if (all_of_it or self.escapes[op]) and op not in self.kept:
                    self._keep_one(op)
                    stack.append(op)

    def _keep(self, op: Op) -> None:
        if op not in self.kept:
            self._keep_one(op)
            self._keep_effects(op)

    def _keep_one(self, op: Op) -> None:
        self.kept.add(op)
        if self.merged:  # what is known of a size lives as long as the size is looked at, in a check say
            self._mark_sizes(*(r.type for r in op.results if not op.is_control), *(x for a in op.attrs.values() for x in leaves(a)))
        if op.is_loop:
            self._mark(op.lead)
        elif op not in self.target:
            self._mark(op.operands)
        if op.is_loop and op.test is not None and op.test.terminator.name == "yield":
            self._mark(op.test.terminator.operands)

    def visit(self, op: Op, blocks: Sequence[Block]) -> Sequence[Op]:
        if op in self.target:
            return (replace(op, operands=self._slots(self.target[op], op.operands)),)
        if op.is_terminator:
            return (op,)
        if op not in self.kept:
            return ()
        if not op.is_control:
            return (op if not op.blocks else replace(op, blocks=tuple(blocks)),)
        operands = self._slots(op, op.operands) if op.is_loop else op.operands
        if op.is_loop:
            blocks = [Block(self._slots(op, b.params), b.ops) for b in blocks]
        return (replace(op, operands=operands, results=self._slots(op, op.results), blocks=tuple(blocks)),)

    def _slots(self, op: Op, values: Sequence[Value]) -> tuple[Value, ...]:
        """What comes before the carried values, and those of them that live."""
        lead = len(values) - len(op.results)
        return tuple(v for k, v in enumerate(values) if k < lead or (op, k - lead) in self.live_slots)
