"""Signatures: what of a call's arguments a compiled version depends on.

Exact lengths are not in it: a dimension is 1 (it broadcasts) or dynamic. Equal dimensions of different arguments are assumed where
the first call shows them, so that ``x + y`` needs no broadcasting at run time; a call without that equality is another version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, final

import numpy as np

from tensorjit.ir.dims import Dim, symbol
from tensorjit.ir.dtypes import DType, from_numpy
from tensorjit.ir.types import PY_BOOL, PY_COMPLEX, PY_FLOAT, PY_INT, Access, ArrayType, Layout, ScalarType
from tensorjit.records import dataclass

Place = tuple[int, int]  # (leaf index, axis)


@final
@dataclass(frozen=True, slots=True)
class ArraySig:
    """An exact ndarray: `ones[k]` says that dimension k is 1; the others are not 1."""

    dtype: DType
    ones: tuple[bool, ...]
    layout: Layout
    writable: bool = True
    aligned: bool = True
    exact: tuple[int, ...] | None = None  # with dynamic=False: every length

    @property
    def rank(self) -> int:
        return len(self.ones)

    @property
    def access(self) -> Access:
        return "writable" if self.writable else "readonly"


@final
@dataclass(frozen=True, slots=True)
class ScalarSig:
    """A Python number (exact type) or a NumPy scalar."""

    type: ScalarType


@final
@dataclass(frozen=True, slots=True, eq=False)
class StaticSig:
    """An argument whose value is known: compared by identity, then by type and value."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticSig) and same_static(self.value, other.value)

    def __hash__(self) -> int:
        try:
            return hash((type(self.value), self.value))
        except TypeError:
            return id(self.value)


@final
@dataclass(frozen=True, slots=True)
class TupleSig:
    """A tuple or a list; with `record`, a namedtuple of that class."""

    items: tuple[ParamSig, ...]
    is_list: bool = False
    record: type | None = None


@final
@dataclass(frozen=True, slots=True)
class DefaultSig:
    """A parameter that the call leaves to its default."""


ParamSig = ArraySig | ScalarSig | StaticSig | TupleSig | DefaultSig


@final
@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters, and relations between the arrays among their leaves (in order): equal dimensions, and pairs of arrays that
    are disjoint in memory, or the same array. `shapes` are theirs in the call that was observed; another call may have others."""

    params: tuple[ParamSig, ...]
    equal: tuple[tuple[Place, Place], ...] = ()
    disjoint: tuple[tuple[int, int], ...] = ()
    identical: tuple[tuple[int, int], ...] = ()
    shapes: Mapping[int, tuple[int, ...]] = field(default_factory=dict, compare=False)


_PYTHON = {bool: PY_BOOL, int: PY_INT, float: PY_FLOAT, complex: PY_COMPLEX}


def same_static(a: Any, b: Any) -> bool:
    """Whether two static values are the same: identical, or of one immutable type and equal (0.0 and -0.0 are not)."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, (int, str, bytes, np.dtype, np.integer)):
        return bool(a == b)
    if isinstance(a, (float, complex)):
        return repr(a) == repr(b)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(same_static(x, y) for x, y in zip(a, b, strict=True))
    return False


def is_record(value: Any) -> bool:
    """Whether a value is a namedtuple, and nothing beside.

    >>> from collections import namedtuple
    >>> is_record(namedtuple("Pair", "a b")(1, 2)), is_record((1, 2))
    (True, False)
    """
    kind = type(value)
    return isinstance(value, tuple) and type(getattr(kind, "_fields", None)) is tuple and not kind.__dictoffset__


def of_value(value: Any, static: bool = False, dynamic: bool = True, records: bool = False) -> ParamSig:
    """The signature of one argument; TypeError with the reason for an array that no compiled function takes. With `records`, a
    namedtuple is the tuple of its fields.

    >>> of_value(np.zeros((3, 1)))
    ArraySig(dtype=f64, ones=(False, True), layout='C', writable=True, aligned=True, exact=None)
    """
    if type(value) is np.ndarray:
        return _of_array(value, dynamic)
    if isinstance(value, np.ndarray):
        raise TypeError(f"a {type(value).__name__}, a subclass of ndarray: pass np.asarray(...) of it")
    if type(value) in _PYTHON and not static:
        if type(value) is int and not -(2**63) <= value < 2**63:
            return StaticSig(value)
        return ScalarSig(_PYTHON[type(value)])
    if isinstance(value, np.void):
        raise TypeError("a record: pass its fields as arguments of their own")
    if isinstance(value, np.generic) and not static:
        dtype = from_numpy(value.dtype)
        if dtype is not None and type(value) is dtype.numpy.type:
            return ScalarSig(ScalarType(dtype))
    if type(value) in (tuple, list) and not static:
        return TupleSig(tuple(of_value(v, dynamic=dynamic, records=records) for v in value), type(value) is list)
    if records and not static and is_record(value):
        return TupleSig(tuple(of_value(v, dynamic=dynamic, records=True) for v in value), record=type(value))
    return StaticSig(value)


