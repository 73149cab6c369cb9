"""Which names a function binds, and which of them each compound statement assigns.

The lowering needs the second before it lowers a loop: what a loop assigns is carried around it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import final

from tensorjit.frontend.same_code import FunctionNode
from tensorjit.records import dataclass

Names = dict[str, None]  # an ordered set
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
LOOPS = (ast.For, ast.While, ast.AsyncFor)


@final
@dataclass(slots=True, eq=False)
class Scope:
    """The names of one function: `names` are its locals, `assigned` what each compound statement in it
    assigns."""

    names: Names
    assigned: dict[ast.AST, tuple[str, ...]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    declared: set[str] = field(default_factory=set)  # global or nonlocal
    walrus: bool = False


def scope_of(node: FunctionNode, walrus: bool) -> Scope:
    """The scope of a function; `walrus` says whether its text holds a `:=` at all (to look for them costs
    time).

    >>> function = ast.parse("def f(x):\\n  for i in x:\\n    y = i").body[0]
    >>> assert isinstance(function, ast.FunctionDef)
    >>> scope = scope_of(function, walrus=False)
    >>> list(scope.names), scope.assigned[function.body[0]]
    (['x', 'i', 'y'], ('i', 'y'))
    """
    scope = Scope(dict.fromkeys(parameter_names(node.args)), walrus=walrus)
    found: Names = {}
    if isinstance(node, ast.Lambda):
        found.update(dict.fromkeys(walrus_names(node.body) if walrus else ()))
    else:
        _block(scope, node.body, found)
    for name in found:
        if name not in scope.declared:
            scope.names[name] = None
    return scope


def parameter_names(a: ast.arguments) -> list[str]:
    """All parameters in the order of the code object's locals: positional, keyword-only, *args, **kwargs."""
    stars = [s for s in (a.vararg, a.kwarg) if s is not None]
    return [arg.arg for arg in [*a.posonlyargs, *a.args, *a.kwonlyargs, *stars]]


def target_names(target: ast.expr) -> Iterator[str]:
    """The names that an assignment to `target` binds."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Starred):
        yield from target_names(target.value)
    elif isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from target_names(element)


def walrus_names(node: ast.AST) -> list[str]:
    """The names bound by `:=` within an expression; a lambda's are its own, a comprehension's are the
    function's."""
    found: Names = {}
    stack: list[ast.AST] = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, ast.NamedExpr):
            found[top.target.id] = None
        if not isinstance(top, ast.Lambda):
            stack.extend(reversed(list(ast.iter_child_nodes(top))))
    return list(found)


def _block(scope: Scope, body: Sequence[ast.stmt], found: Names) -> None:
    for statement in body:
        _statement(scope, statement, found)


def _statement(scope: Scope, node: ast.stmt, found: Names) -> None:
    if isinstance(node, ast.If):
        _if_chain(scope, node, found)
        return
    inner = _inner_blocks(node)
    own: Names = {} if inner else found
    own.update(dict.fromkeys(_bound_here(scope, node)))
    if scope.walrus:
        for part in _header(node):
            own.update(dict.fromkeys(walrus_names(part)))
    for body in inner:
        _block(scope, body, own)
    if inner:
        scope.assigned[node] = tuple(own)
        found.update(own)


def _if_chain(scope: Scope, node: ast.If, found: Names) -> None:
    """An `if` with its `elif`s, from the last to the first: a long chain is deep in the syntax tree, but not
    in the text."""
    chain = [node]
    while len(chain[-1].orelse) == 1 and isinstance(chain[-1].orelse[0], ast.If):
        chain.append(chain[-1].orelse[0])
    below: Names = {}
    _block(scope, chain[-1].orelse, below)
    for link in reversed(chain):
        own: Names = {}
        _block(scope, link.body, own)
        own.update(below)
        scope.assigned[link] = tuple(own)
        below = own | dict.fromkeys(walrus_names(link.test)) if scope.walrus else own
    found.update(below)


def _inner_blocks(node: ast.stmt) -> list[list[ast.stmt]]:
    if isinstance(node, ast.For | ast.While | ast.AsyncFor):
        return [node.body, node.orelse]
    if isinstance(node, ast.With | ast.AsyncWith):
        return [node.body]
    if isinstance(node, ast.Try | ast.TryStar):
        return [node.body, *(h.body for h in node.handlers), node.orelse, node.finalbody]
    if isinstance(node, ast.Match):
        return [case.body for case in node.cases]
    return []


