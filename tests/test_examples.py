"""Every example runs to its end and prints something."""

from __future__ import annotations

import contextlib
import io
import runpy
import warnings
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # an example that leaves a file behind leaves it there
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        runpy.run_path(str(path), run_name="__main__")
    assert printed.getvalue()
