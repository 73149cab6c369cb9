"""Programs do what they do without the compiler: to the bit, effects, exceptions and identity included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.system.harness import BACKENDS, hold
from tests.system.programs import CASES

IDS = [f"{n}-{function.__name__}" for n, (function, _, _) in enumerate(CASES)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("function", "makes", "options"), CASES, ids=IDS)
def test_programs(function: Callable[..., Any], makes: Any, options: dict[str, Any], backend: str) -> None:
    hold(function, *makes, backends=(backend,), **options)
