"""Random programs that store through views of one buffer do what they do without the compiler; `make fuzz-views` runs many more."""

from __future__ import annotations

import re

from tests.system.guard_pages import in_own_process
from tests.system.view_programs import program

PROGRAMS, CALLS = 24, 12


def test_programs_over_views() -> None:
    """In a process of its own, beside pages that may not be touched: a crash is this test's failure."""
    text = in_own_process("tests.system.fuzz_views", "--programs", str(PROGRAMS), "--calls", str(CALLS))
    found = re.search(rf"^{PROGRAMS} programs, (\d+) calls held to NumPy, (\d+) refused, 0 differ$", text, re.MULTILINE)
    assert found is not None and int(found[1]) > PROGRAMS * CALLS // 2 and int(found[2]) < PROGRAMS // 4


def test_statements_of_every_kind_are_written() -> None:
    sources = [program(seed).source for seed in range(300)]
    for text in (
        "out=",
        "copyto",
        "where=",
        " += ",
        " /= ",
        "sum(",
        "broadcast_to",
        ".T",
        "::-1",
        "::2",
        "None",
        "for t",
        ".copy(), ",
    ):
        assert sum(text in s for s in sources) >= 5, text
    ranks = [program(seed).rank for seed in range(300)]
    assert set(ranks) == {1, 2, 3, 4}
