"""The text of what stands in IR: names, numbers, sizes, types, attrs, places.

Text is ASCII whatever the names are: a name that is no plain identifier is quoted and escaped, as a string is.
"""

from __future__ import annotations

import re
import struct
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import numpy as np

from tensorjit.errors import Loc
from tensorjit.ir.core import CORE
from tensorjit.ir.dims import Apply as DimApply
from tensorjit.ir.dims import Dim, DimExpr, Symbol
from tensorjit.ir.dtypes import BOOL, DType, from_numpy
from tensorjit.ir.graph import Graph
from tensorjit.ir.kernel import Kernel
from tensorjit.ir.types import ArrayType, Loop, ScalarType, Type, UnknownType
from tensorjit.records import dataclass

LABELS = frozenset({label for row in CORE.values() for label in row.blocks})
GRAPH_WORDS = frozenset({"graph", "kernel", "symbols", "attrs", *LABELS})
NUMBER_WORDS = frozenset({"inf", "nan", "True", "False", "None"})

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_FILENAME = re.compile(r"[A-Za-z0-9_./<>+=@~-]+")
_ESCAPED = re.compile(r"[^ !#-\[\]-~]")
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_PYTHON_SCALARS = {"b": "bool", "i": "int", "f": "float", "c": "complex"}
_DEFAULT_NAN = 0x7FF8000000000000
_SIGN = 1 << 63


@final
@dataclass(frozen=True, slots=True)
class Opaque:
    """What the parser makes of ``@name``: text has the name alone of a Python object (a function, a
    class)."""

    name: str


# --- names and constants ------------------------------------------------------------------------------------


def string(text: str) -> str:
    r"""A string literal in ASCII.

    >>> print(string('a"b\n'), string("\u03b1"))
    "a\"b\n" "\u03b1"
    """
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(name: str, reserved: frozenset[str] = frozenset(), dotted: bool = False) -> str:
    """A name as it is if it is a plain identifier and no reserved word, else as a string."""
    plain = (_DOTTED if dotted else _PLAIN).fullmatch(name)
    return name if plain and name not in reserved and name not in NUMBER_WORDS else string(name)


def unique(hints: Mapping[int, str], reserved: frozenset[str] = frozenset()) -> dict[int, str]:
    """id -> text of its name: the hint, with a number from the second one of the same hint on."""
    counts: dict[str, int] = {}
    out: dict[int, str] = {}
    for key, hint in hints.items():
        count = counts.get(hint, 0)
        counts[hint] = count + 1
        out[key] = quoted(hint, reserved) + (f".{count}" if count else "")
    return out


def scalar_text(value: bool | int | float | complex) -> str:
    """A Python number, exactly: also the sign of a zero, an infinity, and the bits of a NaN.

    >>> scalar_text(-0.0), scalar_text(complex(1.0, float("inf"))), scalar_text(float("nan"))
    ('-0.0', '1.0+infj', 'nan')
    """
    if isinstance(value, complex):
        imag = _float_text(value.imag)
        return _float_text(value.real) + ("" if imag.startswith("-") else "+") + imag + "j"
    if isinstance(value, float):
        return _float_text(value)
    # str() of an int beyond 4300 digits raises; hexadecimal has no such limit
    return str(value) if isinstance(value, bool) or abs(value) < _SIGN else hex(value)


def _float_text(value: float) -> str:
    if value == value:
        return repr(float(value))
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    sign = "-" if bits & _SIGN else ""
    payload = bits & ~_SIGN
    return f"{sign}nan" if payload == _DEFAULT_NAN else f"{sign}nan.{payload:016x}"


# --- dims, types, attrs -------------------------------------------------------------------------------------


def dim_text(dim: Dim) -> str:
    """A size: ``3``, ``2*n-1``, ``max(n-1, 0)``."""
    if not isinstance(dim, DimExpr):
        return str(dim)
    out = ""
    for monomial, factor in dim.terms:
        atoms = [_atom_text(a) for a in monomial]
        size = abs(factor)
        sign = "-" if factor < 0 else ("+" if out else "")
        out += sign + "*".join(([str(size)] if size != 1 or not atoms else []) + atoms)
    return out


def _atom_text(atom: Symbol | DimApply) -> str:
    if isinstance(atom, Symbol):
        return quoted(atom.name)
    return f"{atom.function}({', '.join(map(dim_text, atom.args))})"


