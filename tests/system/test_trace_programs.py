"""The programs of the compiler's tests, traced with one call's arguments and then called with all the others."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.frontend.corpus import CASES as LANGUAGE
from tests.system.harness import compare, observe
from tests.system.programs import CASES

EVERY = 1 if os.environ.get("TENSORJIT_TESTS") == "full" else 9
BACKEND = "llvm" if EVERY == 1 else "reference"
PROGRAMS: list[tuple[Callable[..., Any], list[Any], dict[str, Any]]] = [
    *((f, [lambda call=call: copy.deepcopy(call) for call in calls], {}) for f, calls in LANGUAGE),
    *((f, list(makes), options) for f, makes, options in CASES),
]
REFUSED = frozenset("comprehensions zips slices imports".split())


@pytest.mark.parametrize(("function", "makes", "options"), PROGRAMS[::EVERY], ids=[f.__name__ for f, _, _ in PROGRAMS[::EVERY]])
def test_a_trace_of_one_call_serves_the_others(function: Any, makes: Any, options: dict[str, Any]) -> None:
    for first in range(min(len(makes), 2)):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                traced = tj.trace(function, makes[first](), backend=BACKEND, check_trace=False)
                for make in (makes[first], *makes, makes[first]):
                    found, wanted = observe(traced, make()), observe(function, make())
                    text = compare(found, wanted, max(options.get("ulp", 0), 2), options.get("message", True))
                    assert not text, text
            except tj.CompileError:
                assert function.__name__ in REFUSED
            except AssertionError:
                raise
            except Exception as error:  # the function's own
                assert observe(function, makes[first]()).error is not None, error
