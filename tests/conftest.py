"""What tests share: golden files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tensorjit import compiler, errors

GOLDEN = Path(__file__).parent / "golden"

compiler.CHECK = True  # the verifier runs after every pass
errors.RAW = True  # the compiler's own faults come out as they are, and are not taken for refusals


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; read the diff")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden("refusals/try.txt", text)` holds the text to tests/golden/refusals/try.txt."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden file {name}: run pytest with --update-golden"
        assert text == path.read_text(encoding="utf-8")

    return check
