"""A ledger is checked, forgotten, compacted and put together without a change to its answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.errors import TallybookError
from tallybook.ledger.catalog import load, save
from tallybook.ledger.corrections import append_corrections, clear_corrections, corrections
from tallybook.ledger.merging import merge
from tallybook.ledger.rows import StoredRows
from tallybook.ledger.upkeep import compact, forget, status
from tallybook.ledger.verify import verify
from tallybook.tables import CORRECTIONS
from tests.ledger.homes import coverage, home_of, put, session, told, totals, transcript


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_of(tmp_path / "home")


@pytest.fixture
def ledger(home: Path, tmp_path: Path) -> Path:
    told(home, tmp_path / "ledger")
    return tmp_path / "ledger"


def parts(ledger: Path) -> list[Path]:
    return sorted((ledger / "parts").glob("*.parquet"))


def test_any_parquet_reader_finds_the_rows_and_where_they_come_from(ledger: Path) -> None:
    (part,) = parts(ledger)
    table = pq.read_table(part)
    assert table.num_rows == 3 + 4 + 5 + 6
    columns = ("source", "code", "path", "file_id", "record")
    assert not any(table[name].null_count for name in columns)


def test_the_state_counts_files_by_source(home: Path, ledger: Path) -> None:
    transcript(home, 1).unlink()
    told(home, ledger)
    rows, whole = status(ledger)
    assert rows == [
        {
            "source": "claude-code",
            "files": 4,
            "gone": 1,
            "lost": 0,
            "older": 0,
            "named": 0,
            "rows": 18,
        }
    ]
    assert (whole["parts"], whole["rows"]) == (1, 18)


def test_what_is_as_it_was_read_agrees(home: Path, ledger: Path) -> None:
    put(transcript(home, 1), session(1, calls=8)[:-20])
    told(home, ledger)
    put(transcript(home, 2), session(2, calls=9))  # not read yet, so not compared
    assert verify(ledger) == (3, [])


def test_the_rows_of_many_small_files_are_loaded_at_once(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    part = StoredRows.part

    def noted(self: StoredRows, name: str, *which: Any) -> pl.DataFrame:
        loaded.append(name)
        return part(self, name, *which)

    monkeypatch.setattr(StoredRows, "part", noted)
    assert verify(ledger) == (4, [])
    assert loaded == [path.name for path in parts(ledger)]


def test_what_disagrees_is_named(home: Path, ledger: Path) -> None:
    path = transcript(home, 1)
    state = path.stat()
    put(path, session(1, calls=3).replace(b'"output_tokens": 51', b'"output_tokens": 99'))
    import os  # noqa: PLC0415

    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    count, found = verify(ledger)
    assert count == 4
    assert [(odd.path, "reported_output_tokens" in odd.detail) for odd in found] == [
        (str(path), True)
    ]


def test_a_damaged_part_is_named(ledger: Path) -> None:
    (part,) = parts(ledger)
    part.write_bytes(part.read_bytes()[:-3])
    _, found = verify(ledger)
    assert str(part) in {odd.path for odd in found}


def test_what_is_forgotten_is_gone_for_good(home: Path, ledger: Path) -> None:
    path = transcript(home, 1)
    path.unlink()
    told(home, ledger)
    assert forget(ledger, path) == 1
    assert told(home, ledger) == told(home, None)
    assert all(b"msg_1_1" not in part.read_bytes() for part in parts(ledger))
    assert sum(pq.read_table(part).num_rows for part in parts(ledger)) == 4 + 5 + 6
    assert forget(ledger, path) == 0
    assert forget(ledger, home) == 3


def test_compacting_changes_no_answer(home: Path, ledger: Path) -> None:
    for calls in range(7, 12):
        put(transcript(home, 1), session(1, calls=calls)[:-15])
        transcript(home, 2).parent.mkdir(exist_ok=True)
        told(home, ledger)
    path = transcript(home, 3)
    path.rename(path.with_name("moved.jsonl"))
    before = told(home, ledger)
    assert len(parts(ledger)) > 3
    assert compact(ledger) == 4
    assert len(parts(ledger)) == 1
    assert told(home, ledger) == before
    put(transcript(home, 1), session(1, calls=14))
    assert told(home, ledger) == told(home, None)
    assert verify(ledger) == (4, [])


def test_many_parts_are_compacted_by_themselves(
    home: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallybook.ledger.open.MANY_PARTS", 2)
    for calls in range(7, 12):
        put(transcript(home, 1), session(1, calls=calls))
        assert told(home, ledger) == told(home, None)
    assert status(ledger)[1]["parts"] <= 2


class TestMerging:
    @pytest.fixture
    def machines(self, tmp_path: Path) -> list[Path]:
        """The ledgers of three machines, two of which know an earlier state of a session."""
        ledgers = []
        for number, sessions in enumerate(({1: 4, 2: 3}, {1: 9, 3: 3}, {1: 6, 4: 2})):
            home = tmp_path / f"machine-{number}"
            for session_number, calls in sessions.items():
                put(transcript(home, session_number), session(session_number, calls=calls))
            ledgers.append(tmp_path / f"ledger-{number}")
            told(home, ledgers[-1])
        return ledgers

    def merged(self, folder: Path, ledgers: list[Path]) -> dict[str, Any]:
        for other in ledgers:
            merge(folder, other)
        return totals(told(folder / "nowhere", folder))

    def test_the_order_is_of_no_consequence_and_overlaps_count_once(
        self, machines: list[Path], tmp_path: Path
    ) -> None:
        one = self.merged(tmp_path / "one", machines)
        assert one == self.merged(tmp_path / "other", [*machines[::-1], *machines])
        assert one["calls"] == 9 + 3 + 3 + 2

    def test_the_same_path_is_one_file_where_one_goes_on_from_the_other(
        self, tmp_path: Path
    ) -> None:
        home = tmp_path / "home"
        path = put(transcript(home, 1), session(1, calls=5))
        told(home, tmp_path / "early")
        put(path, session(1, calls=8))
        told(home, tmp_path / "late")
        path.unlink()
        for first, second in (("early", "late"), ("late", "early")):
            folder = tmp_path / f"{first}-first"
            merge(folder, tmp_path / first)
            merge(folder, tmp_path / second)
            assert coverage(told(tmp_path / "none", folder))["files"] == 1
            assert totals(told(tmp_path / "none", folder))["calls"] == 8

    def test_the_same_path_with_other_content_is_another_file(self, tmp_path: Path) -> None:
        home = tmp_path / "home"
        path = put(transcript(home, 1), session(1, calls=5))
        told(home, tmp_path / "a")
        put(path, session(2, calls=3))
        told(home, tmp_path / "b")
        for name, other in (("a", "b"), ("b", "a")):
            merge(tmp_path / f"{name}-whole", tmp_path / name)
            merge(tmp_path / f"{name}-whole", tmp_path / other)
            assert totals(told(tmp_path / "none", tmp_path / f"{name}-whole"))["calls"] == 8
            assert merge(tmp_path / f"{name}-whole", tmp_path / other) == (0, [])

    def test_the_other_ledger_is_left_as_it_is(self, machines: list[Path], tmp_path: Path) -> None:
        before = {path: path.read_bytes() for path in machines[0].rglob("*") if path.is_file()}
        merge(tmp_path / "one", machines[0])
        assert before == {p: p.read_bytes() for p in machines[0].rglob("*") if p.is_file()}

    def test_what_is_no_ledger_is_an_error(self, ledger: Path, tmp_path: Path) -> None:
        with pytest.raises(TallybookError, match="no ledger"):
            merge(ledger, tmp_path / "nothing")
        with pytest.raises(TallybookError, match="itself"):
            merge(ledger, ledger)

    def test_corrections_come_along(self, machines: list[Path], tmp_path: Path) -> None:
        append_corrections(machines[0], correction("a", 1))
        append_corrections(machines[1], pa.concat_tables([correction("a", 2), correction("b", 3)]))
        for number, order in enumerate((machines, machines[::-1])):
            self.merged(tmp_path / str(number), order)
        one, other = (corrections(tmp_path / str(number)) for number in range(2))
        assert one.equals(other)
        assert one["call_id"].to_pylist() == ["a", "b"]


def correction(call_id: str, tokens: int) -> pa.Table:
    row = dict.fromkeys(CORRECTIONS.names) | {
        "call_id": call_id,
        "direction": "input",
        "method": "twin",
        "cached_input_tokens": tokens,
    }
    return pa.Table.from_pylist([row], schema=CORRECTIONS)


def test_corrections_are_kept_until_they_are_taken_back(home: Path, ledger: Path) -> None:
    assert corrections(ledger).num_rows == 0
    both = pa.concat_tables([correction("b", 1), correction("a", 2)])
    assert append_corrections(ledger, both) == 2
    assert append_corrections(ledger, both) == 0
    assert append_corrections(ledger, correction("a", 5)) == 1
    put(transcript(home, 1), session(1, calls=9))
    told(home, ledger)
    compact(ledger)
    assert corrections(ledger)["cached_input_tokens"].to_pylist() == [5, 1]
    assert clear_corrections(ledger) == 2
    assert corrections(ledger).num_rows == 0


class TestCommands:
    @pytest.fixture(autouse=True)
    def _surroundings(self, ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TALLYBOOK_LEDGER", str(ledger))

    def test_the_state_is_a_table_or_json(self, ledger: Path) -> None:
        done = CliRunner().invoke(app, ["ledger", "status"])
        assert "claude-code" in done.stdout
        assert str(ledger) in done.stderr
        document = json.loads(CliRunner().invoke(app, ["ledger", "status", "--json"]).stdout)
        assert document["schema"] == "tallybook/ledger-status"
        assert document["totals"]["rows"] == 18

    def test_disagreement_exits_with_1(self, ledger: Path) -> None:
        assert CliRunner().invoke(app, ["ledger", "verify"]).exit_code == 0
        (part,) = parts(ledger)
        part.write_bytes(b"")
        done = CliRunner().invoke(app, ["ledger", "verify"])
        assert done.exit_code == 1
        assert part.name in done.stdout

    def test_each_says_what_it_did(self, home: Path, ledger: Path, tmp_path: Path) -> None:
        def said(*arguments: str) -> str:
            return CliRunner().invoke(app, ["ledger", *arguments]).stderr.strip()

        assert said("forget", str(transcript(home, 1))) == "1 file forgotten"
        assert said("compact") == "3 files written anew"
        assert said("merge", str(ledger), "--ledger", str(tmp_path / "new")).startswith("3 files")
        assert said("merge", str(tmp_path / "none")).startswith("error: there is no ledger")

    @pytest.mark.parametrize("command", ["status", "verify"])
    def test_json_is_a_format_too(self, command: str) -> None:
        told = [
            CliRunner().invoke(app, ["ledger", command, *how])
            for how in (["--json"], ["--format", "json"], ["--format", "table", "--json"])
        ]
        assert told[0].stdout == told[1].stdout
        assert json.loads(told[0].stdout)["schema"] == f"tallybook/ledger-{command}"
        assert told[2].exit_code == 2

    def test_what_is_not_held_cannot_be_forgotten(self, home: Path, ledger: Path) -> None:
        before = {path: path.read_bytes() for path in ledger.rglob("*") if path.is_file()}
        for path in ("/nowhere", str(transcript(home, 1))[:-1], f"{home}-other"):
            done = CliRunner().invoke(app, ["ledger", "forget", path])
            assert done.exit_code == 1
            assert "holds nothing of" in " ".join(done.stderr.split())
        assert before == {path: path.read_bytes() for path in ledger.rglob("*") if path.is_file()}
        assert CliRunner().invoke(app, ["ledger", "forget", ""]).exit_code == 2
        done = CliRunner().invoke(app, ["ledger", "forget", f"{home}/../{home.name}/"])
        assert (done.exit_code, done.stderr) == (0, "4 files forgotten\n")

    def test_a_path_of_another_system_is_forgotten_by_its_name(self, ledger: Path) -> None:
        manifest, _ = load(ledger)
        path = min(manifest.entries)
        entry = manifest.entries.pop(path)
        entry.path, entry.renamed, entry.gone = "C:\\Users\\u\\x.jsonl", True, True
        manifest.entries[entry.path] = entry
        save(ledger, manifest)
        for name, code in (("C:\\Use", 1), ("C:\\Users\\", 0)):
            assert CliRunner().invoke(app, ["ledger", "forget", name]).exit_code == code

    @pytest.mark.parametrize(
        "arguments", [["status"], ["verify"], ["compact"], ["forget", "/x"], ["status", "--json"]]
    )
    def test_without_a_ledger_each_says_so_and_makes_none(
        self, arguments: list[str], tmp_path: Path
    ) -> None:
        def said(folder: Path) -> tuple[int, str, str]:
            done = CliRunner().invoke(app, ["ledger", *arguments, "--ledger", str(folder)])
            return done.exit_code, done.stdout, " ".join(done.stderr.split())

        missing, file = tmp_path / "missing", put(tmp_path / "file", b"x")
        words = f"error: there is no ledger in {missing} hint: a report makes one"
        assert said(missing) == (1, "", words)
        assert not missing.exists()
        code, out, words = said(file)
        assert (code, out) == (2, "")
        assert words.startswith(f"error: {file} is no ledger: it is no folder")
        put(tmp_path / "mine" / "notes.txt", b"x")
        code, out, words = said(tmp_path / "mine")
        assert (code, out) == (2, "")
        assert words.startswith(f"error: {tmp_path / 'mine'} is no ledger: it holds notes.txt")
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]

    def test_what_cannot_be_merged_is_wrong_usage(self, ledger: Path, tmp_path: Path) -> None:
        put(tmp_path / "mine" / "notes.txt", b"x")
        for other in (tmp_path / "missing", tmp_path / "mine", ledger):
            assert CliRunner().invoke(app, ["ledger", "merge", str(other)]).exit_code == 2
        arguments = ["ledger", "merge", str(ledger), "--ledger", str(tmp_path / "mine")]
        assert CliRunner().invoke(app, arguments).exit_code == 2
