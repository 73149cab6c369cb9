"""What traces of one function have in common: paths that part at guards, kept as immutable data.

A run is recorded as a list of :class:`Step` (an op whose operands are numbers of values: the parameters
first, then one for each result) and :class:`Taken` (a guard, and what it found). The numbers along a path
depend on the path alone, so two runs agree where their steps are equal, and part where a guard found another
value. `merge` puts a run into a tree, `to_graph` makes one generic graph of all runs: an `if` at each guard,
and `GuardError` where no run has gone yet.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from types import MappingProxyType
from typing import Any, Literal, final

import numpy as np

from tensorjit.errors import Loc, TracingCheckError
from tensorjit.ir.graph import NO_ATTRS, Block, Builder, Graph, Op, Value
from tensorjit.ir.types import UNKNOWN
from tensorjit.passes.specialise.state import PLAIN, Source
from tensorjit.records import dataclass

Parameters = tuple[tuple[str, str, bool], ...]
# What an argument was: ("leaf", class), ("static", value), ("tuple" or "list", item, ...), ("record", class, item, ...).
Kind = tuple[Any, ...]
Root = tuple[Kind, ...]
Condition = tuple[int, tuple[int, ...], Kind]  # of a parameter, or the item at these indices in it

GUARD_ERROR = "tensorjit.errors.GuardError"
GUARD_MESSAGE = "a call takes a path that no trace has taken"


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One recorded op; `result` is the number of its value, or None."""

    name: str
    operands: tuple[int, ...]
    attrs: tuple[tuple[str, Any], ...] = ()
    result: int | None = None
    droppable: bool = False
    loc: Loc | None = field(default=None, compare=False)

    def same(self, other: Step) -> bool:
        """Whether a run did the same here."""
        return (self.name, self.operands, self.result) == (other.name, other.operands, other.result) and [
            (k, identity(v)) for k, v in self.attrs
        ] == [(k, identity(v)) for k, v in other.attrs]


@final
@dataclass(frozen=True, slots=True)
class Guard:
    """A decision on a value: its truth, or that it equals or is what was found. A `quiet` one asks whether a function is as it was
    made, and is in no graph that is shown."""

    kind: Literal["truth", "equal", "is"]
    value: int
    loc: Loc | None = field(default=None, compare=False)
    quiet: bool = field(default=False, compare=False)


@final
@dataclass(frozen=True, slots=True)
class Taken:
    """A guard, and what it found in this run."""

    guard: Guard
    found: Any


