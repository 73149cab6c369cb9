"""The command line: ``python -m tensorjit info | demo``."""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from tensorjit.demo.data import MissingDataError
from tensorjit.demo.run import SECONDS_PER_CASE, run

PACKAGES = ("tensorjit", "numpy", "llvmlite", "numba", "matplotlib")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tensorjit", description="Compiles ordinary NumPy functions.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="info | demo")
    commands.add_parser("info", help="versions and settings, for a bug report")
    demo = commands.add_parser("demo", help="plain NumPy programs on real data: NumPy against tensorjit")
    demo.add_argument("--out", type=Path, default=Path("tensorjit-demo"), metavar="DIR", help="where pictures go")
    demo.add_argument("--seconds", type=float, default=SECONDS_PER_CASE, metavar="S", help="how long to time each program")
    options = parser.parse_args(argv)
    if options.command == "info":
        print(info())
        return 0
    try:
        return run(options.out, seconds=options.seconds)
    except MissingDataError as error:
        print(f"tensorjit: {error}", file=sys.stderr)
        return 2


def info() -> str:
    """Versions and settings, one to a line."""
    lines = [
        f"python      {platform.python_version()} ({platform.python_implementation()})",
        f"platform    {platform.platform()}, {os.cpu_count()} cores",
    ]
    lines += [f"{name:<12}{_version(name)}" for name in PACKAGES]
    settings = {name: value for name, value in sorted(os.environ.items()) if name.startswith("TENSORJIT")}
    return "\n".join(lines + [f"{name}={value}" for name, value in settings.items()])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # a clone that is run without being installed has no metadata
        return "not installed" if importlib.util.find_spec(package) is None else "found, not installed"


if __name__ == "__main__":
    sys.exit(main())
