"""The CPUs that code may be made for, and whether this machine runs such code.

LLVM ends the process where a name is that of a CPU without 64 bits, and goes on with another CPU where it does not know the
name. So the names are written down here, as `llc -mcpu=help` of LLVM 22 gives them, those left out that it refuses for the triple.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Mapping

import llvmlite.binding as llvm

__all__ = ["CPUS", "check_name", "lacking"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


CPUS: Mapping[str, frozenset[str]] = {
    "x86_64": _names(
        """
        alderlake amdfam10 arrowlake arrowlake-s athlon-fx athlon64 athlon64-sse3 atom barcelona bdver1 bdver2 bdver3
        bdver4 bonnell broadwell btver1 btver2 cannonlake cascadelake clearwaterforest cooperlake core-avx-i core-avx2
        core2 corei7 corei7-avx diamondrapids emeraldrapids generic goldmont goldmont-plus gracemont grandridge
        graniterapids graniterapids-d haswell icelake-client icelake-server ivybridge k8 k8-sse3 knl knm lunarlake
        meteorlake nehalem nocona novalake opteron opteron-sse3 pantherlake penryn raptorlake rocketlake sandybridge
        sapphirerapids sierraforest silvermont skx skylake skylake-avx512 slm tigerlake tremont westmere wildcatlake
        x86-64 x86-64-v2 x86-64-v3 x86-64-v4 znver1 znver2 znver3 znver4 znver5
        """
    ),
    "aarch64": _names(
        """
        a64fx ampere1 ampere1a ampere1b ampere1c apple-a10 apple-a11 apple-a12 apple-a13 apple-a14 apple-a15 apple-a16
        apple-a17 apple-a18 apple-a19 apple-a7 apple-a8 apple-a9 apple-m1 apple-m2 apple-m3 apple-m4 apple-m5
        apple-s10 apple-s4 apple-s5 apple-s6 apple-s7 apple-s8 apple-s9 c1-nano c1-premium c1-pro c1-ultra carmel
        cobalt-100 cortex-a320 cortex-a34 cortex-a35 cortex-a510 cortex-a520 cortex-a520ae cortex-a53 cortex-a55
        cortex-a57 cortex-a65 cortex-a65ae cortex-a710 cortex-a715 cortex-a72 cortex-a720 cortex-a720ae cortex-a725
        cortex-a73 cortex-a75 cortex-a76 cortex-a76ae cortex-a77 cortex-a78 cortex-a78ae cortex-a78c cortex-r82
        cortex-r82ae cortex-x1 cortex-x1c cortex-x2 cortex-x3 cortex-x4 cortex-x925 cyclone exynos-m3 exynos-m4
        exynos-m5 falkor fujitsu-monaka gb10 generic grace kryo neoverse-512tvb neoverse-e1 neoverse-n1 neoverse-n2
        neoverse-n3 neoverse-v1 neoverse-v2 neoverse-v3 neoverse-v3ae olympus oryon-1 saphira thunderx thunderx2t99
        thunderx3t110 thunderxt81 thunderxt83 thunderxt88 tsv110
        """
    ),
}

# of an operating system, or of instructions that only intrinsics of their own name
_UNUSED = _names(
    """
    64bit amx-avx512 amx-bf16 amx-complex amx-fp16 amx-fp8 amx-int8 amx-movrs amx-tf32 amx-tile cldemote clflushopt clwb clzero
    cmpccxadd cx16 enqcmd fsgsbase fxsr hreset invpcid kl lwp movdir64b movdiri mwaitx pconfig pku prefetchi prfchw ptwrite raoint
    rdpid rdpru rdrnd rdseed rtm serialize sgx shstk tsxldtrk uintr usermsr waitpkg wbnoinvd widekl xsave xsavec xsaveopt xsaves
    """
)


def check_name(name: str, arch: str) -> None:
    """ValueError for a name that is no CPU of the architecture, with those that are written alike.

    >>> check_name("x86-64-v33", "x86_64")
    Traceback (most recent call last):
    ValueError: 'x86-64-v33' is no CPU of x86_64 that code can be made for; similar names: x86-64-v3, x86-64-v4, x86-64-v2
    """
    known = CPUS.get(arch)
    if known is None or name in known:
        return
    alike = difflib.get_close_matches(name, sorted(known), n=3) or sorted(n for n in known if n.startswith("x86-64")) or ["generic"]
    raise ValueError(f"{name!r} is no CPU of {arch} that code can be made for; similar names: {', '.join(alike)}")


@functools.lru_cache(maxsize=32)
def lacking(triple: str, cpu: str, host_features: str) -> tuple[str, ...]:
    """The features of a CPU that this machine does not have, of those that make a difference to what is compiled."""
    absent = [f[1:] for f in host_features.split(",") if f.startswith("-") and f[1:] not in _UNUSED]
    return tuple(_features_among(triple, cpu, absent))


def _features_among(triple: str, cpu: str, features: Collection[str]) -> list[str]:
    """Those that LLVM gives to a CPU: it inlines a function that needs a feature into none for a CPU that lacks it."""
    callees = [
        f"define internal i32 @f{k}(i32 %x) #{k} {{\n  %y = add i32 %x, {k + 1}\n  ret i32 %y\n}}" for k in range(len(features))
    ]
    calls = [
        f"  %x{k} = load volatile i32, ptr %p\n  %y{k} = call i32 @f{k}(i32 %x{k})\n  store volatile i32 %y{k}, ptr %p"
        for k in range(len(features))
    ]
    caller = ["define void @caller(ptr %p) #" + str(len(features)) + " {", *calls, "  ret void\n}"]
    kinds = [f'attributes #{k} = {{ "target-cpu"="generic" "target-features"="+{f}" }}' for k, f in enumerate(features)]
    own = f'attributes #{len(features)} = {{ "target-cpu"="{cpu}" }}'
    with llvm.create_context() as context:
        parsed = llvm.parse_assembly("\n".join([f'target triple = "{triple}"', *callees, *caller, *kinds, own]), context)
        with parsed:
            machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu)
            builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
            builder.getModulePassManager().run(parsed, builder)
            text = str(parsed)
            builder.close()
    return [f for k, f in enumerate(features) if f"@f{k}(" not in text]
