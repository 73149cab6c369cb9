"""What keeps the import and the first call quick: what is loaded when, and how much is asked of LLVM. No clocks."""

import dataclasses
import pickle
import subprocess
import sys

import pytest

from tensorjit.backends.llvm.support import PARTS, build
from tensorjit.records import dataclass

COMPILER = (
    "tensorjit.compiled",
    "tensorjit.compiler",
    "tensorjit.frontend.script",
    "tensorjit.ir.graph",
    "tensorjit.ops",
    "tensorjit.passes.specialise",
)
LOGGED = "logging"
BACKEND = ("llvmlite", "tensorjit.backends.llvm.compile")


def loaded_after(program: str, modules: tuple[str, ...]) -> list[str]:
    """Those of `modules` that a fresh process has loaded after `program`."""
    report = f"{program}\nimport sys\nprint(*[m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_import_loads_no_compiler() -> None:
    assert loaded_after("import tensorjit", (*COMPILER, *BACKEND, LOGGED)) == []


def test_decorating_loads_the_compiler_and_no_llvm() -> None:
    program = "import tensorjit, statistics\ntensorjit.script(statistics.pstdev, fallback='python')"
    assert loaded_after(program, (*COMPILER, *BACKEND)) == list(COMPILER)


def test_the_lazy_name_is_the_class() -> None:
    program = "import tensorjit\nassert tensorjit.ScriptFunction.__module__ == 'tensorjit.compiled'"
    assert loaded_after(program, COMPILER) == list(COMPILER)


def test_compiling_starts_no_process() -> None:
    """ctypes.util looks for libraries by running ldconfig and gcc."""
    assert loaded_after("import tensorjit.backends.llvm.compile", ("ctypes.util", "subprocess")) == []


def test_support_functions_that_calls_go_through_are_optimised() -> None:
    optimised = {name for part in PARTS if part.optimised for name in part.emitters}
    assert {"tj_rt_release", "tj_rt_is_array"} <= optimised
    assert not optimised & {"tj_rt_miss", "tj_rt_fail", "tj_rt_report", "tj_rt_poll"}
    for part in PARTS:
        defined = [f for f in build(part).functions if not f.is_declaration]
        assert [f.name for f in defined] == list(part.emitters)
        assert all("nounwind" in f.attributes for f in defined)


def test_the_overlap_check_is_compiled_when_it_is_needed() -> None:
    program = """
import numpy, tensorjit
from tensorjit.backends.llvm import support
made = []
build = support.build
support.build = lambda part: made.append(part.name) or build(part)
tensorjit.trace(lambda x: x + 1, numpy.ones(3))
assert sorted(made) == ["calls", "ends"], made
"""
    loaded_after(program, ())


# -- records: dataclasses, quickly made --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0
    note: str = dataclasses.field(default="", compare=False)
    tags: list[str] = dataclasses.field(default_factory=list, compare=False)


@dataclass(slots=True)
class Box:
    width: int

    def __post_init__(self) -> None:
        self.width = abs(self.width)


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    name: str

    def __repr__(self) -> str:
        return "thing"


def test_records_compare_and_hash_by_fields() -> None:
    assert Point(1, note="a") == Point(1, 0, "b")
    assert hash(Point(1, note="a")) == hash(Point(1, 0, "b"))
    assert Point(1) != Point(2)
    assert Point(1).__eq__((1, 0)) is NotImplemented
    assert Thing("a") != Thing("a")
    assert Box(-3) == Box(3)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Box(1))


def test_records_do_not_change() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    assert not hasattr(point, "__dict__")


def test_records_are_dataclasses() -> None:
    point = dataclasses.replace(Point(1, 2), y=5)
    assert repr(point) == "Point(x=1, y=5, note='', tags=[])"
    assert [f.name for f in dataclasses.fields(point)] == ["x", "y", "note", "tags"]
    assert pickle.loads(pickle.dumps(point)) == point
    assert repr(Thing("a")) == "thing"
    assert Point(1).tags is not Point(1).tags
    match point:
        case Point(x, y):
            assert (x, y) == (1, 5)


def test_records_do_not_inherit_fields() -> None:
    with pytest.raises(TypeError, match="not inherited"):

        @dataclass
        class _Inherits(Box):
            height: int = 0
