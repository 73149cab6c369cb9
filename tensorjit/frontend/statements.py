"""Statements, one handler for each kind of syntax."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Final

from tensorjit.frontend.control import branches, for_loop, leave_loop, while_loop
from tensorjit.frontend.expressions import BINARY, mangled
from tensorjit.frontend.lowering import Loop, Lowering, StatementHandler
from tensorjit.frontend.scopes import target_names, walrus_names
from tensorjit.ir.graph import Value
from tensorjit.ir.types import UNKNOWN

IMPORTABLE: Final = frozenset({"numpy", "math"})


def _expression(fn: Lowering, node: ast.Expr) -> None:
    if not isinstance(node.value, ast.Constant):  # a docstring, or `...`
        fn.expr(node.value)


def _pass(fn: Lowering, node: ast.Pass) -> None:
    return None


def _return(fn: Lowering, node: ast.Return) -> None:
    value = fn.constant(None, node) if node.value is None else fn.expr(node.value)
    fn.effect("return", (value,), node)


def _assign(fn: Lowering, node: ast.Assign) -> None:
    if len(node.targets) == 1 and _elementwise(fn, node.targets[0], node.value):
        return
    first = node.targets[0]
    value = fn.expr(node.value, first.id if isinstance(first, ast.Name) else "")
    for target in node.targets:
        assign(fn, target, value)


def _elementwise(fn: Lowering, target: ast.expr, value: ast.expr) -> bool:
    """`a, b = b, a` needs no tuple: all values first, then the names."""
    if not isinstance(target, ast.Tuple | ast.List) or not isinstance(value, ast.Tuple):
        return False
    stars = any(isinstance(e, ast.Starred) for e in [*target.elts, *value.elts])
    if stars or len(target.elts) != len(value.elts):
        return False
    pairs = zip(target.elts, value.elts, strict=True)
    targets = set(target_names(target))
    # A swap names nothing new: its values are better shown within it.
    swap = any(isinstance(n, ast.Name) and n.id in targets for n in ast.walk(value))
    values = [fn.expr(v, t.id if isinstance(t, ast.Name) and not swap else "") for t, v in pairs]
    for t, v in zip(target.elts, values, strict=True):
        assign(fn, t, v)
    return True


def assign(fn: Lowering, target: ast.expr, value: Value) -> None:
    """Bind or store `value`."""
    match target:
        case ast.Name():
            if target.id in fn.scope.declared:
                fn.problem(f"`{target.id}` is global or nonlocal and cannot be assigned", target, "return the value")
            fn.bind(target.id, value)
        case ast.Tuple() | ast.List():
            _unpack(fn, target, value)
        case ast.Subscript():
            container, key = fn.expr(target.value), fn.expr(target.slice)
            fn.effect("set_subscript", (container, key, value), target)
        case ast.Attribute():
            fn.expr(target.value)
            message = f"assignment to the attribute `{target.attr}` is not supported"
            fn.problem(message, target, "return the new value, or keep it in an array")
        case _:
            fn.problem("this assignment target is not supported", target)


def _unpack(fn: Lowering, target: ast.Tuple | ast.List, value: Value) -> None:
    star = next((i for i, e in enumerate(target.elts) if isinstance(e, ast.Starred)), None)
    inner = [e.value if isinstance(e, ast.Starred) else e for e in target.elts]
    hints = [e.id if isinstance(e, ast.Name) else "" for e in inner]
    attrs = {"count": len(inner), "star": star}
    types = (UNKNOWN,) * len(inner)
    values = fn.builder.add_multi("unpack", (value,), types, attrs, hints=hints, loc=fn.loc(target))
    for element, part in zip(inner, values, strict=True):
        assign(fn, element, part)


def _annotated(fn: Lowering, node: ast.AnnAssign) -> None:
    if node.value is not None:
        value = fn.expr(node.value, node.target.id if isinstance(node.target, ast.Name) else "")
        assign(fn, node.target, value)


def _augmented(fn: Lowering, node: ast.AugAssign) -> None:
    attrs = {"op": BINARY[type(node.op)]}
    target = node.target
    if isinstance(target, ast.Subscript):
        container, key = fn.expr(target.value), fn.expr(target.slice)
        old = fn.emit("subscript", (container, key), target)  # before the value, which may change it
        fn.effect("inplace_subscript", (container, key, old, fn.expr(node.value)), node, attrs)
    elif isinstance(target, ast.Name):
        current = fn.read(target.id, target)
        assign(fn, target, fn.emit("inplace", (current, fn.expr(node.value)), node, attrs, target.id))
    else:
        fn.expr(node.value)
        assign(fn, target, fn.constant(None, node))


def _if(fn: Lowering, node: ast.If) -> None:
    condition = fn.truth(node.test)
    bodies = (lambda: fn.block(node.body), lambda: fn.block(node.orelse))
    branches(fn, condition, _keys(fn, node), bodies, node)


def _keys(fn: Lowering, node: ast.stmt) -> list[str]:
    return [name for name in fn.scope.assigned[node] if name not in fn.scope.declared]


def _for(fn: Lowering, node: ast.For) -> None:
    iterable = fn.expr(node.iter)

    def turn(item: Value) -> None:
        assign(fn, node.target, item)
        fn.block(node.body)

    orelse = (lambda: fn.block(node.orelse)) if node.orelse else None
    hint = node.target.id if isinstance(node.target, ast.Name) else ""
    for_loop(fn, iterable, _keys(fn, node), turn, orelse, node, hint)


def _while(fn: Lowering, node: ast.While) -> None:
    if fn.scope.walrus and walrus_names(node.test):
        _while_walrus(fn, node)
        return
    orelse = (lambda: fn.block(node.orelse)) if node.orelse else None
    while_loop(fn, node.test, _keys(fn, node), lambda: fn.block(node.body), orelse, node)


def _while_walrus(fn: Lowering, node: ast.While) -> None:
    """The condition binds names, which a condition block cannot hand on: `while True: if not condition:
    break`."""
    if node.orelse:
        fn.problem("`:=` in the condition of a `while` with `else` is not supported", node.test, "assign in the loop")
    forever = ast.copy_location(ast.Constant(True), node.test)

    def body() -> None:
        condition = fn.truth(node.test)
        branches(fn, condition, (), (lambda: None, lambda: leave_loop(fn, "break", node)), node.test)
        fn.block(node.body)

    while_loop(fn, forever, _keys(fn, node), body, None, node)


def _break(fn: Lowering, node: ast.Break) -> None:
    leave_loop(fn, "break", node)


def _continue(fn: Lowering, node: ast.Continue) -> None:
    leave_loop(fn, "continue", node)


def _raise(fn: Lowering, node: ast.Raise) -> None:
    if node.cause is not None and not (isinstance(node.cause, ast.Constant) and node.cause.value is None):
        fn.problem("`raise ... from` is not supported", node.cause, "raise without a cause")
    if node.exc is None:
        fn.problem("`raise` without an exception is not supported", node, "name the exception to raise")
        fn.effect("raise", (), node, {"unreachable": True})
        return
    fn.effect("raise", (fn.expr(node.exc),), node)


def _assert(fn: Lowering, node: ast.Assert) -> None:
    def fail() -> None:
        error = fn.emit("global", (), node, {"name": "AssertionError"})
        if node.msg is not None:
            attrs = {"keywords": (), "star": ()}
            error = fn.emit("call", (error, fn.expr(node.msg)), node, attrs)
        fn.effect("raise", (error,), node)

    condition = fn.truth(node.test)
    keys = [fn.key(n) for n in walrus_names(node.msg)] if fn.scope.walrus and node.msg is not None else []
    branches(fn, condition, keys, (lambda: None, fail), node)


def _delete(fn: Lowering, node: ast.Delete) -> None:
    stack: list[ast.expr] = list(reversed(node.targets))
    while stack:
        target = stack.pop()
        if isinstance(target, ast.Tuple | ast.List):
            stack.extend(reversed(target.elts))
        elif isinstance(target, ast.Name):
            fn.read_local(target.id, target)
            fn.bind(target.id, fn.unbound(fn.key(target.id), target))
        else:
            fn.problem(
                "`del` of anything but a name is not supported",
                target,
                "build the array that you want to keep",
            )


def _import(fn: Lowering, node: ast.Import) -> None:
    for alias in node.names:
        root, _, rest = alias.name.partition(".")
        if not _importable(fn, root, alias):
            continue
        name = alias.asname or root
        module = alias.name if alias.asname else root
        if rest and not alias.asname:
            fn.emit("import", (), alias, {"module": alias.name})
        fn.bind(name, fn.emit("import", (), alias, {"module": module}, name))


def _import_from(fn: Lowering, node: ast.ImportFrom) -> None:
    if node.level or not _importable(fn, (node.module or "").partition(".")[0], node):
        if node.level:
            fn.problem(
                "a relative import inside a function is not supported",
                node,
                "import at the top of the module",
            )
        return
    module = fn.emit("import", (), node, {"module": node.module})
    for alias in node.names:
        name = alias.asname or alias.name
        fn.bind(name, fn.emit("attr", (module,), alias, {"name": mangled(fn, alias.name)}, name))


def _importable(fn: Lowering, root: str, node: ast.alias | ast.ImportFrom) -> bool:
    if root in IMPORTABLE or (isinstance(node, ast.ImportFrom) and node.level):
        return True
    hint = "import at the top of the module"
    fn.problem(f"importing `{root}` inside a function is not supported (only numpy and math are)", node, hint)
    return False


def _declaration(fn: Lowering, node: ast.Global | ast.Nonlocal) -> None:
    """Harmless in itself: `assign` refuses the write."""


def _try(fn: Lowering, node: ast.Try) -> None:
    fn.refuse_node(node)
    _scan(fn, [node.body, *(h.body for h in node.handlers), node.orelse, node.finalbody])


def _with(fn: Lowering, node: ast.With) -> None:
    fn.refuse_node(node)
    _scan(fn, [node.body])


def _scan(fn: Lowering, blocks: Sequence[Sequence[ast.stmt]]) -> None:
    """Look for further problems within a refused statement; what is lowered here is thrown away."""
    keep, env, loops = fn.builder, dict(fn.env), fn.loops
    for body in blocks:
        # A loop of its own, so that what a `break` carries does not count.
        fn.open((), body[0]) if body else None
        fn.loops = [*loops[:-1], Loop(loops[-1].keys)] if loops else []
        fn.block(body)
        fn.block_depth -= 1 if body else 0
        fn.builder = keep
    fn.env, fn.loops = env, loops


STATEMENTS: Final[Mapping[type[ast.AST], StatementHandler]] = {
    ast.Expr: _expression,
    ast.Pass: _pass,
    ast.Return: _return,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.If: _if,
    ast.For: _for,
    ast.While: _while,
    ast.Break: _break,
    ast.Continue: _continue,
    ast.Raise: _raise,
    ast.Assert: _assert,
    ast.Delete: _delete,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Global: _declaration,
    ast.Nonlocal: _declaration,
    ast.Try: _try,
    ast.TryStar: _try,
    ast.With: _with,
}
