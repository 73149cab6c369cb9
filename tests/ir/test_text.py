"""Text and back: what is printed parses to the same, and what is not IR is a FormatError."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorjit.errors import FormatError, Loc
from tensorjit.ir.dims import maximum, symbol
from tensorjit.ir.dtypes import F32, F64, I64
from tensorjit.ir.graph import Builder, Graph, Value
from tensorjit.ir.kernel import Const, For, Kernel, Ref, Store, ViewParam
from tensorjit.ir.kernel_printer import print_kernel
from tensorjit.ir.kernel_verifier import verify_kernel
from tensorjit.ir.parser import parse_graph, parse_kernel
from tensorjit.ir.printer import print_graph
from tensorjit.ir.texts import Opaque, attr_text
from tensorjit.ir.tokens import MAX_NESTING
from tensorjit.ir.types import NP_BOOL, PY_BOOL, ArrayType, Type
from tensorjit.ir.verifier import verify_graph
from tests.ir.strategies import graphs, kernels

Golden = Callable[[str, str], None]
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(graphs("generic"))
def test_generic_graphs_round_trip(graph: Graph) -> None:
    text = print_graph(graph)
    parsed = parse_graph(text)
    verify_graph(parsed, "generic")
    assert print_graph(parsed) == text == str(graph)
    assert text.isascii()


@unhurried
@given(graphs("specialised"))
def test_specialised_graphs_round_trip(graph: Graph) -> None:
    text = print_graph(graph)
    parsed = parse_graph(text)
    verify_graph(parsed, "specialised")
    assert print_graph(parsed) == text
    assert [v.type for v in parsed.params] == [v.type for v in graph.params]


@unhurried
@given(kernels())
def test_kernels_round_trip(kernel: Kernel) -> None:
    verify_kernel(kernel)
    text = print_kernel(kernel)
    parsed = parse_kernel(text)
    assert print_kernel(parsed) == text == str(kernel)
    if "nan" not in text:
        assert parsed == kernel


def graph_of(value: object, of: Type = NP_BOOL) -> Graph:
    b = Builder()
    return Graph("g", b.block(("return", [b.add("const", [], of, {"value": value})])))


@pytest.mark.parametrize(
    "value",
    [
        0.0, -0.0, 1, True, 1.0, 1e300, 5e-324, math.inf, -math.inf, 1 << 64, -(1 << 63),
        complex(-0.0, -math.inf),
        "", "\ud800", "\U0010ffff", b"\x00\xff", (), (1,), slice(None, 2, ...), F32, symbol("n"), NP_BOOL,
        PY_BOOL, np.float32(0.1), np.int8(-128), np.uint64(2**64 - 1), np.bool_(True), np.complex64(1 + 2j),
        Opaque("a b"),
    ],
)  # fmt: skip
def test_attrs_keep_value_and_type(value: object) -> None:
    found = parse_graph(print_graph(graph_of(value))).block.ops[0].attrs["value"]
    assert type(found) is type(value)
    assert found == value
    assert attr_text(found) == attr_text(value)


def test_integers_have_no_limit() -> None:
    """Python refuses to print or read more than 4300 digits."""
    found = parse_graph(print_graph(graph_of(-(10**5000)))).block.ops[0].attrs["value"]
    assert found == -(10**5000)


def test_nans_keep_their_bits() -> None:
    for bits in (0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000123, 0xFFF0000000000001):
        value = np.uint64(bits).view(np.float64).item()
        found = parse_graph(print_graph(graph_of(value))).block.ops[0].attrs["value"]
        assert np.float64(found).view(np.uint64) == np.float64(value).view(np.uint64)


def test_python_objects_become_opaque() -> None:
    text = print_graph(graph_of((np.sin, len, np.linalg.norm, object())))
    found = parse_graph(text).block.ops[0].attrs["value"]
    names = ("numpy.sin", "builtins.len", "numpy.linalg.norm", "builtins.object")
    assert found == tuple(map(Opaque, names))


@pytest.mark.parametrize("filename", ["f.py", "/a b/f.py", 'C:\\x"y.py', "a\nb.py", "<ipython-input-1>", "\u202e.py"])
def test_locations_round_trip(filename: str) -> None:
    loc = Loc(filename, 12, 4, 9, function="f.<locals>.<lambda>")
    b = Builder()
    b.add_multi("return", [], loc=loc)
    text = print_graph(Graph("g", b.block(), loc=Loc("f.py", 1)))
    parsed = parse_graph(text)
    assert (parsed.loc, parsed.block.ops[0].loc) == (Loc("f.py", 1), loc)
    assert print_graph(parsed) == text


def sample() -> Graph:
    n = symbol("n", 2, True)
    array = ArrayType(F64, (3, maximum(n - 1, 0)))
    x, flag = Value(array, "x"), Value(NP_BOOL, "flag")
    view = ViewParam("x", F64, 1, 0, written=True)
    kernel = Kernel("clear", (view,), (), (For("i", Const(3, I64), (Store("x", (Ref("i", I64),), Const(-0.0, F64)),)),))
    inner = Builder([Value(name="a")])
    helper = Graph("helper", inner.block(("return", inner.params)))
    b = Builder([x, flag])
    b.loc = Loc("model.py", 3, 8, 13, function="f")
    y = b.add("add", [x, x], array, {"loops": "dd->d", "table": {"a b": (1, None)}, "np": np.sin}, "y")
    then, orelse = Builder(), Builder()
    z = then.add("launch", [y], array, {"kernel": kernel, "helper": helper}, "y")
    blocks = [then.block(("yield", [z])), orelse.block(("yield", [y]))]
    (r,) = b.add_multi("if", [flag], [array], blocks=blocks, hints=["y"])
    return Graph("f", b.block(("return", [r])), {"symbols": {"n": (0, 1)}}, Loc("model.py", 1))


def test_golden_graph(golden: Golden) -> None:
    golden("ir/graph.txt", print_graph(sample()))


def test_golden_kernel(golden: Golden) -> None:
    text = """
    kernel "row mean" { ops ("sum", "divide")
      view x: f64, rank 2, unit 1 view out: f64, rank 1, written, unaligned scalar n: i64 scratch "let": u8[n]
      parallel i < n {
        vector j < add(n, 1) reduce(s: sum f64 from 0.0, at_: argmax f64) {
          let t = mul(x[i, j], 2.0) s <- t at_ <- t at j
        }
        if lt(s, 0.0) { out[i] = cast:f64(at_) } else { out[i] = div(s, cast:f64(3:i32)) }
      } }"""
    kernel = parse_kernel(text)
    verify_kernel(kernel)
    golden("ir/kernel.txt", print_kernel(kernel))


def samples() -> list[str]:
    return [
        print_graph(sample()),
        print_graph(graph_of((1.5, "a\n", -math.nan, complex(1, -2), slice(1, ..., N_)))),
    ]


N_ = symbol("n")


def only_format_errors(text: str) -> None:
    try:
        parsed = parse_graph(text)
    except FormatError as error:
        assert re.match(r"line \d+, column \d+: .", str(error)), error
    else:
        assert print_graph(parse_graph(print_graph(parsed))) == print_graph(parsed)


@pytest.mark.parametrize("text", samples())
def test_truncated_anywhere(text: str) -> None:
    for k in range(len(text)):
        only_format_errors(text[:k])


@unhurried
@given(st.sampled_from(samples()), st.data())
def test_flipped_characters(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        k = data.draw(st.integers(0, len(text) - 1))
        new = data.draw(st.sampled_from('()[]{}<>,:=%@#"\\.+-*?01x\n \u03b1nj') | st.characters())
        text = text[:k] + new + text[k + data.draw(st.integers(0, 1)) :]
    only_format_errors(text)


@unhurried
@given(st.text(alphabet='graphkenl%x:?f64[]{}()=,"\\.@#+-*019 \n'))
def test_noise(text: str) -> None:
    only_format_errors(text)
    only_format_errors("graph f() { " + text)


def body(text: str) -> str:
    return "graph f() symbols (n >= 0) { " + text + " return() }"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: expected `graph` or `kernel`, found the end"),
        ("graph f() {\n  return(%x)\n}", "line 2, column 10: no such value"),
        (body("%x: f64 = const() %x: f64 = const()"), "a second definition of %x"),
        (body("%x: f65 = const()"), "no dtype f65"),
        (body("%x: f64[-1] = const()"), "no array has this size"),
        (body("%x: f64[9223372036854775808] = const()"), "beyond 64 bits"),
        (body("%x: f64[4294967296, 4294967296] = const()"), "no array has this size"),
        (body("%x: f64[" + "1, " * 64 + "1] = const()"), "a rank above 64"),
        (body("%x: f64[m] = const()"), "no symbol m is declared"),
        (body("%x: f64[floordiv(n, 0)] = const()"), "divided by 0"),
        (body("%x: f64[" + "max(" * 60 + "n"), "sizes nest deeper"),
        (body("%x: f64[" + "+".join(["n"] * 1001) + "]"), "of more than 1000 terms"),
        (body("%x: f64[" + "*".join(["n"] * 1002) + "]"), "of more than 1000 factors"),
        (body("f() {a=" + "(" * 100_000), "attrs nest deeper than 50"),
        (body("while() test { " * 100_000), "blocks nest deeper than 200"),
        (body("f() {a=1, a=2}"), "keys must be sorted and differ"),
        (body("f() {a=9999999999999999999999}"), "more than 19 digits"),
        (body("f() {a=numpy(i8, 128)}"), "beyond i8"),
        (body("f() {a=graph(g)}"), "no section g follows"),
        (body("f() {a=__import__(1)}"), "no value begins with __import__"),
        (body("f() {a=nan.0000000000000001}"), "not the bits of a NaN"),
        (body('f() {a="\\q"}'), "no token begins here"),
        (body("f() # nowhere\n"), "expected `# file:line:column`"),
        (body("f()\n" * 100_001), "more than 100000 ops"),
        (body("") + "graph f() { return() }", "a second section f"),
        (body("") + "x", "expected `graph`, `kernel` or the end"),
        ("kernel k { let x = " + "neg(" * 100_000, "expressions nest deeper than 200"),
        ("kernel k { " + "for i < 1 { " * 100_000, "statements nest deeper than 200"),
        ("kernel k { let x = y }", "no scalar y is in scope"),
        ("kernel k { let x = y[0] }", "no view y"),
        ("kernel k { let x = cast(1) }", "cast needs a dtype"),
        ("kernel k { }", "a kernel where a graph is wanted"),
    ],
)  # fmt: skip
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        parse_graph(text)
    assert re.match(r"line \d+, column \d+: ", str(caught.value))


def test_deep_graphs_print_whatever_their_depth() -> None:
    block = Builder().block(("return", []))
    for _ in range(3000):
        b = Builder()
        b.add_multi("scope", blocks=[block])
        block = b.block(("return", []))
    text = print_graph(Graph("deep", block))
    verify_graph(Graph("deep", block))
    with pytest.raises(FormatError, match=f"deeper than {MAX_NESTING}"):
        parse_graph(text)
