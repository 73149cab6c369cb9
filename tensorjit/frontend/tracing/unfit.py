"""Arrays and NumPy scalars that a trace does not take."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from tensorjit.ir.dtypes import from_numpy

_TEXT = "keep text out of the traced function: pass numbers, such as those of np.unique(..., return_inverse=True)"
_INSTEAD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "O": "convert it to numbers with .astype(float), or use lists, tuples and dictionaries",
        "U": _TEXT,
        "S": _TEXT,
        "T": _TEXT,
        "M": "pass the integers in it, x.astype(np.int64)",
        "m": "pass the integers in it, x.astype(np.int64)",
        "V": "pass its fields as arrays of their own",
    }
)


def unfit(x: np.ndarray[Any, Any] | np.generic) -> tuple[str, str] | None:
    """Why an array or a NumPy scalar cannot be traced, and what to do; None where it can.

    >>> unfit(np.array(["2020"], "M8[Y]"))
    ('an array of dtype datetime64[Y]', 'pass the integers in it, x.astype(np.int64)')
    """
    if isinstance(x, np.ndarray) and type(x) is not np.ndarray:
        return f"an array of class {type(x).__name__}", "pass np.asarray(...) of it"
    if from_numpy(x.dtype) is not None:
        return None
    what = f"an array of dtype {x.dtype}" if isinstance(x, np.ndarray) else f"a NumPy scalar of class {type(x).__name__}"
    return what, _INSTEAD.get(x.dtype.kind, "use bool, integers, floats and complex numbers up to 64 bits")
