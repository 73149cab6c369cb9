"""The core ops of graphs, one row each: what they look like and what they do.

Rows of the op table (`tensorjit/ops`) are what NumPy names; these are the rest: control flow, terminators, what `script` and
`trace` read (generic ops), memory, sizes, checks, launches. Whoever wants to know something of a core op asks its row, and nobody
keeps a list of names: the verifier asks how many operands it has, the printer what its blocks are called, a pass whether it
writes, a backend whether it touches Python objects.

>>> CORE["store"].writes, CORE["load"].writes, CORE["while"].blocks
(True, False, ('test', 'do', 'else'))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, Literal, final

from tensorjit.records import dataclass

__all__ = ["BINARY", "COMPARE", "CORE", "UNARY", "CoreOp"]

BINARY = frozenset({"+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>"})
UNARY = frozenset({"+", "-", "~", "not"})
COMPARE = frozenset({"==", "!=", "<", "<=", ">", ">=", "is", "isnot", "in", "notin"})

Level = Literal["generic", "specialised"]
Role = Literal["plain", "fill", "view", "branch", "loop", "region", "terminator"]
Aim = Literal["owner", "loop", "scope"]
Form = Literal["name", "expression", "statement", "update"]
AttrCheck = Callable[[Any], bool]


def is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(v, str) for v in value)


def _is_indices(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_count, value))


def _is_tuple(value: object) -> bool:
    return isinstance(value, tuple)


def _any(value: object) -> bool:
    return True


@final
@dataclass(frozen=True, slots=True)
class CoreOp:
    """One row.

    How it looks: how many `operands` (None: any; a pair: from, to) and `results` (None: any), which `attrs` it must and may have,
    what its `blocks` are called. The first `own` blocks of a loop are those whose `break` and `continue` are its own (a test, the
    body); its else is not among them. A terminator hands its operands to the op that it `aims` at, or leaves the graph. `form` is
    what a generic op is in Python: a name or literal, an expression, a statement; an update is a statement whose result is its first
    operand, changed.

    What it does: whether it `reads` the memory of its array operands, `writes` to that of the first one, `allocates`; `raises`, or
    ends the call otherwise; touches Python objects (`python`: not without the GIL); may set the processor's floating-point `flags`.
    `tells`: what it says of a size holds behind it, so that it stays though nothing uses its results.
    """

    name: str
    levels: tuple[Level, ...]
    role: Role = "plain"
    operands: int | tuple[int, int] | None = None
    results: int | None = 1
    attrs: Mapping[str, AttrCheck] = field(default_factory=dict)
    optional: Mapping[str, AttrCheck] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    own: int = 0
    aims: Aim | None = None
    form: Form = "expression"
    reads: bool = False
    writes: bool = False
    allocates: bool = False
    raises: bool = False
    python: bool = False
    flags: bool = False
    tells: bool = False

    @property
    def is_pure(self) -> bool:
        """Whether it may be left out where nothing uses its results."""
        return not (self.writes or self.raises or self.tells or (self.python and not self.allocates))


_GENERIC: tuple[Level, ...] = ("generic",)
_TYPED: tuple[Level, ...] = ("specialised",)
_BOTH: tuple[Level, ...] = ("generic", "specialised")


def _generic(name: str, operands: int | tuple[int, int] | None, results: int | None = 1, **more: Any) -> CoreOp:
    """What Python does: it may call anything."""
    return CoreOp(name, _GENERIC, operands=operands, results=results, raises=True, python=True, **more)


def _typed(name: str, operands: int | tuple[int, int] | None, results: int | None = 1, **more: Any) -> CoreOp:
    return CoreOp(name, _TYPED, operands=operands, results=results, **more)


def _terminator(name: str, aims: Aim | None = None, **more: Any) -> CoreOp:
    return CoreOp(name, _BOTH, "terminator", results=0, aims=aims, **more)


_OPERATOR = {"op": BINARY.__contains__}

_ROWS: tuple[CoreOp, ...] = (
    # control flow
    CoreOp("if", _BOTH, "branch", operands=1, results=None, blocks=("then", "else")),
    CoreOp("scope", _BOTH, "branch", operands=0, results=None, blocks=("do",)),
    CoreOp("for", _BOTH, "loop", results=None, blocks=("do", "else"), own=1),
    CoreOp("while", _BOTH, "loop", results=None, blocks=("test", "do", "else"), own=2, raises=True),  # it may never end
    # terminators
    _terminator("yield", "owner"),
    _terminator("continue", "loop"),
    _terminator("break", "loop"),
    _terminator("leave", "scope"),
    _terminator("return", raises=True, python=True),
    _terminator("raise", raises=True, python=True),
    _terminator("unreachable"),
    # generic: names and constants
    CoreOp("const", _BOTH, operands=0, attrs={"value": _any}, form="name"),
    CoreOp("unbound", _GENERIC, operands=0, attrs={"name": is_name}, form="name"),
    _generic("global", 0, attrs={"name": is_name}, form="name"),
    _generic("free", 0, attrs={"name": is_name}, form="name"),
    _generic("numpy", 0, attrs={"name": is_name}, form="name"),
    _generic("capture", 0, attrs={"index": _is_count}, optional={"of": lambda v: isinstance(v, str)}, form="name"),
    _generic("bound", 1, attrs={"name": is_name}),
    _generic("import", 0, attrs={"module": is_name}, form="statement"),
    # generic: containers
    _generic("tuple", None),
    _generic("list", None),
    _generic("dict", None, attrs={"keys": _is_tuple}),
    _generic("list_append", 2, form="update", writes=True),
    _generic("dict_insert", 3, form="update", writes=True),
    _generic("unpack", 1, None, attrs={"count": _is_count}, optional={"star": lambda v: v is None or _is_count(v)}, form="statement"),
    _generic("slice", 3),
    _generic("attr", 1, attrs={"name": is_name}),
    _generic("subscript", 2, reads=True),
    _generic("set_subscript", 3, 0, form="statement", writes=True),
    _generic("inplace_subscript", 4, 0, attrs=_OPERATOR, form="statement", reads=True, writes=True),
    # generic: operators and calls
    _generic("binary", 2, attrs=_OPERATOR, reads=True),
    _generic("inplace", 2, attrs=_OPERATOR, form="update", reads=True, writes=True),
    _generic("unary", 1, attrs={"op": UNARY.__contains__}, reads=True),
    _generic("compare", 2, attrs={"op": COMPARE.__contains__}, reads=True),
    _generic("call", (1, 1 << 30), optional={"keywords": _is_names, "star": _is_indices}, reads=True, writes=True),
    _generic("format", None, attrs={"parts": _is_tuple}, reads=True),
    _generic("function", None, attrs={"graph": _any}, optional={"captures": _is_names}),
    CoreOp("truth", _BOTH, operands=1, reads=True),
    # sizes, and what NumPy checks
    _typed("dim", 0, attrs={"dim": _any}),
    _typed("bind", 1, 0, attrs={"symbol": is_name}, tells=True),
    _typed("check", None, 0, raises=True, tells=True),
    _typed("warn", None, 0, raises=True, python=True),
    _typed("broadcast_dim", None, 0, raises=True, tells=True),
    _typed("index_check", 1, raises=True),
    _typed("fit_int", 1, raises=True),
    # arrays
    _typed("empty", 0, allocates=True, python=True),
    _typed("full", 1, role="fill", allocates=True, python=True),
    _typed("iota", 2, role="fill", allocates=True, python=True),
    _typed("cast", 1, reads=True, flags=True),
    _typed("copy", 1, reads=True, allocates=True, python=True),
    _typed("load", 1, reads=True),
    _typed("store", 2, 0, writes=True, reads=True, flags=True),
    _typed("view", 1, role="view", attrs={"axes": _is_tuple, "offset": _is_tuple}),
    _typed("reshape", 1, role="view"),
    _typed("part", 1, role="view"),
    _typed("same_object", 2),
    _typed("library", None, None, reads=True, writes=True, allocates=True, raises=True, python=True, flags=True),
    # after `lower`
    _typed("fused", None, None, role="region", blocks=("do",), reads=True, writes=True, allocates=True, flags=True),
    _typed("launch", None, 0, reads=True, writes=True, flags=True),
)

CORE: Mapping[str, CoreOp] = MappingProxyType({row.name: row for row in _ROWS})
"""Op name -> row."""

if len(CORE) != len(_ROWS):
    raise AssertionError("two core ops of one name")
