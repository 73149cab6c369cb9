"""A generic graph as runnable Python: `.code`.

`python_trees` turns blocks into statements, `python_names` finds variables for their values; here they are printed.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

from tensorjit.ir.graph import Graph, Op, Value
from tensorjit.ir.python_names import Names
from tensorjit.ir.python_trees import Shaper, Stmt, Tree

_HELPERS: Final = frozenset({"bool", "slice", "float", "complex"})  # builtins that the printed text may call

# How tightly an expression binds, loosest first (the Python reference, "Operator precedence").
_LAMBDA, _TERNARY, _OR, _AND, _NOT, _COMPARE, _UNARY, _POWER, _POSTFIX, _ATOM = 0, 1, 2, 3, 4, 5, 12, 13, 14, 15
_BINARY: Final[Mapping[str, int]] = {
    "|": 6, "^": 7, "&": 8, "<<": 9, ">>": 9, "+": 10, "-": 10, "*": 11, "/": 11, "//": 11, "%": 11, "@": 11, "**": _POWER,
}  # fmt: skip
_COMPARE_WORDS: Final[Mapping[str, str]] = {"isnot": "is not", "notin": "not in"}


def python_code(graph: Graph, defaults: Mapping[str, object] | None = None) -> str:
    """The source of a Python function that does what the generic graph does.

    `defaults` gives the values of parameters that have one; those that can be written down go into the
    header. The text runs with the names of the function's module, and ``np``, ``numpy`` and ``math``.

    >>> from tensorjit.ir.graph import Builder, Value
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
        self.shaper = Shaper(graph)
        self.captured = captured
        self.parameters = [name for name, _, _ in _signature(graph)]
        self.reserved = outer | _outside_names(graph) | frozenset(captured.values()) | _HELPERS
        self.names = Names(self.shaper, self.parameters, self.reserved)
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

    def block(self, body: Sequence[Stmt]) -> list[str]:
        lines: list[str] = []
        for stmt in body:
            lines += self.statement(stmt)
        return lines

    def statement(self, stmt: Stmt) -> list[str]:
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
            case "set_subscript":
                return self._store(stmt)
            case "inplace_subscript":
                return self._update_item(stmt)
            case _:
                return self._update(stmt)

    def define(self, value: Value) -> str:
        name = self.names.name(value)
        self.assigned.add(name)
        return name

    def _assign(self, stmt: Stmt) -> list[str]:
        text = self.text(stmt.trees[0])
        return [f"{self.define(stmt.defs[0])} = {text}"] if stmt.defs else [text]

    def _copy(self, stmt: Stmt) -> list[str]:
        """A parallel assignment, in single steps where no later one reads what an earlier one has
        overwritten."""
        lines: list[str] = []
        steps: list[tuple[str, Tree]] = []
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

    def _if(self, stmt: Stmt, word: str) -> list[str]:
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

    def _for(self, stmt: Stmt) -> list[str]:
        iterable = self.text(stmt.trees[0])
        head = f"for {self.define(stmt.defs[0])} in {iterable}:"
        self.loops += 1
        body = self._turn(stmt.blocks[0])
        self.loops -= 1
        lines = [head, *_indented(body)]
        if len(stmt.blocks) > 1:
            lines += ["else:", *_indented(self.block(stmt.blocks[1]))]
        return lines

    def _turn(self, body: Sequence[Stmt]) -> list[str]:
        return self.block(body[:-1] if body and body[-1].kind == "continue" else body)

    def _while(self, stmt: Stmt) -> list[str]:
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

    def _unpack(self, stmt: Stmt) -> list[str]:
        assert stmt.op is not None
        source = self.text(stmt.trees[0])
        names = [self.define(v) for v in stmt.defs]
        star = stmt.op.attrs.get("star")
        if star is not None:
            names[star] = "*" + names[star]
        return [f"{', '.join(names)}{',' if len(names) == 1 else ''} = {source}" if names else f"[] = {source}"]

    def _import(self, stmt: Stmt) -> list[str]:
        assert stmt.op is not None
        module = stmt.op.attrs["module"]
        name = self.define(stmt.defs[0])
        return [f"import {module}" if module == name else f"import {module} as {name}"]

    def _store(self, stmt: Stmt) -> list[str]:
        assert stmt.op is not None
        container, key, value = stmt.trees
        return [f"{self.text(container, _POSTFIX)}[{self.key(key)}] = {self.text(value)}"]

    def _update_item(self, stmt: Stmt) -> list[str]:
        assert stmt.op is not None
        old, value, *place = stmt.trees
        lines = [f"{self.text(old)} {stmt.op.attrs['op']}= {self.text(value)}"]
        if place:
            container, key = place
            lines.append(f"{self.text(container, _POSTFIX)}[{self.key(key)}] = {self.text(old)}")
        return lines

    def _update(self, stmt: Stmt) -> list[str]:
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

    def _function(self, stmt: Stmt) -> list[str]:
        (tree,) = stmt.trees
        assert tree.op is not None
        graph, captured, defaults = self._nested(tree)
        # The text of the function is made before its name is local here.
        name = self.names.name(stmt.defs[0])
        lines = _define(graph, name, {}, captured, self.reserved, defaults)
        self.define(stmt.defs[0])
        return lines

    def _nested(self, tree: Tree) -> tuple[Graph, dict[str, str], dict[str, str]]:
        assert tree.op is not None
        attrs = tree.op.attrs
        captures = attrs.get("captures", ())
        texts = [self.text(arg) for arg in tree.args]
        captured = dict(zip(captures, texts, strict=False))
        defaults = dict(zip(attrs.get("defaults", ()), texts[len(captures) :], strict=True))
        return attrs["graph"], captured, defaults

    # --- expressions ---

    def condition(self, tree: Tree) -> str:
        """A test: `truth` needs no word there."""
        return self.text(_tested(tree))

    def negated(self, tree: Tree) -> str:
        tree = _tested(tree)
        if tree.op is not None and tree.op.name == "unary" and tree.op.attrs["op"] == "not":
            return self.text(tree.args[0])
        return f"not {self.text(tree, _NOT)}"

    def text(self, tree: Tree, least: int = _LAMBDA) -> str:
        """The text of a tree, in parentheses if it binds less tightly than `least`."""
        if tree.op is None:
            assert tree.value is not None
            return self.names.name(tree.value)
        text, level = _TEXTS[tree.op.name](self, tree, tree.op)
        return f"({text})" if level < least else text

    def _const_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        return _constant(op.attrs["value"])

    def _global_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        return op.attrs["name"], _ATOM

    def _free_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        name = op.attrs["name"]
        text = self.captured.get(name, name)
        return text, _ATOM if text.isidentifier() else _LAMBDA

    def _numpy_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        first, dot, rest = op.attrs["name"].partition(".")
        return (f"np{dot}{rest}" if first == "numpy" else op.attrs["name"]), _ATOM

    def _capture_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        return _captured(op), _ATOM

    def _unbound_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        base = op.attrs["name"]
        name = base
        while name in self.reserved or name in self.names.taken:
            name += "_"
        if name not in self.never:
            self.never.append(name)
        return name, _ATOM

    def _bound_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        return self.text(tree.args[0]), _ATOM

    def _attr_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        inner = tree.args[0]
        text = self.text(inner, _POSTFIX)
        number = inner.op is not None and inner.op.name == "const" and type(inner.op.attrs["value"]) is int
        return f"({text}).{op.attrs['name']}" if number and text[0] != "(" else f"{text}.{op.attrs['name']}", _POSTFIX

    def _subscript_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        return f"{self.text(tree.args[0], _POSTFIX)}[{self.key(tree.args[1])}]", _POSTFIX

    def key(self, tree: Tree) -> str:
        """What stands between the brackets."""
        if tree.op is not None and tree.op.name == "slice":
            low, high, step = ("" if _is_none(part) else self.text(part, _TERNARY) for part in tree.args)
            return f"{low}:{high}" + (f":{step}" if step else "")
        if tree.op is not None and tree.op.name == "tuple" and tree.args and not tree.op.attrs.get("star"):
            return ", ".join(map(self.key, tree.args)) + ("," if len(tree.args) == 1 else "")
        return self.text(tree)

    def _slice_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        return f"slice({', '.join(map(self.text, tree.args))})", _POSTFIX

    def _tuple_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        texts = self._elements(tree, op)
        return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})", _ATOM

    def _list_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        return f"[{', '.join(self._elements(tree, op))}]", _ATOM

    def _elements(self, tree: Tree, op: Op) -> list[str]:
        star = op.attrs.get("star", ())
        return [f"*{self.text(a, 6)}" if i in star else self.text(a) for i, a in enumerate(tree.args)]

    def _dict_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        pairs = zip(op.attrs["keys"], tree.args, strict=True)
        return "{" + ", ".join(f"{_constant(k)[0]}: {self.text(v)}" for k, v in pairs) + "}", _ATOM

    def _binary_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        sign = op.attrs["op"]
        level = _BINARY[sign]
        left, right = (level, level + 1) if sign != "**" else (_POSTFIX, _UNARY)
        return f"{self.text(tree.args[0], left)} {sign} {self.text(tree.args[1], right)}", level

    def _unary_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        if op.attrs["op"] == "not":
            return f"not {self.text(tree.args[0], _NOT)}", _NOT
        inner = self.text(tree.args[0], _UNARY)
        return op.attrs["op"] + (f"({inner})" if inner[0].isdigit() else inner), _UNARY

    def _compare_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        word = _COMPARE_WORDS.get(op.attrs["op"], op.attrs["op"])
        return f"{self.text(tree.args[0], 6)} {word} {self.text(tree.args[1], 6)}", _COMPARE

    def _truth_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        return f"bool({self.text(tree.args[0])})", _POSTFIX

    def _if_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        condition = _tested(tree.args[0])
        if tree.form == "ternary":
            _, then, orelse = tree.args
            first = f"{self.text(then, _OR)} if {self.text(condition, _OR)}"
            return f"{first} else {self.text(orelse, _TERNARY)}", _TERNARY
        level = _AND if tree.form == "and" else _OR
        return f"{self.text(condition, level + 1)} {tree.form} {self.text(tree.args[1], level)}", level

    def _call_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        names, star = op.attrs.get("keywords", ()), op.attrs.get("star", ())
        first = len(tree.args) - len(names)
        parts: list[str] = []
        for i, arg in enumerate(tree.args[1:], 1):
            mark = f"{names[i - first]}=" if i >= first else "*" if i in star else ""
            parts.append(mark + self.text(arg, _OR if mark == "*" else _LAMBDA))
        return f"{self.text(tree.args[0], _POSTFIX)}({', '.join(parts)})", _POSTFIX

    def _format_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        """`format` calls joined: before Python 3.12 an f-string cannot hold every expression, or every
        text."""
        pattern, order = _pattern(op.attrs["parts"])
        texts = ", ".join(self.text(tree.args[i], _TERNARY) for i in order)
        return f"{pattern!r}.format({texts})", _POSTFIX

    def _function_text(self, tree: Tree, op: Op) -> tuple[str, int]:
        graph, captured, defaults = self._nested(tree)
        inner = _Writer(graph, captured, self.reserved)
        header = _header(graph, inner.parameters, defaults)
        (line,) = inner.body()
        return f"lambda{' ' if header else ''}{header}: {line.removeprefix('return ')}", _LAMBDA