def type_text(of: Type) -> str:
    """A type. Python's bool and NumPy's are two types: `bool` and `bool_`."""
    if isinstance(of, UnknownType):
        return "?"
    if isinstance(of, ArrayType):
        return f"{of.dtype}[{', '.join(map(dim_text, of.shape))}]{of.suffix}"
    if of.python:
        return _PYTHON_SCALARS.get(of.dtype.kind, "int")
    return "bool_" if of.dtype == BOOL else of.dtype.name


def loc_text(loc: Loc) -> str:
    """A location as the comment that ends an op's line: ``# file.py:12:4-9 in function``."""
    name = loc.filename if _FILENAME.fullmatch(loc.filename) else string(loc.filename)
    end = f"-{loc.end_col}" if loc.end_col else ""
    function = ""
    if loc.function:
        plain = _FILENAME.fullmatch(loc.function)
        function = f" in {loc.function if plain else string(loc.function)}"
    return f"# {name}:{loc.lineno}:{loc.col}{end}{function}"


def opaque_name(value: object) -> str:
    """How text names a Python object: by its qualified name, or its class's if it has none."""
    if isinstance(value, Opaque):
        return value.name
    if isinstance(value, np.ufunc):
        return f"numpy.{value.__name__}"
    if isinstance(value, types.ModuleType):
        return value.__name__
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return f"{module}.{name}" if isinstance(module, str) else name
    return f"{type(value).__module__}.{type(value).__qualname__}"


Named = Mapping[int, str]  # the names of graphs and kernels in attrs, by identity


def attr_text(value: object, sections: Named = types.MappingProxyType({})) -> str:
    """An attr's value.

    >>> attr_text((None, 1, "a", slice(0, None), {"k": DType("f64", "f", 8, "d")}, np.sin))
    '(None, 1, "a", slice(0, None, None), {k=dtype(f64)}, @numpy.sin)'
    """
    show = _ATTRS.get(type(value))
    if show is not None:
        return show(value)
    if isinstance(value, tuple):
        items = [attr_text(v, sections) for v in value]
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if isinstance(value, Mapping) and all(type(k) is str for k in value):
        return attrs_text(value, sections)
    if isinstance(value, slice):
        parts = ", ".join(attr_text(v, sections) for v in (value.start, value.stop, value.step))
        return f"slice({parts})"
    if isinstance(value, Graph | Kernel):
        section = "graph" if isinstance(value, Graph) else "kernel"
        return f"{section}({sections.get(id(value), string(value.name))})"
    if isinstance(value, np.generic):
        dtype = from_numpy(value.dtype)
        if dtype is not None:
            return f"numpy({dtype}, {scalar_text(value.item())})"
    name = opaque_name(value)
    return "@" + (name if _DOTTED.fullmatch(name) else string(name))


def attrs_text(attrs: Mapping[str, object], sections: Named = types.MappingProxyType({})) -> str:
    items = (f"{quoted(k)}={attr_text(attrs[k], sections)}" for k in sorted(attrs))
    return "{" + ", ".join(items) + "}"


_ATTRS: Mapping[type, Callable[[Any], str]] = {
    Loop: lambda v: f"loop({string(str(v))})",
    type(None): str,
    bool: str,
    int: scalar_text,
    float: scalar_text,
    complex: scalar_text,
    str: string,
    bytes: lambda v: "b" + string(v.decode("latin-1")),
    type(Ellipsis): lambda v: "...",
    DType: lambda v: f"dtype({v})",
    ArrayType: lambda v: f"type({type_text(v)})",
    ScalarType: lambda v: f"type({type_text(v)})",
    UnknownType: lambda v: f"type({type_text(v)})",
    DimExpr: lambda v: f"dim({dim_text(v)})",
}


def leaves(value: object) -> Iterator[object]:
    """The parts of an attr's value that are neither tuple, dict nor slice."""
    stack = [value]
    while stack:
        v = stack.pop()
        if isinstance(v, tuple):
            stack.extend(reversed(v))
        elif isinstance(v, Mapping):
            stack.extend(v[k] for k in sorted(v, key=str, reverse=True))
        elif isinstance(v, slice):
            stack.extend((v.step, v.stop, v.start))
        else:
            yield v
