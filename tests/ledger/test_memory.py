"""What a run holds of each file of a ledger: a user may have 100,000 of them in a folder."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tallybook.files.find import walk
from tallybook.files.resume import ReadPosition
from tallybook.ledger import reading as module
from tallybook.ledger import settling
from tallybook.ledger.catalog import load, save
from tallybook.ledger.manifest import Entry, Manifest, Segment, encoded
from tallybook.ledger.open import usage
from tallybook.ledger.question import Question
from tallybook.ledger.reading import Reading
from tests.ledger.homes import document, home_of, opened

FILES = 4000
SOME = 300  # are enough where they are read
LISTED = 1000  # and these where they are only found
LINE = (
    b'{"parentUuid":null,"isSidechain":false,"sessionId":"NUMBER","type":"assistant",'
    b'"requestId":"req_NUMBER","uuid":"NUMBER","timestamp":"2026-05-01T10:00:00.000Z","message":'
    b'{"id":"msg_NUMBER","role":"assistant","model":"claude-sonnet-4-5",'
    b'"usage":{"input_tokens":1,"output_tokens":2}}}\n'
)


def held(work: Callable[[], Any], files: int = FILES) -> tuple[float, float]:
    """Bytes a file of what `work` gives, and the most there were on the way."""
    gc.collect()
    tracemalloc.start()
    try:
        found = work()
        _, most = tracemalloc.get_traced_memory()
        gc.collect()  # whether what hangs in rings is gone by now depends on the tests before
        now, _ = tracemalloc.get_traced_memory()
        del found
        return now / files, most / files
    finally:
        tracemalloc.stop()


def read(folder: Path, readings: list[Reading]) -> None:
    """Read the logs of a folder for a question, and hold what was found."""
    readings.append(usage(Question([folder], {}, folder, cache=folder.parent)))


def entry(number: int) -> Entry:
    """A file as the first look at a folder of small logs puts it into the ledger."""
    mark = f"{number:08x}" * 2
    place = ReadPosition(
        source="claude-code",
        begun=ReadPosition.digest(b"begun"),
        offset=1500 + number,
        end=1500 + number,
        head_length=1500 + number,
        head=ReadPosition.digest(mark.encode()),
        tail_length=1500 + number,
        tail=ReadPosition.digest(mark.encode()),
    )
    part = f"{number // 600:032x}.parquet"
    return Entry(
        path=f"/home/user/.claude/projects/-home-user-project/{mark}-{mark}.jsonl",
        file_id=mark,
        size=1500 + number,
        mtime_ns=1_700_000_000_000_000_000 + number,
        inode=900_000 + number,
        device=2049,
        beside=(),
        encoded_place=encoded(place),
        has_state=True,
        rows=(Segment(part, number % 600 * 3, 2),),
        tentative=(Segment(part, number % 600 * 3 + 2, 1),),
        code="0123456789abcdef" * 2,
        known=True,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    entries = {each.path: each for each in map(entry, range(FILES))}
    save(tmp_path, Manifest(entries=entries, generation=7))
    return tmp_path


def test_an_entry_is_lean(ledger: Path) -> None:
    now, most = held(lambda: load(ledger)[0])
    assert now < 1000
    assert most < 1600  # what is read among it


def test_writing_takes_no_copy_of_the_whole(ledger: Path) -> None:
    manifest, _ = load(ledger)
    _, most = held(lambda: save(ledger, manifest))
    assert most < 200


@pytest.mark.usefixtures("much_is_read")  # so, it is aside
def test_a_file_that_was_read_for_one_answer_is_lean(tmp_path: Path) -> None:
    for number in range(2 * SOME):
        path = tmp_path / f"{number % 2}" / f"{number:032x}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(LINE.replace(b"NUMBER", b"%08d" % number))
    readings: list[Reading] = []
    read(tmp_path / "0", readings)  # what is loaded once is loaded
    now, _ = held(lambda: read(tmp_path / "1", readings), SOME)
    for reading in readings:
        reading.close()
    assert now < 980


def test_a_file_of_a_folder_is_lean(tmp_path: Path) -> None:
    for number in range(LISTED):
        (tmp_path / f"{number:032x}.jsonl").touch()
    walk([tmp_path])  # what is loaded once is loaded
    now, most = held(lambda: walk([tmp_path]), LISTED)
    assert now < 450
    assert most < 750


def test_no_batch_is_held_while_the_next_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has some megabytes, and is made of as many more."""
    monkeypatch.setattr(module, "BATCH_ROWS", 2)
    batches: list[weakref.ref[pl.DataFrame]] = []
    settled, finished = settling.settled, settling.finished

    def made(*given: Any) -> pl.DataFrame:
        assert all(batch() is None for batch in batches)
        return settled(*given)

    def passed_on(*given: Any, **more: Any) -> pl.DataFrame:
        batches.append(weakref.ref(rows := finished(*given, **more)))
        return rows

    monkeypatch.setattr(settling, "settled", made)
    monkeypatch.setattr(settling, "finished", passed_on)
    with opened(home_of(tmp_path), None) as reading:
        document(reading)
    assert len(batches) > 3
