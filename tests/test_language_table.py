"""The tables of docs/language.md are what running their programs gives."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "language_table.py"


def test_the_page_is_up_to_date() -> None:
    """The tool itself holds every compiled program to Python."""
    text = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(TOOL))["page"](text) == text, f"run python {TOOL}, and read the difference"