def _header(node: ast.stmt) -> list[ast.AST]:
    """The expressions of a statement itself, without the statements in it."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    inside = (ast.stmt, ast.excepthandler, ast.match_case)
    return [child for child in ast.iter_child_nodes(node) if not isinstance(child, inside)]


def _bound_here(scope: Scope, node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Assign(targets=targets):
            for target in targets:
                yield from target_names(target)
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target) | ast.For(target=target):
            yield from target_names(target)
        case ast.AsyncFor(target=target):
            yield from target_names(target)
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            for alias in names:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Delete(targets=targets):
            for target in targets:
                names_here = list(target_names(target))
                scope.deleted.update(names_here)
                yield from names_here
        case ast.With(items=items) | ast.AsyncWith(items=items):
            for item in items:
                if item.optional_vars is not None:
                    yield from target_names(item.optional_vars)
        case ast.Try(handlers=handlers) | ast.TryStar(handlers=handlers):
            for handler in handlers:
                if handler.name is not None:
                    yield handler.name
        case ast.Global(names=names_) | ast.Nonlocal(names=names_):
            scope.declared.update(names_)
        case _:
            return


@final
@dataclass(frozen=True, slots=True)
class _Event:
    """A name read or bound at a position (lines and columns, as executed on a straight way), within loops."""

    at: tuple[int, int]
    name: str
    binds: bool
    loops: tuple[ast.AST, ...]
    call: bool  # read only to be called, or as an argument of a call


def rebinding_after(outer: FunctionNode, nested: FunctionNode, captures: Sequence[str]) -> str | None:
    """A captured name that the outer function binds anew while the nested function can still be called, or
    None.

    A Python closure sees the new value; a compiled one has taken the value at its definition. So what could
    tell is refused.
    """
    events = list(_events(outer, nested))
    here = next((e for e in events if e.name == ""), None)
    if here is None:
        return None
    alias, immediate = _held_by(outer, nested)
    for name in captures:
        for event in events:
            if event.binds and event.name == name and _can_tell(event, here, alias, immediate, events):
                return name
    return None


def _can_tell(bind: _Event, here: _Event, alias: str | None, immediate: bool, events: Sequence[_Event]) -> bool:
    shared = [loop for loop in bind.loops if loop in here.loops]
    if bind.at < here.at and not shared:
        return False
    if immediate:
        return False
    if alias is None:
        return True
    reads = [e for e in events if e.name == alias and not e.binds]
    if not all(e.call for e in reads):
        return True
    if bind.at < here.at:
        # Bound anew at the next turn: only who calls the function before it is defined again can tell.
        return any(r.at < here.at and shared[0] in r.loops for r in reads)
    outside = next((loop for loop in bind.loops if loop not in here.loops), None)
    start = bind.at if outside is None else _at(outside)
    return any(r.at >= start for r in reads) or any(r.at < here.at and set(shared) & set(r.loops) for r in reads)


def _at(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def _after(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0)


def _events(outer: FunctionNode, nested: FunctionNode) -> Iterator[_Event]:
    body = outer.body if isinstance(outer.body, list) else [outer.body]
    stack: list[tuple[ast.AST, tuple[ast.AST, ...], ast.AST | None, bool]] = [(n, (), None, False) for n in reversed(body)]
    while stack:
        node, loops, statement, call = stack.pop()
        if node is nested:
            yield _Event(_at(node), "", False, loops, False)
        if isinstance(node, ast.FunctionDef) and node is not nested:
            yield _Event(_after(node), node.name, True, loops, False)
        if isinstance(node, ast.Name):
            binds = not isinstance(node.ctx, ast.Load)
            at = _after(statement) if binds and statement is not None else _at(node)
            yield _Event(at, node.id, binds, loops, call)
            continue
        simple = isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.NamedExpr)
        inner = (*loops, node) if isinstance(node, (*LOOPS, *COMPREHENSIONS)) else loops
        if node is nested or isinstance(node, FunctionNode):
            # What another nested function reads counts as read where that one is written.
            inner_names = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
            if node is not nested:
                for n in inner_names:
                    yield _Event(_at(n), n.id, False, loops, True)
            continue
        children = list(ast.iter_child_nodes(node))
        for child in reversed(children):
            direct = isinstance(node, ast.Call)
            stack.append((child, inner, node if simple else statement, direct))


def _held_by(outer: FunctionNode, nested: FunctionNode) -> tuple[str | None, bool]:
    """The one name that holds the nested function, and whether it is an argument of a call instead."""
    if isinstance(nested, ast.FunctionDef):
        return nested.name, False
    for node in ast.walk(outer):
        if isinstance(node, ast.Assign) and node.value is nested and len(node.targets) == 1:
            target = node.targets[0]
            return (target.id if isinstance(target, ast.Name) else None), False
        if isinstance(node, ast.Call):
            arguments = [*node.args, *(k.value for k in node.keywords)]
            stored = isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "insert", "add")
            if node.func is nested or (nested in arguments and not stored):
                return None, True
    return None, False