_TEXTS: Final[Mapping[str, Callable[[_Writer, Tree, Op], tuple[str, int]]]] = {  # a text and how tightly it binds
    "const": _Writer._const_text,
    "global": _Writer._global_text,
    "free": _Writer._free_text,
    "numpy": _Writer._numpy_text,
    "capture": _Writer._capture_text,
    "unbound": _Writer._unbound_text,
    "bound": _Writer._bound_text,
    "attr": _Writer._attr_text,
    "subscript": _Writer._subscript_text,
    "slice": _Writer._slice_text,
    "tuple": _Writer._tuple_text,
    "list": _Writer._list_text,
    "dict": _Writer._dict_text,
    "binary": _Writer._binary_text,
    "unary": _Writer._unary_text,
    "compare": _Writer._compare_text,
    "truth": _Writer._truth_text,
    "if": _Writer._if_text,
    "call": _Writer._call_text,
    "format": _Writer._format_text,
    "function": _Writer._function_text,
}


def _captured(op: Op) -> str:
    """What a trace captured, by the place where it reads it."""
    return op.attrs.get("of") or f"capture_{op.attrs['index']}"


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
                found.update(re.findall(r"[^\W\d]\w*", _captured(op)))
            elif op.name == "function":
                stack.append(op.attrs["graph"])
    return frozenset(found)


def _tested(tree: Tree) -> Tree:
    return tree.args[0] if tree.op is not None and tree.op.name == "truth" else tree


def _is_none(tree: Tree) -> bool:
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
