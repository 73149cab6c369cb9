"""A generic graph as runnable Python: `.code`.

Four steps. `_Shaper` turns blocks into statements with expression trees: a value used once goes into its use
where no effect would change places. `_Liveness` finds which variables are live together. `_Names` lets values
that are never live together share a variable, first those that a join copies into each other, so that
``s_after = for(xs, s) {...}`` reads ``for x in xs: s = s + x`` again (copy coalescing, after G. Chaitin,
"Register allocation and spilling via graph coloring", 1982). `_Writer` prints.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, final

from tensorjit.ir.graph import TERMINATORS, Block, Graph, Op, Value
from tensorjit.records import dataclass

_LEAVES: Final = frozenset({"const", "global", "free", "numpy", "capture", "unbound"})
_STATEMENTS: Final = frozenset({"set_subscript", "inplace_subscript", "inplace", "list_append", "dict_insert"})
_UPDATES: Final = frozenset({"inplace", "list_append", "dict_insert"})  # the result is the first operand, changed
_NO_EXPRESSION: Final = (
    _STATEMENTS | TERMINATORS - {"yield"} | {"for", "while", "unpack", "import"}
)  # what makes a branch more than an expression
_MAX_TREE = 40  # ops in one printed expression
_HELPERS: Final = frozenset({"bool", "slice", "float", "complex"})  # builtins that the printed text may call

# How tightly an expression binds, loosest first (the Python reference, "Operator precedence").
_LAMBDA, _TERNARY, _OR, _AND, _NOT, _COMPARE, _UNARY, _POWER, _POSTFIX, _ATOM = (
    0,
    1,
    2,
    3,
    4,
    5,
    12,
    13,
    14,
    15,
)
_BINARY: Final[Mapping[str, int]] = {
    "|": 6,
    "^": 7,
    "&": 8,
    "<<": 9,
    ">>": 9,
    "+": 10,
    "-": 10,
    "*": 11,
    "/": 11,
    "//": 11,
    "%": 11,
    "@": 11,
    "**": _POWER,
}
_COMPARE_WORDS: Final[Mapping[str, str]] = {"isnot": "is not", "notin": "not in"}


def python_code(graph: Graph, defaults: Mapping[str, object] | None = None) -> str:
    """The source of a Python function that does what the generic graph does.

    `defaults` gives the values of parameters that have one; those that can be written down go into the
    header. The text runs with the names of the function's module, and ``np``, ``numpy`` and ``math``.

    >>> from tensorjit.ir.graph import Builder
    >>> x = Value(name="x")
    >>> b = Builder([x])
    >>> two = b.add("const", attrs={"value": 2})
    >>> y = b.add("binary", [two, x], attrs={"op": "*"})
    >>> print(python_code(Graph("double", b.block(("return", [y])))), end="")
    def double(x):
        return 2 * x
    """
    name = graph.name if graph.name.isidentifier() and not keyword.iskeyword(graph.name) else "function"
    return "\n".join(_define(graph, name, defaults or {}, {}, frozenset())) + "\n"


# --- statements and trees -----------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
    """An expression: a variable read (`value`), or an op on trees. An `if` has three: condition, then,
    else."""

    value: Value | None = None
    op: Op | None = None
    args: tuple[_Tree, ...] = ()
    form: str = ""  # of an `if`: "and", "or" or "ternary"
    size: int = 1

    def reads(self) -> Iterator[Value]:
        stack = [self]
        while stack:
            top = stack.pop()
            if top.value is not None:
                yield top.value
            stack.extend(top.args)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Stmt:
    """A statement: `kind` is an op's name, or assign, copy; `defs` the variables that it assigns."""

    kind: str
    defs: tuple[Value, ...] = ()
    trees: tuple[_Tree, ...] = ()
    blocks: tuple[list[_Stmt], ...] = ()
    op: Op | None = None

    def reads(self) -> Iterator[Value]:
        for tree in self.trees:
            yield from tree.reads()


def _node(op: Op, args: Sequence[_Tree], form: str = "") -> _Tree:
    return _Tree(None, op, tuple(args), form, 1 + sum(a.size for a in args))


@final
@dataclass(slots=True, eq=False)
class _Frame:
    """A block being shaped: the statements so far, and the values that wait, in order, to go into their one
    use."""

    out: list[_Stmt] = field(default_factory=list)
    pending: list[Value] = field(default_factory=list)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """Where a block's `yield`, `continue` and `break` put their values."""

    results: tuple[Value, ...] | None = None
    carried: tuple[Value, ...] = ()


