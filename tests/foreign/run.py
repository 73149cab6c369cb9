"""``python -m tests.foreign.run [MODULE ...]``: NumPy's and numba's test modules, each in a process of its own, then the report.

A module is a path inside the package, as `numpy/lib/tests/test_shape_base.py` or `numba/tests/test_slices.py`; without any, all of
`NUMPY` and `NUMBA`. The exit status is 1 where something is wrong. Logs go to foreign-logs/, or where FOREIGN_LOGS says.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.foreign.report import differences, records, text

ROOT = Path(__file__).parents[2]
MEMORY = 6 << 30  # NumPy's tests of huge arrays shall fail, and not take the machine's memory
SECONDS = 1800
NUMPY = tuple(
    f"numpy/{folder}/tests/test_{name}.py"
    for folder, names in {
        "lib": "arraypad arraysetops function_base histograms index_tricks nanfunctions packbits polynomial regression shape_base "
        "stride_tricks twodim_base type_check ufunclike utils",
        "_core": "shape_base numeric indexing item_selection umath umath_complex ufunc scalarmath scalar_methods half einsum "
        "function_base indexerrors mem_overlap nep50_promotions regression multiarray array_coercion casting_floatingpoint_errors "
        "errstate getlimits numerictypes scalar_ctors arrayobject deprecations umath_accuracy",
        "linalg": "linalg regression deprecations",
        "fft": "pocketfft helper",
        "polynomial": "chebyshev classes hermite hermite_e laguerre legendre polynomial polyutils",
    }.items()
    for name in names.split()
)
NUMBA = tuple(
    f"numba/tests/test_{name}.py"
    for name in (
        "analysis array_analysis array_attr array_constants array_exprs array_iterators array_manipulation array_methods "
        "array_reductions array_return blackscholes boundscheck builtins byteflow casting chained_assign closure complex "
        "comprehension conditions_as_predicates controlflow conversion copy_propagate dataflow dicts dispatcher dyn_array "
        "dyn_func enums errorhandling exceptions extended_arg fancy_indexing flow_control func_lifetime generators globals "
        "hashing heapq indexing inlining interproc intwidth ir_inlining iteration jitmethod linalg lists literal_dispatch "
        "locals looplifting mandelbrot map_filter_reduce mathlib maxmin mixed_tuple_unroller multi3 nan nested_calls "
        "np_functions np_randomgen numberctor numconv obj_lifetime operators optional overlap parfors polynomial "
        "practical_lowering_issues print python_int random range recursion remove_dead return_values sets slices sort ssa "
        "storeslice tracing try_except tuples typeinfer types ufuncs unicode unicode_names unpack_sequence usecases "
        "vectorization vectorization_type_inference warnings"
    ).split()
)
_PLUGINS = {"numpy": "tests.foreign.numpy_tests", "numba": "tests.foreign.numba_tests"}


def folder_of(package: str) -> Path | None:
    """Where a package is installed."""
    found = importlib.util.find_spec(package)
    return None if found is None or found.origin is None else Path(found.origin).parent


def run(module: str, log: Path, select: str = "", seconds: int = SECONDS) -> bool:
    """Run one module's tests, their calls compared; whether it is there and ended in time. Its tests may fail: not of interest."""
    package, _, inside = module.partition("/")
    folder = folder_of(package)
    if folder is None or not (folder / inside).exists():
        return False
    environment = os.environ | {"FOREIGN_LOG": str(log), "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", _PLUGINS[package], *(["-k", select] if select else [])]
    command = [sys.executable, "-m", "pytest", *options, str(folder / inside)]
    with log.with_suffix(".out").open("w", encoding="utf-8") as out:
        try:
            # outside of the repository, whose settings are not for these tests
            subprocess.run(
                command, cwd=log.parent, env=environment, stdout=out, stderr=out, timeout=seconds, preexec_fn=_limit, check=False
            )
        except subprocess.TimeoutExpired:
            return False
    return True


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main(modules: Sequence[str]) -> int:
    """Run modules one after the other, and print the report."""
    logs = Path(os.environ.get("FOREIGN_LOGS", "foreign-logs")).absolute()
    logs.mkdir(exist_ok=True)
    files = []
    for module in modules or (*NUMPY, *NUMBA):
        log = logs / f"{module.removesuffix('.py').replace('/', '.')}.jsonl"
        log.write_text("", encoding="utf-8")
        if not run(module, log):
            print(f"{module}: not there, or not done in {SECONDS} s")  # noqa: T201
        files.append(log)
    found = list(records(files))
    print(text(found))  # noqa: T201
    return int(bool(differences(found)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
