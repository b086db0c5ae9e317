"""Whatever a database holds and wherever it is cut, reading it ends, with a word on what is odd."""

from __future__ import annotations

import _thread
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tallybook.files import sqlite as database
from tallybook.files.read import FileReading, read_file
from tallybook.files.sqlite import connect, is_database, words
from tallybook.sources import FileFacts, sources
from tallybook.sources.contract import Rows
from tests.built import built

FIXTURES = Path(__file__).parents[2] / "fixtures"
HISTORY = "CREATE TABLE usageHistory (timestamp TEXT, provider TEXT, model TEXT, tokens TEXT)"
ROWS = [
    (f"2026-06-0{day}T10:00:00Z", "openai", "gpt-5", f'{{"prompt_tokens":{day}}}') for day in (1, 2)
]
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT"
INTERRUPTED = (
    "WITH RECURSIVE n(x) AS (SELECT interrupt() UNION ALL SELECT x FROM n LIMIT 100000) "
    "SELECT count(*) FROM n"
)
WATCH = 120  # seconds; the reading takes two

READ_CUTS = """
import sys
from pathlib import Path
from tallybook.errors import FAILURES
from tallybook.files.read import FileReading

FAILURES.raised = True
folder = Path(sys.argv[1])
for line in sys.stdin:
    name, size = line.split()
    print(line.strip(), flush=True)
    cut = folder / "cut.sqlite"
    cut.write_bytes((folder / name).read_bytes()[: int(size)])
    rows = sum(len(found.rows) for found in FileReading(cut))
    assert rows < 10_000, rows
print("done")
"""


