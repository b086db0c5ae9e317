"""What another's ledger holds is looked at before it is taken over, and costs what it rests on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.errors import TallybookError
from tallybook.ledger.catalog import load, save, states
from tallybook.ledger.corrections import append_corrections, corrections
from tallybook.ledger.manifest import Entry, Manifest, Segment, encoded
from tallybook.ledger.merging import merge
from tallybook.ledger.verify import verify
from tallybook.tables import CORRECTIONS
from tests.ledger.homes import home_of, put, session, told, totals, transcript
from tests.ledger.rows import held

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="there is no such file there")
CALLS = (3, 4, 5)  # of the sound files, the first of which is ours as well; the fourth has 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both ledgers as each test finds them; their logs are gone."""
    folder = tmp_path_factory.mktemp("made")
    home = home_of(folder / "home", 3)
    told(home, folder / "theirs")
    put(transcript(home, 4), session(4, calls=6))
    told(home, folder / "theirs")
    shutil.rmtree(home)
    told(home_of(folder / "mine", 1), folder / "ours")
    shutil.rmtree(folder / "mine")
    return folder


@pytest.fixture
def theirs(made: Path, tmp_path: Path) -> Path:
    """A ledger of four files in two parts, the last of them in a part of its own."""
    return Path(shutil.copytree(made / "theirs", tmp_path / "theirs"))


@pytest.fixture
def ours(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "ours", tmp_path / "ours"))


def calls(ledger: Path, tmp_path: Path) -> int:
    found: int = totals(told(tmp_path / "nowhere", ledger))["calls"]
    return found


def the_fourth(manifest: Manifest) -> Entry:
    return manifest.entries[max(manifest.entries)]


def part_of(ledger: Path) -> Path:
    """The part of the fourth file."""
    (segment,) = the_fourth(load(ledger)[0]).segments()
    return ledger / "parts" / segment.part


def change(ledger: Path, **fields: Any) -> None:
    """Say something else of the fourth file."""
    manifest, _ = load(ledger)
    path = max(manifest.entries)
    entry = msgspec.structs.replace(manifest.entries.pop(path), **fields)
    manifest.entries[entry.path] = entry
    save(ledger, manifest)


def write(ledger: Path, table: pa.Table) -> None:
    """Let the fourth file rest on another part, whose name fits."""
    aside = ledger / "table"
    pq.write_table(table, aside)
    name = blake2b(aside.read_bytes(), digest_size=16).hexdigest() + ".parquet"
    aside.rename(ledger / "parts" / name)
    change(ledger, rows=[Segment(name, 0, table.num_rows)], tentative=[])


def forge(ledger: Path, column: str, values: pa.Array) -> None:
    """Let the rows of the fourth file say something else in a column."""
    table = pq.read_table(part_of(ledger))
    write(ledger, table.set_column(table.schema.get_field_index(column), column, values))


def is_refused(ours: Path, theirs: Path, tmp_path: Path, why: str) -> None:
    """The fourth file is, and no other; the ledger is sound."""
    before = held(ours)
    merged = merge(ours, theirs)
    assert merged.files == len(CALLS)
    (refused,) = merged.refused
    assert why in refused.why
    assert held(ours).items() >= before.items()
    assert len({row for rows in held(ours).values() for row in rows}) == sum(CALLS)
    assert verify(ours)[1] == []
    left = {path.name for path in (ours / "parts").iterdir()}
    assert left == {*load(ours)[0].parts(), *load(ours)[0].before}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"path": "relative.jsonl"}, "absolute"),
        ({"path": ""}, "absolute"),
        ({"path": "/home/../etc/x.jsonl"}, "absolute"),
        ({"path": "/home/\0"}, "absolute"),
        ({"path": "/" + 40_000 * "x"}, "absolute"),
        ({"file_id": "../../../x"}, "file id"),
        ({"file_id": ""}, "file id"),
        ({"size": 2**64 - 1}, "bounds"),
        ({"size": -(10**9)}, "bounds"),
        ({"rows": [Segment("../lock", 0, 6)]}, "name"),
        ({"rows": [Segment("/dev/zero", 0, 6)]}, "name"),
        ({"rows": [Segment(f"{'a' * 32}.parquet/../x", 0, 6)]}, "name"),
        ({"rows": [Segment(f"{'a' * 32}.parquet", 0, 6)]}, "No such file"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value)[:40],
)
def test_an_entry_that_cannot_be(
    ours: Path, theirs: Path, tmp_path: Path, fields: dict[str, Any], why: str
) -> None:
    change(theirs, **fields)
    is_refused(ours, theirs, tmp_path, why)


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ([(-1, 6)], "bounds"),
        ([(0, -6)], "bounds"),
        ([(0, 7)], "beyond"),
        ([(6, 1)], "beyond"),
        ([(2**62, 2**62)], "bounds"),
        ([(2**40, 1)], "beyond"),
        ([(0, 6), (5, 1)], "twice"),
    ],
)
def test_rows_that_are_not_there_or_told_twice(
    ours: Path, theirs: Path, tmp_path: Path, runs: list[tuple[int, int]], why: str
) -> None:
    name = part_of(theirs).name
    change(theirs, rows=[Segment(name, start, rows) for start, rows in runs])
    is_refused(ours, theirs, tmp_path, why)


