"""Comprehensions as loops that carry what they build.

`[e for x in xs if c]` becomes a `for` op over xs that carries a `list`; each turn yields `list_append(list,
e)`, a new list value. A generator expression is lowered where it is the only argument of a call: into such a
list, or, under the builtins any and all, into a loop that breaks at the element that decides.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from tensorjit.frontend.control import branches, for_loop, leave_loop
from tensorjit.frontend.expressions import lower_call
from tensorjit.frontend.lowering import ExpressionHandler, Lowering
from tensorjit.frontend.scopes import target_names, walrus_names
from tensorjit.frontend.statements import assign
from tensorjit.ir.graph import Value
from tensorjit.records import dataclass

Comprehension = ast.ListComp | ast.GeneratorExp | ast.DictComp


@final
@dataclass(frozen=True, slots=True)
class _Plan:
    """A comprehension being lowered: `result` is the key of what it builds, `step` makes one turn of the
    innermost loop."""

    node: Comprehension
    result: str
    keys: tuple[str, ...]
    step: Callable[[], None]
    after_loop: Callable[[], None]


def _list_comprehension(fn: Lowering, node: ast.ListComp | ast.GeneratorExp, hint: str = "") -> Value:
    result = fn.fresh_key("")

    def step() -> None:
        fn.env[result] = fn.emit("list_append", (fn.env[result], fn.expr(node.elt)), node.elt)

    return _lower(fn, node, result, lambda: fn.emit("list", (), node), step)


def _dict_comprehension(fn: Lowering, node: ast.DictComp, hint: str) -> Value:
    result = fn.fresh_key("")

    def step() -> None:
        entry = (fn.expr(node.key), fn.expr(node.value))
        fn.env[result] = fn.emit("dict_insert", (fn.env[result], *entry), node)

    return _lower(fn, node, result, lambda: fn.emit("dict", (), node, {"keys": ()}), step)


def _decide(fn: Lowering, node: ast.GeneratorExp, stop_at: bool) -> Value:
    """any (stop_at True) and all (False): the loop breaks with the answer."""
    result = fn.fresh_key("")

    def stop() -> None:
        fn.env[result] = fn.constant(stop_at, node)
        leave_loop(fn, "break", node)

    def when(condition: Value) -> None:
        bodies = (_statement(stop), _nothing) if stop_at else (_nothing, _statement(stop))
        branches(fn, condition, (result, *_walruses(fn, node)), bodies, node)

    def step() -> None:
        when(fn.truth(node.elt))

    def after_loop() -> None:
        when(fn.emit("truth", (fn.env[result],), node))

    return _lower(fn, node, result, lambda: fn.constant(not stop_at, node), step, after_loop)


def _lower(
    fn: Lowering,
    node: Comprehension,
    result: str,
    start: Callable[[], Value],
    step: Callable[[], None],
    after_loop: Callable[[], None] = lambda: None,
) -> Value:
    iterable = fn.expr(node.generators[0].iter)  # in the scope around, as Python evaluates it
    fn.env[result] = start()
    names = dict.fromkeys(name for g in node.generators for name in target_names(g.target))
    fn.aliases.append({name: fn.fresh_key(name) for name in names})
    plan = _Plan(node, result, (result, *_walruses(fn, node)), step, after_loop)
    _generator(fn, plan, 0, iterable)
    fn.aliases.pop()
    return fn.env.pop(result)


def _walruses(fn: Lowering, node: Comprehension) -> Sequence[str]:
    return walrus_names(node) if fn.scope.walrus else ()


def _generator(fn: Lowering, plan: _Plan, index: int, iterable: Value) -> None:
    generator = plan.node.generators[index]
    if generator.is_async:
        fn.problem("`async for` is not supported", plan.node, "use a plain `for`")

    def turn(item: Value) -> None:
        assign(fn, generator.target, item)
        _conditions(fn, plan, index, 0)

    name = generator.target.id if isinstance(generator.target, ast.Name) else ""
    for_loop(fn, iterable, plan.keys, turn, None, plan.node, name)


def _conditions(fn: Lowering, plan: _Plan, index: int, which: int) -> None:
    """The `if`s of a generator from `which` on, then what is inside it."""
    conditions = plan.node.generators[index].ifs
    if which < len(conditions):
        condition = fn.truth(conditions[which])
        rest = _statement(lambda: _conditions(fn, plan, index, which + 1))
        branches(fn, condition, plan.keys, (rest, _nothing), conditions[which])
    elif index + 1 < len(plan.node.generators):
        _generator(fn, plan, index + 1, fn.expr(plan.node.generators[index + 1].iter))
        plan.after_loop()
    else:
        plan.step()


def _nothing() -> None:
    return None


def _statement(body: Callable[[], None]) -> Callable[[], None]:
    return body


def _call(fn: Lowering, node: ast.Call, hint: str) -> Value:
    if len(node.args) == 1 and isinstance(node.args[0], ast.GeneratorExp):
        return _call_of_generator(fn, node, node.args[0], hint)
    return lower_call(fn, node, hint)


def _call_of_generator(fn: Lowering, node: ast.Call, generator: ast.GeneratorExp, hint: str) -> Value:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name in ("any", "all") and not node.keywords and fn.is_global(name) and name not in fn.shared.own_globals:
        fn.expr(node.func)  # unused, but it makes the name one that is guarded
        return _decide(fn, generator, stop_at=name == "any")
    function = fn.expr(node.func)
    values = [_list_comprehension(fn, generator), *(fn.expr(k.value) for k in node.keywords)]
    if any(k.arg is None for k in node.keywords):
        return fn.refuse("`**` in a call is not supported", node, "write out the keyword arguments")
    attrs = {"keywords": tuple(k.arg for k in node.keywords), "star": ()}
    return fn.emit("call", (function, *values), node, attrs, hint)


def _lone_generator(fn: Lowering, node: ast.GeneratorExp, hint: str) -> Value:
    message = "a generator expression is supported only as the single argument of a call"
    return fn.refuse(message, node, "use a list comprehension")


COMPREHENSIONS: Final[Mapping[type[ast.AST], ExpressionHandler]] = {
    ast.ListComp: _list_comprehension,
    ast.DictComp: _dict_comprehension,
    ast.GeneratorExp: _lone_generator,
    ast.Call: _call,
}
