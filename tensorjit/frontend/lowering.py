"""What the lowering of one function carries along: the block under construction, the value of each name, the
problems found.

The tables of handlers (`expressions.EXPRESSIONS`, `statements.STATEMENTS`, `comprehensions.COMPREHENSIONS`)
come in from `script.py`, so that each of them can lower what the others know.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, final

from tensorjit.errors import CompileError, Loc, Problem
from tensorjit.frontend.scopes import Scope
from tensorjit.frontend.source import TOO_DEEP, TOO_DEEP_HINT, SourceFunction
from tensorjit.ir.graph import NO_ATTRS, Block, Builder, Value
from tensorjit.records import dataclass

MAX_EXPRESSION_DEPTH = 150  # two Python frames each, well below the recursion limit of 1000
MAX_BLOCK_DEPTH = 100  # as CPython: "too many levels of indentation"; here an `elif` is a level, too

Located = ast.expr | ast.stmt | ast.arg | ast.keyword | ast.alias | ast.excepthandler
ExpressionHandler = Callable[["Lowering", Any, str], Value]
StatementHandler = Callable[["Lowering", Any], None]


@final
@dataclass(frozen=True, slots=True)
class Tables:
    """How each kind of syntax is lowered, and why each other kind is not: (what, hint)."""

    expressions: Mapping[type[ast.AST], ExpressionHandler]
    conditions: Mapping[type[ast.AST], ExpressionHandler]  # where only the truth of the value counts
    statements: Mapping[type[ast.AST], StatementHandler]
    refused: Mapping[type[ast.AST], tuple[str, str]]


@final
@dataclass(slots=True, eq=False)
class Loop:
    """A loop being lowered: what it carries, and whether a `break` was seen."""

    keys: tuple[str, ...]
    has_break: bool = False


@final
@dataclass(slots=True, eq=False)
class Shared:
    """What a function and the functions nested in it have in common."""

    source: SourceFunction
    tables: Tables
    problems: list[Problem] = field(default_factory=list)
    globals_used: dict[str, None] = field(default_factory=dict)
    freevars: frozenset[str] = frozenset()
    own_globals: Mapping[str, object] = field(default_factory=dict)
    counter: int = 0


@final
class Lowering:
    """The state of lowering one function to a generic graph."""

    def __init__(self, shared: Shared, scope: Scope, node: ast.FunctionDef | ast.Lambda, parent: Lowering | None) -> None:
        self.shared = shared
        self.scope = scope
        self.node = node
        self.parent = parent
        self.builder = Builder()
        self.env: dict[str, Value] = {}
        self.loops: list[Loop] = []
        self.aliases: list[dict[str, str]] = []  # a comprehension's own names -> keys in env
        self.maybe_unbound: set[Value] = set()
        self.free_used: dict[str, None] = {}
        self.depth = 0
        self.block_depth: int = 0 if parent is None else parent.block_depth + 1

    # -- ops ---

    def emit(
        self,
        op: str,
        operands: Sequence[Value],
        node: Located,
        attrs: Mapping[str, Any] = NO_ATTRS,
        hint: str = "",
    ) -> Value:
        return self.builder.add(op, operands, attrs=attrs, hint=hint, loc=self.loc(node))

    def effect(self, op: str, operands: Sequence[Value], node: Located, attrs: Mapping[str, Any] = NO_ATTRS) -> None:
        self.builder.add_multi(op, operands, attrs=attrs, loc=self.loc(node))

    def constant(self, value: object, node: Located, hint: str = "") -> Value:
        return self.emit("const", (), node, {"value": value}, hint)

    def loc(self, node: Located) -> Loc:
        return self.shared.source.loc(node)

    # -- syntax ---

    def expr(self, node: ast.expr, hint: str = "") -> Value:
        handler = self.shared.tables.expressions.get(type(node))
        if handler is None:
            return self.refuse_node(node)
        self.depth += 1
        if self.depth > MAX_EXPRESSION_DEPTH:
            raise self.too_deep(node)
        value = handler(self, node, hint)
        self.depth -= 1
        return value

    def truth(self, node: ast.expr) -> Value:
        """The truth of an expression: `a and b` joins two bools, whatever the types of a and b."""
        handler = self.shared.tables.conditions.get(type(node))
        return self.emit("truth", (self.expr(node),), node) if handler is None else handler(self, node, "")

    def block(self, body: Sequence[ast.stmt]) -> None:
        """Lower statements until one leaves the block: what follows that is never reached."""
        statements = self.shared.tables.statements
        for statement in body:
            if self.builder.terminated:
                return
            handler = statements.get(type(statement))
            if handler is None:
                self.refuse_node(statement)
            else:
                handler(self, statement)

    # -- blocks ---

    def open(self, params: Sequence[Value], node: Located) -> Builder:
        """Begin a nested block; gives the outer one, for `close`."""
        self.block_depth += 1
        if self.block_depth > MAX_BLOCK_DEPTH:
            raise self.too_deep(node)
        outer = self.builder
        self.builder = Builder(params)
        return outer

    def close(self, outer: Builder) -> Block:
        inner, self.builder = self.builder, outer
        self.block_depth -= 1
        return inner.block()

    # -- names ---

    def key(self, name: str) -> str:
        """Where `env` keeps a local name: a comprehension's own names are kept apart."""
        for alias in reversed(self.aliases):
            if name in alias:
                return alias[name]
        return name

    def holds(self, name: str) -> bool:
        """Whether the name is a local here."""
        return name in self.scope.names or self.key(name) != name

    def is_global(self, name: str) -> bool:
        if name in self.scope.declared:
            return True
        level: Lowering | None = self
        while level is not None:
            if level.holds(name):
                return False
            level = level.parent
        return name not in self.shared.freevars

    def read(self, name: str, node: Located, hint: str = "") -> Value:
        if self.holds(name):
            return self.read_local(name, node)
        if self.is_global(name):
            self.shared.globals_used[name] = None
            return self.emit("global", (), node, {"name": name}, hint)
        self.free_used[name] = None
        return self.emit("free", (), node, {"name": name}, hint)

    def read_local(self, name: str, node: Located) -> Value:
        value = self.value_of(self.key(name), node)
        if value in self.maybe_unbound:
            return self.emit("bound", (value,), node, {"name": name}, name)
        return value

    def value_of(self, key: str, node: Located) -> Value:
        """What the name holds now, bound or not."""
        value = self.env.get(key)
        return self.unbound(key, node) if value is None else value

    def unbound(self, key: str, node: Located) -> Value:
        name = hint_of(key)
        value = self.emit("unbound", (), node, {"name": name}, name)
        self.maybe_unbound.add(value)
        return value

    def bind(self, name: str, value: Value) -> None:
        self.env[self.key(name)] = value

    def values(self, keys: Sequence[str], node: Located) -> list[Value]:
        return [self.value_of(key, node) for key in keys]

    def rebind(self, keys: Sequence[str], values: Sequence[Value], may_be_unbound: Sequence[bool]) -> None:
        """Names take new values at a join; where one of the joined is not bound, the new one may not be."""
        for key, value, doubt in zip(keys, values, may_be_unbound, strict=True):
            self.env[key] = value
            if doubt or key in self.scope.deleted:
                self.maybe_unbound.add(value)

    def restore(self, keys: Sequence[str], values: Sequence[Value | None]) -> None:
        for key, value in zip(keys, values, strict=True):
            if value is None:
                self.env.pop(key, None)
            else:
                self.env[key] = value

    def fresh_key(self, name: str) -> str:
        """A key for a name that only a comprehension sees."""
        self.shared.counter += 1
        return f"{name}.{self.shared.counter}"

    # -- problems ---

    def problem(self, message: str, node: Located, hint: str = "") -> None:
        self.shared.problems.append(Problem(message, self.loc(node), hint))

    def refuse(self, message: str, node: Located, hint: str = "") -> Value:
        """Note the problem and go on with some value, so that all problems of a function are found."""
        self.problem(message, node, hint)
        return self.constant(None, node)

    def refuse_node(self, node: ast.expr | ast.stmt) -> Value:
        message, hint = self.shared.tables.refused.get(type(node), (f"`{type(node).__name__}` syntax is not supported", ""))
        return self.refuse(message, node, hint)

    def too_deep(self, node: Located) -> CompileError:
        return CompileError([Problem(TOO_DEEP, self.loc(node), TOO_DEEP_HINT)])


def hint_of(key: str) -> str:
    """The variable's name in a key of `env`.

    >>> hint_of("i.3"), hint_of("x")
    ('i', 'x')
    """
    return key.partition(".")[0]