def made(path: Path, *statements: str, rows: int = 2) -> Path:
    """A database of 9router's with some usage rows, after more statements."""
    with closing(sqlite3.connect(path)) as base:
        base.execute(HISTORY)
        base.executemany("INSERT INTO usageHistory VALUES (?, ?, ?, ?)", ROWS * (rows // 2))
        for statement in statements:
            base.execute(statement)
        base.commit()
    return path


def endless(name: str, columns: str) -> str:
    """The statement that makes a view with rows numbered `x` and no end."""
    return f"CREATE VIEW {name} AS {ENDLESS} {columns} FROM n"


def calls(rows: list[dict[str, Any]]) -> list[int | None]:
    return [row["reported_input_tokens"] for row in rows if row["kind"] == "call"]


def said(rows: list[dict[str, Any]]) -> list[tuple[str, str | None, str]]:
    return [
        (row["problems"][0], row["part"], row["detail"]) for row in rows if row["kind"] == "problem"
    ]


def databases() -> Iterator[Path]:
    for script in sorted(FIXTURES.glob("*/*/input/**/*.sql")):
        case = next(above for above in script.parents if above.name == "input").parent
        path = built(case) / script.with_suffix("").relative_to(case / "input")
        if is_database(path):
            yield path


def test_a_database_that_is_cut_anywhere_ends(tmp_path: Path) -> None:
    cuts = []
    for number, path in enumerate(databases()):
        content = path.read_bytes()
        (tmp_path / str(number)).write_bytes(content)
        # Within pages and between them, by another step in each.
        cuts += [f"{number} {size}" for size in range(600 + number, len(content), 9216)]
    assert len(cuts) > 80
    done = subprocess.run(
        [sys.executable, "-c", READ_CUTS, str(tmp_path)],
        input="\n".join(cuts),
        capture_output=True,
        text=True,
        check=False,
        timeout=WATCH,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stdout.endswith("done\n"), (done.stdout[-20:], done.stderr)


class TestAView:
    """In the place of a table it may be anything, and have no end."""

    def test_is_not_read_and_said_to_be_one(self, tmp_path: Path) -> None:
        path = tmp_path / "data.sqlite"
        with closing(sqlite3.connect(path)) as base:
            base.execute(endless("usageHistory", "x AS timestamp, 1 AS model, 2 AS tokens"))
        rows = read_file(path).to_pylist()
        assert said(rows) == [
            ("unreadable", "usageHistory", "usageHistory is a view, or has no row numbers")
        ]
        assert {row["source"] for row in rows} == {"9router"}

    def test_costs_no_other_table(self, tmp_path: Path) -> None:
        path = made(
            tmp_path / "data.sqlite",
            endless("usage", "x AS timestamp, 1 AS model, '{}' AS tokens_json"),
        )
        rows = read_file(path).to_pylist()
        assert calls(rows) == [1, 2]
        assert [part for _, part, _ in said(rows)] == ["usage"]

    @pytest.mark.parametrize("name", ["runs", "run_events"])
    def test_is_none_of_deerflow_s_tables(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / "deerflow.db"
        columns = "x AS thread_id, x AS run_id, 1 AS total_tokens, '' AS event_type"
        with closing(sqlite3.connect(path)) as base:
            base.execute(endless(name, columns))
        assert [part for _, part, _ in said(read_file(path).to_pylist())] == [name]

    def test_is_none_of_the_tables_of_checkpoints(self, tmp_path: Path) -> None:
        path = tmp_path / "deer-flow.db"
        columns = "x AS thread_id, x AS checkpoint_id, 'messages' AS channel, 1 AS type, 1 AS value"
        with closing(sqlite3.connect(path)) as base:
            for name in ("writes", "checkpoints"):
                base.execute(endless(name, columns))
        rows = read_file(path).to_pylist()
        assert [part for _, part, _ in said(rows)] == ["checkpoints", "writes"]


def test_a_table_without_row_numbers_is_said_to_be_one(tmp_path: Path) -> None:
    path = made(
        tmp_path / "data.sqlite",
        "CREATE TABLE usage (timestamp PRIMARY KEY, model, tokens_json) WITHOUT ROWID",
        "INSERT INTO usage VALUES ('2026-06-01T10:00:00Z', 'gpt-5', '{\"prompt_tokens\":7}')",
    )
    rows = read_file(path).to_pylist()
    assert calls(rows) == [1, 2]
    assert [part for _, part, _ in said(rows)] == ["usage"]


def test_a_column_of_that_name_is_no_row_number(tmp_path: Path) -> None:
    path = made(
        tmp_path / "data.sqlite",
        "CREATE TABLE usage (rowid TEXT, timestamp, model, tokens_json)",
        "INSERT INTO usage VALUES ('x', '2026-06-01T10:00:00Z', 'gpt-5', '{}')",
    )
    rows = read_file(path).to_pylist()
    assert calls(rows) == [1, 2]
    assert [part for _, part, _ in said(rows)] == ["usage"]


def test_a_column_that_is_worked_out_is_none(tmp_path: Path) -> None:
    """Its text may be as large as SQLite can make one, in every row."""
    path = made(
        tmp_path / "data.sqlite",
        "ALTER TABLE usageHistory ADD COLUMN endpoint"
        " AS (hex(zeroblob(400000000)) || timestamp) VIRTUAL",
    )
    assert calls(read_file(path).to_pylist()) == [1, 2]


def test_a_text_larger_than_any_log_s_costs_its_row(tmp_path: Path) -> None:
    path = made(
        tmp_path / "data.sqlite",
        "UPDATE usageHistory SET tokens = zeroblob(65 << 20) WHERE rowid = 1",
    )
    rows = read_file(path).to_pylist()
    assert calls(rows) == [2]
    assert said(rows) == [
        ("truncated", "usageHistory", "usageHistory from row 1 to 1: string or blob too big")
    ]


@pytest.mark.parametrize("column", ["name", "sql", "tbl_name"])
def test_a_schema_that_is_no_text_costs_no_table_of_ours(tmp_path: Path, column: str) -> None:
    path = made(tmp_path / "data.sqlite", "CREATE TABLE other (a)", rows=2)
    with closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA writable_schema = 1")
        base.execute(
            f"UPDATE sqlite_master SET {column} ="  # noqa: S608 - names of this test
            f" CAST(replace(CAST({column} AS BLOB), 'other', X'6fff') AS TEXT)"
            " WHERE name = 'other'"
        )
        base.commit()
    assert calls(read_file(path).to_pylist()) == [1, 2]


def test_a_statement_without_end_is_ended_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_STEPS", 1_000_000)
    path = made(tmp_path / "data.sqlite")
    router = sources()["9router"]

    def query(connection: sqlite3.Connection, facts: FileFacts) -> Iterator[Rows]:
        assert router.query is not None
        yield from router.query(connection, facts)
        connection.execute(f"{ENDLESS} count(*) FROM n").fetchone()

    monkeypatch.setitem(sources(), "9router", replace(router, query=query))
    rows = read_file(path).to_pylist()
    assert calls(rows) == [1, 2]
    assert [code for code, _, _ in said(rows)] == ["truncated"]
    reading = FileReading(path)
    assert len(list(reading)) > 1
    assert not reading.failed


def test_an_error_s_words_quote_nothing_of_the_database(tmp_path: Path) -> None:
    path = made(tmp_path / "data.sqlite", "CREATE TABLE texts (text)",
                "INSERT INTO texts VALUES (CAST(X'736563726574ff' AS TEXT))")  # fmt: skip
    with connect(path) as connection:
        for statement in ("SELECT text FROM texts", "SELECT secret FROM texts", "secret"):
            with pytest.raises(sqlite3.Error, match="secret") as caught:
                connection.execute(statement).fetchall()
            assert words(caught.value)
            assert "secret" not in words(caught.value)


def test_an_interrupt_within_a_statement_is_not_taken_for_its_end(tmp_path: Path) -> None:
    """It was told as a table that leads back to itself, and the reading went on."""
    # A shell lets what it starts in the background pass over interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with connect(made(tmp_path / "data.sqlite")) as connection:
            connection.create_function("interrupt", 0, _thread.interrupt_main)
            with pytest.raises(KeyboardInterrupt):
                connection.execute(INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, before)
