"""Each kind of damage to a well-formed graph or kernel is found, and named."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorjit.errors import Loc, VerifyError
from tensorjit.ir.core import Level
from tensorjit.ir.graph import Block, Builder, Graph, Op, Value
from tensorjit.ir.kernel import Kernel
from tensorjit.ir.kernel_verifier import verify_kernel
from tensorjit.ir.parser import parse_graph, parse_kernel
from tensorjit.ir.rewriter import rebuild_ops
from tensorjit.ir.verifier import verify_graph
from tests.ir.strategies import graphs, kernels

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(graphs("generic"), graphs("specialised"), kernels())
def test_what_is_well_formed_passes(generic: Graph, specialised: Graph, kernel: Kernel) -> None:
    verify_graph(generic, "generic")
    verify_graph(specialised, "specialised")
    verify_kernel(kernel)


@unhurried
@given(graphs("generic"), st.data())
def test_an_op_that_goes_missing_is_missed(graph: Graph, data: st.DataObject) -> None:
    uses = {v for op in graph.walk() for v in op.operands}
    needed = [op for op in graph.walk() if op.is_terminator or any(v in uses for v in op.results)]
    lost = data.draw(st.sampled_from(needed))
    damaged = rebuild_ops(graph, lambda op, blocks: () if op is lost else (with_blocks(op, blocks),))
    with pytest.raises(VerifyError):
        verify_graph(damaged)


def with_blocks(op: Op, blocks: Sequence[Block]) -> Op:
    return Op(op.name, op.operands, op.results, op.attrs, tuple(blocks), op.loc)


@unhurried
@given(graphs("generic"), st.data())
def test_an_op_that_stands_twice_is_found(graph: Graph, data: st.DataObject) -> None:
    ops = [op for op in graph.walk() if op.results or op.is_terminator]
    doubled = data.draw(st.sampled_from(ops))

    def visit(op: Op, blocks: Sequence[Block]) -> Sequence[Op]:
        return (with_blocks(op, blocks),) * (2 if op is doubled else 1)

    with pytest.raises(VerifyError, match=r"defined twice|terminator within"):
        verify_graph(rebuild_ops(graph, visit))


def fails(text: str, message: str, level: Level = "generic") -> None:
    with pytest.raises(VerifyError, match=re.escape(message)):
        verify_graph(parse_graph(text), level)


CARRIED = "%s: ? = for(%x, %x) do (%i: ?, %s.1: ?) {"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "a block is empty"),
        ("%a: ? = const() {value=1}", "a block must end in a terminator"),
        ("return(%x) return(%x)", "a terminator within a block"),
        ("yield(%x)", "`yield` in the outermost block"),
        ("break(%x)", "`break` outside a loop"),
        ("leave(%x)", "`leave` outside a scope"),
        (
            "%a: ? = if(%x) then { %b: ? = truth(%x) yield(%b) } else { yield(%b) } return(%a)",
            "is not defined here",
        ),
        (
            "%a: ? = if(%x) then { yield() } else { yield(%x) } return(%a)",
            "0 results of the `if` where 1 are wanted",
        ),
        ("%a: ? = if() then { yield(%x) } else { yield(%x) } return(%a)", "an `if` has a condition"),
        ("%a: ? = if(%x) then { yield(%x) } return(%a)", "an `if` has two blocks"),
        ("%a: ? = if(%x) then (%p: ?) { yield(%x) } else { yield(%x) } return(%a)", "have no parameters"),
        (CARRIED + "yield(%x) } return(%s)", "a turn ends in `continue`"),
        (CARRIED + "continue() } return(%s)", "0 carried values where 1 are wanted"),
        (
            "%s: ? = for(%x) do (%i: ?, %s.1: ?) { continue(%x) } return(%s)",
            "0 initial values where 1 are wanted",
        ),
        ("for(%x) do () { continue() } return(%x)", "the body takes the item and the carried"),
        (
            CARRIED + "continue(%x) } else { yield(%x) } return(%s)",
            "0 parameters of the else where 1 are wanted",
        ),
        ("while() test { yield() } do { continue() } return(%x)", "yields one condition"),
        ("while() test { break() } do { continue() } return(%x)", "`break` outside a loop"),
        (
            CARRIED + "while() test { continue(%x) } do { continue() } continue(%x) } return(%s)",
            "outside a loop",
        ),
        ("scope(%x) do { leave(%x) } return(%x)", "1 results of the scope where 0 are wanted"),
        ("scope() do (%p: ?) { leave() } return(%x)", "has no parameters"),
        ("%a: ? = const() return(%a)", "the attr `value` is missing"),
        ('%a: ? = binary(%x, %x) {op="<"} return(%a)', 'the attr `op` is "<"'),
        ("%a: ? = subscript(%x) return(%a)", "`subscript` has 2 operands, not 1"),
        ("set_attr(%x) return(%x)", "`set_attr` is no generic op"),
        ("%a: ? = unpack(%x) {count=2} return(%a)", "`unpack` has `count` results"),
        ("raise(%x, %x)", "at most one operand"),
        ("%a: ? = const() {value=graph(g)} return(%a) } graph g() { yield()", "graph g: yield(): "),
        (
            "%a: ? = const() {value=kernel(k)} return(%a) } kernel k { let x = 1:f16 x <- 1",
            "kernel k: accumulate x",
        ),
    ],
)  # fmt: skip
def test_rules_of_both_levels(body: str, message: str) -> None:
    fails("graph f(%x: ?) { " + body + " }", message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%a: ? = add(%x, %x) return(%a)", "has a value of type ?"),
        ("%a: f64 = if(%x) then { yield(%x) } else { yield(%x) } return(%a)", "a condition of type f64"),
        (
            "%a: i64 = if(%c) then { yield(%x) } else { yield(%x) } return(%a)",
            "number 0 has type f64, not i64",
        ),
        ("%a: f64[n]:C = if(%c) then { yield(%v) } else { yield(%v) } return(%a)", "f64[n]:A, not f64[n]"),
        ("%a: f64[1]:A = if(%c) then { yield(%v) } else { yield(%v) } return(%a)", "f64[n]:A, not f64[1]:A"),
        ("%a: f64[n]:A = if(%c) then { yield(%w) } else { yield(%v) } return(%a)", "f64[n]:A:readonly, not f64[n]:A"),
        ("%a: f64[n]:A = reshape(%w) return(%a)", "a view that can be written of an array that cannot"),
        ("store(%w, %x) return(%x)", "a store to a read-only array"),
        ("%a: f64 = for(%x) do (%i: int, %s: f64) { continue(%x) } return(%a)", "0 initial values"),
        ("raise()", "has the attr `exception`"),
        ("%a: f64 = const() return(%a)", "the attr `value` is missing"),
    ],
)
def test_rules_of_specialised_graphs(body: str, message: str) -> None:
    head = "graph f(%x: f64, %c: bool, %v: f64[n]:A, %w: f64[n]:A:readonly) symbols (n >= 2 != 1) { "
    fails(head + body + " }", message, "specialised")


def test_sizes_that_a_check_may_have_made_equal_pass() -> None:
    text = """graph f(%c: bool, %a: f64[n], %b: f64[m]) symbols (m >= 0, n >= 0) {
      %r: f64[n]:A = if(%c) then { yield(%a) } else { yield(%b) } return(%r) }"""
    verify_graph(parse_graph(text), "specialised")


def test_the_error_names_the_op_and_its_place() -> None:
    b = Builder()
    b.add_multi("return", [Value(name="lost")], loc=Loc("f.py", 3, 4))
    with pytest.raises(VerifyError, match=re.escape("graph g: return(%lost)  # f.py:3:4: operand 0 (lost) is not")):
        verify_graph(Graph("g", b.block()))


KERNEL = "kernel k { view x: f64, rank 1 view y: f64, rank 1, written scalar n: i64 scratch t: f32[n] "


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("let a = z:f64", "no scalar z is defined here"),
        ("let a = 1 let a = 2", "the name a is taken"),
        ("let x = 1", "the name x is taken"),
        ("for i < n { } y[i:i64] = 1.0", "no scalar i is defined here"),
        ("for i < n { for i < n { } }", "the name i is taken"),
        ("for i < 1.0 { }", "an extent must be i64, not f64"),
        ("if n { }", "a condition must be bool"),
        ("y[0, 0] = 1.0", "2 indices into y of rank 1"),
        ("y[0:i32] = 1.0", "an index must be i64"),
        ("y[0] = 1", "a i64 is stored in a view of f64"),
        ("x[0] = 1.0", "the view is not marked as written"),
        ("z[0] = 1.0", "there is no view z"),
        ("y[0] = x[0]:f32", "x holds f64, not f32"),
        ("y[0] = x[]", "0 indices into x of rank 1"),
        ("y[0] = n:f64", "n is i64, not f64"),
        ("y[0] = add:f64(n, 1.0)", "add of (i64, f64) does not give f64"),
        ("y[0] = add(1.0)", "add takes 2 arguments, not 1"),
        ("y[0] = frob:f64(1.0)", "there is no intrinsic frob"),
        ("let a = lt:i8(1, 2)", "lt of (i64, i64) does not give i8"),
        ("let a = lt(1, 2.0)", "lt of (i64, f64) does not give bool"),
        ("let a = select(n, 1, 2)", "select of (i64, i64, i64) does not give i64"),
        ("let a = div(n, n)", "div of (i64, i64) does not give i64"),
        ("let a = and(1.0, 1.0)", "and of (f64, f64) does not give f64"),
        ("let a = bits:f32(n)", "bits of (i64) does not give f32"),
        ("let a = ldexp(1.0, n)", "ldexp of (f64, i64) does not give f64"),
        ("let a = 300:u8", "no u8 is 300"),
        ("let a = True:i8", "no i8 is True"),
        ("let a = 1.5:i64", "no i64 is 1.5"),
        ("s <- 1.0", "no loop around it lists this reduction"),
        ("for i < n reduce(s: sum f64) { s <- 1 }", "a i64 is fed to f64"),
        ("for i < n reduce(s: sum f64) { s <- 1.0 at i }", "they alone, take a position"),
        ("for i < n reduce(s: argmin f64) { s <- 1.0 }", "they alone, take a position"),
        ("for i < n reduce(s: sum f64) { let a = s:f64 }", "no scalar s is defined here"),
        ("for i < n reduce(s: sum f64 from 1) { }", "differ in dtype"),
        (
            "for i < n reduce(s: sum f64) { for j < n reduce(s: max f64) { } }",
            "differs from that of the loop around",
        ),
        ("vector i < n { vector j < n { } }", "only serial loops"),
        ("vector i < n { parallel j < n { } }", "only serial loops"),
        ("vector i < n { for j < i { } }", "its extent depends on the vector loop"),
        ("vector i < n { let a = add(i, 1) for j < mul(a, 2) { } }", "its extent depends on the vector loop"),
    ],
)  # fmt: skip
def test_rules_of_kernels(body: str, message: str) -> None:
    with pytest.raises(VerifyError, match=re.escape(message)):
        verify_kernel(parse_kernel(KERNEL + body + " }"))


@pytest.mark.parametrize(
    "body",
    [
        "for i < n { } for i < n { }",
        "if lt(n, 3) { let a = 1 } else { let a = 2 }",
        "parallel i < n reduce(s: sum f64) { vector j < n reduce(s: sum f64) { s <- x[j] } } y[0] = s",
        "for i < n reduce(p: argmax f64) { p <- x[i] at i } y[p] = 0.0",
        "vector i < n { for j < mul(n, 2) { y[i] = 0.0 } }",
        "let a = complex(1.0, 2.0) y[0] = imag(a) let b = popcount:u8(n) t[0] = cast:f32(b)",
    ],
)
def test_kernels_that_are_fine(body: str) -> None:
    verify_kernel(parse_kernel(KERNEL + body + " }"))
