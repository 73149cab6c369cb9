"""rollback: what is written before a guard fails is put back, and nothing else is copied."""

from __future__ import annotations

import pytest

from tensorjit.ir.parser import parse_graph
from tensorjit.ir.printer import print_graph
from tensorjit.ir.verifier import verify_graph
from tensorjit.passes.rollback import rollback

RAISE = 'raise() {exception="tensorjit.errors.GuardError", message="no"}'
GUARD = f"if(%c) then {{ yield() }} else {{ {RAISE} }}"


def kept(text: str, writable: tuple[int, ...] = (0, 1)) -> list[str]:
    """The params that are copied, by name."""
    before = parse_graph(text)
    after = rollback(before, writable)
    verify_graph(after, "specialised")
    names = {op.operands[0]: op.name for op in after.block.ops[: len(after.params)] if op.name in ("copy", "load")}
    restored = [op for op in after.walk() if op.name == "store" and op.operands[0] in names and op.operands[1] not in after.params]
    assert len(restored) >= len(names)
    return [str(p.name) for p in after.params if p in names]


def graph(body: str) -> str:
    return f"""graph f(%x: f64[n], %y: f64[n], %c: bool, %v: f64, %k: int)
  symbols (n >= 0)
  attrs {{symbols={{n=(0, 0)}}}}
{{
{body}
  return(%x) {{structure="value"}}
}}"""


VIEW = "%w: f64[n] = view(%y) {axes=((0, 1),), offset=(0,)}"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (GUARD, []),
        ("store(%x, %v)", []),
        (f"store(%x, %v)\n{GUARD}", ["x"]),
        (f"{GUARD}\nstore(%x, %v)", []),
        (f"{VIEW}\nstore(%w, %v)\n{GUARD}", ["y"]),
        (f"%t: f64[n] = empty()\nstore(%t, %v)\n{GUARD}", []),
        (f"if(%c) then {{ store(%x, %v) yield() }} else {{ {GUARD} yield() }}", []),
        (f"if(%c) then {{ store(%x, %v) yield() }} else {{ yield() }}\n{GUARD}", ["x"]),
        (f"for(%k, %k, %k) do (%i: int) {{ {GUARD} store(%y, %v) continue() }}", ["y"]),
        (f"%t: f64[n] = if(%c) then {{ yield(%x) }} else {{ yield(%y) }}\nstore(%t, %v)\n{GUARD}", ["x", "y"]),
    ],
)
def test_copies_what_is_written_before_a_guard(body: str, wanted: list[str]) -> None:
    assert kept(graph(body)) == wanted


def test_read_only_params_are_left_alone() -> None:
    joined = f"%t: f64[n] = if(%c) then {{ yield(%x) }} else {{ yield(%y) }}\nstore(%t, %v)\n{GUARD}"
    assert kept(graph(joined), (1,)) == ["y"]


def test_restores_before_each_guard_error() -> None:
    text = print_graph(rollback(parse_graph(graph(f"store(%x, %v)\n{GUARD}\n{GUARD}")), (0, 1)))
    lines = [line.strip() for line in text.splitlines()]
    assert lines.count("%0: f64[n] = copy(%x)") == 1
    assert [lines[k - 1] for k, line in enumerate(lines) if line.startswith("raise")] == ["store(%x, %0)"] * 2
