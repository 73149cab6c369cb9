"""Text to sizes, types and attrs: what stands in a graph beside its ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, Literal, final, get_args

import numpy as np

from tensorjit.ir import dtypes
from tensorjit.ir.dims import FUNCTIONS, Dim, DimExpr, Symbol
from tensorjit.ir.dims import Apply as DimApply
from tensorjit.ir.dtypes import DType
from tensorjit.ir.graph import NO_ATTRS, Graph
from tensorjit.ir.kernel import Kernel
from tensorjit.ir.texts import Opaque
from tensorjit.ir.tokens import INT64, Tokens, unquote
from tensorjit.ir.types import (
    NP_BOOL,
    PY_BOOL,
    PY_COMPLEX,
    PY_FLOAT,
    PY_INT,
    UNKNOWN,
    Access,
    ArrayType,
    Layout,
    Loop,
    ScalarType,
    Type,
)
from tensorjit.records import dataclass

MAX_ATTR_NESTING = 50  # attrs are printed and compared by recursion
MAX_DIM_TERMS = 1000
MAX_DIM_NESTING = 50  # sizes nest by recursion, here and in dims.py
MAX_RANK = 64  # NumPy's
_SCALARS: Mapping[str, Type] = {
    "bool": PY_BOOL, "int": PY_INT, "float": PY_FLOAT, "complex": PY_COMPLEX, "bool_": NP_BOOL,
}  # fmt: skip


@final
@dataclass(slots=True)
class _Open:
    """A tuple, dict or call in an attr that is not closed yet; a dict's `keys` go with its `items`."""

    kind: Literal["tuple", "dict", "slice"]
    at: int
    items: list[object] = field(default_factory=list)
    keys: list[str] | None = None
    comma: bool = False

    @property
    def closer(self) -> str:
        return "}" if self.kind == "dict" else ")"


