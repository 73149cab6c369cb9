"""Loop `else`: rewritten, in the generic graph, into a flag that `break` sets and an `if` after the loop.

before::

    %r = for(%xs, %x) { ... break(%a) ... continue(%b) } else (%e) { ... yield(%c) }

after::

    %no = const() {value=False}
    %e, %flag = for(%xs, %x, %no) { ... break(%a, %yes) ... continue(%b, %f) }
    %r = if(%flag) { yield(%e) } else { ... yield(%c) }
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from tensorjit.ir.graph import NO_ATTRS, Block, Op, Value


def without_else(op: Op) -> tuple[Op, ...] | None:
    """The ops that a loop with an `else` and a `break` stands for, ending in a `yield` of its results; None for other loops."""
    orelse = op.orelse
    if orelse is None or not _breaks(op.body):
        return None
    no, flag = Value(name="broke"), Value(name="broke")
    loop = replace(
        op,
        operands=(*op.operands, no),
        results=(*orelse.params, flag),
        blocks=tuple(_flagged(block, turn=block is op.body) for block in op.own_blocks),
    )
    kept = Block((), (Op("yield", orelse.params, loc=op.loc),))
    choice = Op("if", (flag,), op.results, NO_ATTRS, (kept, Block((), orelse.ops)), op.loc)
    return _constant(no, False), loop, choice, Op("yield", op.results, loc=op.loc)


def _constant(result: Value, value: bool) -> Op:
    return Op("const", (), (result,), MappingProxyType({"value": value}))


def _breaks(block: Block) -> bool:
    return any(o.name == "break" or any(map(_breaks, inside_of(o))) for o in block.ops)


def inside_of(op: Op) -> tuple[Block, ...]:
    """The blocks of an op whose `break` and `continue` are those of the loop around it."""
    return op.blocks[len(op.own_blocks) :]


def _flagged(block: Block, turn: bool) -> Block:
    """A block of the loop with one more param, the flag; in a turn, its jumps hand the flag on."""
    flag, yes = Value(name="broke"), Value(name="broke")
    ops = block.ops
    if turn:
        ops = (_constant(yes, True), *_jumps(block, flag, yes, last=True).ops)
    return Block((*block.params, flag), ops)


def _jumps(block: Block, flag: Value, yes: Value, last: bool = False) -> Block:
    return Block(block.params, tuple(_jump(o, flag, yes, last and o is block.ops[-1]) for o in block.ops))


def _jump(op: Op, flag: Value, yes: Value, last: bool) -> Op:
    if op.name == "break":
        return replace(op, operands=(*op.operands, yes))
    if op.name == "continue" or (last and op.name == "yield"):
        return replace(op, operands=(*op.operands, flag))
    inside = inside_of(op)
    if not inside:
        return op
    kept = op.blocks[: len(op.blocks) - len(inside)]
    return replace(op, blocks=(*kept, *(_jumps(b, flag, yes) for b in inside)))
