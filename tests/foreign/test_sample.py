"""A sample of the foreign suites runs clean; and what differs is seen. (`make foreign` runs all of them.)"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorjit as tj
from tests.foreign.calls import as_source, is_plain
from tests.foreign.records import LOG, compare, difference
from tests.foreign.report import differences, records, text, totals
from tests.foreign.run import NUMBA, NUMPY, folder_of, run

# module, tests, and how many calls of them must come out the same for the run to mean something
SAMPLES = [
    ("numpy/_core/tests/test_shape_base.py", "TestAtleast or TestVstack or TestHstack or test_stack", 80),
    ("numpy/lib/tests/test_stride_tricks.py", "broadcast_to or broadcast_arrays", 20),
    ("numpy/_core/tests/test_numeric.py", "TestClip and (simple or scalar or out or inplace)", 20),
    ("numba/tests/test_range.py", "", 4),
]


@pytest.mark.parametrize(("module", "tests", "least"), SAMPLES, ids=[s[0].split("/")[-1] for s in SAMPLES])
def test_a_sample_of_strangers_calls(module: str, tests: str, least: int, tmp_path: Path) -> None:
    if folder_of(module.split("/")[0]) is None:
        pytest.skip(f"{module.split('/')[0]} is not installed")
    log = tmp_path / "calls.jsonl"
    assert run(module, log, tests, seconds=600)
    found = list(records([log]))
    assert totals(found)["same"] >= least, log.with_suffix(".out").read_text(encoding="utf-8")[-2000:]
    assert not differences(found), text(found)


def test_every_module_is_named_once() -> None:
    assert len({*NUMPY, *NUMBA}) == len(NUMPY) + len(NUMBA)


def changing(x: Any) -> Any:
    x[0] = 9
    return 0


def broken(x: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("plain", "compiled", "kind"),
    [
        (np.sin, np.sin, "same"),
        (np.sin, np.cos, "diff"),
        (np.sin, lambda x: np.sin(x).astype(np.float32), "diff"),
        (np.sin, lambda x: np.sin(x).tolist(), "diff"),
        (lambda x: 0, changing, "diff"),
        (np.sin, broken, "status"),
        (broken, np.sin, "status"),
        (broken, broken, "same"),
        (lambda x: x[7], broken, "class"),
        (np.sin, tj.script(lambda x: np.char.upper(x)), "refused"),
        (np.sin, lambda x: tj.ir.dims.floordiv(1, 0), "internal"),
    ],
)
def test_what_differs_is_seen(plain: Any, compiled: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(LOG, "_file", file)
    compare("f", plain, compiled, [np.arange(3.0)], {})
    assert json.loads(file.getvalue())["kind"] == kind


def test_floats_that_differ_a_little_are_told_apart() -> None:
    one = np.array([1.0, 2.0])
    assert not difference(one, one.copy())
    assert difference(one, np.nextafter(one, 9)) == "ulp 1"
    assert difference(np.zeros(2), -np.zeros(2)) == "ulp 0.25"
    assert difference(one, one * np.nan) == "ulp inf"


def test_calls_as_functions() -> None:
    x = np.arange(3.0)
    source, values = as_source("np.sum", (x, 0), {"dtype": np.float32, "out": None, "initial": 2.5})
    assert source == "def f(a0, a1):\n    return np.sum(a0, 0, dtype=np.float32, out=None, initial=a1)\n"
    assert values == [x, 2.5]
    assert is_plain([x, [1, (2.0, "C")], np.float64]) and not is_plain([x.astype(object)]) and not is_plain([[1] * 1000])
