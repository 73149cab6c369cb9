"""The rows of core ops are the one place that knows them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tensorjit
from tensorjit.backends import reference
from tensorjit.backends.llvm import driver
from tensorjit.ir.core import CORE
from tensorjit.ops import OPS

ROOT = Path(tensorjit.__file__).parent
MODULES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "ir" / "core.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_keeps_a_list_of_core_ops(path: Path) -> None:
    """A set of op names somewhere else is a column that a row lacks. (What the specialiser takes apart by name is its own affair.)"""
    if "specialise" in path.parts:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Set) and len(node.elts) > 1:
            names = {str(e.value) for e in node.elts if isinstance(e, ast.Constant)}
            assert len(names) < len(node.elts) or not names <= CORE.keys() - {"const"}, f"{path}:{node.lineno}: {sorted(names)}"


def test_core_ops_are_no_rows_of_the_op_table_of_another_kind() -> None:
    assert not CORE.keys() & OPS.keys()


def test_what_the_backends_run_has_a_row() -> None:
    known = CORE.keys() | OPS.keys()
    for handled in (reference._CONTROL, reference._HANDLERS, driver.OPS):
        assert set(handled) <= known


def test_what_a_row_says_holds_together() -> None:
    for name, row in CORE.items():
        assert row.name == name
        assert (row.role == "loop") == (row.own > 0), name
        assert row.own <= len(row.blocks), name
        assert (row.aims is None) or row.role == "terminator", name
        assert not (row.is_pure and (row.writes or row.raises)), name
        assert row.levels, name


def test_every_core_op_is_on_the_page() -> None:
    page = (ROOT.parent / "docs" / "ir.md").read_text() if (ROOT.parent / "docs").exists() else Path("docs/ir.md").read_text()
    missing = [name for name in CORE if name not in page]
    assert not missing