@final
class ValueReader:
    """Reads types, sizes and attrs of one section; `symbols` are the sizes that its header declares."""

    def __init__(self, tokens: Tokens, sections: Mapping[str, Graph | Kernel]) -> None:
        self.tokens = tokens
        self.sections = sections
        self.symbols: dict[str, Symbol] = {}

    def declare(self) -> None:
        """``(n >= 0, m >= 2 != 1)``"""
        tokens = self.tokens
        tokens.expect("(")
        while True:
            at, name = tokens.start, tokens.plain()
            if name in self.symbols:
                tokens.fail(f"a second symbol {name}", at)
            tokens.expect(">=")
            low = tokens.size()
            not_one = tokens.skip("!=")
            if not_one and tokens.size() != 1:
                tokens.fail("expected `!= 1`", at)
            self.symbols[name] = Symbol(name, low, not_one)
            if not tokens.skip(","):
                break
        tokens.expect(")")

    def dim(self, depth: int = 0) -> Dim:
        """A sum of products. Nothing is simplified but the sum: what was printed was simple."""
        at = self.tokens.start
        if depth > MAX_DIM_NESTING:
            self.tokens.fail(f"sizes nest deeper than {MAX_DIM_NESTING}")
        total: Dim = 0
        for count in range(MAX_DIM_TERMS):
            negative = self.tokens.skip("-")
            if not (count == 0 or negative or self.tokens.skip("+") or self._negative_int()):
                return total
            term = self._term(depth)
            total = total - term if negative else total + term
        self.tokens.fail(f"a size of more than {MAX_DIM_TERMS} terms", at)

    def _negative_int(self) -> bool:
        return self.tokens.kind == "int" and self.tokens.text.startswith("-")

    def _term(self, depth: int) -> Dim:
        factor = 1
        if self.tokens.kind == "int":
            factor = self.tokens.size()
            if not self.tokens.skip("*"):
                return factor
        atoms = [self._atom(depth)]
        while self.tokens.skip("*"):
            atoms.append(self._atom(depth))
            if len(atoms) > MAX_DIM_TERMS:
                self.tokens.fail(f"a size of more than {MAX_DIM_TERMS} factors")
        return DimExpr(((tuple(sorted(atoms, key=str)), factor),)) if factor else 0

    def _atom(self, depth: int) -> Symbol | DimApply:
        tokens = self.tokens
        at, bare = tokens.start, tokens.kind == "name"
        name = tokens.plain()
        if bare and tokens.skip("("):
            if name not in FUNCTIONS:
                tokens.fail(f"no function {name} of sizes", at)
            first = self.dim(depth + 1)
            tokens.expect(",")
            second = self.dim(depth + 1)
            tokens.expect(")")
            if second == 0 and name in ("floordiv", "mod"):
                tokens.fail("a size divided by 0", at)
            return DimApply(name, (first, second))
        if name not in self.symbols:
            tokens.fail(f"no symbol {name} is declared", at)
        return self.symbols[name]

    def read_type(self) -> Type:
        """``f64[n, 3]:F``, ``float``, ``?``"""
        tokens = self.tokens
        if tokens.skip("?"):
            return UNKNOWN
        if tokens.kind == "name" and tokens.text in _SCALARS:
            at, name = tokens.start, tokens.take()
            if not tokens.at("["):
                return _SCALARS[name]
            if name != "bool":
                tokens.fail(f"no dtype {name}", at)
            dtype = dtypes.BOOL
        else:
            dtype = tokens.dtype()
        return self._shape(dtype) if tokens.skip("[") else ScalarType(dtype)

    def _shape(self, dtype: DType) -> ArrayType:
        tokens = self.tokens
        at, shape, size = tokens.start, list[Dim](), dtype.size
        while not tokens.at("]"):
            if shape:
                tokens.expect(",")
            dim = self.dim()
            shape.append(dim)
            if isinstance(dim, int):
                size *= dim or 1
                if dim < 0 or size not in INT64:
                    tokens.fail("no array has this size", at)
        tokens.expect("]")
        if len(shape) > MAX_RANK:
            tokens.fail(f"a rank above {MAX_RANK}", at)
        layout: Layout = "C"
        access: Access = "writable"
        while tokens.skip(":"):
            where, word = tokens.start, tokens.name("a layout or an access")
            if word in get_args(Layout):
                layout = word  # type: ignore[assignment]
            elif word in get_args(Access):
                access = word  # type: ignore[assignment]
            else:
                tokens.fail(f"no layout or access {word}", where)
        return ArrayType(dtype, tuple(shape), layout, access)

    def attrs(self) -> Mapping[str, Any]:
        """``{axis=0, names=("a", "b")}``, or nothing."""
        if not self.tokens.at("{"):
            return NO_ATTRS
        value = self.value()
        assert isinstance(value, Mapping)
        return value or NO_ATTRS

    def value(self) -> object:
        """An attr's value, without recursion."""
        stack: list[_Open] = []
        while True:
            opened = self._open()
            if opened is not None:
                stack.append(opened)
                if len(stack) > MAX_ATTR_NESTING:
                    self.tokens.fail(f"attrs nest deeper than {MAX_ATTR_NESTING}")
            else:
                done = self._atom_value()
                if not stack:
                    return done
                self._add(stack[-1], done)
            while self.tokens.skip(stack[-1].closer):
                done = self._closed(stack.pop())
                if not stack:
                    return done
                self._add(stack[-1], done)
            self._key(stack[-1])

    def _open(self) -> _Open | None:
        tokens = self.tokens
        at = tokens.start
        if tokens.skip("("):
            return _Open("tuple", at)
        if tokens.skip("{"):
            return _Open("dict", at, keys=[])
        if tokens.skip("slice"):
            tokens.expect("(")
            return _Open("slice", at)
        return None

    def _key(self, container: _Open) -> None:
        """What stands between two items: the comma, which must be there, and the next key of a dict."""
        tokens = self.tokens
        if container.items and not container.comma:
            tokens.fail(f"expected `,` or `{container.closer}`")
        container.comma = False
        if container.keys is not None:
            at, key = tokens.start, tokens.plain()
            if key in container.keys[-1:] or (len(container.keys) and key < container.keys[-1]):
                tokens.fail("keys must be sorted and differ", at)
            container.keys.append(key)
            tokens.expect("=")

    def _add(self, container: _Open, item: object) -> None:
        container.items.append(item)
        container.comma = self.tokens.skip(",")
        if container.comma and self.tokens.at(container.closer) and (
            container.kind != "tuple" or len(container.items) != 1
        ):  # fmt: skip
            self.tokens.fail("expected a value")

    def _closed(self, container: _Open) -> object:
        items = container.items
        if container.kind == "tuple":
            if len(items) == 1 and not container.comma:
                self.tokens.fail("a tuple of one item ends in `,)`", container.at)
            return tuple(items)
        if container.kind == "slice":
            if len(items) != 3:
                self.tokens.fail("a slice has three parts", container.at)
            return slice(*items)
        return MappingProxyType(dict(zip(container.keys or (), items, strict=True)))

    def _atom_value(self) -> object:
        tokens = self.tokens
        number = tokens.number()
        if number is not None:
            return number
        if tokens.kind == "string":
            return tokens.string()
        if tokens.kind == "bytes":
            return self._bytes()
        if tokens.kind == "opaque":
            name = tokens.take()[1:]
            return Opaque(unquote(name) if name.startswith('"') else name)
        if tokens.skip("..."):
            return Ellipsis
        at, word = tokens.start, tokens.name("a value")
        if word == "None":
            return None
        if word not in _TAGS:
            tokens.fail(f"no value begins with {word[:40]}", at)
        tokens.expect("(")
        value = _TAGS[word](self)
        tokens.expect(")")
        return value

    def _bytes(self) -> bytes:
        at, text = self.tokens.start, unquote(self.tokens.take()[1:])
        if any(ord(c) > 255 for c in text):
            self.tokens.fail("a byte above 255", at)
        return text.encode("latin-1")

    def numpy_scalar(self) -> np.generic:
        tokens = self.tokens
        dtype = tokens.dtype()
        tokens.expect(",")
        at, number = tokens.start, tokens.number()
        kinds = {"b": bool, "i": int, "u": int, "f": float, "c": complex}
        if number is None or type(number) is not kinds[dtype.kind]:
            tokens.fail(f"no number of dtype {dtype}", at)
        if isinstance(number, int) and dtype.kind in "iu":
            info = np.iinfo(dtype.numpy)
            if not info.min <= number <= info.max:
                tokens.fail(f"a number beyond {dtype}", at)
        with np.errstate(all="ignore"):
            array = np.array([number]).astype(dtype.numpy)
        value: np.generic = array[0]
        return value

    def loop(self) -> Loop:
        at, text = self.tokens.start, self.tokens.string()
        found = Loop.parse(text)
        if found is None:
            self.tokens.fail(f"no loop is {text[:40]}", at)
        return found

    def section(self, kind: type[Graph] | type[Kernel]) -> Graph | Kernel:
        at, key = self.tokens.start, self.tokens.key()
        section = self.sections.get(key)
        if not isinstance(section, kind):
            self.tokens.fail(f"no section {key} follows", at)
        return section

    def dim_value(self) -> DimExpr:
        at, dim = self.tokens.start, self.dim()
        if not isinstance(dim, DimExpr):
            self.tokens.fail("a known size is written as a plain integer", at)
        return dim


_TAGS: Mapping[str, Callable[[ValueReader], object]] = {
    "dtype": lambda v: v.tokens.dtype(),
    "type": ValueReader.read_type,
    "dim": ValueReader.dim_value,
    "numpy": ValueReader.numpy_scalar,
    "loop": ValueReader.loop,
    "graph": lambda v: v.section(Graph),
    "kernel": lambda v: v.section(Kernel),
}
