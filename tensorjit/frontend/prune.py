"""Drop what joins carry for nobody: results of `if`, carried values of loops, and pure leaves that nothing
reads."""

from __future__ import annotations

from collections.abc import Sequence

from tensorjit.ir.graph import Block, Op, Value

_LEAVES = frozenset({"const", "unbound"})
_LOOPS = frozenset({"for", "while"})


def prune(block: Block) -> Block:
    """The block without the results and carried values that no op reads.

    Before: ``i_after, t_after, s_after = for(xs, i0, t0, s0) {...}; return(s_after)``, where a turn assigns t
    before it reads it. After: ``s_after = for(xs, s0) {...}; return(s_after)``.
    """
    flows: dict[Value, list[Value]] = {}
    roots: list[Value] = []
    _flows(block, flows, roots, (), None)
    live: set[Value] = set()
    while roots:
        value = roots.pop()
        if value not in live:
            live.add(value)
            roots.extend(flows.get(value, ()))
    return _rebuild(block, live, None, None)


def _flows(
    block: Block,
    flows: dict[Value, list[Value]],
    roots: list[Value],
    results: Sequence[Value],
    loop: Sequence[list[Value]] | None,
) -> None:
    """Note for each value which ones flow into it, and in `roots` the values that an op reads.

    `results` is what a `yield` here goes to; `loop` is, for each carried value, its homes (parameters and
    result).
    """
    for op in block.ops:
        if op.name == "yield" and results:
            for result, value in zip(results, op.operands, strict=True):
                flows.setdefault(result, []).append(value)
        elif op.name in ("continue", "break") and loop is not None:
            for homes, value in zip(loop, op.operands, strict=True):
                flows.setdefault(homes[0], []).append(value)
        elif op.name == "if":
            roots.extend(op.operands)
            for inner in op.blocks:
                _flows(inner, flows, roots, op.results, loop)
        elif op.name in _LOOPS:
            _loop_flows(op, flows, roots, loop)
        else:
            roots.extend(op.operands)


def _loop_flows(op: Op, flows: dict[Value, list[Value]], roots: list[Value], outer: Sequence[list[Value]] | None) -> None:
    count = len(op.results)
    first = len(op.operands) - count
    roots.extend(op.operands[:first])
    carried = [[b.params[len(b.params) - count + k] for b in op.blocks] for k in range(count)]
    homes = [[op.results[k], *carried[k]] for k in range(count)]
    for k, group in enumerate(homes):
        # A loop's parameters and its result stand or fall together.
        for i, home in enumerate(group):
            flows.setdefault(home, []).append(group[i - 1])
        flows[group[0]].append(op.operands[first + k])
    main = 0 if op.name == "for" else 1
    for index, inner in enumerate(op.blocks):
        if index == main:
            _flows(inner, flows, roots, (), homes)
        elif index < main:
            _flows(inner, flows, roots, (), None)
        else:
            _flows(inner, flows, roots, op.results, outer)


def _rebuild(block: Block, live: set[Value], kept: Sequence[int] | None, loop: Sequence[int] | None) -> Block:
    """The block with only live results; `kept` and `loop` are the positions that `yield` and
    `continue`/`break` keep."""
    ops: list[Op] = []
    for op in block.ops:
        if op.name in _LEAVES and op.results[0] not in live:
            continue
        if op.name == "yield" and kept is not None:
            op = _with_operands(op, kept)
        elif op.name in ("continue", "break") and loop is not None:
            op = _with_operands(op, loop)
        elif op.name == "if":
            op = _rebuild_if(op, live, loop)
        elif op.name in _LOOPS:
            op = _rebuild_loop(op, live, loop)
        ops.append(op)
    return Block(block.params, tuple(ops))


def _with_operands(op: Op, kept: Sequence[int]) -> Op:
    if len(kept) == len(op.operands):
        return op
    return Op(op.name, tuple(op.operands[k] for k in kept), op.results, op.attrs, op.blocks, op.loc)


def _rebuild_if(op: Op, live: set[Value], loop: Sequence[int] | None) -> Op:
    kept = [k for k, result in enumerate(op.results) if result in live]
    blocks = tuple(_rebuild(inner, live, kept, loop) for inner in op.blocks)
    return Op(op.name, op.operands, tuple(op.results[k] for k in kept), op.attrs, blocks, op.loc)


def _rebuild_loop(op: Op, live: set[Value], outer: Sequence[int] | None) -> Op:
    count = len(op.results)
    first = len(op.operands) - count
    kept = [k for k, result in enumerate(op.results) if result in live]
    main = 0 if op.name == "for" else 1
    blocks: list[Block] = []
    for index, inner in enumerate(op.blocks):
        if index == main:
            rebuilt = _rebuild(inner, live, None, kept)
        elif index < main:
            rebuilt = _rebuild(inner, live, None, None)
        else:
            rebuilt = _rebuild(inner, live, kept, outer)
        lead = len(inner.params) - count
        params = (*inner.params[:lead], *(inner.params[lead + k] for k in kept))
        blocks.append(Block(params, rebuilt.ops))
    operands = (*op.operands[:first], *(op.operands[first + k] for k in kept))
    return Op(op.name, operands, tuple(op.results[k] for k in kept), op.attrs, tuple(blocks), op.loc)
