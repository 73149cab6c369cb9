"""What the repository promises about itself: format, lint, types, layering, and the claims of its texts."""

import configparser
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.house


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("mypy",),
        ("lint-imports", "--no-logo"),
    ],
    ids=["format", "lint", "types", "layering"],
)
def test_tool(command: tuple[str, ...]) -> None:
    done = subprocess.run([_tool(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_import_is_light() -> None:
    """llvmlite, numba and matplotlib load when they are first needed, not with the package."""
    heavy = ("llvmlite", "numba", "matplotlib", "PIL")
    program = f"import sys, tensorjit; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ci_runs_the_command_of_the_readme() -> None:
    command = "pip install '.[test]' && pytest"
    assert command in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(command)


def test_settings_stand_where_the_tools_read_them() -> None:
    """A [project] table or [tool.pytest] in pyproject.toml silences setup.cfg without a word."""
    tables = re.findall(r"^\[([\w.-]+)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert {".".join(table.split(".")[:2]) for table in tables} == {
        "build-system",
        "tool.ruff",
        "tool.towncrier",
    }


def test_the_installed_package_is_of_this_version() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    assert version("tensorjit") == settings["metadata"]["version"]


def test_local_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken


def _tool(name: str) -> str:
    """The tool beside this Python, so that its environment need not be active; else the one on the path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed: pip install '.[test]'"
    return found
