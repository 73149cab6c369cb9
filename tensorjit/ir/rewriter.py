"""Building a new graph from an old one. Nothing here recurses, however deep the blocks nest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from operator import is_
from typing import final

from tensorjit.ir.graph import TERMINATORS, Block, Builder, Graph, Op, Value
from tensorjit.records import dataclass


def walk_values(graph: Graph) -> Iterator[Value]:
    """Every value that a graph defines, in the order of its text."""
    yield from graph.params
    stack: list[Iterator[Op | Block]] = [iter(graph.block.ops)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif isinstance(item, Op):
            yield from item.results
            stack.append(iter(item.blocks))
        else:
            yield from item.params
            stack.append(iter(item.ops))


def count_uses(graph: Graph) -> Counter[Value]:
    """How often each value is an operand, of terminators too.

    >>> x = Value()
    >>> b = Builder([x])
    >>> y = b.add("add", [x, x])
    >>> uses = count_uses(Graph("f", b.block(("return", [y]))))
    >>> uses[x], uses[y]
    (2, 1)
    """
    return Counter(value for op in graph.walk() for value in op.operands)


def replace_uses(graph: Graph, new: Mapping[Value, Value]) -> Graph:
    """The graph with operands replaced. Definitions stay, and what does not change is shared with the old
    graph."""
    return rebuild_ops(graph, lambda op, blocks: (changed(op, [new.get(v, v) for v in op.operands], blocks),))


def changed(op: Op, operands: Sequence[Value], blocks: Sequence[Block]) -> Op:
    """The op with these operands and blocks: itself if they are its own."""
    same = all(map(is_, op.operands, operands)) and all(map(is_, op.blocks, blocks))
    return op if same else replace(op, operands=tuple(operands), blocks=tuple(blocks))


@final
@dataclass(slots=True)
class _Frame:
    """A block being rebuilt: the old ops that are left, the new ones; then the blocks of the op at hand."""

    block: Block
    todo: Iterator[Op]
    builder: Builder
    op: Op | None = None
    blocks: list[Block] = field(default_factory=list)

    @classmethod
    def over(cls, block: Block, params: Sequence[Value]) -> _Frame:
        return cls(block, iter(block.ops), Builder(params))


def rebuild_ops(graph: Graph, visit: Callable[[Op, Sequence[Block]], Sequence[Op]]) -> Graph:
    """A graph with each op replaced by any number of ops, from the innermost blocks outwards.

    `visit` is called with an old op and its new blocks. Values keep their identity: what is left out must
    have no uses left.
    """
    stack = [_Frame.over(graph.block, graph.block.params)]
    while True:
        frame = stack[-1]
        if frame.op is None:
            frame.op, frame.blocks = next(frame.todo, None), []
        op = frame.op
        if op is not None and len(frame.blocks) < len(op.blocks):
            inner = op.blocks[len(frame.blocks)]
            stack.append(_Frame.over(inner, inner.params))
        elif op is not None:
            frame.builder.ops += visit(op, frame.blocks)
            frame.op = None
        else:
            stack.pop()
            block = _kept(frame)
            if not stack:
                return graph if block is graph.block else replace(graph, block=block)
            stack[-1].blocks.append(block)


def _kept(frame: _Frame) -> Block:
    old, new = frame.block.ops, frame.builder.ops
    same = len(old) == len(new) and all(map(is_, old, new))
    return frame.block if same else Block(frame.block.params, tuple(new))


@final
class Rebuild:
    """A copy under construction: `builder` of the block at hand, and `new`, from old values to new ones."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.new: dict[Value, Value] = {}

    def operands(self, op: Op) -> tuple[Value, ...]:
        """The new values of an old op's operands."""
        return tuple(self.new[v] for v in op.operands)

    def copies(self, values: Sequence[Value]) -> tuple[Value, ...]:
        """New values of the same types and names, which stand for old ones from now on."""
        fresh = tuple(Value(v.type, v.name) for v in values)
        self.new.update(zip(values, fresh, strict=True))
        return fresh


def rebuild(graph: Graph, visit_op: Callable[[Op, Rebuild], Sequence[Value] | None]) -> Graph:
    """A copy in which `visit_op` replaces ops.

    It is called with each old op in program order, before the op's blocks. Either it adds ops to
    ``copy.builder`` (with ``copy.operands(op)`` for operands) and returns the new values of the op's
    results, or it returns None, and the op is copied, its blocks being visited in turn. After a terminator
    that it adds, the rest of the block is dropped.

    Doubling where a graph squares:

    >>> x = Value()
    >>> b = Builder([x])
    >>> g = Graph("f", b.block(("return", [b.add("square", [x])])))
    >>> def visit(op, copy):
    ...     return [copy.builder.add("mul", copy.operands(op) * 2)] if op.name == "square" else None
    >>> [op.name for op in rebuild(g, visit).walk()]
    ['mul', 'return']
    """
    copy = Rebuild()
    stack = [_Frame.over(graph.block, copy.copies(graph.params))]
    while True:
        frame = stack[-1]
        copy.builder = frame.builder
        if frame.op is None:
            done = frame.builder.terminated
            frame.op, frame.blocks = None if done else next(frame.todo, None), []
            if frame.op is not None and _visited(frame.op, copy, visit_op):
                frame.op = None
                continue
        op = frame.op
        if op is not None and len(frame.blocks) < len(op.blocks):
            inner = op.blocks[len(frame.blocks)]
            stack.append(_Frame.over(inner, copy.copies(inner.params)))
        elif op is not None:
            operands, results = copy.operands(op), copy.copies(op.results)
            frame.builder.ops.append(Op(op.name, operands, results, op.attrs, tuple(frame.blocks), op.loc))
            frame.op = None
        else:
            stack.pop()
            if not stack:
                return replace(graph, block=frame.builder.block())
            stack[-1].blocks.append(frame.builder.block())


def _visited(op: Op, copy: Rebuild, visit_op: Callable[[Op, Rebuild], Sequence[Value] | None]) -> bool:
    """Whether `visit_op` has seen to the op, so that it is not copied."""
    copy.builder.loc = op.loc
    values = visit_op(op, copy)
    if values is None:
        return False
    if not copy.builder.terminated:
        if op.name in TERMINATORS:
            raise ValueError(f"the terminator {op.name} was replaced by nothing that ends the block")
        copy.new.update(zip(op.results, values, strict=True))
    return True
