"""Names of CPUs: those that LLVM does not know, or ends the process for, and those of more than this machine has."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

import tensorjit as tj
from tensorjit.backends.llvm import engine, targets
from tensorjit.backends.llvm.engine import Engine, check_runs_here, default_engine, host_target
from tensorjit.backends.llvm.targets import CPUS, check_name

ROOT = Path(__file__).parents[2]
on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="CPUs of x86-64")
WRONG = ("bogus", "", "a b", "help", "native", "x86-64-v5", "x86-64-v3,+avx", "\u00e9", "x86-64\n")
OTHERS = {"x86_64": ("i386", "pentium", "pentium4", "athlon", "apple-m1"), "aarch64": ("haswell", "x86-64", "i386")}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_cpu_is_an_error_that_names_some(name: str) -> None:
    function = tj.script(lambda x: x + 1, target=name)
    with pytest.raises(ValueError, match="is no CPU of"):
        function(np.ones(3))


def test_a_cpu_without_64_bits_or_of_another_architecture_does_not_end_the_process() -> None:
    for name in OTHERS.get(default_engine().arch, ()):
        with pytest.raises(ValueError, match="is no CPU of"):
            host_target(name)


def test_the_environment_names_no_cpu() -> None:
    code = "import numpy as np, tensorjit as tj; f = tj.trace(np.negative, (np.ones(3),)); f(np.ones(3))"
    environment = {**os.environ, "TENSORJIT_TARGET": "i386", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ValueError: 'i386' is no CPU of" in done.stderr


def test_names_written_alike_are_told() -> None:
    with pytest.raises(ValueError, match="similar names: haswell"):
        check_name("haswel", "x86_64")
    check_name("whatever", "riscv64")  # of which no list is kept


def test_every_known_cpu_compiles(capfd: pytest.CaptureFixture[str]) -> None:
    for name in sorted(CPUS.get(default_engine().arch, ())):
        assert Engine(host_target(name)).compile_ir("define double @tj_f(double %x) {\n  %y = fadd double %x, %x\n  ret double %y\n}")
    assert not capfd.readouterr().err  # LLVM says there that it does not know a name


@on_x86
def test_features_of_cpus_are_what_llvm_says() -> None:
    triple, asked = llvm.get_process_triple(), ",".join(f"-{f}" for f in ("avx", "avx2", "fma", "bmi2", "avx512f", "sse4a", "sgx"))
    found = {name: set(targets.lacking(triple, name, asked)) for name in ("x86-64-v2", "haswell", "x86-64-v4", "znver4")}
    assert found == {
        "x86-64-v2": set(),
        "haswell": {"avx", "avx2", "fma", "bmi2"},
        "x86-64-v4": {"avx", "avx2", "fma", "bmi2", "avx512f"},
        "znver4": {"avx", "avx2", "fma", "bmi2", "avx512f", "sse4a"},
    }


@on_x86
def test_a_cpu_of_more_than_this_machine_has_is_refused_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_host_features", lambda: "+avx,-avx2,-avx512f,-sgx")
    check_runs_here(host_target("x86-64-v2"))
    with pytest.raises(ValueError, match=r"'x86-64-v3': it lacks avx2$"):
        tj.script(lambda x: x + 1, target="x86-64-v3")(np.ones(3))