def test_rows_of_another_file(ours: Path, theirs: Path, tmp_path: Path) -> None:
    manifest, _ = load(theirs)
    change(theirs, rows=manifest.entries[min(manifest.entries)].rows)
    is_refused(ours, theirs, tmp_path, "another file")


def test_a_source_that_is_unknown(ours: Path, theirs: Path, tmp_path: Path) -> None:
    manifest, _ = load(theirs)
    place = msgspec.structs.replace(the_fourth(manifest).place, source="evil")
    change(theirs, encoded_place=encoded(place))
    is_refused(ours, theirs, tmp_path, "source")


def test_a_file_id_that_another_file_has(ours: Path, theirs: Path, tmp_path: Path) -> None:
    manifest, _ = load(theirs)
    change(theirs, file_id=manifest.entries[min(manifest.entries)].file_id)
    is_refused(ours, theirs, tmp_path, "another file's")


def test_one_file_that_is_known_under_two_names_is_no_fault(
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    """As after a merge with a copy of the ledger, on whose machine it was moved."""
    manifest, _ = load(theirs)
    entry = the_fourth(manifest)
    moved = msgspec.structs.replace(entry, path=f"{entry.path}-moved", renamed=True)
    manifest.entries[moved.path] = moved
    save(theirs, manifest)
    assert merge(ours, theirs).refused == []
    assert calls(ours, tmp_path) == sum(CALLS) + 6


def claim(ledger: Path, path: object, entry: object) -> None:
    """Say anything of the fourth file, and that all is whole."""
    content = entry if isinstance(entry, bytes) else msgspec.msgpack.encode(entry)
    name = path if isinstance(path, bytes) else str(path).encode()
    with closing(sqlite3.connect(ledger / "catalog.sqlite")) as base, base:
        base.execute("DELETE FROM file WHERE path = (SELECT max(path) FROM file)")
        digest = blake2b(name + content, digest_size=8).digest()
        base.execute("INSERT INTO file VALUES (?, ?, ?)", (path, content, digest))
        rows = base.execute("SELECT CAST(path AS BLOB), entry FROM file").fetchall()
        total = [b"".join(name + b"\n" for name, _ in sorted(rows))]
        total += [b"".join(content for _, content in sorted(rows))]
        put_head(base, [2, 3, b"".join(blake2b(all_, digest_size=16).digest() for all_ in total)])


def put_head(base: sqlite3.Connection, head: object) -> None:
    content = msgspec.msgpack.encode(head)
    digest = blake2b(content, digest_size=8).digest()
    base.execute("UPDATE ledger SET content = ?, digest = ?", (content, digest))


@pytest.mark.parametrize("path", [b"/bytes", 5, 1.5, "", "/other"])
def test_a_path_that_is_no_text_or_not_that_of_its_rows(
    ours: Path, theirs: Path, tmp_path: Path, path: object
) -> None:
    with closing(sqlite3.connect(theirs / "catalog.sqlite")) as base:
        (entry,) = base.execute("SELECT entry FROM file ORDER BY path DESC").fetchone()
    claim(theirs, path, entry)
    absolute = path in {b"/bytes", "/other"}
    is_refused(ours, theirs, tmp_path, "another file" if absolute else "path")


def test_an_entry_with_a_path_of_its_own(ours: Path, theirs: Path, tmp_path: Path) -> None:
    manifest, _ = load(theirs)
    entry = msgspec.structs.replace(the_fourth(manifest), path="/other")
    claim(theirs, max(manifest.entries), entry)
    is_refused(ours, theirs, tmp_path, "path")


@pytest.mark.parametrize("entry", [None, 5, [], ["/a", 5], {"path": "/a"}, ["/a", "b", "c"]])
def test_an_entry_that_is_none(ours: Path, theirs: Path, tmp_path: Path, entry: object) -> None:
    claim(theirs, max(load(theirs)[0].entries), entry)
    is_refused(ours, theirs, tmp_path, "no entry")


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def endless(path: Path) -> None:
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 42)


def damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + (len(content) - 100) * b"X")


@POSIX
@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (link, "link"),
        (device, "link"),
        (pipe, "not a regular file"),
        (folder, "not a regular file"),
        (endless, "too large"),
        (damaged, "damaged"),
        (Path.unlink, "No such file"),
    ],
)
def test_a_part_that_is_no_part(
    ours: Path, theirs: Path, tmp_path: Path, harm: Callable[[Path], None], why: str
) -> None:
    harm(part_of(theirs))
    is_refused(ours, theirs, tmp_path, why)


def test_a_part_that_is_no_table(ours: Path, theirs: Path, tmp_path: Path) -> None:
    content = b"PAR1 rubbish PAR1"
    name = blake2b(content, digest_size=16).hexdigest() + ".parquet"
    (theirs / "parts" / name).write_bytes(content)
    change(theirs, rows=[Segment(name, 0, 6)])
    is_refused(ours, theirs, tmp_path, "no table")


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("reported_output_tokens", ["many"] * 6, "reported_output_tokens"),
        ("model", [5] * 6, "model"),
        ("timestamp", ["2026-06-01"] * 6, "timestamp"),
        ("problems", ["torn-line"] * 6, "problems"),
        ("reported_cost_usd", [0.5] * 6, "reported_cost_usd"),
    ],
)
def test_a_column_of_another_type(  # noqa: PLR0917 - two fixtures, a folder and three values
    ours: Path, theirs: Path, tmp_path: Path, column: str, values: list[Any], why: str
) -> None:
    forge(theirs, column, pa.array(values))
    is_refused(ours, theirs, tmp_path, why)


def test_a_column_that_is_missing(ours: Path, theirs: Path, tmp_path: Path) -> None:
    table = pq.read_table(part_of(theirs))
    write(theirs, table.drop_columns(["record", "path", "kind"]))
    is_refused(ours, theirs, tmp_path, "")


