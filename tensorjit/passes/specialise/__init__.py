"""specialise: a generic graph and a signature -> a typed graph, by abstract interpretation.

before (what script parsed, every value of type ?)::

    %c = compare(%x, %zero) {op=">"}
    %y = if(%c) { yield %x } { yield %zero }

after, for an array of rank 1::

    %c: bool[n] = greater(%x, %zero) {loop=f64,f64->bool}
    check() {left=n, right=1, exception="ValueError", message="The truth value of ..."}

It runs the graph on abstract values. `control` runs a block; an op of it goes to its handler in one of two tables: `FLOW` (branches,
loops, calls: their paths may go on apart) and `HANDLERS` (`basics`: all other ops). docs/architecture.md names the modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType, MappingProxyType
from typing import Any, final

from tensorjit.errors import Problem, UnsupportedError, internal_errors_told
from tensorjit.ir.graph import Block, Graph, Op, Value
from tensorjit.ir.signature import (
    ArraySig,
    DefaultSig,
    ParamSig,
    Place,
    Signature,
    StaticSig,
    TupleSig,
    array_types,
    flat,
)
from tensorjit.ir.types import ArrayType
from tensorjit.ops.abstract import Abstract, Sequence_, Unbound, of
from tensorjit.ops.typed import Refusal
from tensorjit.passes.alias import find_aliases
from tensorjit.passes.specialise.basics import HANDLERS
from tensorjit.passes.specialise.branches import if_, narrow
from tensorjit.passes.specialise.calls import Traced, call
from tensorjit.passes.specialise.control import leave, run
from tensorjit.passes.specialise.loops import for_, while_
from tensorjit.passes.specialise.state import (
    ENDED,
    Flow,
    Frame,
    Guard,
    Implicit,
    Library,
    Names,
    Outcome,
    Source,
    Specialiser,
)
from tensorjit.records import dataclass

__all__ = [
    "Guard",
    "Implicit",
    "Library",
    "Names",
    "NeedsStatic",
    "Source",
    "Specialised",
    "Traced",
    "specialise",
]

FLOW: Mapping[str, Flow] = {"if": if_, "for": for_, "while": while_, "call": call, "narrow": narrow}


class NeedsStatic(UnsupportedError):
    """A value that must be known while compiling (an axis, say) is not: its argument may be made static."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Specialised:
    """A typed graph and what it relies on. `leaves[k]` is the index among the arguments' leaves of graph param k; the params after
    those are the captured arrays of `implicit`. `written` are the params whose memory the graph may write; `equal` are the pairs
    of their dimensions that it takes to be as long, beside those of the signature."""

    graph: Graph
    leaves: tuple[int, ...]
    guards: tuple[Guard, ...]
    implicit: tuple[Implicit, ...]
    written: frozenset[int]
    equal: tuple[tuple[Place, Place], ...] = ()

    def lengths_hold(self, values: Sequence[Any]) -> bool:
        """Whether arguments for the params are as long as each other where the graph takes them to be."""
        return all(values[a].shape[i] == values[b].shape[j] for (a, i), (b, j) in self.equal)


def specialise(
    generic: Graph,
    names: Names,
    signature: Signature,
    defaults: Sequence[Any],
    library: Library,
    parse: Callable[[FunctionType], Graph],
) -> Specialised:
    """The typed graph of one signature.

    `defaults[k]` is the value of parameter k where its signature is a DefaultSig, or its Source. Raises UnsupportedError or
    TypeInferenceError with every problem of the function.
    """
    s = Specialiser(library, parse, HANDLERS, FLOW)
    values, leaves = _parameters(s, generic, signature, defaults)
    frame = Frame(names, dict(zip(generic.params, values, strict=True)))
    s.entered.append(generic.block)
    s.b.builder.loc = generic.loc
    with internal_errors_told(generic.name, lambda: s.b.builder.loc):
        try:
            if names.owner is not None:
                s.unchanged(names.owner, names.code)
            for param, value, place in zip(generic.params, values, defaults, strict=True):
                if isinstance(value, Unbound):  # to its default, which stands outside as what is captured does
                    frame.env[param] = s.default(place, value.name)
            outcome = run(s, generic.block.ops, 0, frame, lambda o, f: _finish(s, o, f))
            _finish(s, outcome, frame)
        except Refusal as refusal:
            s.problem(refusal)
        except RecursionError:
            s.problem(Refusal(Problem("this function is nested too deeply", generic.loc, "split it into several")))
    if s.problems:
        raise (NeedsStatic if s.needs_static else UnsupportedError)(s.problems)
    implicit = tuple(s.implicit.values())
    params = tuple(s.params)
    block = Block(params, tuple(s.b.builder.ops))
    attrs = {
        "symbols": MappingProxyType(dict(s.lengths.symbols)),
        "disjoint": _pairs(signature.disjoint, leaves),
        "identical": _pairs(signature.identical, leaves),
        "unaligned": _unaligned(signature, leaves),
        **({"handled": True} if generic.attrs.get("handled") else {}),
    }
    graph = Graph(generic.name, block, MappingProxyType(attrs), generic.loc)
    _check_copies(graph)
    _check_masks(graph)
    return Specialised(graph, tuple(leaves), tuple(s.guards.values()), implicit, written(graph), tuple(s.lengths.equal))


def _finish(s: Specialiser, outcome: Outcome, frame: Frame) -> Outcome:
    if outcome.kind == "ended":
        return outcome
    try:
        return leave(s, outcome, frame)
    except Refusal as refusal:
        s.problem(refusal)
        s.b.effect("unreachable")
        return ENDED


