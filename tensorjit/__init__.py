"""tensorjit compiles NumPy functions.

>>> import numpy as np
>>> import tensorjit as tj
>>> @tj.script
... def distance(x, y):
...     return np.sqrt(((x - y) ** 2).sum())
>>> float(distance(np.zeros(4), np.ones(4)))
2.0
"""

from typing import TYPE_CHECKING, Any

from tensorjit.api import compiled as _compiled
from tensorjit.api import script, trace
from tensorjit.config import is_scripting, is_tracing, options
from tensorjit.errors import (
    CompileError,
    FallbackWarning,
    FormatError,
    GuardError,
    InternalError,
    Problem,
    TensorJitError,
    TensorJitWarning,
    TracerWarning,
    TracingCheckError,
    TypeInferenceError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from tensorjit.compiled import ScriptFunction

__version__ = "0.1.0"

__all__ = [
    "CompileError",
    "FallbackWarning",
    "FormatError",
    "GuardError",
    "InternalError",
    "Problem",
    "ScriptFunction",
    "TensorJitError",
    "TensorJitWarning",
    "TracerWarning",
    "TracingCheckError",
    "TypeInferenceError",
    "UnsupportedError",
    "is_scripting",
    "is_tracing",
    "options",
    "script",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name == "ScriptFunction":
        return _compiled().ScriptFunction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
