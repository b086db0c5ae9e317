"""Who may import whom: the house's direction, read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tallybook.ledger.state import READING

PACKAGE = Path(__file__).parent.parent / "cli" / "tallybook"
STAGES = {
    "accounts",
    "attribute",
    "beside",
    "bounds",
    "deduplicate",
    "history",
    "normalize",
    "ranking",
    "reconcile",
    "reuse",
    "running",
    "series",
    "sums",
    "witness",
}
# What each part of the package may import of the package.
ALLOWED = {
    "__init__": set(),
    "__main__": {"app", "__init__"},
    "schema": set(),
    "tables": {"schema"},
    "values": set(),
    "errors": set(),
    "names": set(),
    "private": set(),
    "dialects": {"dialects", "schema", "values"},
    "sources": {"sources", "dialects", "schema", "tables", "values"},
    "files": {"files", "sources", "schema", "tables", "errors", "names"},
    "pricing": {"pricing", "schema", "errors", "private"},
    **{stage: {*STAGES, "dialects", "schema"} for stage in STAGES},
    "backfill": {"backfill", "bounds", "normalize", "dialects", "schema", "tables"},
    "inplace": {"inplace", "sources", "dialects", "errors", "private", "values"},
    "ledger": {
        *STAGES,
        *("backfill", "ledger", "files", "sources", "pricing", "schema", "tables", "errors"),
        "dialects",
        "names",
        "private",
    },
    "report": {"report", "pricing", "schema", "errors", "private"},
    "render": {"render", "report", "schema", "errors", "names", "__init__"},
    "app": {
        "app",
        "sources",
        "render",
        "report",
        "ledger",
        "files",
        "inplace",
        "errors",
        "names",
        "private",
        "schema",
        "__init__",
    },
}
OUTSIDE_OF_SOURCES = {"msgspec", "pyarrow", "tallybook"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(path: Path) -> set[str]:
    """The parts of the package that a module imports; its public names count as `__init__`."""
    names = [name.split(".") for name in imported(path) if name.split(".")[0] == "tallybook"]
    known = {part(module) for module in MODULES}
    return {name[1] if len(name) > 1 and name[1] in known else "__init__" for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    assert own(path) - {part(path)} <= ALLOWED[part(path)]


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part(path) in {"sources", "dialects", "schema", "values"}],
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_readers_need_no_more_than_a_worker_has(path: Path) -> None:
    outside = {name.split(".")[0] for name in imported(path)} - sys.stdlib_module_names
    assert outside <= OUTSIDE_OF_SOURCES
    assert not {"os", "time", "pathlib", "subprocess"} & {n.split(".")[0] for n in imported(path)}


def test_the_digest_of_the_reading_code_is_of_all_that_a_reader_can_reach() -> None:
    parts: dict[str, set[str]] = {}
    for path in MODULES:
        parts.setdefault(part(path), set()).update(own(path))
    reached, pending = {"files"}, ["files"]
    while pending:
        new = parts[pending.pop()] - reached
        reached |= new
        pending += new
    assert reached == set(READING)
    # What is no module would be left out of it.
    others = {path.suffix for room in READING for path in (PACKAGE / room).rglob("*.*")}
    assert others <= {".py", ".pyc"}


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["usage-report", "--help"]])
def test_words_about_the_program_load_none_of_its_heavy_parts(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from tallybook.__main__ import main\n"
        f"sys.argv = ['tallybook', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'polars', 'pyarrow', 'genai_prices'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "heavy: []"
