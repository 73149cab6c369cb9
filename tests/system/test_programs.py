"""Programs do what they do without the compiler: to the bit, effects, exceptions and identity included."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

import tensorjit as tj
from tests.frontend.corpus import CASES as LANGUAGE
from tests.system.harness import BACKENDS, hold
from tests.system.programs import CASES

IDS = [f"{n}-{function.__name__}" for n, (function, _, _) in enumerate(CASES)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("function", "makes", "options"), CASES, ids=IDS)
def test_programs(function: Callable[..., Any], makes: Any, options: dict[str, Any], backend: str) -> None:
    hold(function, *makes, backends=(backend,), **options)


# what the language has in full is the frontend's; these parts of it have no typed form yet
REFUSED = frozenset("slices f_strings comprehensions generators imports swaps precedence zips lambda_in_loop closes".split())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("function", "calls"), LANGUAGE, ids=[f.__name__ for f, _ in LANGUAGE])
def test_the_language(function: Callable[..., Any], calls: Any, backend: str) -> None:
    makes = [lambda call=call: copy.deepcopy(call) for call in calls]
    try:
        hold(function, *makes, ulp=2, backends=(backend,))
    except tj.CompileError as error:
        assert function.__name__ in REFUSED
        assert all(p.loc is not None for p in error.problems)
