"""Runs every program of the corpus and writes a digest of what each call did: one process for each target."""

from __future__ import annotations

import hashlib
import sys
import warnings
from typing import Any

import numpy as np

import tensorjit as tj
from tests.system.harness import observe
from tests.system.programs import CASES


def text_of(value: Any) -> str:
    """A result as text, to the bit; NaNs are alike."""
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(text_of, value))})"
    if isinstance(value, np.ndarray | np.generic):
        x = np.array(value)
        if x.dtype.kind in "fc":
            x[np.isnan(x)] = np.nan
        return f"{type(value).__name__} {x.dtype} {x.shape} {x.tobytes().hex()}"
    return repr(value)


def main() -> None:
    """Write one line for each program: its name and digest. The name goes to stderr before it is run."""
    warnings.simplefilter("ignore")
    for function, makes, _ in CASES:
        sys.stderr.write(f"{function.__name__}\n")
        sys.stderr.flush()
        compiled = tj.script(function, cache_size=64)
        seen = [observe(compiled, make()) for make in makes]
        text = "\n".join(f"{text_of(s.result)} {text_of(s.args)} {s.error} {s.message}" for s in seen)
        sys.stdout.write(f"{function.__name__} {hashlib.sha256(text.encode()).hexdigest()}\n")


if __name__ == "__main__":
    main()
