"""What other code has read is read again while it is there; what is gone is said to be older."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from tallybook.ledger.catalog import load, save
from tallybook.ledger.digests import PACKAGE, READING, code_digest, reading_digest
from tallybook.ledger.folder import Folder
from tallybook.ledger.manifest import Entry, encoded
from tallybook.ledger.merging import merge
from tallybook.ledger.rows import empty_rows
from tallybook.ledger.upkeep import compact, status
from tallybook.ledger.verify import verify
from tallybook.sources import sources
from tallybook.sources.contract import never
from tallybook.tables import READ
from tests.ledger.homes import (
    FIXTURES,
    coverage,
    home_of,
    opened,
    put,
    session,
    told,
    totals,
    transcript,
)

DIGEST = "tallybook.ledger.compare.reading_digest"
Older = Callable[[], Any]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_of(tmp_path / "home")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Older:
    """In its context the program is an older one, which passes over each second call."""

    @contextmanager
    def older() -> Iterator[None]:
        source = sources()["claude-code"]

        def read(block: bytes, state: Any) -> tuple[Any, Any]:
            rows, state = source.read(block, state)
            return rows[::2], state

        with monkeypatch.context() as patch:
            patch.setattr(DIGEST, lambda: "older")
            patch.setitem(sources(), "claude-code", replace(source, read=read))
            yield

    return older


def counts(home: Path, ledger: Path) -> tuple[int, int]:
    with opened(home, ledger) as reading:
        return reading.counts.read, reading.counts.unchanged


def test_what_is_there_is_read_again_and_nothing_of_the_old_reading_is_left(
    home: Path, ledger: Path, older: Older
) -> None:
    with older():
        before = told(home, ledger)
    after = told(home, ledger)
    assert totals(before)["calls"] == 2 + 2 + 3 + 3
    assert totals(after)["calls"] == 3 + 4 + 5 + 6
    assert after == told(home, None)
    assert counts(home, ledger) == (0, 4)


def test_what_has_grown_is_not_read_on_from_the_state_of_other_code(
    home: Path, ledger: Path, older: Older
) -> None:
    with older():
        told(home, ledger)
    put(transcript(home, 1), session(1, calls=9))
    with opened(home, ledger) as reading:
        assert (reading.counts.continued, reading.counts.read) == (0, 4)
    assert told(home, ledger) == told(home, None)


def moved(path: Path) -> None:
    path.rename(path.with_name("moved.jsonl"))


def moved_and_grown(path: Path) -> None:
    moved(path)
    put(path.with_name("moved.jsonl"), session(1, calls=9))


def compressed(path: Path) -> None:
    put(path.with_name(path.name + ".gz"), gzip.compress(path.read_bytes()))
    path.unlink()


def copied_elsewhere(path: Path) -> None:
    target = path.parent.with_name("-home-u-other")
    target.mkdir()
    shutil.copy(path, target / path.name)
    path.unlink()


@pytest.mark.parametrize("change", [moved, moved_and_grown, compressed, copied_elsewhere])
def test_what_lies_elsewhere_now_is_read_again_and_counted_once(
    home: Path, ledger: Path, older: Older, change: Callable[[Path], None]
) -> None:
    with older():
        told(home, ledger)
    change(transcript(home, 1))
    assert told(home, ledger) == told(home, None)


def test_a_link_to_a_file_that_other_code_has_read_is_no_other_file(
    home: Path, ledger: Path, older: Older, tmp_path: Path
) -> None:
    with older():
        told(home, ledger)
    (tmp_path / "logs").symlink_to(home / ".claude/projects")
    told(home, ledger, [tmp_path / "logs"])
    assert told(home, ledger) == told(home, None)


def test_what_is_gone_is_kept_and_said_to_be_of_an_older_reading(
    home: Path, ledger: Path, older: Older
) -> None:
    with older():
        told(home, ledger)
    transcript(home, 2).unlink()
    text = told(home, ledger)
    assert totals(text)["calls"] == 3 + 2 + 5 + 6
    said = coverage(text)
    assert (said["gone"], said["older_files"], said["older_calls"]) == (1, 1, 2)
    assert coverage(told(home, ledger)) == said
    put(transcript(home, 2), session(2, calls=4))
    assert told(home, ledger) == told(home, None)
    assert coverage(told(home, ledger))["older_files"] == 0


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not bind")
def test_what_cannot_be_read_for_now_is_of_an_older_reading_until_it_can(
    home: Path, ledger: Path, older: Older
) -> None:
    with older():
        told(home, ledger)
    transcript(home, 2).chmod(0)
    said = coverage(told(home, ledger))
    assert (said["older_files"], said["older_calls"]) == (1, 2)
    transcript(home, 2).chmod(0o600)
    assert told(home, ledger) == told(home, None)


def test_a_file_is_offered_to_all_sources_again(
    home: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sources()["claude-code"]
    mistaken = replace(source, name="codex", title="Codex")
    with monkeypatch.context() as patch:
        patch.setattr(DIGEST, lambda: "older")
        patch.setitem(sources(), "codex", mistaken)
        patch.setitem(sources(), "claude-code", replace(source, sniff=never, owns=()))
        told(home, ledger)
    assert told(home, ledger) == told(home, None)


def rewritten(ledger: Path, change: Callable[[Entry], Entry]) -> None:
    manifest, _ = load(ledger)
    entries = {path: change(entry) for path, entry in manifest.entries.items()}
    save(ledger, msgspec.structs.replace(manifest, entries=entries))


def as_before_digests(entry: Entry) -> Entry:
    """As entries were when sources had a number and nothing else was remembered."""
    return msgspec.structs.replace(
        entry, code="", encoded_place=encoded(msgspec.structs.replace(entry.place, version=1))
    )


def test_a_ledger_of_the_days_of_numbers_is_taken_over(
    home: Path, ledger: Path, older: Older
) -> None:
    with older():
        told(home, ledger)
    rewritten(ledger, as_before_digests)
    transcript(home, 2).unlink()
    text = told(home, ledger)
    assert totals(text)["calls"] == 3 + 2 + 5 + 6
    assert (coverage(text)["older_files"], coverage(text)["problems"]) == (1, {})


def without(part: Path, columns: set[str]) -> str:
    """The name of a part that was written before the schema had some columns."""
    from tallybook.ledger.part_files import put_in_place  # noqa: PLC0415

    table = pq.read_table(part)
    aside = part.with_suffix(".aside")
    pq.write_table(table.drop_columns([*columns]), aside)
    return put_in_place(aside)


def test_rows_without_the_columns_that_came_since_are_still_read(
    home: Path, ledger: Path, older: Older
) -> None:
    with older():
        told(home, ledger)
    (part,) = Folder(ledger).parts.glob("*.parquet")
    name = without(part, {"segment_id", "assumed", "fresh_counter", "code", "inference_geo"})

    def change(entry: Entry) -> Entry:
        rows = [msgspec.structs.replace(segment, part=name) for segment in entry.rows]
        return msgspec.structs.replace(entry, rows=rows)

    rewritten(ledger, change)
    for number in (1, 2, 3, 4):
        transcript(home, number).unlink()
    text = told(home, ledger)
    assert totals(text)["calls"] == 2 + 2 + 3 + 3
    assert coverage(text)["problems"] == {}
    assert compact(ledger) == 4
    assert totals(told(home, ledger)) == totals(text)


def test_a_part_is_read_in_the_types_that_it_was_written_in(tmp_path: Path) -> None:
    """Who asks for rows loads no library that writes them, and so names their types himself."""
    pq.write_table(READ.empty_table(), tmp_path / "part.parquet")
    assert pl.read_parquet(tmp_path / "part.parquet").schema == empty_rows().schema


def test_checks_leave_other_code_s_rows_to_the_next_report(
    home: Path, ledger: Path, older: Older
) -> None:
    with older():
        told(home, ledger)
    assert verify(ledger) == (0, [])
    assert status(ledger)[1]["older"] == 4
    told(home, ledger)
    assert verify(ledger) == (4, [])
    assert status(ledger)[1]["older"] == 0


@pytest.mark.parametrize("mine_is_older", [True, False])
def test_one_file_that_two_programs_have_read_is_one_where_ledgers_are_merged(
    home: Path, ledger: Path, older: Older, tmp_path: Path, *, mine_is_older: bool
) -> None:
    with older():
        told(home, tmp_path / "older")
    told(home, tmp_path / "newer")
    shutil.rmtree(home)
    order = ("older", "newer") if mine_is_older else ("newer", "older")
    for name in order:
        merge(ledger, tmp_path / name)
    text = told(home, ledger)
    assert (totals(text)["calls"], coverage(text)["files"]) == (18, 4)
    assert coverage(text)["older_files"] == 0


def modules(package: Path) -> list[Path]:
    return sorted(path.relative_to(package) for path in package.rglob("*.py"))


def test_the_digest_changes_with_each_module_that_readers_use_and_with_no_other(
    tmp_path: Path,
) -> None:
    copy = tmp_path / "tallybook"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = reading_digest(copy)
    assert before == reading_digest(PACKAGE)  # whatever the folder, whatever the files' times
    for module in modules(copy):
        content = (copy / module).read_bytes()
        (copy / module).write_bytes(content + b"SEVEN = 7\n")
        if module.parts[0].removesuffix(".py") in READING:  # all others stay changed together
            assert reading_digest.__wrapped__(copy) != before, module
            (copy / module).write_bytes(content.replace(b"\n", b"\r\n"))
    assert reading_digest.__wrapped__(copy) == before
    last = max((copy / "sources").rglob("*.py"))
    last.rename(last.with_name("renamed.py"))
    assert reading_digest.__wrapped__(copy) != before


def test_readers_load_nothing_that_the_digest_is_not_of() -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tallybook.files.read import read_file\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    assert read_file(path).num_rows\n"
        "print(*(name for name in sys.modules if name.startswith('tallybook.')), sep='\\n')\n"
    )
    logs = [
        next(path for path in sorted(folder.glob("*/input/**/*.json*")) if path.stat().st_size)
        for folder in sorted(FIXTURES.iterdir())
        if folder.is_dir() and folder.name in sources()
    ]
    assert len(logs) == len(sources())
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, logs)], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[1] for name in run.stdout.split()}
    assert loaded <= set(READING)
    assert {"dialects", "files", "sources"} <= loaded


def test_a_module_of_the_same_size_and_time_is_another_where_it_was_written_anew(
    tmp_path: Path,
) -> None:
    module = put(tmp_path / "tallybook/derive.py", b"SEVEN = 7\n")
    os.utime(module, (1, 1))  # as installers do that want the same bytes every time
    before = code_digest.__wrapped__(tmp_path / "tallybook")
    aside = put(tmp_path / "derive.py", b"SEVEN = 8\n")
    os.utime(aside, (1, 1))
    aside.replace(module)
    assert code_digest.__wrapped__(tmp_path / "tallybook") != before


def test_what_other_code_has_derived_is_derived_again(
    home: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tallybook.ledger import groups  # noqa: PLC0415

    keys: list[int] = []
    found = groups.link_keys

    def counted(rows: Any, *given: Any) -> Any:
        keys.append(rows.height)
        return found(rows, *given)

    monkeypatch.setattr(groups, "link_keys", counted)
    told(home, ledger)
    told(home, ledger)
    assert keys == [18]
    for name in ("kept_frames", "reading", "seams", "settling"):
        monkeypatch.setattr(f"tallybook.ledger.{name}.code_digest", lambda: "other")
    derived = ledger / "derived/index"
    before = derived.read_bytes()
    told(home, ledger)
    assert keys == [18, 18]
    assert derived.read_bytes() != before
    told(home, ledger)
    assert keys == [18, 18]