@final
class _Shaper:
    """Blocks into statements."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.uses: dict[Value, int] = {}
        self.trees: dict[Value, _Tree] = {}
        self.home: dict[Value, Value] = {}  # a loop's parameter -> the loop's result, one variable with it
        self.shortcut: dict[Op, str] = {}  # an `if` that is `and` or `or`
        self.pinned: set[Value] = set()  # variables that nested functions read by name
        self.no_expression: set[Op] = set()
        for op in graph.walk():
            for value in op.operands:
                self.uses[value] = self.uses.get(value, 0) + 1
        self._shortcuts(graph.block)
        self.body = self.block(graph.block, _Target())[0]

    def _shortcuts(self, block: Block) -> None:
        """`if truth(a) {... yield b} {yield a}` is `a and b`: the second use of a does not count."""
        stack = [block]
        while stack:
            ops = stack.pop().ops
            for before, op in zip((None, *ops), ops, strict=False):
                stack.extend(op.blocks)
                if op.name != "if" or len(op.results) != 1 or before is None or before.name != "truth":
                    continue
                if op.operands[0] is not before.result or self.uses[before.result] != 1:
                    continue
                tested = before.operands[0]
                for index, form in ((1, "and"), (0, "or")):
                    (*rest, last) = op.blocks[index].ops
                    if not rest and last.name == "yield" and last.operands == (tested,):
                        self.shortcut[op] = form
                        self.uses[tested] -= 1
                        break

    def tree(self, value: Value) -> _Tree:
        value = self.home.get(value, value)
        return self.trees.get(value) or _Tree(value)

    def block(self, block: Block, target: _Target) -> tuple[list[_Stmt], _Tree | None]:
        """The statements of a block, and the tree of what it yields where `target` has no place for that."""
        frame = _Frame()
        for op in block.ops[:-1]:
            if op.name in _LEAVES:
                self._leaf(frame, op)
            elif op.name == "if":
                self._if(frame, op, target)
            elif op.blocks:
                self._loop(frame, op, target)
            else:
                self._plain(frame, op)
        return frame.out, self._end(frame, block.ops[-1], target)

    def _end(self, frame: _Frame, op: Op, target: _Target) -> _Tree | None:
        args = self._take(frame, op.operands)
        if op.name == "yield" and target.results is None:
            return args[0]
        self._flush(frame)
        if op.name == "yield":
            self._copy(frame, target.results or (), args)
        elif op.name in ("continue", "break"):
            self._copy(frame, target.carried, args)
            frame.out.append(_Stmt(op.name))
        else:
            frame.out.append(_Stmt(op.name, (), tuple(args), op=op))
        return None

    def _copy(self, frame: _Frame, defs: Sequence[Value], trees: Sequence[_Tree]) -> None:
        pairs = [(d, t) for d, t in zip(defs, trees, strict=True) if t.value is not d]
        if pairs:
            frame.out.append(_Stmt("copy", tuple(d for d, _ in pairs), tuple(t for _, t in pairs)))

    def _take(self, frame: _Frame, operands: Sequence[Value]) -> list[_Tree]:
        """Trees of the operands, in order of evaluation: what waits may go in if it stands at the end, in
        that order."""
        waiting = [v for v in operands if v in self.trees and v in frame.pending]
        if waiting:
            tail = frame.pending[-len(waiting) :]
            if all(a is b for a, b in zip(tail, waiting, strict=False)) and len(tail) == len(waiting):
                del frame.pending[-len(waiting) :]
            else:
                self._flush(frame)
        return [self.tree(v) for v in operands]

    def _flush(self, frame: _Frame) -> None:
        for value in frame.pending:
            frame.out.append(_Stmt("assign", (value,), (self.trees.pop(value),)))
        frame.pending.clear()

    def _leaf(self, frame: _Frame, op: Op) -> None:
        value = op.result
        if value.name and op.name != "unbound":
            self._flush(frame)
            frame.out.append(_Stmt("assign", (value,), (_node(op, ()),)))
        elif op.name == "global" and not self.uses.get(value) and op.attrs["name"] not in ("any", "all"):
            self._flush(frame)  # read for nothing, but it may raise NameError
            frame.out.append(_Stmt("assign", (), (_node(op, ()),)))
        else:
            self.trees[value] = _node(op, ())

    def _plain(self, frame: _Frame, op: Op) -> None:
        if op.name == "function":
            self._function(frame, op)
            return
        if op.name == "set_subscript":
            value, container, key = self._take(frame, (op.operands[2], op.operands[0], op.operands[1]))
            args = [container, key, value]
        else:
            args = self._take(frame, op.operands)
        if op.name in _UPDATES and args[0].op is not None and args[0].op.name == "bound":
            args[0] = args[0].args[0]  # the printed update reads the variable first, too
        if op.name in _STATEMENTS or op.name in ("unpack", "import"):
            self._flush(frame)
            frame.out.append(_Stmt(op.name, op.results, tuple(args), op=op))
        else:
            self._value(frame, op.result, _node(op, args), named=bool(op.result.name) and op.name != "bound")

    def _value(self, frame: _Frame, value: Value, tree: _Tree, named: bool) -> None:
        """A computed value waits for its use, or gets a variable, or is a statement of its own."""
        uses = self.uses.get(value, 0)
        if uses == 1 and not named and tree.size <= _MAX_TREE:
            self.trees[value] = tree
            frame.pending.append(value)
            return
        self._flush(frame)
        frame.out.append(_Stmt("assign", (value,) if uses or named else (), (tree,)))

    def _function(self, frame: _Frame, op: Op) -> None:
        captured = op.operands[: len(op.attrs.get("captures", ()))]
        if any(v in frame.pending for v in captured):
            self._flush(frame)
        args = self._take(frame, op.operands[len(captured) :])
        trees = [self.tree(v) for v in captured]
        self.pinned.update(t.value for t in trees if t.value is not None)
        body = _Shaper(op.attrs["graph"]).body
        single = len(body) == 1 and body[0].kind == "return" and op.attrs["graph"].name == "<lambda>"
        tree = _node(op, [*trees, *args])
        if single:
            self._value(frame, op.result, tree, named=bool(op.result.name))
        else:
            self._flush(frame)
            frame.out.append(_Stmt("function", (op.result,), (tree,), op=op))

    def _if(self, frame: _Frame, op: Op, target: _Target) -> None:
        (condition,) = self._take(frame, op.operands[:1])
        if any(v in frame.pending for b in op.blocks for o in _walk(b) for v in o.operands):
            self._flush(frame)
        form = self.shortcut.get(op, "")
        if len(op.results) == 1 and op not in self.no_expression:
            parts = self._branches_as_trees(op, form)
            if parts is not None:
                tree = _node(op, [condition, *parts], form or "ternary")
                self._value(frame, op.result, tree, named=bool(op.result.name))
                return
            # To try again within each `if` around this one would take exponential time.
            self.no_expression.add(op)
        self._flush(frame)
        if form and condition.args:
            # Tested and given: it needs a variable after all.
            (tested,) = condition.args
            value = self._tested(op)
            if tested.op is not None and tested.op.name not in _LEAVES:
                self.trees.pop(value, None)
                frame.out.append(_Stmt("assign", (value,), (tested,)))
                condition = _node(condition.op, [_Tree(value)]) if condition.op is not None else condition
        inner = _Target(op.results, target.carried)
        blocks = tuple(self.block(b, inner)[0] for b in op.blocks)
        frame.out.append(_Stmt("if", (), (condition,), blocks, op))

    def _tested(self, op: Op) -> Value:
        index = 1 if self.shortcut[op] == "and" else 0
        return op.blocks[index].terminator.operands[0]

    def _branches_as_trees(self, op: Op, form: str) -> list[_Tree] | None:
        """What the branches yield, if that is all that they do."""
        parts: list[_Tree] = []
        for index, block in enumerate(op.blocks):
            if (form, index) in (("and", 1), ("or", 0)):
                continue
            if any(o.name in _NO_EXPRESSION for o in _walk(block)):
                return None
            out, tree = self.block(block, _Target())
            if out or tree is None or tree.size > _MAX_TREE:
                return None
            parts.append(tree)
        return parts

    def _loop(self, frame: _Frame, op: Op, target: _Target) -> None:
        first = len(op.operands) - len(op.results)
        if any(v in frame.pending for v in op.operands[first:]):
            self._flush(frame)
        args = self._take(frame, op.operands[:first])
        self._flush(frame)
        self._copy(frame, op.results, [self.tree(v) for v in op.operands[first:]])
        for block in op.blocks:
            lead = len(block.params) - len(op.results)
            self.home.update(zip(block.params[lead:], op.results, strict=True))
        inside = _Target(None, op.results)
        after = _Target(op.results, target.carried)
        orelse = [self.block(b, after)[0] for b in op.blocks[1 if op.name == "for" else 2 :]]
        if op.name == "for":
            body, _ = self.block(op.blocks[0], inside)
            item = op.blocks[0].params[:1]
            frame.out.append(_Stmt("for", item, tuple(args), (body, *orelse), op))
            return
        head, condition = self.block(op.blocks[0], inside)
        assert condition is not None
        body, _ = self.block(op.blocks[1], inside)
        frame.out.append(_Stmt("while", (), (condition,), (head, body, *orelse), op))


def _walk(block: Block) -> Iterator[Op]:
    stack = [block]
    while stack:
        for op in stack.pop().ops:
            yield op
            stack.extend(op.blocks)


# --- which variables are live together ----------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class _LoopLife:
    at_continue: frozenset[Value]
    at_break: frozenset[Value]


@final
class _Liveness:
    """Interference between variables: walks the statements backward, once."""

    def __init__(self, params: Sequence[Value], body: Sequence[_Stmt]) -> None:
        self.clashes: dict[Value, set[Value]] = {}
        live = self.block(body, frozenset(), None)
        for param in params:
            self._define(param, {*live, *params})

    def _define(self, value: Value, live: Iterable[Value]) -> None:
        mine = self.clashes.setdefault(value, set())
        for other in live:
            if other is not value:
                mine.add(other)
                self.clashes.setdefault(other, set()).add(value)

    def block(self, body: Sequence[_Stmt], after: Iterable[Value], loop: _LoopLife | None) -> set[Value]:
        """What is live before the statements, given what is live after them."""
        live = set(after)
        for stmt in reversed(body):
            match stmt.kind:
                case "return" | "raise":
                    live = set()
                case "continue" | "break" if loop is not None:
                    live = set(loop.at_continue if stmt.kind == "continue" else loop.at_break)
                case "if":
                    live = self.block(stmt.blocks[0], live, loop) | self.block(stmt.blocks[1], live, loop)
                case "for" | "while":
                    live = self._loop(stmt, live, loop)
                case _:
                    self._assign(stmt, live)
                    live.difference_update(stmt.defs)
            live.update(stmt.reads())
        return live

    def _assign(self, stmt: _Stmt, live: set[Value]) -> None:
        together = {*live, *stmt.defs}
        for index, value in enumerate(stmt.defs):
            # A copy may share the variable of its source, however long that lives.
            source = stmt.trees[index].value if stmt.kind == "copy" else None
            self._define(value, (v for v in together if v is not source))
        if stmt.kind in _UPDATES and stmt.defs:
            # Printed as `r = a` and then `r += b`: b must not be read from what r has overwritten.
            first = stmt.trees[0].value
            later = (v for tree in stmt.trees[1:] for v in tree.reads() if v is not first)
            self._define(stmt.defs[0], later)

    def _loop(self, stmt: _Stmt, after: set[Value], outer: _LoopLife | None) -> set[Value]:
        assert stmt.op is not None
        inner = stmt.blocks[:1] if stmt.kind == "for" else stmt.blocks[:2]
        done = self.block(stmt.blocks[-1], after, outer) if len(stmt.blocks) > len(inner) else set(after)
        used: set[Value] = set(stmt.reads()) if stmt.kind == "while" else set()
        bound: set[Value] = set(stmt.defs)
        for body in inner:
            _names_in(body, used, bound)
        header = done | (used - bound) | set(stmt.op.results)
        life = _LoopLife(frozenset(header), frozenset(after))
        live = self.block(inner[-1], header, life)
        if stmt.kind == "while":
            live = self.block(inner[0], live | done | set(stmt.reads()), life)
        for item in stmt.defs:
            self._define(item, live)
        return (live | header) - set(stmt.defs)


def _names_in(body: Sequence[_Stmt], used: set[Value], bound: set[Value]) -> None:
    stack = list(body)
    while stack:
        stmt = stack.pop()
        used.update(stmt.reads())
        bound.update(stmt.defs)
        for inner in stmt.blocks:
            stack.extend(inner)


# --- variables ----------------------------------------------------------------------------------------------


@final
class _Names:
    """A name for each variable, shared where the values are never live together."""

    def __init__(self, shaper: _Shaper, names: Sequence[str], reserved: frozenset[str]) -> None:
        params = shaper.graph.params
        self.clashes = _Liveness(params, shaper.body).clashes
        self.group: dict[Value, Value] = {}
        self.fixed = dict(zip(params, names, strict=True))
        self.pinned = shaper.pinned
        statements = list(_statements(shaper.body))
        self._coalesce(statements)
        self.texts: dict[Value, str] = {}
        self.taken: dict[str, list[Value]] = {name: [param] for param, name in self.fixed.items()}
        for param, name in self.fixed.items():
            self.texts[self.find(param)] = name
        for name in reserved:
            self.taken.setdefault(name, [])
        for stmt in statements:
            for value in stmt.defs:
                self._choose(value)

    def name(self, value: Value) -> str:
        root = self.find(value)
        if root not in self.texts:
            self._choose(root)
        return self.texts[root]

    def find(self, value: Value) -> Value:
        while value in self.group:
            value = self.group[value]
        return value

    def _coalesce(self, statements: Sequence[_Stmt]) -> None:
        pairs: list[tuple[Value, Value]] = []
        for stmt in statements:
            if stmt.kind == "copy":
                pairs += [(d, t.value) for d, t in zip(stmt.defs, stmt.trees, strict=True) if t.value is not None]
            elif stmt.kind in _UPDATES and stmt.defs and stmt.trees[0].value is not None:
                pairs.append((stmt.defs[0], stmt.trees[0].value))
        pairs.sort(key=lambda p: p[0].name != p[1].name)
        for a, b in pairs:
            self._join(self.find(a), self.find(b))

    def _join(self, a: Value, b: Value) -> bool:
        """Let two groups share a variable, if no two of them are live together."""
        if a is b:
            return True
        if b in self.clashes.get(a, ()) or a in self.pinned or b in self.pinned:
            return False
        if a in self.fixed and b in self.fixed:
            return False
        if b in self.fixed:
            a, b = b, a
        self.group[b] = a
        mine = self.clashes.setdefault(a, set())
        for other in self.clashes.pop(b, ()):
            mine.add(other)
            self.clashes[other].discard(b)
            self.clashes[other].add(a)
        return True

    def _choose(self, value: Value) -> None:
        root = self.find(value)
        if root in self.texts:
            return
        base = value.name if value.name.isidentifier() and not keyword.iskeyword(value.name) else ""
        for other in self.taken.get(base, ()):
            if base and self._join(self.find(other), root):
                return
        text, count = base or "t1", 1
        while text in self.taken:
            count += 1
            text = f"{base}_{count}" if base else f"t{count}"
        self.texts[root] = text
        self.taken.setdefault(text, []).append(root)
        if base and text != base:
            self.taken[base].append(root)


def _statements(body: Sequence[_Stmt]) -> Iterator[_Stmt]:
    stack = list(reversed(body))
    while stack:
        stmt = stack.pop()
        yield stmt
        for inner in reversed(stmt.blocks):
            stack.extend(reversed(inner))


# --- text ---------------------------------------------------------------------------------------------------


def _define(
    graph: Graph,
    name: str,
    defaults: Mapping[str, object],
    captured: Mapping[str, str],
    outer: frozenset[str],
    default_texts: Mapping[str, str] | None = None,
) -> list[str]:
    writer = _Writer(graph, captured, outer)
    header = _header(graph, writer.parameters, _default_texts(defaults) if default_texts is None else default_texts)
    lines = [f"def {name}({header}):"]
    body = writer.body()
    return lines + ["    " + line for line in body]


def _default_texts(defaults: Mapping[str, object]) -> dict[str, str]:
    simple = (int, float, complex, bool, str, bytes, type(None))
    return {name: _constant(value)[0] for name, value in defaults.items() if type(value) in simple}


def _header(graph: Graph, names: Sequence[str], defaults: Mapping[str, str]) -> str:
    """The parameters; a default that cannot be written drops those before it, which Python would refuse."""
    parameters = _signature(graph)
    kinds = [kind for _, kind, _ in parameters]
    plain = [n for n, kind, _ in parameters if kind in ("positional", "positional_only")]
    allowed = {n for i, n in enumerate(plain) if all(m in defaults for m in plain[i:])}
    parts: list[str] = []
    star = False
    for i, ((name, kind, _), text) in enumerate(zip(parameters, names, strict=True)):
        if kind == "keyword_only" and not star:
            parts.append("*")
        star = star or kind in ("var_positional", "keyword_only")
        shown = name in defaults and (kind == "keyword_only" or name in allowed)
        stars = "*" if kind == "var_positional" else ""
        parts.append(f"{stars}{text}" + (f"={defaults[name]}" if shown else ""))
        if kind == "positional_only" and "positional_only" not in kinds[i + 1 :]:
            parts.append("/")
    return ", ".join(parts)


def _signature(graph: Graph) -> Sequence[tuple[str, str, bool]]:
    known: Sequence[tuple[str, str, bool]] | None = graph.attrs.get("parameters")
    if known is not None and len(known) == len(graph.params):
        return known
    names = [p.name if p.name.isidentifier() else f"x{i}" for i, p in enumerate(graph.params)]
    unique = [n if names.index(n) == i else f"{n}_{i}" for i, n in enumerate(names)]
    return [(n, "positional", False) for n in unique]


@final
class _Writer:
    """Statements into lines."""

    def __init__(self, graph: Graph, captured: Mapping[str, str], outer: frozenset[str]) -> None:
        self.shaper = _Shaper(graph)
        self.captured = captured
        self.parameters = [name for name, _, _ in _signature(graph)]
        self.reserved = outer | _outside_names(graph) | frozenset(captured.values()) | _HELPERS
        self.names = _Names(self.shaper, self.parameters, self.reserved)
        self.assigned: set[str] = set(self.parameters)
        self.never: list[str] = []
        self.loops = 0
        self.flags = 0

    def body(self) -> list[str]:
        body = self.shaper.body
        last = body[-1] if body else None
        if len(body) > 1 and last is not None and last.kind == "return" and _is_none(last.trees[0]):
            body = body[:-1]  # as where the function ends without a word
        lines = self.block(body)
        if not lines:
            lines = ["return None"]
        # A name that is assigned somewhere is local: reading it says UnboundLocalError.
        return [f"if False: {name} = None" for name in self.never] + lines

    def block(self, body: Sequence[_Stmt]) -> list[str]:
        lines: list[str] = []
        for stmt in body:
            lines += self.statement(stmt)
        return lines

    def statement(self, stmt: _Stmt) -> list[str]:
        match stmt.kind:
            case "assign":
                return self._assign(stmt)
            case "copy":
                return self._copy(stmt)
            case "if":
                return self._if(stmt, "if")
            case "for":
                return self._for(stmt)
            case "while":
                return self._while(stmt)
            case "return":
                return [f"return {self.text(stmt.trees[0])}"]
            case "raise":
                return [f"raise {self.text(stmt.trees[0])}"] if stmt.trees else []
            case "break" | "continue":
                return [stmt.kind]
            case "unpack":
                return self._unpack(stmt)
            case "import":
                return self._import(stmt)
            case "function":
                return self._function(stmt)
            case "set_subscript" | "inplace_subscript":
                return self._store(stmt)
            case _:
                return self._update(stmt)

    def define(self, value: Value) -> str:
        name = self.names.name(value)
        self.assigned.add(name)
        return name

    def _assign(self, stmt: _Stmt) -> list[str]:
        text = self.text(stmt.trees[0])
        return [f"{self.define(stmt.defs[0])} = {text}"] if stmt.defs else [text]

    def _copy(self, stmt: _Stmt) -> list[str]:
        """A parallel assignment, in single steps where no later one reads what an earlier one has
        overwritten."""
        lines: list[str] = []
        steps: list[tuple[str, _Tree]] = []
        for value, tree in zip(stmt.defs, stmt.trees, strict=True):
            name = self.names.name(value)
            if tree.op is not None and tree.op.name == "unbound":
                if name in self.assigned or self.loops:
                    lines += [f"{name} = None", f"del {name}"]
            elif tree.value is None or self.names.name(tree.value) != name:
                steps.append((name, tree))
        reads = [{self.names.name(v) for v in tree.reads()} for _, tree in steps]
        apart = all(steps[i][0] not in r for i in range(len(steps)) for r in reads[i + 1 :])
        texts = [self.text(tree) for _, tree in steps]
        names = [name for name, _ in steps]
        self.assigned.update(names)
        if apart:
            return lines + [f"{name} = {text}" for name, text in zip(names, texts, strict=True)]
        return [*lines, f"{', '.join(names)} = {', '.join(texts)}"]

    def _if(self, stmt: _Stmt, word: str) -> list[str]:
        condition = stmt.trees[0]
        then = self.block(stmt.blocks[0])
        below = stmt.blocks[1]
        chained = len(below) == 1 and below[0].kind == "if" and bool(then)
        orelse = self._if(below[0], "elif") if chained else self.block(below)
        if not then and orelse:
            return [f"{word} {self.negated(condition)}:", *_indented(orelse)]
        lines = [f"{word} {self.condition(condition)}:", *_indented(then)]
        if chained:
            return lines + orelse
        return lines + (["else:", *_indented(orelse)] if orelse else [])

    def _for(self, stmt: _Stmt) -> list[str]:
        iterable = self.text(stmt.trees[0])
        head = f"for {self.define(stmt.defs[0])} in {iterable}:"
        self.loops += 1
        body = self._turn(stmt.blocks[0])
        self.loops -= 1
        lines = [head, *_indented(body)]
        if len(stmt.blocks) > 1:
            lines += ["else:", *_indented(self.block(stmt.blocks[1]))]
        return lines

    def _turn(self, body: Sequence[_Stmt]) -> list[str]:
        return self.block(body[:-1] if body and body[-1].kind == "continue" else body)

    def _while(self, stmt: _Stmt) -> list[str]:
        self.loops += 1
        head = self.block(stmt.blocks[0])
        body = self._turn(stmt.blocks[1])
        self.loops -= 1
        condition = stmt.trees[0]
        orelse = self.block(stmt.blocks[2]) if len(stmt.blocks) > 2 else []
        if not head:
            lines = [f"while {self.condition(condition)}:", *_indented(body)]
            return lines + (["else:", *_indented(orelse)] if orelse else [])
        leave = ["break"]
        after: list[str] = []
        before: list[str] = []
        if orelse:
            self.flags += 1
            flag = f"ended{self.flags}"
            before, leave = [f"{flag} = False"], [f"{flag} = True", "break"]
            after = [f"if {flag}:", *_indented(orelse)]
        inner = [*head, f"if {self.negated(condition)}:", *_indented(leave), *body]
        return [*before, "while True:", *_indented(inner), *after]

    def _unpack(self, stmt: _Stmt) -> list[str]:
        assert stmt.op is not None
        source = self.text(stmt.trees[0])
        names = [self.define(v) for v in stmt.defs]
        star = stmt.op.attrs.get("star")
        if star is not None:
            names[star] = "*" + names[star]
        return [f"{', '.join(names)}{',' if len(names) == 1 else ''} = {source}" if names else f"[] = {source}"]

    def _import(self, stmt: _Stmt) -> list[str]:
        assert stmt.op is not None
        module = stmt.op.attrs["module"]
        name = self.define(stmt.defs[0])
        return [f"import {module}" if module == name else f"import {module} as {name}"]

    def _store(self, stmt: _Stmt) -> list[str]:
        assert stmt.op is not None
        container, key, value = stmt.trees
        sign = stmt.op.attrs["op"] if stmt.kind == "inplace_subscript" else ""
        return [f"{self.text(container, _POSTFIX)}[{self.key(key)}] {sign}= {self.text(value)}"]

    def _update(self, stmt: _Stmt) -> list[str]:
        assert stmt.op is not None
        first, *rest = stmt.trees
        source = self.text(first)
        texts = [self.text(tree) for tree in rest]
        name = self.define(stmt.defs[0])
        if stmt.kind == "inplace":
            lines = [] if source == name else [f"{name} = {source}"]
            return [*lines, f"{name} {stmt.op.attrs['op']}= {texts[0]}"]
        if stmt.kind == "list_append":
            same = f"{name}.append({texts[0]})"
            return [same if source == name else f"{name} = [*{self.text(first, _OR)}, {texts[0]}]"]
        same = f"{name}[{texts[0]}] = {texts[1]}"
        return [same if source == name else f"{name} = {{**{self.text(first, _OR)}, {texts[0]}: {texts[1]}}}"]

    def _function(self, stmt: _Stmt) -> list[str]:
        (tree,) = stmt.trees
        assert tree.op is not None
        graph, captured, defaults = self._nested(tree)
        # The text of the function is made before its name is local here.
        name = self.names.name(stmt.defs[0])
        lines = _define(graph, name, {}, captured, self.visible(), defaults)
        self.define(stmt.defs[0])
        return lines

    def _nested(self, tree: _Tree) -> tuple[Graph, dict[str, str], dict[str, str]]:
        assert tree.op is not None
        attrs = tree.op.attrs
        captures = attrs.get("captures", ())
        texts = [self.text(arg) for arg in tree.args]
        captured = dict(zip(captures, texts, strict=False))
        defaults = dict(zip(attrs.get("defaults", ()), texts[len(captures) :], strict=True))
        return attrs["graph"], captured, defaults

    def visible(self) -> frozenset[str]:
        return self.reserved

    # --- expressions ---

    def condition(self, tree: _Tree) -> str:
        """A test: `truth` needs no word there."""
        return self.text(_tested(tree))

    def negated(self, tree: _Tree) -> str:
        tree = _tested(tree)
        if tree.op is not None and tree.op.name == "unary" and tree.op.attrs["op"] == "not":
            return self.text(tree.args[0])
        return f"not {self.text(tree, _NOT)}"

    def text(self, tree: _Tree, least: int = _LAMBDA) -> str:
        """The text of a tree, in parentheses if it binds less tightly than `least`."""
        if tree.op is None:
            assert tree.value is not None
            return self.names.name(tree.value)
        text, level = getattr(self, f"_{tree.op.name}_text")(tree, tree.op)
        return f"({text})" if level < least else str(text)

    def _const_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        return _constant(op.attrs["value"])

    def _global_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        return op.attrs["name"], _ATOM

    def _free_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        name = op.attrs["name"]
        text = self.captured.get(name, name)
        return text, _ATOM if text.isidentifier() else _LAMBDA

    def _numpy_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        first, dot, rest = op.attrs["name"].partition(".")
        return (f"np{dot}{rest}" if first == "numpy" else op.attrs["name"]), _ATOM

    def _capture_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        return f"capture_{op.attrs['index']}", _ATOM

    def _unbound_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        base = op.attrs["name"]
        name = base
        while name in self.reserved or name in self.names.taken:
            name += "_"
        if name not in self.never:
            self.never.append(name)
        return name, _ATOM

    def _bound_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        return self.text(tree.args[0]), _ATOM

    def _attr_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        inner = tree.args[0]
        text = self.text(inner, _POSTFIX)
        number = inner.op is not None and inner.op.name == "const" and type(inner.op.attrs["value"]) is int
        return f"({text}).{op.attrs['name']}" if number and text[0] != "(" else f"{text}.{op.attrs['name']}", _POSTFIX

    def _subscript_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        return f"{self.text(tree.args[0], _POSTFIX)}[{self.key(tree.args[1])}]", _POSTFIX

    def key(self, tree: _Tree) -> str:
        """What stands between the brackets."""
        if tree.op is not None and tree.op.name == "slice":
            low, high, step = ("" if _is_none(part) else self.text(part, _TERNARY) for part in tree.args)
            return f"{low}:{high}" + (f":{step}" if step else "")
        if tree.op is not None and tree.op.name == "tuple" and tree.args and not tree.op.attrs.get("star"):
            return ", ".join(map(self.key, tree.args)) + ("," if len(tree.args) == 1 else "")
        return self.text(tree)

    def _slice_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        return f"slice({', '.join(map(self.text, tree.args))})", _POSTFIX

    def _tuple_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        texts = self._elements(tree, op)
        return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})", _ATOM

    def _list_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        return f"[{', '.join(self._elements(tree, op))}]", _ATOM

    def _elements(self, tree: _Tree, op: Op) -> list[str]:
        star = op.attrs.get("star", ())
        return [f"*{self.text(a, 6)}" if i in star else self.text(a) for i, a in enumerate(tree.args)]

    def _dict_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        pairs = zip(op.attrs["keys"], tree.args, strict=True)
        return "{" + ", ".join(f"{_constant(k)[0]}: {self.text(v)}" for k, v in pairs) + "}", _ATOM

    def _binary_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        sign = op.attrs["op"]
        level = _BINARY[sign]
        left, right = (level, level + 1) if sign != "**" else (_POSTFIX, _UNARY)
        return f"{self.text(tree.args[0], left)} {sign} {self.text(tree.args[1], right)}", level

    def _unary_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        if op.attrs["op"] == "not":
            return f"not {self.text(tree.args[0], _NOT)}", _NOT
        inner = self.text(tree.args[0], _UNARY)
        return op.attrs["op"] + (f"({inner})" if inner[0].isdigit() else inner), _UNARY

    def _compare_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        word = _COMPARE_WORDS.get(op.attrs["op"], op.attrs["op"])
        return f"{self.text(tree.args[0], 6)} {word} {self.text(tree.args[1], 6)}", _COMPARE

    def _truth_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        return f"bool({self.text(tree.args[0])})", _POSTFIX

    def _if_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        condition = _tested(tree.args[0])
        if tree.form == "ternary":
            _, then, orelse = tree.args
            first = f"{self.text(then, _OR)} if {self.text(condition, _OR)}"
            return f"{first} else {self.text(orelse, _TERNARY)}", _TERNARY
        level = _AND if tree.form == "and" else _OR
        return f"{self.text(condition, level + 1)} {tree.form} {self.text(tree.args[1], level)}", level

    def _call_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        names, star = op.attrs.get("keywords", ()), op.attrs.get("star", ())
        first = len(tree.args) - len(names)
        parts: list[str] = []
        for i, arg in enumerate(tree.args[1:], 1):
            mark = f"{names[i - first]}=" if i >= first else "*" if i in star else ""
            parts.append(mark + self.text(arg, _OR if mark == "*" else _LAMBDA))
        return f"{self.text(tree.args[0], _POSTFIX)}({', '.join(parts)})", _POSTFIX

    def _format_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        """`format` calls joined: before Python 3.12 an f-string cannot hold every expression, or every
        text."""
        pattern, order = _pattern(op.attrs["parts"])
        texts = ", ".join(self.text(tree.args[i], _TERNARY) for i in order)
        return f"{pattern!r}.format({texts})", _POSTFIX

    def _function_text(self, tree: _Tree, op: Op) -> tuple[str, int]:
        graph, captured, defaults = self._nested(tree)
        inner = _Writer(graph, captured, self.visible())
        header = _header(graph, inner.parameters, defaults)
        (line,) = inner.body()
        return f"lambda{' ' if header else ''}{header}: {line.removeprefix('return ')}", _LAMBDA


def _outside_names(graph: Graph) -> frozenset[str]:
    """The names that the text takes from outside, in nested functions too: no variable may hide them."""
    found: set[str] = set()
    stack = [graph]
    while stack:
        for op in stack.pop().walk():
            if op.name in ("global", "free"):
                found.add(op.attrs["name"])
            elif op.name == "numpy":
                found.add("np")
            elif op.name == "capture":
                found.add(f"capture_{op.attrs['index']}")
            elif op.name == "function":
                stack.append(op.attrs["graph"])
    return frozenset(found)


def _tested(tree: _Tree) -> _Tree:
    return tree.args[0] if tree.op is not None and tree.op.name == "truth" else tree


def _is_none(tree: _Tree) -> bool:
    return tree.op is not None and tree.op.name == "const" and tree.op.attrs["value"] is None


def _indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines] or ["    pass"]


def _pattern(parts: Sequence[Any]) -> tuple[str, list[int]]:
    """The text for `str.format`, and the operands in its order."""
    out: list[str] = []
    order: list[int] = []
    for part in parts:
        if isinstance(part, str):
            out.append(part.replace("{", "{{").replace("}", "}}"))
            continue
        index, conversion, spec = (part, "", "") if isinstance(part, int) else part
        order.append(index)
        inner = spec
        if not isinstance(spec, str):
            inner, more = _pattern(spec)
            order += more
        mark = f"!{conversion}" if conversion else ""
        out.append("{" + mark + (f":{inner}" if inner else "") + "}")
    return "".join(out), order


def _constant(value: object) -> tuple[str, int]:
    """An expression for a constant that evaluates to just that value, and how tightly it binds."""
    if value is Ellipsis:
        return "...", _ATOM
    if isinstance(value, float) and type(value) is float:
        return _float(value)
    if type(value) is complex:
        if math.copysign(1.0, value.real) > 0 and value.real == 0 and math.isfinite(value.imag) and value.imag > 0:
            return repr(value), _ATOM
        return f"complex({_float(value.real)[0]}, {_float(value.imag)[0]})", _POSTFIX
    if type(value) is int:
        # str() of an int beyond 4300 digits raises; hexadecimal has no such limit
        text = repr(value) if value.bit_length() < 10_000 else hex(value)
        return text, _UNARY if value < 0 else _ATOM
    if isinstance(value, tuple):
        inner = ", ".join(_constant(v)[0] for v in value)
        return f"({inner}{',' if len(value) == 1 else ''})", _ATOM
    return repr(value), _ATOM


def _float(value: float) -> tuple[str, int]:
    if math.isfinite(value):
        text = repr(value)
        return text, _UNARY if text.startswith("-") else _ATOM
    return f"float({str(value)!r})", _POSTFIX
