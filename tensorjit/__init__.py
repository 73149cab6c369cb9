"""tensorjit compiles NumPy functions.

>>> import numpy as np
>>> import tensorjit as tj
>>> @tj.script
... def distance(x, y):
...     return np.sqrt(((x - y) ** 2).sum())
>>> float(distance(np.zeros(4), np.ones(4)))
2.0
"""

from tensorjit.api import script
from tensorjit.compiled import ScriptFunction
from tensorjit.config import options
from tensorjit.errors import (
    CompileError,
    FallbackWarning,
    FormatError,
    GuardError,
    Problem,
    TensorJitError,
    TensorJitWarning,
    TracerWarning,
    TracingCheckError,
    TypeInferenceError,
    UnsupportedError,
)

__version__ = "0.1.0"

__all__ = [
    "CompileError",
    "FallbackWarning",
    "FormatError",
    "GuardError",
    "Problem",
    "ScriptFunction",
    "TensorJitError",
    "TensorJitWarning",
    "TracerWarning",
    "TracingCheckError",
    "TypeInferenceError",
    "UnsupportedError",
    "options",
    "script",
]
