"""Nothing that lets one in, and nothing that anybody wrote or was told, is kept or shown."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.sources import sources
from tests.built import built
from tests.ledger.homes import FIXTURES

# What is planted into values of such keys, however deep; the mark says where it came from.
_ADDRESS: Final = r"\w*(?:url|uri|api_base|endpoint)s?"
_KEY: Final = r"\w*(?:key|token|secret|password|authorization|cookie|credential)"
_WORDS: Final = (
    r"\w*error\w*|\w*message|detail\w*|reason|content|text|thinking|prompt|input|output|arguments|"
    r"instructions|system|query|title|summary|description|result|response|body|std(?:err|out)|"
    r"stack\w*|traceback|delta|partial_json|signature|data"
)
_MARK: Final = b"SeCrEt"
_PAIR: Final = re.compile(
    rb'(?P<quote>\\?")(?P<key>%b|%b|%b)(?P=quote)(?P<colon>\s*:\s*)(?P=quote)'
    rb'(?P<value>(?:[^"\\]|\\[^"])*+)(?P=quote)'
    % (_ADDRESS.encode(), _KEY.encode(), _WORDS.encode()),
    re.IGNORECASE,
)
_IS_ADDRESS: Final = re.compile(_ADDRESS.encode(), re.IGNORECASE)
_NAMED: Final = re.compile(f"{_ADDRESS}|{_KEY}|{_WORDS}", re.IGNORECASE)


def planted(content: bytes) -> bytes:
    """The same with something secret in every value of such a key."""
    return _PAIR.sub(_planted, content)


def _planted(pair: re.Match[bytes]) -> bytes:
    key, value, mark = pair["key"], pair["value"], _MARK + b"-" + pair["key"]
    if _IS_ADDRESS.fullmatch(key):
        sign = b"&" if b"?" in value else b"?"
        value = value.replace(b"://", b"://me:" + mark + b"@", 1) + sign + b"api_key=" + mark
    else:
        value += b" " + mark
    quote = pair["quote"]
    return quote + key + quote + pair["colon"] + quote + value + quote


def plant(path: Path) -> None:
    """Do it to a file; what is compressed by Zstandard or is no text stays as it is."""
    content = path.read_bytes()
    if content.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(path)) as database, suppress(sqlite3.Error):
            _plant_rows(database)
            database.commit()
    elif path.suffix == ".gz":
        with suppress(EOFError):
            path.write_bytes(gzip.compress(planted(gzip.decompress(content))))
    elif path.suffix != ".zst":
        path.write_bytes(planted(content))


def _plant_rows(database: sqlite3.Connection) -> None:
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        names = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
        for name in names:
            cells = database.execute(f'SELECT rowid, "{name}" FROM "{table}"').fetchall()  # noqa: S608
            for row, cell in cells:
                if isinstance(cell, str):
                    change = f'UPDATE "{table}" SET "{name}" = ? WHERE rowid = ?'  # noqa: S608
                    database.execute(change, (_cell(name, cell), row))


def _cell(name: str, cell: str) -> str:
    if cell.lstrip()[:1] in {"{", "["}:
        return planted(cell.encode()).decode()
    pair = planted(f'"{name}":"{cell}"'.encode()).decode()
    return pair[len(name) + 4 : -1] if _NAMED.fullmatch(name) else cell


@pytest.fixture(scope="module", params=["whole", "cut"])
def logs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs of all fixtures with secrets in them; `cut`: texts that end in their middle."""
    how: str = request.param
    folder = tmp_path_factory.mktemp("logs") / how
    for name in sources():
        for case in sorted(path for path in (FIXTURES / name).iterdir() if path.is_dir()):
            shutil.copytree(built(case), folder / name / case.name)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            plant(path)
            content = path.read_bytes()
            if how == "cut" and content[:1] in {b"{", b"["}:
                path.write_bytes(content[: len(content) * 2 // 3])  # what waits for its end is kept
    return folder


def strings(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All that a folder holds, with what Parquet packs unpacked."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            for name in table.column_names:
                yield f"{path}: {name}", repr(table[name].to_pylist()).encode()
            yield str(path), repr(table.schema.metadata).encode()
        elif path.is_file():
            yield str(path), path.read_bytes()


def test_no_secret_and_no_word_is_kept_or_shown(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first question reads all, so there is something that could have been kept."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TALLYBOOK_LEDGER", str(tmp_path / "out" / "ledger"))
    out = tmp_path / "out"
    out.mkdir()
    commands = [
        ["usage-report", "--by", "source", "--json", "--problems", str(out / "problems.jsonl")],
        ["usage-report", "--by", "thread,provider", "-o", str(out / "report.html")],
        ["export", str(out / "calls.parquet")],
        ["export", str(out / "calls.csv")],
        ["backfill", "--details", "--json"],
        ["explain", "total", "--json"],
        ["explain", "total", "--backfill"],
        ["prices", "--unpriced", "--json"],
        ["ledger", "status", "--json"],
        ["ledger", "verify", "--json"],
    ]
    said, first = [], ""
    for command in commands if logs.name == "whole" else commands[:1]:
        paths = [] if command[0] == "ledger" else [str(logs)]
        done = CliRunner().invoke(app, [*command, *paths])
        assert done.exit_code == 0, done.output
        said.append((" ".join(command), done.output.encode()))
        first = first or done.stdout
    found = [
        (where, sorted(set(re.findall(_MARK + rb"-\w*", content))))
        for where, content in [*said, *strings(out)]
        if _MARK in content
    ]
    assert found == []
    report = json.loads(first)
    assert {row["source"] for row in report["rows"]} == set(sources())
    assert report["coverage"]["records"] > 300


def test_what_is_planted_is_there(logs: Path) -> None:
    marks = {
        mark
        for path in logs.rglob("*")
        if path.is_file() and path.suffix not in {".gz", ".zst"}
        for mark in re.findall(_MARK + rb"-(\w+)", path.read_bytes())
    }
    assert {b"base_url", b"apiKey", b"url", b"endpoint", b"message", b"content", b"text"} <= marks