def _of_array(value: np.ndarray[Any, Any], dynamic: bool) -> ArraySig:
    dtype = from_numpy(value.dtype)
    if dtype is None:
        raise TypeError(f"an array of dtype {value.dtype}: the dtypes are bool, integers, floats and complex numbers up to 64 bits")
    if not value.dtype.isnative:
        raise TypeError(
            f"an array of dtype {value.dtype}, whose bytes are swapped: convert it with x.astype(x.dtype.newbyteorder('='))"
        )
    flags = value.flags
    layout: Layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    ones = tuple(n == 1 for n in value.shape)
    return ArraySig(dtype, ones, layout, flags.writeable, flags.aligned, None if dynamic else value.shape)


def leaves(value: Any, records: bool = False) -> Iterable[Any]:
    """The leaves of nested tuples and lists, and of namedtuples with `records`."""
    if type(value) in (tuple, list) or (records and is_record(value)):
        for v in value:
            yield from leaves(v, records)
    else:
        yield value


def observe(
    values: Sequence[Any], is_static: Callable[[int], bool] = lambda i: False, dynamic: bool = True, records: bool = False
) -> Signature:
    """The signature of a call: of each argument, and what is seen of pairs.

    >>> x = np.zeros(5)
    >>> observe([x, x[1:], np.ones(5)]).equal
    (((0, 0), (2, 0)),)
    """
    params = tuple(of_value(v, is_static(i), dynamic, records) for i, v in enumerate(values))
    arrays = [(k, v) for k, v in enumerate(leaves(list(values), records)) if type(v) is np.ndarray]
    seen: dict[int, Place] = {}
    shapes: dict[tuple[int, ...], int] = {}
    equal = []
    for k, a in arrays:
        if a.shape in shapes:
            equal += [((shapes[a.shape], axis), (k, axis)) for axis, n in enumerate(a.shape) if n != 1]
            continue
        shapes[a.shape] = k
        own: dict[int, Place] = {}
        for axis, n in enumerate(a.shape):
            if n != 1 and n in seen and n not in own:
                equal.append((seen[n], (k, axis)))
            own.setdefault(n, (k, axis))
        for n, place in own.items():
            seen.setdefault(n, place)
    disjoint, identical = [], []
    for i, (k, a) in enumerate(arrays):
        for m, b in arrays[i + 1 :]:
            if a is b or _same_view(a, b):
                identical.append((k, m))
            elif not np.may_share_memory(a, b):
                disjoint.append((k, m))
    return Signature(params, tuple(equal), tuple(disjoint), tuple(identical), {k: a.shape for k, a in arrays})


def _same_view(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0] and (a.shape, a.strides) == (
        b.shape,
        b.strides,
    )


def array_types(signature: Signature, names: Sequence[str]) -> tuple[dict[int, ArrayType], dict[str, Place]]:
    """The types of the arrays among the leaves, with symbols for their dynamic dimensions, and where each symbol is read."""
    first = {second: first for first, second in signature.equal}
    types: dict[int, ArrayType] = {}
    places: dict[str, Place] = {}
    dims: dict[Place, Dim] = {}
    for k, sig in enumerate(flat(signature.params)):
        if not isinstance(sig, ArraySig):
            continue
        for axis, one in enumerate(sig.ones):
            place = (k, axis)
            if sig.exact is not None:
                dims[place] = sig.exact[axis]
            elif one:
                dims[place] = 1
            elif place in first and first[place] in dims:
                dims[place] = dims[first[place]]
            else:
                name = f"{names[k]}_{axis}"
                places[name] = place
                dims[place] = symbol(name, not_one=True)
        types[k] = ArrayType(sig.dtype, tuple(dims[k, a] for a in range(sig.rank)), sig.layout, sig.access)
    return types, places


def flat(params: Iterable[ParamSig]) -> Iterable[ParamSig]:
    """The leaves of parameter signatures."""
    for p in params:
        if isinstance(p, TupleSig):
            yield from flat(p.items)
        else:
            yield p