@final
@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Steps up to a guard and what follows for each value found, or up to the return of value `result`."""

    steps: tuple[Step, ...]
    guard: Guard | None = None
    branches: tuple[tuple[Any, Node], ...] = ()
    result: int = -1


@final
@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """One run, as recorded."""

    root: Root
    items: tuple[Step | Taken, ...]
    result: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class TraceTree:
    """The runs of one function. `captures[k]` is where the captured object of `capture {index=k}` is read at
    each call (an array, or a compiled function); `changes` are the places outside of the function that a run set; `identity` says
    that the runs tell objects apart, `handled` that operations stand in a `try`, and `writes` that memory of the caller is
    written."""

    parameters: Parameters
    roots: tuple[tuple[Root, Node], ...] = ()
    captures: tuple[Source, ...] = ()
    changes: tuple[Source, ...] = ()
    identity: bool = False
    handled: bool = False
    writes: bool = False

    @property
    def paths(self) -> int:
        """How many paths have been recorded."""
        return sum(1 for _, node in self.roots for _ in _ends(node))

    def covers(self, root: Root) -> bool:
        """Whether arguments of these kinds have been traced."""
        return any(same_root(known, root) for known, _ in self.roots)

    def add(
        self, path: Path, captures: Sequence[Source], changes: Iterable[Source] = (), handled: bool = False, writes: bool = False
    ) -> TraceTree:
        """The tree with one more path; the same object where the path is known. TracingCheckError where a run
        did something else without a guard in between."""
        roots = list(self.roots)
        for k, (root, node) in enumerate(roots):
            if same_root(root, path.root):
                merged = _merge(node, path)
                if merged is node:
                    return self
                roots[k] = (root, merged)
                break
        else:
            roots.append((path.root, _chain(path.items, path.result)))
        places = {source.key: source for source in (*self.changes, *changes)}
        return replace(
            self,
            roots=tuple(roots),
            captures=tuple(captures),
            changes=tuple(places.values()),
            handled=self.handled or handled,
            writes=self.writes or writes,
        )

    def to_graph(self, name: str, loc: Loc | None = None, kinds: bool = False, quiet: bool = False) -> Graph:
        """All paths as one generic graph. With `kinds`, it checks the classes of all arguments: for callers that
        have not asked `covers`. With `quiet`, it has the quiet guards: to be run."""
        return _Emitter(self, kinds, quiet).graph(name, loc)


def identity(value: Any) -> tuple[Any, ...]:
    """What tells constants apart: 1, 1.0 and True differ, 0.0 and -0.0 too; NaN equals itself.

    >>> identity(1.0) == identity(1), identity(float("nan")) == identity(float("nan"))
    (False, True)
    """
    if isinstance(value, (bool, int, float, complex, str, bytes, np.dtype)):
        return (type(value), repr(value))
    if isinstance(value, tuple):
        return (tuple, *map(identity, value))
    return (type(value), id(value))


def same_root(a: Root, b: Root) -> bool:
    """Whether two calls had arguments of the same kinds."""
    return identity(a) == identity(b)


def _ends(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        top = stack.pop()
        if top.guard is None:
            yield top
        stack.extend(child for _, child in top.branches)


# -- merging ---------------------------------------------------------------------------------------------------


def _chain(items: Sequence[Step | Taken], result: int) -> Node:
    """A path alone."""
    node: Node | None = None
    taken: Taken | None = None
    steps: list[Step] = []
    for item in reversed(items):
        if isinstance(item, Step):
            steps.append(item)
            continue
        node, taken, steps = _link(steps, taken, node, result), item, []
    return _link(steps, taken, node, result)


def _link(steps: list[Step], taken: Taken | None, after: Node | None, result: int) -> Node:
    ordered = tuple(reversed(steps))
    if taken is None or after is None:
        return Node(ordered, result=result)
    return Node(ordered, taken.guard, ((taken.found, after),))


def _merge(node: Node, path: Path) -> Node:
    """The tree below `node` with this path; `node` itself where it is there already."""
    items, at = path.items, 0
    above: list[tuple[Node, int]] = []
    while True:
        end = at + len(node.steps)
        _agree(node.steps, items[at:end])
        at = end
        item = items[at] if at < len(items) else None
        if node.guard is None:
            if item is not None or node.result != path.result:
                raise _differs(None, item)
            return above[0][0] if above else node
        if not isinstance(item, Taken) or item.guard != node.guard:
            raise _differs(node.guard, item)
        at += 1
        known = [k for k, (found, _) in enumerate(node.branches) if _same_found(item.guard, found, item.found)]
        if not known:
            new = _chain(items[at:], path.result)
            branches = (*node.branches, (item.found, new))
            return _rebuilt(above, Node(node.steps, node.guard, branches))
        above.append((node, known[0]))
        node = node.branches[known[0]][1]


def _same_found(guard: Guard, a: Any, b: Any) -> bool:
    return a is b if guard.kind == "is" else identity(a) == identity(b)


def _rebuilt(above: Sequence[tuple[Node, int]], node: Node) -> Node:
    for parent, k in reversed(above):
        branches = list(parent.branches)
        branches[k] = (branches[k][0], node)
        node = Node(parent.steps, parent.guard, tuple(branches))
    return node


def _agree(known: Sequence[Step], seen: Sequence[Step | Taken]) -> None:
    for k, step in enumerate(known):
        other = seen[k] if k < len(seen) else None
        if not isinstance(other, Step) or not step.same(other):
            raise _differs(step, other)


def _differs(known: Step | Guard | None, seen: Step | Taken | None) -> TracingCheckError:
    return TracingCheckError(
        "the traced function did not do the same twice, and no value of the trace decided it: "
        "it may use random numbers, the time, or state outside of it\n"
        f"  one run:     {_described(known)}\n  another run: {_described(seen)}"
    )


def _described(item: Step | Guard | Taken | None) -> str:
    if item is None:
        return "return"
    loc = item.guard.loc if isinstance(item, Taken) else item.loc
    place = "" if loc is None else f"  ({loc.filename}:{loc.lineno}: {loc.line.strip()})"
    if isinstance(item, Step):
        attrs = ", ".join(f"{k}={v!r}" for k, v in item.attrs)
        return f"{item.name}({', '.join(f'%{k}' for k in item.operands)}) {{{attrs}}}{place}"
    found = f" -> {item.found!r}" if isinstance(item, Taken) else ""
    guard = item.guard if isinstance(item, Taken) else item
    return f"guard of %{guard.value}{found}{place}"


# -- the graph -------------------------------------------------------------------------------------------------


@final
class _Emitter:
    """Makes the graph of a tree."""

    def __init__(self, tree: TraceTree, kinds: bool, quiet: bool) -> None:
        self.tree = tree
        self.kinds, self.quiet = kinds, quiet
        self.constants = {id(s.container): k for k, s in enumerate(tree.captures) if s.kind == "constant"}
        self.params = tuple(Value(name=name) for name, _, _ in tree.parameters)
        self.kept: dict[int, tuple[Step, ...]] = {}  # by the id of a node: its steps that something needs

    def graph(self, name: str, loc: Loc | None) -> Graph:
        b = Builder(self.params)
        b.loc = loc
        closed = False
        for root, node in self.tree.roots:
            conditions = self._conditions(root)
            closed = not conditions
            self._dispatch(b, conditions, node)
            if closed:
                break
        if not closed:
            _fail(b)
        handled = {"handled": True} if self.tree.handled else {}
        attrs = MappingProxyType({"parameters": self.tree.parameters, "doc": None, **handled})
        return Graph(name, b.block(), attrs, loc)

    def _is_passed(self, node: Node) -> bool:
        """Whether the guard at the end of a node is not shown."""
        return node.guard is not None and node.guard.quiet and not self.quiet and len(node.branches) == 1

    def _kept(self, root: Node) -> dict[int, tuple[Step, ...]]:
        """The steps of each node, by its id, whose values are needed there or further down. A number means one value on one path
        and another on the next: what a path needs is asked of that path alone, or an op would be kept there without its operands."""
        nodes = [root]
        for node in nodes:
            nodes.extend(child for _, child in node.branches)
        needed: dict[int, set[int | None]] = {}
        kept: dict[int, tuple[Step, ...]] = {}
        for node in reversed(nodes):  # those below come before it
            used: set[int | None] = set().union(*(needed.pop(id(child)) for _, child in node.branches))
            if not self._is_passed(node):
                used.add(node.result if node.guard is None else node.guard.value)
            steps = []
            for step in reversed(node.steps):
                if not step.droppable or step.result in used:
                    used.discard(step.result)
                    used.update(step.operands)
                    steps.append(step)
            needed[id(node)], kept[id(node)] = used, tuple(reversed(steps))
        return kept

    def _conditions(self, root: Root) -> list[Condition]:
        """What must hold of the arguments."""
        others = [other for other, _ in self.tree.roots if other is not root]
        found: list[Condition] = []
        for k, kind in enumerate(root):
            found += _kind_conditions(k, (), kind, [o[k] for o in others], self.kinds)
        return found

    def _dispatch(self, b: Builder, conditions: Sequence[Condition], node: Node) -> None:
        if not conditions:
            self.kept = self._kept(node)
            self._node(b, node, dict(enumerate(self.params)))
            return
        (k, indices, kind), *rest = conditions
        item = self.params[k]
        for index in indices:
            item = b.add("subscript", (item, _const(b, index)))
        inner = Builder()
        inner.loc = b.loc
        self._dispatch(inner, rest, node)
        _branch(b, self._holds(b, item, kind), inner.block(("yield", ())), Block((), (Op("yield"),)))

    def _holds(self, b: Builder, value: Value, kind: Kind) -> Value:
        """The condition that an argument is of this kind."""
        if kind[0] == "leaf":
            return _is(b, _type_of(b, value), _class(b, kind[1]))
        if kind[0] == "static":
            return self._is_static(b, value, kind[1])
        if kind[0] == "record":
            return self._is_object(b, _type_of(b, value), kind[1])
        length = b.add("call", (_numpy(b, "builtins.len"), value), attrs=_CALL)
        return b.add("compare", (length, _const(b, len(kind) - 1)), attrs={"op": "=="})

    def _is_static(self, b: Builder, value: Value, expected: Any) -> Value:
        if isinstance(expected, bool):
            truth = b.add("truth", (value,))
            return truth if expected else b.add("unary", (truth,), attrs={"op": "not"})
        if isinstance(expected, (int, str, bytes, np.dtype)):
            return b.add("compare", (value, _constant(b, expected)), attrs={"op": "=="})
        if expected is None or expected is Ellipsis:
            return _is(b, value, _const(b, expected))
        if isinstance(expected, type) and expected.__module__ in ("numpy", "builtins"):
            return _is(b, value, _class(b, expected))
        return self._is_object(b, value, expected)

    def _is_object(self, b: Builder, value: Value, expected: Any) -> Value:
        if type(expected) in PLAIN:
            return _is(b, value, _const(b, expected))
        if isinstance(expected, type) and getattr(_MODULES.get(expected.__module__), expected.__qualname__, None) is expected:
            return _is(b, value, _class(b, expected))
        return _is(b, value, b.add("capture", attrs=self._capture(self.constants[id(expected)])))

    def _capture(self, index: int) -> Mapping[str, Any]:
        """With what it reads, for people."""
        return {"index": index, "of": self.tree.captures[index].shown}

    def _node(self, b: Builder, node: Node, env: dict[int, Value]) -> None:
        """The steps of a node and all that follows; ends the block."""
        while True:
            for step in self.kept[id(node)]:
                self._step(b, step, env)
            guard = node.guard
            if guard is None:
                b.add_multi("return", (env[node.result],))
                return
            b.loc = guard.loc or b.loc
            if len(node.branches) > 1:
                self._branches(b, guard, node.branches, env)
                return
            passed, ((found, node),) = self._is_passed(node), node.branches
            if passed:
                continue
            other = Builder()
            other.loc = b.loc
            _fail(other)
            goes, fails = Block((), (Op("yield", loc=b.loc),)), other.block()
            condition, inverted = self._condition(b, guard, env[guard.value], found)
            _branch(b, condition, *((fails, goes) if inverted else (goes, fails)))

    def _condition(self, b: Builder, guard: Guard, value: Value, found: Any) -> tuple[Value, bool]:
        """The condition that a guard finds the same again, and whether it is to be inverted."""
        if guard.kind == "is":
            return b.add("truth", (self._is_object(b, value, found),)), False
        return _condition(b, guard, value, found)

    def _branches(self, b: Builder, guard: Guard, branches: Sequence[tuple[Any, Node]], env: dict[int, Value]) -> None:
        (found, node), *rest = branches
        condition, inverted = self._condition(b, guard, env[guard.value], found)
        blocks = []
        for last in (False, True):
            inner = Builder()
            inner.loc = b.loc
            if not last:
                self._node(inner, node, dict(env))
            elif len(rest) == 1 and guard.kind == "truth":
                self._node(inner, rest[0][1], dict(env))
            elif rest:
                self._branches(inner, guard, rest, env)
            else:
                _fail(inner)
            blocks.append(inner.block())
        _branch(b, condition, *(reversed(blocks) if inverted else blocks))
        b.add_multi("raise", (), (), {"unreachable": True})

    def _step(self, b: Builder, step: Step, env: dict[int, Value]) -> None:
        operands = tuple(env[k] for k in step.operands)
        types = () if step.result is None else (UNKNOWN,)
        attrs = dict(step.attrs)
        if step.name == "capture":
            attrs |= self._capture(attrs["index"])
        results = b.add_multi(step.name, operands, types, attrs, loc=step.loc)
        if step.result is not None:
            env[step.result] = results[0]


def _kind_conditions(k: int, indices: tuple[int, ...], kind: Kind, others: Sequence[Kind], always: bool) -> list[Condition]:
    typed: list[Condition] = []
    expected = _python_class(kind)
    if expected is not None and (always or any(_python_class(o) is not expected for o in others)):
        typed = [(k, indices, ("leaf", expected))]  # before its value: 2 is as true as True
    if kind[0] == "leaf":
        return typed
    if kind[0] == "static":
        return [*typed, (k, indices, kind)]
    record = kind[0] == "record"
    found = [*(() if record else typed), *([(k, indices, kind)] if typed or not record else ())]
    start = 2 if record else 1
    alike = [o for o in others if o[0] == kind[0] and len(o) == len(kind) and not (record and o[1] is not kind[1])]
    for j, item in enumerate(kind[start:]):
        found += _kind_conditions(k, (*indices, j), item, [o[j + start] for o in alike], always)
    return found


def _python_class(kind: Kind) -> type | None:
    """The class that arguments of a kind have; None where the kind itself says enough."""
    if kind[0] in ("leaf", "record"):
        return kind[1]  # type: ignore[no-any-return]
    if kind[0] == "static":
        return type(kind[1]) if isinstance(kind[1], np.dtype) or type(kind[1]) in (bool, str, bytes) else None
    return tuple if kind[0] == "tuple" else list


def _condition(b: Builder, guard: Guard, value: Value, found: Any) -> tuple[Value, bool]:
    """Of a truth or an equality."""
    if guard.kind == "truth":
        return b.add("truth", (value,)), not found
    if isinstance(found, float) and math.isnan(found):
        return b.add("compare", (value, value), attrs={"op": "!="}), False
    if isinstance(found, bool):
        return b.add("truth", (value,)), not found
    if found is None:
        return b.add("truth", (_is(b, value, _const(b, found)),)), False
    equal = b.add("compare", (value, _constant(b, found)), attrs={"op": "=="})
    if isinstance(found, float) and found == 0.0:  # 0.0 == -0.0, but 1 / x tells them apart
        sign = b.add("call", (_numpy(b, "numpy.signbit"), value), attrs=_CALL)
        sign = b.add("compare", (sign, _const(b, math.copysign(1.0, found) < 0)), attrs={"op": "=="})
        equal = b.add("binary", (equal, sign), attrs={"op": "&"})
    return b.add("truth", (equal,)), False


_MODULES: Mapping[str, Any] = {"numpy": np, "builtins": builtins}
_CALL: Mapping[str, Any] = {"keywords": (), "star": ()}


def _const(b: Builder, value: Any) -> Value:
    return b.add("const", attrs={"value": value})


def _constant(b: Builder, value: Any) -> Value:
    if not isinstance(value, np.dtype):
        return _const(b, value)
    return b.add("call", (_numpy(b, "numpy.dtype"), _const(b, value.str)), attrs=_CALL)


def _numpy(b: Builder, name: str) -> Value:
    return b.add("numpy", attrs={"name": name})


def _class(b: Builder, kind: Any) -> Value:
    return _numpy(b, f"{kind.__module__}.{kind.__qualname__}")


def _type_of(b: Builder, value: Value) -> Value:
    return b.add("call", (_numpy(b, "builtins.type"), value), attrs=_CALL)


def _is(b: Builder, value: Value, other: Value) -> Value:
    return b.add("compare", (value, other), attrs={"op": "is"})


def _branch(b: Builder, condition: Value, then: Block, other: Block) -> None:
    b.add_multi("if", (condition,), (), NO_ATTRS, (then, other))


def _fail(b: Builder) -> None:
    error = b.add("call", (_numpy(b, GUARD_ERROR), _const(b, GUARD_MESSAGE)), attrs=_CALL)
    b.add_multi("raise", (error,))
