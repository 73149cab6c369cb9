"""The command line of the benchmark: which sections run, and what is printed."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import (
    peers,
    report,
    section_calls,
    section_chains,
    section_compile,
    section_ops,
    section_programs,
)
from bench.jobs import Failure, Job, Settings
from bench.measure import Row

SECTIONS: dict[str, Callable[[], Iterator[Job]]] = {
    "calls": section_calls.jobs,
    "compile": section_compile.jobs,
    "chains": section_chains.jobs,
    "programs": section_programs.jobs,
    "ops": section_ops.jobs,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print; 1 where a case could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="tensorjit against its peers, one thread")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it works")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name contains TEXT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    options = parser.parse_args(argv)
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section named {', '.join(sorted(unknown))}")
    jobs = [job for name in options.sections or SECTIONS for job in SECTIONS[name]() if options.only in job.case]
    rows, failures = _run(jobs, Settings(options.quick))
    print(report.text(rows, failures, peers.missing()))
    if options.json:
        report.write_json(rows, options.json)
    return int(bool(failures))


def _run(jobs: Sequence[Job], settings: Settings) -> tuple[list[Row], list[Failure]]:
    rows: list[Row] = []
    failures: list[Failure] = []
    for number, job in enumerate(jobs, start=1):
        sys.stderr.write(f"\r\033[K[{number}/{len(jobs)}] {job.section}: {job.case}")
        sys.stderr.flush()
        try:
            rows.append(job.run(settings))
        except Exception as error:  # one case that fails must not cost the others their numbers
            failures.append(Failure(job.section, job.case, f"{type(error).__name__}: {error}"))
    sys.stderr.write("\r\033[K")
    sys.stderr.flush()
    return rows, failures
