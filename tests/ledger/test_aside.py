"""What is read for one answer is written aside as quickly as can be, and says the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from tallybook.commands import app
from tallybook.derive.chain import derive
from tallybook.ledger import settling
from tallybook.ledger.open import usage
from tallybook.ledger.question import Question
from tests.built import built
from tests.ledger.homes import home_of
from tests.test_fixtures import CASES

SOME = CASES[::23]


def rows(paths: list[Path], home: Path) -> pl.DataFrame:
    with usage(Question(paths, {}, home, cache=home)) as reading:
        return reading.rows.drop("component")  # whose name tells of parts


def test_what_is_written_aside_is_never_brought_to_the_disk_and_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    paths = [built(case) for case in SOME]
    in_memory = rows(paths, tmp_path)
    request.getfixturevalue("much_is_read")

    def synced(_: int) -> None:
        raise AssertionError

    monkeypatch.setattr(os, "fsync", synced)
    assert in_memory.height > 50
    assert rows(paths, tmp_path).equals(in_memory, null_equal=True)


@pytest.mark.usefixtures("much_is_read")
def test_a_page_takes_several_reports_of_what_is_derived_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    derived: list[int] = []

    def counting(*given: Any) -> pl.DataFrame:
        derived.append(1)
        return derive(*given)

    monkeypatch.setattr(settling, "derive", counting)
    monkeypatch.setenv("HOME", str(home_of(tmp_path)))
    done = CliRunner().invoke(app, ["usage-report", "--no-ledger", "--format", "html"])
    assert done.exit_code == 0, done.stderr
    assert "By thread" in done.stdout
    assert len(derived) == 1
