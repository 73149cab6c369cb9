"""Drop what joins carry for nobody: results of `if`, carried values of loops, and pure leaves that nothing
reads."""

from __future__ import annotations

from collections.abc import Sequence

from tensorjit.ir.graph import Block, Op, Value


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
        aims = op.row.aims if op.row is not None else None
        if aims == "owner" and results:
            for result, value in zip(results, op.operands, strict=True):
                flows.setdefault(result, []).append(value)
        elif aims == "loop" and loop is not None:
            for homes, value in zip(loop, op.operands, strict=True):
                flows.setdefault(homes[0], []).append(value)
        elif op.is_loop:
            _loop_flows(op, flows, roots, loop)
        elif op.is_control:
            roots.extend(op.operands)
            for inner in op.blocks:
                _flows(inner, flows, roots, op.results, loop)
        else:
            roots.extend(op.operands)


def _loop_flows(op: Op, flows: dict[Value, list[Value]], roots: list[Value], outer: Sequence[list[Value]] | None) -> None:
    count = len(op.results)
    first = len(op.operands) - count
    roots.extend(op.lead)
    carried = [[b.params[len(b.params) - count + k] for b in op.blocks] for k in range(count)]
    homes = [[op.results[k], *carried[k]] for k in range(count)]
    for k, group in enumerate(homes):
        # A loop's parameters and its result stand or fall together.
        for i, home in enumerate(group):
            flows.setdefault(home, []).append(group[i - 1])
        flows[group[0]].append(op.operands[first + k])
    for inner in op.blocks:
        if inner is op.body:
            _flows(inner, flows, roots, (), homes)
        elif inner is op.test:
            _flows(inner, flows, roots, (), None)
        else:
            _flows(inner, flows, roots, op.results, outer)


def _rebuild(block: Block, live: set[Value], kept: Sequence[int] | None, loop: Sequence[int] | None) -> Block:
    """The block with only live results; `kept` and `loop` are the positions that `yield` and
    `continue`/`break` keep."""
    ops: list[Op] = []
    for op in block.ops:
        row = op.row
        if row is not None and row.operands == 0 and row.is_pure and op.results and op.results[0] not in live and not op.blocks:
            continue
        aims = row.aims if row is not None else None
        if aims == "owner" and kept is not None:
            op = _with_operands(op, kept)
        elif aims == "loop" and loop is not None:
            op = _with_operands(op, loop)
        elif op.is_loop:
            op = _rebuild_loop(op, live, loop)
        elif op.is_control:
            op = _rebuild_if(op, live, loop)
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
    blocks: list[Block] = []
    for inner in op.blocks:
        if inner is op.body:
            rebuilt = _rebuild(inner, live, None, kept)
        elif inner is op.test:
            rebuilt = _rebuild(inner, live, None, None)
        else:
            rebuilt = _rebuild(inner, live, kept, outer)
        lead = len(inner.params) - count
        params = (*inner.params[:lead], *(inner.params[lead + k] for k in kept))
        blocks.append(Block(params, rebuilt.ops))
    operands = (*op.operands[:first], *(op.operands[first + k] for k in kept))
    return Op(op.name, operands, tuple(op.results[k] for k in kept), op.attrs, tuple(blocks), op.loc)
