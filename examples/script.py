"""Compile a plain NumPy function with `script`, and compare it with NumPy: result, dtype, time."""

from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tensorjit as tj


def standardise(x: NDArray[Any]) -> NDArray[Any]:
    return (x - x.mean(axis=0)) / x.std(axis=0)


fast = tj.script(standardise)
x = np.random.default_rng(0).normal(5.0, 2.0, (100_000, 32))

start = perf_counter()
fast(x)
print(f"first call, compiling: {(perf_counter() - start) * 1e3:.1f} ms")

for name, function in (("NumPy", standardise), ("tensorjit", fast)):
    start = perf_counter()
    result = function(x)
    print(f"{name:<10} {(perf_counter() - start) * 1e3:6.1f} ms  {result.dtype} {result.shape}")

print("largest difference:", np.abs(fast(x) - standardise(x)).max())
fast(x[:50])  # another length, the same compiled code
print(fast.cache_info())
