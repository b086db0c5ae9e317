"""A damaged table gives what can be read of it, and says what cannot."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tallybook.files.sqlite import connect
from tallybook.sources.sqlite_rows import Gap, batches, lost

ROWS = 5000
PAGE = 4096
SELECT = "SELECT id, text FROM history WHERE id > :after ORDER BY id LIMIT :size"


def create(path: Path, rows: int = ROWS) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE history (id INTEGER PRIMARY KEY, text TEXT)")
        texts = ((f"{number} " + "x" * 200,) for number in range(rows))
        made.executemany("INSERT INTO history (text) VALUES (?)", texts)
        made.commit()
    return path


def read(path: Path, size: int = 300) -> tuple[list[int], list[Gap]]:
    """The numbers of the rows that were read, and the gaps."""
    numbers, gaps = [], []
    with connect(path) as connection:
        for batch in batches(connection, SELECT, size):
            if isinstance(batch, Gap):
                gaps.append(batch)
            else:
                numbers += [row[0] for row in batch]
    return numbers, gaps


def overwrite(path: Path, *pages: int) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(b"\xff" * PAGE)


@pytest.mark.parametrize("size", [1, 7, ROWS, ROWS + 1])
def test_a_sound_table_is_read_in_batches_of_any_size(tmp_path: Path, size: int) -> None:
    path = create(tmp_path / "a.sqlite", 50)
    assert read(path, size) == (list(range(1, 51)), [])


def test_a_bad_page_costs_its_rows_and_no_others(tmp_path: Path) -> None:
    path = create(tmp_path / "a.sqlite")
    overwrite(path, 60, 61, 150)
    numbers, gaps = read(path)
    assert numbers == sorted(set(numbers))
    missing = set(range(1, ROWS + 1)) - set(numbers)
    said = {
        number for gap in gaps for number in range((gap.after or 0) + 1, gap.before or ROWS + 1)
    }
    assert missing == said
    assert 10 < len(missing) < 100


def test_a_file_cut_short_gives_what_is_left_of_it(tmp_path: Path) -> None:
    path = create(tmp_path / "a.sqlite")
    os.truncate(path, path.stat().st_size * 2 // 3)
    numbers, gaps = read(path)
    assert len(numbers) > ROWS // 2
    assert gaps[-1].before is None
    assert gaps[-1].after == numbers[-1]


def test_a_table_whose_first_page_is_gone_gives_nothing_and_says_so(tmp_path: Path) -> None:
    path = create(tmp_path / "a.sqlite")
    overwrite(path, 1)
    assert read(path)[0] == []
    assert [(gap.after, gap.before) for gap in read(path)[1]] == [(None, None)]


def test_text_that_is_no_text_costs_its_letters_only(tmp_path: Path) -> None:
    path = create(tmp_path / "a.sqlite", 30)
    with closing(sqlite3.connect(path)) as made:
        made.execute("UPDATE history SET text = CAST(X'61ff62' AS TEXT) WHERE id = 17")
        made.commit()
    with connect(path) as connection:
        rows = [row for batch in batches(connection, SELECT, 10) for row in batch]
    assert [row[1] for row in rows if isinstance(row, tuple) and row[0] == 17] == ["a\ufffdb"]
    assert len(rows) == 30


def test_what_is_no_damage_is_raised(tmp_path: Path) -> None:
    with (
        connect(create(tmp_path / "a.sqlite", 3)) as connection,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
    ):
        list(batches(connection, SELECT.replace("history", "gone")))


@pytest.mark.parametrize(
    ("gap", "record", "words"),
    [
        (Gap(5, 9, "malformed"), 6, "history from row 6 to 8: malformed"),
        (Gap(5, None, "malformed"), 6, "history from row 6 on: malformed"),
        (Gap(None, 9, "malformed"), 1, "history from row 1 to 8: malformed"),
    ],
)
def test_a_gap_is_said_at_the_first_row_that_is_missing(gap: Gap, record: int, words: str) -> None:
    row = lost(gap, "history")
    assert (row.record, row.part, row.problems, row.detail) == (
        record,
        "history",
        ["truncated"],
        words,
    )


def test_numbers_that_do_not_grow_are_damage(tmp_path: Path) -> None:
    with connect(create(tmp_path / "a.sqlite", 3)) as connection:
        again = "SELECT 2, :after, :size UNION ALL SELECT 2, 0, 0 LIMIT :size"
        assert list(batches(connection, again, 10)) == [
            [(2, -(2**63), 1)],
            Gap(2, None, "its rows are not in order"),
        ]


def test_rows_of_a_page_of_zeros_are_none(tmp_path: Path) -> None:
    with connect(create(tmp_path / "a.sqlite", 3)) as connection:
        zeros = "SELECT 0, NULL WHERE :after < 9 UNION ALL SELECT 0, NULL LIMIT :size"
        assert list(batches(connection, zeros, 10)) == [
            Gap(None, None, "its rows are not in order")
        ]


def test_damage_among_the_last_numbers_there_can_be_is_stepped_over(tmp_path: Path) -> None:
    path = create(tmp_path / "a.sqlite")
    with closing(sqlite3.connect(path)) as made:
        made.execute("UPDATE history SET id = id + 9223372036854770000")
        made.commit()
    overwrite(path, 60)
    numbers, gaps = read(path)
    assert ROWS - 100 < len(numbers) < ROWS
    assert len(gaps) == 1
    assert gaps[0].before is not None
