"""Who may import whom: the house's direction, read from the imports themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tallybook.ledger.digests import READING
from tallybook.sources import sources
from tallybook.sources.contract import Later

PACKAGE = Path(__file__).parent.parent / "cli" / "tallybook"
# A room imports those on the floors below its own. The lowest holds what every room may know; its
# modules are single files, of which `tables` alone loads pyarrow, and so stands apart of `schema`.
FLOORS = (
    {"__main__"},
    {"notebook"},
    {"commands"},
    {"backfill"},
    {"ledger"},
    {"files", "render"},
    {"derive"},
    {"sources", "report"},
    {"pricing"},
    {"dialects"},
    {"__init__", "errors", "names", "private", "schema", "tables", "urls", "values", "wording"},
)
OUTSIDE_OF_SOURCES = {"msgspec", "pyarrow", "tallybook"}
MODULES = sorted(PACKAGE.rglob("*.py"))
FRONT = PACKAGE / "__init__.py"  # offers what stands on the highest floor, at need


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def parts_of_the_package() -> frozenset[str]:
    return frozenset(map(part, MODULES))


@cache
def imported(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def own(path: Path) -> set[str]:
    """The parts of the package that a module imports; its public names count as `__init__`."""
    names = [name.split(".") for name in imported(path) if name.split(".")[0] == "tallybook"]
    known = parts_of_the_package()
    return {name[1] if len(name) > 1 and name[1] in known else "__init__" for name in names}


def test_imports_go_one_way() -> None:
    odd = [
        (path.relative_to(PACKAGE).as_posix(), room)
        for path in MODULES
        if path != FRONT
        for room in own(path) - {part(path)} - below(part(path))
    ]
    assert odd == []


def below(room: str) -> set[str]:
    """The rooms that it may import; those of the lowest floor may know each other."""
    (floor,) = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    return set().union(*FLOORS[min(floor + 1, len(FLOORS) - 1) :])


def test_readers_need_no_more_than_a_worker_has() -> None:
    for path in MODULES:
        if part(path) in {"sources", "dialects", "schema", "values"}:
            roots = {name.split(".")[0] for name in imported(path)}
            assert roots - sys.stdlib_module_names <= OUTSIDE_OF_SOURCES, path
            assert not {"os", "time", "pathlib", "subprocess"} & roots, path


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["usage-report", "--help"],
        ["ledger", "status", "--ledger", "none"],
    ],
)
def test_words_about_the_program_load_none_of_its_heavy_parts(arguments: list[str]) -> None:
    code = (
        "import os, sys\n"
        "from tallybook.__main__ import main\n"
        "os._exit = sys.exit\n"
        f"sys.argv = ['tallybook', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'polars', 'pyarrow', 'genai_prices'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "heavy: []"


def test_adding_up_what_is_kept_loads_polars_alone() -> None:
    """A question over a ledger that knows all files reads no row of a log, and makes none."""
    code = (
        "import sys, tallybook.ledger.reading, tallybook.report.summary\n"
        "print('pyarrow' in sys.modules, 'tallybook.derive.chain' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_naming_the_sources_loads_none_of_their_readers() -> None:
    """A run meets few of the formats; the readers of the others would cost it 0.06 s."""
    code = (
        "import sys\n"
        "from tallybook.sources import sources\n"
        "names = [name for name in sys.modules if name.startswith('tallybook.sources.')]\n"
        "packages = {source.sniff.module.rpartition('.')[0] for source in sources().values()}\n"
        "print(sorted({name for name in names if name.rpartition('.')[0] in packages}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_recognising_loads_no_reader() -> None:
    """Only raw responses are told by what their dialects know, which other readers need as well."""
    code = (
        "import sys\n"
        "from tallybook.sources import sources\n"
        "from tallybook.sources.lines import Head\n"
        "known = sources()\n"
        "before = set(sys.modules)\n"
        "for source in known.values():\n"
        "    if source.name != 'responses':\n"
        "        source.sniff(Head(b'{}')), source.recognise({'usage': frozenset()})\n"
        "new = {name for name in set(sys.modules) - before if name.startswith('tallybook.')}\n"
        "print(sorted({name.rpartition('.')[2] for name in new}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['sniff']"


def test_every_function_that_a_source_names_is_there() -> None:
    for source in sources().values():
        named = [getattr(source, name) for name in source.__struct_fields__]
        for each in named:
            if isinstance(each, Later):
                assert callable(each.found()), source.name


def test_what_is_needed_to_run_has_no_http_client() -> None:
    project = tomllib.loads((PACKAGE.parent.parent / "pyproject.toml").read_text("utf-8"))
    waiting = list(project["project"]["dependencies"])
    seen: set[str] = set()
    while waiting:
        needed = Requirement(waiting.pop())
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        if (name := canonicalize_name(needed.name)) not in seen:
            seen.add(name)
            waiting += requires(name) or []
    assert {"polars", "typer"} <= seen
    clients = {"httpx", "httpx2", "httpcore", "requests", "urllib3", "aiohttp", "anyio"}
    assert not seen & {*clients, "genai-prices", "pydantic", "pydantic-core"}
