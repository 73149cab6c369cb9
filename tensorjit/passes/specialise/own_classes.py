"""Known objects of classes of their own among numbers: a member of an IntEnum is its int where its class lets it be."""

from __future__ import annotations

from collections.abc import Callable
from types import WrapperDescriptorType
from typing import Any

import numpy as np

from tensorjit.ir.dtypes import C128, F64
from tensorjit.ops.abstract import Abstract, Static, is_numpy_scalar
from tensorjit.ops.typed import TypedBuilder
from tensorjit.ops.words import describe, plain_number

_NUMPY = {int: np.int64, float: np.float64, complex: np.complex128}
_MIRRORED = {"eq": "eq", "ne": "ne", "lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}


def plain_numbers(b: TypedBuilder, function: Callable[..., Any], x: Abstract, y: Abstract, numpy: bool) -> tuple[Abstract, Abstract]:
    """x and y as an operator of Python takes them, or with `numpy` one of NumPy's: to that, they are what np.asarray makes of them.

    >>> from enum import IntEnum
    >>> import operator
    >>> from tensorjit.ops import OPS
    >>> member = Static(IntEnum("Size", "SMALL LARGE").LARGE)
    >>> [plain_numbers(TypedBuilder(OPS), operator.add, member, Static(1), numpy)[0].value for numpy in (False, True)]
    [2, np.int64(2)]
    """
    one, other = _plain(b, function, x, numpy), _plain(b, function, y, numpy)
    if numpy and one is not x and not isinstance(one.value, np.int64) and not b.is_array(y) and b.dtype_of(y) in (F64, C128):  # type: ignore[union-attr]
        # float's own method comes first there: it takes a np.float64, which is a float
        b.refuse(f"{describe(x)} on the left of {describe(y)}", plain_number(x))
    return one, other


def _plain(b: TypedBuilder, function: Callable[..., Any], x: Abstract, numpy: bool) -> Abstract:
    if not isinstance(x, Static) or type(x.value) in (bool, *_NUMPY) or is_numpy_scalar(x.value):
        return x
    base: Any = next((k for k in _NUMPY if isinstance(x.value, k)), None)
    if base is None:
        return x
    name = function.__name__.strip("_")
    for method in (f"__{name}__", f"__{_MIRRORED.get(name, 'r' + name)}__"):
        if getattr(type(x.value), method, None) is not getattr(base, method, None):
            b.refuse(f"{describe(x)}, whose class has its own {method}, in an operation with a number", plain_number(x))
    number = base.__pos__(x.value)
    if numpy and base is int and not -(2**63) <= number < 2**63:
        b.refuse(f"the integer {number} does not fit 64 bits")
    return Static(_NUMPY[base](number) if numpy else number)


def equals_no_number(x: Static) -> bool:
    """Whether a known object that is no number is sure to differ from every number: its class says nothing of its own."""
    return all(isinstance(getattr(type(x.value), name), WrapperDescriptorType) for name in ("__eq__", "__ne__"))
