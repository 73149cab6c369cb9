"""NumPy's reductions with arguments that are known at run time only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def reduce(x: Any, *values: Any, name: str, given: Sequence[str] = (), **keywords: Any) -> Any:
    """`np.sum(x, where=w, initial=s, axis=0)` as `reduce(x, w, s, name="sum", given=("where", "initial"), axis=0)`.

    >>> reduce(np.ones(3), 2.0, name="sum", given=("initial",), axis=0)
    np.float64(5.0)
    """
    return getattr(np, name)(x, **dict(zip(given, values, strict=True)), **keywords)