LATE = datetime(9999, 12, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("reported_output_tokens", -1, "count"),
        ("reported_input_tokens", 2**62, "count"),
        ("calls", -1, "count"),
        ("running_total", [5, -1], "count"),
        ("reported_cost_usd", -1, "cost"),
        ("timestamp", LATE, "time"),
        ("source", "evil", "source"),
        ("kind", "evil", "kind"),
        ("kind", None, "lacks"),
        ("evidence", "evil", "kind"),
        ("history", "evil", "kind"),
        ("dialect", "evil", "dialect"),
        ("assumed", ["evil"], "kind"),
        ("problems", [None], "gap"),
        ("running", None, "lacks"),
        ("detail", "x" * (2 << 20), "text"),
        ("problems", ["x" * (2 << 20)], "text"),
        ("path", "/etc/passwd", "another file"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_one_row_that_no_reader_makes(  # noqa: PLR0917 - as above
    ours: Path, theirs: Path, tmp_path: Path, column: str, value: Any, why: str
) -> None:
    table = pq.read_table(part_of(theirs))
    values = table[column].to_pylist()
    values[4] = value
    forge(theirs, column, pa.array(values, table.schema.field(column).type))
    is_refused(ours, theirs, tmp_path, why)


def test_a_row_costs_the_files_that_rest_on_it_and_not_all_of_its_part(
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    manifest, _ = load(theirs)
    first, *_ = sorted(manifest.entries)
    (segment,) = manifest.entries[first].segments()
    table = pq.read_table(theirs / "parts" / segment.part)
    values = table["reported_output_tokens"].to_pylist()
    values[segment.start] = -5
    index = table.schema.get_field_index("reported_output_tokens")
    table = table.set_column(index, "reported_output_tokens", pa.array(values, pa.int64()))
    pq.write_table(table, theirs / "parts" / "table")
    name = blake2b((theirs / "parts" / "table").read_bytes(), digest_size=16).hexdigest()
    (theirs / "parts" / "table").rename(theirs / "parts" / f"{name}.parquet")
    for entry in manifest.entries.values():
        if entry.rows[0].part == segment.part:
            (run,) = entry.rows
            entry.rows = (Segment(f"{name}.parquet", run.start, run.rows),)
    save(theirs, manifest)
    merged = merge(ours, theirs)
    assert [refused.what for refused in merged.refused] == [first]
    assert merged.files == 3
    assert calls(ours, tmp_path) == 3 + 4 + 5 + 6


def test_signs_that_no_terminal_may_see_are_kept_and_written_out(
    ours: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = pq.read_table(part_of(theirs))
    forge(theirs, "model", pa.array(["evil\x1b]0;title\x07\u202e"] * table.num_rows))
    assert merge(ours, theirs).refused == []
    monkeypatch.setenv("TALLYBOOK_LEDGER", str(ours))
    monkeypatch.setenv("HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["usage-report", "--format", "table", "--by", "model"])
    assert done.exit_code == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(done.output)


ENDLESS = """VIEW file AS WITH RECURSIVE n(path, entry, digest) AS (
    SELECT 'a', 'x', 'x' UNION ALL SELECT * FROM n
) SELECT * FROM n"""


class TestCatalogues:
    def said(self, ours: Path, theirs: Path) -> str:
        before = {p: p.read_bytes() for p in ours.rglob("*") if p.is_file()}
        with pytest.raises(TallybookError) as caught:
            merge(ours, theirs)
        assert before == {p: p.read_bytes() for p in ours.rglob("*") if p.is_file()}
        return caught.value.message

    @POSIX
    @pytest.mark.parametrize(
        ("harm", "why"),
        [(endless, "bytes"), (pipe, "regular"), (device, "link"), (damaged, "damaged")],
    )
    def test_of_no_use(
        self, ours: Path, theirs: Path, harm: Callable[[Path], None], why: str
    ) -> None:
        begin = (theirs / "catalog.sqlite").read_bytes()[:100]
        harm(theirs / "catalog.sqlite")
        if harm is endless:  # it has to begin as one
            with (theirs / "catalog.sqlite").open("r+b") as file:
                file.write(begin)
        assert why in self.said(ours, theirs)

    @pytest.mark.parametrize(
        "table",
        [
            None,
            "VIEW file AS SELECT 'a' AS path, 5 AS entry, 5 AS digest",
            "TABLE file (path, content, digest)",
            ENDLESS,
        ],
    )
    def test_of_another_shape(self, ours: Path, theirs: Path, table: str | None) -> None:
        with closing(sqlite3.connect(theirs / "catalog.sqlite")) as base, base:
            base.execute("DROP TABLE file")
            if table:
                base.execute(f"CREATE {table}")
        assert "cannot read" in self.said(ours, theirs)

    @pytest.mark.parametrize("head", [[], 5, "x", [2, "x"], {"generation": 3}])
    def test_of_which_only_the_entries_are_whole(
        self, ours: Path, theirs: Path, tmp_path: Path, head: object
    ) -> None:
        with closing(sqlite3.connect(theirs / "catalog.sqlite")) as base, base:
            put_head(base, head)
        merged = merge(ours, theirs)
        assert merged.files == 4
        assert [refused.what for refused in merged.refused] == ["catalog.sqlite"]
        assert calls(ours, tmp_path) == sum(CALLS) + 6

    def test_with_a_page_that_is_damaged(self, ours: Path, theirs: Path, tmp_path: Path) -> None:
        path = theirs / "catalog.sqlite"
        (entry,) = sqlite3.connect(path).execute("SELECT entry FROM file").fetchone()
        content = path.read_bytes()
        assert content.count(entry) == 1
        path.write_bytes(content.replace(entry, entry[:-1] + b"?"))
        merged = merge(ours, theirs)
        assert merged.files == 3
        assert [refused.what for refused in merged.refused] == ["catalog.sqlite"]
        assert calls(ours, tmp_path) == sum(CALLS) + 6


def test_nothing_that_was_derived_or_answered_there_is_taken(
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    told(tmp_path / "nowhere", theirs)
    put(theirs / "answers" / f"{'0' * 32}.answer", b"x")
    for name in ("derived", "answers"):
        assert any((theirs / name).iterdir()), name
    ids = [entry.file_id for entry in load(theirs)[0].entries.values()]
    assert len(states(theirs, ids)) == 4
    merge(ours, theirs)
    names = {p.name for folder in ("derived", "answers") for p in (ours / folder).iterdir()}
    assert not names & {p.name for p in (theirs / "derived").iterdir() if p.suffix != ".links"} - {
        "index"
    }
    assert not names & {p.name for p in (theirs / "answers").iterdir()}
    assert states(ours, ids) == {}
    assert not any(entry.has_state for entry in load(ours)[0].entries.values() if entry.gone)


class TestCorrections:
    def correction(self, **fields: Any) -> pa.Table:
        row = dict.fromkeys(CORRECTIONS.names)
        row |= {"call_id": "a", "source": "codex", "direction": "input", "method": "twin"}
        return pa.Table.from_pylist([row | fields], schema=CORRECTIONS)

    @pytest.mark.parametrize(
        "fields",
        [{"cached_input_tokens": -5}, {"direction": "up"}, {"rule": "x" * (2 << 20)}],
        ids=lambda fields: next(iter(fields)),
    )
    def test_that_nobody_proves_are_refused(
        self, ours: Path, theirs: Path, fields: dict[str, Any]
    ) -> None:
        both = [self.correction(call_id="b", cached_input_tokens=3), self.correction(**fields)]
        append_corrections(theirs, pa.concat_tables(both))
        merged = merge(ours, theirs)
        assert merged.files == 4
        assert [refused.what for refused in merged.refused] == ["corrections"]
        assert corrections(ours)["call_id"].to_pylist() == ["b"]

    @POSIX
    @pytest.mark.parametrize("harm", [link, pipe, damaged, Path.unlink])
    def test_in_a_part_that_is_none(
        self, ours: Path, theirs: Path, harm: Callable[[Path], None]
    ) -> None:
        append_corrections(theirs, self.correction())
        (name,) = load(theirs)[0].corrections
        harm(theirs / "parts" / name)
        merged = merge(ours, theirs)
        assert (merged.files, len(merged.refused)) == (4, 1)
        assert corrections(ours).num_rows == 0

    def test_of_a_name_that_no_part_has(self, ours: Path, theirs: Path) -> None:
        manifest, _ = load(theirs)
        manifest.corrections = ["../../x", "/dev/zero"]
        save(theirs, manifest)
        assert [refused.what for refused in merge(ours, theirs).refused] == ["corrections"] * 2


def test_the_command_says_how_many_and_why_and_exits_with_1(ours: Path, theirs: Path) -> None:
    change(theirs, rows=[Segment("../x", 0, 1)])
    done = CliRunner().invoke(app, ["ledger", "merge", str(theirs), "--ledger", str(ours)])
    assert done.exit_code == 1
    words = " ".join(done.stderr.split())
    assert words.startswith(
        f"3 files taken over from {theirs}; 1 refused refused: a part of a name"
    )
    assert "00000004" in words
    done = CliRunner().invoke(app, ["ledger", "merge", str(theirs), "--ledger", str(ours)])
    assert done.stderr.startswith("0 files taken over")


def test_where_nothing_is_new_nothing_is_written(ours: Path, theirs: Path) -> None:
    merge(ours, theirs)
    before = {p: p.stat().st_mtime_ns for p in ours.rglob("*")}
    assert merge(ours, theirs) == (0, [])
    after = {p: p.stat().st_mtime_ns for p in ours.rglob("*")}
    assert after == before
