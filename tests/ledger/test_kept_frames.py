"""What parts say stays in few files, and what is damaged or of other code is found anew."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tallybook.ledger import kept_frames as module
from tallybook.ledger.kept_frames import KeptFrames
from tallybook.ledger.open import with_usage
from tests.ledger.homes import asked, document, put, session, transcript


def rows(number: int, count: int = 2) -> pl.DataFrame:
    return pl.DataFrame({"key": [number] * count})


def part(number: int) -> str:
    return f"{number:032x}.parquet"


def kept(folder: Path, *numbers: int) -> None:
    """A run that finds these parts, and knows those that are there."""
    frames = KeptFrames(folder, "links")
    assert not list(frames.there([]))
    for number in numbers:
        frames.keep(part(number), [rows(number, 1), rows(number, 1)])
    frames.close()


def there(folder: Path, *numbers: int, what: str = "links") -> set[str]:
    frames = KeptFrames(folder, what)
    found = dict(frames.there(map(part, numbers)))
    assert all(each.equals(rows(int(name[:32], 16))) for name, each in found.items())
    assert {*found} | {*frames.missing} == {*map(part, numbers)}
    return {*found}


def test_parts_of_one_run_and_of_many_are_in_few_files(tmp_path: Path) -> None:
    kept(tmp_path, *range(100))
    assert len(list(tmp_path.iterdir())) == 1
    for number in range(100, 150):
        kept(tmp_path, number)
        assert len(list(tmp_path.iterdir())) <= module._MANY
    assert len(there(tmp_path, *range(200))) == 150
    assert not there(tmp_path, 1, what="seams.links")


def test_a_full_file_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FULL", 4)
    kept(tmp_path, *range(8))
    first = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    assert len(first) == 4
    for number in range(8, 30):
        kept(tmp_path, number)
    assert all(path.stat().st_ino == inode for path, inode in first.items())
    assert len(there(tmp_path, *range(30))) == 30


@pytest.mark.parametrize("content", [b"", b"tallybook links 1 x\n", b"\xff" * 300])
def test_what_is_damaged_is_missing(tmp_path: Path, content: bytes) -> None:
    kept(tmp_path, 1, 2)
    (path,) = tmp_path.iterdir()
    kept(tmp_path, 3)
    path.write_bytes(content or path.read_bytes()[:-1])
    assert there(tmp_path, 1, 2, 3) == {part(3)}


def test_a_ledger_of_many_runs_has_few_of_them(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    for number in range(12):
        put(transcript(tmp_path, number), session(number, calls=1))
        with_usage(asked(tmp_path, ledger), document)
    assert len(list((ledger / "derived").glob("*.links"))) <= module._MANY + 1
