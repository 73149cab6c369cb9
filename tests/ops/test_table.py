"""The table as a whole: its documentation, and what every row must have."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

from tensorjit.ir.kernel import Ref
from tensorjit.ops import METHODS, OPS, find
from tensorjit.ops.python_scalars import PYTHON

ROOT = Path(__file__).parents[2]


def test_the_documentation_is_up_to_date() -> None:
    tool = ROOT / "tools" / "op_table.py"
    page = runpy.run_path(str(tool))["page"]()
    assert (ROOT / "docs" / "ops.md").read_text(encoding="utf-8") == page, f"run python {tool}"


def test_rows() -> None:
    for name, row in OPS.items():
        assert row.name == name
        if row.kind == "elementwise":
            assert row.ufunc is None or row.ufunc.nout == 1
        else:
            assert row.rule is not None
        assert (row.reduction is not None) == (row.kind == "reduction")
        for method in row.methods:
            assert METHODS[method] == name
            assert hasattr(np.ndarray, method)


def test_names_find_their_row() -> None:
    for name, row in OPS.items():
        for function in row.numpy:
            found = find(function)
            assert found is row or name in ("radians", "degrees", "deg2rad", "rad2deg"), function
    assert find(object()) is None


def test_python_rows_have_a_meaning() -> None:
    built = {"py_bool", "py_divmod"}  # of other ops
    assert {r.name for r in OPS.values() if r.kind == "python"} - built == set(PYTHON)


def test_a_lowering_has_the_dtype_of_its_loop() -> None:
    from tensorjit.ir.dtypes import F64  # noqa: PLC0415

    add = OPS["add"].lower([Ref("x", F64), Ref("y", F64)], F64)
    assert add is not None
    assert add.dtype is F64
