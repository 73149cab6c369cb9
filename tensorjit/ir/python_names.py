"""Variables for the values of a graph: those that are never live together share one.

`Liveness` finds which are live together; `Names` joins first those that a copy connects, so that ``s_after = for(xs, s) {...}``
reads ``for x in xs: s = s + x`` again (copy coalescing, after G. Chaitin, "Register allocation and spilling via graph coloring",
1982).
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Sequence
from typing import final

from tensorjit.ir.graph import Value
from tensorjit.ir.python_trees import Shaper, Stmt
from tensorjit.records import dataclass


@final
@dataclass(frozen=True, slots=True)
class _LoopLife:
    at_continue: frozenset[Value]
    at_break: frozenset[Value]


@final
class Liveness:
    """Interference between variables: walks the statements backward, once."""

    def __init__(self, params: Sequence[Value], body: Sequence[Stmt]) -> None:
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

    def block(self, body: Sequence[Stmt], after: Iterable[Value], loop: _LoopLife | None) -> set[Value]:
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

    def _assign(self, stmt: Stmt, live: set[Value]) -> None:
        together = {*live, *stmt.defs}
        for index, value in enumerate(stmt.defs):
            # A copy may share the variable of its source, however long that lives.
            source = stmt.trees[index].value if stmt.kind == "copy" else None
            self._define(value, (v for v in together if v is not source))
        if stmt.is_update and stmt.defs:
            # Printed as `r = a` and then `r += b`: b must not be read from what r has overwritten.
            first = stmt.trees[0].value
            later = (v for tree in stmt.trees[1:] for v in tree.reads() if v is not first)
            self._define(stmt.defs[0], later)

    def _loop(self, stmt: Stmt, after: set[Value], outer: _LoopLife | None) -> set[Value]:
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


def _names_in(body: Sequence[Stmt], used: set[Value], bound: set[Value]) -> None:
    stack = list(body)
    while stack:
        stmt = stack.pop()
        used.update(stmt.reads())
        bound.update(stmt.defs)
        for inner in stmt.blocks:
            stack.extend(inner)


# --- variables ----------------------------------------------------------------------------------------------


@final
class Names:
    """A name for each variable, shared where the values are never live together."""

    def __init__(self, shaper: Shaper, names: Sequence[str], reserved: frozenset[str]) -> None:
        params = shaper.graph.params
        self.clashes = Liveness(params, shaper.body).clashes
        self.group: dict[Value, Value] = {}
        self.fixed = dict(zip(params, names, strict=True))
        self.pinned = shaper.pinned
        statements = list(statements_of(shaper.body))
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

    def _coalesce(self, statements: Sequence[Stmt]) -> None:
        pairs: list[tuple[Value, Value]] = []
        for stmt in statements:
            if stmt.kind == "copy":
                pairs += [(d, t.value) for d, t in zip(stmt.defs, stmt.trees, strict=True) if t.value is not None]
            elif stmt.is_update and stmt.defs and stmt.trees[0].value is not None:
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


def statements_of(body: Sequence[Stmt]) -> Iterator[Stmt]:
    stack = list(reversed(body))
    while stack:
        stmt = stack.pop()
        yield stmt
        for inner in reversed(stmt.blocks):
            stack.extend(reversed(inner))
