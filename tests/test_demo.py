"""The demo, with a stand-in for the compiler: its table, its pictures and its failures."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorjit import __main__ as command_line
from tensorjit.demo.cases import Case, load_cases
from tensorjit.demo.run import Api, difference, run


class Plain:
    """What `script` and `trace` return, without compiling anything."""

    def __init__(self, function: Any, example: Any = None) -> None:
        self.function = function
        self.graph = f"graph {function.__name__}"

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def explain(self, *args: Any) -> str:
        return f"{len(args)} arguments"


PLAIN = Api(script=Plain, trace=Plain)


def test_every_case_runs_and_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = load_cases()
    progress = io.StringIO()
    assert run(tmp_path / "out", PLAIN, cases=cases, seconds=0.0, progress=progress) == 0
    printed = capsys.readouterr().out
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {c.name for c in cases} | {"hillshade-trace"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "out").iterdir())
    assert all(case.name in printed for case in cases)
    assert "hillshade (trace)" in printed and "graph hillshade" in printed and "5 arguments" in printed
    assert f"[{len(cases) + 1}/{len(cases) + 1}]" in progress.getvalue()


def test_the_demo_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tensorjit", "demo", "--out", str(tmp_path), "--seconds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("*.png"))) == len(load_cases()) + 1


def test_a_failing_program_is_reported_and_the_others_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(x: Any) -> Any:
        raise ZeroDivisionError("on purpose")

    def save(result: Any, path: Path) -> None:
        path.write_text("drawn")

    cases = [Case("bad", fail, (1,), save), Case("good", np.negative, (np.ones(3),), save)]
    assert run(tmp_path, PLAIN, cases=cases, seconds=0.0, progress=io.StringIO()) == 1
    printed = capsys.readouterr().out
    assert "bad failed:\nZeroDivisionError: on purpose" in printed
    assert (tmp_path / "good.png").exists()


def test_difference() -> None:
    assert difference(np.array([np.inf, np.nan]), np.array([np.inf, np.nan])) == 0.0
    assert difference((np.array(3), np.array([True])), (np.array(5), np.array([True]))) == 2.0
    assert difference(np.array([np.inf]), np.array([1.0])) == np.inf
    with pytest.raises(TypeError, match="float64"):
        difference(np.ones(2), np.ones(2, np.float32))
    with pytest.raises(TypeError, match=r"\[2\]"):
        difference(np.ones(2), np.ones(3))


def test_missing_matplotlib_is_a_friendly_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("tensorjit.demo.data.importlib.import_module", absent)
    assert command_line.main(["demo", "--out", str(tmp_path)]) == 2
    assert "pip install 'tensorjit[demo]'" in capsys.readouterr().err


def test_info_names_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["info"]) == 0
    printed = capsys.readouterr().out
    assert f"numpy       {np.__version__}" in printed
