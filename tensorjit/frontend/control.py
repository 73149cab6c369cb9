"""`if`, `for` and `while` as ops: what the branches or turns assign becomes results and carried
parameters."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import final

from tensorjit.frontend.lowering import Located, Loop, Lowering, hint_of
from tensorjit.ir.graph import Block, Builder, Value
from tensorjit.ir.types import UNKNOWN
from tensorjit.records import dataclass


@final
@dataclass(slots=True, eq=False)
class _Branch:
    builder: Builder
    value: Value | None
    after: list[Value | None]


def branches(
    fn: Lowering,
    condition: Value,
    keys: Sequence[str],
    bodies: Sequence[Callable[[], Value | None]],
    node: Located,
    hint: str = "",
) -> Value | None:
    """An `if` of two bodies that may rebind `keys`; as an expression, each body gives a value and so does the
    whole."""
    before = [fn.env.get(key) for key in keys]
    done: list[_Branch] = []
    outer = fn.builder
    for body in bodies:
        fn.open((), node)
        value = body()
        done.append(_Branch(fn.builder, value, [fn.env.get(key) for key in keys]))
        fn.builder = outer
        fn.block_depth -= 1
        fn.restore(keys, before)
    live = [b for b in done if not b.builder.terminated]
    changed = [i for i in range(len(keys)) if any(b.after[i] is not before[i] for b in live)]
    joined = [keys[i] for i in changed]
    doubts = [False] * len(changed)
    for branch in live:
        fn.builder = branch.builder
        operands = [branch.value] if branch.value is not None else []
        for j, i in enumerate(changed):
            value = branch.after[i] or fn.unbound(keys[i], node)
            doubts[j] |= value in fn.maybe_unbound
            operands.append(value)
        fn.effect("yield", operands, node)
    fn.builder = outer
    blocks = [b.builder.block() for b in done]
    expression = bool(live) and live[0].value is not None
    hints = ([hint] if expression else []) + [hint_of(key) for key in joined]
    results = outer.add_multi("if", (condition,), (UNKNOWN,) * len(hints), blocks=blocks, hints=hints, loc=fn.loc(node))
    fn.rebind(joined, results[expression:], doubts)
    if not live:
        unreachable(fn, node)
    return results[0] if expression else None


def unreachable(fn: Lowering, node: Located) -> None:
    """Ends a block that control never gets to the end of."""
    fn.effect("raise", (), node, {"unreachable": True})


def for_loop(
    fn: Lowering,
    iterable: Value,
    keys: Sequence[str],
    body: Callable[[Value], None],
    orelse: Callable[[], None] | None,
    node: Located,
    item_hint: str = "",
) -> None:
    """A `for` over `iterable` that carries `keys`; `body` is given the item."""
    init = fn.values(keys, node)
    doubts = [value in fn.maybe_unbound for value in init]
    item = Value(name=item_hint)
    loop = Loop(tuple(keys))

    def turn() -> None:
        body(item)

    main = loop_block(fn, loop, doubts, turn, "continue", node, (item,), inside=True)
    blocks = [main] if orelse is None else [main, loop_block(fn, loop, doubts, orelse, "yield", node)]
    ends = orelse is not None and blocks[1].terminator.name != "yield"
    finish_loop(fn, "for", (iterable, *init), loop, doubts, blocks, node, ends)


def while_loop(
    fn: Lowering,
    test: ast.expr,
    keys: Sequence[str],
    body: Callable[[], None],
    orelse: Callable[[], None] | None,
    node: Located,
) -> None:
    """A `while` that carries `keys`."""
    init = fn.values(keys, node)
    doubts = [value in fn.maybe_unbound for value in init]
    loop = Loop(tuple(keys))

    def condition() -> None:
        fn.effect("yield", (fn.truth(test),), test)

    head = loop_block(fn, loop, doubts, condition, "yield", node)
    main = loop_block(fn, loop, doubts, body, "continue", node, inside=True)
    blocks = [head, main]
    if orelse is not None:
        blocks.append(loop_block(fn, loop, doubts, orelse, "yield", node))
    forever = isinstance(test, ast.Constant) and bool(test.value)
    ends = forever or (orelse is not None and blocks[2].terminator.name != "yield")
    finish_loop(fn, "while", init, loop, doubts, blocks, node, ends)


def loop_block(
    fn: Lowering,
    loop: Loop,
    doubts: Sequence[bool],
    body: Callable[[], None],
    terminator: str,
    node: Located,
    first: tuple[Value, ...] = (),
    inside: bool = False,
) -> Block:
    """One block of a loop, with the carried values as its parameters; `inside`: break and continue mean this
    loop."""
    params = tuple(Value(name=hint_of(key)) for key in loop.keys)
    before = [fn.env.get(key) for key in loop.keys]
    outer = fn.open((*first, *params), node)
    fn.rebind(loop.keys, params, doubts)
    if inside:
        fn.loops.append(loop)
    body()
    if inside:
        fn.loops.pop()
    if not fn.builder.terminated:
        fn.effect(terminator, fn.values(loop.keys, node), node)
    fn.restore(loop.keys, before)
    return fn.close(outer)


def finish_loop(
    fn: Lowering,
    op: str,
    operands: Sequence[Value],
    loop: Loop,
    doubts: Sequence[bool],
    blocks: Sequence[Block],
    node: Located,
    ends: bool,
) -> None:
    """Add the loop's op; `ends`: nothing but a `break` leads out of it."""
    hints = [hint_of(key) for key in loop.keys]
    types = (UNKNOWN,) * len(hints)
    results = fn.builder.add_multi(op, operands, types, blocks=blocks, hints=hints, loc=fn.loc(node))
    fn.rebind(loop.keys, results, doubts)
    if ends and not loop.has_break:
        unreachable(fn, node)


def leave_loop(fn: Lowering, terminator: str, node: Located) -> None:
    """`break` or `continue` with the carried values as they are here."""
    loop = fn.loops[-1]
    if terminator == "break":
        loop.has_break = True
    fn.effect(terminator, fn.values(loop.keys, node), node)
