"""Building a new graph from an old one. Nothing here recurses, however deep the blocks nest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from operator import is_
from typing import final

from tensorjit.ir.graph import Block, Graph, Op, Value
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
    ops: list[Op] = field(default_factory=list)
    op: Op | None = None
    blocks: list[Block] = field(default_factory=list)

    @classmethod
    def over(cls, block: Block) -> _Frame:
        return cls(block, iter(block.ops))


def rebuild_ops(graph: Graph, visit: Callable[[Op, Sequence[Block]], Sequence[Op]]) -> Graph:
    """A graph with each op replaced by any number of ops, from the innermost blocks outwards.

    `visit` is called with an old op and its new blocks. Values keep their identity: what is left out must
    have no uses left. What does not change is shared with the old graph.

    >>> from tensorjit.ir.graph import Builder
    >>> x = Value()
    >>> b = Builder([x])
    >>> graph = Graph("f", b.block(("return", [b.add("square", [x])])))
    >>> def visit(op, blocks):
    ...     return [Op("multiply", op.operands * 2, op.results)] if op.name == "square" else [op]
    >>> [op.name for op in rebuild_ops(graph, visit).walk()]
    ['multiply', 'return']
    """
    stack = [_Frame.over(graph.block)]
    while True:
        frame = stack[-1]
        if frame.op is None:
            frame.op, frame.blocks = next(frame.todo, None), []
        op = frame.op
        if op is not None and len(frame.blocks) < len(op.blocks):
            stack.append(_Frame.over(op.blocks[len(frame.blocks)]))
        elif op is not None:
            frame.ops += visit(op, frame.blocks)
            frame.op = None
        else:
            stack.pop()
            block = _kept(frame)
            if not stack:
                return graph if block is graph.block else replace(graph, block=block)
            stack[-1].blocks.append(block)


def _kept(frame: _Frame) -> Block:
    old, new = frame.block.ops, frame.ops
    same = len(old) == len(new) and all(map(is_, old, new))
    return frame.block if same else Block(frame.block.params, tuple(new))
