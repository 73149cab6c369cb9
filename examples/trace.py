"""Record one run of a callable with `trace`; a branch that is taken becomes a guard, never a wrong path."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tensorjit as tj


def gate(x: NDArray[Any]) -> NDArray[Any]:
    if x.sum() > 0:
        return np.sqrt(x)
    return -x


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    traced = tj.trace(gate, np.array([1.0, 4.0, 9.0]))
for warning in caught:
    print(f"{warning.category.__name__}: {warning.message}\n")

print(traced(np.array([16.0, 25.0, 36.0, 49.0])), "another length: the recorded path still fits")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    print(traced(np.array([-1.0, -2.0])), "the other branch: recorded then, and kept beside the first")
print(traced.cache_info())
