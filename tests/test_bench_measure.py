"""How the benchmark measures and reports: the arithmetic, with samples that are known."""

import doctest
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of bench/, which is in the clone and not in the installed package."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])  # last: tensorjit stays the one under test
    return lambda name: importlib.import_module(f"bench.{name}")


@pytest.mark.parametrize("name", ["measure", "jobs"])
def test_doctests(bench: Any, name: str) -> None:
    result = doctest.testmod(bench(name))
    assert result.attempted > 0 and result.failed == 0


def test_ratios_are_taken_round_by_round(bench: Any) -> None:
    row = bench("measure").Row("s", "c", {"tensorjit": [1.0, 2.0, 4.0], "NumPy": [2.0, 4.0, 8.0]})
    assert row.ratio("NumPy") == bench("measure").Spread(2.0, 2.0, 2.0)
    assert row.ours == "tensorjit" and row.peers == ("NumPy",)
    assert not row.loses()


def test_a_loss_is_beyond_noise(bench: Any) -> None:
    def row(ours: float) -> Any:
        return bench("measure").Row("s", "c", {"tensorjit": [ours], "NumPy": [1.0]})

    assert row(1.1).loses()
    assert not row(1.04).loses()
    disturbed = bench("measure").Row("s", "c", {"tensorjit": [0.9, 3.0, 4.0], "NumPy": [1.0, 1.0, 1.0]})
    assert not disturbed.loses()


def test_goals(bench: Any) -> None:
    module = bench("measure")
    goals = (module.Goal("NumPy", 3.0), module.Goal("numba", 2.0))
    row = module.Row("s", "c", {"tensorjit": [1.0], "NumPy": [2.0]}, goals, limit=0.5)
    assert row.missed() == ["2.00x NumPy, goal 3x", "1 s, goal 500 ms"]
    met = module.Row("s", "c", {"tensorjit": [0.1], "NumPy": [2.0]}, goals, limit=0.5)
    assert met.missed() == []


def test_every_contender_runs_in_every_round(bench: Any) -> None:
    module = bench("measure")
    log: list[str] = []
    contenders = [module.Contender(name, f"log.append({name!r})", {"log": log}) for name in "ab"]
    samples = module.measure(contenders, rounds=4, sample_seconds=1e-6)
    assert {name: len(times) for name, times in samples.items()} == {"a": 4, "b": 4}
    assert all(time > 0 for times in samples.values() for time in times)


def test_contenders_are_told_apart_by_name(bench: Any) -> None:
    module = bench("measure")
    with pytest.raises(ValueError, match="share a name"):
        module.measure([module.Contender("a", "1"), module.Contender("a", "2")])


def test_losses_come_first_and_worst_first(bench: Any) -> None:
    measure, jobs = bench("measure"), bench("jobs")
    rows = [
        measure.Row("ops", case, {"tensorjit": [ours], "NumPy": [1.0]})
        for case, ours in (("fine", 0.5), ("bad", 2.0), ("worse", 4.0))
    ]
    text = bench("report").text(rows, [jobs.Failure("ops", "broken", "ValueError: why")], ["numba"])
    assert "2 of 3 cases slower than NumPy" in text
    assert text.index("worse") < text.index("bad") < text.index("broken") < text.index("== ops")
    assert "not compared with numba" in text


def test_json_holds_every_sample(bench: Any, tmp_path: Path) -> None:
    row = bench("measure").Row("s", "c", {"tensorjit": [1.0, 2.0]})
    bench("report").write_json([row], tmp_path / "run.json")
    data = json.loads((tmp_path / "run.json").read_text())
    assert data["rows"][0]["samples"] == {"tensorjit": [1.0, 2.0]}
    assert set(data["machine"]) >= {"python", "cpu", "numpy"}


def test_a_wrong_result_has_no_speed(bench: Any) -> None:
    check = bench("jobs").check
    check([1.0, 2.0], [1.0, 2.0], "same")
    with pytest.raises(AssertionError):
        check([1.0, 2.0], [1.0, 2.5], "wrong")
    with pytest.raises(AssertionError, match="int64"):
        check([1.0, 2.0], [1, 2], "another dtype")
