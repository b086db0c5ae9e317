"""A second run reads what is new and nothing else, and says the same as one that reads it all."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pytest

from tests.ledger.homes import coverage, home_of, opened, put, session, told, totals, transcript


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_of(tmp_path / "home")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def counts(home: Path, ledger: Path) -> dict[str, int]:
    """How many files were found to be what; the answer is checked against a fresh one."""
    with opened(home, ledger) as reading:
        found = reading.counts
    return {
        name: value
        for name in ("unchanged", "read", "continued", "moved", "gone")
        if (value := getattr(found, name))
    }


def same(home: Path, ledger: Path) -> None:
    assert told(home, ledger) == told(home, None)


def test_the_first_run_reads_all_and_the_second_nothing(home: Path, ledger: Path) -> None:
    assert counts(home, ledger) == {"read": 4}
    assert counts(home, ledger) == {"unchanged": 4}
    same(home, ledger)


def test_a_file_that_has_grown_is_read_from_where_it_ended(home: Path, ledger: Path) -> None:
    told(home, ledger)
    grown = session(1, calls=6)
    put(transcript(home, 1), grown)
    with opened(home, ledger) as reading:
        assert (reading.counts.continued, reading.counts.unchanged) == (1, 3)
        assert reading.counts.read_bytes == len(grown) - len(session(1, calls=3))
    same(home, ledger)


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_torn_last_line_is_read_when_the_rest_has_come(
    home: Path, ledger: Path, cut: int
) -> None:
    whole = session(1, calls=4)
    put(transcript(home, 1), whole[:-cut])
    same(home, ledger)
    put(transcript(home, 1), whole)
    assert counts(home, ledger) == {"continued": 1, "unchanged": 3}
    same(home, ledger)


def test_another_content_in_its_place_is_read_afresh(home: Path, ledger: Path) -> None:
    told(home, ledger)
    put(transcript(home, 1), session(9, calls=7))
    assert counts(home, ledger) == {"read": 1, "unchanged": 3}
    put(transcript(home, 1), session(9, calls=2))
    assert counts(home, ledger) == {"read": 1, "unchanged": 3}
    same(home, ledger)


def test_a_file_written_anew_with_the_same_beginning_is_continued(home: Path, ledger: Path) -> None:
    told(home, ledger)
    path = transcript(home, 1)
    aside = put(path.with_suffix(".new"), session(1, calls=5))
    aside.replace(path)
    assert counts(home, ledger) == {"continued": 1, "unchanged": 3}
    same(home, ledger)


def test_a_renamed_file_that_says_the_same_is_not_read(home: Path, ledger: Path) -> None:
    told(home, ledger)
    path = transcript(home, 1)
    other = path.parent.with_name("-home-u-renamed") / path.name
    other.parent.mkdir()
    path.rename(other)
    assert counts(home, ledger) == {"moved": 1, "unchanged": 3}
    same(home, ledger)
    put(other, session(1, calls=8))
    assert counts(home, ledger) == {"continued": 1, "unchanged": 3}
    same(home, ledger)


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstd)])
def test_a_compressed_file_is_the_one_that_it_was(
    home: Path, ledger: Path, suffix: str, compress: object
) -> None:
    told(home, ledger)
    path = transcript(home, 1)
    grown = session(1, calls=5)
    put(path.with_name(path.name + suffix), compress(grown))  # type: ignore[operator]
    path.unlink()
    text = told(home, ledger)
    assert coverage(text)["gone"] == 0
    assert text == told(home, None)


def test_an_archived_rollout_is_the_one_that_it_was(tmp_path: Path, ledger: Path) -> None:
    case = Path(__file__).parents[2] / "fixtures/codex/resume-same-file/input"
    (log,) = case.rglob("*.jsonl")
    home = tmp_path / "home"
    path = put(home / ".codex/sessions/2026/01/01" / log.name, log.read_bytes())
    told(home, ledger)
    target = home / ".codex/archived_sessions" / (path.name + ".zst")
    put(target, zstd(path.read_bytes()))
    path.unlink()
    same(home, ledger)
    assert coverage(told(home, ledger))["gone"] == 0


def test_a_rotated_file_is_followed_and_the_new_one_read(home: Path, ledger: Path) -> None:
    told(home, ledger)
    path = transcript(home, 1)
    path.rename(path.with_name("old.jsonl"))
    put(path, session(7, calls=5))
    same(home, ledger)


def test_a_copy_is_a_file_of_its_own(home: Path, ledger: Path) -> None:
    told(home, ledger)
    path = transcript(home, 1)
    put(path.with_name("copy.jsonl"), path.read_bytes())
    assert counts(home, ledger) == {"read": 1, "unchanged": 4}
    same(home, ledger)


def test_what_is_deleted_stays_and_is_said_to_be_gone(home: Path, ledger: Path) -> None:
    before = told(home, ledger)
    transcript(home, 2).unlink()
    after = told(home, ledger)
    assert totals(after) == totals(before)
    assert (coverage(after)["files"], coverage(after)["gone"]) == (4, 1)
    put(transcript(home, 2), session(2, calls=4))
    assert coverage(told(home, ledger))["gone"] == 0
    same(home, ledger)


def test_paths_are_answered_alone_and_through_the_ledger(home: Path, ledger: Path) -> None:
    told(home, ledger)
    path = transcript(home, 3)
    assert told(home, ledger, [path]) == told(home, None, [path])
    assert told(home, ledger, [path.parent]) == told(home, None, [path.parent])


def test_a_link_to_a_known_file_is_no_other_file(home: Path, ledger: Path, tmp_path: Path) -> None:
    before = told(home, ledger)
    (tmp_path / "logs").symlink_to(home / ".claude/projects")
    told(home, ledger, [tmp_path / "logs"])
    assert totals(told(home, ledger)) == totals(before)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not bind")
def test_what_cannot_be_read_for_now_keeps_its_rows(home: Path, ledger: Path) -> None:
    before = told(home, ledger)
    path = transcript(home, 1)
    put(path, session(1, calls=9))
    path.chmod(0)
    after = told(home, ledger)
    assert totals(after)["calls"] == totals(before)["calls"]
    assert coverage(after)["problems"] == {"unreadable": 1}
    path.chmod(0o600)
    same(home, ledger)