def _parameters(s: Specialiser, generic: Graph, signature: Signature, defaults: Sequence[Any]) -> tuple[list[Abstract], list[int]]:
    """The abstract value of each parameter; the dynamic leaves become params of the typed graph."""
    parameters = [name for name, *_ in generic.attrs["parameters"]]
    leaf_names = _leaf_names(parameters, signature.params)
    types, places = array_types(signature, leaf_names)
    leaves: list[int] = []
    index_of: dict[int, int] = {}
    counter = iter(range(len(leaf_names)))

    def make(sig: ParamSig, k: int) -> Abstract:
        if isinstance(sig, TupleSig):
            made = Sequence_(tuple(make(i, k) for i in sig.items), sig.is_list)
            if sig.is_list:
                s.lists.add(made)
            if sig.record is not None:
                s.records[made] = sig.record
            return made
        leaf = next(counter)
        if isinstance(sig, DefaultSig):
            return Unbound(parameters[k]) if isinstance(defaults[k], Source) else of(defaults[k])
        if isinstance(sig, StaticSig):
            return of(sig.value)
        value = Value(types[leaf] if isinstance(sig, ArraySig) else sig.type, leaf_names[leaf])
        if isinstance(sig, ArraySig) and leaf in signature.shapes:
            s.lengths.add(len(leaves), signature.shapes[leaf], types[leaf].shape)
        index_of[leaf] = len(leaves)
        s.params[value] = len(leaves)
        s.b.arguments.add(value)
        leaves.append(leaf)
        return value

    values = [make(sig, k) for k, sig in enumerate(signature.params)]
    s.leaves = len(leaves)
    s.lengths.symbols.update({name: (index_of[leaf], axis) for name, (leaf, axis) in places.items()})
    return values, leaves


def _leaf_names(parameters: Sequence[str], params: Iterable[ParamSig]) -> list[str]:
    names: list[str] = []
    for name, sig in zip(parameters, params, strict=True):
        count = len(list(flat([sig])))
        names += [name] if not isinstance(sig, TupleSig) else [f"{name}{k}" for k in range(count)]
    return names


def _pairs(pairs: Iterable[tuple[int, int]], leaves: Sequence[int]) -> tuple[tuple[int, int], ...]:
    index = {leaf: k for k, leaf in enumerate(leaves)}
    return tuple((index[a], index[b]) for a, b in pairs if a in index and b in index)


def _unaligned(signature: Signature, leaves: Sequence[int]) -> tuple[int, ...]:
    sigs = list(flat(signature.params))
    return tuple(k for k, leaf in enumerate(leaves) if isinstance(sig := sigs[leaf], ArraySig) and not sig.aligned)


def _is_unsure(value: Value) -> bool:
    return isinstance(value.type, ArrayType) and value.type.access == "unsure"


def _check_copies(graph: Graph) -> None:
    """Refuse a program that writes to an array of which a copy was made where NumPy, for some layouts, gives a view: the copy would
    not see the write."""
    ops = list(graph.walk())
    unsure = {op.operands[0] for op in ops if op.name == "reshape" and _is_unsure(op.result) and not _is_unsure(op.operands[0])}
    if not unsure:
        return
    aliases = find_aliases(graph)
    stored = [op.operands[0] for op in ops if op.name == "store"]
    for copy in ops:
        if unsure.intersection(copy.results) and any(aliases.may_alias(copy.operands[0], target) for target in stored):
            text = "an array is written of which a reshape was taken while its layout is not contiguous: NumPy gives a view or a copy"
            raise UnsupportedError([Problem(text, copy.loc, "copy it first: x.copy().reshape(...)")])


def _check_masks(graph: Graph) -> None:
    """Refuse a write through a mask where NumPy would look at what it has written already: in the mask, or in what it copies."""
    ops = list(graph.walk())
    stores = [op for op in ops if op.attrs.get("masked")]
    if not stores:
        return
    aliases = find_aliases(graph)
    defs = {result: op for op in ops for result in op.results}
    for store in stores:
        target, value = store.operands
        while defs[value].name in ("cast", "view", "load"):
            (value,) = defs[value].operands
        mask, source, _ = defs[value].operands
        if aliases.may_alias(mask, target) and not aliases.same_elements(mask, target):
            raise UnsupportedError([_overlapping("a mask", "x[mask.copy()] = …, where=mask.copy()", store)])
        row = isinstance(target.type, ArrayType) and target.type.rank == 1
        if row and aliases.may_alias(source, target) and not aliases.walks_alike(source, target):
            raise UnsupportedError([_overlapping("a source", "np.copyto(target, source.copy(), where=mask)", store)])


def _overlapping(what: str, hint: str, store: Op) -> Problem:
    text = f"{what} that may overlap the array which is written through a mask: NumPy would see what it has written already"
    return Problem(text, store.loc, f"copy it first: {hint}")


def written(graph: Graph) -> frozenset[int]:
    """The params whose memory may be written: all array params where the target of a store cannot be traced to one."""
    source: dict[Value, Value] = {}
    fresh: set[Value] = set()
    targets: list[Value] = []
    for op in graph.walk():
        if op.name in ("view", "reshape", "part"):
            source[op.result] = op.operands[0]
        elif op.results and not op.blocks:
            fresh.update(op.results)
        if op.name == "store":
            targets.append(op.operands[0])
    index = {v: k for k, v in enumerate(graph.params)}
    found: set[int] = set()
    for target in targets:
        while target in source:
            target = source[target]
        if target in index:
            found.add(index[target])
        elif target not in fresh:  # joined from several: any of them
            found.update(k for v, k in index.items() if isinstance(v.type, ArrayType))
    return frozenset(found)
